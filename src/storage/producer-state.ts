/**
 * What a partition knows of its idempotent and transactional producers (KIP-98, KIP-360): epoch,
 * the last five batches, an open transaction. Sequence checks and deduplication of appends run
 * here.
 *
 * Changes made since `mark` can be taken back: a staged batch that the disk refuses must leave no
 * trace, or its retry would pass for a duplicate and be lost.
 *
 * A producer is one Float64Array, so that saving it is one copy and thousands of them cost the
 * garbage collector nothing to speak of:
 *
 *   0 epoch │ 1 batches │ 2 coordinatorEpoch │ 3 currentTxnFirstOffset (−1 none) │ 4 timestamp
 *   5 lastSeenMs
 *     │ 6 + 4i: lastSequence, lastOffset, offsetDelta, timestamp of batch i, oldest first
 */
import { assert } from '../base/assert.ts'
import { ErrorCode } from '../errors/error-code.ts'

export const BATCHES_KEPT = 5

export const PRODUCER_EPOCH_WORD = 0
export const BATCH_COUNT_WORD = 1
export const COORDINATOR_EPOCH_WORD = 2
export const TXN_FIRST_OFFSET_WORD = 3
export const TIMESTAMP_WORD = 4
/** Wall time at which this broker last saw the producer; decides expiry, is not replayed. */
export const LAST_SEEN_WORD = 5
export const BATCHES_WORD = 6
export const BATCH_WORDS = 4
export const BATCH_LAST_SEQUENCE = 0
export const BATCH_LAST_OFFSET = 1
export const BATCH_OFFSET_DELTA = 2
export const BATCH_TIMESTAMP = 3
export const PRODUCER_WORDS = BATCHES_WORD + BATCHES_KEPT * BATCH_WORDS

const SEQUENCE_MODULO = 2 ** 31
/** Most producers kept per partition; above it those not seen for longest go first. */
export const PRODUCERS_MAX = 1 << 17

/** One batch as the state sees it; the caller reuses the object. */
export interface ProducerBatch {
  producerId: number
  producerEpoch: number
  baseSequence: number
  baseOffset: number
  /** lastOffset − baseOffset. */
  lastOffsetDelta: number
  maxTimestamp: number
  isTransactional: boolean
  isControl: boolean
}

export function newProducerBatch(): ProducerBatch {
  return {
    producerId: -1,
    producerEpoch: -1,
    baseSequence: -1,
    baseOffset: -1,
    lastOffsetDelta: 0,
    maxTimestamp: -1,
    isTransactional: false,
    isControl: false,
  }
}

/**
 * Producers that are unknown because the disk refused their first batch, by id: only that batch may
 * come first.
 */
export type RefusedStarts = Map<number, { readonly epoch: number; readonly baseSequence: number }>

export class ProducerState {
  readonly #producers = new Map<number, Float64Array>()
  /** Undo log: producer ids and their state before each change; null = the producer was unknown. */
  readonly #undoIds: number[] = []
  readonly #undoStates: (Float64Array | null)[] = []
  readonly #pool: Float64Array[] = []
  readonly #refused: RefusedStarts
  #openTransactions = 0
  /** First and last offset and timestamp of the batch that `findDuplicate` found. */
  duplicateBaseOffset = -1
  duplicateLastOffset = -1
  duplicateTimestamp = -1

  /** `refused`: of the same partition, whose log may be closed and opened in between. */
  constructor(refused: RefusedStarts = new Map()) {
    this.#refused = refused
  }

  get count(): number {
    return this.#producers.size
  }

  get refusedStarts(): RefusedStarts | undefined {
    return this.#refused.size > 0 ? this.#refused : undefined
  }

  get openTransactions(): number {
    return this.#openTransactions
  }

  get(producerId: number): Float64Array | undefined {
    return this.#producers.get(producerId)
  }

  entries(): IterableIterator<[number, Float64Array]> {
    return this.#producers.entries()
  }

