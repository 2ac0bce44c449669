/**
 * Clients of a simulated cluster, on a machine of their own that does not fail: they know the
 * brokers' addresses and speak Kafka's protocol through the client library's connections. What they
 * are told goes to the checker.
 */
import type { Random } from '../../../src/base/random.ts'
import { ConnectionError, KafkaConnection } from '../../../src/client/kafka-connection.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { ApiKey, type RequestInit, type SupportedApiKey } from '../../../src/wire/kafka/api.ts'
import { identify, makeBatch, type SentBatch } from '../batches.ts'
import { journal } from '../journal.ts'
import { Violation } from '../violation.ts'
import type { ClusterChecker } from './cluster-checker.ts'
import type { ClusterPlan } from './cluster-plan.ts'
import { addressOf, KAFKA_PORT } from './sim-node.ts'
import type { Host } from './sim-world.ts'

const RETRY_MS = 50
/** That a producer rests after a batch. */
const REST_CHANCE = 0.01
/** The last versions that name topics by their names. */
const PRODUCE_VERSION = 12
const FETCH_VERSION = 12
const OFFSETS_VERSION = 9
const COORDINATOR_VERSION = 3
const FETCH_BYTES = 64 * 1024
const GROUP = 'readers'
/** Of a fetch in an epoch that is over. */
const LATE_CHANCE = 0.05

/** Of one topic. */
export interface Place {
  readonly topic: string
  readonly partition: number
  /** Counts all partitions of the workload. */
  readonly index: number
}

export class SimClient {
  readonly host: Host
  readonly #nodes: number
  readonly #requestMs: number
  readonly #connections = new Map<number, Promise<KafkaConnection>>()
  /** `topic/partition` → node. */
  readonly #leaders = new Map<string, number>()
  /** The newest epoch of a leader that was heard of: what says less is old news (KIP-320). */
  readonly #epochs = new Map<string, number>()

