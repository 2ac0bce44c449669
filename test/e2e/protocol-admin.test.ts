/**
 * Administration over Kafka's protocol against a real broker process with three shards, and what a
 * restart must remember: topics, deletions, producer ids, leader epochs.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { uuidToHex, ZERO_UUID } from '../../src/base/uuid.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import {
  append,
  appendOk,
  batchOf,
  createTopic,
  fetch,
  listOffset,
  newProducerId,
  readPartition,
  values,
} from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

const TOPIC_RESOURCE = 2
const BROKER_RESOURCE = 4
const EARLIEST = -2
const LATEST = -1

let broker: TestBroker
let client: RawClient

before(async () => {
  broker = await startBroker({ shards: 3 })
  client = await RawClient.open(broker.port)
})

after(async () => {
  client?.close()
  await broker?.stop()
  broker?.cleanUp()
})

/** Ends the broker, one way or the other, and starts it again on the same data. */
async function restart(how: 'stop' | 'kill'): Promise<void> {
  client.close()
  await broker[how]()
  broker = await startBroker({ shards: 3, dataDirs: broker.dataDirs })
  client = await RawClient.open(broker.port)
}

async function deleteRecords(topic: string, partition: number, offset: number) {
  const answer = await client.request(ApiKey.DELETE_RECORDS, 2, {
    topics: [{ name: topic, partitions: [{ partitionIndex: partition, offset }] }],
    timeoutMs: 30_000,
  })
  return answer.topics[0]!.partitions[0]!
}

async function deleteTopic(name: string): Promise<number> {
  const answer = await client.request(ApiKey.DELETE_TOPICS, 6, {
    topics: [{ name, topicId: ZERO_UUID }],
    timeoutMs: 30_000,
  })
  return answer.responses[0]!.errorCode
}

async function leaderEpoch(topic: string): Promise<number> {
  const answer = await client.request(ApiKey.METADATA, 12, {
    topics: [{ name: topic, topicId: ZERO_UUID }],
    allowAutoTopicCreation: false,
  })
  return answer.topics[0]!.partitions[0]!.leaderEpoch
}

