import type { BrokerConfig } from '../config/broker-config.ts'
import { topicOptionText } from '../config/topic-options.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { MetadataImage } from '../metadata/image.ts'
import { type BatchHeader, parseHeader } from '../record/batch-header.ts'
import { checkKeys, KEYED_BYTES_MAX, keylessRecords, refusalOf } from '../record/batch-keys.ts'
import { ATTRIBUTES, BATCH_HEADER_BYTES, COMPRESSION_MASK } from '../record/batch-layout.ts'
import { COMPRESSION_ZSTD, type CompressionCode, decompress } from '../record/compression.ts'
import { crc32c } from '../record/crc32c.ts'
import { RecordError } from '../record/record-error.ts'
import { Turns } from './turns.ts'

/**
 * The records of zstd batches for compacted topics: whether each has a key, which shards cannot
 * look for without waiting. What follows for the same partition waits behind, so that the order in
 * which batches came is the order in the log; other codecs and topics are not held up. Runs on
 * main.
 */
/** Where a batch lies in the memory of its request. */
interface BatchPlace {
  readonly offset: number
  readonly length: number
}

/** What one request may cost to say which of its records have no key. */
export class KeylessBudget {
  /** Looked through, once decompressed. */
  bytes = 1024 * 1024
  /** Named in the response. */
  records = 1000
}

const NONE: readonly number[] = []

export class KeyChecks {
  readonly #image: MetadataImage
  readonly #config: BrokerConfig
  /** Batches that wait, by the partition's handle. */
  readonly #waiting = new Map<number, number>()
  readonly #queues = new Map<number, Turns>()
  /** One batch is decompressed at a time, whoever sent it: so much memory it costs at most. */
  readonly #inflating = new Turns()

  constructor(image: MetadataImage, config: BrokerConfig) {
    this.#image = image
    this.#config = config
  }

  /** The batch has to be looked at, or to wait for one before it. */
  mustWait(handle: number, bytes: Uint8Array, batch: BatchPlace): boolean {
    if (this.#waiting.size > 0 && this.#waiting.has(handle)) return true
    const codec = (bytes[batch.offset + ATTRIBUTES + 1] as number) & COMPRESSION_MASK
    return codec === COMPRESSION_ZSTD && this.isCompacted(handle)
  }

  /** Calls `then` in turn with a refusal, or NONE. The batch's bytes must stay until then. */
  check(
    handle: number,
    bytes: Uint8Array,
    batch: BatchPlace,
    then: (code: ErrorCode) => void,
  ): void {
    this.#waiting.set(handle, (this.#waiting.get(handle) ?? 0) + 1)
    const queue = this.#queues.get(handle) ?? new Turns()
    this.#queues.set(handle, queue)
    void queue.run(async () => {
      const code = await this.#inflating.run(() => checkBatch(bytes, batch))
      const left = (this.#waiting.get(handle) as number) - 1
      if (left > 0) this.#waiting.set(handle, left)
      else {
        this.#waiting.delete(handle)
        this.#queues.delete(handle)
      }
      then(this.#image.partitions.has(handle) ? code : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    })
  }

  /**
   * Which records of a refused batch have no key, as far as the request's budget goes: looking
   * costs main what a client likes. The batch's bytes must stay until this settles.
   */
  keyless(bytes: Uint8Array, batch: BatchPlace, budget: KeylessBudget): Promise<readonly number[]> {
    return this.#inflating.run(async () => {
      if (budget.bytes <= 0 || budget.records <= 0) return NONE
      await new Promise(setImmediate) // Others are served between two batches.
      return keylessIn(bytes, batch, budget)
    })
  }

  isCompacted(handle: number): boolean {
    const name = this.#image.partitions.topicName(handle)
    const topic = name === null ? undefined : this.#image.topicsByName.get(name)
    if (topic === undefined) return false
    const policy = topicOptionText('cleanup.policy', topic.configs, this.#config, 1)
    return policy?.includes('compact') === true
  }
}

async function checkBatch(bytes: Uint8Array, { offset, length }: BatchPlace): Promise<ErrorCode> {
  const whole = bytes.subarray(offset, offset + length)
  if (((whole[ATTRIBUTES + 1] as number) & COMPRESSION_MASK) !== COMPRESSION_ZSTD) {
    return ErrorCode.NONE // It only waited.
  }
  let header: BatchHeader
  try {
    header = parseHeader(whole, 0, crc32c)
  } catch {
    return ErrorCode.NONE // The log refuses it as it refuses any such.
  }
  try {
    const section = whole.subarray(BATCH_HEADER_BYTES, header.bytes)
    return checkKeys(await decompress(COMPRESSION_ZSTD, section, KEYED_BYTES_MAX), header)
  } catch (error) {
    return refusalOf(error)
  }
}

async function keylessIn(
  bytes: Uint8Array,
  { offset, length }: BatchPlace,
  budget: KeylessBudget,
): Promise<readonly number[]> {
  const whole = bytes.subarray(offset, offset + length)
  const bytesMax = budget.bytes
  budget.bytes = 0 // Of what is larger nothing is said, nor of what comes behind it.
  try {
    const header = parseHeader(whole, 0, null) // The shard has checked the bytes.
    const section = whole.subarray(BATCH_HEADER_BYTES, header.bytes)
    if (section.length > bytesMax) return NONE
    const code = ((whole[ATTRIBUTES + 1] as number) & COMPRESSION_MASK) as CompressionCode
    const records = await decompress(code, section, bytesMax)
    const keyless = keylessRecords(records, header, budget.records)
    budget.bytes = bytesMax - records.length
    budget.records -= keyless.length
    return keyless
  } catch (error) {
    if (!(error instanceof RecordError)) throw error
    return NONE // It was refused because it is malformed, or is too large.
  }
}
