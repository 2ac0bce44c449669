/**
 * Groups of real clients under load: one of each kind of member, one that all classic clients
 * share, one that classic clients share with those of KIP-848. Members come, go, crash and pause as
 * a seed says; then the broker is killed, and the groups go on with the members that they had.
 * `clients/group-run.ts` says what must hold.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import kafkajs, { type Producer } from 'kafkajs'
import type { Random } from '../../src/base/random.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { RawClient } from '../support/raw-client.ts'
import { withSeed } from '../support/seed.ts'
import { skipUnless } from './clients/client.ts'
import { confluentPython } from './clients/confluent-python.ts'
import { GroupRun, type TopicLoad } from './clients/group-run.ts'
import { javaMemberAvailable } from './clients/java-member.ts'
import { kafkaPython } from './clients/kafka-python.ts'
import { kcat } from './clients/kcat.ts'
import { MEMBER_KINDS, type MemberKind } from './clients/members.ts'
import { platformatic } from './clients/platformatic.ts'

/** More than a group has members. */
const PARTITIONS = 8
/** Long enough that a busy machine puts nobody out. */
const SESSION_MS = 6000
const SET = {
  'group.initial.rebalance.delay.ms': '100',
  'group.consumer.min.session.timeout.ms': '1000',
  'group.consumer.session.timeout.ms': `${SESSION_MS}`,
  'group.consumer.min.heartbeat.interval.ms': '100',
  'group.consumer.heartbeat.interval.ms': '300',
  'offsets.topic.num.partitions': '4',
}
const LOAD_PAUSE_MS = 200
const EVENTS_AT_ONCE = 5

const CLASSIC: readonly MemberKind[] = [
  'kafkajs',
  'kcat',
  'confluent-python',
  'kafka-python',
  'java-classic',
  'platformatic-classic',
]
const BOTH: readonly MemberKind[] = [
  'java-consumer',
  'platformatic-consumer',
  'kafkajs',
  'confluent-python',
]

const skip = skipUnless(
  javaMemberAvailable(),
  kcat.available(),
  kafkaPython.available(),
  confluentPython.available(),
  platformatic.available(),
)

test(
  'groups of real clients lose nothing while members and the broker come and go',
  {
    skip,
  },
  () =>
    withSeed('client-groups', async (random) => {
      const run = await Load.start(random)
      try {
        await run.all()
      } finally {
        await run.end()
      }
    }),
)

class Load implements TopicLoad {
  #broker: TestBroker
  readonly #groups: readonly GroupRun[]
  readonly #producer: Producer
  readonly #random: Random
  #client: RawClient
  /** A failure ends the other loops. */
  #isOver = false
  #isRestarting = false
  readonly #paused = new Set<string>()
  #sending: Promise<unknown> = Promise.resolve()

