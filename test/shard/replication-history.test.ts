/**
 * Random histories of a partition on three shards: appends, brokers that are cut off, killed and
 * come back, leaders that change among the in-sync replicas, records that are deleted. What was
 * acknowledged to acks=all stays, no watermark is above what all in-sync replicas have, and in the
 * end all logs are equal byte for byte.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { copyOf, readInt64, viewOf } from '../../src/base/bytes.ts'
import { loadNative } from '../../src/base/native.ts'
import { Random } from '../../src/base/random.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { batchBaseOffset, batchBytes } from '../../src/record/batch.ts'
import type { BatchEngine } from '../../src/record/batch-engine.ts'
import { jsBatchEngine } from '../../src/record/batch-engine-js.ts'
import { nativeBatchEngine } from '../../src/record/batch-engine-native.ts'
import { MAX_TIMESTAMP } from '../../src/record/batch-layout.ts'
import { APPEND_ALL, READ_MIN_ONE_BATCH, READ_TO_LOG_END } from '../../src/shard/messages-layout.ts'
import type { IsrProposalOf } from '../../src/shard/replica-control.ts'
import type { LogOptions } from '../../src/storage/log.ts'
import { batch, concat, offsetsIn, rerun, SEED, START_MS } from '../storage/support/fixture.ts'
import type { ShardFixture } from './fixture.ts'
import { LAG_MS_MAX, type ReplicaBroker, ReplicaCluster } from './replica-cluster.ts'

const STEPS = 60
const ROUNDS = Number(process.env.MILLRACE_RUNS ?? 15)

const ENGINES: BatchEngine[] = [jsBatchEngine]
const addon = loadNative()
if (addon !== null) ENGINES.push(nativeBatchEngine(addon))

interface Sent {
  /** Of the process that was asked. */
  readonly shard: ShardFixture
  readonly index: number
  readonly timestamp: number
}

class History {
  readonly cluster: ReplicaCluster
  readonly random: Random
  readonly options: Partial<LogOptions>
  readonly minInSyncReplicas: number
  leaderId = 1
  leaderEpoch = 1
  partitionEpoch = 1
  inSyncReplicas = [1, 2, 3]
  readonly #waiting: Sent[] = []
  /** Base offset of what was acknowledged, and which batch it was. */
  readonly acknowledged = new Map<number, number>()
  #timestamp = START_MS
  readonly counts = new Map<string, number>()

  constructor(cluster: ReplicaCluster, random: Random, options: Partial<LogOptions>) {
    this.cluster = cluster
    this.random = random
    this.options = options
    this.minInSyncReplicas = random.between(1, 2)
  }

  get leader(): ReplicaBroker {
    return this.cluster.of(this.leaderId)
  }

  async tell(broker: ReplicaBroker): Promise<void> {
    const { leaderEpoch, partitionEpoch, inSyncReplicas, minInSyncReplicas } = this
    if (broker.isCutOff) return
    if (broker.id !== this.leaderId) {
      if (broker.leaderEpoch < leaderEpoch) await broker.follow(this.leaderId, leaderEpoch)
      return
    }
    const replicas = this.cluster.brokers.map(({ id }) => id)
    await broker.lead({
      leaderEpoch,
      partitionEpoch,
      replicas,
      inSyncReplicas,
      minInSyncReplicas,
    })
  }

  async tellAll(): Promise<void> {
    for (const broker of this.cluster.brokers) await this.tell(broker)
  }

  async step(): Promise<void> {
    const { random, cluster } = this
    const broker = cluster.of(random.between(1, 3))
    const dice = random.between(0, 19)
    if (dice < 9) this.#append()
    else if (dice < 11) broker.isCutOff = true
    else if (dice < 14) await this.#heal(broker)
    else if (dice < 16) await this.#elect(broker)
    else if (dice < 17) await this.#restart(broker)
    else if (dice < 18) cluster.wait(LAG_MS_MAX * 2)
    else if (dice < 19) await this.#deleteRecords()
    else await broker.shard.control({ kind: 'checkpoint' })
    await this.settle()
  }

  async settle(): Promise<void> {
    await this.cluster.rest()
    await this.#answerProposals()
    await this.cluster.rest()
    this.#collect()
    await this.#check()
  }

