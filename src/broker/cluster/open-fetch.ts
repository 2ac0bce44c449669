/**
 * A follower's request that is not answered yet: what it is to be answered with, how much more has
 * room in it, and when it is sent off whatever there is. Runs on main.
 */
import { ErrorCode } from '../../errors/error-code.ts'
import type { LentExtent, ReadOutcome, ShardProxy } from '../../shard/shard-proxy.ts'
import type { ResponseInit } from '../../wire/kafka/api.ts'

export type FetchAnswer = ResponseInit<1>

/** The answer, and how to give the memory back that its records lie in. */
export interface LentAnswer {
  readonly body: FetchAnswer
  readonly release: () => void
}

/** How long a new watermark waits for data to go with. */
const NEWS_MS_MAX = 10

export class OpenFetch<Part> {
  readonly bytesMin: number
  /** When it is answered whatever there is. */
  dueMs: number
  readonly given = new Map<Part, ReadOutcome>()
  readonly lent: (LentExtent & { readonly shard: ShardProxy })[] = []
  bytes = 0
  /** That reads under way may still use. */
  reserved = 0
  lacksMemory = false
  /** Nothing was given though there is something: the next read gives one batch at least. */
  wantsOne = false
  #isUrgent = false
  readonly #bytesMax: number
  readonly #resolve: (answer: LentAnswer) => void
  readonly #nowMs: () => number
  #timer: NodeJS.Timeout | null = null

  constructor(parts: {
    readonly bytesMax: number
    readonly bytesMin: number
    readonly deadlineMs: number
    readonly nowMs: () => number
    readonly resolve: (answer: LentAnswer) => void
  }) {
    this.#bytesMax = parts.bytesMax
    this.bytesMin = parts.bytesMin
    this.dueMs = parts.deadlineMs
    this.#nowMs = parts.nowMs
    this.#resolve = parts.resolve
  }

  get room(): number {
    return this.#bytesMax - this.bytes - this.reserved
  }

  get isEnough(): boolean {
    return this.#isUrgent || this.bytes >= this.bytesMin
  }

  /** Urgent is what keeps the follower from going on; a watermark may wait for data to go with. */
  add(part: Part, outcome: ReadOutcome, isUrgent: boolean): void {
    this.given.set(part, outcome)
    this.bytes += outcome.length
    this.#isUrgent ||= isUrgent
    this.dueMs = Math.min(this.dueMs, this.#nowMs() + NEWS_MS_MAX)
  }

  wait(ms: number, run: () => void): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = setTimeout(run, Math.max(0, ms))
  }

  answer(body: FetchAnswer): void {
    this.#stop()
    this.#resolve({ body, release: () => this.#release() })
  }

  /** Nobody waits for it any more. */
  abandon(): void {
    this.#stop()
    this.#release()
    this.#resolve(refused(ErrorCode.FETCH_SESSION_ID_NOT_FOUND))
  }

  #release(): void {
    for (const { shard, ...extent } of this.lent) shard.release(extent)
    this.lent.length = 0
  }

  #stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}

/** Nothing but an error, which ends the session. */
export function refused(errorCode: ErrorCode): LentAnswer {
  return { body: { errorCode, sessionId: 0, responses: [] }, release: () => undefined }
}