  /** `refused` ones are kept: the log is only read again. */
  clear(): void {
    assert(this.#undoIds.length === 0)
    this.#producers.clear()
    this.#openTransactions = 0
  }

  /** Adds a producer as a snapshot holds it. */
  restore(producerId: number, state: Float64Array): void {
    assert(state.length === PRODUCER_WORDS && this.#undoIds.length === 0)
    this.#producers.set(producerId, state)
    if ((state[TXN_FIRST_OFFSET_WORD] as number) >= 0) this.#openTransactions++
  }

  /** True when the batch is one of the last five of its producer and epoch, by its sequences. */
  findDuplicate(batch: ProducerBatch): boolean {
    if (batch.isControl) return false
    const state = this.#producers.get(batch.producerId)
    if (state === undefined || state[PRODUCER_EPOCH_WORD] !== batch.producerEpoch) return false
    const lastSequence = addSequence(batch.baseSequence, batch.lastOffsetDelta)
    for (let i = (state[BATCH_COUNT_WORD] as number) - 1; i >= 0; i--) {
      const at = BATCHES_WORD + i * BATCH_WORDS
      if (state[at + BATCH_LAST_SEQUENCE] !== lastSequence) continue
      if (state[at + BATCH_OFFSET_DELTA] !== batch.lastOffsetDelta) continue
      this.duplicateLastOffset = state[at + BATCH_LAST_OFFSET] as number
      this.duplicateBaseOffset = this.duplicateLastOffset - batch.lastOffsetDelta
      this.duplicateTimestamp = state[at + BATCH_TIMESTAMP] as number
      return true
    }
    return false
  }

  /** Whether a batch that is no duplicate may be appended now. */
  check(batch: ProducerBatch): ErrorCode {
    const state = this.#producers.get(batch.producerId)
    // KIP-360: whoever is unknown here (expired, deleted with its records) may start anywhere,
    // but not with a batch that was in flight behind one that the disk refused.
    if (state === undefined) return this.#checkRefused(batch)
    const epoch = state[PRODUCER_EPOCH_WORD] as number
    if (batch.producerEpoch < epoch) return ErrorCode.INVALID_PRODUCER_EPOCH
    if (batch.isControl) return ErrorCode.NONE
    if (batch.producerEpoch > epoch) {
      return batch.baseSequence === 0 ? ErrorCode.NONE : ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    }
    const count = state[BATCH_COUNT_WORD] as number
    const lastSequence =
      count === 0 ? -1 : (state[batchWord(count - 1) + BATCH_LAST_SEQUENCE] as number)
    if (batch.baseSequence !== addSequence(lastSequence, 1)) {
      return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    }
    if (!batch.isTransactional && (state[TXN_FIRST_OFFSET_WORD] as number) >= 0) {
      return ErrorCode.INVALID_TXN_STATE
    }
    return ErrorCode.NONE
  }

  #checkRefused(batch: ProducerBatch): ErrorCode {
    const refused = this.#refused.get(batch.producerId)
    if (refused === undefined || refused.epoch !== batch.producerEpoch) return ErrorCode.NONE
    if (refused.baseSequence === batch.baseSequence) return ErrorCode.NONE
    return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
  }

  /** Notes a batch of the log, checked before or replayed. */
  apply(batch: ProducerBatch, nowMs: number): void {
    let state = this.#producers.get(batch.producerId)
    if (state === undefined) {
      state = new Float64Array(PRODUCER_WORDS)
      state[PRODUCER_EPOCH_WORD] = batch.producerEpoch
      state[COORDINATOR_EPOCH_WORD] = -1
      state[TXN_FIRST_OFFSET_WORD] = -1
      this.#producers.set(batch.producerId, state)
    } else if (state[PRODUCER_EPOCH_WORD] !== batch.producerEpoch) {
      state[PRODUCER_EPOCH_WORD] = batch.producerEpoch
      state[BATCH_COUNT_WORD] = 0
      state.fill(0, BATCHES_WORD)
    }
    state[TIMESTAMP_WORD] = batch.maxTimestamp
    state[LAST_SEEN_WORD] = nowMs
    if (batch.isControl) {
      if ((state[TXN_FIRST_OFFSET_WORD] as number) >= 0) this.#openTransactions--
      state[TXN_FIRST_OFFSET_WORD] = -1
      return
    }
    addBatch(state, batch)
    if (batch.isTransactional && (state[TXN_FIRST_OFFSET_WORD] as number) < 0) {
      state[TXN_FIRST_OFFSET_WORD] = batch.baseOffset
      this.#openTransactions++
    }
  }

  /** First offset of the oldest open transaction, or −1. */
  firstOpenTransactionOffset(): number {
    if (this.#openTransactions === 0) return -1
    let first = -1
    for (const state of this.#producers.values()) {
      const offset = state[TXN_FIRST_OFFSET_WORD] as number
      if (offset >= 0 && (first < 0 || offset < first)) first = offset
    }
    return first
  }

  /** A point that `rollback` can return to. */
  mark(): number {
    return this.#undoIds.length
  }

  /** Call before `apply` while changes may have to be taken back. */
  save(producerId: number): void {
    const state = this.#producers.get(producerId)
    this.#undoIds.push(producerId)
    if (state === undefined) {
      this.#undoStates.push(null)
      return
    }
    const copy = this.#pool.pop() ?? new Float64Array(PRODUCER_WORDS)
    copy.set(state)
    this.#undoStates.push(copy)
  }

  /** Undoes every saved change since the mark, newest first. */
  rollback(mark: number): void {
    while (this.#undoIds.length > mark) {
      const producerId = this.#undoIds.pop() as number
      const before = this.#undoStates.pop() as Float64Array | null
      const state = this.#producers.get(producerId) as Float64Array
      if ((state[TXN_FIRST_OFFSET_WORD] as number) >= 0) this.#openTransactions--
      if (before === null) {
        this.#producers.delete(producerId)
        continue
      }
      if ((before[TXN_FIRST_OFFSET_WORD] as number) >= 0) this.#openTransactions++
      state.set(before)
      this.#pool.push(before)
    }
  }

  /** The disk refused what was saved: undoes it, and remembers who was to start with it. */
  refuse(): void {
    for (let i = this.#undoIds.length - 1; i >= 0; i--) {
      if (this.#undoStates[i] !== null) continue
      this.rollback(i + 1) // Leaves the producer as its first batch made it.
      const producerId = this.#undoIds[i] as number
      const state = this.#producers.get(producerId) as Float64Array
      if (state[BATCH_COUNT_WORD] !== 0) this.#refused.set(producerId, onlyBatchOf(state))
    }
    this.rollback(0)
    for (const [producerId] of this.#refused) {
      if (this.#refused.size <= REFUSED_MAX) break
      this.#refused.delete(producerId)
    }
  }

  /** What comes next has nothing to do with what was refused: the log is another one. */
  forgetRefused(): void {
    this.#refused.clear()
  }

  /** Everything saved stands. */
  commit(): void {
    if (this.#refused.size > 0) for (const id of this.#undoIds) this.#refused.delete(id)
    for (const state of this.#undoStates) {
      if (state !== null && this.#pool.length < POOL_MAX) this.#pool.push(state)
    }
    this.#undoIds.length = 0
    this.#undoStates.length = 0
    if (this.#producers.size > PRODUCERS_MAX) this.#evictOldest()
  }

  /**
   * Forgets producers not seen since `beforeMs`, except those with an open transaction, and all
   * whom the disk refused: one that has not come back by then does not, or from elsewhere.
   */
  expire(beforeMs: number): void {
    assert(this.#undoIds.length === 0)
    this.#refused.clear()
    for (const [producerId, state] of this.#producers) {
      if ((state[TXN_FIRST_OFFSET_WORD] as number) >= 0) continue
      if ((state[LAST_SEEN_WORD] as number) < beforeMs) this.#producers.delete(producerId)
    }
  }

  /** An eighth at once, so that a flood of new ids does not sort at every append. */
  #evictOldest(): void {
    const idle = [...this.#producers].filter(([, s]) => (s[TXN_FIRST_OFFSET_WORD] as number) < 0)
    idle.sort(([, a], [, b]) => (a[LAST_SEEN_WORD] as number) - (b[LAST_SEEN_WORD] as number))
    for (const [producerId] of idle.slice(0, PRODUCERS_MAX >>> 3)) {
      this.#producers.delete(producerId)
    }
  }
}

const POOL_MAX = 64
const REFUSED_MAX = 1024

/** Sequences run from 0 to 2^31 − 1 and wrap to 0; −1 stands before the first. */
export function addSequence(sequence: number, delta: number): number {
  return (sequence + delta) % SEQUENCE_MODULO
}

export function batchWord(index: number): number {
  return BATCHES_WORD + index * BATCH_WORDS
}

function onlyBatchOf(state: Float64Array): { epoch: number; baseSequence: number } {
  const at = batchWord(0)
  const lastSequence = state[at + BATCH_LAST_SEQUENCE] as number
  const before = lastSequence - (state[at + BATCH_OFFSET_DELTA] as number)
  return {
    epoch: state[PRODUCER_EPOCH_WORD] as number,
    baseSequence: before < 0 ? before + SEQUENCE_MODULO : before,
  }
}

function addBatch(state: Float64Array, batch: ProducerBatch): void {
  let count = state[BATCH_COUNT_WORD] as number
  if (count === BATCHES_KEPT) {
    state.copyWithin(BATCHES_WORD, batchWord(1), batchWord(BATCHES_KEPT))
    count--
  }
  const at = batchWord(count)
  state[at + BATCH_LAST_SEQUENCE] = addSequence(batch.baseSequence, batch.lastOffsetDelta)
  state[at + BATCH_LAST_OFFSET] = batch.baseOffset + batch.lastOffsetDelta
  state[at + BATCH_OFFSET_DELTA] = batch.lastOffsetDelta
  state[at + BATCH_TIMESTAMP] = batch.maxTimestamp
  state[BATCH_COUNT_WORD] = count + 1
}
