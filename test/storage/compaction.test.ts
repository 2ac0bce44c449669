/** Compaction of a log on a disk in memory: what stays, what goes, and when. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { viewOf } from '../../src/base/bytes.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { BatchBuilder, type BuildOptions } from '../../src/record/batch-builder.ts'
import { jsBatchEngine } from '../../src/record/batch-engine-js.ts'
import { ATTRIBUTES, CRC } from '../../src/record/batch-layout.ts'
import { buildMarkerBatch } from '../../src/record/control-batch.ts'
import { newAppendResult, type PartitionLog } from '../../src/storage/log.ts'
import { compactNow, latestByKey, recordsIn } from './support/compaction.ts'
import { append, Bench, offsetsIn, readAll, refused, START_MS } from './support/fixture.ts'

type Pair = readonly [key: string, value: string | null]

function keyed(pairs: readonly Pair[], options: BuildOptions & { at?: number } = {}): Uint8Array {
  const builder = new BatchBuilder()
  for (const [key, value] of pairs) builder.append(START_MS + (options.at ?? 0), key, value)
  return builder.buildSync(options)
}

function bench(options = {}): Bench {
  return new Bench({ isCompacted: true, segmentBytes: 300, minCleanableDirtyRatio: 0, ...options })
}

/** Rolls what was appended into a sealed, flushed segment behind which a record stands. */
function seal(on: Bench, log: PartitionLog): void {
  log.configure({ ...on.options, segmentBytes: 100 })
  append(log, keyed([['~', 'x']]))
  log.configure(on.options)
  on.flush(log)
}

function compactOn(on: Bench, log: PartitionLog) {
  return compactNow(log, { files: on.files, wallMs: on.clock.wallMs() })
}

function appendControl(log: PartitionLog, marker: Parameters<typeof buildMarkerBatch>[0]): void {
  const run = buildMarkerBatch(marker)
  const out = newAppendResult()
  log.append({ bytes: run, offset: 0, length: run.length }, 0, out, true)
  assert.equal(out.errorCode, 0)
  log.writeStaged()
}

