import { Packr } from 'msgpackr'
import { assert } from '../base/assert.ts'
import { copyOf } from '../base/bytes.ts'
import type { Doorbell } from '../ring/doorbell.ts'
import type { LaneReader, LaneWriter } from '../ring/lane.ts'
import type { ControlReply, ControlRequest, ShardEvent } from './control.ts'
import { LaneOutlet } from './lane-outlet.ts'
import * as layout from './messages-layout.ts'
import {
  type AppendRequest,
  type FollowRequest,
  type ReadRequest,
  type ReplicaReadRequest,
  RequestWriter,
} from './request-writer.ts'
import { SentBytes } from './sent-bytes.ts'
import { TokenTable } from './token-table.ts'

/**
 * Main's side of one shard: writes requests into the lane, keeps what waits for an answer, and
 * hands the answers out. Runs on main; never blocks.
 *
 * When the lane is full, requests queue here in order. That queue is bounded by what may be in
 * flight at all (connections × requests each, and the arena); while it is not empty `isCongested`
 * tells the gateway to stop reading sockets.
 */
export interface AppendSink {
  /**
   * The bytes are in the log and the extent is free; at most once, and only if `onAppended` waits.
   */
  onWritten(index: number): void
  onAppended(result: AppendOutcome, index: number): void
}

export type {
  AppendRequest,
  FollowRequest,
  ReadRequest,
  ReplicaReadRequest,
} from './request-writer.ts'

/** Valid during the callback only: the proxy reuses it. */
export interface AppendOutcome {
  errorCode: number
  baseOffset: number
  logStartOffset: number
  appendTimeMs: number
}

export interface FollowSink {
  /** The batches are written, and flushed where that counts; the extent is free. */
  onFollowed(result: FollowOutcome, index: number): void
}

/** −1: there is no log to speak of. */
export interface FollowOutcome {
  errorCode: number
  logEndOffset: number
  highWatermark: number
  logStartOffset: number
}

export interface ReadSink {
  onRead(result: ReadOutcome, index: number): void
  /** Something lies at the watched offset now (or the partition went away). */
  onWake(index: number): void
}

/** Valid during the callback only. The sink owns the extent and gives it back with `release`. */
export interface ReadOutcome {
  errorCode: number
  highWatermark: number
  lastStableOffset: number
  logStartOffset: number
  offset: number
  length: number
  generation: number
  flags: number
  /** Of a follower's read: where the logs part, −1 both when they do not. */
  divergingEpoch: number
  divergingEndOffset: number
}

/** A read result's place in the egress arena, as the shard named it. */
export interface LentExtent {
  readonly offset: number
  readonly length: number
  readonly generation: number
}

interface PendingAppend {
  readonly sink: AppendSink
  readonly index: number
}

interface PendingFollow {
  readonly sink: FollowSink
  readonly index: number
}

interface PendingRead {
  readonly sink: ReadSink
  readonly index: number
  readonly handle: number
  /** Answered; it waits for something to lie at its offset. */
  isWatching: boolean
}

type PendingControl = (reply: ControlReply) => void

const DRAIN_LIMIT = 4096