  #append(): void {
    const { leader, random } = this
    for (let i = random.between(1, 4); i > 0; i--) {
      const timestamp = this.#timestamp++
      const run = batch({ records: random.between(1, 3), timestamp, valueBytes: 30 })
      const flags = random.between(0, 2) === 0 ? 0 : APPEND_ALL
      const { leaderEpoch } = leader
      const index = leader.shard.append(0, run, { leaderEpoch, flags })
      if (flags !== 0) this.#waiting.push({ shard: leader.shard, index, timestamp })
      leader.fetchBytesMax = random.between(50, 1000)
    }
  }

  async #heal(broker: ReplicaBroker): Promise<void> {
    if (!broker.isCutOff) return
    broker.isCutOff = false
    if (broker.id === this.leaderId) return
    // Where it was: at the end of its log, with an answer that never comes.
    await broker.follow(this.leaderId, this.leaderEpoch)
  }

  async #elect(broker: ReplicaBroker): Promise<void> {
    if (broker.isCutOff || !this.inSyncReplicas.includes(broker.id)) return
    this.count('elections')
    this.leaderId = broker.id
    this.leaderEpoch++
    this.partitionEpoch++
    this.inSyncReplicas = this.inSyncReplicas.filter((id) => !this.cluster.of(id).isCutOff)
    await this.tellAll()
  }

  /**
   * The process is lost, and what was written is there; or the machine, and only what was flushed.
   * Who leads is decided anew.
   */
  async #restart(broker: ReplicaBroker): Promise<void> {
    const isAlone = this.inSyncReplicas.join() === String(broker.id)
    const others = isAlone ? [broker.id] : this.inSyncReplicas.filter((id) => id !== broker.id)
    const next = others.find((id) => id === broker.id || !this.cluster.of(id).isCutOff)
    if (next === undefined) return
    const isPowerLoss = this.options.flushMessages === 1 && this.random.between(0, 1) === 0
    this.count(isPowerLoss ? 'power losses' : 'process kills')
    await broker.restart(this.options, isPowerLoss ? this.random : null)
    broker.isCutOff = false
    broker.leaderEpoch = -1
    for (const one of this.cluster.brokers) await one.tellBrokers()
    if (broker.id === this.leaderId || this.leader.isCutOff) this.leaderId = next
    this.leaderEpoch++
    this.partitionEpoch++
    this.inSyncReplicas = others.filter((id) => !this.cluster.of(id).isCutOff)
    await this.tellAll()
  }

  async #deleteRecords(): Promise<void> {
    const { leader, random } = this
    if (leader.isCutOff || random.between(0, 1) === 0) return
    const { highWatermark, logStartOffset } = await leader.state()
    const beforeOffset = random.between(logStartOffset, highWatermark)
    const request = { kind: 'delete-records', handle: 0, beforeOffset } as const
    assert.equal((await leader.shard.control(request)).kind, 'offsets')
  }

  async #answerProposals(): Promise<void> {
    for (const { id, isCutOff } of this.cluster.brokers) {
      for (const proposal of this.cluster.proposalsOf(id)) {
        if (isCutOff) await this.#answer(id, proposal, ErrorCode.REQUEST_TIMED_OUT)
        else await this.#alter(id, proposal)
      }
    }
  }

  async #alter(id: number, proposal: IsrProposalOf): Promise<void> {
    const { leaderEpoch, partitionEpoch, members } = proposal
    const isEligible = members.every(({ brokerId, brokerEpoch }) => {
      const broker = this.cluster.of(brokerId)
      return brokerId === id || (broker.brokerEpoch === brokerEpoch && !broker.isCutOff)
    })
    if (leaderEpoch !== this.leaderEpoch) {
      await this.#answer(id, proposal, ErrorCode.FENCED_LEADER_EPOCH)
    } else if (partitionEpoch !== this.partitionEpoch) {
      await this.#answer(id, proposal, ErrorCode.INVALID_UPDATE_VERSION)
    } else if (!isEligible) {
      await this.#answer(id, proposal, ErrorCode.INELIGIBLE_REPLICA)
    } else {
      this.count('changes of the ISR')
      this.partitionEpoch++
      this.inSyncReplicas = members.map(({ brokerId }) => brokerId)
      await this.#answer(id, proposal, ErrorCode.NONE)
      await this.tell(this.leader)
    }
  }

  async #answer(id: number, proposal: IsrProposalOf, errorCode: ErrorCode): Promise<void> {
    const { handle, leaderEpoch, partitionEpoch } = proposal
    const answer = { handle, leaderEpoch, partitionEpoch, errorCode }
    await this.cluster.of(id).shard.control({ kind: 'alter-answer', ...answer })
  }

  #collect(): void {
    for (const sent of this.#waiting.splice(0)) {
      const answer = sent.shard.of('appended').find(({ index }) => index === sent.index)
      if (answer === undefined) this.#waiting.push(sent)
      else if (answer.outcome.errorCode === ErrorCode.NONE) {
        this.count('acknowledged')
        this.acknowledged.set(answer.outcome.baseOffset, sent.timestamp)
      }
    }
  }

  async #check(): Promise<void> {
    const states = await Promise.all(this.cluster.brokers.map((broker) => broker.state()))
    const endOf = (id: number): number => states[id - 1]!.logEndOffset
    const lowest = Math.min(...this.inSyncReplicas.map(endOf))
    for (const [i, { highWatermark, logStartOffset, logEndOffset }] of states.entries()) {
      assert.ok(logStartOffset <= highWatermark && highWatermark <= logEndOffset)
      assert.ok(highWatermark <= lowest, `broker ${i + 1}: ${highWatermark} above ${lowest}`)
    }
    for (const offset of this.acknowledged.keys()) assert.ok(offset < lowest)
  }

  /** Everybody is there again and has everything. */
  async finish(): Promise<void> {
    for (const broker of this.cluster.brokers) await this.#heal(broker)
    await this.tellAll()
    this.#append()
    for (let i = 0; i < 3; i++) {
      this.cluster.wait(LAG_MS_MAX)
      await this.settle()
    }
    assert.deepEqual([...this.inSyncReplicas].sort(), [1, 2, 3])
    const states = await Promise.all(this.cluster.brokers.map((broker) => broker.state()))
    const { logEndOffset, latestEpoch } = states[0]!
    // A leader that has deleted records may lose its office before others hear of it.
    const logStartOffset = Math.max(...states.map((state) => state.logStartOffset))
    const bytes = contentOf(this.cluster.of(1), logStartOffset)
    for (const [i, state] of states.entries()) {
      const { highWatermark } = state
      assert.deepEqual({ ...state, logEndOffset, latestEpoch }, state)
      assert.equal(highWatermark, logEndOffset)
      assert.deepEqual(contentOf(this.cluster.of(i + 1), logStartOffset), bytes)
    }
    const found = new Map(timestampsIn(bytes))
    for (const [offset, timestamp] of this.acknowledged) {
      if (offset >= logStartOffset) assert.equal(found.get(offset), timestamp, `offset ${offset}`)
    }
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }
}

