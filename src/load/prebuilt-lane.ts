/**
 * A producer that sends the same few requests again and again: nothing is encoded, copied or
 * allocated for one, so that the broker is what is measured. One connection, `inFlight` slots.
 */
import type { Lane, LaneSink, PreparedRequest, RequestConnection, RequestEvents } from './driver.ts'

export interface PrebuiltLaneOptions {
  readonly index: number
  readonly inFlight: number
  /** By slot: what is sent in turn, at least one. */
  readonly requests: readonly (readonly PreparedRequest[])[]
}

export class PrebuiltLane implements Lane, RequestEvents {
  readonly #options: PrebuiltLaneOptions
  readonly #sink: LaneSink
  #connection: RequestConnection | null = null
  readonly #free: number[]
  /** By slot. */
  readonly #underWay: (PreparedRequest | null)[]
  readonly #intendedMs: number[]
  readonly #startedMs: number[]
  /** The units' times of one request, for the sink: one array for all. */
  readonly #intended: number[] = [0]
  #turn: number
  pending = 0

  constructor(options: PrebuiltLaneOptions, sink: LaneSink) {
    this.#options = options
    this.#sink = sink
    const slots = Array.from({ length: options.inFlight }, (_, slot) => slot)
    this.#free = [...slots].reverse()
    this.#underWay = slots.map(() => null)
    this.#intendedMs = slots.map(() => 0)
    this.#startedMs = slots.map(() => 0)
    this.#turn = options.index
  }

  attach(connection: RequestConnection): void {
    this.#connection = connection
  }

  offer(intendedMs: number, nowMs: number): boolean {
    const slot = this.#free.at(-1)
    if (slot === undefined || this.#connection === null) return false
    const requests = this.#options.requests[slot] as readonly PreparedRequest[]
    const request = requests[this.#turn % requests.length] as PreparedRequest
    if (!this.#connection.mayTake(request.message.length)) return false
    this.#free.pop()
    this.#turn++
    this.#underWay[slot] = request
    this.#intendedMs[slot] = intendedMs
    this.#startedMs[slot] = nowMs
    this.pending++
    this.#connection.send(slot, request)
    return true
  }

  flush(): void {}

  abandon(nowMs: number): void {
    for (const [slot, request] of this.#underWay.entries()) {
      if (request !== null) this.#sink.unanswered(this.#intendedMs[slot] as number, nowMs)
      this.#underWay[slot] = null
    }
    this.pending = 0
    this.#connection?.close()
    this.#connection = null
  }

  // —— what the connection says ——

  answered(slot: number, baseOffset: number, refusal: string | null): void {
    const request = this.#underWay[slot]
    if (request === null || request === undefined) {
      this.broke('it answered a request that was not made')
      return
    }
    this.#underWay[slot] = null
    this.#free.push(slot)
    this.pending--
    const intendedMs = this.#intendedMs[slot] as number
    if (refusal === null) {
      const { place, events, batchBytes: bytes } = request
      this.#intended[0] = intendedMs
      this.#sink.sample(intendedMs, this.#startedMs[slot] as number, performance.now())
      this.#sink.acknowledged({ place, events, bytes, baseOffset }, this.#intended)
    } else {
      this.#sink.refused(refusal)
    }
    this.#sink.room(this.#options.index)
  }

  room(): void {
    this.#sink.room(this.#options.index)
  }

  broke(reason: string): void {
    if (this.#connection === null) return
    this.#connection.close()
    this.#connection = null
    this.#sink.broke(this.#options.index, reason)
  }
}