describe('Compaction', () => {
  test('keeps the last record of each key, at its offset', () => {
    const on = bench()
    const log = on.open()
    for (let i = 0; i < 40; i++) append(log, keyed([[`k${i % 3}`, `v${i}`]]))
    seal(on, log)
    const before = recordsIn(log)
    const summary = compactOn(on, log)
    assert(summary !== null && summary.recordsDropped > 30)
    const after = recordsIn(log)
    assert.deepEqual(latestByKey(after), latestByKey(before))
    assert.deepEqual(
      after.map(({ offset }) => offset),
      [37, 38, 39, 40],
    )
    assert.deepEqual(log.verify().problems, [])
    assert.equal(compactOn(on, log), null)
    const next = append(log, keyed([['k0', 'new']]))
    assert.equal(next.baseOffset, 41)
  })

  test('is there again after a close and after a kill', () => {
    for (const isClean of [true, false]) {
      const on = bench()
      let log = on.open()
      for (let i = 0; i < 40; i++) append(log, keyed([[`k${i % 3}`, `v${i}`]]))
      seal(on, log)
      compactOn(on, log)
      const before = recordsIn(log)
      const hint = isClean ? log.close() : log.checkpoint()
      for (const known of [hint, null]) {
        if (!isClean) on.files.kill()
        log = on.open(known)
        assert.deepEqual(recordsIn(log), before)
        assert.deepEqual(log.verify().problems, [])
        assert.equal(log.logEndOffset, 41)
        if (isClean) log.close()
      }
    }
  })

  test('reads from every offset find the next record', () => {
    const on = bench()
    const log = on.open()
    for (let i = 0; i < 40; i++) append(log, keyed([[`k${i % 3}`, `v${i}`]]))
    seal(on, log)
    compactOn(on, log)
    for (let offset = 0; offset <= 40; offset++) {
      const found = offsetsIn(readAll(log, offset))
      assert.equal(found[0] === undefined ? 41 : found[0].last >= offset, true, `${offset}`)
      assert.equal(found.at(-1)?.last, 40)
    }
  })

  test('delete.retention.ms may be as long as it gets', () => {
    for (const deleteRetentionMs of [Infinity, Number.MAX_SAFE_INTEGER]) {
      const on = bench({ deleteRetentionMs })
      const log = on.open()
      const pairs: Pair[] = [
        ['a', '1'],
        ['b', null],
      ]
      append(log, keyed(pairs, { at: 7 }))
      append(log, keyed([['a', null]], { at: 9 }))
      seal(on, log)
      assert.equal(compactOn(on, log)?.recordsDropped, 1)
      const left = recordsIn(log).filter(({ value }) => value === null)
      assert.deepEqual(
        left.map(({ key, timestamp }) => [key, timestamp]),
        [
          ['b', START_MS + 7],
          ['a', START_MS + 9],
        ],
      )
      assert.deepEqual(log.verify().problems, [])
    }
  })

  test('a batch whose timestamps cannot be written anew stays, and stops nothing else', () => {
    const on = bench()
    const log = on.open()
    // The header has the sound one as its largest: nobody looks at single records before.
    for (const odd of [-Number.MAX_SAFE_INTEGER, -(2 ** 53) + START_MS]) {
      const builder = new BatchBuilder()
      builder.append(0, 'odd', 'x')
      builder.append(odd, 'odd', null)
      append(log, builder.buildSync({}))
      append(log, keyed([['a', '1']]))
    }
    seal(on, log)
    const summary = compactOn(on, log)
    assert(summary !== null)
    assert.equal(summary.endOffset, 6)
    assert.equal(recordsIn(log).filter(({ key }) => key === 'a').length, 1)
    assert.deepEqual(log.verify().problems, [])
  })

  test('stamps tombstones at first, and drops them after delete.retention.ms', () => {
    const on = bench({ deleteRetentionMs: 1000 })
    const log = on.open()
    append(
      log,
      keyed([
        ['a', '1'],
        ['b', '1'],
      ]),
    )
    append(
      log,
      keyed(
        [
          ['a', null],
          ['b', null],
          ['c', '1'],
        ],
        { at: 7 },
      ),
    )
    seal(on, log)
    compactOn(on, log)
    const tombstones = () => recordsIn(log).filter(({ value }) => value === null)
    assert.deepEqual(
      tombstones().map(({ key, offset, timestamp }) => [key, offset, timestamp]),
      [
        ['a', 2, START_MS + 7],
        ['b', 3, START_MS + 7],
      ],
    )
    on.clock.ms = 999
    append(log, keyed([['b', '2']]))
    seal(on, log)
    compactOn(on, log)
    assert.deepEqual(
      tombstones().map(({ key }) => key),
      ['a'],
    )
    on.clock.ms = 1000
    append(log, keyed([['d', '1']]))
    seal(on, log)
    compactOn(on, log)
    assert.deepEqual(tombstones(), [])
    assert.deepEqual([...latestByKey(recordsIn(log)).keys()].sort(), ['b', 'c', 'd', '~'])
  })

  for (const compression of [1, 2, 3] as const) {
    test(`compresses with the batch's own codec, ${compression}`, () => {
      const on = bench()
      const log = on.open()
      append(
        log,
        keyed(
          [
            ['a', '1'],
            ['b', '1'],
          ],
          { compression },
        ),
      )
      append(
        log,
        keyed(
          [
            ['a', '2'],
            ['d', null],
          ],
          { compression },
        ),
      )
      seal(on, log)
      compactOn(on, log)
      const bytes = readAll(log, 0)
      assert.equal((bytes[22] as number) & 7, compression)
      assert.deepEqual(
        [...latestByKey(recordsIn(log))],
        [
          ['b', '1'],
          ['a', '2'],
          ['~', 'x'],
        ],
      )
    })
  }

  test('keeps the header of each producer’s last batch', () => {
    const on = bench()
    let log = on.open()
    const idempotent = { producerId: 7, producerEpoch: 0 }
    append(log, keyed([['a', '1']], { ...idempotent, baseSequence: 0 }))
    append(
      log,
      keyed(
        [
          ['a', '2'],
          ['a', '3'],
        ],
        { ...idempotent, baseSequence: 1 },
      ),
    )
    append(log, keyed([['a', '4']]))
    seal(on, log)
    compactOn(on, log)
    assert.deepEqual(
      recordsIn(log).map(({ offset }) => offset),
      [3, 4],
    )
    on.files.kill()
    for (const name of on.files.list('/data/topic-0')) {
      if (name.endsWith('.snapshot')) on.files.remove(on.path(name))
    }
    log = on.open()
    const again = append(
      log,
      keyed(
        [
          ['a', '2'],
          ['a', '3'],
        ],
        { ...idempotent, baseSequence: 1 },
      ),
    )
    assert.equal(again.duplicate, true)
    assert.equal(again.baseOffset, 1)
    append(log, keyed([['a', '5']], { ...idempotent, baseSequence: 3 }))
  })

  test('takes what a transaction aborted for nothing, and keeps markers while they are needed', () => {
    const on = bench({ deleteRetentionMs: 1000 })
    const log = on.open()
    const transactional = { producerId: 7, producerEpoch: 0, transactional: true }
    const marker = { producerId: 7, producerEpoch: 0, coordinatorEpoch: 1, timestampMs: START_MS }
    append(log, keyed([['a', '1']]))
    append(log, keyed([['a', 'no']], { ...transactional, baseSequence: 0 }))
    appendControl(log, { ...marker, committed: false })
    append(log, keyed([['b', '1']], { ...transactional, baseSequence: 1 }))
    appendControl(log, { ...marker, committed: true })
    append(log, keyed([['c', 'open']], { ...transactional, baseSequence: 2 }))
    seal(on, log)
    compactOn(on, log)
    assert.equal(latestByKey(recordsIn(log)).get('c'), 'open', 'nobody decided about it yet')
    appendControl(log, { ...marker, committed: true })
    append(log, keyed([['x', '0']], { ...transactional, baseSequence: 3 }))
    appendControl(log, { ...marker, committed: true })
    seal(on, log)
    const summary = compactOn(on, log)
    assert(summary !== null)
    assert.deepEqual(latestByKey(recordsIn(log)).get('a'), '1')
    const markers = () => offsetsIn(readAll(log, 0)).map(({ base }) => base)
    assert(markers().includes(2), 'the marker of the aborted one waits for its horizon')
    on.clock.ms = 5000
    for (let i = 0; i < 3; i++) {
      append(
        log,
        keyed([
          ['c', `${i}`],
          ['b', `${i}`],
        ]),
      )
      seal(on, log)
      compactOn(on, log)
      on.clock.ms += 5000
    }
    assert(!markers().includes(2))
    assert.deepEqual(log.verify().problems, [])
  })

  test('waits for min.compaction.lag.ms, and not longer than max.compaction.lag.ms', () => {
    const on = bench({ minCompactionLagMs: 1000 })
    const log = on.open()
    for (let i = 0; i < 10; i++) append(log, keyed([['a', `${i}`]]))
    seal(on, log)
    assert.equal(log.compactionDueAtMs(START_MS + 999), START_MS + 1000)
    assert.equal(log.startCompaction(START_MS + 999), null)
    on.clock.ms = 1000
    assert(compactOn(on, log) !== null)

    const other = bench({ minCleanableDirtyRatio: 1, maxCompactionLagMs: 5000 })
    const late = other.open()
    for (let i = 0; i < 10; i++) append(late, keyed([['a', `${i}`]]))
    seal(other, late)
    assert.equal(late.compactionDueAtMs(START_MS), START_MS + 5001)
    other.clock.ms = 5001
    assert(compactOn(other, late) !== null)
  })

  test('goes on where the map was full', () => {
    const on = bench()
    const log = on.open()
    for (let i = 0; i < 60; i++) append(log, keyed([[`k${i % 20}`, `v${i}`]]))
    seal(on, log)
    const before = latestByKey(recordsIn(log))
    let rounds = 0
    for (;;) {
      const parts = { files: on.files, wallMs: on.clock.wallMs() }
      if (compactNow(log, parts, { mapBytesMax: 24 * 10 }) === null) break
      assert.deepEqual(latestByKey(recordsIn(log)), before)
      assert(++rounds < 20)
    }
    assert(rounds > 3)
    assert.equal(recordsIn(log).length, 21)
  })

  test('a record without a key is refused, unless it is compressed with zstd', () => {
    const on = bench()
    const log = on.open()
    for (const compression of [0, 1, 2, 3] as const) {
      const builder = new BatchBuilder()
      builder.append(START_MS, 'k', 'v')
      builder.append(START_MS, null, 'v')
      assert.equal(refused(log, builder.buildSync({ compression })), ErrorCode.INVALID_RECORD)
    }
    append(log, keyed([['', 'an empty key is one']]))
    const malformed = keyed([['k', 'v']])
    malformed[61] = 0x7f
    const view = viewOf(malformed)
    view.setUint32(CRC, jsBatchEngine.crc32c(malformed, ATTRIBUTES, malformed.length))
    assert.equal(refused(log, malformed), ErrorCode.INVALID_RECORD)
    on.options = { ...on.options, isCompacted: false }
    log.configure(on.options)
    const builder = new BatchBuilder()
    builder.append(START_MS, null, 'v')
    append(log, builder.buildSync({}))
  })

  test('a damaged batch stops it: nothing bad gets a new checksum', () => {
    const on = bench()
    const log = on.open()
    for (let i = 0; i < 40; i++) append(log, keyed([[`k${i % 3}`, `v${i}`]]))
    seal(on, log)
    const name = '00000000000000000000.log'
    const content = on.files.contentOf(on.path(name)).slice()
    content[70] = (content[70] as number) ^ 1
    on.files.tamper(on.path(name), content)
    assert.throws(() => compactOn(on, log), /compact segment 0 .* CRC/)
  })
})
