/**
 * Shards of several brokers on one thread, and a model of what their mains do: tell roles, carry
 * fetches and batches between them, cut where a leader says so. One partition, handle 0. Nothing
 * moves unless `rest` or `turn` is called; a broker that is cut off fetches nothing.
 */
import assert from 'node:assert/strict'
import { copyOf, viewOf } from '../../src/base/bytes.ts'
import type { Random } from '../../src/base/random.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { batchBytes } from '../../src/record/batch.ts'
import type { BatchEngine } from '../../src/record/batch-engine.ts'
import { LEADER_EPOCH } from '../../src/record/batch-layout.ts'
import type { ControlReply } from '../../src/shard/control.ts'
import { READ_MIN_ONE_BATCH, READ_WATCH, READ_WATCHING } from '../../src/shard/messages-layout.ts'
import type { IsrProposalOf, LeadPartition, ReplicaState } from '../../src/shard/replica-control.ts'
import type { FollowOutcome, ReadOutcome } from '../../src/shard/shard-proxy.ts'
import { readCheckpoints } from '../../src/storage/checkpoint.ts'
import type { LogHint, LogOptions } from '../../src/storage/log.ts'
import type { MemoryFiles } from '../storage/support/memory-files.ts'
import { LOG_DIRECTORY, ShardFixture } from './fixture.ts'

const TURNS_MAX = 20_000
export const LAG_MS_MAX = 1000

export class ReplicaBroker {
  readonly id: number
  readonly cluster: ReplicaCluster
  shard: ShardFixture
  /** Of its registration. */
  brokerEpoch = 100
  isCutOff = false
  fetches = 0
  leaderEpoch = -1
  fetchBytesMax = 100_000
  #leaderId = -1
  #end = 0
  #latestEpoch = -1
  #start = 0
  /** Answers to older ones count for nothing. */
  #round = 0
  #isFetching = false
  /** Of the fetch that waits at its leader's log end. */
  #giveUp: (() => void) | null = null

  constructor(id: number, cluster: ReplicaCluster, files?: MemoryFiles) {
    this.id = id
    this.cluster = cluster
    this.shard = this.#newShard(files)
  }

