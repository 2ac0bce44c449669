import { ErrorCode } from '../errors/error-code.ts'
import {
  ATTRIBUTES,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  LENGTH_PREFIX_BYTES,
  TRANSACTIONAL_BIT,
} from '../record/batch-layout.ts'
import { APPEND_ALL } from '../shard/messages-layout.ts'
import type { AppendOutcome, AppendSink } from '../shard/shard-proxy.ts'
import type { Expiring } from './append-deadlines.ts'
import type { Broker } from './broker.ts'
import { KeylessBudget } from './key-checks.ts'
import type { RequestFrame } from './request-frame.ts'

/**
 * The appends of one request, whatever door it came through: each batch goes to its partition's
 * shard as it lies in the request's extent, and `onDone` runs when all of them have been answered.
 * Runs on main.
 *
 * What waits for followers (acks = all, more than one replica) waits until its deadline at most: it
 * may still be appended then, and the shard's answer that comes later is nobody's.
 */
export interface AppendedBatch {
  errorCode: number
  /** −1 on an error, as are the others. */
  baseOffset: number
  /** −1 with CreateTime. */
  appendTimeMs: number
  logStartOffset: number
  /** Indexes of the batch's records that it was refused for, as far as they are known. */
  recordErrors: readonly number[]
  /** The partition, for `Broker.explain`; −1 when there is none. */
  readonly handle: number
  /** Of a batch that a shard was asked for; null for one that was refused before. */
  readonly batch: BatchRange | null
}

const REFUSED = { baseOffset: -1, appendTimeMs: -1, logStartOffset: -1 }
const NO_RECORDS: readonly number[] = []

/** An append that was refused before it went anywhere. */
export function refusedBatch(
  errorCode: number,
  handle = -1,
  batch: BatchRange | null = null,
): AppendedBatch {
  return { errorCode, ...REFUSED, recordErrors: NO_RECORDS, handle, batch }
}

/** Where a batch lies in the memory of the request's frame. */
export interface BatchRange {
  readonly offset: number
  readonly length: number
}

/** What a client wants to be told, and how long it waits. */
export interface AppendTerms {
  /** 0 and 1: the leader has written it; −1: all in-sync replicas have it. */
  readonly acks: number
  readonly timeoutMs: number
}

/** Of doors whose clients say neither. */
export const ALL_IN_SYNC: AppendTerms = { acks: -1, timeoutMs: 30_000 }

// What is known of an append.
/** Its bytes are in the log: their part of the frame has been given back. */
const WRITTEN = 1
/** Its result stands. */
const ANSWERED = 2
/** It waits for followers. */
const EXPIRES = 4

export class AppendJob implements AppendSink, Expiring {
  /** In the order of `append` and `refuse`; complete when the job is done. */
  readonly results: AppendedBatch[] = []
  readonly #broker: Broker
  readonly #frame: RequestFrame
  readonly #terms: AppendTerms
  /** By index of the result. */
  readonly #states: number[] = []
  /** Of `start`, where anything waits for followers. */
  deadlineMs = Infinity
  #hasExpiring = false
  #keyless: KeylessBudget | null = null
  #waiting = 1
  #onDone: (() => void) | null = null

  constructor(broker: Broker, frame: RequestFrame, terms = ALL_IN_SYNC) {
    this.#broker = broker
    this.#frame = frame
    this.#terms = terms
  }

  refuse(errorCode: number, handle = -1): void {
    this.#states.push(WRITTEN | ANSWERED)
    this.results.push(refusedBatch(errorCode, handle))
  }

