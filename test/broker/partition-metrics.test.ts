import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { topicsToShow } from '../../src/broker/partition-metrics.ts'
import { MetadataImage } from '../../src/metadata/image.ts'
import { active, uuidFor } from '../metadata/cluster-records.ts'

/** Topics of two partitions each, on the brokers that are given for both. */
function imageOf(...replicasOf: readonly (readonly number[])[]): MetadataImage {
  const image = new MetadataImage()
  for (const record of active(1, 2, 3)) image.apply(record)
  for (const [i, replicas] of replicasOf.entries()) {
    const topicId = uuidFor('T', i)
    image.apply({ type: 'topic', topicId, name: `topic-${i}` })
    image.apply({
      ...{ type: 'partitions', topicId, firstPartition: 0, ruleVersion: 1 },
      replicas: [replicas, replicas],
      replicaDirectories: [replicas, replicas].map((ids) => ids.map((id) => uuidFor('D', id))),
    })
  }
  return image
}

function namesOf(image: MetadataImage, nodeId: number, max: number): string[] {
  return topicsToShow(image, nodeId, max).map(({ name }) => name)
}

describe('topics in /metrics', () => {
  const image = imageOf([1, 2], [2, 3], [3, 1], [2], [1])

  test('are all of them where there is room', () => {
    assert.deepEqual(namesOf(image, 1, 5), ['topic-0', 'topic-1', 'topic-2', 'topic-3', 'topic-4'])
  })

  test('are those with partitions here first, once each, where there is not', () => {
    assert.deepEqual(namesOf(image, 1, 2), ['topic-0', 'topic-2'])
    assert.deepEqual(namesOf(image, 1, 4), ['topic-0', 'topic-2', 'topic-4', 'topic-1'])
    assert.deepEqual(namesOf(image, 3, 3), ['topic-1', 'topic-2', 'topic-0'])
    assert.deepEqual(namesOf(image, 3, 0), [])
  })

  test('are some others on a broker that has none', () => {
    assert.deepEqual(namesOf(image, 9, 2), ['topic-0', 'topic-1'])
  })
})
