/**
 * Builds one record batch with this process's checksum and compression; `batch-writer.ts` writes
 * the records. Used by coordinators, converters and tests; belongs to one thread.
 */

import type { BuildOptions } from './batch-writer.ts'
import { type BatchDraft, BatchWriter, draftRecords, finishBatch } from './batch-writer.ts'
import { COMPRESSION_NONE, compress, compressSync } from './compression.ts'
import { crc32c } from './crc32c.ts'

export { type BuildOptions, type RecordContent, recordBytesMax } from './batch-writer.ts'

export class BatchBuilder extends BatchWriter {
  /**
   * Finishes the batch. The result owns its memory: the builder lets go of it and is empty again.
   * Needs at least one record.
   */
  async build(options: BuildOptions = {}): Promise<Uint8Array> {
    const { compression = COMPRESSION_NONE } = options
    if (compression === COMPRESSION_NONE) return this.buildSync(options)
    const draft = this.take()
    return finishBatch(draft, options, crc32c, await compress(compression, draftRecords(draft)))
  }

  /** The same at once, for every codec but zstd (an assertion). */
  buildSync(options: BuildOptions = {}): Uint8Array {
    const { compression = COMPRESSION_NONE } = options
    const draft: BatchDraft = this.take()
    if (compression === COMPRESSION_NONE) return finishBatch(draft, options, crc32c)
    return finishBatch(draft, options, crc32c, compressSync(compression, draftRecords(draft)))
  }
}