  constructor(host: Host, nodes: number, requestMs: number) {
    this.host = host
    this.#nodes = nodes
    this.#requestMs = requestMs
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      setTimeout(resolve, ms)
    })
  }

  anyNode(): number {
    return this.host.random.between(1, this.#nodes)
  }

  leaderOf({ topic, partition }: Place): number | null {
    return this.#leaders.get(`${topic}/${partition}`) ?? null
  }

  /** Of the newest leader that was heard of; −1: of none. */
  epochOf({ topic, partition }: Place): number {
    return this.#epochs.get(`${topic}/${partition}`) ?? -1
  }

  forgetLeader({ topic, partition }: Place): void {
    this.#leaders.delete(`${topic}/${partition}`)
  }

  /** Null when there was no answer: whether it was done is not known. */
  async ask<K extends SupportedApiKey>(
    node: number,
    apiKey: K,
    body: RequestInit<K>,
    versionMax?: number,
  ) {
    try {
      const connection = await this.#to(node)
      return await connection.requestFrame(apiKey, () => body, versionMax)
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error
      this.#connections.delete(node)
      return null
    }
  }

  #to(node: number): Promise<KafkaConnection> {
    const known = this.#connections.get(node)
    if (known !== undefined) return known
    const opened = KafkaConnection.open({
      host: addressOf(node),
      port: KAFKA_PORT,
      clientId: 'simulated',
      timeoutMs: this.#requestMs,
    })
    this.#connections.set(node, opened)
    return opened
  }

  /** Who leads what, as some broker says; false when it says nothing. */
  async learn(topics: readonly string[]): Promise<boolean> {
    const answer = await this.ask(this.anyNode(), ApiKey.METADATA, {
      topics: topics.map((name) => ({ name })),
      allowAutoTopicCreation: false,
    })
    if (answer === null) return false
    for (const { name, partitions } of answer.body.topics) {
      for (const { partitionIndex, leaderId, leaderEpoch, errorCode } of partitions) {
        const key = `${name}/${partitionIndex}`
        if (leaderEpoch < (this.#epochs.get(key) ?? -1)) continue
        this.#epochs.set(key, leaderEpoch)
        if (errorCode === ErrorCode.NONE && leaderId > 0) this.#leaders.set(key, leaderId)
        else this.#leaders.delete(key)
      }
    }
    return true
  }

  /** The leader, looked for as long as it takes. */
  async findLeader(place: Place): Promise<number> {
    for (;;) {
      const leader = this.leaderOf(place)
      if (leader !== null) return leader
      await this.learn([place.topic])
      if (this.leaderOf(place) === null) await this.sleep(RETRY_MS)
    }
  }
}

/** What the workload has in common. */
export interface Workload {
  readonly plan: ClusterPlan
  readonly checker: ClusterChecker
  readonly places: readonly Place[]
  /** Nothing new is begun any more. */
  isOver(): boolean
  nextBatchId(): number
}

/** Writes to every partition, one batch at a time, each until it is acknowledged. */
export class SimProducer {
  readonly #client: SimClient
  readonly #work: Workload
  readonly #random: Random
  /** It is silent now and then, for so long that brokers forget it. */
  readonly #mayRest: boolean
  #producerId = -1

  constructor(client: SimClient, work: Workload, mayRest = false) {
    this.#mayRest = mayRest
    this.#client = client
    this.#work = work
    this.#random = client.host.random.split()
  }

  async run(): Promise<void> {
    await this.#start()
    await Promise.all(this.#work.places.map((place) => this.#writeTo(place)))
  }

  async #start(): Promise<void> {
    const body = { transactionalId: null, transactionTimeoutMs: 0 }
    for (;;) {
      const client = this.#client
      const answer = await client.ask(client.anyNode(), ApiKey.INIT_PRODUCER_ID, body)
      if (answer?.body.errorCode === ErrorCode.NONE) {
        this.#producerId = Number(answer.body.producerId)
        this.#work.checker.producerIdGiven(this.#producerId)
        return
      }
      await client.sleep(RETRY_MS)
    }
  }

  async #writeTo(place: Place): Promise<void> {
    const { plan, checker } = this.#work
    let baseSequence = 0
    while (!this.#work.isOver()) {
      await this.#client.sleep(this.#random.fraction() * plan.produceMsMax)
      if (this.#mayRest && this.#random.chance(REST_CHANCE)) {
        await this.#client.sleep(this.#random.fraction() * plan.clients.restMsMax)
      }
      const batch = makeBatch(
        {
          id: this.#work.nextBatchId(),
          partition: place.index,
          records: this.#random.between(1, 3),
          valueBytesMax: 60,
          timestamp: this.#client.host.wallMs(),
          producerId: this.#producerId,
          producerEpoch: 0,
          baseSequence,
        },
        this.#random,
      )
      checker.sent(batch)
      checker.acknowledged(batch, await this.#write(place, batch))
      baseSequence += batch.recordsCount
    }
  }

  /** Resolves to its base offset once it is acknowledged; −1 where the broker does not say. */
  async #write(place: Place, batch: SentBatch): Promise<number> {
    const client = this.#client
    for (let isFirst = true; ; isFirst = false) {
      if (!isFirst) {
        this.#work.checker.count('appends tried again')
        await client.sleep(RETRY_MS)
      }
      const leader = await client.findLeader(place)
      const { ackMs: timeoutMs } = this.#work.plan.clients
      const terms = { place, batch, acks: -1, timeoutMs }
      const { code, baseOffset } = await produce(client, leader, terms)
      if (code === ErrorCode.NONE) return baseOffset
      if (code === ErrorCode.DUPLICATE_SEQUENCE_NUMBER) return -1
      journal(() => `${place.topic}-${place.partition}: node ${leader} refuses: error ${code}`)
      if (FATAL.has(code)) {
        const what = `${place.topic}-${place.partition}, batch ${batch.id}: error ${code}`
        throw new Violation('an idempotent producer is not refused', `${what} of node ${leader}`)
      }
      client.forgetLeader(place)
    }
  }
}

/**
 * Sends with acks=1, each batch once: what only a leader has that is not one any more is lost, and
 * has to be cut off its log.
 */
export class SimCarelessProducer {
  readonly #client: SimClient
  readonly #work: Workload
  readonly #random: Random

  constructor(client: SimClient, work: Workload) {
    this.#client = client
    this.#work = work
    this.#random = client.host.random.split()
  }

