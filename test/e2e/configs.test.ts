/**
 * Configuration over Kafka's protocol against a real broker: what is changed while it runs holds at
 * once, reaches open logs, and survives a kill. And the other administrative questions: log
 * directories, partitions page by page, what has a configuration.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { append, appendOk, batchOf, createTopic } from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

const TOPIC = 2
const BROKER = 4
const GROUP = 32
const SET = 0
const DELETE = 1
const APPEND = 2
const SUBTRACT = 3
const SOURCE = { topic: 1, broker: 2, cluster: 3, static: 4, default: 5, group: 8 }

let broker: TestBroker
let client: RawClient

before(async () => {
  broker = await startBroker({ shards: 2, set: { 'log.retention.hours': '3' } })
  client = await RawClient.open(broker.port)
})

after(async () => {
  client?.close()
  await broker?.stop()
  broker?.cleanUp()
})

type Operation = readonly [name: string, operation: number, value: string | null]
type Resource = readonly [type: number, name: string]

async function alter(
  [resourceType, resourceName]: Resource,
  operations: readonly Operation[],
  validateOnly = false,
) {
  const configs = operations.map(([name, configOperation, value]) => {
    return { name, configOperation, value }
  })
  const answer = await client.request(ApiKey.INCREMENTAL_ALTER_CONFIGS, 1, {
    resources: [{ resourceType, resourceName, configs }],
    validateOnly,
  })
  return answer.responses[0]!
}

async function alterOk(resource: Resource, operations: readonly Operation[]): Promise<void> {
  const { errorCode, errorMessage } = await alter(resource, operations)
  assert.equal(errorCode, ErrorCode.NONE, errorMessage ?? '')
}

async function configOf([resourceType, resourceName]: Resource, name: string) {
  const answer = await client.request(ApiKey.DESCRIBE_CONFIGS, 4, {
    resources: [{ resourceType, resourceName, configurationKeys: [name] }],
    includeSynonyms: true,
    includeDocumentation: true,
  })
  assert.equal(answer.results[0]!.errorCode, ErrorCode.NONE)
  return answer.results[0]!.configs[0]
}

async function shown(resource: Resource, name: string) {
  const config = await configOf(resource, name)
  return config && [config.value, config.configSource]
}

describe('IncrementalAlterConfigs, of a topic', () => {
  const orders: Resource = [TOPIC, 'orders']

  test('sets, appends, subtracts and deletes, and the open log follows', async () => {
    const at = { topic: 'orders', partition: 0 }
    await createTopic(client, { name: 'orders', partitions: 1 })
    const large = batchOf({ values: ['x'.repeat(2000)] })
    await appendOk(client, at, large)
    await alterOk(orders, [
      ['max.message.bytes', SET, '1000'],
      ['cleanup.policy', APPEND, 'compact'],
    ])
    assert.equal((await append(client, at, large)).errorCode, ErrorCode.MESSAGE_TOO_LARGE)
    assert.deepEqual(await shown(orders, 'cleanup.policy'), ['delete,compact', SOURCE.topic])
    await alterOk(orders, [
      ['max.message.bytes', DELETE, null],
      ['cleanup.policy', SUBTRACT, 'delete'],
    ])
    assert.deepEqual(await shown(orders, 'cleanup.policy'), ['compact', SOURCE.topic])
    assert.deepEqual(await shown(orders, 'max.message.bytes'), ['1048588', SOURCE.default])
    await alterOk(orders, [['cleanup.policy', DELETE, null]])
    await appendOk(client, at, large)
  })

  test('refuses what is wrong, each resource by itself, and changes nothing of it', async () => {
    const cases: [Resource, readonly Operation[], number, RegExp][] = [
      [orders, [['retention.mss', SET, '1']], ErrorCode.INVALID_CONFIG, /did you mean/],
      [orders, [['retention.ms', SET, '-2']], ErrorCode.INVALID_CONFIG, /at least -1/],
      [orders, [['retention.ms', APPEND, '5']], ErrorCode.INVALID_CONFIG, /no list/],
      [orders, [['retention.ms', SET, null]], ErrorCode.INVALID_REQUEST, /no value/],
      [orders, [['retention.ms', 9, '1']], ErrorCode.INVALID_REQUEST, /no operation 9/],
      [
        orders,
        [
          ['retention.ms', SET, '1'],
          ['retention.ms', DELETE, null],
        ],
        ErrorCode.INVALID_REQUEST,
        /twice/,
      ],
      [[TOPIC, 'nowhere'], [], ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, /no topic/],
      [[99, 'orders'], [], ErrorCode.INVALID_REQUEST, /type 99/],
      [[BROKER, '7'], [], ErrorCode.INVALID_REQUEST, /This is broker 1/],
    ]
    for (const [resource, operations, code, message] of cases) {
      const answer = await alter(resource, operations)
      assert.equal(answer.errorCode, code, JSON.stringify(operations))
      assert.match(answer.errorMessage ?? '', message)
    }
    assert.deepEqual(await shown(orders, 'retention.ms'), ['-1', SOURCE.static])
    const config = (value: string) => [{ name: 'retention.ms', configOperation: SET, value }]
    const resources = [
      { resourceType: TOPIC, resourceName: 'nowhere', configs: config('1000') },
      { resourceType: TOPIC, resourceName: 'orders', configs: config('1000') },
      { resourceType: BROKER, resourceName: '', configs: [] },
      { resourceType: BROKER, resourceName: '', configs: [] },
    ]
    const body = { resources, validateOnly: false }
    const answer = await client.request(ApiKey.INCREMENTAL_ALTER_CONFIGS, 1, body)
    assert.deepEqual(
      answer.responses.map((one) => one.errorCode),
      [
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NONE,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.INVALID_REQUEST,
      ],
    )
    assert.deepEqual(await shown(orders, 'retention.ms'), ['1000', SOURCE.topic])
  })

  test('checks only, when asked to', async () => {
    const good = await alter(orders, [['segment.ms', SET, '5000']], true)
    assert.equal(good.errorCode, ErrorCode.NONE)
    const bad = await alter(orders, [['segment.ms', SET, '0']], true)
    assert.equal(bad.errorCode, ErrorCode.INVALID_CONFIG)
    assert.deepEqual(await shown(orders, 'segment.ms'), ['604800000', SOURCE.default])
  })
})

test('AlterConfigs, leaves set exactly what it names', async () => {
  const configs = { 'segment.ms': '5000', 'flush.messages': '7' }
  await createTopic(client, { name: 'replaced', partitions: 1, configs })
  const resource: Resource = [TOPIC, 'replaced']
  const answer = await client.request(ApiKey.ALTER_CONFIGS, 2, {
    resources: [
      {
        resourceType: TOPIC,
        resourceName: 'replaced',
        configs: [{ name: 'flush.messages', value: '9' }],
      },
    ],
    validateOnly: false,
  })
  assert.equal(answer.responses[0]!.errorCode, ErrorCode.NONE)
  assert.deepEqual(await shown(resource, 'flush.messages'), ['9', SOURCE.topic])
  assert.deepEqual(await shown(resource, 'segment.ms'), ['604800000', SOURCE.default])
})

describe('the options of brokers', () => {
  const own: Resource = [BROKER, '1']
  const all: Resource = [BROKER, '']

  test('change for this broker over all brokers, and reach the topics that set nothing', async () => {
    const at = { topic: 'inherits', partition: 0 }
    await createTopic(client, { name: 'inherits', partitions: 1 })
    const large = batchOf({ values: ['x'.repeat(5000)] })
    await appendOk(client, at, large)
    await alterOk(all, [['message.max.bytes', SET, '2000']])
    assert.equal((await append(client, at, large)).errorCode, ErrorCode.MESSAGE_TOO_LARGE)
    await alterOk(own, [['message.max.bytes', SET, '9000']])
    await appendOk(client, at, large)
    const config = await configOf(own, 'message.max.bytes')
    assert.deepEqual(
      [config?.value, config?.configSource, config?.readOnly],
      ['9000', SOURCE.broker, false],
    )
    assert.deepEqual(
      config?.synonyms.map(({ value, source }) => [value, source]),
      [
        ['9000', SOURCE.broker],
        ['2000', SOURCE.cluster],
        ['1048588', SOURCE.default],
      ],
    )
    const topic: Resource = [TOPIC, 'inherits']
    assert.deepEqual(await shown(topic, 'max.message.bytes'), ['9000', SOURCE.broker])
    assert.deepEqual(await shown(all, 'message.max.bytes'), ['2000', SOURCE.cluster])
    assert.equal(await shown(all, 'log.retention.ms'), undefined)
  })

  test('hold again after a kill, until they are deleted', async () => {
    const at = { topic: 'inherits', partition: 0 }
    client.close()
    await broker.kill()
    broker = await startBroker({ shards: 2, dataDirs: broker.dataDirs })
    client = await RawClient.open(broker.port)
    assert.deepEqual(await shown(own, 'message.max.bytes'), ['9000', SOURCE.broker])
    const larger = batchOf({ values: ['x'.repeat(10_000)] })
    assert.equal((await append(client, at, larger)).errorCode, ErrorCode.MESSAGE_TOO_LARGE)
    await alterOk(own, [['message.max.bytes', DELETE, null]])
    assert.deepEqual(await shown(own, 'message.max.bytes'), ['2000', SOURCE.cluster])
    await alterOk(all, [['message.max.bytes', DELETE, null]])
    await appendOk(client, at, larger)
  })

  test('say what is logged, from now on', async () => {
    await createTopic(client, { name: 'silent', partitions: 1 })
    await alterOk(all, [['millrace.log.level', SET, 'info,metadata=debug']])
    await createTopic(client, { name: 'spoken-of', partitions: 1 })
    await alterOk(all, [['millrace.log.level', DELETE, null]])
    await createTopic(client, { name: 'silent-again', partitions: 1 })
    const about = (topic: string) => broker.output().split(`"topic":"${topic}"`).length - 1
    while (about('spoken-of') === 0) await new Promise((resolve) => setTimeout(resolve, 20))
    assert.deepEqual([about('silent'), about('silent-again')], [0, 0])
  })

  test('are refused when they are read at the start only, unknown, or bad together', async () => {
    const cases: [string, string, number, RegExp][] = [
      ['millrace.shards', '3', ErrorCode.INVALID_REQUEST, /cannot change while/],
      ['log.dirs', '/tmp', ErrorCode.INVALID_REQUEST, /cannot change while/],
      ['num.partition', '3', ErrorCode.INVALID_CONFIG, /did you mean num\.partitions/],
      ['num.partitions', '0', ErrorCode.INVALID_CONFIG, /at least 1/],
      ['log.retention.ms', '0', ErrorCode.INVALID_CONFIG, /at least 1/],
      ['message.max.bytes', '2000000000', ErrorCode.INVALID_CONFIG, /a tenth of/],
    ]
    for (const [name, value, code, message] of cases) {
      const answer = await alter(all, [[name, SET, value]])
      assert.equal(answer.errorCode, code, name)
      assert.match(answer.errorMessage ?? '', message)
    }
  })

  test('are described, each with a type and a text, of which some are read-only', async () => {
    const answer = await client.request(ApiKey.DESCRIBE_CONFIGS, 4, {
      resources: [{ resourceType: BROKER, resourceName: '1', configurationKeys: null }],
      includeDocumentation: true,
    })
    const { configs } = answer.results[0]!
    assert.ok(configs.length > 70)
    assert.ok(configs.every((one) => (one.documentation ?? '') !== '' && one.configType > 0))
    const shards = configs.find((one) => one.name === 'millrace.shards')
    assert.equal(shards?.readOnly, true)
  })
})

describe('the options of groups', () => {
  const billing: Resource = [GROUP, 'billing']
  const SESSION = 'consumer.session.timeout.ms'
  const HEARTBEAT = 'consumer.heartbeat.interval.ms'

  test('come from the broker, hold from the next heartbeat on, and after a kill', async () => {
    assert.deepEqual(await shown(billing, HEARTBEAT), ['5000', SOURCE.default])
    await createTopic(client, { name: 'bills', partitions: 1 })
    await coordinatorReady()
    assert.equal((await heartbeat({ memberEpoch: 0 })).heartbeatIntervalMs, 5000)
    await alterOk(billing, [
      [HEARTBEAT, SET, '7000'],
      [SESSION, SET, '50000'],
    ])
    assert.equal((await heartbeat({ memberEpoch: 1 })).heartbeatIntervalMs, 7000)
    client.close()
    await broker.kill()
    broker = await startBroker({ shards: 2, dataDirs: broker.dataDirs })
    client = await RawClient.open(broker.port)
    await coordinatorReady()
    assert.equal((await heartbeat({ memberEpoch: 1 })).heartbeatIntervalMs, 7000)
    assert.deepEqual(await shown(billing, SESSION), ['50000', SOURCE.group])
    const groups = await client.request(ApiKey.LIST_CONFIG_RESOURCES, 1, { resourceTypes: [GROUP] })
    assert.deepEqual(
      groups.configResources.map((one) => one.resourceName),
      ['billing'],
    )
    await alterOk(billing, [
      [HEARTBEAT, DELETE, null],
      [SESSION, DELETE, null],
    ])
    assert.equal((await heartbeat({ memberEpoch: 1 })).heartbeatIntervalMs, 5000)
    const none = await client.request(ApiKey.LIST_CONFIG_RESOURCES, 1, { resourceTypes: [GROUP] })
    assert.deepEqual(none.configResources, [])
  })

  test('are refused when unknown, out of the broker’s range, or bad together', async () => {
    const cases: [Resource, string, string, number, RegExp][] = [
      [billing, 'consumer.session.timeout', '1', ErrorCode.INVALID_CONFIG, /did you mean/],
      [billing, SESSION, '44999', ErrorCode.INVALID_CONFIG, /45000 to 60000/],
      [billing, HEARTBEAT, '15001', ErrorCode.INVALID_CONFIG, /5000 to 15000/],
      [billing, HEARTBEAT, 'often', ErrorCode.INVALID_CONFIG, /often/],
      [[GROUP, ''], HEARTBEAT, '6000', ErrorCode.INVALID_REQUEST, /Name a group/],
      [[GROUP, 'g'.repeat(1001)], HEARTBEAT, '6000', ErrorCode.INVALID_REQUEST, /at most 1000/],
    ]
    for (const [resource, name, value, code, message] of cases) {
      const answer = await alter(resource, [[name, SET, value]])
      assert.equal(answer.errorCode, code, name)
      assert.match(answer.errorMessage ?? '', message)
    }
    assert.deepEqual(await shown(billing, SESSION), ['45000', SOURCE.default])
  })

  async function coordinatorReady(): Promise<void> {
    const asked = { keyType: 0, coordinatorKeys: ['billing'] }
    for (;;) {
      const answer = await client.request(ApiKey.FIND_COORDINATOR, 4, asked)
      if (answer.coordinators[0]!.errorCode === ErrorCode.NONE) return
    }
  }

  async function heartbeat({ memberEpoch }: { memberEpoch: number }) {
    const isJoining = memberEpoch === 0
    for (;;) {
      const answer = await client.request(ApiKey.CONSUMER_GROUP_HEARTBEAT, 1, {
        groupId: 'billing',
        memberId: 'm',
        memberEpoch,
        rebalanceTimeoutMs: isJoining ? 60_000 : -1,
        subscribedTopicNames: isJoining ? ['bills'] : null,
        topicPartitions: isJoining ? [] : null,
      })
      // Read the log first.
      if (answer.errorCode === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS) continue
      assert.equal(answer.errorCode, ErrorCode.NONE, answer.errorMessage ?? '')
      return answer
    }
  }
})

test('DescribeConfigs, describes nothing twice in one answer', async () => {
  const one = { resourceType: BROKER, resourceName: '1', configurationKeys: null }
  const answer = await client.request(ApiKey.DESCRIBE_CONFIGS, 4, {
    resources: [one, ...Array<typeof one>(5000).fill(one)],
    includeSynonyms: false,
    includeDocumentation: true,
  })
  const [first, ...others] = answer.results
  assert.equal(first?.errorCode, ErrorCode.NONE)
  assert.ok(others.every((other) => other.errorCode === ErrorCode.INVALID_REQUEST))
  assert.ok(others.every((other) => other.configs.length === 0))
})

test('DescribeLogDirs, gives every directory, its room and the sizes of what is asked for', async () => {
  await createTopic(client, { name: 'sized', partitions: 3 })
  await appendOk(client, { topic: 'sized', partition: 1 }, batchOf({ values: ['x'.repeat(500)] }))
  const ask = async (topics: { topic: string; partitions: number[] }[] | null) => {
    const answer = await client.request(ApiKey.DESCRIBE_LOG_DIRS, 5, { topics })
    assert.equal(answer.errorCode, ErrorCode.NONE)
    assert.equal(answer.results.length, 1)
    return answer.results[0]!
  }
  const some = await ask([
    { topic: 'sized', partitions: [1, 2, 8] },
    { topic: 'nowhere', partitions: [0] },
  ])
  assert.equal(some.logDir, broker.dataDir)
  assert.ok(some.usableBytes > 0 && some.totalBytes >= some.usableBytes)
  const sizes = some.topics[0]!.partitions.map((one) => [one.partitionIndex, one.partitionSize])
  assert.equal(some.topics.length, 1)
  assert.equal(sizes[0]![0], 1)
  assert.ok((sizes[0]![1] as number) > 500)
  assert.deepEqual(sizes[1], [2, 0])
  assert.ok((await ask(null)).topics.length > 1)
  assert.equal((await ask([])).topics.length, 0)
})

test('DescribeTopicPartitions, goes page by page, in the order of names', async () => {
  await createTopic(client, { name: 'paged-a', partitions: 3 })
  await createTopic(client, { name: 'paged-b', partitions: 4 })
  const names = ['paged-b', 'nowhere', 'paged-a'].map((name) => ({ name }))
  const seen: string[] = []
  let cursor: { topicName: string; partitionIndex: number } | null = null
  for (let page = 0; page < 10; page++) {
    const answer: Awaited<ReturnType<typeof pageOf>> = await pageOf(names, cursor)
    for (const { name, errorCode, partitions } of answer.topics) {
      if (errorCode !== ErrorCode.NONE) seen.push(`${name} ${errorCode}`)
      seen.push(...partitions.map((one) => `${name} ${one.partitionIndex}`))
    }
    cursor = answer.nextCursor
    if (cursor === null) break
  }
  assert.deepEqual(seen, [
    `nowhere ${ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}`,
    ...['paged-a 0', 'paged-a 1', 'paged-a 2'],
    ...['paged-b 0', 'paged-b 1', 'paged-b 2', 'paged-b 3'],
  ])
  const after = await pageOf(names, { topicName: 'paged-a', partitionIndex: 7 })
  assert.deepEqual(
    after.topics.map(({ name, partitions }) => [name, partitions.length]),
    [
      ['paged-a', 0],
      ['paged-b', 2],
    ],
  )
  const bad = await pageOf(names, { topicName: 'paged-a', partitionIndex: -1 })
  assert.ok(bad.topics.every((one) => one.errorCode === ErrorCode.INVALID_REQUEST))
})

function pageOf(
  topics: { name: string }[],
  cursor: { topicName: string; partitionIndex: number } | null,
) {
  const body = { topics, responsePartitionLimit: 2, cursor }
  return client.request(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, body)
}

test('ListConfigResources, names topics and this broker, and refuses a type it does not know', async () => {
  const ask = (resourceTypes: number[]) =>
    client.request(ApiKey.LIST_CONFIG_RESOURCES, 1, { resourceTypes })
  const all = await ask([])
  const brokers = all.configResources.filter((one) => one.resourceType === BROKER)
  assert.deepEqual(
    brokers.map((one) => one.resourceName),
    ['1'],
  )
  assert.ok(all.configResources.some((one) => one.resourceName === 'paged-a'))
  assert.equal((await ask([BROKER])).configResources.length, 1)
  assert.equal((await ask([3])).errorCode, ErrorCode.UNSUPPORTED_VERSION)
  const old = await client.request(ApiKey.LIST_CONFIG_RESOURCES, 0, {})
  assert.deepEqual([old.errorCode, old.configResources.length], [ErrorCode.NONE, 0])
})
