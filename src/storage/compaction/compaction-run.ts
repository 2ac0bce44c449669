/**
 * The compaction of a log, as steps: whoever drives them decides when, and does what may be
 * asynchronous. Two passes, as in Kafka's cleaner: the first notes the latest offset of every key
 * of the dirty part, as far as the map has room; the second writes every segment up to there anew
 * without the records that a later one replaces, small ones together, the oldest first.
 *
 * Every segment that it writes ends with the last offset of its range, if need be in a batch
 * without records: so segments join without a gap, and a hole between batches is the only kind.
 */
import { viewOf } from '../../base/bytes.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { type BatchHeader, batchMaxTimestamp, parseHeader } from '../../record/batch-header.ts'
import { ATTRIBUTES, BATCH_HEADER_BYTES, CRC } from '../../record/batch-layout.ts'
import { COMPRESSION_NONE } from '../../record/compression-code.ts'
import { CONTROL_ABORT, CONTROL_COMMIT, decodeControlKey } from '../../record/control-batch.ts'
import { RecordError } from '../../record/record-error.ts'
import { readRecords } from '../../record/record-reader.ts'
import { RecordSlices } from '../../record/record-slices.ts'
import { BatchScanner } from '../batch-scanner.ts'
import type { FileId } from '../files.ts'
import { OFFSET_ENTRY_BYTES } from '../offset-index.ts'
import { RELATIVE_OFFSET_MAX } from '../segment.ts'
import { joinPath, LOG_SUFFIX, offsetName } from '../segment-names.ts'
import { BatchFilter, emptyBatch, type Kept, rebuildBatch } from './batch-filter.ts'
import type {
  CompactionJob,
  CompactionStep,
  CompactionSteps,
  CompactionTools,
  InputSegment,
} from './compaction-job.ts'
import { PRODUCER_WORDS } from './compaction-job.ts'
import { OffsetMap } from './offset-map.ts'
import { SegmentWriter } from './segment-writer.ts'
import { Transactions } from './transactions.ts'

/** Most bytes of one batch once decompressed; one that has more stays as it is. */
export const INFLATED_BYTES_MAX = 64 * 1024 * 1024
const PACE_BYTES = 256 * 1024

type Inner<T> = Generator<CompactionStep, T, Uint8Array | undefined>

/** Runs a job. Throws BrokerError: CORRUPT_MESSAGE when a segment is damaged, else the disk's. */
export function* compact(job: CompactionJob, tools: CompactionTools): CompactionSteps {
  return yield* new CompactionRun(job, tools).run()
}

class CompactionRun {
  readonly #job: CompactionJob
  readonly #tools: CompactionTools
  readonly #scanner: BatchScanner
  readonly #map: OffsetMap
  readonly #filter: BatchFilter
  readonly #slices = new RecordSlices()
  /** Producer → epoch and last offset with data. */
  readonly #producers = new Map<number, { epoch: number; lastOffset: number }>()
  #transactions: Transactions | null = null
  /** First offset whose records are not in the map. */
  #mapEnd: number
  #bytesRead = 0
  #bytesWritten = 0
  #unpaced = 0

