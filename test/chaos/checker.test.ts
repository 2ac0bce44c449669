/** The checker finds each kind of violation where it was planted, and nothing else. */
import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { checkHistory, type Verdict, type ViolationKind } from './checker.ts'
import {
  type Acknowledged,
  HISTORY_SUFFIX,
  HistoryFile,
  type HistoryLine,
  readHistory,
  type SeenEvent,
} from './history.ts'

const P = 'events-0'
const invoke = (producer: string, first: number, count = 1, at = 0): HistoryLine => {
  return { type: 'invoke', at, producer, partition: P, first, count }
}
const ok = (producer: string, events: Acknowledged['events'], at = 1000): HistoryLine => {
  return { type: 'ok', at, producer, partition: P, events }
}
const ended = (type: 'fail' | 'unknown', producer: string, ...sequences: number[]): HistoryLine => {
  return { type, at: 1000, producer, partition: P, sequences, error: 'it was said' }
}
const read = (reader: string, ...events: SeenEvent[]): HistoryLine => {
  return { type: 'read', at: 1000, reader, partition: P, events }
}
const final = (...events: SeenEvent[]): HistoryLine => finalOf('1:0', ...events)
const finalOf = (sender: string, ...events: SeenEvent[]): HistoryLine => {
  return { type: 'final', partition: P, sender, events }
}

/** Three events that were sent, acknowledged and read: the history that the planted ones spoil. */
const SENT = [
  invoke('a', 0, 3),
  ok('a', [
    [0, 0],
    [1, 1],
    [2, 2],
  ]),
]
const LOG: readonly SeenEvent[] = [
  [0, 'a', 0],
  [1, 'a', 1],
  [2, 'a', 2],
]

const PLANTED: Record<ViolationKind, readonly HistoryLine[]> = {
  lost: [...SENT, final(...LOG.slice(0, 2))],
  moved: [invoke('a', 0), ok('a', [[0, 5]]), final([0, 'a', 0])],
  doubled: [...SENT, final(...LOG, [3, 'a', 1])],
  phantom: [...SENT, final(...LOG, [3, 'b', 0])],
  revived: [...SENT, invoke('a', 3), ended('fail', 'a', 3), final(...LOG, [3, 'a', 3])],
  reordered: [invoke('a', 0, 2), final([0, 'a', 1], [1, 'a', 0])],
  inverted: [
    invoke('a', 0),
    ok('a', [[0, 1]], 10),
    invoke('b', 0, 1, 20),
    final([0, 'b', 0], [1, 'a', 0]),
  ],
  gap: [...SENT, invoke('b', 0), final(...LOG, [4, 'b', 0])],
  nonmonotonic: [...SENT, final(...LOG), read('r', ...LOG), read('r', [2, 'a', 2])],
  skipped: [...SENT, final(...LOG), read('r', [0, 'a', 0], [2, 'a', 2])],
  diverged: [...SENT, final(...LOG), read('r', [0, 'a', 0], [1, 'a', 0])],
  vanished: [...SENT, final(...LOG), invoke('b', 0), read('r', [3, 'b', 0])],
  'settled twice': [...SENT, final(...LOG), ok('a', [[0, 0]])],
}

const check = (lines: readonly HistoryLine[]): Verdict => checkHistory(() => lines)

describe('checkHistory', () => {
  for (const [kind, lines] of Object.entries(PLANTED)) {
    test(`finds what is ${kind}, and nothing else`, () => {
      const verdict = check(lines)
      assert.deepEqual(verdict.kinds, { [kind]: 1 }, JSON.stringify(verdict.examples))
      assert.equal(verdict.examples[0]?.kind, kind)
    })
  }

  test('lets an event of unknown outcome be there, once, or not', () => {
    const lines = [
      ...SENT,
      invoke('b', 0, 3),
      ended('unknown', 'b', 0, 1),
      final(...LOG, [3, 'b', 1]),
    ]
    const verdict = check(lines)
    assert.equal(verdict.violations, 0)
    assert.deepEqual(verdict.counts, {
      sent: 6,
      acknowledged: 3,
      failed: 0,
      unknown: 3,
      unknownFound: 1,
      resent: 0,
      inLog: 4,
      read: 0,
      errors: { 'it was said': 2 },
    })
    const twice = check([...lines, final([4, 'b', 1])])
    assert.deepEqual(twice.kinds, { doubled: 1 })
  })

  test('counts what a client has sent again under a new epoch, and holds nobody to it', () => {
    const again = finalOf('1:1', [3, 'a', 1], [4, 'a', 2])
    const verdict = check([invoke('a', 0, 3), ok('a', [[1, 3]]), final(...LOG), again])
    assert.equal(verdict.violations, 0)
    assert.equal(verdict.counts.resent, 2)
    const once = finalOf('1:1', [3, 'a', 1])
    const twice = finalOf('1:1', [4, 'a', 1])
    assert.deepEqual(check([...SENT, final(...LOG), once, twice]).kinds, { doubled: 1 })
  })

  test('takes an acknowledgement without an offset at any offset', () => {
    assert.equal(check([invoke('a', 0), ok('a', [[0, -1]]), final([0, 'a', 0])]).violations, 0)
    assert.deepEqual(check([invoke('a', 0), ok('a', [[0, -1]])]).kinds, { lost: 1 })
  })

  test('takes what was sent at the same time in any order', () => {
    const lines = [
      invoke('a', 0, 1, 5),
      ok('a', [[0, 1]], 10),
      invoke('b', 0, 1, 10),
      ok('b', [[0, 0]], 12),
      final([0, 'b', 0], [1, 'a', 0]),
    ]
    assert.equal(check(lines).violations, 0)
  })

  test('takes a reader that begins anywhere, and another one that begins again', () => {
    const lines = [...SENT, final(...LOG), read('r', ...LOG.slice(1)), read('r2', ...LOG)]
    assert.equal(check(lines).violations, 0)
  })

  test('shows some examples of many violations, and counts all', () => {
    const verdict = check([invoke('a', 0, 100), ok('a', offsets(100))])
    assert.deepEqual(verdict.kinds, { lost: 100 })
    assert.equal(verdict.examples.length, 5)
  })

  test('judges half a million events in seconds', () => {
    const startedMs = performance.now()
    const verdict = checkHistory(() => longHistory(500_000))
    assert.equal(verdict.violations, 0)
    assert.equal(verdict.counts.inLog, 500_000)
    assert.ok(performance.now() - startedMs < 30_000)
  })
})

test('readHistory gives what was appended, without a torn last line', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-history-'))
  try {
    new HistoryFile(directory, 'one').append(...SENT)
    new HistoryFile(directory, 'two').append(final(...LOG))
    appendFileSync(join(directory, `two${HISTORY_SUFFIX}`), '{"type":"re')
    assert.deepEqual([...readHistory(directory)], [...SENT, final(...LOG)])
  } finally {
    rmSync(directory, { recursive: true })
  }
})

function offsets(count: number): [number, number][] {
  return Array.from({ length: count }, (_, index) => [index, index])
}

/** Ten producers whose events interleave, all read by one reader. */
function* longHistory(count: number): Generator<HistoryLine> {
  const random = new Random(1)
  const next = new Map<string, number>()
  for (let offset = 0; offset < count; offset++) {
    const producer = `p${random.below(10)}`
    const sequence = next.get(producer) ?? 0
    next.set(producer, sequence + 1)
    yield invoke(producer, sequence, 1, offset)
    yield ok(producer, [[sequence, offset]], offset + 1)
    yield final([offset, producer, sequence])
    yield read('r', [offset, producer, sequence])
  }
}
