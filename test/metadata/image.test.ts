import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AssertionError } from '../../src/base/assert.ts'
import { randomUuid } from '../../src/base/uuid.ts'
import { MetadataImage } from '../../src/metadata/image.ts'
import { decodeMetadataRecord, encodeMetadataRecord } from '../../src/metadata/record-schema.ts'
import { type MetadataRecord, RULE_VERSION } from '../../src/metadata/records.ts'
import { altered, placed, registered } from './cluster-records.ts'

const topicId = randomUuid()
const directory = randomUuid()

const HISTORY: readonly MetadataRecord[] = [
  { type: 'broker-start', brokerId: 1, brokerEpoch: 1, clean: true },
  { type: 'topic', topicId, name: 'orders' },
  { type: 'config', topicId, name: 'retention.ms', value: '1000' },
  { type: 'config', topicId, name: 'segment.ms', value: '5' },
  { type: 'config', topicId, name: 'segment.ms', value: null },
  { type: 'partitions', topicId, firstPartition: 0, directories: [directory, directory] },
  { type: 'partitions', topicId, firstPartition: 2, directories: [directory] },
  { type: 'producer-ids', brokerId: 1, nextProducerId: 2 ** 33 },
]

test('metadata records, encoded and decoded, come back equal', () => {
  const ofBroker = { brokerId: 3, brokerEpoch: 2 ** 40, ruleVersion: 1 }
  const records: MetadataRecord[] = [
    ...HISTORY,
    { type: 'remove-topic', topicId },
    registered(3, 2 ** 40, { rack: 'a', isUnclean: true }),
    { type: 'broker-unfenced', ...ofBroker },
    { type: 'broker-draining', ...ofBroker },
    { type: 'broker-fenced', ...ofBroker },
    { type: 'broker-unregistered', ...ofBroker },
    ...placed([1, 2, 3], [2], []),
    altered([1, 3]),
    { type: 'leader-elected', topicId, partitions: [1, 2], kind: 'unclean', ruleVersion: 1 },
    {
      type: 'partition-reassigned',
      topicId,
      partition: 5,
      replicas: [1, 2],
      replicaDirectories: [directory, directory],
      addingReplicas: [1],
      removingReplicas: [2],
      ruleVersion: 1,
    },
    { type: 'features', name: 'metadata.version', level: 2 },
  ]
  for (const record of records) {
    assert.deepEqual(decodeMetadataRecord(encodeMetadataRecord(record)), record)
  }
})

test('decodeMetadataRecord, a type or frame version of a newer broker, says so', () => {
  const bytes = encodeMetadataRecord({ type: 'remove-topic', topicId })
  for (const [index, value] of [
    [0, 2],
    [1, 99],
    [2, 7],
  ] as const) {
    const changed = bytes.slice()
    changed[index] = value
    assert.throws(() => decodeMetadataRecord(changed), /newer broker/)
  }
})

test('decodeMetadataRecord, rules of a newer broker, says so', () => {
  for (const record of [altered([1]), registered(1, 1), placed([1])[1] as MetadataRecord]) {
    const bytes = encodeMetadataRecord({
      ...record,
      ruleVersion: RULE_VERSION + 1,
    } as MetadataRecord)
    assert.throws(() => decodeMetadataRecord(bytes), /rules of version 3: a newer broker/)
    const none = encodeMetadataRecord({ ...record, ruleVersion: 0 } as MetadataRecord)
    assert.throws(() => decodeMetadataRecord(none), /rules of version 0/)
  }
})

test('encodeMetadataRecord, partitions of a broker on its own, are of version 0 as ever', () => {
  const bytes = encodeMetadataRecord(HISTORY[5] as MetadataRecord)
  assert.deepEqual([...bytes.subarray(0, 3)], [1, 3, 0])
  assert.deepEqual(
    [...encodeMetadataRecord(placed([1])[1] as MetadataRecord)].slice(0, 3),
    [1, 3, 1],
  )
})

test('MetadataImage, a history applied, holds topics, partitions and configurations', () => {
  const image = new MetadataImage()
  for (const record of HISTORY) image.apply(record)
  const topic = image.topicsByName.get('orders')
  assert.ok(topic !== undefined)
  assert.equal(image.topicsById.get(topicId), topic)
  assert.deepEqual(
    topic.handles.map((handle) => image.partitions.partitionNumber(handle)),
    [0, 1, 2],
  )
  assert.deepEqual([...topic.configs], [['retention.ms', '1000']])
  assert.equal(image.nextProducerId, 2 ** 33)
  assert.equal(image.partitions.count, 3)
})

test('MetadataImage, an unclean start, raises every leader epoch; a clean one does not', () => {
  const image = new MetadataImage()
  for (const record of HISTORY) image.apply(record)
  const handle = image.topicsByName.get('orders')!.handles[1]!
  image.apply({ type: 'broker-start', brokerId: 1, brokerEpoch: 2, clean: true })
  assert.equal(image.partitions.leaderEpoch(handle), 0)
  image.apply({ type: 'broker-start', brokerId: 1, brokerEpoch: 3, clean: false })
  assert.equal(image.partitions.leaderEpoch(handle), 1)
})

test('MetadataImage, a removed topic, frees its name but not its handles', () => {
  const image = new MetadataImage()
  for (const record of HISTORY) image.apply(record)
  const old = image.topicsByName.get('orders')!.handles
  image.apply({ type: 'remove-topic', topicId })
  assert.equal(image.partitions.count, 0)
  const again = randomUuid()
  image.apply({ type: 'topic', topicId: again, name: 'orders' })
  image.apply({ type: 'partitions', topicId: again, firstPartition: 0, directories: [directory] })
  const handle = image.topicsByName.get('orders')!.handles[0]!
  assert.ok(!old.includes(handle))
})

test('MetadataImage, a record that does not fit, fails as our own bug', () => {
  const image = new MetadataImage()
  assert.throws(() => image.apply({ type: 'remove-topic', topicId }), AssertionError)
  image.apply({ type: 'topic', topicId, name: 'orders' })
  assert.throws(() => image.apply({ type: 'topic', topicId, name: 'orders' }), AssertionError)
  assert.throws(
    () => image.apply({ type: 'partitions', topicId, firstPartition: 1, directories: [directory] }),
    AssertionError,
  )
})
