/** Gathers what was said of partitions under their topics, both in the order in which they came. */
export function byTopic<T extends { readonly topic: string }>(
  items: readonly T[],
): Map<string, T[]> {
  const topics = new Map<string, T[]>()
  for (const item of items) {
    const list = topics.get(item.topic)
    if (list === undefined) topics.set(item.topic, [item])
    else list.push(item)
  }
  return topics
}
