import type { Clock } from '../base/clock.ts'
import type { Effects, EncodedRecord } from '../coordinator/effects.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { Logger } from '../metrics/logger.ts'
import { decodeBatch } from '../record/batch.ts'
import { BatchBuilder } from '../record/batch-builder.ts'
import { RecordError } from '../record/record-error.ts'
import { DecodeError } from '../wire/kafka/api.ts'
import type { InternalLog } from './internal-log.ts'
import type { Slices } from './slices.ts'

/**
 * The runtime of a coordinator: one partition of an internal topic and the state machine that its
 * records add up to. A step changes the machine at once; its records are appended, those of many
 * steps in one batch, and its answers are given when they are below the high watermark, in order.
 * When an append fails, nobody knows what is in the log: the machine is thrown away, everybody who
 * waits is told to come back, and a new one is fed with the log. Runs on main.
 *
 * The log is read to its end, and the machine serves once all of that is below the high watermark:
 * what the leader before has written and nobody acknowledged either counts for everybody or is gone
 * before anyone is told of it. One of these lives for one leadership.
 */
export interface Time {
  readonly monotonicMs: number
  readonly wallMs: number
}

export interface CoordinatorMachine<R> {
  readonly nextDeadlineMs: number
  take(): Effects<R>
  onTime(now: Time): void
  onLoaded(now: Time): void
  replay(record: R, now: Time): void
}

export interface CoordinatorKind<M, R> {
  create(): M
  encode(record: R): EncodedRecord
  /** Null for a record that means nothing here. Throws DecodeError. */
  decode(key: Uint8Array, value: Uint8Array | null): R | null
}

/** What a step has left, until it is in the log. */
interface Waiting {
  records: readonly EncodedRecord[]
  bytes: number
  readonly answers: readonly (() => void)[]
}

export interface CoordinatorPartitionParts<M, R> {
  readonly log: InternalLog
  /** The largest batch. The records of a step that is larger are appended in several. */
  readonly batchBytesMax: number
  readonly kind: CoordinatorKind<M, R>
  readonly clock: Clock
  readonly logger: Logger
  /** Shared by all partitions, so that many that load at once do not hold the thread together. */
  readonly slices: Slices
  /** For so long who asks waits for the log to be read, and is told to come back then. */
  readonly loadPatienceMs: number
}

/** A step of a machine that answers once, now or in a later step. */
export type Step<M, T> = (machine: M, now: Time, reply: (answer: T) => void) => void

const READ_BYTES = 1024 * 1024
/** Records of one batch, once decompressed. */
const RECORDS_BYTES_MAX = 64 * 1024 * 1024
/** Records of so many bytes are appended together. */
const BATCH_BYTES = 512 * 1024
/** What a record takes of a batch beside its key and value, at most. */
const RECORD_OVERHEAD_BYTES = 32
/** Until the arena is asked again for memory that it had not. */
const MEMORY_PAUSE_MS = 5
/** Until it is asked again whether followers have what was replayed. */
const WATERMARK_PAUSE_MS_MIN = 5
const WATERMARK_PAUSE_MS_MAX = 200
/** Replaying looks after so many records whether it is time to let others run. */
const RECORDS_PER_LOOK = 64
const RELOAD_MS = 1000
/** A log with a record that cannot be read does not mend by itself. */
const DAMAGED_RELOAD_MS = 30_000
/** Timers are no more exact than that: what is due at almost the same time is done at once. */
const TIMER_MS_MIN = 5
const TIMER_MS_MAX = 0x7fff_ffff

export class CoordinatorPartition<M extends CoordinatorMachine<R>, R> {
  readonly #parts: CoordinatorPartitionParts<M, R>
  /** Null while the log is read. */
  #machine: M | null = null
  /** Effects that wait for the append under way. */
  #waiting: Waiting[] = []
  #isAppending = false
  /** What to tell those who have asked and were not answered yet. */
  readonly #asking = new Set<(code: ErrorCode) => void>()
  #timer: NodeJS.Timeout | null = null
  #timerAtMs = Infinity
  #isStopped = false
  /** Changes with each machine: what belongs to an earlier one is dropped. */
  #epoch = 0
  #loading: Promise<void> | null = null

  constructor(parts: CoordinatorPartitionParts<M, R>) {
    this.#parts = parts
  }

  /** Null until the log has been read. */
  get machine(): M | null {
    return this.#machine
  }

  /** Reads the log, once. Resolves when that is done; a log that cannot be read is tried again. */
  load(): Promise<void> {
    this.#loading ??= this.#load(++this.#epoch)
    return this.#loading
  }

