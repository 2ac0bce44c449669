import type { TopicView } from './topic-view.ts'

/**
 * A number that changes when one of the topics named is made, deleted, made anew or grown. It is
 * kept with the group's epoch, so that a restart is no change; 0: none of them exists.
 */
export function hashOfTopics(names: Iterable<string>, topics: TopicView): number {
  let high = 0
  let low = 0
  for (const name of [...names].sort()) {
    const topic = topics.byName(name)
    if (topic === undefined) continue
    const text = `${name} ${topic.id} ${topic.partitions}\n`
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      high = Math.imul(high ^ code, 0x0100_0193) + 1
      low = Math.imul(low + code, 0x5bd1_e995)
      low ^= low >>> 15
    }
  }
  // 53 bits: it is exact as a number.
  return (high >>> 11) * 0x1_0000_0000 + (low >>> 0)
}
