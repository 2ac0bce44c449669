/**
 * Fetches from one leader what this broker follows (Kafka's replica fetcher), in an incremental
 * session (KIP-227), over a connection of its own. Batches go from the response's extent to the
 * shards as they lie; the next request says how far they have come. One request is under way; when
 * there is something new to say meanwhile a second one follows, and the leader answers the first at
 * once: a partition with a new leader does not wait until the others have something. Runs on main.
 *
 *   new ── the shard says where the log ends ──▶ ready ◀─┐
 *   ready ── a response has batches for it ──▶ busy ─────┤ (written)
 *   ready ── the logs part ──▶ busy ─────────────────────┤ (cut)
 *   ready ── an error ──▶ resting ───────────────────────┘ (a while later)
 *
 * A partition that is busy or resting, or that a throttle holds back, is left out of requests, so
 * that none holds up the others.
 */
import { assert } from '../../base/assert.ts'
import { isProof, newNonce, proofOf } from '../../cluster/cluster-proof.ts'
import type { Address, LinkIdentity } from '../../cluster/link.ts'
import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import type { Logger } from '../../metrics/logger.ts'
import type { ControlReply, ControlRequest } from '../../shard/control.ts'
import type { ReplicaState } from '../../shard/replica-control.ts'
import type { FollowOutcome, ShardProxy } from '../../shard/shard-proxy.ts'
import {
  type AnyApiKey,
  ApiKey,
  ClusterApi,
  DecodeError,
  decodeResponse,
  decodeResponseHeader,
  encodeRequest,
  Reader,
  type RequestInit,
  type ResponseOf,
} from '../../wire/kafka/api.ts'
import type { RequestFrame } from '../request-frame.ts'
import { FetchThrottle } from './fetch-throttle.ts'
import { byTopic, type FollowedPartition, keyOf, lastEpochOf, type Row } from './fetched-rows.ts'
import type { OpenReplicaLink, ReplicaLink, ReplicaLinkSink } from './replica-link.ts'
import type { CopyThrottle } from './replication-throttle.ts'

export interface ReplicaFetcherParts {
  readonly leaderId: number
  readonly address: () => Address | null
  readonly identity: () => LinkIdentity
  /** Of this broker's registration. */
  readonly brokerEpoch: () => number
  readonly open: OpenReplicaLink
  readonly shardOf: (handle: number) => ShardProxy
  readonly options: ReplicaFetchOptions
  readonly throttle: CopyThrottle
  readonly nowMs: () => number
  readonly logger: Logger
}

export interface ReplicaFetchOptions {
  readonly waitMsMax: number
  readonly bytesMin: number
  readonly bytesMax: number
  readonly partitionBytesMax: number
}

type Fetched = ResponseOf<1>['responses'][number]['partitions'][number]

const FETCH_VERSION = 18
const RETRY_MS_MIN = 20
const RETRY_MS_MAX = 500
/** What is still being written after so long is left out of the next request. */
const BUSY_MS_MAX = 20
/** After an error of one partition: mostly its leader has yet to hear that it leads. */
const REST_MS_MIN = 5
const REST_MS_MAX = 50
/** A leader that says nothing for so long beyond what it may wait is taken for gone. */
const SILENCE_MS = 1500

const reader = new Reader()

export class ReplicaFetcher implements ReplicaLinkSink {
  readonly #parts: ReplicaFetcherParts
  readonly #throttle: FetchThrottle
  readonly #rows = new Map<string, Row>()
  /** To be taken out of the session: topic id and partition number. */
  readonly #forgotten = new Map<string, Row>()
  #link: ReplicaLink | null = null
  #phase: 'closed' | 'opening' | 'hello' | 'prove' | 'idle' | 'fetching' = 'closed'
  #nonce: Uint8Array = new Uint8Array(0)
  #sessionId = 0
  #sessionEpoch = 0
  #correlationId = 0
  /** Fetches that were sent. */
  #fetches = 0
  /** Of those that are not answered, in order. */
  readonly #expected: number[] = []
  /** When the last response came. */
  #fetchedMs = Number.NEGATIVE_INFINITY
  /** Partitions whose part of the last response is being written or cut. */
  #busy = 0
  #timer: NodeJS.Timeout | null = null
  #retryMs = RETRY_MS_MIN
  #isStopped = false
  #saidMs = Number.NEGATIVE_INFINITY