  async run(): Promise<void> {
    await Promise.all(this.#work.places.map((place) => this.#writeTo(place)))
  }

  async #writeTo(place: Place): Promise<void> {
    const { plan, checker } = this.#work
    const client = this.#client
    const { ackMs: timeoutMs } = plan.clients
    while (!this.#work.isOver()) {
      await client.sleep(this.#random.fraction() * plan.produceMsMax)
      const batch = makeBatch(
        {
          id: this.#work.nextBatchId(),
          partition: place.index,
          records: 1,
          valueBytesMax: 60,
          timestamp: client.host.wallMs(),
          producerId: -1,
          producerEpoch: -1,
          baseSequence: -1,
        },
        this.#random,
      )
      checker.sent(batch)
      const leader = await client.findLeader(place)
      const { code } = await produce(client, leader, { place, batch, acks: 1, timeoutMs })
      if (code === ErrorCode.NONE) checker.count('batches written with acks=1')
      else client.forgetLeader(place)
    }
  }
}

async function produce(
  client: SimClient,
  leader: number,
  of: { place: Place; batch: SentBatch; acks: number; timeoutMs: number },
): Promise<{ code: number; baseOffset: number }> {
  const { place, batch, acks, timeoutMs } = of
  const partitionData = [{ index: place.partition, records: batch.bytes }]
  const topicData = [{ name: place.topic, partitionData }]
  const body = { acks, timeoutMs, topicData }
  const answer = await client.ask(leader, ApiKey.PRODUCE, body, PRODUCE_VERSION)
  const told = answer?.body.responses[0]?.partitionResponses[0]
  const code = told?.errorCode ?? ErrorCode.NETWORK_EXCEPTION
  return { code, baseOffset: Number(told?.baseOffset ?? -1) }
}

/** With one batch under way: what was acknowledged before is not there. */
const FATAL = new Set<number>([
  ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
  ErrorCode.UNKNOWN_PRODUCER_ID,
  ErrorCode.INVALID_PRODUCER_EPOCH,
  ErrorCode.INVALID_RECORD,
  ErrorCode.INVALID_REQUEST,
])

/** Reads every partition from its beginning, and commits how far it is. */
export class SimConsumer {
  readonly #client: SimClient
  /** For offsets: answers come in order, and a fetch may take its time. */
  readonly #committer: SimClient
  readonly #work: Workload
  readonly #positions: number[]

  constructor(client: SimClient, work: Workload, committer = client) {
    this.#client = client
    this.#committer = committer
    this.#work = work
    this.#positions = work.places.map(() => 0)
  }

  positionOf(place: Place): number {
    return this.#positions[place.index] as number
  }

