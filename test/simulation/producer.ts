/**
 * A simulated producer of one partition. Idempotent ones keep several runs in flight, send again
 * whatever has no answer (after errors and crashes alike, in order, with the same sequences), and
 * start a new epoch only when the broker refuses a sequence, which it may only after a power loss
 * or a truncation took acknowledged batches. The others send once.
 */
import type { Random } from '../../src/base/random.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { AppendOutcome } from '../../src/shard/shard-proxy.ts'
import { addSequence } from '../../src/storage/producer-state.ts'
import { makeBatch, type SentBatch } from './batches.ts'
import type { PartitionModel } from './checker.ts'
import { journal } from './journal.ts'
import type { ProducerPlan } from './plan.ts'
import { Violation } from './violation.ts'

export interface Run {
  readonly producer: Producer
  readonly batches: readonly SentBatch[]
  readonly bytes: Uint8Array
  isInFlight: boolean
}

export interface RunTerms {
  readonly nextId: () => number
  readonly recordsMax: number
  readonly valueBytesMax: number
  readonly timestamp: () => number
}

const SEGMENT_ROOM = 200
const RECORD_ROOM = 24

export class Producer {
  readonly plan: ProducerPlan
  readonly model: PartitionModel
  /** Runs without an answer, oldest first. */
  #queue: Run[] = []
  #epoch = 0
  #sequence: number
  #needsReset = false

  constructor(plan: ProducerPlan, model: PartitionModel) {
    this.plan = plan
    this.model = model
    this.#sequence = plan.firstSequence
  }

  get isIdempotent(): boolean {
    return this.plan.producerId >= 0
  }

  get inFlight(): number {
    return this.#queue.filter((run) => run.isInFlight).length
  }

  /**
   * The run to send now, or null: too many in flight, or a retry waits for the answers before it.
   */
  next(terms: RunTerms, random: Random): Run | null {
    const inFlight = this.inFlight
    if (inFlight >= this.plan.inFlightMax) return null
    if (this.#needsReset) {
      if (inFlight > 0) return null
      this.#reset()
    }
    const first = this.#queue.findIndex((run) => !run.isInFlight)
    if (first >= 0) {
      // Retries go in order: a run behind one that failed must fail first.
      if (this.#queue.slice(first).some((run) => run.isInFlight)) return null
      const run = this.#queue[first] as Run
      run.isInFlight = true
      return run
    }
    const run = this.#make(terms, random)
    this.#queue.push(run)
    return run
  }

  /** It could not be sent after all (no memory): as if it had not been asked for. */
  notSent(run: Run): void {
    run.isInFlight = false
  }

  answered(run: Run, outcome: AppendOutcome): void {
    run.isInFlight = false
    const index = this.#queue.indexOf(run)
    const { errorCode } = outcome
    journal(() => {
      const from = run.batches[0] as SentBatch
      const who = `producer ${from.producerId}/${from.producerEpoch} sequence ${from.baseSequence}`
      return `${this.model.name}: ${who}, batch ${from.id}: error ${errorCode} at ${outcome.baseOffset}`
    })
    if (errorCode === ErrorCode.NONE) {
      if (index >= 0) this.#queue.splice(index, 1)
      const time = outcome.appendTimeMs
      this.model.acknowledge(run.batches, outcome.baseOffset, time)
      if (index === 0) this.model.losers.delete(this.plan.producerId)
      return
    }
    if (errorCode === ErrorCode.KAFKA_STORAGE_ERROR) {
      if (!this.isIdempotent) this.#queue.splice(index, 1)
      return
    }
    const isRefused = this.isIdempotent && errorCode === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    const what = `${this.model.name}, producer ${this.plan.producerId}: error ${errorCode}`
    if (!isRefused) throw new Violation('appends get the answer they deserve', what)
    if (index !== 0 || this.#needsReset) return
    if (this.model.wasDeleted(run.batches[0] as SentBatch)) {
      this.#queue.splice(index, 1)
      return
    }
    if (!this.model.losers.has(this.plan.producerId)) {
      const first = (run.batches[0] as SentBatch).baseSequence
      throw new Violation(
        'idempotent producers: their state survives',
        `${what} for epoch ${this.#epoch} sequence ${first}, and nothing was lost`,
      )
    }
    this.#needsReset = true
  }

  /** The process is gone, and with it every answer under way. */
  crashed(): void {
    if (!this.isIdempotent) this.#queue = []
    for (const run of this.#queue) run.isInFlight = false
  }

  #reset(): void {
    this.#needsReset = false
    this.#queue = []
    this.#epoch++
    this.#sequence = 0
    this.model.losers.delete(this.plan.producerId)
  }

  #make(terms: RunTerms, random: Random): Run {
    const batches: SentBatch[] = []
    // A retry repeats its run, and a crash may have kept a part of it: with sequences, one batch a
    // run, as Kafka's clients send (KIP-98).
    const count = this.isIdempotent ? 1 : random.pick([1, 1, 1, 2, 3])
    for (let i = 0; i < count; i++) batches.push(this.#batch(terms, random))
    const bytes = Buffer.concat(batches.map((batch) => batch.bytes))
    return { producer: this, batches, bytes, isInFlight: true }
  }

  #batch(terms: RunTerms, random: Random): SentBatch {
    const { partition, producerId } = this.plan
    const records = random.between(1, terms.recordsMax)
    const room = this.model.plan.options.segmentBytes - SEGMENT_ROOM
    const valueBytesMax = Math.min(terms.valueBytesMax, Math.floor(room / records) - RECORD_ROOM)
    const batch = makeBatch(
      {
        id: terms.nextId(),
        partition,
        records,
        valueBytesMax,
        timestamp: terms.timestamp(),
        producerId,
        producerEpoch: this.isIdempotent ? this.#epoch : -1,
        baseSequence: this.isIdempotent ? this.#sequence : -1,
      },
      random,
    )
    if (this.isIdempotent) this.#sequence = addSequence(this.#sequence, records)
    this.model.noteSent(batch)
    return batch
  }
}
