import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  DirectoryChoice,
  isRefused,
  type PlacementBroker,
  type PlacementRequest,
  placeInCluster,
  placeReplicas,
} from '../../src/metadata/replica-placement.ts'
import { active, brokerEvent, imageOf, placed, registered, uuidFor } from './cluster-records.ts'

function brokers(...racks: (string | null)[]): PlacementBroker[] {
  return racks.map((rack, i) => ({ id: i + 1, rack, isActive: true }))
}

function place(request: Partial<PlacementRequest>, seed = 1): number[][] {
  const result = placeReplicas({
    partitions: 1,
    replicationFactor: 1,
    brokers: brokers(null, null, null),
    random: new Random(seed),
    ...request,
  })
  if (isRefused(result)) throw new Error(result.errorMessage)
  return result
}

function spread(counts: ReadonlyMap<number, number>): number {
  return Math.max(...counts.values()) - Math.min(...counts.values())
}

function count(ids: readonly number[], over: readonly PlacementBroker[]): Map<number, number> {
  const counts = new Map(over.map(({ id }) => [id, 0]))
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1)
  return counts
}

describe('placeReplicas', () => {
  test('the same seed, gives the same', () => {
    assert.deepEqual(place({ partitions: 9, replicationFactor: 3 }, 7), [
      ...place({ partitions: 9, replicationFactor: 3 }, 7),
    ])
  })

  test('random clusters, are filled evenly, over as many racks as there are', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const random = new Random(seed)
      const racks = random.between(1, 5)
      const all = Array.from({ length: random.between(1, 12) }, (_, i): PlacementBroker => {
        return { id: i * 3, rack: racks === 1 ? null : `${random.below(racks)}`, isActive: true }
      })
      const replicationFactor = random.between(1, Math.min(5, all.length))
      const partitions = random.between(1, 60)
      const result = place({ partitions, replicationFactor, brokers: all }, seed)
      assert.equal(result.length, partitions)
      const rackOf = new Map(all.map(({ id, rack }) => [id, rack]))
      const rackCount = new Set(rackOf.values()).size
      for (const replicas of result) {
        assert.equal(new Set(replicas).size, replicationFactor, `seed ${seed}`)
        const used = new Set(replicas.map((id) => rackOf.get(id))).size
        assert.equal(used, Math.min(rackCount, replicationFactor), `seed ${seed}`)
      }
      const leaders = count(
        result.map(([leader]) => leader as number),
        all,
      )
      assert.ok(spread(leaders) <= 1, `seed ${seed}: leaders ${[...leaders]}`)
      const total = count(result.flat(), all)
      // With racks of different sizes the brokers of small ones have more.
      if (rackCount === 1) assert.ok(spread(total) <= 2, `seed ${seed}: replicas ${[...total]}`)
    }
  })

  test('followers of one leader, are many', () => {
    const all = brokers(null, null, null, null, null)
    const result = place({ partitions: 100, replicationFactor: 2, brokers: all })
    for (const { id } of all) {
      const followers = result.filter(([leader]) => leader === id).map(([, second]) => second)
      const counts = count(
        followers as number[],
        all.filter((broker) => broker.id !== id),
      )
      assert.ok(spread(counts) <= 2, `${id}: ${[...counts]}`)
    }
  })

  test('brokers that are not active, lead nothing and follow only where they must', () => {
    const all = brokers('a', 'b', 'c').map((broker) => ({ ...broker, isActive: broker.id !== 2 }))
    for (const replicas of place({ partitions: 20, replicationFactor: 2, brokers: all })) {
      assert.ok(!replicas.includes(2))
    }
    for (const replicas of place({ partitions: 20, replicationFactor: 3, brokers: all })) {
      assert.equal(replicas[2], 2)
    }
  })

  test('what cannot be, is refused', () => {
    const request = { partitions: 1, replicationFactor: 3, random: new Random(1) }
    const none = brokers(null, null, null).map((broker) => ({ ...broker, isActive: false }))
    for (const list of [brokers(null, null), none]) {
      const result = placeReplicas({ ...request, brokers: list })
      assert.ok(isRefused(result))
      assert.equal(result.errorCode, ErrorCode.INVALID_REPLICATION_FACTOR)
    }
    const zero = placeReplicas({ ...request, replicationFactor: 0, brokers: brokers(null) })
    assert.ok(isRefused(zero))
  })
})

describe('placeInCluster', () => {
  test('the emptiest directory of each broker, is taken', () => {
    const disks = [uuidFor('X', 1), uuidFor('X', 2)]
    const image = imageOf([
      registered(1, 1, { directories: disks }),
      brokerEvent('broker-unfenced', 1, 1),
    ])
    const result = placeInCluster(image, {
      partitions: 6,
      replicationFactor: 1,
      random: new Random(1),
    })
    assert.ok(!isRefused(result))
    const used = result.replicaDirectories.map(([directory]) => directory)
    assert.deepEqual(used, [...disks, ...disks, ...disks])
    const record = { ...placed([1])[1], ...result, ruleVersion: 1 }
    image.apply(placed([1])[0]!)
    image.apply(record as never)
    assert.deepEqual([...image.partitions.replicasByDirectory().values()], [3, 3])
    image.apply({ type: 'remove-topic', topicId: placed([1])[0]!['topicId' as never] })
    assert.equal(image.partitions.replicasByDirectory().size, 0)
  })

  test('a broker that is not there, has no directory', () => {
    assert.equal(new DirectoryChoice(imageOf(active(1))).choose(2), null)
  })
})