  #newShard(files?: MemoryFiles): ShardFixture {
    const { engine } = this.cluster
    return new ShardFixture({
      ...(engine === undefined ? {} : { engine }),
      ...(files === undefined ? {} : { files }),
    })
  }

  async open(options: Partial<LogOptions>, hint: LogHint | null = null): Promise<void> {
    await this.shard.openAs(0, { role: 'follower', hint, ...options })
    await this.tellBrokers()
  }

  /** The process, or the machine, is gone; another one opens what is there. */
  async restart(options: Partial<LogOptions>, powerLoss: Random | null = null): Promise<void> {
    const { files } = this.shard
    if (powerLoss === null) files.kill()
    else files.losePower(powerLoss)
    const hint = [...readCheckpoints(files, LOG_DIRECTORY).values()][0] ?? null
    this.#round++
    this.#isFetching = false
    this.#leaderId = -1
    this.brokerEpoch++
    this.shard = this.#newShard(files)
    await this.open(options, hint)
  }

  async tellBrokers(): Promise<void> {
    const brokers = this.cluster.brokers.map((one) => [one.id, one.brokerEpoch] as const)
    const told = { kind: 'set-brokers', self: this.id, lagMsMax: LAG_MS_MAX, brokers } as const
    assert.equal((await this.shard.control(told)).kind, 'ok')
  }

  async lead(lead: Omit<LeadPartition, 'handle'>): Promise<void> {
    const partitions = [{ handle: 0, ...lead }]
    const reply = await this.shard.control({ kind: 'lead', partitions })
    assert.deepEqual(reply, { kind: 'replicas', states: [] })
    this.leaderEpoch = lead.leaderEpoch
    this.#leaderId = -1
    this.#round++
  }

  async follow(leaderId: number, leaderEpoch: number): Promise<ReplicaState> {
    const partitions = [{ handle: 0, leaderEpoch }]
    const state = stateIn(await this.shard.control({ kind: 'follow', partitions }))
    assert.equal(state.errorCode, ErrorCode.NONE)
    this.#round++
    this.#isFetching = false
    this.#leaderId = leaderId
    this.leaderEpoch = leaderEpoch
    this.#note(state)
    return state
  }

  async state(): Promise<ReplicaState> {
    return stateIn(await this.shard.control({ kind: 'replica-states', handles: [0] }))
  }

  #note(state: ReplicaState): void {
    this.#end = state.logEndOffset
    this.#start = state.logStartOffset
    this.#latestEpoch = state.latestEpoch
  }

  /** Asks its leader once, unless it waits for an answer. */
  fetch(): void {
    if (this.#isFetching || this.#leaderId < 0 || this.isCutOff) return
    const leader = this.cluster.of(this.#leaderId)
    if (leader.isCutOff) return
    this.#isFetching = true
    this.fetches++
    const round = this.#round
    const request = {
      handle: 0,
      fetchOffset: this.#end,
      bytesMax: this.fetchBytesMax,
      flags: READ_MIN_ONE_BATCH | READ_WATCH,
      replicaId: this.id,
      replicaEpoch: this.brokerEpoch,
      currentLeaderEpoch: this.leaderEpoch,
      lastFetchedEpoch: this.#latestEpoch,
      followerLogStart: this.#start,
    }
    const onRead = (outcome: ReadOutcome): void => {
      const { offset, length } = outcome
      if ((outcome.flags & READ_WATCHING) !== 0) {
        this.#giveUp = () => {
          leader.shard.proxy.unwatch(token)
          onWake()
        }
      }
      const run = copyOf(leader.shard.proxy.egress, offset, offset + length)
      if (length > 0) leader.shard.proxy.release(outcome)
      if (round === this.#round) this.#onFetched({ ...outcome }, run)
    }
    const onWake = (): void => {
      if (round === this.#round) this.#isFetching = false
    }
    const token = leader.shard.proxy.replicaRead(request, { onRead, onWake }, 0)
  }

  /** replica.fetch.wait.max.ms is over: the fetch is answered as it is, and the next one comes. */
  waitedLong(): void {
    this.#giveUp?.()
    this.#giveUp = null
  }

  #onFetched(outcome: ReadOutcome, run: Uint8Array): void {
    if ((outcome.flags & READ_WATCHING) !== 0) return
    if (outcome.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
      void this.#edit({ kind: 'restart-at', offset: outcome.logStartOffset })
    } else if (outcome.errorCode !== ErrorCode.NONE) {
      this.#isFetching = false
    } else if (outcome.divergingEndOffset >= 0) {
      const end = { epoch: outcome.divergingEpoch, endOffset: outcome.divergingEndOffset }
      void this.#edit({ kind: 'truncate', end })
    } else {
      this.#append(outcome, run)
    }
  }

  async #edit(
    edit:
      | { readonly kind: 'truncate'; readonly end: { epoch: number; endOffset: number } }
      | { readonly kind: 'restart-at'; readonly offset: number },
  ): Promise<void> {
    const round = this.#round
    this.cluster.count(edit.kind)
    const reply = this.shard.proxy.control({ handle: 0, leaderEpoch: this.leaderEpoch, ...edit })
    const state = stateIn(await reply)
    if (round !== this.#round) return
    this.#note(state)
    this.#isFetching = false
  }

  #append(leader: ReadOutcome, run: Uint8Array): void {
    const { ingress, proxy } = this.shard
    const offset = run.length === 0 ? 0 : ingress.allocate(run.length)
    ingress.bytes.set(run, offset)
    const generation = run.length === 0 ? 0 : ingress.generationOf(offset)
    const round = this.#round
    const onFollowed = (outcome: FollowOutcome): void => {
      if (run.length > 0) ingress.free(offset, generation)
      if (round === this.#round) this.#onFollowed({ ...outcome }, leader.logStartOffset, run)
    }
    const { leaderEpoch } = this
    const { highWatermark, logStartOffset } = leader
    const news = { leaderEpoch, leaderHighWatermark: highWatermark, leaderLogStart: logStartOffset }
    const extent = { offset, length: run.length, extentOffset: offset, generation }
    proxy.follow({ handle: 0, ...extent, ...news }, { onFollowed }, 0)
  }

  #onFollowed(outcome: FollowOutcome, leaderLogStart: number, run: Uint8Array): void {
    if (outcome.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
      void this.#edit({ kind: 'restart-at', offset: leaderLogStart })
      return
    }
    assert.equal(outcome.errorCode, ErrorCode.NONE)
    if (outcome.logEndOffset > this.#end) this.#latestEpoch = lastEpochIn(run)
    this.#end = outcome.logEndOffset
    this.#start = outcome.logStartOffset
    this.#isFetching = false
  }
}

function lastEpochIn(run: Uint8Array): number {
  const view = viewOf(run)
  let epoch = -1
  for (let at = 0; at + 61 <= run.length && at + batchBytes(view, at) <= run.length; ) {
    epoch = view.getInt32(at + LEADER_EPOCH)
    at += batchBytes(view, at)
  }
  return epoch
}

export function stateIn(reply: ControlReply): ReplicaState {
  assert(reply.kind === 'replicas', JSON.stringify(reply))
  assert.equal(reply.states.length, 1)
  return reply.states[0] as ReplicaState
}

export class ReplicaCluster {
  readonly brokers: ReplicaBroker[]
  readonly engine: BatchEngine | undefined
  readonly counts = new Map<string, number>()

  private constructor(count: number, engine?: BatchEngine) {
    this.engine = engine
    this.brokers = []
    for (let id = 1; id <= count; id++) this.brokers.push(new ReplicaBroker(id, this))
  }

  /** Brokers 1 … count, each with the partition open as a follower. */
  static async open(
    count: number,
    options: Partial<LogOptions> = {},
    engine?: BatchEngine,
  ): Promise<ReplicaCluster> {
    const cluster = new ReplicaCluster(count, engine)
    for (const broker of cluster.brokers) await broker.open(options)
    return cluster
  }

  of(id: number): ReplicaBroker {
    const broker = this.brokers[id - 1]
    assert(broker !== undefined)
    return broker
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  /** All brokers hear of it; those that are cut off do not. */
  async elect(
    leaderId: number,
    leaderEpoch: number,
    rest: Partial<Omit<LeadPartition, 'handle' | 'leaderEpoch'>> = {},
  ): Promise<void> {
    const replicas = this.brokers.map(({ id }) => id)
    const lead = {
      leaderEpoch,
      partitionEpoch: leaderEpoch,
      replicas,
      inSyncReplicas: replicas,
      minInSyncReplicas: 1,
      ...rest,
    }
    for (const broker of this.brokers) {
      if (broker.isCutOff) continue
      if (broker.id === leaderId) await broker.lead(lead)
      else if (lead.replicas.includes(broker.id)) await broker.follow(leaderId, leaderEpoch)
    }
  }

  /** Time passes everywhere, more than a fetch waits. */
  wait(ms: number): void {
    for (const broker of this.brokers) {
      broker.shard.clock.ms += ms
      broker.waitedLong()
    }
  }

  /** Fetches, turns and hands answers out until nothing happens any more. */
  async rest(): Promise<void> {
    let quiet = 0
    for (let i = 0; i < TURNS_MAX; i++) {
      let work = 0
      for (const broker of this.brokers) {
        const before = broker.fetches
        broker.fetch()
        work += broker.fetches - before
        work += broker.shard.turn() + broker.shard.poll()
      }
      await Promise.resolve()
      quiet = work === 0 ? quiet + 1 : 0
      if (quiet > 20) return
    }
    assert.fail('it does not come to rest')
  }

  /** What a leader has asked for since the last call. */
  proposalsOf(id: number): IsrProposalOf[] {
    const { events } = this.of(id).shard
    const asked = events.flatMap((one) => (one.kind === 'isr-proposals' ? one.proposals : []))
    events.length = 0
    return asked
  }
}
