/**
 * Everything that the simulated main thread does to a living process: produces, reads, watches,
 * looks up, deletes records, and checks each answer against the models. One object a life.
 */
import { assert } from '../../src/base/assert.ts'
import type { Random } from '../../src/base/random.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { ControlReply, ControlRequest } from '../../src/shard/control.ts'
import {
  READ_MIN_ONE_BATCH,
  READ_NO_MEMORY,
  READ_TO_LOG_END,
  READ_TOO_SMALL,
  READ_WATCH,
  READ_WATCHING,
} from '../../src/shard/messages-layout.ts'
import type {
  AppendOutcome,
  AppendSink,
  ReadOutcome,
  ReadSink,
  ShardProxy,
} from '../../src/shard/shard-proxy.ts'
import { identify, type StoredBatch } from './batches.ts'
import type { PartitionModel } from './checker.ts'
import type { SimProcess } from './process.ts'
import type { Run } from './producer.ts'
import { require_, Violation } from './violation.ts'

interface AppendOp {
  readonly run: Run | null
  readonly model: PartitionModel
  readonly extent: number
  readonly generation: number
  isFreed: boolean
}

interface ReadOp {
  readonly model: PartitionModel
  readonly fetchOffset: number
  readonly flags: number
  /** What was acknowledged when the read was asked for must be visible to it. */
  readonly knownEnd: number
  token: number
  state: 'reading' | 'watching' | 'done'
}

interface HeldExtent {
  readonly proxy: ShardProxy
  readonly offset: number
  readonly length: number
  readonly generation: number
  readonly model: PartitionModel
}

export class Workload implements AppendSink, ReadSink {
  readonly #process: SimProcess
  readonly #random: Random
  readonly #note: (...values: number[]) => void
  readonly #count: (what: string) => void
  readonly #appends: AppendOp[] = []
  readonly #reads: ReadOp[] = []
  #held: HeldExtent[] = []
  #pending = 0
  /** Faults that excuse a storage error of a control request. */
  areFaultsOn: () => boolean

  constructor(
    process: SimProcess,
    random: Random,
    world: {
      note: (...values: number[]) => void
      count: (what: string) => void
      areFaultsOn: () => boolean
    },
  ) {
    this.#process = process
    this.#random = random
    this.#note = world.note
    this.#count = world.count
    this.areFaultsOn = world.areFaultsOn
  }

  /** Requests without an answer. */
  get pending(): number {
    return this.#pending
  }

  // —— producing ——

  /** False when the ingress arena is full. */
  produce(run: Run, leaderEpoch: number): boolean {
    return this.#append(run.producer.model, run, { bytes: run.bytes, leaderEpoch })
  }

  /** A run that the broker must refuse: one bit is wrong. */
  produceJunk(model: PartitionModel, bytes: Uint8Array, leaderEpoch: number): void {
    this.#append(model, null, { bytes, leaderEpoch })
  }