  constructor(job: CompactionJob, tools: CompactionTools) {
    this.#job = job
    this.#tools = tools
    this.#scanner = new BatchScanner(tools.files)
    this.#map = new OffsetMap(tools.mapBytesMax, tools.mapLoadFactor, tools.secret)
    const { nowMs, deleteRetentionMs, producers } = job
    this.#filter = new BatchFilter({ map: this.#map, nowMs, deleteRetentionMs })
    this.#mapEnd = job.segments.at(-1)?.endOffset ?? 0
    for (let at = 0; at < producers.length; at += PRODUCER_WORDS) {
      this.#producers.set(producers[at] as number, {
        epoch: producers[at + 1] as number,
        lastOffset: producers[at + 2] as number,
      })
    }
  }

  *run(): CompactionSteps {
    yield* this.#mapKeys()
    if (this.#mapEnd > this.#job.firstDirtyOffset) {
      for (const group of this.#groups()) yield* this.#compactGroup(group)
    }
    return {
      endOffset: Math.max(this.#mapEnd, this.#job.firstDirtyOffset),
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
      recordsDropped: this.#filter.recordsDropped,
      keys: this.#map.count,
      mapBytes: this.#map.bytes,
    }
  }

  // —— first pass ——

  *#mapKeys(): Inner<void> {
    const { segments, firstDirtyOffset } = this.#job
    for (const segment of segments) {
      if (segment.endOffset <= firstDirtyOffset) continue
      const file = this.#open(segment)
      try {
        this.#scanner.start(file, 0, segment.bytes, true)
        while (this.#scanner.next()) {
          if (this.#scanner.lastOffset < firstDirtyOffset) continue
          const content = this.#content(segment)
          if (!(yield* this.#mapBatch(content))) return
          yield* this.#pace(content.length)
        }
        this.#checkWalk(segment)
      } finally {
        this.#tools.files.close(file)
      }
    }
  }

  /** False when it and what follows must wait for another run. */
  *#mapBatch(content: Uint8Array): Inner<boolean> {
    const header = headerOf(content)
    if (header === null || header.isControl || header.recordsCount === 0) return true
    if (header.isTransactional) {
      const end = (yield* this.#knownTransactions()).endOf(header.producerId, header.baseOffset)
      if (end === 'open') {
        this.#mapEnd = header.baseOffset
        return false
      }
      if (end === 'aborted') return true
    }
    const records = yield* this.#recordsOf(header, content)
    if (records === null || this.#putKeys(header, records)) return true
    // What of it is in the map is true all the same.
    this.#mapEnd = header.baseOffset
    if (this.#mapEnd > this.#job.firstDirtyOffset) return false
    const batch = `the batch at ${header.baseOffset} of ${this.#job.directory}`
    const what = `compact ${batch}: its keys need more than log.cleaner.dedupe.buffer.size`
    throw new BrokerError(ErrorCode.CORRUPT_MESSAGE, what)
  }

  #putKeys(header: BatchHeader, records: Uint8Array): boolean {
    const slices = this.#slices
    slices.walk(records, header.recordsCount, header.lastOffsetDelta)
    try {
      while (slices.next()) {
        const { keyStart, keyBytes, offsetDelta } = slices
        if (keyBytes < 0) continue
        const offset = header.baseOffset + offsetDelta
        if (!this.#map.put(records, keyStart, keyStart + keyBytes, offset)) return false
      }
    } catch (error) {
      // It stays as it is. Keys before the bad place count: their records are there.
      if (!(error instanceof RecordError)) throw error
    }
    return true
  }

  // —— second pass ——

  /** Neighbours that together make no more than one segment. */
  #groups(): InputSegment[][] {
    const { segmentBytes, segmentIndexBytes, indexIntervalBytes } = this.#job
    const groups: InputSegment[][] = []
    let bytes = 0
    let group: InputSegment[] = []
    const entryEvery = Math.max(indexIntervalBytes, BATCH_HEADER_BYTES)
    for (const segment of this.#job.segments) {
      if (segment.baseOffset >= this.#mapEnd) break
      const first = group[0]
      const together = bytes + segment.bytes
      const fits =
        first !== undefined &&
        together <= segmentBytes &&
        (together / entryEvery) * OFFSET_ENTRY_BYTES <= segmentIndexBytes &&
        segment.endOffset - 1 - first.baseOffset <= RELATIVE_OFFSET_MAX
      if (!fits) {
        group = []
        groups.push(group)
        bytes = 0
      }
      group.push(segment)
      bytes += segment.bytes
    }
    return groups
  }

  *#compactGroup(group: readonly InputSegment[]): Inner<void> {
    const { directory, indexIntervalBytes } = this.#job
    const { files } = this.#tools
    const range = {
      baseOffset: (group[0] as InputSegment).baseOffset,
      endOffset: (group.at(-1) as InputSegment).endOffset,
    }
    const writer = new SegmentWriter(files, { directory, range }, indexIntervalBytes)
    let isChanged = group.length > 1
    try {
      for (const segment of group) {
        const file = this.#open(segment)
        try {
          this.#scanner.start(file, 0, segment.bytes, true)
          while (this.#scanner.next()) {
            const content = this.#content(segment)
            const isLast = this.#scanner.lastOffset === range.endOffset - 1
            const left = yield* this.#compactBatch(content, isLast)
            if (left !== content) isChanged = true
            if (left !== null) this.#write(writer, left, content)
            yield* this.#pace(content.length + (left?.length ?? 0))
          }
          this.#checkWalk(segment)
          files.dropCached(file, 0, segment.bytes)
        } finally {
          files.close(file)
        }
      }
      // What nothing went from stays as it is.
      if (isChanged) yield { kind: 'compacted', segment: writer.finish() }
      else writer.discard()
    } finally {
      writer.close()
    }
  }

  #write(writer: SegmentWriter, batch: Uint8Array, original: Uint8Array): void {
    const { lastOffset } = this.#scanner
    const isOriginal = batch === original
    const maxTimestamp = isOriginal
      ? this.#scanner.maxTimestamp
      : batchMaxTimestamp(viewOf(batch), 0)
    writer.add(batch, { lastOffset, maxTimestamp })
    this.#bytesWritten += batch.length
  }

  /** The batch itself, what is left of it, or null. */
  *#compactBatch(content: Uint8Array, isLastOfSegment: boolean): Inner<Uint8Array | null> {
    const header = headerOf(content)
    if (header === null || header.baseOffset >= this.#mapEnd) return content
    const left = header.isControl
      ? yield* this.#compactControl(header, content)
      : yield* this.#compactData(header, content)
    if (left !== null) return left
    const { crc32c } = this.#tools
    if (this.#isLastOfProducer(header)) {
      return header.recordsCount === 0 ? content : emptyBatch(content, false, crc32c)
    }
    if (!isLastOfSegment) return null
    const isFiller = header.recordsCount === 0 && header.producerId < 0
    return isFiller ? content : emptyBatch(content, true, crc32c)
  }

  *#compactData(header: BatchHeader, content: Uint8Array): Inner<Uint8Array | null> {
    let transactions: Transactions | null = null
    if (header.isTransactional) {
      transactions = yield* this.#knownTransactions()
      transactions.passData(header)
    }
    if (header.recordsCount === 0) return null
    if (transactions !== null) {
      const end = transactions.endOf(header.producerId, header.baseOffset)
      if (end === 'open') return content
      if (end === 'aborted') {
        this.#filter.recordsDropped += header.recordsCount
        return null
      }
    }
    const records = yield* this.#recordsOf(header, content)
    if (records === null) return content
    const kept = orAsItIs(() => this.#filter.filter(header, records))
    if (kept === 'all') return content
    return kept.count === 0 ? null : yield* this.#rebuild(header, content, kept)
  }

  *#compactControl(header: BatchHeader, content: Uint8Array): Inner<Uint8Array | null> {
    if (header.recordsCount === 0) return null
    const records = yield* this.#recordsOf(header, content)
    if (records === null || markerType(header, records) === null) return content
    const transactions = yield* this.#knownTransactions()
    if (!transactions.passMarker(header)) return content
    if (this.#filter.isPastHorizon(header)) return null
    if (header.hasDeleteHorizon) return content
    const kept = orAsItIs(() => this.#filter.stamp(header, records))
    return kept === 'all' ? content : yield* this.#rebuild(header, content, kept)
  }

  *#rebuild(header: BatchHeader, content: Uint8Array, kept: Kept): Inner<Uint8Array> {
    let packed: Uint8Array = kept.records
    if (header.compression !== COMPRESSION_NONE) {
      packed = given(yield { kind: 'compress', code: header.compression, bytes: kept.records })
    }
    return rebuildBatch(content, kept, packed, this.#tools.crc32c)
  }

  #isLastOfProducer(header: BatchHeader): boolean {
    if (header.producerId < 0) return false
    const last = this.#producers.get(header.producerId)
    if (last === undefined) return false
    if (last.lastOffset >= 0) return header.baseOffset + header.lastOffsetDelta === last.lastOffset
    return header.isControl && header.producerEpoch === last.epoch
  }

  // —— both ——

  /** Every marker of the segments; looked for once, when the first transaction is met. */
  *#knownTransactions(): Inner<Transactions> {
    if (this.#transactions !== null) return this.#transactions
    const transactions = new Transactions()
    const scanner = new BatchScanner(this.#tools.files) // The other one is in the middle of a walk.
    for (const segment of this.#job.segments) {
      const file = this.#open(segment)
      try {
        scanner.start(file, 0, segment.bytes)
        while (scanner.next()) {
          yield* this.#pace(BATCH_HEADER_BYTES)
          const content = scanner.isControl ? scanner.content() : null
          if (content === null) continue
          const header = headerOf(content)
          if (header === null || header.recordsCount === 0) continue
          const type = markerType(header, content.subarray(BATCH_HEADER_BYTES))
          if (type === null) continue
          const isCommit = type === CONTROL_COMMIT
          transactions.addMarker(header.producerId, header.baseOffset, isCommit)
        }
      } finally {
        this.#tools.files.close(file)
      }
    }
    this.#transactions = transactions
    return transactions
  }

  /** The batch's records decompressed; null when that is not possible: it stays as it is. */
  *#recordsOf(header: BatchHeader, content: Uint8Array): Inner<Uint8Array | null> {
    const bytes = content.subarray(BATCH_HEADER_BYTES)
    const code = header.compression
    if (code === COMPRESSION_NONE) return bytes
    try {
      return given(yield { kind: 'decompress', code, bytes, bytesMax: INFLATED_BYTES_MAX })
    } catch (error) {
      if (error instanceof RecordError) return null
      throw error
    }
  }

  #open(segment: InputSegment): FileId {
    const path = joinPath(this.#job.directory, offsetName(segment.baseOffset, LOG_SUFFIX))
    return this.#tools.files.open(path, 'read')
  }

  /** The scanner's batch, which must be sound: what is written anew gets a new checksum. */
  #content(segment: InputSegment): Uint8Array {
    const { position, baseOffset, lastOffset } = this.#scanner
    if (baseOffset < segment.baseOffset || lastOffset >= segment.endOffset) {
      throw this.#damaged(segment, `offsets ${baseOffset} to ${lastOffset} at ${position}`)
    }
    const content = this.#scanner.content()
    if (content === null) throw this.#damaged(segment, `the file ends in the batch at ${position}`)
    const crc = this.#tools.crc32c(content, ATTRIBUTES, content.length) >>> 0
    if (crc !== viewOf(content).getUint32(CRC))
      throw this.#damaged(segment, `the CRC at position ${position}`)
    this.#bytesRead += content.length
    return content
  }

  #checkWalk(segment: InputSegment): void {
    const { problem, lastOffset } = this.#scanner
    if (problem !== null) throw this.#damaged(segment, problem)
    if (lastOffset === segment.endOffset - 1) return
    throw this.#damaged(segment, `it ends at ${lastOffset}, not before ${segment.endOffset}`)
  }

  #damaged(segment: InputSegment, what: string): BrokerError {
    const where = `segment ${segment.baseOffset} of ${this.#job.directory}`
    return new BrokerError(ErrorCode.CORRUPT_MESSAGE, `compact ${where}: ${what}`)
  }

  *#pace(bytes: number): Inner<void> {
    this.#unpaced += bytes
    if (this.#unpaced < PACE_BYTES) return
    yield { kind: 'pace', bytes: this.#unpaced }
    this.#unpaced = 0
  }
}

/** Null for a header that no decoder takes though the log did: its batch stays as it is. */
function headerOf(content: Uint8Array): BatchHeader | null {
  try {
    return parseHeader(content, 0, null)
  } catch (error) {
    if (error instanceof RecordError) return null
    throw error
  }
}

/** A batch that cannot be written anew stays, all of it. */
function orAsItIs(filter: () => Kept | 'all'): Kept | 'all' {
  try {
    return filter()
  } catch (error) {
    if (error instanceof RecordError) return 'all'
    throw error
  }
}

/** CONTROL_ABORT or CONTROL_COMMIT; null for any other control record. */
function markerType(header: BatchHeader, records: Uint8Array): number | null {
  try {
    for (const { key } of readRecords(records, header)) {
      const { type } = decodeControlKey(key)
      return type === CONTROL_ABORT || type === CONTROL_COMMIT ? type : null
    }
  } catch (error) {
    if (!(error instanceof RecordError)) throw error
  }
  return null
}

function given(bytes: Uint8Array | undefined): Uint8Array {
  if (bytes === undefined) throw new TypeError('a codec gave nothing')
  return bytes
}
