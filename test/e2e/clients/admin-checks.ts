/**
 * What each client's admin does to a broker, and what it must see afterwards. Works on any broker,
 * as `matrix.ts` does; topics are named by the caller's prefix.
 */
import assert from 'node:assert/strict'
import { ClientError, type KafkaClient, type RecordToSend } from './client.ts'
import type { JavaClient } from './java.ts'
import type { KafkaPythonClient } from './kafka-python.ts'
import type { KafkajsClient } from './kafkajs.ts'

const BASE_TIME_MS = 1_700_000_000_000

export interface AdminTarget {
  readonly bootstrap: string
  /** Starts the names of topics that a check makes: no other may use it. */
  readonly prefix: string
}

/** `count` records of one partition, a second apart. */
function timedRecords(partition: number, count: number): RecordToSend[] {
  return Array.from({ length: count }, (_, i) => ({
    partition,
    key: null,
    value: Buffer.from(`value ${i}`),
    headers: [],
    timestamp: BASE_TIME_MS + 1000 * i,
  }))
}

function isKind(...kinds: readonly string[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ClientError, String(error))
    assert.ok(kinds.includes(error.kind), error.message)
    return true
  }
}

/** Waits until `condition` holds: metadata reaches clients a moment after the acknowledgement. */
async function eventually(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.fail(`${what} did not come true`)
}

async function waitUntilGone(client: KafkaClient, bootstrap: string, topic: string): Promise<void> {
  await eventually(
    `${topic} is gone`,
    async () => !(await client.listTopics(bootstrap)).includes(topic),
  )
}

export async function checkJavaTopics(java: JavaClient, target: AdminTarget): Promise<void> {
  const { bootstrap } = target
  const topic = `${target.prefix}-java`
  await java.createTopic({ bootstrap, topic, partitions: 3, configs: { 'retention.ms': '123456' } })
  assert.ok((await java.listTopics(bootstrap)).includes(topic))
  await assert.rejects(
    java.createTopic({ bootstrap, topic, partitions: 1 }),
    isKind('TopicExistsException'),
  )
  const before = await java.describeTopic(bootstrap, topic)
  assert.deepEqual(
    before.partitions.map(({ partition }) => partition),
    [0, 1, 2],
  )
  assert.notEqual(before.topicId, 'AAAAAAAAAAAAAAAAAAAAAA')
  const cluster = await java.describeCluster(bootstrap)
  for (const { leader, replicas, inSyncReplicas } of before.partitions) {
    assert.ok(cluster.nodes.some(({ id }) => id === leader))
    assert.deepEqual(replicas, [leader])
    assert.deepEqual(inSyncReplicas, [leader])
  }
  const configs = await java.describeConfigs({ bootstrap, type: 'topic', name: topic })
  assert.equal(configs['retention.ms']?.value, '123456')
  assert.equal(configs['retention.ms']?.source, 'DYNAMIC_TOPIC_CONFIG')
  assert.equal(configs['segment.bytes']?.source, 'DEFAULT_CONFIG')
  await java.createPartitions(bootstrap, topic, 5)
  await eventually('five partitions', async () => {
    const { partitions, topicId } = await java.describeTopic(bootstrap, topic)
    assert.equal(topicId, before.topicId)
    return partitions.length === 5
  })
  await assert.rejects(
    java.createPartitions(bootstrap, topic, 2),
    isKind('InvalidPartitionsException'),
  )
  await java.deleteTopic(bootstrap, topic)
  await waitUntilGone(java, bootstrap, topic)
}