/** Segment by segment. */
function contentOf({ shard }: ReplicaBroker, logStartOffset: number): Uint8Array {
  shard.readBytesMax = 900_000
  const parts: Uint8Array[] = []
  for (let next = logStartOffset; ; ) {
    const { index } = shard.read(0, next, READ_TO_LOG_END | READ_MIN_ONE_BATCH)
    shard.settle()
    const outcome = shard.of('read').find((one) => one.index === index)!.outcome
    if (outcome.length === 0) return concat(parts)
    const part = copyOf(shard.proxy.egress, outcome.offset, outcome.offset + outcome.length)
    shard.proxy.release(outcome)
    parts.push(part)
    next = offsetsIn(part).at(-1)!.last + 1
  }
}

function* timestampsIn(bytes: Uint8Array): Generator<[number, number]> {
  const view = viewOf(bytes)
  for (let at = 0; at < bytes.length; at += batchBytes(view, at)) {
    yield [batchBaseOffset(view, at), readInt64(view, at + MAX_TIMESTAMP)]
  }
}

for (const engine of ENGINES) {
  test(`a history loses nothing that was acknowledged (${engine.name})`, async (t) => {
    const totals = new Map<string, number>()
    for (let round = 0; round < ROUNDS; round++) {
      const seed = SEED + round
      const random = new Random(seed)
      const flushMessages = random.between(0, 1) === 0 ? 1 : Number.POSITIVE_INFINITY
      const options = { segmentBytes: 2000, indexIntervalBytes: 200, flushMessages }
      const cluster = await ReplicaCluster.open(3, options, engine)
      const history = new History(cluster, random, options)
      try {
        await history.tellAll()
        for (let step = 0; step < STEPS; step++) await history.step()
        await history.finish()
      } catch (error) {
        throw new Error(`round ${round}, ${rerun(seed)}: ${String(error)}`, { cause: error })
      }
      for (const counts of [history.counts, cluster.counts]) {
        for (const [what, count] of counts) totals.set(what, (totals.get(what) ?? 0) + count)
      }
    }
    t.diagnostic([...totals].map(([what, count]) => `${what} ${count}`).join(', '))
  })
}
