import { Packr } from 'msgpackr'
import { ErrorCode } from '../errors/error-code.ts'
import type { Doorbell } from '../ring/doorbell.ts'
import type { LaneWriter } from '../ring/lane.ts'
import type { ControlReply, PartitionOffsets, ShardEvent } from './control.ts'
import { LaneOutlet } from './lane-outlet.ts'
import * as layout from './messages-layout.ts'
import type { WaitingAck } from './waiting-ack.ts'

/**
 * The shard's side of the lane towards main. An answer is never dropped: when the lane is full it
 * waits here in order, and `isBlocked` makes the shard take no new requests meanwhile, so that what
 * waits is bounded by what one turn produces.
 */
export interface AppendAnswer {
  readonly baseOffset: number
  readonly logStartOffset: number
  readonly appendTimeMs: number
}

/** What the answer to a FOLLOW says of the log. */
export type FollowAnswer = Pick<
  PartitionOffsets,
  'logStartOffset' | 'logEndOffset' | 'highWatermark'
>

export interface ReadAnswer {
  errorCode: number
  highWatermark: number
  lastStableOffset: number
  logStartOffset: number
  offset: number
  length: number
  generation: number
  flags: number
  divergingEpoch: number
  divergingEndOffset: number
}

export class Outbox {
  readonly #outlet: LaneOutlet
  readonly #lane: LaneWriter
  readonly #packr = new Packr({ useRecords: false })

  constructor(lane: LaneWriter, doorbell: Doorbell) {
    this.#outlet = new LaneOutlet(lane, doorbell)
    this.#lane = lane
  }

  get isBlocked(): boolean {
    return this.#outlet.isBlocked
  }

  appended(token: number, errorCode: number, offsets: AppendAnswer): void {
    if (!this.isBlocked && this.#writeAppended(token, errorCode, offsets)) {
      this.#outlet.sent()
      return
    }
    const copy = { ...offsets }
    this.#outlet.send(() => this.#writeAppended(token, errorCode, copy))
  }

  /** Acknowledges, in order, what ends at or below `upTo`, and takes it out of the list. */
  acknowledge(acks: WaitingAck[], upTo: number, logStartOffset: number): void {
    let done = 0
    while (done < acks.length && (acks[done] as WaitingAck).endOffset <= upTo) {
      const { token, baseOffset, appendTimeMs } = acks[done++] as WaitingAck
      this.appended(token, ErrorCode.NONE, { baseOffset, logStartOffset, appendTimeMs })
    }
    if (done === acks.length) acks.length = 0
    else if (done > 0) acks.splice(0, done)
  }

  readDone(token: number, answer: ReadAnswer): void {
    if (!this.isBlocked && this.#writeReadDone(token, answer)) {
      this.#outlet.sent()
      return
    }
    const copy = { ...answer }
    this.#outlet.send(() => this.#writeReadDone(token, copy))
  }

  /** Null: there is no log to speak of. */
  followed(token: number, errorCode: number, log: FollowAnswer | null): void {
    const logStartOffset = log?.logStartOffset ?? -1
    const logEndOffset = log?.logEndOffset ?? -1
    const highWatermark = log?.highWatermark ?? -1
    this.#outlet.send(() => {
      const at = this.#lane.claim(layout.FOLLOWED, layout.FOLLOWED_BYTES)
      if (at < 0) return false
      const view = this.#lane.view
      view.setUint32(at, token, true)
      view.setInt32(at + 4, errorCode, true)
      view.setFloat64(at + 8, logEndOffset, true)
      view.setFloat64(at + 16, highWatermark, true)
      view.setFloat64(at + 24, logStartOffset, true)
      return true
    })
  }

  wake(token: number): void {
    this.#outlet.send(() => this.#writeToken(layout.WAKE, token))
  }

  /** The bytes of an append are in the log; its acknowledgement follows later. */
  written(token: number): void {
    this.#outlet.send(() => this.#writeToken(layout.WRITTEN, token))
  }

  reply(token: number, reply: ControlReply): void {
    this.#outlet.sendBody(layout.REPLY, token, this.#packr.pack(reply))
  }

  event(event: ShardEvent): void {
    this.#outlet.sendBody(layout.EVENT, 0, this.#packr.pack(event))
  }

  /** Writes what waits, publishes everything and wakes main if it is parked. */
  flush(): number {
    return this.#outlet.flush()
  }

  #writeAppended(token: number, errorCode: number, answer: AppendAnswer): boolean {
    const at = this.#lane.claim(layout.APPENDED, layout.APPENDED_BYTES)
    if (at < 0) return false
    const view = this.#lane.view
    view.setUint32(at, token, true)
    view.setInt32(at + 4, errorCode, true)
    view.setFloat64(at + 8, answer.baseOffset, true)
    view.setFloat64(at + 16, answer.logStartOffset, true)
    view.setFloat64(at + 24, answer.appendTimeMs, true)
    return true
  }

  #writeReadDone(token: number, answer: ReadAnswer): boolean {
    const at = this.#lane.claim(layout.READ_DONE, layout.READ_DONE_BYTES)
    if (at < 0) return false
    const view = this.#lane.view
    view.setUint32(at, token, true)
    view.setInt32(at + 4, answer.errorCode, true)
    view.setFloat64(at + 8, answer.highWatermark, true)
    view.setFloat64(at + 16, answer.lastStableOffset, true)
    view.setFloat64(at + 24, answer.logStartOffset, true)
    view.setUint32(at + 32, answer.offset, true)
    view.setUint32(at + 36, answer.length, true)
    view.setUint32(at + 40, answer.generation, true)
    view.setUint32(at + 44, answer.flags, true)
    view.setFloat64(at + 48, answer.divergingEndOffset, true)
    view.setInt32(at + 56, answer.divergingEpoch, true)
    return true
  }

  #writeToken(type: number, token: number): boolean {
    const at = this.#lane.claim(type, layout.TOKEN_BYTES)
    if (at < 0) return false
    this.#lane.view.setUint32(at, token, true)
    return true
  }
}