  #append(
    model: PartitionModel,
    run: Run | null,
    { bytes, leaderEpoch }: { bytes: Uint8Array; leaderEpoch: number },
  ): boolean {
    const { ingress } = this.#process
    // Not always at the start of its extent, as in a request frame.
    const lead = this.#random.pick([0, 0, 7, 100])
    const extent = ingress.allocate(lead + bytes.length)
    if (extent < 0) return false
    ingress.bytes.set(bytes, extent + lead)
    const generation = ingress.generationOf(extent)
    const index = this.#appends.push({ run, model, extent, generation, isFreed: false }) - 1
    this.#pending++
    this.#count('appends')
    const { handle } = model.plan
    this.#process.unitOf(handle).proxy.append(
      {
        handle,
        offset: extent + lead,
        length: bytes.length,
        extentOffset: extent,
        generation,
        leaderEpoch,
      },
      this,
      index,
    )
    return true
  }

  onWritten(index: number): void {
    const op = this.#appends[index] as AppendOp
    assert(!op.isFreed)
    this.#free(op)
  }

  onAppended(outcome: AppendOutcome, index: number): void {
    const op = this.#appends[index] as AppendOp
    const { errorCode, baseOffset } = outcome
    this.#note(index, errorCode, baseOffset)
    this.#pending--
    if (!op.isFreed) this.#free(op)
    if (errorCode === ErrorCode.KAFKA_STORAGE_ERROR) {
      this.#count('appends refused by the disk')
      this.#excuse(op.model, 'an append')
    }
    if (errorCode === ErrorCode.NONE) {
      this.#count('appends acknowledged')
      const { logDirectory, handle } = op.model.plan
      require_(
        !this.#process.unitOf(handle).failed.has(logDirectory),
        'a failed directory acknowledges nothing',
        () => `${op.model.name}: acknowledged at ${baseOffset}`,
      )
    }
    if (op.run !== null) op.run.producer.answered(op.run, outcome)
    else if (
      errorCode !== ErrorCode.CORRUPT_MESSAGE &&
      errorCode !== ErrorCode.KAFKA_STORAGE_ERROR
    ) {
      throw new Violation('appends get the answer they deserve', `junk: error ${errorCode}`)
    }
  }

  #free(op: AppendOp): void {
    op.isFreed = true
    this.#process.ingress.free(op.extent, op.generation)
  }

  // —— reading ——

  read(model: PartitionModel): void {
    const random = this.#random
    const spread = model.knownEnd - model.logStartOffset
    const fetchOffset = random.chance(0.3)
      ? model.highWatermark
      : Math.max(0, model.logStartOffset - 2 + random.below(spread + 5))
    const flags =
      (random.chance(0.7) ? READ_MIN_ONE_BATCH : 0) |
      (random.chance(0.5) ? READ_WATCH : 0) |
      (random.chance(0.1) ? READ_TO_LOG_END : 0)
    const op: ReadOp = {
      model,
      fetchOffset,
      flags,
      knownEnd: model.knownEnd,
      token: 0,
      state: 'reading',
    }
    const index = this.#reads.push(op) - 1
    this.#pending++
    this.#count('reads')
    const bytesMax = random.pick([1, 100, 1000, 8000, 65536])
    const { handle } = model.plan
    const { proxy } = this.#process.unitOf(handle)
    op.token = proxy.read({ handle, fetchOffset, bytesMax, flags }, this, index)
  }

  /** A watcher gives up. */
  unwatch(): void {
    const watching = this.#reads.filter((op) => op.state === 'watching')
    if (watching.length === 0) return
    const op = this.#random.pick(watching)
    op.state = 'done'
    this.#process.unitOf(op.model.plan.handle).proxy.unwatch(op.token)
  }

  onRead(outcome: ReadOutcome, index: number): void {
    const op = this.#reads[index] as ReadOp
    this.#note(index, outcome.errorCode, outcome.highWatermark, outcome.length)
    this.#pending--
    op.state = 'done'
    const { model } = op
    const where = `${model.name}, read at ${op.fetchOffset}`
    if (outcome.errorCode === ErrorCode.KAFKA_STORAGE_ERROR) {
      this.#excuse(model, 'a read')
      return
    }
    model.noteHighWatermark(outcome.highWatermark)
    model.noteLogStart(outcome.logStartOffset)
    if (outcome.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
      const isOut =
        op.fetchOffset < outcome.logStartOffset || op.fetchOffset > outcome.highWatermark
      require_(isOut, 'reads get the answer they deserve', () => `${where}: out of range`)
      return
    }
    if (outcome.errorCode !== ErrorCode.NONE) {
      throw new Violation('reads get the answer they deserve', `${where}: ${outcome.errorCode}`)
    }
    require_(
      outcome.highWatermark >= op.knownEnd,
      'what is acknowledged is visible',
      () => `${where}: high watermark ${outcome.highWatermark}, acknowledged ${op.knownEnd}`,
    )
    if ((outcome.flags & READ_WATCHING) !== 0) op.state = 'watching'
    if (outcome.length > 0) this.#served(op, outcome)
    else if ((outcome.flags & (READ_TOO_SMALL | READ_NO_MEMORY)) === 0) {
      require_(
        op.fetchOffset >= outcome.highWatermark,
        'reads get the answer they deserve',
        () => `${where}: nothing, though the high watermark is ${outcome.highWatermark}`,
      )
    }
  }

  #served(op: ReadOp, outcome: ReadOutcome): void {
    const { model } = op
    const { proxy } = this.#process.unitOf(model.plan.handle)
    const { offset, length, generation } = outcome
    const held: HeldExtent = { proxy, offset, length, generation, model }
    this.#count('reads served')
    const batches = this.#identify(held)
    if ((op.flags & READ_TO_LOG_END) === 0) {
      model.serve(batches, op.fetchOffset, outcome.highWatermark)
    }
    this.#held.push(held)
  }

  #identify(held: HeldExtent): StoredBatch[] {
    const bytes = held.proxy.egress.subarray(held.offset, held.offset + held.length)
    return identify(bytes, held.model.sent, held.model.name)
  }

  onWake(index: number): void {
    const op = this.#reads[index] as ReadOp
    op.state = 'done'
    this.#count('wakes')
  }

  /** Gives read memory back; what lies in it must still be what was served. */
  release(all: boolean): void {
    const kept: HeldExtent[] = []
    for (const held of this.#held) {
      if (!all && this.#random.chance(0.5)) {
        kept.push(held)
        continue
      }
      this.#identify(held)
      held.proxy.release(held)
    }
    this.#held = kept
  }

  /** Nothing under way: every watch below the high watermark must have been woken. */
  checkWatches(): void {
    for (const { state, model, fetchOffset } of this.#reads) {
      require_(
        state !== 'watching' || fetchOffset >= model.highWatermark,
        'every watch is woken',
        () => `${model.name}, at ${fetchOffset}, high watermark ${model.highWatermark}`,
      )
    }
  }

  // —— the rest ——

  lookUp(model: PartitionModel, timestampMs: number): void {
    const { handle } = model.plan
    const bound = model.highWatermark
    const request: ControlRequest = this.#random.chance(0.2)
      ? { kind: 'max-timestamp', handle }
      : { kind: 'offset-for-timestamp', handle, timestampMs }
    this.#control(model, request, (reply) => {
      if (reply.kind !== 'batch' && reply.kind !== 'no-batch') return false
      const found = reply.kind === 'batch' ? this.#takeBatch(model, reply) : null
      const time = request.kind === 'max-timestamp' ? null : timestampMs
      model.lookedUp(found, time, bound)
      return true
    })
  }

  #takeBatch(model: PartitionModel, reply: Extract<ControlReply, { kind: 'batch' }>): StoredBatch {
    const { proxy } = this.#process.unitOf(model.plan.handle)
    const { offset, length, generation } = reply
    const held: HeldExtent = { proxy, offset, length, generation, model }
    const [batch] = this.#identify(held)
    this.#held.push(held)
    return batch as StoredBatch
  }

  deleteRecords(model: PartitionModel): void {
    const beforeOffset = this.#random.between(model.logStartOffset, model.highWatermark)
    model.logStartMax = Math.max(model.logStartMax, beforeOffset)
    const request = { kind: 'delete-records', handle: model.plan.handle, beforeOffset } as const
    this.#control(model, request, (reply) => {
      if (reply.kind !== 'offsets') return false
      this.#count('record deletions')
      model.noteLogStart(reply.logStartOffset)
      require_(
        reply.logStartOffset >= beforeOffset,
        'the log start stays where it was put',
        () => `${model.name}: ${reply.logStartOffset} after deletion to ${beforeOffset}`,
      )
      model.logStartOffset = Math.max(model.logStartOffset, beforeOffset)
      return true
    })
  }

  ask(model: PartitionModel): void {
    const { handle } = model.plan
    const { highWatermark } = model
    const request: ControlRequest = this.#random.pick([
      { kind: 'offsets', handle },
      { kind: 'checkpoint' },
      { kind: 'stats' },
      { kind: 'end-offset-for-epoch', handle, leaderEpoch: this.#random.below(4) },
    ])
    this.#control(model, request, (reply) => {
      if (reply.kind === 'offsets') {
        model.noteLogStart(reply.logStartOffset)
        // Heard a little later than what came after it: promises.
        return reply.logEndOffset >= reply.highWatermark && reply.highWatermark >= highWatermark
      }
      return reply.kind !== 'failed'
    })
  }

  #control(
    model: PartitionModel,
    request: ControlRequest,
    onReply: (reply: ControlReply) => boolean,
  ): void {
    this.#pending++
    const { proxy } = this.#process.unitOf(model.plan.handle)
    void proxy.control(request).then((reply) => {
      this.#note(reply.kind.length)
      this.#pending--
      this.#run(() => {
        if (reply.kind === 'failed') {
          if (reply.errorCode === ErrorCode.REQUEST_TIMED_OUT) return // No read memory.
          if (reply.errorCode === ErrorCode.KAFKA_STORAGE_ERROR) {
            this.#excuse(model, request.kind)
            return
          }
        }
        if (onReply(reply)) return
        const what = `${model.name}: ${request.kind}: ${JSON.stringify(reply)}`
        throw new Violation('control requests get the answer they deserve', what)
      })
    })
  }

  /** A violation found in a promise's callback waits for the harness. */
  failure: unknown = null
  #run(check: () => void): void {
    try {
      check()
    } catch (error) {
      this.failure ??= error
    }
  }

  /** A storage error needs a fault that explains it. */
  #excuse(model: PartitionModel, what: string): void {
    const isFailed = this.#process.failedDirectories.has(model.plan.logDirectory)
    require_(
      isFailed || this.areFaultsOn(),
      'the disk is not blamed for nothing',
      () => `${model.name}: ${what} got a storage error`,
    )
  }
}
