import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { FileId, Files } from '../../src/storage/files.ts'
import {
  PageCacheWindow,
  STEPS_BEHIND_MAX,
  STEPS_PER_DROP,
  STEPS_PER_START,
  TAIL_STEPS,
} from '../../src/storage/page-cache-window.ts'
import { NO_FILE, Segment } from '../../src/storage/segment.ts'
import { append, Bench, batch, concat, stage } from './support/fixture.ts'
import { MemoryFiles } from './support/memory-files.ts'

interface Hint {
  readonly kind: 'write' | 'drop'
  readonly file: FileId
  readonly from: number
  readonly to: number
}

/** Notes every hint; a hint on a file that is not open throws, as it does on a real disk. */
function watchHints(files: MemoryFiles): Hint[] {
  const hints: Hint[] = []
  const note = (kind: Hint['kind']) => (file: FileId, from: number, length: number) => {
    assert(files.size(file) >= 0 && from >= 0 && length > 0)
    hints.push({ kind, file, from, to: from + length })
    return true
  }
  const disk: Files = files
  disk.startWriteback = note('write')
  disk.dropCached = note('drop')
  return hints
}

/** What was hinted, steps of one file that follow each other in one. */
function joined(hints: readonly Hint[]): [Hint['kind'], number, number][] {
  const ranges: { kind: Hint['kind']; file: FileId; from: number; to: number }[] = []
  for (const hint of hints) {
    const last = ranges.at(-1)
    const goesOn = last?.file === hint.file && last.kind === hint.kind && last.to === hint.from
    if (goesOn) last.to = hint.to
    else ranges.push({ ...hint })
  }
  return ranges.map(({ kind, from, to }) => [kind, from, to])
}

/** A segment of `bytes` written bytes, its file open unless told otherwise. */
function segmentOf(files: MemoryFiles, at: number, bytes: number): Segment {
  const segment = new Segment(at, false)
  segment.file = files.open(`/${at}`, 'create')
  segment.bytes = bytes
  return segment
}

function closeFile(files: MemoryFiles, segment: Segment): void {
  files.close(segment.file)
  segment.file = NO_FILE
}

