import { assert } from '../base/assert.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type {
  LogContext,
  LogHint,
  LogOptions,
  RefusedStarts,
  RetentionBounds,
} from '../storage/log.ts'
import { PartitionLog } from '../storage/log.ts'
import type { OpenPartition } from './control.ts'
import { Replica } from './replica.ts'
import type { WaitingAck } from './waiting-ack.ts'

/**
 * One partition as its shard holds it: the log (opened at the first use), the acknowledgements that
 * wait for the high watermark, and the readers that wait for data. An idle partition is this object
 * and nothing else: no file, no descriptor.
 */
export class Partition {
  readonly handle: number
  readonly topicId: string
  readonly partition: number
  readonly logDirectory: string
  readonly directory: string
  leaderEpoch: number
  /** Acknowledgements in offset order; `endOffset` is exclusive. Bounded by the ingress arena. */
  readonly waitingAcks: WaitingAck[] = []
  /** Watches: token → the offset at or after which something must lie below the high watermark. */
  readonly watches = new Map<number, number>()
  /** What it is to the other replicas; null: there are none. */
  #replica: Replica | null
  /** Reads off the shard's thread that have not come back. */
  readsUnderWay = 0
  /** Appended since the shard's start. */
  recordsIn = 0
  bytesIn = 0
  /** In the shard's list of partitions to write this turn. */
  isDirty = false
  /** Used since somebody last looked for logs to close. */
  isHot = false
  /** An operator has been told that the log is damaged; every request would repeat it. */
  isDamageReported = false
  /** What was found when compaction last looked: until where, and when to look again. */
  #compaction = { boundOffset: -1, dueAtMs: -Infinity }
  /** Not before then, monotonic. */
  #compactNotBeforeMs = -Infinity
  #options: LogOptions
  #hint: LogHint | null
  #log: PartitionLog | null = null
  /** Of the log while it is closed. */
  #retention: RetentionBounds
  /** Of the log while it is closed. */
  #refusedStarts: RefusedStarts | undefined
  /** The log is damaged where data was promised: opening it again would only read it again. */
  #damage: BrokerError | null = null

  constructor(open: OpenPartition, options: LogOptions) {
    this.handle = open.handle
    this.topicId = open.topicId
    this.partition = open.partition
    this.logDirectory = open.logDirectory
    this.directory = open.directory
    this.leaderEpoch = open.leaderEpoch
    this.#options = options
    this.#hint = open.hint
    this.#replica = open.role === undefined ? null : new Replica(open.role)
    this.#retention = boundsOfUnknown(options)
  }

  get options(): LogOptions {
    return this.#options
  }

  get replica(): Replica | null {
    return this.#replica
  }

  /** After a change of roles: from now on the log is replicated, or not. */
  set replica(replica: Replica | null) {
    this.#replica = replica
    if (this.#log !== null) this.#log.isReplicated = replica?.isReplicated === true
  }

  /**
   * Nobody waits on it and nothing of it is under way: its log may be closed. Followers that wait
   * at its end do not keep it open, else they would keep all of them.
   */
  get isIdle(): boolean {
    const isWaitedFor =
      this.waitingAcks.length > 0 || this.watches.size > 0 || this.readsUnderWay > 0
    const log = this.#log
    if (this.#replica?.isWaitedFor === true) return false
    return !isWaitedFor && !this.isDirty && log?.flushing === false && !log.isCompacting
  }

  /** The log if it has been opened. */
  get openedLog(): PartitionLog | null {
    return this.#log
  }

  /** Opening it would find damage again. */
  get isDamaged(): boolean {
    return this.#damage !== null
  }

  /** What a checkpoint says of this partition while its log has not been opened. */
  get hint(): LogHint | null {
    return this.#hint
  }

  /** Retention may find something. No look at a file: perhaps too early, never too late. */
  isRetentionDue(wallMs: number): boolean {
    if (this.#log !== null) return this.#log.isRetentionDue(wallMs)
    if (this.#damage !== null || this.#hint?.bytes === 0) return false
    const { atMs, atBytes } = this.#retention
    return wallMs >= atMs || (this.#hint !== null && this.#hint.bytes >= atBytes)
  }

  /**
   * It may be time to compact: no look at a file. Once it was looked at, only after more has become
   * durable, or when a lag is over.
   */
  isCompactionDue(nowMs: number, wallMs: number): boolean {
    if (!this.#options.isCompacted || this.#damage !== null) return false
    if (nowMs < this.#compactNotBeforeMs) return false
    if (this.#log === null && this.#hint?.bytes === 0) return false
    return wallMs >= this.#compaction.dueAtMs || this.#boundOffset !== this.#compaction.boundOffset
  }

  noteCompactionDue(dueAtMs: number): void {
    this.#compaction = { boundOffset: this.#boundOffset, dueAtMs }
  }

  compactNotBefore(nowMs: number): void {
    this.#compactNotBeforeMs = nowMs
  }

  /** Nothing at or above it can be compacted. */
  get #boundOffset(): number {
    if (this.#log !== null) return Math.min(this.#log.highWatermark, this.#log.recoveryPoint)
    const { highWatermark = Infinity, logEndOffset } = this.#hint ?? { logEndOffset: -1 }
    return Math.min(highWatermark, logEndOffset)
  }

  /**
   * Opens the log at the first call: recovery runs here after an unclean stop. Throws BrokerError;
   * after CORRUPT_MESSAGE the same one at every call, without a look at the disk, until the
   * partition is configured or the broker restarts.
   */
  log(context: LogContext): PartitionLog {
    if (this.#log !== null) return this.#log
    if (this.#damage !== null) throw this.#damage
    const { directory } = this
    try {
      this.#log = PartitionLog.open(context, {
        directory,
        options: this.#options,
        hint: this.#hint,
        isReplicated: this.#replica?.isReplicated === true,
        refusedStarts: this.#refusedStarts,
      })
    } catch (error) {
      const isDamage = error instanceof BrokerError && error.code === ErrorCode.CORRUPT_MESSAGE
      if (isDamage) this.#damage = error
      throw error
    }
    // It may have risen while the log was closed.
    const leader = this.#replica?.leader
    if (leader != null && leader.highWatermark <= this.#log.logEndOffset) {
      this.#log.setHighWatermark(leader.highWatermark)
    }
    return this.#log
  }

  /**
   * Closes the log in order and keeps what it needs to be opened without a scan. Throws
   * BrokerError: then it is closed all the same, and scanned when it is opened again.
   */
  close(): void {
    const log = this.#log
    if (log === null) return
    this.#hint = log.checkpoint()
    this.#retention = log.retentionBounds
    this.#refusedStarts = log.refusedStarts
    this.#log = null
    this.#hint = log.close()
  }

  /** The log's clean mark is not true: the next use scans the log. Throws BrokerError. */
  distrustMark(): void {
    const log = this.#log
    assert(log !== null)
    this.#hint = log.checkpoint()
    this.#refusedStarts = log.refusedStarts
    this.#log = null
    log.close()
  }

  configure(options: LogOptions): void {
    this.#options = options
    this.#damage = null
    this.#compaction = { boundOffset: -1, dueAtMs: -Infinity }
    this.#compactNotBeforeMs = -Infinity
    this.#retention = boundsOfUnknown(options)
    this.#log?.configure(options)
  }
}

/** Of a log whose oldest segment nobody has looked at. */
function boundsOfUnknown(options: LogOptions): RetentionBounds {
  return {
    atMs: options.retentionMs === Infinity ? Infinity : -Infinity,
    atBytes: options.retentionBytes,
  }
}
