import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomUuid, type Uuid } from '../../src/base/uuid.ts'
import { connectionsMax, descriptorLimit, openLogsMax } from '../../src/broker/descriptor-limit.ts'
import type { DirectoryCondition } from '../../src/broker/directory-states.ts'
import { openBatches } from '../../src/broker/local-partitions.ts'
import { PartitionPlacement } from '../../src/broker/partition-placement.ts'
import type { OpenPartition } from '../../src/shard/control.ts'

const MIB = 1024 * 1024

/** Directories /0, /1, …; `conditions` says what is wrong with some of them. */
function placementOf(
  shards: number,
  ids: readonly Uuid[],
  conditions: Readonly<Record<string, DirectoryCondition>> = {},
): PartitionPlacement {
  return new PartitionPlacement({
    shards,
    directories: new Map(ids.map((id, i) => [id, `/${i}`])),
    conditionOf: (path) => conditions[path] ?? 'online',
  })
}

test('PartitionPlacement, partitions of falling size, balances bytes over the shards', () => {
  const placement = placementOf(3, [randomUuid()])
  const sizes = [900, 500, 400, 300, 100, 100, 50, 50].map((mib) => mib * MIB)
  const bytes = [0, 0, 0]
  for (const [i, size] of sizes.entries()) {
    const shard = placement.assign(i + 1, size)
    assert.equal(placement.shardOf(i + 1), shard)
    bytes[shard]! += size
  }
  const mean = bytes.reduce((sum, one) => sum + one, 0) / 3
  for (const one of bytes) assert.ok(Math.abs(one - mean) < mean / 4, String(bytes))
})

test('PartitionPlacement, empty partitions, spread evenly, also past the first thousand', () => {
  const placement = placementOf(3, [randomUuid()])
  const counts = [0, 0, 0]
  for (let handle = 1; handle <= 3000; handle++) counts[placement.assign(handle, 0)]!++
  assert.deepEqual(counts, [1000, 1000, 1000])
  assert.equal(placement.shardOf(1), 0)
})

test('PartitionPlacement.chooseDirectory, takes the directory with the fewest partitions', () => {
  const [a, b] = [randomUuid(), randomUuid()]
  const placement = placementOf(1, [a, b])
  placement.countDirectory(a)
  placement.countDirectory(a)
  assert.deepEqual(
    Array.from({ length: 4 }, () => placement.chooseDirectory()),
    [b, b, a, b],
  )
})

test('PartitionPlacement.chooseDirectory, a directory is offline or full, takes another', () => {
  const ids = [randomUuid(), randomUuid(), randomUuid()] as const
  const choose = (conditions: Record<string, DirectoryCondition>): (Uuid | null)[] => {
    const placement = placementOf(1, ids, conditions)
    return [placement.chooseDirectory(), placement.chooseDirectory()]
  }
  assert.deepEqual(choose({ '/0': 'offline', '/1': 'short' }), [ids[2], ids[2]])
  assert.deepEqual(choose({ '/0': 'offline', '/1': 'short', '/2': 'short' }), [ids[1], ids[2]])
  const none = { '/0': 'offline', '/1': 'offline', '/2': 'offline' } as const
  assert.throws(() => choose(none), /every log directory is offline/)
})

test('openBatches, long paths, gives pieces that fit a control message and lose nobody', () => {
  const directory = `/${'x'.repeat(3000)}`
  const partitions = Array.from({ length: 500 }, (_, handle) => ({
    handle,
    directory,
    logDirectory: directory,
  })) as unknown as OpenPartition[]
  const batches = [...openBatches(partitions)]
  assert.deepEqual(batches.flat(), partitions)
  for (const batch of batches) assert.ok(JSON.stringify(batch).length < 128 * 1024)
  assert.deepEqual([...openBatches([])], [])
})

test('descriptor limits, leave room for both connections and logs', () => {
  assert.ok(descriptorLimit() > 0)
  for (const limit of [256, 1024, 20_000, 1_000_000, Infinity]) {
    for (const shards of [1, 3, 64]) {
      const logs = openLogsMax(limit, shards)
      assert.ok(logs >= 16 && logs <= 10_000)
      // Below some thousand descriptors the least that works counts more than the sum.
      const { kafka, http } = connectionsMax(limit)
      if (limit >= 20_000) assert.ok(kafka + http + 100 + logs * shards * 6 <= limit)
    }
  }
})
