/**
 * Consumer groups (KIP-848) of a real broker: members of Kafka's Java client come, go and are
 * killed, the broker is killed, topics appear; and groups that kafkajs (classic) and the Java
 * client share while they are moved from one protocol to the other.
 */
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import { type Consumer, Kafka, logLevel } from 'kafkajs'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { RawClient } from '../support/raw-client.ts'
import { skipUnless } from './clients/client.ts'
import { JavaMember, type JavaMemberOptions, javaMemberAvailable } from './clients/java-member.ts'

const PARTITIONS = 6
const SET = {
  'group.initial.rebalance.delay.ms': '100',
  'group.min.session.timeout.ms': '1000',
  'group.consumer.min.session.timeout.ms': '1000',
  'group.consumer.session.timeout.ms': '20000',
  'group.consumer.min.heartbeat.interval.ms': '100',
  'group.consumer.heartbeat.interval.ms': '300',
  'offsets.topic.num.partitions': '4',
}
/** Until then something that must happen has happened; nothing is asserted of how long it takes. */
const WAIT_MS_MAX = 120_000
const TYPE_CLASSIC = 0
const TYPE_CONSUMER = 1

let broker: TestBroker
let kafka: Kafka
const members: JavaMember[] = []

before(async () => {
  broker = await startBroker({ set: SET })
  kafka = new Kafka({
    brokers: [broker.bootstrap],
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 100 },
  })
})

afterEach(async () => {
  for (const member of members.splice(0)) if (member.isRunning) await member.kill()
})

