/**
 * How much longer than configured a follower waits for its leader before it asks for votes. Who is
 * late again and again is busy and not dead: the timeout stays above four times what the leader was
 * late in all but one of a thousand intervals, as far as `FACTOR_MAX` allows. What is measured is
 * what the timeout is there for: the delays of the leader's event loop, of the network and of this
 * process, together. Not below four times what this process alone is late in all but one of a
 * thousand times either: those that lead after this leader are as busy.
 */
import { assert } from '../base/assert.ts'
import { oneInThousand } from '../base/quantile.ts'

/** One for each interval of heartbeats: of five minutes, with the usual one. */
const SAMPLES_MAX = 4096
/** Fewer say nothing of one in a thousand. */
const SAMPLES_MIN = 1000
/** Between two looks at all of them. */
const LOOK_SAMPLES = 64
const TIMES_LATE = 4
const FACTOR_MAX = 3

export class Patience {
  readonly #heartbeatMs: number
  readonly #timeoutMs: number
  readonly #late = new Float64Array(SAMPLES_MAX)
  #count = 0
  /** The most of this interval, which began at `#beganMs`. */
  #latest = 0
  #beganMs = Number.NEGATIVE_INFINITY
  /** Of all but one of a thousand intervals. */
  #lateMs = 0
  /** Of all but one of a thousand looks at this process. */
  #ownLateMs = 0

  /** Times in milliseconds; `timeoutMs`: the shortest election timeout. */
  constructor(options: { readonly heartbeatMs: number; readonly electionTimeoutMsMin: number }) {
    this.#heartbeatMs = options.heartbeatMs
    this.#timeoutMs = options.electionTimeoutMsMin
    assert(this.#timeoutMs > 0)
  }

  /** In [1, `FACTOR_MAX`], for the time that a leader may be silent. */
  get factor(): number {
    const wantedMs = TIMES_LATE * Math.max(this.#lateMs, this.#ownLateMs)
    return Math.min(FACTOR_MAX, Math.max(1, wantedMs / this.#timeoutMs))
  }

  /** This process is not later than that in 999 of 1,000 looks. */
  ownDelay(lateMs: number): void {
    this.#ownLateMs = lateMs
  }

  /** The leader was silent for so long before it was heard again; `nowMs` is monotonic. */
  heard(silentMs: number, nowMs: number): void {
    this.#latest = Math.max(this.#latest, silentMs - this.#heartbeatMs)
    // Messages with entries come in crowds: by their number a busy leader would look prompt.
    if (nowMs - this.#beganMs < this.#heartbeatMs) return
    this.#late[this.#count % SAMPLES_MAX] = this.#latest
    this.#count++
    this.#latest = 0
    this.#beganMs = nowMs
    if (this.#count < SAMPLES_MIN || this.#count % LOOK_SAMPLES !== 0) return
    this.#lateMs = oneInThousand(this.#late.subarray(0, Math.min(this.#count, SAMPLES_MAX)))
  }
}
