import { ErrorCode } from '../errors/error-code.ts'
import {
  READ_MIN_ONE_BATCH,
  READ_NO_MEMORY,
  READ_WATCH,
  READ_WATCHING,
} from '../shard/messages-layout.ts'
import type { ReadOutcome, ReadSink, ShardProxy } from '../shard/shard-proxy.ts'
import { nextOffset } from './fetch-job.ts'

/**
 * One subscription: reads its partition from an offset on and pushes whole batches while it has
 * credits and its connection has room, one read at a time. Runs on main.
 *
 *   new ──begin──▶ idle ──may read──▶ reading ──data──▶ (push) idle
 *                         │ nothing there ─▶ watching ──woken──▶ idle
 *                         │ no memory ─▶ resting ──timer──▶ idle          any ─▶ ended
 */
export interface SubscriptionHost {
  /** Room for a push of about `bytes`: true takes it, until `pushed` or `unused`. */
  reserve(subscription: Subscription, bytes: number): boolean
  /** Nothing came of a reserved push. */
  unused(bytes: number): void
  /** The batches of a reserved push; `release` runs when their memory may be used again. */
  pushed(subscription: Subscription, push: Push, release: () => void): void
  onEnded(subscription: Subscription, errorCode: number): void
}

export interface Push {
  readonly reserved: number
  readonly records: Uint8Array
  readonly highWatermark: number
  readonly logStartOffset: number
}

type State = 'new' | 'idle' | 'reading' | 'watching' | 'resting' | 'ended'

/** How soon a read that found no egress memory is tried again. */
const REST_MS = 5

export class Subscription implements ReadSink {
  readonly id: number
  readonly #host: SubscriptionHost
  readonly #shard: ShardProxy
  readonly handle: number
  readonly #bytesMax: number
  /**
   * What the read under way has reserved: a push may be a whole batch, however little was asked
   * for, of the largest size that the topic takes, or took earlier.
   */
  #room: number
  #offset = 0
  #credits = 0
  #state: State = 'new'
  #token = 0
  #timer: NodeJS.Timeout | null = null

  constructor(
    host: SubscriptionHost,
    at: { id: number; shard: ShardProxy; handle: number },
    sizes: { readonly bytesMax: number; readonly batchBytesMax: number },
  ) {
    this.#host = host
    this.id = at.id
    this.#shard = at.shard
    this.handle = at.handle
    this.#bytesMax = sizes.bytesMax
    this.#room = Math.max(sizes.bytesMax, sizes.batchBytesMax)
  }

  /** Payload bytes that may still be pushed; negative when the last push was larger. */
  get credits(): number {
    return this.#credits
  }

  /** Says where it begins: nothing is read before. */
  begin(offset: number): void {
    if (this.#state !== 'new') return
    this.#offset = offset
    this.#state = 'idle'
    this.pump()
  }

  grant(bytes: number): void {
    this.#credits += bytes
    this.pump()
  }

  /** Reads on, if it may. The caller publishes the read. */
  pump(): void {
    if (this.#state !== 'idle' || this.#credits <= 0) return
    if (!this.#host.reserve(this, this.#room)) return
    this.#state = 'reading'
    const flags = READ_MIN_ONE_BATCH | READ_WATCH
    const request = {
      handle: this.handle,
      fetchOffset: this.#offset,
      bytesMax: this.#bytesMax,
      flags,
    }
    this.#token = this.#shard.read(request, this, 0)
  }

  onRead(outcome: ReadOutcome): void {
    const { offset, length, generation } = outcome
    const release = (): void => this.#shard.release({ offset, length, generation })
    if (this.#state === 'ended') {
      if (length > 0) release()
      if ((outcome.flags & READ_WATCHING) !== 0) this.#shard.unwatch(this.#token)
      this.#host.unused(this.#room)
      return
    }
    this.#state = 'idle'
    if (length > 0) {
      const records = this.#shard.egress.subarray(offset, offset + length)
      this.#credits -= length
      this.#shard.countSent(this.handle, length)
      this.#offset = nextOffset(records)
      const { highWatermark, logStartOffset } = outcome
      const push = { reserved: this.#room, records, highWatermark, logStartOffset }
      this.#room = Math.max(this.#room, length)
      this.#host.pushed(this, push, release)
      return
    }
    this.#host.unused(this.#room)
    if (outcome.errorCode !== ErrorCode.NONE) {
      this.close()
      this.#host.onEnded(this, outcome.errorCode)
    } else if ((outcome.flags & READ_WATCHING) !== 0) {
      this.#state = 'watching'
    } else if ((outcome.flags & READ_NO_MEMORY) !== 0) {
      this.#state = 'resting'
      this.#timer = setTimeout(() => this.#wake(), REST_MS)
    } else {
      this.pump()
    }
  }

  onWake(): void {
    if (this.#state === 'watching') this.#wake()
  }

  /** Ends it without a word; reads under way give their memory back when they arrive. */
  close(): void {
    if (this.#state === 'watching') this.#shard.unwatch(this.#token)
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#state = 'ended'
  }

  #wake(): void {
    this.#timer = null
    if (this.#state === 'ended') return
    this.#state = 'idle'
    this.pump()
    this.#shard.flush()
  }
}
