/**
 * Lists of replicas whose copying is throttled (KIP-73), as topics have them: `*` for all,
 * PARTITION:BROKER pairs, or nothing.
 */
const PAIR = /^(\d{1,10}):(\d{1,10})$/

/** Null when the items are such a list, else what is expected. */
export function checkThrottledReplicas(items: readonly string[]): string | null {
  const isAll = items.length === 1 && items[0] === '*'
  return isAll || items.every((item) => PAIR.test(item)) ? null : '* or partition:broker pairs'
}

/** Of a text that is a good one: the partitions whose replica on this broker is in it. */
export function throttledPartitions(text: string, brokerId: number): 'all' | ReadonlySet<number> {
  if (text.trim() === '*') return 'all'
  const partitions = new Set<number>()
  for (const item of text.split(',')) {
    const [, partition, broker] = PAIR.exec(item.trim()) ?? []
    if (Number(broker) === brokerId) partitions.add(Number(partition))
  }
  return partitions
}
