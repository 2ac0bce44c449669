/**
 * What one partition must hold: everything that was acknowledged or served, by offset, and how much
 * of it has to survive which crash. Knows the contract, not the code: it is told answers and bytes,
 * and throws a Violation when they cannot be true together.
 *
 *   an acknowledged or served batch survives   a process kill            always
 *                                              a power loss              below `durableEnd`
 *   `durableEnd`: with flush.messages = 1 whatever was acknowledged or served, else what the log
 *   said was flushed (its recovery point)
 */
import { addSequence } from '../../src/storage/producer-state.ts'
import type { SentBatch, StoredBatch } from './batches.ts'
import type { PartitionPlan } from './plan.ts'
import { require_, Violation } from './violation.ts'

export type Ending = 'kill' | 'power-loss' | 'clean'

export class PartitionModel {
  readonly plan: PartitionPlan
  readonly sent = new Map<number, SentBatch>()
  /** What was acknowledged or served, by base offset. */
  known = new Map<number, StoredBatch>()
  readonly #offsetById = new Map<number, number>()
  /** Acknowledged by DeleteRecords: never goes back. */
  logStartOffset = 0
  /** Asked for, answered or not, or moved to by retention. */
  logStartMax = 0
  /** Seen in the shard's memory, where every answer may tell it: survives every crash. */
  visibleStart = 0
  /** Newest wall clock that the broker may have compared with. */
  wallMsMax = 0
  durableEnd = 0
  /** Of what was acknowledged or served; exclusive. */
  knownEnd = 0
  /** Largest high watermark that the running process has told. */
  highWatermark = 0
  /** Producers whose acknowledged batches a power loss took. */
  readonly losers = new Set<number>()
  /** What the end of the last process may have taken. */
  #atRisk: StoredBatch[] = []
  #ending: Ending = 'clean'
  /** The log was read since the last ending. */
  #isRead = true
  /** A flush of one of its files failed: its unflushed bytes are not in the page cache for sure. */
  isBetrayed = false

  constructor(plan: PartitionPlan) {
    this.plan = plan
  }

  get name(): string {
    return `partition ${this.plan.handle}`
  }

  noteSent(batch: SentBatch): void {
    this.sent.set(batch.id, batch)
  }

  /** The run was acknowledged at `baseOffset`. */
  acknowledge(run: readonly SentBatch[], baseOffset: number, appendTimeMs: number): void {
    const isAppendTime = this.plan.options.timestampType === 'LogAppendTime'
    require_(
      appendTimeMs >= 0 === isAppendTime,
      'appends get the answer they deserve',
      () => `${this.name}: append time ${appendTimeMs}`,
    )
    let offset = baseOffset
    for (const sent of run) {
      const lastOffset = offset + sent.recordsCount - 1
      const maxTimestamp = isAppendTime ? appendTimeMs : sent.maxTimestamp
      this.#note({ sent, baseOffset: offset, lastOffset, maxTimestamp }, 'acknowledged')
      offset = lastOffset + 1
    }
  }

  /** Bytes were served from `fetchOffset`, with that high watermark. */
  serve(batches: readonly StoredBatch[], fetchOffset: number, highWatermark: number): void {
    let expected = -1
    for (const batch of batches) {
      const where = `${this.name}, read at ${fetchOffset}, batch at ${batch.baseOffset}`
      require_(
        batch.sent.partition === this.plan.handle,
        'only what was sent is served',
        () => where,
      )
      if (expected < 0) {
        const holds = batch.baseOffset <= fetchOffset && batch.lastOffset >= fetchOffset
        require_(holds, 'offsets are dense', () => `${where}: it does not hold the offset`)
      } else {
        const follows = batch.baseOffset === expected
        require_(follows, 'offsets are dense', () => `${where}: ${expected} is due`)
      }
      const isBelow = batch.lastOffset < highWatermark
      require_(isBelow, 'nothing above the high watermark', () => `${where}: ${highWatermark}`)
      this.#note(batch, 'served')
      expected = batch.lastOffset + 1
    }
  }

