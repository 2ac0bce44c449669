/**
 * Kafka's rule for topic names (Topic.java): 1 to 249 characters of [a-zA-Z0-9._-], not "." or
 * "..". Two names that differ only in '.' and '_' collide in metrics, so a new one must not.
 */
/** Where groups keep their offsets; clients may read it, and only the broker writes it. */
export const CONSUMER_OFFSETS = '__consumer_offsets'

const LEGAL = /^[a-zA-Z0-9._-]{1,249}$/

/** Why the name is refused, or null. */
export function topicNameError(name: string): string | null {
  if (name === '') return 'A topic name must not be empty'
  if (name === '.' || name === '..') return `"${name}" is not a topic name`
  if (name.length > 249) return `A topic name has at most 249 characters, this one ${name.length}`
  if (!LEGAL.test(name)) return 'A topic name is made of a–z, A–Z, 0–9, ".", "_" and "-" only'
  return null
}

/** Topics that the broker keeps for itself. */
export function isInternalTopic(name: string): boolean {
  return name === CONSUMER_OFFSETS
}