  /** Sends a batch to its shard; one that breaks the protocol is refused instead. */
  append(handle: number, batch: BatchRange | null): void {
    const frame = this.#frame
    if (!this.#broker.leads(handle)) {
      this.refuse(ErrorCode.NOT_LEADER_OR_FOLLOWER, handle)
      return
    }
    const refusal = this.#broker.groups.owns(handle)
      ? ErrorCode.INVALID_TOPIC_EXCEPTION // Its records are the coordinators' own.
      : checkBatch(frame.bytes, batch)
    if (refusal !== ErrorCode.NONE || batch === null) {
      this.refuse(refusal)
      return
    }
    const index = this.results.length
    // Until it is answered.
    this.results.push(refusedBatch(ErrorCode.UNKNOWN_SERVER_ERROR, handle, batch))
    this.#states.push(this.#expires(handle) ? EXPIRES : 0)
    this.#waiting++
    frame.hold()
    const { keyChecks } = this.#broker
    if (!keyChecks.mustWait(handle, frame.bytes, batch)) {
      this.#send(handle, batch, index)
      return
    }
    keyChecks.check(handle, frame.bytes, batch, (code) => {
      const isLate = ((this.#states[index] as number) & ANSWERED) !== 0
      if (code !== ErrorCode.NONE || isLate) {
        this.onAppended({ ...REFUSED, errorCode: code }, index)
      } else {
        this.#send(handle, batch, index)
        this.#broker.shardOf(handle).flush()
      }
    })
  }

  /** Standalone brokers have no such partition. */
  #expires(handle: number): boolean {
    if (this.#terms.acks !== -1) return false
    if (this.#broker.image.partitions.replicas(handle).length === 1) return false
    this.#hasExpiring = true
    return true
  }

  #send(handle: number, batch: BatchRange, index: number): void {
    const frame = this.#frame
    const request = {
      handle,
      offset: batch.offset,
      length: batch.length,
      extentOffset: frame.offset,
      generation: frame.generation,
      leaderEpoch: this.#broker.leaderEpoch(handle),
      flags: this.#terms.acks === -1 ? APPEND_ALL : 0,
    }
    this.#broker.shardOf(handle).append(request, this, index)
  }

  /** Nothing more is appended. `onDone` runs once, at once when nothing waits. */
  start(onDone: () => void): void {
    this.#onDone = onDone
    if (this.#hasExpiring) {
      this.deadlineMs = this.#broker.clock.monotonicMs() + this.#terms.timeoutMs
      this.#broker.appendDeadlines.add(this)
    }
    this.#settle()
  }

  /** Answers what still waits for followers. */
  expire(): void {
    for (const [index, state] of this.#states.entries()) {
      if ((state & (EXPIRES | ANSWERED)) !== EXPIRES) continue
      this.#states[index] = state | ANSWERED
      const result = this.results[index] as AppendedBatch
      result.errorCode = ErrorCode.REQUEST_TIMED_OUT
      this.#settle()
    }
  }

  onWritten(index: number): void {
    this.#states[index]! |= WRITTEN
    this.#frame.release()
  }

  onAppended(outcome: AppendOutcome, index: number): void {
    const { keyChecks } = this.#broker
    const { handle, batch } = this.results[index] as AppendedBatch
    const state = this.#states[index] as number
    const isRefused =
      outcome.errorCode === ErrorCode.INVALID_RECORD && (state & (WRITTEN | ANSWERED)) === 0
    if (!isRefused || batch === null || !keyChecks.isCompacted(handle)) {
      this.#finish(outcome, index, NO_RECORDS)
      return
    }
    const refused = { ...outcome } // The shard's proxy uses its own for the next answer.
    this.#keyless ??= new KeylessBudget()
    void keyChecks
      .keyless(this.#frame.bytes, batch, this.#keyless)
      .then((keyless) => this.#finish(refused, index, keyless))
  }

  #finish(outcome: AppendOutcome, index: number, recordErrors: readonly number[]): void {
    const state = this.#states[index] as number
    if ((state & WRITTEN) === 0) this.#frame.release()
    if ((state & ANSWERED) !== 0) return // It came too late.
    this.#states[index] = state | ANSWERED
    const result = this.results[index] as AppendedBatch
    result.errorCode = this.#codeOf(outcome)
    result.baseOffset = outcome.baseOffset
    result.appendTimeMs = outcome.appendTimeMs
    result.logStartOffset = outcome.logStartOffset
    result.recordErrors = recordErrors
    this.#settle()
  }

  /**
   * A gap in a producer's sequences ends many clients for good. One that has written elsewhere
   * since has a gap with a leader that is none any more and does not know it yet.
   */
  #codeOf({ errorCode }: AppendOutcome): number {
    const isGap = errorCode === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    return isGap && this.#broker.mayBeDeposed() ? ErrorCode.NOT_LEADER_OR_FOLLOWER : errorCode
  }

  #settle(): void {
    this.#waiting--
    if (this.#waiting > 0) return
    if (this.#hasExpiring) this.#broker.appendDeadlines.remove(this)
    this.#onDone?.()
  }
}

/**
 * What the protocol asks beyond a valid batch: exactly one for each partition, as Kafka's brokers
 * do (a crash could keep part of a longer run, and its retry would look like a gap), and no
 * transactional one: without a coordinator nothing would ever end the transaction.
 */
function checkBatch(bytes: Uint8Array, batch: BatchRange | null): ErrorCode {
  if (batch === null || batch.length === 0) return ErrorCode.INVALID_RECORD
  if (batch.length < BATCH_HEADER_BYTES) return ErrorCode.CORRUPT_MESSAGE
  const { offset } = batch
  if (((bytes[offset + ATTRIBUTES + 1] as number) & TRANSACTIONAL_BIT) !== 0) {
    return ErrorCode.INVALID_TXN_STATE
  }
  const batchBytes = int32At(bytes, offset + BATCH_LENGTH) + LENGTH_PREFIX_BYTES
  // A length that is too large or negative is for the batch's own validation.
  const isRun = batchBytes >= BATCH_HEADER_BYTES && batchBytes < batch.length
  return isRun ? ErrorCode.INVALID_RECORD : ErrorCode.NONE
}

function int32At(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16)
  return high | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
}
