import { copyOf } from '../base/bytes.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { Arena } from '../ring/arena.ts'
import type { PartitionOffsets } from '../shard/control.ts'
import {
  APPEND_ALL,
  READ_MIN_ONE_BATCH,
  READ_NO_MEMORY,
  READ_TO_LOG_END,
} from '../shard/messages-layout.ts'
import type { AppendOutcome, ReadOutcome, ShardProxy } from '../shard/shard-proxy.ts'

/**
 * A partition that main itself writes and reads, such as the metadata log or one of
 * `__consumer_offsets`: batches in, copies of batches out. Runs on main.
 */
export interface InternalLogParts {
  /** For messages: what it is, such as '__consumer_offsets-7'. */
  readonly name: string
  readonly handle: number
  readonly shard: ShardProxy
  readonly arena: Arena
  readonly leaderEpoch: () => number
  /** Reads go on to the log end, also above the high watermark. */
  readonly readsToLogEnd?: boolean
}

export class InternalLog {
  readonly #parts: InternalLogParts
  readonly #readFlags: number

  constructor(parts: InternalLogParts) {
    this.#parts = parts
    this.#readFlags = READ_MIN_ONE_BATCH | (parts.readsToLogEnd === true ? READ_TO_LOG_END : 0)
  }

  get name(): string {
    return this.#parts.name
  }

  /**
   * Appends one batch; resolves to true when it is below the high watermark, to false when no
   * memory is free for it now: nothing has been written then. Rejects with a BrokerError: whether
   * it is in the log is then not known.
   */
  async append(batch: Uint8Array): Promise<boolean> {
    const { arena, name } = this.#parts
    const offset = arena.allocate(batch.length)
    if (offset < 0) return false
    arena.bytes.set(batch, offset)
    const generation = arena.generationOf(offset)
    let errorCode: number
    try {
      errorCode = await this.#send(offset, batch.length, generation)
    } finally {
      arena.free(offset, generation)
    }
    if (errorCode !== ErrorCode.NONE) throw new BrokerError(errorCode as ErrorCode, `write ${name}`)
    return true
  }

  #send(offset: number, length: number, generation: number): Promise<number> {
    const { handle, shard, leaderEpoch } = this.#parts
    return new Promise((resolve) => {
      const extent = { offset, length, extentOffset: offset, generation }
      const onAppended = (outcome: AppendOutcome): void => resolve(outcome.errorCode)
      const sink = { onAppended, onWritten: () => undefined }
      shard.append({ handle, ...extent, leaderEpoch: leaderEpoch(), flags: APPEND_ALL }, sink, 0)
      shard.flush()
    })
  }

  /** The first offset that can be read: records before it have been deleted. */
  async logStartOffset(): Promise<number> {
    return (await this.#offsets()).logStartOffset
  }

  /** Exclusive: what lies above it may yet be lost with this broker. */
  async highWatermark(): Promise<number> {
    return (await this.#offsets()).highWatermark
  }

  async #offsets(): Promise<PartitionOffsets> {
    const { handle, shard, name } = this.#parts
    const reply = await shard.control({ kind: 'offsets', handle })
    if (reply.kind === 'offsets') return reply
    const code = reply.kind === 'failed' ? reply.errorCode : ErrorCode.UNKNOWN_SERVER_ERROR
    throw new BrokerError(code as ErrorCode, `read ${name}`)
  }

  /**
   * Whole batches from the one that holds `fetchOffset` on, about `bytesMax` of them, but at least
   * one; empty at the end. Rejects with a BrokerError.
   */
  read(fetchOffset: number, bytesMax: number): Promise<Uint8Array> {
    const { handle, shard, name } = this.#parts
    return new Promise((resolve, reject) => {
      const onRead = (outcome: ReadOutcome): void => {
        const { offset, length, generation } = outcome
        if (outcome.errorCode !== ErrorCode.NONE) {
          reject(new BrokerError(outcome.errorCode as ErrorCode, `read ${name}`))
        } else if ((outcome.flags & READ_NO_MEMORY) !== 0) {
          const action = `read ${name}: no memory of millrace.arena.egress.bytes is free for it now`
          reject(new BrokerError(ErrorCode.REQUEST_TIMED_OUT, action))
        } else {
          resolve(copyOf(shard.egress, offset, offset + length))
          if (length > 0) shard.release({ offset, length, generation })
        }
      }
      const request = { handle, fetchOffset, bytesMax, flags: this.#readFlags }
      shard.read(request, { onRead, onWake: () => undefined }, 0)
      shard.flush()
    })
  }
}
