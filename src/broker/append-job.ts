import { ErrorCode } from '../errors/error-code.ts'
import {
  ATTRIBUTES,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  LENGTH_PREFIX_BYTES,
  TRANSACTIONAL_BIT,
} from '../record/batch-layout.ts'
import type { AppendOutcome, AppendSink } from '../shard/shard-proxy.ts'
import type { Broker } from './broker.ts'
import { KeylessBudget } from './key-checks.ts'
import type { RequestFrame } from './request-frame.ts'

/**
 * The appends of one request, whatever door it came through: each batch goes to its partition's
 * shard as it lies in the request's extent, and `onDone` runs when all of them have been answered.
 * Runs on main.
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

export class AppendJob implements AppendSink {
  /** In the order of `append` and `refuse`; complete when the job is done. */
  readonly results: AppendedBatch[] = []
  readonly #broker: Broker
  readonly #frame: RequestFrame
  /** Batches whose bytes are in the log: their part of the frame has been given back. */
  readonly #written: boolean[] = []
  #keyless: KeylessBudget | null = null
  #waiting = 1
  #onDone: (() => void) | null = null

  constructor(broker: Broker, frame: RequestFrame) {
    this.#broker = broker
    this.#frame = frame
  }

  refuse(errorCode: number, handle = -1): void {
    this.#written.push(true)
    this.results.push(refusedBatch(errorCode, handle))
  }

  /** Sends a batch to its shard; one that breaks the protocol is refused instead. */
  append(handle: number, batch: BatchRange | null): void {
    const frame = this.#frame
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
    this.#written.push(false)
    this.#waiting++
    frame.hold()
    const { keyChecks } = this.#broker
    if (!keyChecks.mustWait(handle, frame.bytes, batch)) {
      this.#send(handle, batch, index)
      return
    }
    keyChecks.check(handle, frame.bytes, batch, (code) => {
      if (code !== ErrorCode.NONE) this.onAppended({ ...REFUSED, errorCode: code }, index)
      else {
        this.#send(handle, batch, index)
        this.#broker.shardOf(handle).flush()
      }
    })
  }

  #send(handle: number, batch: BatchRange, index: number): void {
    const frame = this.#frame
    this.#broker.shardOf(handle).append(
      {
        handle,
        offset: batch.offset,
        length: batch.length,
        extentOffset: frame.offset,
        generation: frame.generation,
        leaderEpoch: this.#broker.leaderEpoch(handle),
      },
      this,
      index,
    )
  }

  /** Nothing more is appended. `onDone` runs once, at once when nothing waits. */
  start(onDone: () => void): void {
    this.#onDone = onDone
    this.#settle()
  }

  onWritten(index: number): void {
    this.#written[index] = true
    this.#frame.release()
  }

  onAppended(outcome: AppendOutcome, index: number): void {
    const { keyChecks } = this.#broker
    const { handle, batch } = this.results[index] as AppendedBatch
    const isRefused = outcome.errorCode === ErrorCode.INVALID_RECORD && !this.#written[index]
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
    if (!this.#written[index]) this.#frame.release()
    const result = this.results[index] as AppendedBatch
    result.errorCode = outcome.errorCode
    result.baseOffset = outcome.baseOffset
    result.appendTimeMs = outcome.appendTimeMs
    result.logStartOffset = outcome.logStartOffset
    result.recordErrors = recordErrors
    this.#settle()
  }

  #settle(): void {
    this.#waiting--
    if (this.#waiting === 0) this.#onDone?.()
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