export class ShardProxy {
  readonly index: number
  /** The shard's egress arena: read results lie in it. */
  readonly egress: Uint8Array
  readonly #sent: SentBytes
  readonly #requests: LaneWriter
  readonly #writer: RequestWriter
  readonly #answers: LaneReader
  readonly #onEvent: (event: ShardEvent) => void
  readonly #packr = new Packr({ useRecords: false })
  readonly #appends = new TokenTable<PendingAppend>()
  readonly #follows = new TokenTable<PendingFollow>()
  readonly #reads = new TokenTable<PendingRead>()
  readonly #controls = new TokenTable<PendingControl>()
  readonly #outlet: LaneOutlet
  readonly #appended: AppendOutcome = {
    errorCode: 0,
    baseOffset: 0,
    logStartOffset: 0,
    appendTimeMs: 0,
  }
  readonly #read: ReadOutcome = {
    errorCode: 0,
    highWatermark: 0,
    lastStableOffset: 0,
    logStartOffset: 0,
    offset: 0,
    length: 0,
    generation: 0,
    flags: 0,
    divergingEpoch: -1,
    divergingEndOffset: -1,
  }
  #lentBytes = 0

  constructor(parts: {
    index: number
    egress: Uint8Array
    /** Of all shards. */
    sent?: SentBytes
    requests: LaneWriter
    answers: LaneReader
    doorbell: Doorbell
    onEvent: (event: ShardEvent) => void
  }) {
    this.index = parts.index
    this.egress = parts.egress
    this.#sent = parts.sent ?? new SentBytes()
    this.#requests = parts.requests
    this.#writer = new RequestWriter(parts.requests)
    this.#answers = parts.answers
    this.#outlet = new LaneOutlet(parts.requests, parts.doorbell)
    this.#onEvent = parts.onEvent
  }

  /** True while requests wait for room in the lane. */
  get isCongested(): boolean {
    return this.#outlet.isBlocked
  }

  /** Bytes of read results that have not been released. */
  get lentBytes(): number {
    return this.#lentBytes
  }

  /** Bytes of the lanes that nobody has taken yet, and messages that wait for room in one. */
  get lanes(): { readonly toShard: number; readonly toMain: number; readonly waiting: number } {
    return {
      toShard: this.#requests.unreadBytes,
      toMain: this.#answers.unreadBytes,
      waiting: this.#outlet.waiting,
    }
  }

  /** Batches of a partition leave for a client. */
  countSent(handle: number, bytes: number): void {
    this.#sent.add(handle, bytes)
  }

  /** What waits for an answer; a watch that has not been woken counts. */
  get inFlight(): number {
    const { size } = this.#follows
    return this.#appends.size + size + this.#reads.size + this.#controls.size
  }

  append(request: AppendRequest, sink: AppendSink, index: number): void {
    const token = this.#appends.add({ sink, index })
    if (!this.isCongested && this.#writer.append(token, request)) this.#outlet.sent()
    else this.#outlet.send(() => this.#writer.append(token, request))
  }

  /** Returns the token, which names the watch when READ_WATCH is asked for. */
  read(request: ReadRequest, sink: ReadSink, index: number): number {
    const token = this.#reads.add({ sink, index, handle: request.handle, isWatching: false })
    if (!this.isCongested && this.#writer.read(token, request)) this.#outlet.sent()
    else this.#outlet.send(() => this.#writer.read(token, request))
    return token
  }

  /** For a partition that follows or is raw. The batches stay as they are until the answer. */
  follow(request: FollowRequest, sink: FollowSink, index: number): void {
    const token = this.#follows.add({ sink, index })
    this.#outlet.send(() => this.#writer.follow(token, request))
  }

  /** As `read`, for a follower; see READ_NEWS and the diverging epoch for what is different. */
  replicaRead(request: ReplicaReadRequest, sink: ReadSink, index: number): number {
    const token = this.#reads.add({ sink, index, handle: request.handle, isWatching: false })
    this.#outlet.send(() => this.#writer.replicaRead(token, request))
    return token
  }

  /** Ends a watch; unknown or spent tokens are fine. */
  unwatch(token: number): void {
    const watch = this.#reads.get(token)
    if (watch === undefined || !watch.isWatching) return
    this.#reads.take(token)
    this.#outlet.send(() => {
      const at = this.#requests.claim(layout.UNWATCH, layout.UNWATCH_BYTES)
      if (at < 0) return false
      this.#requests.view.setUint32(at, token, true)
      this.#requests.view.setUint32(at + 4, watch.handle, true)
      return true
    })
  }

  /** Gives a read's extent back to the shard. */
  release(extent: LentExtent): void {
    const { offset, generation } = extent
    this.#lentBytes -= extent.length
    this.#outlet.send(() => {
      const at = this.#requests.claim(layout.RELEASE, layout.RELEASE_BYTES)
      if (at < 0) return false
      this.#requests.view.setUint32(at, offset, true)
      this.#requests.view.setUint32(at + 4, generation, true)
      return true
    })
  }

  control(request: ControlRequest): Promise<ControlReply> {
    const body = this.#packr.pack(request)
    return new Promise((resolve) => {
      const token = this.#controls.add(resolve)
      this.#outlet.sendBody(layout.CONTROL, token, body)
      this.flush()
    })
  }

  /** Publishes what has been written since the last call and wakes the shard if it is parked. */
  flush(): void {
    this.#outlet.flush()
  }

  /** Hands out the answers that have arrived; returns how many. */
  poll(): number {
    const count = this.#answers.drain(DRAIN_LIMIT, this.#onAnswer)
    this.flush()
    return count
  }

  hasAnswers(): boolean {
    return !this.#answers.isEmpty()
  }

  readonly #onAnswer = (type: number, at: number): void => {
    const token = this.#answers.view.getUint32(at, true)
    switch (type) {
      case layout.APPENDED:
        this.#onAppended(token, at)
        return
      case layout.READ_DONE:
        this.#onReadDone(token, at)
        return
      case layout.FOLLOWED:
        this.#onFollowed(token, at)
        return
      case layout.WRITTEN: {
        const pending = this.#appends.get(token)
        assert(pending !== undefined, 'a written token that nobody waits for')
        pending.sink.onWritten(pending.index)
        return
      }
      case layout.WAKE: {
        const watch = this.#reads.take(token)
        // Undefined: the waiter gave up meanwhile.
        watch?.sink.onWake(watch.index)
        return
      }
      case layout.REPLY: {
        const resolve = this.#controls.take(token)
        assert(resolve !== undefined, `reply to an unknown control token ${token}`)
        const reply = this.#unpack(at) as ControlReply
        if (reply.kind === 'batch') this.#lentBytes += reply.length
        resolve(reply)
        return
      }
      case layout.EVENT:
        this.#onEvent(this.#unpack(at) as ShardEvent)
        return
      default:
        assert(false, `unknown answer type ${type}`)
    }
  }

  #onAppended(token: number, at: number): void {
    const pending = this.#appends.take(token)
    assert(pending !== undefined, 'an append token that nobody waits for')
    const view = this.#answers.view
    const result = this.#appended
    result.errorCode = view.getInt32(at + 4, true)
    result.baseOffset = view.getFloat64(at + 8, true)
    result.logStartOffset = view.getFloat64(at + 16, true)
    result.appendTimeMs = view.getFloat64(at + 24, true)
    pending.sink.onAppended(result, pending.index)
  }

  #onFollowed(token: number, at: number): void {
    const pending = this.#follows.take(token)
    assert(pending !== undefined, 'a token of a follower that nobody waits for')
    const view = this.#answers.view
    const errorCode = view.getInt32(at + 4, true)
    const logEndOffset = view.getFloat64(at + 8, true)
    const highWatermark = view.getFloat64(at + 16, true)
    const logStartOffset = view.getFloat64(at + 24, true)
    const result = { errorCode, logEndOffset, highWatermark, logStartOffset }
    pending.sink.onFollowed(result, pending.index)
  }

  #onReadDone(token: number, at: number): void {
    const pending = this.#reads.get(token)
    assert(pending !== undefined, 'a read token that nobody waits for')
    const view = this.#answers.view
    const result = this.#read
    result.errorCode = view.getInt32(at + 4, true)
    result.highWatermark = view.getFloat64(at + 8, true)
    result.lastStableOffset = view.getFloat64(at + 16, true)
    result.logStartOffset = view.getFloat64(at + 24, true)
    result.offset = view.getUint32(at + 32, true)
    result.length = view.getUint32(at + 36, true)
    result.generation = view.getUint32(at + 40, true)
    result.flags = view.getUint32(at + 44, true)
    result.divergingEndOffset = view.getFloat64(at + 48, true)
    result.divergingEpoch = view.getInt32(at + 56, true)
    this.#lentBytes += result.length
    if ((result.flags & layout.READ_WATCHING) !== 0) pending.isWatching = true
    else this.#reads.take(token)
    pending.sink.onRead(result, pending.index)
  }

  #unpack(at: number): unknown {
    const length = this.#answers.view.getUint32(at + 4, true)
    const from = at + layout.CONTROL_HEADER_BYTES
    // Copied first: strings are decoded from it, and the lane's memory is shared.
    return this.#packr.unpack(copyOf(this.#answers.bytes, from, from + length))
  }
}