  private constructor(broker: TestBroker, client: RawClient, random: Random) {
    this.#broker = broker
    this.#client = client
    this.#random = random
    const common = { bootstrap: broker.bootstrap, partitions: PARTITIONS, sessionMs: SESSION_MS }
    const plan = (name: string, kinds: readonly MemberKind[], roundRobin: boolean): GroupRun =>
      new GroupRun({ ...common, name, kinds, roundRobin, random: random.split(), load: this })
    this.#groups = [
      ...MEMBER_KINDS.map((kind) => plan(`all-${kind}`, [kind, kind], false)),
      plan('classic', CLASSIC, true),
      plan('both', BOTH, true),
    ].filter(({ name }) => name.includes(process.env.MILLRACE_TEST_GROUP ?? ''))
    const kafka = new kafkajs.Kafka({
      brokers: [broker.bootstrap],
      logLevel: kafkajs.logLevel.NOTHING,
      retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 100 },
    })
    this.#producer = kafka.producer()
  }

  static async start(random: Random): Promise<Load> {
    const broker = await startBroker({ set: SET })
    return new Load(broker, await RawClient.open(broker.port), random)
  }

  async all(): Promise<void> {
    for (const { name } of this.#groups) await this.#createTopic(name)
    await this.#producer.connect()
    const load = this.#produce()
    const watch = this.#watch()
    const steps = this.#steps().finally(() => {
      this.#isOver = true
    })
    await Promise.all([steps, load, watch])
    const ends = new Map<string, number[]>()
    for (const { name } of this.#groups) ends.set(name, await this.#ends(name))
    await Promise.all(
      this.#groups.map((group) => group.finish(this.#client, ends.get(group.name)!)),
    )
  }

  async #steps(): Promise<void> {
    await Promise.all(this.#groups.map((group) => group.runQuietly()))
    await Promise.all(this.#groups.map((group) => group.runRoughly()))
    await this.#restartBroker()
  }

  /**
   * kill -9 under load. Who has not been away for a session is still a member, without joining
   * again: checked when the broker was back soon enough for that. (kafkajs leaves and joins again
   * by itself when it loses its connection.)
   */
  async #restartBroker(): Promise<void> {
    const before = new Map<string, unknown>()
    for (const group of this.#groups) before.set(group.name, await group.members(this.#client))
    this.#isRestarting = true
    const killedMs = performance.now()
    await this.#broker.kill()
    const { dataDirs, port } = this.#broker
    this.#broker = await startBroker({ set: SET, dataDirs, port })
    const awayMs = performance.now() - killedMs
    this.#client = await RawClient.open(port)
    this.#isRestarting = false
    await Promise.all(this.#groups.map((group) => group.resume()))
    if (awayMs > SESSION_MS / 2) return
    for (const group of this.#groups) {
      if (!group.keepsMembers) continue
      assert.deepEqual(await group.members(this.#client), before.get(group.name), group.name)
    }
  }

  async end(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#groups.map((group) => group.kill()))
    await this.#producer.disconnect()
    this.#client.close()
    await this.#broker.stop()
    this.#broker.cleanUp()
  }

  /** A few events for each group at a time, to partitions as the seed says. */
  async #produce(): Promise<void> {
    let number = 0
    while (!this.#isOver) {
      const written = this.#groups.filter(({ name }) => !this.#paused.has(name))
      const topicMessages = written.map(({ name }) => ({
        topic: name,
        messages: Array.from({ length: EVENTS_AT_ONCE }, () => ({
          value: String(number++),
          partition: this.#random.below(PARTITIONS),
        })),
      }))
      try {
        this.#sending = this.#producer.sendBatch({ topicMessages })
        await this.#sending
      } catch (error) {
        if (!this.#isRestarting) throw error
      }
      await new Promise((resolve) => setTimeout(resolve, LOAD_PAUSE_MS))
    }
  }

  async pause(topic: string): Promise<readonly number[]> {
    this.#paused.add(topic)
    await this.#sending
    return this.#ends(topic)
  }

  resume(topic: string): void {
    this.#paused.delete(topic)
  }

  async #watch(): Promise<void> {
    while (!this.#isOver) {
      for (const group of this.#groups) {
        if (this.#isRestarting) continue
        try {
          await group.checkCommitted(this.#client)
        } catch (error) {
          if (!this.#isRestarting || error instanceof assert.AssertionError) throw error
        }
      }
      await new Promise((resolve) => setTimeout(resolve, LOAD_PAUSE_MS))
    }
  }

  async #createTopic(name: string): Promise<void> {
    const topic = { name, numPartitions: PARTITIONS, replicationFactor: 1 }
    const body = { topics: [{ ...topic, assignments: [], configs: [] }], timeoutMs: 10_000 }
    const { topics } = await this.#client.request(ApiKey.CREATE_TOPICS, 6, body)
    assert.equal(topics[0]?.errorCode, 0)
  }

  async #ends(topic: string): Promise<number[]> {
    const partitions = Array.from({ length: PARTITIONS }, (_, partitionIndex) => ({
      partitionIndex,
      currentLeaderEpoch: -1,
      timestamp: -1,
    }))
    const body = { replicaId: -1, isolationLevel: 0, topics: [{ name: topic, partitions }] }
    const { topics } = await this.#client.request(ApiKey.LIST_OFFSETS, 5, body)
    const ends = new Array<number>(PARTITIONS).fill(-1)
    for (const { partitionIndex, offset } of topics[0]!.partitions) ends[partitionIndex] = offset
    return ends
  }
}