export async function checkJavaRefusals(java: JavaClient, target: AdminTarget): Promise<void> {
  const { bootstrap, prefix } = target
  const create = (topic: string, partitions: number, configs = {}) =>
    java.createTopic({ bootstrap, topic, partitions, configs })
  await assert.rejects(create(`${prefix}-none`, 0), isKind('InvalidPartitionsException'))
  await assert.rejects(create(`${prefix}/bad`, 1), isKind('InvalidTopicException'))
  const unknown = create(`${prefix}-config`, 1, { 'no.such.config': '1' })
  await assert.rejects(unknown, isKind('InvalidConfigurationException', 'InvalidConfigException'))
  const missing = isKind('UnknownTopicOrPartitionException')
  await assert.rejects(java.deleteTopic(bootstrap, `${prefix}-missing`), missing)
  await assert.rejects(java.describeTopic(bootstrap, `${prefix}-missing`), missing)
}

export async function checkJavaOffsets(java: JavaClient, target: AdminTarget): Promise<void> {
  const { bootstrap } = target
  const topic = `${target.prefix}-java-offsets`
  const partition = 1
  const place = { bootstrap, topic, partition }
  await java.createTopic({ bootstrap, topic, partitions: 2 })
  const records = timedRecords(partition, 10)
  await java.produce({ bootstrap, topic, compression: 'none', records })
  const found = await java.listOffset({ ...place, at: BASE_TIME_MS + 3500 })
  assert.deepEqual(found, { offset: 4, timestamp: BASE_TIME_MS + 4000 })
  const beyond = await java.listOffset({ ...place, at: BASE_TIME_MS + 10_000 })
  assert.equal(beyond.offset, -1)
  const newest = await java.listOffset({ ...place, at: 'maxTimestamp' })
  assert.deepEqual(newest, { offset: 9, timestamp: BASE_TIME_MS + 9000 })
  assert.equal((await java.listOffset({ ...place, at: 'earliest' })).offset, 0)
  assert.equal((await java.listOffset({ ...place, at: 'latest' })).offset, 10)
  // Inside a batch: the log start moves there although the batch stays.
  assert.equal(await java.deleteRecords({ ...place, beforeOffset: 4 }), 4)
  assert.equal((await java.listOffset({ ...place, at: 'earliest' })).offset, 4)
  const rest = await java.consume({ ...place, fromOffset: 4, count: 6 })
  assert.deepEqual(
    rest.map(({ offset }) => offset),
    [4, 5, 6, 7, 8, 9],
  )
  await assert.rejects(
    java.deleteRecords({ ...place, beforeOffset: 11 }),
    isKind('OffsetOutOfRangeException'),
  )
  const config = { 'auto.offset.reset': 'none' }
  await assert.rejects(
    java.consume({ ...place, fromOffset: 0, count: 1, config }),
    isKind('OffsetOutOfRangeException'),
  )
  await java.deleteTopic(bootstrap, topic)
}

/** LogAppendTime: the broker's clock, whatever the producer says, for a whole batch alike. */
export async function checkAppendTime(java: JavaClient, target: AdminTarget): Promise<void> {
  const { bootstrap } = target
  const topic = `${target.prefix}-append-time`
  const configs = { 'message.timestamp.type': 'LogAppendTime' }
  await java.createTopic({ bootstrap, topic, partitions: 1, configs })
  for (const compression of java.limits.compressions) {
    const fromMs = Date.now()
    await java.produce({ bootstrap, topic, compression, records: timedRecords(0, 5) })
    const untilMs = Date.now()
    const { offset: end } = await java.listOffset({ bootstrap, topic, partition: 0, at: 'latest' })
    const fromOffset = end - 5
    const got = await java.consume({ bootstrap, topic, partition: 0, fromOffset, count: 5 })
    for (const { timestamp } of got) {
      assert.ok(timestamp >= fromMs && timestamp <= untilMs, `${timestamp}, ${compression}`)
    }
  }
  await java.deleteTopic(bootstrap, topic)
}

