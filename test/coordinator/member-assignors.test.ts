import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Random } from '../../src/base/random.ts'
import { decodeSubscription } from '../../src/coordinator/group/consumer-protocol.ts'
import {
  decodeAssignment,
  encodeAssignment,
  encodeSubscription,
  type TopicPartition,
} from '../../src/coordinator/group/consumer-protocol-writer.ts'
import {
  type AssignedMember,
  MEMBER_ASSIGNORS,
  type Shares,
} from '../../src/coordinator/group/member-assignors.ts'
import { withSeed } from '../support/seed.ts'

const keyOf = ({ topic, partition }: TopicPartition): string => `${topic}-${partition}`

function member(memberId: string, topics: readonly string[]): AssignedMember {
  return { memberId, topics, owned: [], generationId: -1 }
}

function assign(name: string, members: readonly AssignedMember[], counts: object): Shares {
  return MEMBER_ASSIGNORS.get(name)!(members, new Map(Object.entries(counts)))
}

function shown(shares: Shares): Record<string, string[]> {
  return Object.fromEntries([...shares].map(([id, share]) => [id, share.map(keyOf)]))
}

test('range and roundrobin give what Kafka gives', () => {
  const members = [member('b', ['x', 'y']), member('a', ['x', 'y'])]
  assert.deepEqual(shown(assign('range', members, { x: 3, y: 3 })), {
    a: ['x-0', 'x-1', 'y-0', 'y-1'],
    b: ['x-2', 'y-2'],
  })
  assert.deepEqual(shown(assign('roundrobin', members, { x: 3, y: 3 })), {
    a: ['x-0', 'x-2', 'y-1'],
    b: ['x-1', 'y-0', 'y-2'],
  })
  const unlike = [member('a', ['x']), member('b', ['x', 'y'])]
  assert.deepEqual(shown(assign('roundrobin', unlike, { x: 2, y: 2, z: 1 })), {
    a: ['x-0'],
    b: ['x-1', 'y-0', 'y-1'],
  })
})

test('cooperative-sticky lets members keep what they have, and gives what moves to nobody', () => {
  const owned = [0, 1, 2, 3].map((partition) => ({ topic: 'x', partition }))
  const holder = { memberId: 'a', topics: ['x'], owned, generationId: 4 }
  const first = assign('cooperative-sticky', [holder, member('b', ['x'])], { x: 4 })
  assert.deepEqual(shown(first), { a: ['x-0', 'x-1'], b: [] })
  const left = { ...holder, owned: first.get('a')! }
  const second = assign('cooperative-sticky', [left, member('b', ['x'])], { x: 4 })
  assert.deepEqual(shown(second), { a: ['x-0', 'x-1'], b: ['x-2', 'x-3'] })
})

test('every partition has one owner, who is subscribed; ownership settles', () =>
  withSeed('member-assignors', (random) => {
    for (let i = 0; i < 300; i++) {
      for (const name of MEMBER_ASSIGNORS.keys()) once(name, random)
    }
  }))

function once(name: string, random: Random): void {
  const topics = ['t', 'u', 'v', 'w'].slice(0, 1 + random.below(4))
  const counts = Object.fromEntries(topics.map((topic) => [topic, random.below(8)]))
  let members = Array.from({ length: 1 + random.below(5) }, (_, i): AssignedMember => {
    const subscribed = topics.filter(() => random.chance(0.7))
    return member(`m${i}`, random.chance(0.1) ? [...subscribed, 'none'] : subscribed)
  })
  // Claims as they come: of what there is not, twice, of others.
  members = members.map((each) => ({
    ...each,
    generationId: random.below(3),
    owned: topics.flatMap((topic) =>
      random.chance(0.5) ? [{ topic, partition: random.below(9) }] : [],
    ),
  }))
  let shares = assign(name, members, counts)
  for (let round = 0; round < 3; round++) {
    members = members.map((each) => ({
      ...each,
      owned: shares.get(each.memberId)!,
      generationId: 9,
    }))
    shares = assign(name, members, counts)
  }
  const owners = new Map<string, string>()
  for (const [memberId, share] of shares) {
    for (const at of share) {
      assert(!owners.has(keyOf(at)), `${name}: ${keyOf(at)} twice`)
      owners.set(keyOf(at), memberId)
      assert(members.find((each) => each.memberId === memberId)?.topics.includes(at.topic))
    }
  }
  const wanted = topics.filter((topic) => members.some((each) => each.topics.includes(topic)))
  const count = wanted.reduce((sum, topic) => sum + (counts[topic] as number), 0)
  assert.equal(owners.size, count, name)
}

test('what members write is read by members', () => {
  const said = decodeSubscription(encodeSubscription(['a', 'b']))
  assert.deepEqual([said?.topics, said?.ownedPartitions], [['a', 'b'], []])
  const share = [
    { topic: 'a', partition: 0 },
    { topic: 'a', partition: 5 },
    { topic: 'b', partition: 1 },
  ]
  assert.deepEqual(decodeAssignment(encodeAssignment(share)), share)
  assert.deepEqual(decodeAssignment(new Uint8Array(0)), [])
  assert.equal(decodeAssignment(new Uint8Array([0, 0, 0, 0, 0, 9])), null)
})