describe('PageCacheWindow.advance', () => {
  test('hints nothing about a closed file, when one write rolls more than stay open', () => {
    const bench = new Bench({ segmentBytes: 300, writeBehindBytes: 1, pageCacheWindowBytes: 100 })
    const log = bench.open()
    append(log, batch())
    const hints = watchHints(bench.files)
    const run = Array.from({ length: 40 }, () => batch({ valueBytes: 40 }))
    stage(log, concat(run))
    log.writeStaged()
    assert(log.segmentCount > 15)
    assert.deepEqual(log.verify().problems, [])
    const started = new Set(hints.filter(({ kind }) => kind === 'write').map(({ file }) => file))
    assert(started.size > 0 && started.size < log.segmentCount)
    append(log, batch())
    bench.flush(log)
    log.close()
    assert.equal(bench.files.openFiles, 0)
  })

  test('a disk that is behind is asked again at the next step, and waited for after many', () => {
    const files = new MemoryFiles()
    const asked: { from: number; to: number; mayWait: boolean }[] = []
    let isBusy = true
    const disk: Files = files
    disk.startWriteback = (_file, from, length, mayWait) => {
      asked.push({ from, to: from + length, mayWait })
      return !isBusy || mayWait
    }
    const dropped: number[] = []
    disk.dropCached = (_file, from, length) => dropped.push(from + length)
    const window = new PageCacheWindow(files)
    const segment = segmentOf(files, 0, 0)
    const last = STEPS_BEHIND_MAX * 100
    for (segment.bytes = 0; segment.bytes < last; segment.bytes += 100) {
      window.advance(segment, 100, 300)
      assert.deepEqual(dropped, [], 'what is not written stays')
    }
    const steps = STEPS_BEHIND_MAX - 1 - TAIL_STEPS
    assert.deepEqual(
      asked,
      Array.from({ length: steps }, (_, i) => {
        return { from: 0, to: Math.min(i + 1, STEPS_PER_START) * 100, mayWait: false }
      }),
    )
    asked.length = 0
    const full = STEPS_PER_START * 100
    window.advance(segment, 100, 300)
    assert.deepEqual(asked, [
      { from: 0, to: full, mayWait: true },
      { from: full, to: 2 * full, mayWait: false },
    ])
    isBusy = false
    asked.length = 0
    window.advance(segment, 100, 300)
    assert.equal(asked[0]?.from, full, 'the rest, a few steps at a time')
    for (const [i, { from }] of asked.entries()) assert.equal(from, asked[i - 1]?.to ?? full)
    assert(asked.every(({ from, to, mayWait }) => to - from <= full && !mayWait))
    assert.equal(asked.at(-1)?.to, last - TAIL_STEPS * 100, 'but not where writes go on')
  })

  test('starts and drops each byte once, in order, also across a roll', () => {
    const files = new MemoryFiles()
    const hints = watchHints(files)
    const window = new PageCacheWindow(files)
    const first = segmentOf(files, 0, 0)
    for (first.bytes = 0; first.bytes < 1000; first.bytes += 100) window.advance(first, 100, 300)
    const second = segmentOf(files, 1, 0)
    const steps = 2 * STEPS_PER_DROP + 3
    const end = (steps + TAIL_STEPS) * 100
    for (second.bytes = 50; second.bytes <= end; second.bytes += 50) {
      window.advance(second, 100, 300)
    }
    const endOf = (file: FileId, kind: Hint['kind']): number => {
      let end = 0
      for (const hint of hints) {
        if (hint.file !== file || hint.kind !== kind) continue
        assert.equal(hint.from, end)
        end = hint.to
      }
      return end
    }
    assert.deepEqual([endOf(first.file, 'write'), endOf(first.file, 'drop')], [1000, 1000])
    assert.equal(endOf(second.file, 'write'), steps * 100)
    assert.equal(endOf(second.file, 'drop'), 2 * STEPS_PER_DROP * 100)
  })

  test('drops what leaves the window, however small the segments are', () => {
    for (const count of [10, 200]) {
      const files = new MemoryFiles()
      const hints = watchHints(files)
      const window = new PageCacheWindow(files)
      const segments = Array.from({ length: count }, (_, i) => segmentOf(files, i, 1000))
      for (const segment of segments) window.advance(segment, 100, 3000)
      const dropped = new Map<FileId, number>()
      for (const { kind, file, to } of hints) if (kind === 'drop') dropped.set(file, to)
      // The first one was there before; the last four are in the window.
      const whole = segments.filter(({ file }) => dropped.get(file) === 1000)
      assert(whole.length >= count - 5 && whole.length < count, `${whole.length} of ${count}`)
      assert(window.keptBytes <= 4000)
    }
  })

  test('leaves the segment before alone, when it was closed at the roll or after it', () => {
    for (const closesEarly of [true, false]) {
      const files = new MemoryFiles()
      const hints = watchHints(files)
      const window = new PageCacheWindow(files)
      const first = segmentOf(files, 0, 0)
      window.advance(first, 100, 500)
      first.bytes = 750
      window.advance(first, 100, 500)
      first.bytes = 799 // Less than a step more: still to be started when the segment is rolled.
      if (closesEarly) closeFile(files, first)
      const second = segmentOf(files, 1, 50)
      window.advance(second, 100, 500)
      if (!closesEarly) closeFile(files, first)
      second.bytes = 650
      window.advance(second, 100, 500)
      // What is left of the first when it is rolled is started, unless it is closed already.
      const firstEnd = closesEarly ? 500 : 799
      assert.deepEqual(joined(hints), [
        ['write', 0, firstEnd],
        ['write', 0, 400],
      ])
    }
  })
})
