/**
 * Consumer groups of a real broker: members of kafkajs and librdkafka come, go and crash, the
 * broker is killed; what is in `__consumer_offsets`.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { AssignerProtocol, type Consumer, Kafka, logLevel } from 'kafkajs'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { append, batchOf, createTopic } from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'
import { skipUnless } from './clients/client.ts'
import { dumpGroupRecords, dumpLogAvailable } from './clients/dump-log.ts'
import { kcat } from './clients/kcat.ts'

const PARTITIONS = 6
const SET = {
  'group.initial.rebalance.delay.ms': '100',
  'group.min.session.timeout.ms': '1000',
  'offsets.topic.num.partitions': '4',
}
/** Until then something that must happen has happened; nothing is asserted of how long it takes. */
const WAIT_MS_MAX = 60_000

let broker: TestBroker
let kafka: Kafka

before(async () => {
  broker = await startBroker({ set: SET })
  kafka = connect(broker)
})

after(async () => {
  await broker?.stop()
  broker?.cleanUp()
})

function connect({ bootstrap }: TestBroker): Kafka {
  return new Kafka({
    brokers: [bootstrap],
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 100 },
  })
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + WAIT_MS_MAX
  while (!(await holds())) {
    if (performance.now() > end) assert.fail(`did not happen: ${what}\n${await groupsAsTheyAre()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** What the broker says of its groups, for a failure that nobody sees twice. */
async function groupsAsTheyAre(): Promise<string> {
  const admin = kafka.admin()
  await admin.connect()
  const { groups } = await admin.listGroups()
  const described = await admin.describeGroups(groups.map(({ groupId }) => groupId))
  await admin.disconnect()
  return described.groups
    .map(({ groupId, state, members }) => {
      const shares = members.map(({ memberId, memberAssignment }) => {
        const share = AssignerProtocol.MemberAssignment.decode(memberAssignment)
        return `${memberId} ${JSON.stringify(share?.assignment ?? null)}`
      })
      return `${groupId}: ${state}, ${shares.join(', ')}`
    })
    .join('\n')
}

async function fill(topic: string, partitions: number, count: number): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: partitions }] })
  await admin.disconnect()
  await produce(topic, 0, count)
}

async function produce(topic: string, first: number, count: number): Promise<void> {
  const producer = kafka.producer()
  await producer.connect()
  const numbers = Array.from({ length: count }, (_, i) => String(first + i))
  await producer.send({ topic, messages: numbers.map((value) => ({ key: value, value })) })
  await producer.disconnect()
}

/** A member of kafkajs, and what it has seen. */
class Member {
  readonly consumer: Consumer
  readonly seen: string[] = []
  assigned: readonly number[] = []
  joins = 0

  constructor(groupId: string) {
    this.consumer = kafka.consumer({
      groupId,
      sessionTimeout: 3000,
      rebalanceTimeout: 3000,
      heartbeatInterval: 200,
    })
    this.consumer.on('consumer.group_join', ({ payload }) => {
      this.assigned = Object.values(payload.memberAssignment).flat()
      this.joins++
    })
    this.consumer.on('consumer.rebalancing', () => {
      this.assigned = []
    })
  }

  async run(topic: string): Promise<this> {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [topic], fromBeginning: true })
    await this.consumer.run({
      autoCommitInterval: 100,
      eachMessage: async ({ message }) => {
        this.seen.push(String(message.value))
      },
    })
    return this
  }
}

function isDivided(members: readonly Member[]): boolean {
  const all = members.flatMap((member) => member.assigned)
  return all.length === PARTITIONS && new Set(all).size === PARTITIONS
}

test('a group, members come and go and the broker is killed, processes every event', async () => {
  const topic = 'lifecycle'
  await fill(topic, PARTITIONS, 500)
  const first = await new Member('life').run(topic)
  await until('one member has all', () => isDivided([first]))
  const others = await Promise.all([1, 2].map(() => new Member('life').run(topic)))
  const members = [first, ...others]
  await until(
    'three share',
    () => isDivided(members) && members.every((m) => m.assigned.length > 0),
  )
  await produce(topic, 500, 500)
  const seen = (): Set<string> => new Set(members.flatMap((member) => member.seen))
  await until('1,000 events are processed', () => seen().size === 1000)

  await first.consumer.disconnect()
  first.assigned = []
  await until('two share', () => isDivided(others))
  const before = await committed(topic)

  await broker.kill()
  const { dataDirs, port } = broker
  broker = await startBroker({ set: SET, dataDirs, port })
  const later = await committed(topic)
  for (const [partition, offset] of before) {
    assert((later.get(partition) ?? -1) >= offset, `partition ${partition} went back`)
  }
  await produce(topic, 1000, 500)
  await until('1,500 events are processed', () => seen().size === 1500)
  await until('two share again', () => isDivided(others))
  for (const { consumer } of others) await consumer.disconnect()
  const admin = kafka.admin()
  await admin.connect()
  const [described] = (await admin.describeGroups(['life'])).groups
  assert.equal(described?.state, 'Empty')
  await admin.deleteGroups(['life'])
  const { groups } = await admin.listGroups()
  assert(!groups.some(({ groupId }) => groupId === 'life'))
  await admin.disconnect()
})

async function committed(topic: string): Promise<Map<number, number>> {
  const admin = kafka.admin()
  await admin.connect()
  const [offsets] = await admin.fetchOffsets({ groupId: 'life', topics: [topic] })
  await admin.disconnect()
  return new Map(offsets?.partitions.map(({ partition, offset }) => [partition, Number(offset)]))
}

describe('librdkafka', { skip: skipUnless(kcat.available()) }, () => {
  test('kcat -G, two members and a crash, get all between them', async () => {
    await fill('rd', PARTITIONS, 300)
    const start = (): { output: () => string; process: ReturnType<typeof spawn> } => {
      const options = ['-X', 'auto.offset.reset=earliest', '-X', 'session.timeout.ms=3000']
      const args = ['-b', broker.bootstrap, '-u', '-G', 'rdgroup', ...options, 'rd']
      const child = spawn('kcat', args, { stdio: ['ignore', 'pipe', 'ignore'] })
      let output = ''
      child.stdout?.on('data', (chunk: Buffer) => {
        output += chunk.toString()
      })
      return { output: () => output, process: child }
    }
    const clients = [start()]
    try {
      const seen = (): Set<string> =>
        new Set(clients.flatMap(({ output }) => output().trim().split('\n')))
      await until('300 are read', () => seen().size === 300)
      clients.push(start())
      clients[0]?.process.kill('SIGKILL')
      await produce('rd', 300, 300)
      await until('600 are read', () => seen().size === 600)
    } finally {
      for (const { process } of clients) {
        if (process.exitCode !== null || process.signalCode !== null) continue
        process.kill()
        await once(process, 'exit')
      }
    }
  })
})

describe('the protocol', () => {
  let client: RawClient

  before(async () => {
    client = await RawClient.open(broker.port)
  })

  after(() => client?.close())

  test('nobody but the broker writes to __consumer_offsets', async () => {
    await client.request(ApiKey.FIND_COORDINATOR, 3, { key: 'any', keyType: 0 })
    const answer = await append(client, { topic: '__consumer_offsets', partition: 0 }, batchOf())
    assert.equal(answer.errorCode, ErrorCode.INVALID_TOPIC_EXCEPTION)
  })

  test('__consumer_offsets keeps its number of partitions', async () => {
    await client.request(ApiKey.FIND_COORDINATOR, 3, { key: 'any', keyType: 0 })
    const { results } = await client.request(ApiKey.CREATE_PARTITIONS, 3, {
      topics: [{ name: '__consumer_offsets', count: 100, assignments: null }],
      timeoutMs: 10_000,
      validateOnly: false,
    })
    assert.equal(results[0]?.errorCode, ErrorCode.INVALID_TOPIC_EXCEPTION)
  })

  test('a commit for a topic that does not exist, is refused, the others are taken', async () => {
    await createTopic(client, { name: 'commits', partitions: 1 })
    const body = {
      groupId: 'lone',
      memberId: '',
      topics: ['commits', 'nowhere'].map((name) => ({
        name,
        partitions: [{ partitionIndex: 0, committedOffset: 5, committedMetadata: 'here' }],
      })),
    }
    const { topics } = await client.request(ApiKey.OFFSET_COMMIT, 8, body)
    assert.deepEqual(
      topics.map(({ partitions }) => partitions[0]?.errorCode),
      [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
    )
    const fetched = await client.request(ApiKey.OFFSET_FETCH, 7, {
      groupId: 'lone',
      topics: null,
    })
    assert.deepEqual(
      fetched.topics.map(({ name, partitions }) => [name, partitions[0]?.committedOffset]),
      [['commits', 5]],
    )
    assert.equal(fetched.topics[0]?.partitions[0]?.metadata, 'here')
  })

  test('the offsets of a deleted topic are forgotten', async () => {
    const topicId = await createTopic(client, { name: 'short', partitions: 1 })
    const commit = {
      groupId: 'lone',
      memberId: '',
      topics: [
        {
          name: 'short',
          partitions: [{ partitionIndex: 0, committedOffset: 9, committedMetadata: null }],
        },
      ],
    }
    await client.request(ApiKey.OFFSET_COMMIT, 8, commit)
    await client.request(ApiKey.DELETE_TOPICS, 6, {
      topics: [{ name: null, topicId }],
      timeoutMs: 10_000,
    })
    await createTopic(client, { name: 'short', partitions: 1 })
    const { topics } = await client.request(ApiKey.OFFSET_FETCH, 7, {
      groupId: 'lone',
      topics: [{ name: 'short', partitionIndexes: [0] }],
    })
    assert.equal(topics[0]?.partitions[0]?.committedOffset, -1)
  })
})

test("Kafka's own decoder reads what groups have written", {
  skip: skipUnless(dumpLogAvailable()),
}, async () => {
  await broker.stop()
  const files = broker.dataDirs.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.log') && !name.includes('__cluster_metadata'))
      .map((name) => join(folder, name)),
  )
  const { complaints, output } = await dumpGroupRecords(files)
  assert.deepEqual(complaints, [])
  assert.match(output, /"group":"lone","topic":"commits","partition":0/)
  assert.match(output, /"offset":5,"leaderEpoch":-1,"metadata":"here"/)
  assert.match(output, /"protocolType":"consumer","generation":\d+/)
})
