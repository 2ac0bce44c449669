/**
 * A producer that never stops: to every partition of a topic a small batch each few milliseconds,
 * one under way at a time, with acks=all; after a failure it looks for the leader again and sends
 * the same batch anew. A request that takes long makes it look, too, and is given up when another
 * broker leads: one that says nothing costs no time of its own. What it gives is when each
 * partition took a write.
 */
import { buildRecordBatch } from '../../src/load/build-batch.ts'
import { sleep } from './children.ts'
import { type Place, type ProbeConnection, ProbeConnections } from './probe-connection.ts'

const METADATA_MS_MAX = 300
/** A request that has been under way for so long is looked after, so often. */
const SLOW_MS = 150
const WATCH_MS = 25
/** The leader is to answer that a request has taken too long before it is given up. */
const ANSWER_MS = 500
const ELECT_MS = 5000
/** Of ElectLeaders. */
const PREFERRED = 0
/** Between two looks for leaders, at least. */
const LOOK_PAUSE_MS = 20

export interface ProberOptions {
  readonly places: readonly Place[]
  readonly topic: string
  readonly partitions: number
  readonly replicationFactor: number
  readonly eventsPerSecond: number
  readonly eventBytes: number
  /** Between two batches of a partition. */
  readonly everyMs: number
  readonly requestTimeoutMs: number
}

export class Prober {
  readonly #options: ProberOptions
  readonly #connections = new ProbeConnections()
  /** A look that is not answered costs no write its connection. */
  readonly #looks = new ProbeConnections()
  readonly #leaders: number[]
  /** Of each partition the request under way: to whom, since when. */
  readonly #underWay: ({ node: number; sinceMs: number; stop: AbortController } | null)[]
  #nodes = new Map<number, Place>()
  /** Also of brokers that the metadata leaves out because they are fenced. */
  readonly #everSeen = new Map<number, Place>()
  /** The one that has told of the leaders before is asked first. */
  #places: Place[]
  #controllerId = -1
  #isInSync = false
  #isBalanced = false
  #isStopped = false
  #batch: Uint8Array = new Uint8Array(0)
  #loops: Promise<void>[] = []
  #refresh: Promise<void> | null = null
  #refreshedMs = 0
  /** Of each partition: when its last write was acknowledged; monotonic. */
  readonly acknowledgedMs: number[]
  /** Of each partition: the longest time between two acknowledgements since `mark`, and its end. */
  readonly gaps: { ms: number; endMs: number }[]
  events = 0
  failures = 0
  /** By reason. */
  readonly reasons = new Map<string, number>()

  constructor(options: ProberOptions) {
    this.#options = options
    this.#places = [...options.places]
    this.#leaders = new Array(options.partitions).fill(-1)
    this.#underWay = new Array(options.partitions).fill(null)
    this.acknowledgedMs = new Array(options.partitions).fill(Number.NaN)
    this.gaps = Array.from({ length: options.partitions }, () => ({ ms: 0, endMs: 0 }))
  }

  /** Makes the topic, once all brokers are there to take part of it. */
  async start(): Promise<void> {
    while (this.#nodes.size < this.#options.places.length) {
      await sleep(LOOK_PAUSE_MS)
      await this.#look()
    }
    const { topic, partitions, replicationFactor, eventsPerSecond, eventBytes, everyMs } =
      this.#options
    const first = await this.#connections.to(this.#options.places[0] as Place)
    await first.request(
      19,
      {
        topics: [
          {
            name: topic,
            numPartitions: partitions,
            replicationFactor,
            assignments: [],
            configs: [],
          },
        ],
        timeoutMs: 10_000,
      },
      { timeoutMs: 15_000 },
    )
    const count = Math.max(1, Math.round((eventsPerSecond * everyMs) / 1000 / partitions))
    const value = Buffer.alloc(eventBytes, 120)
    const records = Array.from({ length: count }, () => ({ key: null, value }))
    this.#batch = await buildRecordBatch(records, 'none')
    await this.#look()
    this.#loops = this.#leaders.map((_, partition) => this.#loop(partition, count))
    this.#loops.push(this.#watch())
  }

  /** Who leads the quorum, as a broker has just said. −1: nobody that it knows. */
  async controller(): Promise<number> {
    await this.#look()
    return this.#controllerId
  }

  /** All replicas are in sync, and everywhere the first one leads: what can be, is made so. */
  async isSettled(): Promise<boolean> {
    await this.#look()
    if (this.#isInSync && !this.#isBalanced) {
      const connection = await this.#looks.to(this.#places[0] as Place)
      const body = { electionType: PREFERRED, topicPartitions: null, timeoutMs: ELECT_MS }
      await connection.request(43, body, { timeoutMs: 2 * ELECT_MS })
    }
    return this.#isInSync && this.#isBalanced
  }

  /** Its link was cut: what was sent on its connection may come at any time, or never. */
  async reconnect(node: number): Promise<void> {
    const place = this.#everSeen.get(node)
    if (place !== undefined) await this.#connections.drop(place)
  }

