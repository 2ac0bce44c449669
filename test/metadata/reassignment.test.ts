import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { MetadataImage } from '../../src/metadata/image.ts'
import { completion, reassignPartitions } from '../../src/metadata/reassignment.ts'
import {
  active,
  altered,
  brokerEvent,
  DIRECTORY,
  imageOf,
  placed,
  TOPIC,
} from './cluster-records.ts'

function clusterOf(...replicas: number[][]): MetadataImage {
  return imageOf([...active(1, 2, 3, 4), ...placed(...replicas)])
}

/** Applies it, and what ends it. */
function reassign(image: MetadataImage, targetReplicas: number[] | null, partition = 0): ErrorCode {
  const requests = [{ topicId: TOPIC, partition, targetReplicas }]
  const { records, results } = reassignPartitions(image, requests)
  for (const record of records) image.apply(record)
  return results[0]!.errorCode
}

function alter(image: MetadataImage, inSyncReplicas: number[]): void {
  image.apply(altered(inSyncReplicas))
  for (const record of completion(image, handleOf(image))) image.apply(record)
}

function handleOf(image: MetadataImage): number {
  return image.handleOf(TOPIC, 0) as number
}

/** replicas, adding, removing, ISR, leader */
function seen({ partitions }: MetadataImage): unknown[] {
  const handle = partitions.topic(1)!.handles[0] as number
  return [
    partitions.replicas(handle),
    partitions.addingReplicas(handle),
    partitions.removingReplicas(handle),
    partitions.inSyncReplicas(handle),
    partitions.leader(handle),
  ]
}

describe('reassignPartitions', () => {
  test('new replicas, stand beside the old ones until all are in sync', () => {
    const image = clusterOf([1, 2])
    assert.equal(reassign(image, [3, 2]), ErrorCode.NONE)
    assert.deepEqual(seen(image), [[3, 2, 1], [3], [1], [2, 1], 1])
    alter(image, [1, 3])
    assert.deepEqual(seen(image), [[3, 2, 1], [3], [1], [3, 1], 1], '2 is not in sync')
    alter(image, [1, 2, 3])
    assert.deepEqual(seen(image), [[3, 2], [], [], [3, 2], 3])
    assert.equal(image.partitions.reassignments.size, 0)
    assert.deepEqual(image.partitions.directories(handleOf(image)), [3, 2].map(DIRECTORY))
  })

  test('another order, or fewer, is done at once', () => {
    const image = clusterOf([1, 2, 3])
    assert.equal(reassign(image, [3, 1, 2]), ErrorCode.NONE)
    assert.deepEqual(seen(image), [[3, 1, 2], [], [], [3, 1, 2], 1])
    assert.equal(reassign(image, [2]), ErrorCode.NONE)
    assert.deepEqual(seen(image), [[2], [], [], [2], 2])
  })

  test('cancelled, goes back to what it was', () => {
    const image = clusterOf([1, 2])
    assert.equal(reassign(image, null), ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
    reassign(image, [3, 4])
    alter(image, [1, 2, 3])
    assert.equal(reassign(image, null), ErrorCode.NONE)
    assert.deepEqual(seen(image), [[1, 2], [], [], [1, 2], 1])
  })

  test('another target meanwhile, starts from what it was', () => {
    const image = clusterOf([1, 2])
    reassign(image, [3, 2])
    alter(image, [1, 2])
    assert.equal(reassign(image, [4, 1]), ErrorCode.NONE)
    assert.deepEqual(seen(image), [[4, 1, 2], [4], [2], [1, 2], 1])
  })

  test('a cancellation that would leave nobody in sync, is refused', () => {
    const image = clusterOf([1, 2])
    reassign(image, [3, 4])
    alter(image, [1, 2, 3])
    for (const id of [1, 2]) image.apply(brokerEvent('broker-fenced', id, id))
    assert.deepEqual(seen(image).slice(3), [[3], 3])
    assert.equal(reassign(image, null), ErrorCode.INVALID_REPLICA_ASSIGNMENT)
  })

  test('what cannot be, is refused', () => {
    const image = clusterOf([1, 2])
    for (const target of [[], [1, 1], [1, 9]]) {
      assert.equal(reassign(image, target), ErrorCode.INVALID_REPLICA_ASSIGNMENT)
    }
    assert.equal(reassign(image, [1], 5), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    const twice = [0, 0].map((partition) => ({ topicId: TOPIC, partition, targetReplicas: [3] }))
    const { results, records } = reassignPartitions(image, twice)
    assert.deepEqual(
      [results.map(({ errorCode }) => errorCode), records.length],
      [[ErrorCode.NONE, ErrorCode.INVALID_REQUEST], 1],
    )
  })
})
