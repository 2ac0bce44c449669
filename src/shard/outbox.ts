import { Packr } from 'msgpackr'
import type { Doorbell } from '../ring/doorbell.ts'
import type { LaneWriter } from '../ring/lane.ts'
import type { ControlReply, ShardEvent } from './control.ts'
import * as layout from './messages-layout.ts'

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

export interface ReadAnswer {
  errorCode: number
  highWatermark: number
  lastStableOffset: number
  logStartOffset: number
  offset: number
  length: number
  generation: number
  flags: number
}

export class Outbox {
  readonly #lane: LaneWriter
  readonly #doorbell: Doorbell
  readonly #packr = new Packr({ useRecords: false })
  readonly #waiting: (() => boolean)[] = []
  #uncommitted = false

  constructor(lane: LaneWriter, doorbell: Doorbell) {
    this.#lane = lane
    this.#doorbell = doorbell
  }

  get isBlocked(): boolean {
    return this.#waiting.length > 0
  }

  appended(token: number, errorCode: number, offsets: AppendAnswer): void {
    if (this.#waiting.length === 0 && this.#writeAppended(token, errorCode, offsets)) {
      this.#uncommitted = true
      return
    }
    const copy = { ...offsets }
    this.#waiting.push(() => this.#writeAppended(token, errorCode, copy))
  }

  readDone(token: number, answer: ReadAnswer): void {
    if (this.#waiting.length === 0 && this.#writeReadDone(token, answer)) {
      this.#uncommitted = true
      return
    }
    const copy = { ...answer }
    this.#waiting.push(() => this.#writeReadDone(token, copy))
  }

  wake(token: number): void {
    this.#submit(() => this.#writeToken(layout.WAKE, token))
  }

  /** The bytes of an append are in the log; its acknowledgement follows later. */
  written(token: number): void {
    this.#submit(() => this.#writeToken(layout.WRITTEN, token))
  }

  reply(token: number, reply: ControlReply): void {
    this.#message(layout.REPLY, token, reply)
  }

  event(event: ShardEvent): void {
    this.#message(layout.EVENT, 0, event)
  }

  /** Writes what waits, publishes everything and wakes main if it is parked. */
  flush(): number {
    let written = 0
    while (this.#waiting.length > 0 && (this.#waiting[0] as () => boolean)()) {
      this.#waiting.shift()
      this.#uncommitted = true
      written++
    }
    if (this.#uncommitted) {
      this.#uncommitted = false
      this.#lane.commit()
      this.#doorbell.ring()
    }
    return written
  }

  #message(type: number, token: number, value: unknown): void {
    const body = this.#packr.pack(value)
    this.#submit(() => {
      const at = this.#lane.claim(type, layout.CONTROL_HEADER_BYTES + body.length)
      if (at < 0) return false
      this.#lane.view.setUint32(at, token, true)
      this.#lane.view.setUint32(at + 4, body.length, true)
      this.#lane.bytes.set(body, at + layout.CONTROL_HEADER_BYTES)
      return true
    })
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
    return true
  }

  #writeToken(type: number, token: number): boolean {
    const at = this.#lane.claim(type, layout.TOKEN_BYTES)
    if (at < 0) return false
    this.#lane.view.setUint32(at, token, true)
    return true
  }

  #submit(write: () => boolean): void {
    if (this.#waiting.length === 0 && write()) {
      this.#uncommitted = true
      return
    }
    this.#waiting.push(write)
  }
}
