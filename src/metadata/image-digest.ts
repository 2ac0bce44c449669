/**
 * Images as text, and a digest of it: two nodes that have applied the same records must have the
 * same. Nothing in it depends on how an image came to be: not on handles, not on the order of maps.
 */
import type { BrokerRegistration } from './broker-registration.ts'
import type { MetadataImage } from './image.ts'
import type { Topic } from './topic.ts'

/** Everything that an image holds, a fact a line. */
export function stateText(image: MetadataImage): string {
  return [...stateLines(image)].join('\n')
}

/** 64 bits of `stateText`, which is never in memory as a whole. Not for what is hostile. */
export function stateDigest(image: MetadataImage): string {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (const line of stateLines(image)) {
    for (let i = 0; i <= line.length; i++) {
      const code = i < line.length ? line.charCodeAt(i) : 10
      a = Math.imul(a ^ code, 0x9e3779b1)
      b = Math.imul(b ^ code, 0x5f356495)
      a = (a << 13) | (a >>> 19)
      b = (b << 17) | (b >>> 15)
    }
  }
  return hex(a) + hex(b)
}

function* stateLines(image: MetadataImage): Generator<string> {
  yield `producer ids ${image.nextProducerId}, broker epoch ${image.brokerEpoch}`
  for (const [name, level] of sorted(image.features)) yield `feature ${name} ${level}`
  for (const id of [...image.brokers.keys()].sort((a, b) => a - b)) {
    yield brokerLine(image.brokers.get(id) as BrokerRegistration)
  }
  for (const [id, acl] of sorted(image.access.acls)) {
    yield `acl ${id} ${JSON.stringify(Object.entries(acl).sort())}`
  }
  for (const [key, { value }] of sorted(image.access.quotas)) yield `quota ${key} ${value}`
  yield* configLines('broker', image.brokerConfigs)
  yield* configLines('group', image.groupConfigs)
  for (const [, topic] of sorted(image.topicsById)) {
    yield `topic ${topic.id} ${JSON.stringify(topic.name)}`
    for (const [name, value] of sorted(topic.configs)) yield `  ${name}=${JSON.stringify(value)}`
    yield* partitionLines(image, topic)
  }
}

function brokerLine(broker: BrokerRegistration): string {
  const { id, epoch, isFenced, isDraining, ...described } = broker
  const state = `${isFenced ? ' fenced' : ''}${isDraining ? ' draining' : ''}`
  return `broker ${id} epoch ${epoch}${state} ${JSON.stringify(Object.entries(described).sort())}`
}

function* partitionLines({ partitions }: MetadataImage, topic: Topic): Generator<string> {
  for (const [partition, handle] of topic.handles.entries()) {
    const state = partitions.state(handle)
    const lists = [
      state.replicas,
      state.inSyncReplicas,
      state.eligibleReplicas,
      partitions.addingReplicas(handle),
      partitions.removingReplicas(handle),
      partitions.directories(handle),
    ]
    const { leader, leaderEpoch, partitionEpoch, lastKnownLeader } = state
    const numbers = `${leader} in ${leaderEpoch}, ${partitionEpoch}, last ${lastKnownLeader}`
    yield `  ${partition}: ${numbers}; ${lists.map((list) => list.join()).join('; ')}`
  }
}

function* configLines(
  what: string,
  all: ReadonlyMap<string, ReadonlyMap<string, string>>,
): Generator<string> {
  for (const [owner, configs] of sorted(all)) {
    for (const [name, value] of sorted(configs)) {
      yield `${what} ${JSON.stringify(owner)} ${name}=${JSON.stringify(value)}`
    }
  }
}

/** By code units, which do not depend on a locale. */
function sorted<V>(map: ReadonlyMap<string, V>): [string, V][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0')
}
