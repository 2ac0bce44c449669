/**
 * Reads a whole log and says what is wrong with it: every batch with its CRC, offsets without a gap
 * except where it is compacted, index entries that point at the batches they promise. For tests,
 * tools and scrubbing; changes nothing.
 */
import type { LogCore } from './log-core.ts'
import type { LogReport } from './log-types.ts'
import type { Segment } from './segment.ts'

/** A broken log repeats itself: the first problems tell enough. */
const PROBLEMS_MAX = 100

export function verifyLog(core: LogCore): LogReport {
  const problems: string[] = []
  let batches = 0
  let bytes = 0
  let expected = core.segments.all[0]?.baseOffset ?? core.logEndOffset
  const report = (problem: string): void => {
    if (problems.length < PROBLEMS_MAX) problems.push(problem)
  }
  for (const segment of core.segments.all) {
    if (segment.baseOffset !== expected) {
      report(`segment ${segment.baseOffset} starts where offset ${expected} is due`)
    }
    const places = walk(core, segment, { expected: segment.baseOffset, report })
    checkIndexes(core, segment, places, report)
    batches += places.size
    bytes += segment.bytes
    for (const place of places.values()) expected = place.lastOffset + 1
  }
  if (expected !== core.logEndOffset)
    report(`the log ends at ${expected}, not ${core.logEndOffset}`)
  return { segments: core.segments.all.length, batches, bytes, problems }
}

interface Place {
  readonly lastOffset: number
  readonly maxTimestamp: number
}

/** Position → batch of one segment. */
function walk(
  core: LogCore,
  segment: Segment,
  at: { expected: number; report: (problem: string) => void },
): Map<number, Place> {
  const places = new Map<number, Place>()
  const { scanner } = core
  let expected = at.expected
  scanner.start(core.segments.open(segment), 0, segment.bytes)
  while (scanner.next()) {
    const where = `segment ${segment.baseOffset}, position ${scanner.position}`
    const isHole = expected < scanner.baseOffset && scanner.baseOffset < core.compactedTo
    if (scanner.baseOffset !== expected && !isHole) {
      at.report(`${where}: offset ${scanner.baseOffset}`)
    }
    if (!scanner.isIntact(core.context.engine)) at.report(`${where}: the CRC does not match`)
    expected = scanner.lastOffset + 1
    places.set(scanner.position, {
      lastOffset: scanner.lastOffset,
      maxTimestamp: scanner.maxTimestamp,
    })
  }
  if (scanner.problem !== null) {
    at.report(`segment ${segment.baseOffset}, after offset ${expected - 1}: ${scanner.problem}`)
  }
  return places
}

function checkIndexes(
  core: LogCore,
  segment: Segment,
  places: ReadonlyMap<number, Place>,
  report: (problem: string) => void,
): void {
  const { offsets, times } = core.segments.indexes(segment, core.options.indexIntervalBytes)
  for (let i = 0; i < offsets.count; i++) {
    const offset = segment.baseOffset + offsets.relativeOffset(i)
    if (places.get(offsets.position(i))?.lastOffset !== offset) {
      report(`segment ${segment.baseOffset}: index entry ${i} (${offset}) points elsewhere`)
    }
  }
  const byLastOffset = new Map([...places.values()].map((p) => [p.lastOffset, p.maxTimestamp]))
  for (let i = 0; i < times.count; i++) {
    const offset = segment.baseOffset + times.relativeOffset(i)
    if (byLastOffset.get(offset) !== times.timestamp(i)) {
      report(`segment ${segment.baseOffset}: time index entry ${i} (${offset}) points elsewhere`)
    }
  }
  let newest = -1
  for (const timestamp of byLastOffset.values()) newest = Math.max(newest, timestamp)
  if (segment.isSealed && (times.count === 0 ? -1 : times.timestamp(times.count - 1)) !== newest) {
    report(`segment ${segment.baseOffset}: the time index does not end with its newest timestamp`)
  }
}
