/** What `cluster rebalance`, `drain` and `decommission` would do, on clusters made up. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  copiesOf,
  countByBroker,
  type PlanBroker,
  PlanError,
  type PlannedMove,
  type PlanPartition,
  planDrain,
  planRebalance,
  planVacate,
} from '../../src/cli/cluster-plan.ts'
import { withSeed } from '../support/seed.ts'

function brokers(count: number, racks = 0): PlanBroker[] {
  return Array.from({ length: count }, (_, i) => {
    return { id: i + 1, rack: racks === 0 ? null : `r${i % racks}` }
  })
}

function partitions(count: number, replicas: (i: number) => readonly number[]): PlanPartition[] {
  return Array.from({ length: count }, (_, partition) => {
    return { topic: 't', partition, replicas: replicas(partition) }
  })
}

function after(before: readonly PlanPartition[], moves: readonly PlannedMove[]): PlanPartition[] {
  return before.map((one) => {
    const move = moves.find((m) => m.topic === one.topic && m.partition === one.partition)
    return move === undefined ? one : { ...one, replicas: move.to }
  })
}

function spread(
  list: readonly PlanPartition[],
  ids: readonly number[],
  what: 'replicas' | 'leaders',
) {
  const counts = countByBroker(list)
  const values = ids.map((id) => counts.get(id)?.[what] ?? 0)
  return Math.max(...values) - Math.min(...values)
}

test('rebalance, onto an empty broker, copies its share and nothing else', () => {
  const before = partitions(8, (i) => [(i % 3) + 1, ((i + 1) % 3) + 1, ((i + 2) % 3) + 1])
  const moves = planRebalance(brokers(4), before)
  const all = after(before, moves)
  assert.equal(countByBroker(all).get(4)?.replicas, 6)
  assert.equal(
    moves.reduce((sum, move) => sum + copiesOf(move), 0),
    6,
  )
  assert.ok(spread(all, [1, 2, 3, 4], 'leaders') <= 1)
})

test('rebalance, of what is balanced, moves nothing', () => {
  const before = partitions(9, (i) => [(i % 3) + 1, ((i + 1) % 3) + 1])
  assert.deepEqual(planRebalance(brokers(3), before), [])
})

test('rebalance, where one leads everything, only changes the order', () => {
  const before = partitions(6, () => [1, 2, 3])
  const moves = planRebalance(brokers(3), before)
  assert.equal(
    moves.reduce((sum, move) => sum + copiesOf(move), 0),
    0,
  )
  assert.equal(spread(after(before, moves), [1, 2, 3], 'leaders'), 0)
})

test('rebalance, leaders that only a third broker can pass on, are passed on', () => {
  // 1 shares with 2, 2 with 3: 1 leads three, 3 none.
  const before = [
    ...partitions(3, () => [1, 2]),
    { topic: 'u', partition: 0, replicas: [2, 3] },
    { topic: 'u', partition: 1, replicas: [2, 3] },
    { topic: 'v', partition: 0, replicas: [3, 1] },
  ]
  const all = after(before, planRebalance(brokers(3), before))
  assert.equal(spread(all, [1, 2, 3], 'leaders'), 0)
})

test('rebalance, several topics, spreads each of them', () => {
  const before = ['a', 'b', 'c', 'd'].flatMap((topic) =>
    partitions(4, () => [1]).map((one) => ({ ...one, topic })),
  )
  const all = after(before, planRebalance(brokers(4), before))
  for (const topic of ['a', 'b', 'c', 'd']) {
    const own = all.filter((one) => one.topic === topic)
    assert.equal(spread(own, [1, 2, 3, 4], 'replicas'), 0, topic)
  }
})

test('rebalance, two replicas on a rack, puts one on another rack', () => {
  const before = partitions(4, () => [1, 3]) // Both on r0 of 1 r0, 2 r1, 3 r0, 4 r1.
  const all = after(before, planRebalance(brokers(4, 2), before))
  for (const { replicas } of all) {
    assert.equal(new Set(replicas.map((id) => id % 2)).size, 2)
  }
  assert.equal(spread(all, [1, 2, 3, 4], 'replicas'), 0)
})

test('rebalance, fewer brokers than replicas, says so', () => {
  const before = partitions(1, () => [1, 2, 3])
  assert.throws(() => planRebalance(brokers(2), before), PlanError)
})

test('vacate, moves what is on the broker, and nothing else', () => {
  const before = partitions(6, (i) => (i < 3 ? [1, 2] : [2, 3]))
  const moves = planVacate(
    brokers(4).filter(({ id }) => id !== 1),
    before,
  )
  assert.deepEqual(
    moves.map(({ partition }) => partition),
    [0, 1, 2],
  )
  for (const { from, to } of moves) {
    assert.equal(from.indexOf(2), to.indexOf(2))
    assert.ok(!to.includes(1))
  }
})

test('drain, gives what it leads to who leads least and is in sync', () => {
  const mayLead = [1, 2, 3]
  const before = [
    { topic: 't', partition: 0, replicas: [1, 2, 3], mayLead },
    { topic: 't', partition: 1, replicas: [1, 2, 3], mayLead },
    { topic: 't', partition: 2, replicas: [2, 1, 3], mayLead },
    { topic: 't', partition: 3, replicas: [1, 2, 3], mayLead: [1] },
  ]
  const moves = planDrain(1, before)
  assert.deepEqual(
    moves.map(({ partition, to }) => [partition, to]),
    [
      [0, [3, 2, 1]],
      [1, [2, 3, 1]],
    ],
  )
})

test('rebalance, random clusters, ends balanced, copies no more than it must', () =>
  withSeed('cluster-plan', (random) => {
    for (let round = 0; round < 300; round++) {
      const ids = 1 + random.below(7)
      const hosts = brokers(ids)
      const before = partitions(1 + random.below(60), () => {
        const all = hosts.map(({ id }) => id)
        const count = 1 + random.below(Math.min(3, ids))
        return Array.from({ length: count }, () => all.splice(random.below(all.length), 1)[0]!)
      })
      const moves = planRebalance(hosts, before)
      const all = after(before, moves)
      for (const [i, { replicas }] of all.entries()) {
        assert.equal(new Set(replicas).size, before[i]!.replicas.length)
      }
      const every = hosts.map(({ id }) => id)
      assert.ok(spread(all, every, 'replicas') <= 1)
      const counts = countByBroker(before)
      const total = before.reduce((sum, { replicas }) => sum + replicas.length, 0)
      const floor = Math.floor(total / ids)
      const over = every.map((id) => Math.max(0, (counts.get(id)?.replicas ?? 0) - floor))
      const copies = moves.reduce((sum, move) => sum + copiesOf(move), 0)
      assert.ok(copies <= over.reduce((sum, one) => sum + one, 0))
      assert.deepEqual(planRebalance(hosts, all), [], 'a second plan has nothing to do')
    }
  }))

test('rebalance, random racks, loses no rack', () =>
  withSeed('cluster-plan', (random) => {
    for (let round = 0; round < 200; round++) {
      const racks = 2 + random.below(3)
      const hosts = brokers(racks + random.below(5), racks)
      const rackOf = new Map(hosts.map(({ id, rack }) => [id, rack]))
      const before = partitions(1 + random.below(40), () => {
        const all = hosts.map(({ id }) => id)
        const count = 1 + random.below(Math.min(3, hosts.length))
        return Array.from({ length: count }, () => all.splice(random.below(all.length), 1)[0]!)
      })
      for (const { replicas } of after(before, planRebalance(hosts, before))) {
        const used = new Set(replicas.map((id) => rackOf.get(id)))
        assert.equal(used.size, Math.min(racks, replicas.length))
      }
    }
  }))
