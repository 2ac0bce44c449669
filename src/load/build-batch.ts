/** Record batches of what the load sends. */
import { BatchBuilder } from '../record/batch-builder.ts'
import { COMPRESSION_NAMES, type CompressionCode } from '../record/compression-code.ts'
import type { Compression, LoadRecord } from './driver.ts'

export function compressionCode(name: Compression): CompressionCode {
  return COMPRESSION_NAMES.indexOf(name) as CompressionCode
}

/** One batch in Kafka's format. No producer id: it may be sent as often as wanted. */
export function buildRecordBatch(
  records: readonly LoadRecord[],
  compression: Compression,
): Promise<Uint8Array> {
  const builder = new BatchBuilder()
  const timestamp = Date.now()
  for (const { key, value } of records) builder.append(timestamp, key, value)
  return builder.build({ compression: compressionCode(compression) })
}
