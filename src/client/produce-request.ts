/** One produce message: batches of several partitions, and what becomes of each by the answer. */
import { ErrorCode } from '../errors/error-code.ts'
import type { LeaderHint, ServerMessage } from '../wire/websocket/messages.ts'
import type { Connection } from './connection.ts'
import { ConnectionError, errorOfCode, type MillraceError, ServerError } from './errors.ts'
import { isMisplaced } from './leaders.ts'
import type { PartitionQueue } from './partition-queue.ts'
import type { AnswerHandler } from './pending-requests.ts'
import type { Platform } from './platform.ts'
import type { ProduceBatch } from './produce-batch.ts'

/** More in one message would make its first batches wait for the last. */
export const REQUEST_BYTES = 1024 * 1024
export const REQUEST_PARTITIONS_MAX = 1000

/** The envelope without its partitions, at most. */
const ENVELOPE_BYTES_MAX = 64
/** A partition's entry in the envelope, without the topic's name, at most. */
const ENTRY_BYTES_MAX = 24
const UTF8_BYTES_PER_UNIT = 3

type Misplaced = (queue: PartitionQueue, hint: LeaderHint | null) => void

export class ProduceRequest implements AnswerHandler {
  readonly #acks: 0 | 1 | -1
  readonly #platform: Platform
  readonly #misplaced: Misplaced
  readonly #queues: PartitionQueue[] = []
  readonly #batches: ProduceBatch[] = []
  #sentMs = 0
  #bytes = ENVELOPE_BYTES_MAX
  #envelopeBytes = ENVELOPE_BYTES_MAX

  /** `misplaced`: somebody else leads the queue's partition, perhaps who the hint says. */
  constructor(acks: 0 | 1 | -1, platform: Platform, misplaced: Misplaced = () => {}) {
    this.#acks = acks
    this.#platform = platform
    this.#misplaced = misplaced
  }

  get count(): number {
    return this.#batches.length
  }

  /** The whole message, at most. */
  get bytes(): number {
    return this.#bytes
  }

  /** The whole message, at most, with `batch` in it. */
  bytesWith(batch: ProduceBatch): number {
    return this.#bytes + batch.bytes + entryBytesMax(batch)
  }

  /** The envelope alone, at most, with `batch` in it. */
  envelopeBytesWith(batch: ProduceBatch): number {
    return this.#envelopeBytes + entryBytesMax(batch)
  }

  /** At most one batch of each queue. */
  add(queue: PartitionQueue, batch: ProduceBatch): void {
    this.#bytes = this.bytesWith(batch)
    this.#envelopeBytes = this.envelopeBytesWith(batch)
    this.#queues.push(queue)
    this.#batches.push(batch)
  }

  /** Sends it. `connection` has said that it may. */
  send(connection: Connection): void {
    const payload: Uint8Array[] = []
    const partitions: [string, number, number][] = []
    for (const [index, queue] of this.#queues.entries()) {
      const bytes = queue.take(this.#batches[index] as ProduceBatch)
      payload.push(bytes)
      partitions.push([queue.topic, queue.partition, bytes.length])
    }
    this.#sentMs = this.#platform.timers.monotonicMs()
    connection.produce({ acks: this.#acks, partitions }, payload, this)
    if (this.#acks !== 0) return
    for (const [index, queue] of this.#queues.entries()) {
      queue.stored(this.#batches[index] as ProduceBatch, -1, -1)
    }
  }

  answered(message: ServerMessage): void {
    const nowMs = this.#platform.timers.monotonicMs()
    let failed = 0
    for (const [index, queue] of this.#queues.entries()) {
      const batch = this.#batches[index] as ProduceBatch
      const result = message.type === 'produced' ? message.partitions[index] : undefined
      if (result === undefined) {
        const error = new ConnectionError(`the answer to a produce was a ${message.type}`)
        queue.refused(batch, error, nowMs)
        failed++
        continue
      }
      const [code, baseOffset, appendTimeMs, , text] = result
      const error = errorOfCode(code, text)
      if (error === null) queue.stored(batch, baseOffset, appendTimeMs)
      else {
        if (isMisplaced(code)) this.#misplaced(queue, hintAt(message, index))
        queue.refused(batch, error, nowMs)
        failed++
      }
    }
    this.#publish(nowMs, failed)
  }

  failed(error: MillraceError): void {
    const nowMs = this.#platform.timers.monotonicMs()
    for (const [index, queue] of this.#queues.entries()) {
      const batch = this.#batches[index] as ProduceBatch
      if (error instanceof ServerError) queue.refused(batch, error, nowMs)
      else queue.lost(batch)
    }
    this.#publish(nowMs, this.count)
  }

  #publish(nowMs: number, failed: number): void {
    const channel = this.#platform.events?.produce
    if (!channel?.hasSubscribers) return
    const { count: partitions, bytes } = this
    channel.publish({ partitions, bytes, durationMs: nowMs - this.#sentMs, failed })
  }
}

function hintAt(message: ServerMessage, index: number): LeaderHint | null {
  const leaders = message.type === 'produced' ? message.leaders : undefined
  return leaders?.find(([at]) => at === index)?.[1] ?? null
}

function entryBytesMax(batch: ProduceBatch): number {
  return ENTRY_BYTES_MAX + batch.topic.length * UTF8_BYTES_PER_UNIT
}

/** The error for a batch that no message of `max` bytes can carry; null when one can. */
export function tooLarge(batch: ProduceBatch, max: number): ServerError | null {
  if (ENVELOPE_BYTES_MAX + entryBytesMax(batch) + batch.bytes <= max) return null
  const text = `a batch of ${batch.bytes} bytes does not fit a message of ${max}`
  return new ServerError(ErrorCode.MESSAGE_TOO_LARGE, text)
}
