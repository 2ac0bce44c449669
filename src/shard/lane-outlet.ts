import type { Doorbell } from '../ring/doorbell.ts'
import type { LaneWriter } from '../ring/lane.ts'
import { CONTROL_HEADER_BYTES } from './messages-layout.ts'

/**
 * The sending end of a lane for someone who must not lose a message: while the lane is full,
 * messages wait here in order. Main and shards each have one towards the other; whoever fills it
 * stops taking in work while `isBlocked`, which is what bounds it.
 */
export class LaneOutlet {
  readonly lane: LaneWriter
  readonly #doorbell: Doorbell
  readonly #waiting: (() => boolean)[] = []
  #isUncommitted = false

  constructor(lane: LaneWriter, doorbell: Doorbell) {
    this.lane = lane
    this.#doorbell = doorbell
  }

  /** Messages wait for room in the lane. */
  get isBlocked(): boolean {
    return this.#waiting.length > 0
  }

  /** Messages that wait for room. */
  get waiting(): number {
    return this.#waiting.length
  }

  /**
   * Sends by `write`, which claims room, fills it and returns true, or returns false when there is
   * none: then it is called again later.
   */
  send(write: () => boolean): void {
    if (this.#waiting.length === 0 && write()) this.#isUncommitted = true
    else this.#waiting.push(write)
  }

  /** `send` for hot paths that have written by themselves, without a closure. */
  sent(): void {
    this.#isUncommitted = true
  }

  /** Sends a msgpackr body behind its token and length. */
  sendBody(type: number, token: number, body: Uint8Array): void {
    this.send(() => {
      const at = this.lane.claim(type, CONTROL_HEADER_BYTES + body.length)
      if (at < 0) return false
      this.lane.view.setUint32(at, token, true)
      this.lane.view.setUint32(at + 4, body.length, true)
      this.lane.bytes.set(body, at + CONTROL_HEADER_BYTES)
      return true
    })
  }

  /** Sends what waits, publishes everything and wakes the other side if it sleeps. */
  flush(): number {
    let count = 0
    while (count < this.#waiting.length && (this.#waiting[count] as () => boolean)()) count++
    if (count > 0) {
      this.#waiting.splice(0, count)
      this.#isUncommitted = true
    }
    if (this.#isUncommitted) {
      this.#isUncommitted = false
      this.lane.commit()
      this.#doorbell.ring()
    }
    return count
  }
}