  /** From now on gaps are counted anew. */
  mark(): void {
    const nowMs = performance.now()
    for (const [i, gap] of this.gaps.entries()) {
      gap.ms = 0
      gap.endMs = 0
      if (Number.isNaN(this.acknowledgedMs[i])) this.acknowledgedMs[i] = nowMs
    }
    this.reasons.clear()
  }

  leaderOf(partition: number): number {
    return this.#leaders[partition] as number
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#connections.close()
    this.#looks.close()
    await Promise.all(this.#loops)
  }

  async #loop(partition: number, count: number): Promise<void> {
    const { everyMs } = this.#options
    let dueMs = performance.now() + (everyMs * partition) / this.#options.partitions
    while (!this.#isStopped) {
      const waitMs = dueMs - performance.now()
      if (waitMs > 0) await sleep(waitMs)
      const problem = await this.#send(partition).catch((error: Error) => error.message)
      const nowMs = performance.now()
      if (problem === null) {
        const gapMs = nowMs - (this.acknowledgedMs[partition] as number)
        const gap = this.gaps[partition] as { ms: number; endMs: number }
        if (gapMs > gap.ms) Object.assign(gap, { ms: gapMs, endMs: nowMs })
        this.acknowledgedMs[partition] = nowMs
        this.events += count
        dueMs = Math.max(dueMs + everyMs, nowMs)
      } else if (!this.#isStopped) {
        this.failures++
        this.reasons.set(problem, (this.reasons.get(problem) ?? 0) + 1)
        await this.#lookAgain()
        dueMs = performance.now() + 5
      }
    }
  }

  async #send(partition: number): Promise<string | null> {
    const { requestTimeoutMs } = this.#options
    const node = this.#leaders[partition] as number
    const place = this.#nodes.get(node)
    if (place === undefined) return 'no leader'
    const stop = new AbortController()
    this.#underWay[partition] = { node, sinceMs: performance.now(), stop }
    try {
      const connection = await Promise.race([this.#connections.to(place), aborted(stop.signal)])
      return await this.#produce(connection, partition, {
        timeoutMs: requestTimeoutMs + ANSWER_MS,
        signal: stop.signal,
      })
    } finally {
      this.#underWay[partition] = null
    }
  }

  async #produce(
    connection: ProbeConnection,
    partition: number,
    how: { timeoutMs: number; signal: AbortSignal },
  ): Promise<string | null> {
    const { topic, requestTimeoutMs } = this.#options
    const partitionData = [{ index: partition, records: this.#batch }]
    const body = {
      ...{ transactionalId: null, acks: -1, timeoutMs: requestTimeoutMs },
      topicData: [{ name: topic, partitionData }],
    }
    const answer = await connection.request(0, body, how)
    const code = answer.responses[0]?.partitionResponses[0]?.errorCode ?? -1
    return code === 0 ? null : `error ${code}`
  }

  async #watch(): Promise<void> {
    while (!this.#isStopped) {
      await sleep(WATCH_MS)
      const slowMs = performance.now() - SLOW_MS
      if (!this.#underWay.some((one) => one !== null && one.sinceMs < slowMs)) continue
      await this.#lookAgain()
      for (const [partition, one] of this.#underWay.entries()) {
        if (one === null || one.sinceMs >= slowMs || one.node === this.#leaders[partition]) continue
        one.stop.abort('another leads')
      }
    }
  }

  /** Looks for leaders, once for all that ask at the same time, and not without pause. */
  #lookAgain(): Promise<void> {
    const sinceMs = performance.now() - this.#refreshedMs
    this.#refresh ??= sleep(Math.max(0, LOOK_PAUSE_MS - sinceMs))
      .then(() => this.#look())
      .finally(() => {
        this.#refreshedMs = performance.now()
        this.#refresh = null
      })
    return this.#refresh
  }

  async #look(): Promise<void> {
    const body = { topics: [{ name: this.#options.topic }], allowAutoTopicCreation: false }
    for (const place of [...this.#places]) {
      try {
        const connection = await this.#looks.to(place)
        const answer = await connection.request(3, body, { timeoutMs: METADATA_MS_MAX })
        this.#nodes = new Map(answer.brokers.map((broker) => [broker.nodeId, broker]))
        for (const broker of answer.brokers) this.#everSeen.set(broker.nodeId, broker)
        this.#controllerId = answer.controllerId
        const partitions = answer.topics[0]?.partitions ?? []
        for (const one of partitions) this.#leaders[one.partitionIndex] = one.leaderId
        this.#isInSync = partitions.every((one) => one.isrNodes.length === one.replicaNodes.length)
        this.#isBalanced = partitions.every((one) => one.leaderId === one.replicaNodes[0])
        return
      } catch {
        // Another one knows.
        this.#places = [...this.#places.filter((other) => other !== place), place]
      }
    }
  }
}

/** Only ever rejects. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error(String(signal.reason))))
  })
}