  /** The running process says how far it is. */
  noteHighWatermark(highWatermark: number): void {
    const isMonotonic = highWatermark >= this.highWatermark
    require_(
      isMonotonic,
      'the high watermark is monotonic',
      () => `${this.name}: ${highWatermark} after ${this.highWatermark}`,
    )
    this.highWatermark = highWatermark
  }

  noteLogStart(logStartOffset: number): void {
    require_(
      logStartOffset >= this.logStartOffset && logStartOffset <= this.logStartMax,
      'the log start stays where it was put',
      () =>
        `${this.name}: ${logStartOffset}, acknowledged ${this.logStartOffset}, ` +
        `asked for ${this.logStartMax} at most`,
    )
  }

  /**
   * A turn of the shard is over: what its log says now may be told to anybody. True when retention
   * has deleted something.
   */
  noteTurn(log: {
    readonly logStartOffset: number
    readonly highWatermark: number
    readonly bytes: number
  }): boolean {
    const { logStartOffset, highWatermark } = log
    require_(
      logStartOffset <= highWatermark,
      'the log start stays below the high watermark',
      () => `${this.name}: ${logStartOffset}, high watermark ${highWatermark}`,
    )
    this.#checkVisible(logStartOffset)
    this.visibleStart = logStartOffset
    // What an ending took besides is known when the log is read: `restart` judges.
    if (!this.#isRead && this.#ending !== 'clean') return false
    if (logStartOffset <= this.logStartMax) return false
    this.#checkRetention(logStartOffset, log.bytes)
    return true
  }

  #checkVisible(logStartOffset: number): void {
    require_(
      logStartOffset >= this.visibleStart,
      'a visible log start never goes back',
      () => `${this.name}: ${logStartOffset} after ${this.visibleStart}`,
    )
  }

  /**
   * After a power loss names may be lost in any order: without its first segments the log starts
   * later. That is no more than the loss of the whole log would be, as long as nothing in it was
   * durable.
   */
  #allowLaterStart(logStartOffset: number): void {
    if (this.#ending !== 'power-loss' || this.durableEnd > this.logStartMax) return
    this.logStartMax = Math.max(this.logStartMax, logStartOffset)
  }

