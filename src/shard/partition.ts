import type { LogContext, LogHint, LogOptions } from '../storage/log.ts'
import { PartitionLog } from '../storage/log.ts'
import type { OpenPartition } from './control.ts'

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
  /** In the shard's list of partitions to write this turn. */
  isDirty = false
  #options: LogOptions
  #hint: LogHint | null
  #log: PartitionLog | null = null

  constructor(open: OpenPartition, options: LogOptions) {
    this.handle = open.handle
    this.topicId = open.topicId
    this.partition = open.partition
    this.logDirectory = open.logDirectory
    this.directory = open.directory
    this.leaderEpoch = open.leaderEpoch
    this.#options = options
    this.#hint = open.hint
  }

  get options(): LogOptions {
    return this.#options
  }

  /** The log if it has been opened. */
  get openedLog(): PartitionLog | null {
    return this.#log
  }

  /** What a checkpoint says of this partition while its log has not been opened. */
  get hint(): LogHint | null {
    return this.#hint
  }

  /** Opens the log at the first call: recovery runs here after an unclean stop. */
  log(context: LogContext): PartitionLog {
    if (this.#log === null) {
      this.#log = PartitionLog.open(context, {
        directory: this.directory,
        options: this.#options,
        hint: this.#hint,
      })
    }
    return this.#log
  }

  /** Closes the log in order and keeps what it needs to be opened without a scan. */
  close(): void {
    if (this.#log === null) return
    this.#hint = this.#log.close()
    this.#log = null
  }

  configure(options: LogOptions): void {
    this.#options = options
    this.#log?.configure(options)
  }
}

export interface WaitingAck {
  readonly token: number
  readonly baseOffset: number
  /** Exclusive: acknowledged once the high watermark is at least this. */
  readonly endOffset: number
  readonly appendTimeMs: number
  /** Main has been told that the bytes are written and their memory free. */
  isWrittenReported: boolean
}