describe('DeleteRecords', () => {
  test('moves the log start, drops segments and survives a kill', async () => {
    const at = { topic: 'cut', partition: 2 }
    const configs = { 'internal.segment.bytes': '1000' }
    const topicId = await createTopic(client, { name: at.topic, partitions: 3, configs })
    for (let i = 0; i < 30; i++) {
      await appendOk(client, at, batchOf({ values: [`${i} ${'x'.repeat(300)}`] }))
    }
    const folder = join(broker.dataDir, `${uuidToHex(topicId)}-2`)
    const segments = () => readdirSync(folder).filter((name) => name.endsWith('.log')).length
    const before = segments()
    const cut = await deleteRecords(at.topic, 2, 17)
    assert.deepEqual([cut.errorCode, cut.lowWatermark], [ErrorCode.NONE, 17])
    assert.ok(segments() < before)
    const check = async () => {
      assert.equal((await listOffset(client, at, EARLIEST)).offset, 17)
      const below = [{ partition: 2, fetchOffset: 16 }]
      const [fetched] = await fetch(client, { topic: at.topic, partitions: below })
      assert.equal(fetched!.partition.errorCode, ErrorCode.OFFSET_OUT_OF_RANGE)
      const read = await readPartition(client, at, 17)
      assert.deepEqual([read[0]?.value.slice(0, 2), read.length], ['17', 13])
    }
    await check()
    await restart('kill')
    await check()
    // Everything, by −1; then the next offset goes on.
    assert.equal((await deleteRecords(at.topic, 2, -1)).lowWatermark, 30)
    assert.equal(await appendOk(client, at, batchOf()), 30)
    assert.equal((await listOffset(client, at, EARLIEST)).offset, 30)
  })

  test('above the high watermark or of an unknown partition is refused', async () => {
    await createTopic(client, { name: 'cut-not', partitions: 1 })
    assert.equal((await deleteRecords('cut-not', 0, 1)).errorCode, ErrorCode.OFFSET_OUT_OF_RANGE)
    const { errorCode } = await deleteRecords('cut-not', 7, 0)
    assert.equal(errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  })

  test('in the middle of appends neither loses one nor ends the broker', async () => {
    const at = { topic: 'cut-busy', partition: 0 }
    const configs = { 'internal.segment.bytes': '4000', 'flush.messages': '1' }
    await createTopic(client, { name: at.topic, partitions: 1, configs })
    const other = await RawClient.open(broker.port)
    try {
      const appended: Promise<number>[] = []
      for (let i = 0; i < 400; i++) {
        appended.push(appendOk(other, at, batchOf({ values: [`${i} ${'x'.repeat(100)}`] })))
        if (i % 20 === 19) await deleteRecords(at.topic, 0, -1)
      }
      const offsets = await Promise.all(appended)
      assert.deepEqual(
        offsets,
        offsets.map((_, i) => i),
      )
      const start = (await listOffset(client, at, EARLIEST)).offset
      const rest = await readPartition(client, at, start)
      assert.equal(rest.length, 400 - start)
    } finally {
      other.close()
    }
  })
})

describe('CreatePartitions', () => {
  const grow = async (name: string, count: number, validateOnly = false) => {
    const answer = await client.request(ApiKey.CREATE_PARTITIONS, 3, {
      topics: [{ name, count, assignments: null }],
      timeoutMs: 30_000,
      validateOnly,
    })
    return answer.results[0]!.errorCode
  }

  test('adds partitions that work at once and after a restart', async () => {
    await createTopic(client, { name: 'grow', partitions: 1 })
    await appendOk(client, { topic: 'grow', partition: 0 }, batchOf({ values: ['old'] }))
    assert.equal(await grow('grow', 5, true), ErrorCode.NONE)
    const none = await append(client, { topic: 'grow', partition: 4 }, batchOf())
    assert.equal(none.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    assert.equal(await grow('grow', 5), ErrorCode.NONE)
    await appendOk(client, { topic: 'grow', partition: 4 }, batchOf({ values: ['new'] }))
    await restart('stop')
    assert.deepEqual(await values(client, { topic: 'grow', partition: 0 }), ['old'])
    assert.deepEqual(await values(client, { topic: 'grow', partition: 4 }), ['new'])
  })

  test('refuses to shrink, and an unknown topic', async () => {
    await createTopic(client, { name: 'grow-not', partitions: 3 })
    assert.equal(await grow('grow-not', 3), ErrorCode.INVALID_PARTITIONS)
    assert.equal(await grow('grow-not', 2), ErrorCode.INVALID_PARTITIONS)
    assert.equal(await grow('nowhere', 2), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  })
})

describe('DeleteTopics', () => {
  test('removes the files, and a topic of the same name begins anew', async () => {
    const at = { topic: 'gone', partition: 0 }
    const topicId = await createTopic(client, { name: at.topic, partitions: 6 })
    const folders = () => readdirSync(broker.dataDir).filter((n) => n.startsWith(hex))
    const hex = uuidToHex(topicId)
    for (let partition = 0; partition < 6; partition++) {
      await appendOk(client, { topic: at.topic, partition }, batchOf())
    }
    assert.equal(folders().length, 6)
    assert.equal(await deleteTopic(at.topic), ErrorCode.NONE)
    assert.deepEqual(folders(), [])
    assert.equal(await deleteTopic(at.topic), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    assert.notEqual(await createTopic(client, { name: at.topic, partitions: 1 }), topicId)
    assert.equal(await appendOk(client, at, batchOf()), 0)
    await restart('kill')
    assert.equal((await values(client, at)).length, 1)
    assert.deepEqual(folders(), [])
  })

  test('while producers append leaves the other topics and the broker alone', async () => {
    await createTopic(client, { name: 'stays', partitions: 3 })
    const other = await RawClient.open(broker.port)
    try {
      for (let round = 0; round < 10; round++) {
        const name = `goes-${round}`
        const configs = { 'flush.messages': round % 2 === 0 ? '1' : '1000' }
        await createTopic(client, { name, partitions: 3, configs })
        const answers: Promise<unknown>[] = []
        for (let i = 0; i < 60; i++) {
          answers.push(append(other, { topic: name, partition: i % 3 }, batchOf()))
          if (i === 30) answers.push(deleteTopic(name))
          answers.push(appendOk(other, { topic: 'stays', partition: i % 3 }, batchOf()))
        }
        await Promise.all(answers)
      }
      assert.equal((await values(client, { topic: 'stays', partition: 1 })).length, 200)
      assert.doesNotMatch(broker.output(), /offline/)
    } finally {
      other.close()
    }
  })
})

describe('OffsetForLeaderEpoch and leader epochs', () => {
  async function endOf(topic: string, epoch: number, currentLeaderEpoch = -1) {
    const answer = await client.request(ApiKey.OFFSET_FOR_LEADER_EPOCH, 4, {
      replicaId: -2,
      topics: [{ topic, partitions: [{ partition: 0, currentLeaderEpoch, leaderEpoch: epoch }] }],
    })
    return answer.topics[0]!.partitions[0]!
  }

  test('an unclean stop raises the epoch, a clean one does not; old epochs are fenced', async () => {
    const at = { topic: 'epochs', partition: 0 }
    await createTopic(client, { name: at.topic, partitions: 1 })
    assert.equal(await leaderEpoch(at.topic), 0)
    await appendOk(client, at, batchOf({ values: ['a', 'b', 'c'] }))
    await restart('stop')
    assert.equal(await leaderEpoch(at.topic), 0)
    await restart('kill')
    assert.equal(await leaderEpoch(at.topic), 1)
    await appendOk(client, at, batchOf({ values: ['d'] }))
    const records = await readPartition(client, at)
    assert.deepEqual(
      records.map((record) => record.batch.leaderEpoch),
      [0, 0, 0, 1],
    )
    assert.deepEqual(await summary(endOf(at.topic, 0)), [ErrorCode.NONE, 0, 3])
    assert.deepEqual(await summary(endOf(at.topic, 1)), [ErrorCode.NONE, 1, 4])
    assert.deepEqual(await summary(endOf(at.topic, 2)), [ErrorCode.NONE, -1, -1])
    const stale = await endOf(at.topic, 0, 0)
    assert.equal(stale.errorCode, ErrorCode.FENCED_LEADER_EPOCH)
    assert.equal((await endOf(at.topic, 0, 9)).errorCode, ErrorCode.UNKNOWN_LEADER_EPOCH)
    for (const [currentLeaderEpoch, code] of [
      [0, ErrorCode.FENCED_LEADER_EPOCH],
      [1, ErrorCode.NONE],
      [2, ErrorCode.UNKNOWN_LEADER_EPOCH],
    ] as const) {
      const partitions = [{ partition: 0, fetchOffset: 0, currentLeaderEpoch }]
      const [fetched] = await fetch(client, { topic: at.topic, partitions })
      assert.equal(fetched!.partition.errorCode, code)
    }
  })

  const summary = async (answer: ReturnType<typeof endOf>) => {
    const { errorCode, leaderEpoch, endOffset } = await answer
    return [errorCode, leaderEpoch, endOffset]
  }
})

describe('a restart', () => {
  test('gives no producer id twice and remembers sequences, stopped or killed', async () => {
    const at = { topic: 'sequences', partition: 1 }
    await createTopic(client, { name: at.topic, partitions: 2 })
    const ids = new Set<number>()
    const producerId = await newProducerId(client)
    const send = (baseSequence: number) =>
      append(client, at, batchOf({ producerId, producerEpoch: 0, baseSequence }))
    for (let i = 0; i < 4; i++) assert.equal((await send(i)).baseOffset, i)
    for (const how of ['stop', 'kill', 'stop'] as const) {
      for (let i = 0; i < 10; i++) ids.add(await newProducerId(client))
      await restart(how)
      assert.equal((await send(3)).baseOffset, 3, `again after ${how}`)
      assert.equal((await send(9)).errorCode, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    }
    assert.equal((await send(4)).baseOffset, 4)
    for (let i = 0; i < 10; i++) ids.add(await newProducerId(client))
    assert.equal(ids.size, 40)
    assert.equal((await values(client, at)).length, 5)
  })

  test('of a clean stop scans nothing: no recovery is reported', async () => {
    await restart('kill')
    assert.match(broker.output(), /recovered after an unclean stop/)
    await restart('stop')
    assert.doesNotMatch(broker.output(), /recover/)
    assert.ok(existsSync(broker.dataDir))
  })
})

describe('the rest', () => {
  test('FindCoordinator finds those of groups, none of transactions, old and new', async () => {
    const old = await client.request(ApiKey.FIND_COORDINATOR, 3, { key: 'group', keyType: 0 })
    assert.deepEqual([old.errorCode, old.nodeId, old.port], [ErrorCode.NONE, 1, broker.port])
    const batched = await client.request(ApiKey.FIND_COORDINATOR, 6, {
      keyType: 1,
      coordinatorKeys: ['a', 'b'],
    })
    assert.deepEqual(
      batched.coordinators.map((one) => [one.key, one.errorCode]),
      [
        ['a', ErrorCode.COORDINATOR_NOT_AVAILABLE],
        ['b', ErrorCode.COORDINATOR_NOT_AVAILABLE],
      ],
    )
  })

  test('DescribeConfigs lists every option of a topic with its source', async () => {
    const configs = { 'retention.ms': '12345', 'internal.segment.bytes': '5000' }
    await createTopic(client, { name: 'configured', partitions: 1, configs })
    await createTopic(client, { name: 'plain', partitions: 1 })
    const answer = await client.request(ApiKey.DESCRIBE_CONFIGS, 4, {
      resources: [
        { resourceType: TOPIC_RESOURCE, resourceName: 'configured', configurationKeys: null },
        {
          resourceType: TOPIC_RESOURCE,
          resourceName: 'plain',
          configurationKeys: ['segment.bytes'],
        },
        { resourceType: TOPIC_RESOURCE, resourceName: 'plain', configurationKeys: null },
        { resourceType: BROKER_RESOURCE, resourceName: '1', configurationKeys: null },
        { resourceType: TOPIC_RESOURCE, resourceName: 'nowhere', configurationKeys: null },
      ],
      includeSynonyms: true,
      includeDocumentation: true,
    })
    const [topic, one, again, node, nowhere] = answer.results
    assert.equal(topic!.configs.length, 34)
    const retention = topic!.configs.find((entry) => entry.name === 'retention.ms')
    assert.deepEqual([retention?.value, retention?.configSource], ['12345', 1])
    assert.ok(topic!.configs.every((entry) => (entry.documentation ?? '') !== ''))
    assert.deepEqual(
      one!.configs.map((entry) => entry.name),
      ['segment.bytes'],
    )
    assert.deepEqual([again!.errorCode, again!.configs], [ErrorCode.INVALID_REQUEST, []])
    assert.ok(node!.configs.some((entry) => entry.name === 'log.dirs'))
    assert.equal(nowhere!.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  })

  test('DescribeCluster and Metadata agree on cluster, broker and address', async () => {
    const cluster = await client.request(ApiKey.DESCRIBE_CLUSTER, 2, {
      includeClusterAuthorizedOperations: false,
    })
    const metadata = await client.request(ApiKey.METADATA, 12, { topics: [] })
    assert.equal(cluster.clusterId, metadata.clusterId)
    const [self] = cluster.brokers
    assert.deepEqual([self!.host, self!.port], ['127.0.0.1', broker.port])
    assert.deepEqual(metadata.topics, [])
  })

  test('CreateTopics refuses what is wrong and creates the rest of the request', async () => {
    const topic = (name: string, extra: object = {}) => ({
      name,
      numPartitions: 1,
      replicationFactor: 1,
      assignments: [],
      configs: [],
      ...extra,
    })
    const answer = await client.request(ApiKey.CREATE_TOPICS, 7, {
      topics: [
        topic('fine'),
        topic('bad name'),
        topic('too-few', { numPartitions: 0 }),
        topic('too-many', { replicationFactor: 3 }),
        topic('bad-config', { configs: [{ name: 'retention.mss', value: '1' }] }),
        topic('twice'),
        topic('twice'),
      ],
      timeoutMs: 30_000,
    })
    assert.deepEqual(
      answer.topics.map((one) => [one.name, one.errorCode]),
      [
        ['fine', ErrorCode.NONE],
        ['bad name', ErrorCode.INVALID_TOPIC_EXCEPTION],
        ['too-few', ErrorCode.INVALID_PARTITIONS],
        ['too-many', ErrorCode.INVALID_REPLICATION_FACTOR],
        ['bad-config', ErrorCode.INVALID_CONFIG],
        ['twice', ErrorCode.INVALID_REQUEST],
      ],
    )
    assert.match(answer.topics[4]!.errorMessage ?? '', /retention\.ms/)
    assert.equal((await listOffset(client, { topic: 'fine', partition: 0 }, LATEST)).offset, 0)
  })
})