  /** Nobody asked for this log start, so retention moved it: was it allowed to? */
  #checkRetention(logStartOffset: number, bytesKept: number): void {
    const { retentionBytes, retentionMs } = this.plan.options
    const where = `${this.name}: ${this.logStartMax} to ${logStartOffset}`
    require_(
      retentionBytes !== Infinity || retentionMs !== Infinity,
      'the log start stays where it was put',
      () => where,
    )
    if (retentionBytes !== Infinity) {
      require_(
        bytesKept >= retentionBytes,
        'retention deletes what is due',
        () => `${where}: ${bytesKept} bytes are left`,
      )
    }
    for (const { baseOffset, lastOffset, maxTimestamp } of this.known.values()) {
      if (retentionMs === Infinity) break
      if (lastOffset < this.logStartMax || lastOffset >= logStartOffset) continue
      require_(
        this.wallMsMax - maxTimestamp > retentionMs,
        'retention deletes what is due',
        () => `${where}: the batch at ${baseOffset} is of ${maxTimestamp}, now ${this.wallMsMax}`,
      )
    }
    this.logStartMax = logStartOffset
  }

  /** The log was truncated on purpose, as a follower's is. */
  truncate(target: number): void {
    let offset = target
    for (const batch of this.known.values()) {
      if (batch.lastOffset >= target) offset = Math.min(offset, batch.baseOffset)
    }
    for (const [base, batch] of this.known) {
      if (batch.lastOffset < offset) continue
      this.#forget(base, batch)
      this.losers.add(batch.sent.producerId)
    }
    this.knownEnd = Math.min(this.knownEnd, offset)
    this.durableEnd = Math.min(this.durableEnd, offset)
    this.highWatermark = Math.min(this.highWatermark, offset)
  }

  /** The process is gone. What need not survive is forgotten. */
  end(ending: Ending): void {
    // A start that was cut off has not undone the power loss before it.
    if (this.#isRead || ending === 'power-loss') this.#ending = ending
    this.#isRead = false
    this.highWatermark = 0
    if (ending !== 'power-loss' && !this.isBetrayed) return
    for (const [base, batch] of this.known) {
      if (batch.lastOffset < this.durableEnd) continue
      this.#forget(base, batch)
      this.#atRisk.push(batch)
    }
    this.knownEnd = Math.min(this.knownEnd, this.durableEnd)
  }

  /**
   * The whole log after a start, from its first to its last offset: all of it is known from now on.
   */
  restart(batches: readonly StoredBatch[], logStartOffset: number, logEndOffset: number): void {
    const isWhole = this.#ending === 'kill' && !this.isBetrayed
    this.isBetrayed = false
    this.#allowLaterStart(logStartOffset)
    this.#isRead = true
    if (logStartOffset > this.logStartMax && this.#ending !== 'clean') {
      // The process died in a deletion: it is durable, and nobody has seen it. A power loss, or a
      // disk that failed a flush, may have taken bytes behind it that were there.
      const bytes = batches.reduce((sum, { sent }) => sum + sent.bytes.length, 0)
      this.#checkRetention(logStartOffset, isWhole ? bytes : Infinity)
    }
    this.noteLogStart(logStartOffset)
    this.#checkVisible(logStartOffset)
    this.logStartOffset = logStartOffset
    this.visibleStart = logStartOffset
    this.#checkDense(batches, logStartOffset, logEndOffset)
    const found = new Map(batches.map((batch) => [batch.baseOffset, batch]))
    for (const [base, batch] of this.known) {
      if (batch.lastOffset < logStartOffset) continue
      const invariant =
        batch.lastOffset < this.durableEnd
          ? 'what is durable survives a power loss'
          : 'what is acknowledged survives a kill'
      const there = found.get(base)
      require_(
        there !== undefined && there.sent === batch.sent,
        invariant,
        () =>
          `${this.name}: batch ${batch.sent.id} at ${base} is not there ` +
          `(log ${logStartOffset} to ${logEndOffset}, durable to ${this.durableEnd})`,
      )
    }
    for (const batch of this.#atRisk) {
      if (found.get(batch.baseOffset)?.sent !== batch.sent) this.losers.add(batch.sent.producerId)
    }
    this.#atRisk = []
    this.known = found
    this.#offsetById.clear()
    for (const batch of batches) this.#offsetById.set(batch.sent.id, batch.baseOffset)
    this.knownEnd = logEndOffset
    this.highWatermark = logEndOffset
    this.checkProducers(batches)
  }

  /** Idempotent producers: no batch twice, none missing between two that are there. */
  checkProducers(batches: readonly StoredBatch[]): void {
    const next = new Map<number, { epoch: number; sequence: number }>()
    for (const { sent, baseOffset } of batches) {
      if (sent.producerId < 0) continue
      const before = next.get(sent.producerId)
      const where = `${this.name}, offset ${baseOffset}, producer ${sent.producerId}`
      if (before !== undefined && before.epoch === sent.producerEpoch) {
        require_(
          sent.baseSequence === before.sequence,
          'idempotent producers: once and in order',
          () => `${where}: sequence ${sent.baseSequence}, ${before.sequence} is due`,
        )
      } else if (before !== undefined) {
        require_(
          sent.producerEpoch > before.epoch && sent.baseSequence === 0,
          'idempotent producers: once and in order',
          () => `${where}: epoch ${sent.producerEpoch} sequence ${sent.baseSequence}`,
        )
      }
      next.set(sent.producerId, {
        epoch: sent.producerEpoch,
        sequence: addSequence(sent.baseSequence, sent.recordsCount),
      })
    }
  }

  /**
   * The batch was in the log and went with deleted records: a later one of its producer is there. A
   * retry of it need not be known any more.
   */
  wasDeleted(sent: SentBatch): boolean {
    if (this.logStartMax === 0 || this.#offsetById.has(sent.id)) return false
    for (const { sent: other } of this.known.values()) {
      const isSame =
        other.producerId === sent.producerId && other.producerEpoch === sent.producerEpoch
      if (isSame && other.id > sent.id) return true
    }
    return false
  }

  /**
   * A look-up by time (null: of the newest) found `batch` (null: none); `bound`: what it saw at
   * least.
   */
  lookedUp(batch: StoredBatch | null, timestampMs: number | null, bound: number): void {
    const where = `${this.name}, look-up of ${timestampMs ?? 'the newest'}`
    if (batch !== null) {
      this.#note(batch, 'served')
      const isLate = timestampMs === null || batch.maxTimestamp >= timestampMs
      require_(isLate, 'look-ups by time', () => `${where}: too early`)
    }
    const limit = timestampMs ?? (batch === null ? 0 : batch.maxTimestamp)
    const before =
      batch === null
        ? bound
        : timestampMs === null
          ? Math.max(bound, batch.baseOffset)
          : batch.baseOffset
    for (const other of this.known.values()) {
      if (other.lastOffset >= before || other.lastOffset < this.logStartMax) continue
      require_(
        timestampMs === null ? other.maxTimestamp <= limit : other.maxTimestamp < limit,
        'look-ups by time',
        () => `${where}: the batch at ${other.baseOffset} (${other.maxTimestamp}) comes first`,
      )
    }
  }

  #checkDense(batches: readonly StoredBatch[], logStartOffset: number, logEndOffset: number): void {
    let expected = batches[0]?.baseOffset ?? logEndOffset
    const startsRight =
      batches.length > 0 ? expected <= logStartOffset : logStartOffset === logEndOffset
    require_(startsRight, 'offsets are dense', () => `${this.name}: starts at ${expected}`)
    for (const batch of batches) {
      require_(
        batch.baseOffset === expected,
        'offsets are dense',
        () => `${this.name}: ${batch.baseOffset} where ${expected} is due`,
      )
      expected = batch.lastOffset + 1
    }
    require_(
      expected === logEndOffset,
      'offsets are dense',
      () => `${this.name}: ends at ${expected}`,
    )
  }

  #note(batch: StoredBatch, how: string): void {
    const { sent, baseOffset, lastOffset } = batch
    const other = this.known.get(baseOffset)
    if (other !== undefined && other.sent !== sent) {
      throw new Violation(
        'one batch an offset',
        `${this.name}: ${how} batch ${sent.id} at ${baseOffset}, where batch ${other.sent.id} was`,
      )
    }
    if (other !== undefined && other.maxTimestamp !== batch.maxTimestamp) {
      throw new Violation(
        'one batch an offset',
        `${this.name}: ${how} at ${baseOffset}: time ${batch.maxTimestamp}, ${other.maxTimestamp}`,
      )
    }
    const elsewhere = this.#offsetById.get(sent.id)
    if (elsewhere !== undefined && elsewhere !== baseOffset && sent.producerId >= 0) {
      throw new Violation(
        'idempotent producers: once and in order',
        `${this.name}: ${how} batch ${sent.id} at ${baseOffset}, it was at ${elsewhere} before`,
      )
    }
    if (other === undefined) this.known.set(baseOffset, batch)
    this.#offsetById.set(sent.id, baseOffset)
    this.knownEnd = Math.max(this.knownEnd, lastOffset + 1)
    this.highWatermark = Math.max(this.highWatermark, this.knownEnd)
    if (this.plan.options.flushMessages === 1) {
      this.durableEnd = Math.max(this.durableEnd, lastOffset + 1)
    }
  }

  #forget(base: number, batch: StoredBatch): void {
    this.known.delete(base)
    this.#offsetById.delete(batch.sent.id)
  }
}