  stop(): void {
    this.#isStopped = true
    this.#drop(ErrorCode.NOT_COORDINATOR)
  }

  /**
   * Runs a step. Resolves to what it answers, or to what `failure` makes of COORDINATOR_LOAD_IN_
   * PROGRESS, NOT_COORDINATOR or COORDINATOR_NOT_AVAILABLE, which all mean: ask again. Who comes
   * while the log is read waits a while: a short log is read before a client would ask again.
   */
  ask<T>(step: Step<M, T>, failure: (code: ErrorCode) => T): Promise<T> {
    const machine = this.#machine
    if (this.#isStopped) return Promise.resolve(failure(ErrorCode.NOT_COORDINATOR))
    if (machine === null) return this.#askWhenLoaded(step, failure)
    return new Promise((resolve) => {
      const fail = (code: ErrorCode): void => resolve(failure(code))
      this.#asking.add(fail)
      const now = this.#now()
      // What is due has happened, also when its timer has yet to run.
      if (machine.nextDeadlineMs <= now.monotonicMs) machine.onTime(now)
      step(machine, now, (answer) => {
        this.#asking.delete(fail)
        resolve(answer)
      })
      this.#collect(machine)
    })
  }

  #askWhenLoaded<T>(step: Step<M, T>, failure: (code: ErrorCode) => T): Promise<T> {
    return new Promise((resolve) => {
      const fail = (code: ErrorCode): void => {
        clearTimeout(timer)
        this.#asking.delete(fail)
        resolve(failure(code))
      }
      const early = (): void => fail(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
      const timer = setTimeout(early, this.#parts.loadPatienceMs)
      this.#asking.add(fail)
      void this.#loading?.then(() => {
        if (!this.#asking.delete(fail)) return
        clearTimeout(timer)
        resolve(this.ask(step, failure))
      })
    })
  }

  /** Runs a step that nobody waits for. */
  tell(step: (machine: M, now: Time) => void): void {
    const machine = this.#machine
    if (machine === null) return
    step(machine, this.#now())
    this.#collect(machine)
  }

  #collect(machine: M): void {
    const { records, answers } = machine.take()
    if (records.length > 0 || answers.length > 0) {
      const encoded = records.map((record) => this.#parts.kind.encode(record))
      this.#waiting.push({ records: encoded, bytes: bytesOf(encoded), answers })
    }
    this.#setTimer(machine)
    if (!this.#isAppending) void this.#append(machine)
  }

  async #append(machine: M): Promise<void> {
    this.#isAppending = true
    const epoch = this.#epoch
    try {
      while (this.#waiting.length > 0) {
        const { batch, answers } = this.#takeBatch()
        if (batch !== null) await this.#write(batch, epoch)
        if (epoch !== this.#epoch) return
        for (const answer of answers) answer()
      }
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      if (epoch === this.#epoch) this.#onLost(error)
    } finally {
      if (epoch === this.#epoch) this.#isAppending = false
    }
    if (epoch === this.#epoch && this.#machine === machine) this.#setTimer(machine)
  }

  /** Appends the batch, when there is memory for it: others may have all of it for a while. */
  async #write(batch: Uint8Array, epoch: number): Promise<void> {
    while (epoch === this.#epoch && !(await this.#parts.log.append(batch))) {
      await pause(MEMORY_PAUSE_MS)
    }
  }

  /** About a batch from the front: whole steps, but of one that does not fit as much as does. */
  #takeBatch(): { batch: Uint8Array | null; answers: readonly (() => void)[] } {
    const { clock, batchBytesMax } = this.#parts
    const builder = new BatchBuilder()
    const answers: (() => void)[] = []
    const nowMs = clock.wallMs()
    let bytes = 0
    let taken = 0
    for (const step of this.#waiting) {
      if (bytes >= BATCH_BYTES || (bytes > 0 && bytes + step.bytes > batchBytesMax)) break
      const count = step.bytes <= batchBytesMax ? step.records.length : fitting(step, batchBytesMax)
      for (const { key, value } of step.records.slice(0, count)) builder.append(nowMs, key, value)
      if (count < step.records.length) {
        step.records = step.records.slice(count)
        step.bytes = bytesOf(step.records)
        break
      }
      bytes += step.bytes
      for (const answer of step.answers) answers.push(answer)
      taken++
    }
    this.#waiting.splice(0, taken)
    return { batch: builder.recordsCount > 0 ? builder.buildSync() : null, answers }
  }

  #onLost(error: BrokerError): void {
    const { log, logger } = this.#parts
    logger.warn({ err: error }, `${log.name} could not be written: its state is read anew`)
    this.#drop(ErrorCode.COORDINATOR_NOT_AVAILABLE)
    this.#loading = this.#reload(this.#epoch)
  }

  async #reload(epoch: number): Promise<void> {
    await pause(RELOAD_MS)
    await this.#load(epoch)
  }

  /** Everybody who waits is told `code`; nothing of the machine is used any more. */
  #drop(code: ErrorCode): void {
    this.#epoch++
    this.#machine = null
    this.#waiting = []
    this.#isAppending = false
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#timerAtMs = Infinity
    const asking = [...this.#asking]
    this.#asking.clear()
    for (const fail of asking) fail(code)
  }

  async #load(epoch: number): Promise<void> {
    const { log, logger, kind, clock } = this.#parts
    while (epoch === this.#epoch && !this.#isStopped) {
      const startedMs = clock.monotonicMs()
      const machine = kind.create()
      try {
        const records = await this.#replay(machine, epoch)
        if (epoch !== this.#epoch || this.#isStopped) return
        machine.onLoaded(this.#now())
        this.#machine = machine
        this.#collect(machine)
        const ms = Math.round(clock.monotonicMs() - startedMs)
        if (records > 0) logger.info({ records, ms }, `${log.name} is loaded`)
        return
      } catch (error) {
        const isDamaged = error instanceof RecordError || error instanceof DecodeError
        if (!isDamaged && !(error instanceof BrokerError)) throw error
        const againMs = isDamaged ? DAMAGED_RELOAD_MS : RELOAD_MS
        const then = `its groups are not served; tried again in ${againMs / 1000} s`
        logger.error({ err: error }, `${log.name} could not be read: ${then}`)
        await pause(againMs)
      }
    }
  }

  async #replay(machine: M, epoch: number): Promise<number> {
    const { log, slices } = this.#parts
    let offset = await log.logStartOffset()
    let records = 0
    for (;;) {
      const bytes = await log.read(offset, READ_BYTES)
      if (bytes.length === 0) {
        await this.#whenBelowHighWatermark(offset, epoch)
        return records
      }
      const done = await slices.run(() => this.#replayBatches(machine, bytes))
      records += done.records
      offset = done.nextOffset
    }
  }

  /** Nobody appends meanwhile: the end of the log is that of when this broker began to lead. */
  async #whenBelowHighWatermark(endOffset: number, epoch: number): Promise<void> {
    let ms = WATERMARK_PAUSE_MS_MIN
    while ((await this.#parts.log.highWatermark()) < endOffset) {
      if (epoch !== this.#epoch || this.#isStopped) return
      await pause(ms)
      ms = Math.min(2 * ms, WATERMARK_PAUSE_MS_MAX)
    }
  }

  async #replayBatches(
    machine: M,
    bytes: Uint8Array,
  ): Promise<{ records: number; nextOffset: number }> {
    const { kind, slices } = this.#parts
    let records = 0
    let nextOffset = 0
    let now = this.#now()
    for (let at = 0; at < bytes.length; ) {
      const batch = await decodeBatch(bytes, at, { recordsBytesMax: RECORDS_BYTES_MAX })
      if (!batch.header.isControl) {
        for (const { key, value } of batch) {
          const record = key === null ? null : kind.decode(key, value)
          if (record !== null) machine.replay(record, now)
          if (++records % RECORDS_PER_LOOK > 0) continue
          await slices.breathe()
          now = this.#now()
        }
      }
      nextOffset = batch.header.baseOffset + batch.header.lastOffsetDelta + 1
      at += batch.header.bytes
    }
    return { records, nextOffset }
  }

  #now(): Time {
    const { clock } = this.#parts
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() }
  }

  #setTimer(machine: M): void {
    const atMs = machine.nextDeadlineMs
    if (atMs >= this.#timerAtMs) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timerAtMs = atMs
    const wait = atMs - this.#parts.clock.monotonicMs()
    const ms = Math.min(Math.max(wait, TIMER_MS_MIN), TIMER_MS_MAX)
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#timerAtMs = Infinity
      this.tell((due, now) => due.onTime(now))
    }, ms)
    this.#timer.unref()
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}

function bytesOf(records: readonly EncodedRecord[]): number {
  let bytes = 0
  for (const record of records) bytes += sizeOf(record)
  return bytes
}

function sizeOf({ key, value }: EncodedRecord): number {
  return key.length + (value?.length ?? 0) + RECORD_OVERHEAD_BYTES
}

/** How many of a step's records fit into a batch: one at least. */
function fitting({ records }: Waiting, bytesMax: number): number {
  let bytes = 0
  for (const [i, record] of records.entries()) {
    bytes += sizeOf(record)
    if (bytes > bytesMax) return Math.max(1, i)
  }
  return records.length
}
