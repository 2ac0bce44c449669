import { viewOf } from '../base/bytes.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { batchBytes, batchLastOffset } from '../record/batch.ts'
import { BATCH_HEADER_BYTES } from '../record/batch-layout.ts'
import {
  READ_FROM_FOLLOWER,
  READ_MIN_ONE_BATCH,
  READ_NO_MEMORY,
  READ_TOO_SMALL,
  READ_WATCH,
  READ_WATCHING,
} from '../shard/messages-layout.ts'
import type { ReadOutcome, ReadSink, ShardProxy } from '../shard/shard-proxy.ts'
import type { SendTurns } from './send-turns.ts'

/**
 * One Fetch under way: reads its partitions in their order within a budget of bytes, and waits for
 * data when there is less than asked for. Runs on main; the bytes stay in the shards' egress
 * extents until the response has left.
 *
 * The first partition that has anything gives at least one whole batch, even above the budget
 * (KIP-74). A wait ends by data, by time, or with the connection. With `turns`, of which its caller
 * has the turn when it runs, it lets others have it while it waits with nothing in hand.
 */
export interface FetchTarget {
  /** −1 when the partition is unknown. */
  readonly handle: number
  /** Null when nothing is read: `errorCode` says why. */
  readonly shard: ShardProxy | null
  readonly fetchOffset: number
  readonly bytesMax: number
  readonly errorCode: number
  /** This broker follows the partition: it gives what is below the high watermark that it knows. */
  readonly isFollowerRead?: boolean
  /**
   * The consumer is to read from that replica instead (KIP-392): it is told, with where the log
   * stands, and given nothing. −1 and absent: no.
   */
  readonly preferredReplica?: number
}

/** Nothing is read of a partition for which this says why; −1 is the handle of none. */
export function refusedTarget(errorCode: number, handle = -1): FetchTarget {
  return { handle, shard: null, fetchOffset: -1, bytesMax: 0, errorCode }
}

export interface FetchResult {
  errorCode: number
  highWatermark: number
  lastStableOffset: number
  logStartOffset: number
  /** Lies in the shard's egress arena until `release`. */
  records: Uint8Array | null
  offset: number
  generation: number
}

export interface FetchLimits {
  readonly bytesMin: number
  readonly bytesMax: number
  readonly waitMsMax: number
}

/**
 * How soon a fetch that has something, but less than `bytesMin`, looks again: at first, and at
 * most, doubled from time to time, because each look reads everything anew.
 */
const REREAD_MS_MIN = 20
const REREAD_MS_MAX = 500
/** How soon a fetch that found no egress memory looks again. */
const NO_MEMORY_RETRY_MS = 2
/**
 * For so long a fetch waits for memory, whatever it asked: slow readers have been closed by then.
 */
const NO_MEMORY_PATIENCE_MS = 15_000

export class FetchJob implements ReadSink {
  readonly results: FetchResult[]
  readonly #targets: readonly FetchTarget[]
  readonly #limits: FetchLimits
  readonly #deadlineMs: number
  readonly #patienceMs: number
  readonly #now: () => number
  readonly #turns: SendTurns | null
  readonly #watches: { shard: ShardProxy; token: number }[] = []
  readonly #tokens: number[]
  /** Next partition to read in this pass. */
  #cursor = 0
  #reading = 0
  /** Budget that reads under way may still use up. */
  #reservedBytes = 0
  #bytes = 0
  /** An error, or another replica to read from: the client is told at once. */
  #hasNews = false
  #sawTooSmall = -1
  #sawNoMemory = false
  #isWaiting = false
  /** A watch of this pass was answered while other shards were still reading. */
  #wasWoken = false
  #timer: NodeJS.Timeout | null = null
  #rereadMs = REREAD_MS_MIN
  #isDone = false
  #hasTurn = true
  #resolve: (() => void) | null = null