  constructor(parts: ReplicaFetcherParts) {
    this.#parts = parts
    const nodeId = (): number => parts.identity().nodeId
    this.#throttle = new FetchThrottle(parts.throttle, nodeId, () => this.#goOn())
  }

  get partitions(): number {
    return this.#rows.size
  }

  /** Follows a partition from where its log ends. One that was there is replaced. */
  add(partition: FollowedPartition, at: ReplicaState): void {
    const key = keyOf(partition.topicId, partition.partition)
    const before = this.#rows.get(key)
    this.#forgotten.delete(key)
    this.#rows.set(key, {
      ...partition,
      state: 'ready',
      fetchOffset: at.logEndOffset,
      latestEpoch: at.latestEpoch,
      logStartOffset: at.logStartOffset,
      highWatermark: at.highWatermark,
      leaderHighWatermark: -1,
      isTold: false,
      toldIn: 0,
      isInSession: before?.isInSession ?? false,
      restMs: REST_MS_MIN,
    })
    this.#goOn()
  }

  remove({ topicId, partition }: Pick<FollowedPartition, 'topicId' | 'partition'>): void {
    const key = keyOf(topicId, partition)
    const row = this.#rows.get(key)
    if (row === undefined) return
    this.#rows.delete(key)
    if (row.isInSession) this.#forgotten.set(key, row)
  }

  stop(): void {
    this.#isStopped = true
    this.#rows.clear()
    this.#clearTimer()
    this.#throttle.stop()
    this.#link?.close()
    this.#link = null
    this.#phase = 'closed'
  }

  // —— the connection ——

  #connect(): void {
    const address = this.#parts.address()
    if (address === null) {
      this.#retryLater('nobody knows where it is')
      return
    }
    this.#phase = 'opening'
    this.#setTimer(SILENCE_MS, () => this.#giveUp('it does not answer'))
    this.#link = this.#parts.open(address, this)
  }

  onOpen(): void {
    if (this.#phase !== 'opening') return
    this.#nonce = newNonce()
    const { nodeId, directoryId, clusterId } = this.#parts.identity()
    this.#phase = 'hello'
    this.#send(ClusterApi.HELLO, 0, { nodeId, directoryId, clusterId, nonce: this.#nonce })
  }

  onClosed(reason: string): void {
    if (this.#link === null) return
    this.#link = null
    this.#lost(reason)
  }

  onFrame(frame: RequestFrame): void {
    try {
      this.#take(frame)
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      this.#giveUp(error.message)
    }
  }

  #take(frame: RequestFrame): void {
    switch (this.#phase) {
      case 'hello':
        this.#onHello(this.#decode(ClusterApi.HELLO, 0, frame))
        return
      case 'prove': {
        const { errorCode, errorMessage } = this.#decode(ClusterApi.PROVE, 0, frame)
        if (errorCode !== ErrorCode.NONE) {
          this.#giveUp(errorMessage ?? `error ${errorCode}`)
          return
        }
        this.#becomeReady()
        return
      }
      case 'fetching':
        this.#onFetched(this.#decode(ApiKey.FETCH, FETCH_VERSION, frame), frame)
        return
      default:
        this.#giveUp('it answers what nobody asked')
    }
  }

  #onHello(hello: ResponseOf<200>): void {
    const { leaderId } = this.#parts
    const { nodeId, secret } = this.#parts.identity()
    if (hello.errorCode !== ErrorCode.NONE || hello.nodeId !== leaderId) {
      this.#giveUp(hello.errorMessage ?? `it is node ${hello.nodeId}`)
      return
    }
    const at = {
      callerId: nodeId,
      answererId: leaderId,
      callerNonce: this.#nonce,
      answererNonce: hello.nonce,
    }
    if (!isProof(hello.proof, proofOf(secret, 'answerer', at))) {
      this.#giveUp('it does not know the cluster secret')
      return
    }
    this.#phase = 'prove'
    this.#send(ClusterApi.PROVE, 0, { proof: proofOf(secret, 'caller', at) })
  }

  #becomeReady(): void {
    this.#clearTimer()
    this.#retryMs = RETRY_MS_MIN
    this.#phase = 'idle'
    this.#startSession()
    this.#goOn()
  }

  #startSession(): void {
    this.#expected.length = 0
    this.#sessionId = 0
    this.#sessionEpoch = 0
    this.#forgotten.clear()
    for (const row of this.#rows.values()) {
      row.isTold = false
      row.isInSession = false
    }
  }

  #giveUp(reason: string): void {
    const link = this.#link
    this.#link = null
    link?.close()
    this.#lost(reason)
  }

  #lost(reason: string): void {
    this.#clearTimer()
    this.#expected.length = 0
    this.#phase = 'closed'
    if (this.#isStopped) return
    this.#retryLater(reason)
  }

  #retryLater(reason: string): void {
    const { leaderId, logger, nowMs } = this.#parts
    if (nowMs() - this.#saidMs > 10_000) {
      this.#saidMs = nowMs()
      logger.warn({ leader: leaderId, reason }, `cannot fetch from broker ${leaderId}: ${reason}`)
    }
    const ms = this.#retryMs
    this.#retryMs = Math.min(RETRY_MS_MAX, ms * 2)
    this.#setTimer(ms, () => this.#goOn())
  }

  // —— fetching ——

  /** Sends the next request if there is something to ask for and nothing is under way. */
  #goOn(): void {
    if (this.#isStopped || this.#rows.size === 0) return
    if (this.#phase === 'closed' && this.#timer === null) this.#connect()
    if (this.#phase !== 'idle' && !this.#maySayMore()) return
    if (this.#busy > 0 && this.#parts.nowMs() - this.#fetchedMs < BUSY_MS_MAX) {
      if (this.#timer === null) this.#setTimer(BUSY_MS_MAX, () => this.#goOn())
      return
    }
    this.#leaveOutBusy()
    const ready = this.#askable()
    if (ready.length === 0) return
    this.#phase = 'fetching'
    this.#fetches++
    const { waitMsMax, bytesMin, bytesMax } = this.#parts.options
    const { nodeId } = this.#parts.identity()
    const told = ready.filter((row) => !row.isTold)
    const body: RequestInit<1> = {
      replicaState: { replicaId: nodeId, replicaEpoch: this.#parts.brokerEpoch() },
      maxWaitMs: waitMsMax,
      minBytes: bytesMin,
      maxBytes: bytesMax,
      sessionId: this.#sessionId,
      sessionEpoch: this.#sessionEpoch,
      topics: byTopic(told, (row) => this.#ask(row)),
      forgottenTopicsData: byTopic([...this.#forgotten.values()], (row) => row.partition),
    }
    this.#forgotten.clear()
    this.#sessionEpoch = this.#sessionEpoch === 0x7fff_ffff ? 1 : this.#sessionEpoch + 1
    this.#link?.takeProgress()
    this.#awaitAnswer(waitMsMax + SILENCE_MS)
    this.#send(ApiKey.FETCH, FETCH_VERSION, body)
    this.#expected.push(this.#correlationId)
  }

  /** The leader waits with the answer; what it does not know yet would wait as long. */
  #maySayMore(): boolean {
    if (this.#phase !== 'fetching' || this.#expected.length !== 1 || this.#sessionId === 0) {
      return false
    }
    // Asked with every partition that was appended to: it must not look at all that are followed.
    for (const row of this.#rows.values()) {
      if (row.state === 'ready' && !row.isTold && !this.#throttle.holdsBack(row)) return true
    }
    return false
  }

  /** The leader may send at once what it has been asked for; then it waits with the others. */
  #askable(): Row[] {
    const ready = [...this.#rows.values()].filter(({ state }) => state === 'ready')
    const held = this.#throttle.heldBack(ready)
    if (this.#expected.length === 0) for (const row of held) this.#leaveOut(row)
    return ready.filter((row) => row.isTold || !held.has(row))
  }

  /** A long answer over a slow path takes its time: only silence is the end. */
  #awaitAnswer(ms: number): void {
    this.#setTimer(ms, () => {
      if (this.#link?.takeProgress() === true) this.#awaitAnswer(SILENCE_MS)
      else this.#giveUp('it does not answer')
    })
  }

  /** The leader would send again what is being written. */
  #leaveOutBusy(): void {
    if (this.#busy === 0) return
    for (const row of this.#rows.values()) if (row.state === 'busy') this.#leaveOut(row)
  }

  #leaveOut(row: Row): void {
    row.isTold = false
    if (!row.isInSession) return
    row.isInSession = false
    this.#forgotten.set(keyOf(row.topicId, row.partition), row)
  }

  #ask(row: Row) {
    this.#forgotten.delete(keyOf(row.topicId, row.partition))
    row.isTold = true
    row.toldIn = this.#fetches
    row.isInSession = true
    return {
      partition: row.partition,
      currentLeaderEpoch: row.leaderEpoch,
      fetchOffset: row.fetchOffset,
      lastFetchedEpoch: row.latestEpoch,
      logStartOffset: row.logStartOffset,
      partitionMaxBytes: this.#parts.options.partitionBytesMax,
      highWatermark: row.highWatermark,
    }
  }

  #onFetched(response: ResponseOf<1>, frame: RequestFrame): void {
    const isLast = this.#expected.length === 0
    if (isLast) {
      this.#clearTimer()
      this.#phase = 'idle'
    }
    this.#fetchedMs = this.#parts.nowMs()
    if (response.errorCode !== ErrorCode.NONE) {
      if (!isLast) {
        this.#giveUp('the session is gone')
        return
      }
      // The session is gone, with the leader's process or for want of room.
      this.#startSession()
      this.#setTimer(RETRY_MS_MIN, () => this.#goOn())
      return
    }
    this.#sessionId = response.sessionId
    // Without a session every request names all.
    if (this.#sessionId === 0) this.#startSession()
    const answered = this.#fetches - this.#expected.length
    const shards = new Set<ShardProxy>()
    for (const { topicId, partitions } of response.responses) {
      for (const fetched of partitions) {
        const row = this.#rows.get(keyOf(topicId, fetched.partitionIndex))
        if (row === undefined || !row.isTold || row.toldIn > answered) continue
        if (row.state === 'ready') this.#onPartition(row, fetched, frame)
        else row.isTold = false // It comes once more when its place in the log is known.
        shards.add(this.#parts.shardOf(row.handle))
      }
    }
    for (const shard of shards) shard.flush()
    this.#goOn()
  }

  #onPartition(row: Row, fetched: Fetched, frame: RequestFrame): void {
    const isPlain = fetched.errorCode === ErrorCode.NONE && fetched.divergingEpoch.endOffset < 0
    const isWatermark =
      isPlain && !fetched.records?.length && fetched.logStartOffset <= row.logStartOffset
    // With that alone the leader goes on by itself; else it waits to be told how it goes on.
    if (!isWatermark) row.isTold = false
    if (fetched.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
      this.#restartAt(row, fetched.logStartOffset)
    } else if (fetched.errorCode !== ErrorCode.NONE) {
      this.#rest(row, fetched.errorCode)
    } else if (fetched.divergingEpoch.endOffset >= 0) {
      const { epoch, endOffset } = fetched.divergingEpoch
      const { handle, leaderEpoch } = row
      this.#edit(row, { kind: 'truncate', handle, leaderEpoch, end: { epoch, endOffset } })
    } else this.#follow(row, fetched, frame)
  }

  #follow(row: Row, fetched: Fetched, frame: RequestFrame): void {
    const { records, highWatermark, logStartOffset } = fetched
    const length = records?.length ?? 0
    this.#throttle.came(row, length)
    row.leaderHighWatermark = highWatermark
    if (
      length === 0 &&
      highWatermark === row.highWatermark &&
      logStartOffset <= row.logStartOffset
    ) {
      row.restMs = REST_MS_MIN
      return
    }
    const lastEpoch = records === null ? -1 : lastEpochOf(frame.bytes, records)
    this.#begin(row)
    frame.hold()
    this.#parts.shardOf(row.handle).follow(
      {
        handle: row.handle,
        offset: records?.offset ?? frame.offset,
        length,
        extentOffset: frame.offset,
        generation: frame.generation,
        leaderEpoch: row.leaderEpoch,
        leaderHighWatermark: highWatermark,
        leaderLogStart: logStartOffset,
      },
      {
        onFollowed: (outcome) => {
          frame.release()
          this.#onFollowed(row, outcome, { lastEpoch, logStartOffset })
        },
      },
      0,
    )
  }

  #onFollowed(
    row: Row,
    outcome: FollowOutcome,
    fetched: { readonly lastEpoch: number; readonly logStartOffset: number },
  ): void {
    this.#end(row)
    if (!this.#isCurrent(row)) {
      this.#goOn()
      return
    }
    if (outcome.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
      this.#restartAt(row, fetched.logStartOffset)
    } else if (outcome.errorCode !== ErrorCode.NONE) {
      this.#refresh(row, outcome.errorCode)
    } else {
      row.restMs = REST_MS_MIN
      row.fetchOffset = outcome.logEndOffset
      row.highWatermark = outcome.highWatermark
      row.logStartOffset = Math.max(row.logStartOffset, fetched.logStartOffset)
      row.latestEpoch = Math.max(row.latestEpoch, fetched.lastEpoch)
    }
    this.#goOn()
  }

  /** The log here has nothing that the leader still has, or ends beyond it. */
  #restartAt(row: Row, offset: number): void {
    if (offset < 0) {
      this.#rest(row, ErrorCode.OFFSET_OUT_OF_RANGE)
      return
    }
    const { handle, leaderEpoch } = row
    this.#edit(row, { kind: 'restart-at', handle, leaderEpoch, offset })
  }

  /** Changes the log, or asks for it; what comes back says where it stands. */
  #edit(row: Row, request: ControlRequest, errorCode: number = ErrorCode.NONE): void {
    this.#begin(row)
    void this.#parts
      .shardOf(row.handle)
      .control(request)
      .then((reply) => {
        this.#end(row)
        if (this.#isCurrent(row)) this.#accept(row, reply, errorCode)
        this.#goOn()
      })
  }

  /** False once another one has taken its place: what comes of it is nothing any more. */
  #isCurrent(row: Row): boolean {
    return this.#rows.get(keyOf(row.topicId, row.partition)) === row
  }

  /**
   * Asks the shard where the log stands: what was to be appended did not fit. Nothing is fetched
   * before it has said so, since what is asked for counts as had.
   */
  #refresh(row: Row, errorCode: number): void {
    this.#edit(row, { kind: 'replica-states', handles: [row.handle] }, errorCode)
  }

  /** Takes where the log stands; after an error it is left alone for a while all the same. */
  #accept(row: Row, reply: ControlReply, errorCode: number): void {
    const state = reply.kind === 'replicas' ? reply.states[0] : undefined
    if (state === undefined || state.errorCode !== ErrorCode.NONE) {
      const code = reply.kind === 'failed' ? reply.errorCode : state?.errorCode
      this.#rest(row, code ?? ErrorCode.UNKNOWN_SERVER_ERROR)
      return
    }
    row.fetchOffset = state.logEndOffset
    row.latestEpoch = state.latestEpoch
    row.logStartOffset = state.logStartOffset
    row.highWatermark = state.highWatermark
    row.isTold = false
    if (errorCode !== ErrorCode.NONE) this.#rest(row, errorCode)
  }

  /** One that cannot be fetched now is left alone for a while. */
  #rest(row: Row, errorCode: number): void {
    const { leaderId, logger } = this.#parts
    row.state = 'resting'
    this.#leaveOut(row)
    const { handle } = row
    const fields = { handle, leader: leaderId, error: errorInfo(errorCode as ErrorCode).name }
    logger.debug(fields, 'a partition cannot be fetched now')
    const ms = row.restMs
    row.restMs = Math.min(REST_MS_MAX, ms * 2)
    setTimeout(() => {
      if (row.state !== 'resting') return
      row.state = 'ready'
      this.#goOn()
    }, ms).unref()
  }

  #begin(row: Row): void {
    row.state = 'busy'
    this.#busy++
  }

  #end(row: Row): void {
    assert(this.#busy > 0)
    this.#busy--
    row.state = 'ready'
  }

  // —— frames ——

  #send<K extends AnyApiKey>(apiKey: K, version: number, body: RequestInit<K>): void {
    this.#correlationId = (this.#correlationId + 1) & 0x7fff_ffff
    const header = { correlationId: this.#correlationId, clientId: null }
    this.#link?.send(encodeRequest(apiKey, version, header, body))
  }

  #decode<K extends AnyApiKey>(apiKey: K, version: number, frame: RequestFrame): ResponseOf<K> {
    reader.reset(frame.bytes, frame.offset, frame.offset + frame.length)
    const expected = this.#expected.shift() ?? this.#correlationId
    if (decodeResponseHeader(apiKey, version, reader) !== expected) {
      throw new DecodeError('it is not the one that was asked for', 'an answer')
    }
    return decodeResponse(apiKey, version, reader)
  }

  #setTimer(ms: number, run: () => void): void {
    this.#clearTimer()
    this.#timer = setTimeout(() => {
      this.#timer = null
      run()
    }, ms)
  }

  #clearTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}