export async function checkKafkajsAdmin(
  kafkajs: KafkajsClient,
  target: AdminTarget,
): Promise<void> {
  const { bootstrap } = target
  const topic = `${target.prefix}-kafkajs`
  await kafkajs.createTopic({ bootstrap, topic, partitions: 2 })
  assert.ok((await kafkajs.listTopics(bootstrap)).includes(topic))
  const records = [...timedRecords(0, 3), ...timedRecords(1, 7)]
  await kafkajs.produce({ bootstrap, topic, compression: 'gzip', records })
  assert.deepEqual(await kafkajs.topicOffsets(bootstrap, topic), [
    { partition: 0, low: 0, high: 3 },
    { partition: 1, low: 0, high: 7 },
  ])
  await kafkajs.deleteRecords(bootstrap, topic, new Map([[1, 5]]))
  await kafkajs.createPartitions(bootstrap, topic, 3)
  await eventually('three partitions', async () => {
    return (await kafkajs.topicOffsets(bootstrap, topic)).length === 3
  })
  assert.deepEqual(await kafkajs.topicOffsets(bootstrap, topic), [
    { partition: 0, low: 0, high: 3 },
    { partition: 1, low: 5, high: 7 },
    { partition: 2, low: 0, high: 0 },
  ])
  await checkConfigs(kafkajs, bootstrap, topic)
  await kafkajs.deleteTopic(bootstrap, topic)
  await waitUntilGone(kafkajs, bootstrap, topic)
}

export async function checkPythonAdmin(
  python: KafkaPythonClient,
  target: AdminTarget,
): Promise<void> {
  const { bootstrap } = target
  const topic = `${target.prefix}-python`
  await python.createTopic?.({ bootstrap, topic, partitions: 2 })
  assert.ok((await python.listTopics(bootstrap)).includes(topic))
  await assert.rejects(
    python.createTopic?.({ bootstrap, topic, partitions: 2 }) ?? Promise.resolve(),
    isKind('TopicAlreadyExistsError'),
  )
  await python.produce({ bootstrap, topic, compression: 'gzip', records: timedRecords(1, 5) })
  const place = { bootstrap, topic, partition: 1 }
  assert.equal(await python.listOffset({ ...place, at: 'earliest' }), 0)
  assert.equal(await python.listOffset({ ...place, at: 'latest' }), 5)
  assert.equal(await python.listOffset({ ...place, at: BASE_TIME_MS + 2500 }), 3)
  assert.equal(await python.listOffset({ ...place, at: BASE_TIME_MS + 5000 }), -1)
  await checkConfigs(python, bootstrap, topic)
  await python.deleteTopic?.(bootstrap, topic)
  await waitUntilGone(python, bootstrap, topic)
}

/** AlterConfigs leaves set what it names and nothing else. */
async function checkConfigs(
  client: KafkajsClient | KafkaPythonClient,
  bootstrap: string,
  topic: string,
): Promise<void> {
  const before = await client.describeConfigs(bootstrap, topic)
  assert.ok(Object.keys(before).length >= 34)
  await client.alterConfigs(bootstrap, topic, { 'segment.ms': '5000', 'flush.messages': '7' })
  await client.alterConfigs(bootstrap, topic, { 'flush.messages': '9' })
  await eventually('flush.messages is 9', async () => {
    return (await client.describeConfigs(bootstrap, topic))['flush.messages'] === '9'
  })
  const after = await client.describeConfigs(bootstrap, topic)
  assert.deepEqual(after, { ...before, 'flush.messages': '9' })
}

/** A topic that does not exist is made by the first record sent to it, where the option allows. */
export async function checkAutoCreation(
  writer: KafkaClient,
  reader: KafkaClient,
  target: AdminTarget,
): Promise<void> {
  const { bootstrap } = target
  const topic = `${target.prefix}-auto-${writer.name}`
  const records = [{ partition: 0, key: null, value: Buffer.from('first'), headers: [] }]
  await writer.produce({ bootstrap, topic, compression: 'none', records })
  const got = await reader.consume({ bootstrap, topic, partition: 0, fromOffset: 0, count: 1 })
  assert.equal(Buffer.from(got[0]?.value ?? []).toString(), 'first')
}