  constructor(
    targets: readonly FetchTarget[],
    limits: FetchLimits,
    now: () => number,
    turns: SendTurns | null = null,
  ) {
    this.#targets = targets
    this.#limits = limits
    this.#now = now
    this.#turns = turns
    this.#deadlineMs = now() + limits.waitMsMax
    this.#patienceMs = now() + Math.max(limits.waitMsMax, NO_MEMORY_PATIENCE_MS)
    this.results = targets.map((target) => emptyResult(target.errorCode))
    this.#tokens = new Array(targets.length).fill(0)
    this.#hasNews = targets.some(
      (target) => target.errorCode !== ErrorCode.NONE || isRedirected(target),
    )
  }

  /** When it is done: whether the turn is still its caller's. Without it, it has read nothing. */
  get hasTurn(): boolean {
    return this.#hasTurn
  }

  /** Resolves when the response can be built. */
  run(): Promise<void> {
    return new Promise((resolve) => {
      this.#resolve = resolve
      if (this.#isDone) this.#finish()
      else this.#pump()
    })
  }

  /** Ends the wait: what has been read so far is the answer. */
  cancel(): void {
    if (this.#isWaiting) this.#finish()
    else this.#isDone = true
  }

  /** Gives every extent back; after it the records are gone. */
  release(): void {
    for (const [i, result] of this.results.entries()) {
      if (result.records === null) continue
      const { offset, generation } = result
      this.#targets[i]!.shard!.release({ offset, length: result.records.length, generation })
      result.records = null
    }
  }

  onRead(outcome: ReadOutcome, index: number): void {
    const target = this.#targets[index]!
    const result = this.results[index]!
    this.#reading--
    this.#reservedBytes -= Math.min(target.bytesMax, this.#limits.bytesMax)
    result.errorCode = outcome.errorCode
    result.highWatermark = outcome.highWatermark
    result.lastStableOffset = outcome.lastStableOffset
    result.logStartOffset = outcome.logStartOffset
    if (outcome.errorCode !== ErrorCode.NONE) this.#hasNews = true
    const isTooSmall = (outcome.flags & READ_TOO_SMALL) !== 0 && !isRedirected(target)
    if (isTooSmall && this.#sawTooSmall < 0) this.#sawTooSmall = index
    if ((outcome.flags & READ_NO_MEMORY) !== 0) this.#sawNoMemory = true
    if ((outcome.flags & READ_WATCHING) !== 0) {
      this.#watches.push({ shard: target.shard!, token: this.#tokens[index]! })
    }
    if (outcome.length > 0) {
      result.offset = outcome.offset
      result.generation = outcome.generation
      result.records = target.shard!.egress.subarray(
        outcome.offset,
        outcome.offset + outcome.length,
      )
      this.#bytes += outcome.length
    }
    this.#pump()
  }

  onWake(): void {
    if (this.#isWaiting) this.#wake()
    else this.#wasWoken = true // The pass goes on first; what it read is older than this.
  }

  /** Issues reads while the budget lasts; goes on when all of them have been answered. */
  #pump(): void {
    while (this.#cursor < this.#targets.length) {
      const index = this.#cursor
      const target = this.#targets[index]!
      if (target.shard === null) {
        this.#cursor++
        continue
      }
      const left = this.#limits.bytesMax - this.#bytes - this.#reservedBytes
      if (left <= 0) break
      this.#cursor++
      const isFirst = this.#bytes === 0 && this.#reading === 0
      this.#read(index, { bytesMax: left, isFirst })
    }
    if (this.#reading === 0) this.#afterPass()
  }

  #read(index: number, how: { bytesMax: number; isFirst: boolean }): void {
    const target = this.#targets[index]!
    this.#reading++
    this.#reservedBytes += Math.min(target.bytesMax, this.#limits.bytesMax)
    const request = {
      handle: target.handle,
      fetchOffset: target.fetchOffset,
      bytesMax: Math.min(target.bytesMax, how.bytesMax),
      flags: this.#flagsOf(target, how.isFirst),
    }
    this.#tokens[index] = target.shard!.read(request, this, index)
  }

  #flagsOf(target: FetchTarget, isFirst: boolean): number {
    if (isRedirected(target)) return 0
    const ofFollower = target.isFollowerRead === true ? READ_FROM_FOLLOWER : 0
    return ofFollower | (isFirst ? READ_MIN_ONE_BATCH : 0) | (this.#mayWait ? READ_WATCH : 0)
  }

  get #mayWait(): boolean {
    return this.#limits.waitMsMax > 0 && this.#limits.bytesMin > 0
  }

  #afterPass(): void {
    if (this.#bytes === 0 && this.#sawTooSmall >= 0) {
      // Only later partitions have data, and their first batches are larger than they may be.
      const index = this.#sawTooSmall
      this.#sawTooSmall = -1
      this.#read(index, { bytesMax: this.#limits.bytesMax, isFirst: true })
      this.#flush(index)
      return
    }
    const now = this.#now()
    const isEnough = this.#hasNews || this.#isDone || this.#bytesReadable() >= this.#limits.bytesMin
    if (this.#bytes === 0 && this.#sawNoMemory && !this.#isDone && now < this.#patienceMs) {
      this.#wait(NO_MEMORY_RETRY_MS)
    } else if (isEnough || now >= this.#deadlineMs) {
      this.#finish()
    } else if (this.#wasWoken) {
      this.#startPass()
    } else {
      const left = this.#deadlineMs - now
      if (this.#bytes === 0) {
        this.#wait(left)
      } else {
        this.#wait(Math.min(left, this.#rereadMs))
        this.#rereadMs = Math.min(2 * this.#rereadMs, REREAD_MS_MAX)
      }
    }
  }

  /**
   * What has been read, a partition that has more than it may give counted with all that it may:
   * whole batches seldom fill it, and to wait for more there would be in vain.
   */
  #bytesReadable(): number {
    if (this.#bytes === 0 || this.#bytes >= this.#limits.bytesMin) return this.#bytes
    let bytes = 0
    for (const [i, { records, highWatermark }] of this.results.entries()) {
      if (records === null) continue
      const isAll = nextOffset(records) >= highWatermark
      bytes += isAll ? records.length : Math.max(records.length, this.#targets[i]!.bytesMax)
    }
    return Math.min(bytes, this.#limits.bytesMax)
  }

  #wait(ms: number): void {
    this.#isWaiting = true
    this.#timer = setTimeout(() => {
      this.#timer = null
      const isOver = this.#now() >= this.#deadlineMs && !this.#sawNoMemory
      if (isOver && this.#bytes === 0) this.#finish()
      else this.#wake()
    }, ms)
    if (this.#turns === null || this.#bytes > 0) return
    this.#hasTurn = false
    this.#turns.leave()
  }

  /** Another pass, once the turn is this one's again. */
  #wake(): void {
    const entered = this.#hasTurn ? null : (this.#turns?.enter() ?? null)
    this.#hasTurn = true
    if (entered === null) {
      this.#startPass()
      return
    }
    this.#stopWaiting()
    void entered.then(() => this.#startPass())
  }

  #startPass(): void {
    this.#stopWaiting()
    this.release()
    this.#bytes = 0
    this.#cursor = 0
    this.#sawTooSmall = -1
    this.#sawNoMemory = false
    this.#wasWoken = false
    this.#pump()
    for (const target of this.#targets) target.shard?.flush()
  }

  #finish(): void {
    this.#stopWaiting()
    this.#isDone = true
    if (this.#resolve === null) return
    for (const [i, { records }] of this.results.entries()) {
      const { handle, shard } = this.#targets[i]!
      if (records !== null) shard?.countSent(handle, records.length)
    }
    this.#resolve()
    this.#resolve = null
  }

  #stopWaiting(): void {
    this.#isWaiting = false
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    for (const { shard, token } of this.#watches) shard.unwatch(token)
    this.#watches.length = 0
  }

  #flush(index: number): void {
    this.#targets[index]!.shard!.flush()
  }
}

function isRedirected({ preferredReplica = -1 }: FetchTarget): boolean {
  return preferredReplica >= 0
}

/** The offset behind the last of these whole batches; Infinity when there is none. */
export function nextOffset(records: Uint8Array): number {
  const view = viewOf(records)
  let next = Infinity
  for (let at = 0; at + BATCH_HEADER_BYTES <= records.length; at += batchBytes(view, at)) {
    next = batchLastOffset(view, at) + 1
  }
  return next
}

function emptyResult(errorCode: number): FetchResult {
  return {
    errorCode,
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    records: null,
    offset: 0,
    generation: 0,
  }
}