after(async () => {
  await broker?.stop()
  broker?.cleanUp()
})

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + WAIT_MS_MAX
  while (!(await holds())) {
    const complaints = members.map(({ stderr }) => stderr).join('\n')
    assert(performance.now() < end, `did not happen: ${what}\n${complaints}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function makeTopic(topic: string): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }] })
  await admin.disconnect()
}

async function produce(topic: string, first: number, count: number): Promise<void> {
  const producer = kafka.producer()
  await producer.connect()
  const numbers = Array.from({ length: count }, (_, i) => String(first + i))
  await producer.send({ topic, messages: numbers.map((value) => ({ key: value, value })) })
  await producer.disconnect()
}

function join(
  group: string,
  subscribe: JavaMemberOptions['subscribe'],
  settings: Record<string, string> = {},
): JavaMember {
  const member = new JavaMember({ bootstrap: broker.bootstrap, group, subscribe, settings })
  members.push(member)
  return member
}

/** Each partition is somebody's, and each of `sharing` has some. */
function isShared(sharing: readonly { readonly assigned: readonly unknown[] }[]): boolean {
  const all = sharing.flatMap(({ assigned }) => assigned)
  const isComplete = all.length === PARTITIONS && new Set(all).size === PARTITIONS
  return isComplete && sharing.every(({ assigned }) => assigned.length > 0)
}

async function describeGroup(groupId: string) {
  const client = await RawClient.open(broker.port)
  const body = { groupIds: [groupId], includeAuthorizedOperations: false }
  const { groups } = await client.request(ApiKey.CONSUMER_GROUP_DESCRIBE, 1, body)
  client.close()
  return groups[0]!
}

async function listed(groupId: string) {
  const client = await RawClient.open(broker.port)
  const body = { statesFilter: [], typesFilter: [] }
  const { groups } = await client.request(ApiKey.LIST_GROUPS, 5, body)
  client.close()
  return groups.find((group) => group.groupId === groupId)
}

describe("Kafka's Java client", { skip: skipUnless(javaMemberAvailable()) }, () => {
  test('members come, go and are killed, the broker too: every event is processed', async () => {
    await makeTopic('life')
    await produce('life', 0, 300)
    const first = join('life', { topic: 'life' })
    await until('one member has all', () => isShared([first]))
    const second = join('life', { topic: 'life' })
    const third = join('life', { topic: 'life' })
    await until('three share', () => isShared([first, second, third]))
    const seen = (): Set<string> => new Set(members.flatMap((member) => member.seen))
    await produce('life', 300, 300)
    await until('600 are processed', () => seen().size === 600)
    await second.kill()
    await until('two share', () => isShared([first, third]))

    await broker.kill()
    const { dataDirs, port } = broker
    broker = await startBroker({ set: SET, dataDirs, port })
    await produce('life', 600, 300)
    await until('900 are processed', () => seen().size === 900)
    assert(isShared([first, third]), 'the restart was no rebalance')

    const group = await describeGroup('life')
    assert.equal(group.groupState, 'Stable')
    assert.equal(group.assignorName, 'uniform')
    assert.equal(group.groupEpoch, group.assignmentEpoch)
    assert.deepEqual(
      group.members.map(({ memberEpoch, memberType }) => [memberEpoch, memberType]),
      group.members.map(() => [group.groupEpoch, TYPE_CONSUMER]),
    )
    await first.leave()
    await until('one has all', () => isShared([third]))
    await third.leave()
    assert.equal((await listed('life'))?.groupState, 'Empty')
    const admin = kafka.admin()
    await admin.connect()
    const [offsets] = await admin.fetchOffsets({ groupId: 'life', topics: ['life'] })
    const total = offsets?.partitions.reduce((sum, { offset }) => sum + Number(offset), 0)
    assert.equal(total, 900)
    await admin.deleteGroups(['life'])
    await admin.disconnect()
    assert.equal(await listed('life'), undefined)
  })

  test('a static member that comes back at once, has what it had', async () => {
    await makeTopic('static')
    const settings = { 'group.instance.id': 'one' }
    const first = join('static', { topic: 'static' }, settings)
    const other = join('static', { topic: 'static' })
    await until('two share', () => isShared([first, other]))
    const { assigned } = first
    const { groupEpoch } = await describeGroup('static')
    await first.leave()
    const back = join('static', { topic: 'static' }, settings)
    await until('two share again', () => isShared([back, other]))
    assert.deepEqual([...back.assigned].sort(), [...assigned].sort())
    assert.equal((await describeGroup('static')).groupEpoch, groupEpoch)
  })

  test('a subscription by regular expression, finds topics that are made later', async () => {
    await makeTopic('re-1')
    const member = join('re', { regex: 're-[0-9]' })
    await until('it has the first', () => isShared([member]))
    await makeTopic('re-2')
    await makeTopic('re-22')
    await produce('re-2', 0, 100)
    await until('the new one is read', () => new Set(member.seen).size === 100)
    assert(member.assigned.every((partition) => !partition.startsWith('re-22')))
  })

  test('cooperative members, replaced one by one and back, process every event', async () => {
    await makeTopic('roll')
    await produce('roll', 0, 100)
    const classic = {
      'group.protocol': 'classic',
      'partition.assignment.strategy':
        'org.apache.kafka.clients.consumer.CooperativeStickyAssignor',
      'heartbeat.interval.ms': '300',
    }
    const seen = (): Set<string> => new Set(members.flatMap((member) => member.seen))
    let [a, b] = [
      join('roll', { topic: 'roll' }, classic),
      join('roll', { topic: 'roll' }, classic),
    ]
    await until('two share', () => isShared([a, b]))
    for (const [settings, type, total] of [
      [{}, 'consumer', 200],
      [classic, 'classic', 300],
    ] as const) {
      await a.leave()
      a = join('roll', { topic: 'roll' }, settings)
      await until('old and new share', () => isShared([a, b]))
      assert.equal((await listed('roll'))?.groupType, 'consumer')
      await produce('roll', total - 100, 100)
      await b.leave()
      b = join('roll', { topic: 'roll' }, settings)
      await until('both are new', () => isShared([a, b]))
      assert.equal((await listed('roll'))?.groupType, type)
      await until(`${total} are processed`, () => seen().size === total)
    }
  })

  test('a group of kafkajs, takes the Java client in and becomes its own again', async () => {
    await makeTopic('mixed')
    await produce('mixed', 0, 100)
    const classic = await new ClassicMember('mixed').run('mixed')
    await until('the classic member has all', () => isShared([classic]))
    assert.equal((await listed('mixed'))?.groupType, 'classic')
    const member = join('mixed', { topic: 'mixed' })
    await until('the two share', () => isShared([classic, member]))
    assert.equal((await listed('mixed'))?.groupType, 'consumer')
    const { members: described } = await describeGroup('mixed')
    const types = described.map(({ memberType }) => memberType)
    assert.deepEqual(types.sort(), [TYPE_CLASSIC, TYPE_CONSUMER])
    await produce('mixed', 100, 100)
    const seen = (): Set<string> => new Set([...classic.seen, ...member.seen])
    await until('200 are processed', () => seen().size === 200)

    await member.leave()
    await until('the classic member has all again', () => isShared([classic]))
    assert.equal((await listed('mixed'))?.groupType, 'classic')
    await produce('mixed', 200, 100)
    await until('300 are processed', () => seen().size === 300)
    await classic.consumer.disconnect()
  })
})

/** A member of kafkajs, which speaks the classic protocol. */
class ClassicMember {
  readonly consumer: Consumer
  readonly seen: string[] = []
  /** As 'topic-partition'. */
  assigned: readonly string[] = []

  constructor(groupId: string) {
    this.consumer = kafka.consumer({
      groupId,
      sessionTimeout: 5000,
      rebalanceTimeout: 5000,
      heartbeatInterval: 200,
    })
    this.consumer.on('consumer.group_join', ({ payload }) => {
      this.assigned = Object.entries(payload.memberAssignment).flatMap(([topic, partitions]) =>
        partitions.map((partition) => `${topic}-${partition}`),
      )
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
