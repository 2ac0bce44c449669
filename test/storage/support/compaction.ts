/**
 * Compacts a log on the disk of a test, at once, and says what is in a log by key.
 */

import { decodeBatchSync } from '../../../src/record/batch.ts'
import { jsBatchEngine } from '../../../src/record/batch-engine-js.ts'
import type {
  CompactionStep,
  CompactionSummary,
} from '../../../src/storage/compaction/compaction-job.ts'
import { compact } from '../../../src/storage/compaction/compaction-run.ts'
import { advance } from '../../../src/storage/compaction/drive.ts'
import type { Files } from '../../../src/storage/files.ts'
import type { PartitionLog } from '../../../src/storage/log.ts'
import { readAll } from './fixture.ts'

export const SECRET = Int32Array.of(0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c)

export interface CompactOptions {
  readonly mapBytesMax?: number
  /** Called before each step: what else happens meanwhile. */
  readonly between?: () => void
}

/** Null when none is due. */
export function compactNow(
  log: PartitionLog,
  parts: { readonly files: Files; readonly wallMs: number },
  options: CompactOptions = {},
): CompactionSummary | null {
  const job = log.startCompaction(parts.wallMs)
  if (job === null) return null
  const steps = compact(job, {
    files: parts.files,
    crc32c: jsBatchEngine.crc32c,
    mapBytesMax: options.mapBytesMax ?? 1 << 20,
    mapLoadFactor: 0.9,
    secret: SECRET,
  })
  let step: CompactionStep | null = null
  for (;;) {
    options.between?.()
    const next = advance(steps, step)
    if (next.done === true) {
      log.endCompaction(next.value.endOffset)
      return next.value
    }
    step = next.value
    if (step.kind !== 'compacted' || log.swapCompacted(step.segment)) continue
    steps.return(undefined as never)
    log.endCompaction(null)
    return null
  }
}

export interface KeyedRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: string
  /** Null = a tombstone. */
  readonly value: string | null
}

/** Every record, without control batches. */
export function recordsIn(log: PartitionLog): KeyedRecord[] {
  const bytes = readAll(log, log.logStartOffset, { upTo: 'logEnd' })
  const text = new TextDecoder()
  const records: KeyedRecord[] = []
  for (let at = 0; at < bytes.length; ) {
    const batch = decodeBatchSync(bytes, at, { recordsBytesMax: 1 << 26 })
    at += batch.header.bytes
    if (batch.header.isControl) continue
    for (const { offset, timestamp, key, value } of batch) {
      records.push({
        offset,
        timestamp,
        key: key === null ? '' : text.decode(key),
        value: value === null ? null : text.decode(value),
      })
    }
  }
  return records
}

/** Key → its last value; keys whose last record is a tombstone are not there. */
export function latestByKey(records: readonly KeyedRecord[]): Map<string, string> {
  const latest = new Map<string, string>()
  for (const { key, value } of records) {
    if (value === null) latest.delete(key)
    else latest.set(key, value)
  }
  return latest
}
