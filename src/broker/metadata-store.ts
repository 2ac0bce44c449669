import { assert } from '../base/assert.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { MetadataImage } from '../metadata/image.ts'
import { decodeMetadataRecord, encodeMetadataRecord } from '../metadata/record-schema.ts'
import type { MetadataRecord } from '../metadata/records.ts'
import { decodeBatch } from '../record/batch.ts'
import { BatchBuilder } from '../record/batch-builder.ts'
import type { Arena } from '../ring/arena.ts'
import type { ShardProxy } from '../shard/shard-proxy.ts'
import { InternalLog } from './internal-log.ts'
import { Turns } from './turns.ts'

/**
 * The metadata log and the image that it adds up to. The log is an ordinary partition (handle 0) on
 * shard 0 that flushes before it acknowledges; a change is applied to the image only after that.
 * Changes run one after another, so that each sees the image that the one before it made. Here is
 * what a broker does that is alone; `cluster/cluster-metadata.ts` is the same for several.
 */
export const METADATA_HANDLE = 0
export const METADATA_BATCH_BYTES_MAX = 8 * 1024 * 1024

const READ_BYTES = 1024 * 1024

export interface Decision<T> {
  readonly records: readonly MetadataRecord[]
  readonly result: T
  /** Runs right after the records have been applied, before anyone else sees the new image. */
  readonly onApplied?: () => void
}

/** What the broker knows of the cluster, and the way to change it. */
export interface MetadataStore {
  readonly image: MetadataImage
  /**
   * Runs `decide` on the current image, makes the records that it returns durable, applies them,
   * and returns its result. `decide` may run several times, as the image may change meanwhile; it
   * does nothing but look and return. Nothing is applied when it rejects with a BrokerError, save
   * where that says that the outcome is not known.
   */
  change<T>(decide: (image: MetadataImage) => Decision<T>): Promise<T>
}

/** Of a broker that is alone. */
export class LocalMetadataStore implements MetadataStore {
  readonly image: MetadataImage
  readonly #log: InternalLog
  readonly #wallMs: () => number
  readonly #turns = new Turns()

  constructor(parts: {
    image: MetadataImage
    shard: ShardProxy
    arena: Arena
    wallMs: () => number
  }) {
    this.image = parts.image
    this.#log = new InternalLog({
      name: 'the metadata log',
      handle: METADATA_HANDLE,
      shard: parts.shard,
      arena: parts.arena,
      leaderEpoch: () => 0,
      readsToLogEnd: true,
    })
    this.#wallMs = parts.wallMs
  }

  /** Applies everything that the log holds. Throws BrokerError when it cannot be read. */
  async replay(onRecord: (record: MetadataRecord) => void = () => undefined): Promise<number> {
    let offset = 0
    let records = 0
    for (;;) {
      const bytes = await this.#log.read(offset, READ_BYTES)
      if (bytes.length === 0) return records
      let at = 0
      while (at < bytes.length) {
        const batch = await decodeBatch(bytes, at, { recordsBytesMax: METADATA_BATCH_BYTES_MAX })
        for (const record of batch) {
          assert(record.value !== null, 'a metadata record has no value')
          const decoded = decodeMetadataRecord(record.value)
          this.image.apply(decoded)
          onRecord(decoded)
          records++
        }
        offset = batch.header.baseOffset + batch.header.lastOffsetDelta + 1
        at += batch.header.bytes
      }
    }
  }

  change<T>(decide: (image: MetadataImage) => Decision<T>): Promise<T> {
    return this.#turns.run(async () => {
      const { records, result, onApplied } = decide(this.image)
      if (records.length > 0) await this.#append(records)
      for (const record of records) this.image.apply(record)
      onApplied?.()
      return result
    })
  }

  async #append(records: readonly MetadataRecord[]): Promise<void> {
    const builder = new BatchBuilder()
    const now = this.#wallMs()
    for (const record of records) builder.append(now, null, encodeMetadataRecord(record))
    const batch = builder.buildSync()
    if (batch.length > METADATA_BATCH_BYTES_MAX || !(await this.#log.append(batch))) {
      throw new BrokerError(ErrorCode.REQUEST_TIMED_OUT, 'change metadata: no memory is free now')
    }
  }
}