  async run(): Promise<void> {
    await Promise.all([...this.#work.places.map((place) => this.readFrom(place)), this.#commit()])
  }

  async readFrom(place: Place): Promise<void> {
    const { checker } = this.#work
    const client = this.#client
    for (;;) {
      const leader = await client.findLeader(place)
      const epoch = client.epochOf(place)
      if (epoch > 0 && client.host.random.chance(LATE_CHANCE)) {
        // As a client that was away for long.
        const old = client.host.random.below(epoch)
        if ((await this.#fetch(leader, place, { epoch: old, maxWaitMs: 0 })) !== null) {
          checker.count('fetches in an old epoch, answered')
        }
      }
      const fetchOffset = this.positionOf(place)
      const maxWaitMs = this.#work.plan.clients.fetchWaitMs
      const answer = await this.#fetch(leader, place, { epoch, maxWaitMs })
      if (answer === null) {
        client.forgetLeader(place)
        await client.sleep(RETRY_MS)
        continue
      }
      const { told } = answer
      const { offset = 0, length = 0 } = told.records ?? {}
      if (length === 0) continue
      const bytes = answer.frame.subarray(offset, offset + length)
      const where = `${place.topic}-${place.partition} at ${fetchOffset} from node ${leader}`
      const batches = identify(bytes, checker.batches, where)
      checker.read(place.index, { fetchOffset, highWatermark: Number(told.highWatermark) }, batches)
      const last = batches.at(-1)
      if (last !== undefined) this.#positions[place.index] = last.lastOffset + 1
    }
  }

  /** Null when there was no answer, or an error. */
  async #fetch(node: number, place: Place, how: { epoch: number; maxWaitMs: number }) {
    const { checker } = this.#work
    const heard = checker.heardBy(place.index, node)
    const partition = {
      partition: place.partition,
      currentLeaderEpoch: how.epoch,
      fetchOffset: this.positionOf(place),
      partitionMaxBytes: FETCH_BYTES,
    }
    const answer = await this.#client.ask(
      node,
      ApiKey.FETCH,
      {
        maxWaitMs: how.maxWaitMs,
        minBytes: 1,
        maxBytes: FETCH_BYTES,
        topics: [{ topic: place.topic, partitions: [partition] }],
      },
      FETCH_VERSION,
    )
    const told = answer?.body.responses[0]?.partitions[0]
    const code = answer?.body.errorCode || (told?.errorCode ?? ErrorCode.NETWORK_EXCEPTION)
    if (code === ErrorCode.FENCED_LEADER_EPOCH) checker.count('fetches in an old epoch, refused')
    const isGone = code === ErrorCode.OFFSET_OUT_OF_RANGE
    if (isGone && Number(told?.logStartOffset) > partition.fetchOffset) {
      const what = `${place.topic}-${place.partition} at ${partition.fetchOffset}`
      throw new Violation('what is not read yet is not deleted', what)
    }
    if (code !== ErrorCode.NONE || told === undefined || answer === null) return null
    checker.answered(place.index, { node, epoch: how.epoch, heard })
    return { told, frame: answer.frame }
  }

  /** Through the group's coordinator; what was acknowledged is there from then on. */
  async #commit(): Promise<void> {
    const client = this.#committer
    const { checker } = this.#work
    let node: number | null = null
    let committed = this.#work.places.map(() => 0)
    for (;;) {
      await client.sleep(this.#work.plan.clients.commitMs)
      node ??= await this.#coordinator()
      if (node === null) continue
      if (client.host.random.chance(0.3)) {
        if (!(await this.#checkCommitted(node, committed))) node = null
        continue
      }
      const wanted = [...this.#positions]
      const topics = [...new Set(this.#work.places.map(({ topic }) => topic))]
      const answer = await client.ask(
        node,
        ApiKey.OFFSET_COMMIT,
        {
          groupId: GROUP,
          memberId: '',
          topics: topics.map((name) => ({
            name,
            partitions: this.#work.places
              .filter(({ topic }) => topic === name)
              .map(({ partition, index }) => ({
                partitionIndex: partition,
                committedOffset: wanted[index] as number,
                committedMetadata: null,
              })),
          })),
        },
        OFFSETS_VERSION,
      )
      const codes = answer?.body.topics.flatMap(({ partitions }) =>
        partitions.map(({ errorCode }) => errorCode),
      )
      if (codes?.every((code) => code === ErrorCode.NONE) === true) {
        committed = wanted
        checker.count('commits of offsets')
      } else node = null
    }
  }

  async #checkCommitted(node: number, committed: readonly number[]): Promise<boolean> {
    const body = { groups: [{ groupId: GROUP, topics: null }] }
    const answer = await this.#committer.ask(node, ApiKey.OFFSET_FETCH, body, OFFSETS_VERSION)
    const group = answer?.body.groups[0]
    if (group === undefined || group.errorCode !== ErrorCode.NONE) return false
    const told = new Map<string, number>()
    for (const { name, partitions } of group.topics) {
      for (const one of partitions) {
        if (one.errorCode !== ErrorCode.NONE) return false
        told.set(`${name}/${one.partitionIndex}`, Number(one.committedOffset))
      }
    }
    for (const { topic, partition, index } of this.#work.places) {
      const offset = told.get(`${topic}/${partition}`) ?? -1
      this.#work.checker.committedOffset(`${topic}-${partition}`, offset, {
        least: committed[index] as number,
        most: this.#positions[index] as number,
      })
    }
    return true
  }

  async #coordinator(): Promise<number | null> {
    const client = this.#committer
    const answer = await client.ask(
      client.anyNode(),
      ApiKey.FIND_COORDINATOR,
      { key: GROUP, keyType: 0 },
      COORDINATOR_VERSION,
    )
    if (answer === null || answer.body.errorCode !== ErrorCode.NONE) return null
    journal(() => `coordinator ${answer.body.nodeId}`)
    return answer.body.nodeId
  }
}
