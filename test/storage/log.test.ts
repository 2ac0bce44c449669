import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { decodeBatchSync } from '../../src/record/batch.ts'
import { firstRecordAtOrAfter, PartitionLog } from '../../src/storage/log.ts'
import {
  append,
  Bench,
  batch,
  concat,
  DIRECTORY,
  offsetsIn,
  readAll,
  refused,
  START_MS,
  stage,
} from './support/fixture.ts'

describe('PartitionLog.append', () => {
  test('a log never written to owns no file, also after close', () => {
    const bench = new Bench()
    const log = bench.open()
    assert.deepEqual([log.logStartOffset, log.logEndOffset, log.highWatermark], [0, 0, 0])
    const hint = log.close()
    assert.equal(hint.clean, true)
    assert.deepEqual(bench.files.paths(), [])
    assert.equal(bench.files.exists(DIRECTORY), false)
  })

  test('assigns consecutive offsets and leader epoch, and keeps the records', () => {
    const bench = new Bench()
    const log = bench.open()
    const first = append(log, batch({ records: 3, fill: 7 }), 4)
    const second = append(log, concat([batch({ records: 2 }), batch({ records: 5 })]), 4)
    assert.deepEqual([first.baseOffset, first.endOffset], [0, 3])
    assert.deepEqual([second.baseOffset, second.endOffset], [3, 10])
    assert.equal(log.logEndOffset, 10)
    const bytes = readAll(log, 0)
    assert.deepEqual(offsetsIn(bytes), [
      { base: 0, last: 2 },
      { base: 3, last: 4 },
      { base: 5, last: 9 },
    ])
    const decoded = decodeBatchSync(bytes, 0, { recordsBytesMax: 1000 })
    assert.equal(decoded.header.leaderEpoch, 4)
    assert.deepEqual(
      [...decoded].map((record) => record.value?.[0]),
      [7, 7, 7],
    )
    assert.equal(log.bytes, bytes.length)
  })

  test('staged batches are invisible until written, then one gathering write', () => {
    const bench = new Bench()
    const log = bench.open()
    const runs = [batch(), batch({ records: 2 }), batch()]
    const memory = concat([runs[0]!, new Uint8Array(5), runs[1]!, runs[2]!])
    const out = stage(log, memory.subarray(0, runs[0]!.length))
    assert.equal(out.baseOffset, 0)
    log.writeStaged()
    const writes = bench.files.counters.writes
    for (const run of runs) assert.equal(stage(log, run).errorCode, 0)
    assert.deepEqual([log.logEndOffset, log.highWatermark, log.hasStaged], [1, 1, true])
    assert.equal(readAll(log, 0, { upTo: 'logEnd' }).length, runs[0]!.length)
    log.writeStaged()
    assert.deepEqual([log.logEndOffset, log.highWatermark, log.hasStaged], [5, 5, false])
    // Three memories: three writes. Runs of one memory are gathered.
    assert.equal(bench.files.counters.writes - writes, 3)
    const before = bench.files.counters.writes
    let at = 0
    for (const run of [runs[0]!, new Uint8Array(5), runs[1]!, runs[2]!]) {
      const result = { errorCode: 0, errorMessage: null } as never
      if (run.length > 5) log.append({ bytes: memory, offset: at, length: run.length }, 0, result)
      at += run.length
    }
    log.writeStaged()
    assert.equal(bench.files.counters.writes - before, 1)
    assert.equal(log.logEndOffset, 9)
    assert.deepEqual(log.verify().problems, [])
  })

  test('refuses what cannot be stored and stays as it was', () => {
    const bench = new Bench({ segmentBytes: 4096, batchBytesMax: 8192 })
    const log = bench.open()
    assert.equal(refused(log, batch({ valueBytes: 5000 })), ErrorCode.RECORD_LIST_TOO_LARGE)
    assert.equal(refused(log, batch({ valueBytes: 9000 })), ErrorCode.MESSAGE_TOO_LARGE)
    const damaged = batch()
    damaged[70]! ^= 1
    assert.equal(refused(log, damaged), ErrorCode.CORRUPT_MESSAGE)
    const late = batch({ timestamp: START_MS + 2 * 3600_000 })
    assert.equal(refused(log, late), ErrorCode.INVALID_TIMESTAMP)
    log.configure({ ...bench.options, timestampBeforeMaxMs: 1000 })
    assert.equal(refused(log, batch({ timestamp: START_MS - 1001 })), ErrorCode.INVALID_TIMESTAMP)
    append(log, batch({ timestamp: START_MS - 1000 }), 5)
    assert.equal(refused(log, batch(), 4), ErrorCode.FENCED_LEADER_EPOCH)
    assert.equal(log.logEndOffset, 1)
    assert.equal(log.hasStaged, false)
  })

  test('LogAppendTime stamps the clock and says so', () => {
    const bench = new Bench({ timestampType: 'LogAppendTime' })
    bench.clock.ms = 5000
    const log = bench.open()
    const out = append(log, batch({ timestamp: 12 }))
    assert.equal(out.appendTimeMs, START_MS + 5000)
    const decoded = decodeBatchSync(readAll(log, 0), 0, { recordsBytesMax: 1000 })
    assert.equal([...decoded][0]!.timestamp, START_MS + 5000)
  })

  test('rolls by size: no segment above segment.bytes, each named by its first offset', () => {
    const bench = new Bench({ segmentBytes: 300, indexIntervalBytes: 0 })
    const log = bench.open()
    for (let i = 0; i < 9; i++) append(log, batch({ valueBytes: 40 }))
    append(log, concat([1, 2, 3, 4, 5, 6, 7].map(() => batch({ valueBytes: 40 }))))
    const logs = bench.files.paths().filter((path) => path.endsWith('.log'))
    assert.equal(log.segmentCount, logs.length)
    assert(logs.length > 5)
    for (const path of logs) assert(bench.files.contentOf(path).length <= 300)
    for (const path of logs) {
      const base = Number(path.slice(-24, -4))
      assert.equal(offsetsIn(bench.files.contentOf(path))[0]!.base, base)
    }
    assert.deepEqual(log.verify().problems, [])
    assert.equal(readAll(log, 0, { maxBytes: 64 }).length, log.bytes)
    for (let offset = 0; offset < 16; offset++) {
      assert.equal(offsetsIn(readAll(log, offset))[0]!.base, offset)
    }
  })

  test('rolls up to segment.jitter.ms earlier, each partition and segment by its own', () => {
    const ages = new Set<number>()
    for (let i = 0; i < 20; i++) {
      const bench = new Bench({ segmentMs: 1000, segmentJitterMs: 400 })
      const { options, context } = bench
      const log = PartitionLog.open(context, { directory: `/data/topic-${i}`, options, hint: null })
      append(log, batch())
      const age = log.nextDeadlineMs()
      assert(age > 600 && age <= 1000, String(age))
      ages.add(age)
      append(log, batch({ timestamp: START_MS + age }))
      assert.equal(log.segmentCount, 1)
      append(log, batch({ timestamp: START_MS + age + 1 }))
      assert.equal(log.segmentCount, 2)
    }
    assert(ages.size > 10)
    // Kafka takes no more off than there is.
    const bench = new Bench({ segmentMs: 10, segmentJitterMs: 1_000_000 })
    const log = bench.open()
    append(log, batch())
    assert(log.nextDeadlineMs() >= 0 && log.nextDeadlineMs() <= 10)
  })

  test('rolls by the timestamps of segment.ms, by wall age, and when an index is full', () => {
    const bench = new Bench({ segmentMs: 1000 })
    const log = bench.open()
    append(log, batch({ timestamp: START_MS }))
    append(log, batch({ timestamp: START_MS + 1000 }))
    assert.equal(log.segmentCount, 1)
    append(log, batch({ timestamp: START_MS + 1001 }))
    assert.equal(log.segmentCount, 2)
    assert.equal(log.nextDeadlineMs(), 1000)
    bench.clock.ms = 1000
    log.maintain(1000)
    assert.equal(log.segmentCount, 2)
    assert.equal(log.nextDeadlineMs(), Number.POSITIVE_INFINITY)
    append(log, batch({ timestamp: START_MS + 1001 }))
    assert.equal(log.segmentCount, 3)
    const small = new Bench({ segmentIndexBytes: 40, indexIntervalBytes: 0 })
    const other = small.open()
    for (let i = 0; i < 20; i++) append(other, batch({ timestamp: START_MS + i }))
    assert(other.segmentCount > 3)
    assert.deepEqual(other.verify().problems, [])
  })
})

describe('PartitionLog and producers', () => {
  const produce = (baseSequence: number, records = 1, producerEpoch = 0): Uint8Array =>
    batch({ producerId: 9, producerEpoch, baseSequence, records })

  test('answers a duplicate with its first offsets, also while staged', () => {
    const log = new Bench().open()
    append(log, batch())
    const first = stage(log, produce(0, 3))
    const again = stage(log, produce(0, 3))
    assert.equal(again.duplicate, true)
    assert.deepEqual([again.baseOffset, again.endOffset], [first.baseOffset, first.endOffset])
    log.writeStaged()
    assert.equal(log.logEndOffset, 4)
    for (let i = 3; i < 7; i++) append(log, produce(i))
    assert.equal(stage(log, produce(0, 3)).duplicate, true)
    append(log, produce(7))
    // Five batches are remembered: the first is the sixth now.
    assert.equal(refused(log, produce(0, 3)), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    assert.equal(log.logEndOffset, 9)
  })

  test('refuses gaps, old epochs, and new epochs that do not start at 0', () => {
    const log = new Bench().open()
    append(log, produce(100)) // KIP-360: an unknown producer may start anywhere.
    assert.equal(refused(log, produce(102)), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    assert.equal(refused(log, produce(5, 1, 1)), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    append(log, produce(0, 1, 1))
    assert.equal(refused(log, produce(101)), ErrorCode.INVALID_PRODUCER_EPOCH)
    append(log, produce(1, 1, 1))
    assert.equal(log.logEndOffset, 3)
  })

  test('wraps sequences from 2^31 − 1 to 0', () => {
    const log = new Bench().open()
    const last = 2 ** 31 - 1
    append(log, produce(last - 1, 4)) // …, 2^31 − 1, 0, 1
    assert.equal(stage(log, produce(last - 1, 4)).duplicate, true)
    assert.equal(refused(log, produce(3)), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    append(log, produce(2))
  })

  test('checks the batches of a run against each other and takes all or none', () => {
    const log = new Bench().open()
    const gap = concat([produce(0), produce(1), produce(3)])
    assert.equal(refused(log, gap), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    append(log, concat([produce(0), produce(1), produce(2)]))
    const again = stage(log, concat([produce(0), produce(1), produce(2)]))
    assert.deepEqual([again.duplicate, again.baseOffset, again.endOffset], [true, 0, 3])
    const mixed = concat([produce(2), produce(3)])
    assert.equal(refused(log, mixed), ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    append(log, produce(3))
  })

  test('forgets producers not seen for producer.id.expiration, and only those', () => {
    const bench = new Bench({ producerIdExpirationMs: 3_600_000 })
    const log = bench.open()
    append(log, produce(0))
    bench.clock.ms = 3_000_000
    append(log, batch({ producerId: 10, producerEpoch: 0, baseSequence: 0 }))
    bench.clock.ms = 4_000_000
    log.maintain(bench.clock.ms)
    assert.deepEqual(
      [...log.producers.entries()].map(([id]) => id),
      [10],
    )
    append(log, produce(77))
  })

  test('an open transaction holds the last stable offset until its marker', () => {
    const log = new Bench().open()
    append(log, batch())
    append(log, batch({ producerId: 3, producerEpoch: 0, baseSequence: 0, transactional: true }))
    append(log, batch())
    assert.deepEqual([log.highWatermark, log.lastStableOffset], [3, 1])
    const marker = batch({ producerId: 3, producerEpoch: 0, transactional: true, control: true })
    const out = stage(log, marker)
    assert.equal(out.errorCode, ErrorCode.INVALID_RECORD)
    log.append({ bytes: marker, offset: 0, length: marker.length }, 0, out, true)
    assert.equal(out.errorCode, ErrorCode.NONE)
    log.writeStaged()
    assert.equal(log.lastStableOffset, 4)
  })
})

describe('PartitionLog.locate', () => {
  test('returns whole batches, the first one even when too large', () => {
    const log = new Bench().open()
    const sizes = [10, 500, 20].map((valueBytes) => {
      const run = batch({ valueBytes, records: 2 })
      append(log, run)
      return run.length
    })
    const into = new Uint8Array(10_000)
    const read = (offset: number, maxBytes: number): number[] => {
      const location = log.locate(offset, maxBytes, { minOneBatch: true, upTo: 'logEnd' })
      assert(typeof location === 'object')
      return offsetsIn(into.subarray(0, log.read(location, into, 0))).map((range) => range.base)
    }
    assert.deepEqual(read(0, 1), [0])
    assert.deepEqual(read(1, sizes[0]! + 10), [0])
    assert.deepEqual(read(2, 100), [2])
    assert.deepEqual(read(3, sizes[1]! + sizes[2]!), [2, 4])
    assert.deepEqual(read(0, sizes[0]! + sizes[1]! + sizes[2]! - 1), [0, 2])
    assert.deepEqual(read(0, 10_000), [0, 2, 4])
    const none = log.locate(2, 100, { minOneBatch: false, upTo: 'logEnd' })
    assert(typeof none === 'object')
    assert.deepEqual([none.length, none.tooSmall], [0, true])
    const end = log.locate(6, 100, { minOneBatch: true, upTo: 'logEnd' })
    assert(typeof end === 'object')
    assert.equal(end.length, 0)
    for (const offset of [-1, 7]) {
      const result = log.locate(offset, 100, { minOneBatch: true, upTo: 'logEnd' })
      assert.equal(result, ErrorCode.OFFSET_OUT_OF_RANGE)
    }
  })

  test('read throws on bytes that are no batch and never serves them', () => {
    const bench = new Bench()
    const log = bench.open()
    for (let i = 0; i < 3; i++) append(log, batch())
    const path = bench.path('00000000000000000000.log')
    const content = bench.files.contentOf(path)
    content[content.length / 3 + 16] = 9 // The magic of the second batch.
    bench.files.tamper(path, content)
    const location = log.locate(0, 10_000, { minOneBatch: true, upTo: 'logEnd' })
    assert(typeof location === 'object')
    const code = ErrorCode.CORRUPT_MESSAGE
    assert.throws(() => log.read(location, new Uint8Array(10_000), 0), { code })
    assert.throws(() => log.locate(2, 10_000, { minOneBatch: true, upTo: 'logEnd' }), BrokerError)
  })

  test('a damaged index is rebuilt, not believed', () => {
    const bench = new Bench({ segmentBytes: 2000, indexIntervalBytes: 100 })
    let log = bench.open()
    for (let i = 0; i < 60; i++) append(log, batch())
    const hint = log.close()
    const path = bench.path('00000000000000000000.index')
    const index = bench.files.contentOf(path)
    assert(index.length >= 40)
    for (let at = 0; at < index.length; at += 8) index[at + 3]! += 1
    bench.files.tamper(path, index)
    log = bench.open(hint)
    for (let offset = 0; offset < 20; offset++) {
      assert.equal(offsetsIn(readAll(log, offset))[0]!.base, offset)
    }
    assert(bench.warnings.some((warning) => warning.includes('rebuilt')))
  })
})

describe('PartitionLog by time and epoch', () => {
  test('finds the first record at or after a timestamp, batches out of order', () => {
    const bench = new Bench({ segmentBytes: 600, indexIntervalBytes: 100 })
    const log = bench.open()
    const times = [10, 30, 20, 40, 40, 5, 60, 50, 60, 70, 1, 70, 80]
    for (const time of times) append(log, batch({ timestamp: time, valueBytes: 30 }))
    for (let ms = 0; ms <= 81; ms++) {
      const expected = times.findIndex((time) => time >= ms)
      const found = log.batchForTimestamp(ms, 'highWatermark')
      assert.equal(found?.baseOffset ?? -1, expected, `timestamp ${ms}`)
      if (found === null) continue
      const records = decodeBatchSync(log.readBatch(found), 0, { recordsBytesMax: 1000 })
      assert.equal(firstRecordAtOrAfter(records, ms, 0)?.offset, expected)
    }
    assert.equal(log.batchOfMaxTimestamp('highWatermark')?.baseOffset, 12)
    assert.equal(log.batchForTimestamp(40, 'logEnd', 4)?.baseOffset, 4)
    log.deleteRecordsTo(5)
    assert.equal(log.batchForTimestamp(0, 'logEnd')?.baseOffset, 5)
  })

  test('endOffsetForEpoch answers as KIP-320 says', () => {
    const log = new Bench().open()
    append(log, batch({ records: 5 }), 2)
    append(log, batch({ records: 5 }), 4)
    append(log, batch({ records: 5 }), 4)
    assert.deepEqual(log.endOffsetForEpoch(1), { epoch: 1, endOffset: 0 })
    assert.deepEqual(log.endOffsetForEpoch(2), { epoch: 2, endOffset: 5 })
    assert.deepEqual(log.endOffsetForEpoch(3), { epoch: 2, endOffset: 5 })
    assert.deepEqual(log.endOffsetForEpoch(4), { epoch: 4, endOffset: 15 })
    assert.deepEqual(log.endOffsetForEpoch(5), { epoch: -1, endOffset: -1 })
  })
})

describe('PartitionLog and flushes', () => {
  test('with flush.messages = 1 nothing is visible before its flush', () => {
    const bench = new Bench({ flushMessages: 1 })
    const log = bench.open()
    const out = append(log, batch({ records: 2 }))
    assert.deepEqual([log.logEndOffset, log.highWatermark, out.endOffset], [2, 0, 2])
    assert.equal(log.flushDue(0), true)
    log.startFlush(1)
    assert.equal(log.flushDue(0), false)
    append(log, batch())
    while (log.flushing) bench.files.drainFlushes((token, error) => log.onFlushed(token, error))
    assert.deepEqual([log.highWatermark, log.recoveryPoint, log.logEndOffset], [2, 2, 3])
    assert.deepEqual(offsetsIn(readAll(log, 0)), [{ base: 0, last: 1 }])
    assert.equal(log.flushDue(0), true)
    bench.flush(log)
    assert.equal(log.highWatermark, 3)
    assert.equal(log.flushDue(0), false)
  })

  test('flush.messages = 5 holds the watermark only when the fifth is unflushed', () => {
    const bench = new Bench({ flushMessages: 5 })
    const log = bench.open()
    for (let i = 0; i < 4; i++) append(log, batch())
    assert.deepEqual([log.highWatermark, log.flushDue(0)], [4, false])
    append(log, batch())
    append(log, batch())
    assert.deepEqual([log.highWatermark, log.flushDue(0)], [4, true])
    assert.equal(offsetsIn(readAll(log, 0)).length, 4)
    bench.flush(log)
    assert.deepEqual([log.highWatermark, log.recoveryPoint], [6, 6])
  })

  test('flush.ms makes a flush due, a rolled segment does at once', () => {
    const bench = new Bench({ flushMs: 100, segmentBytes: 200 })
    const log = bench.open()
    append(log, batch())
    assert.deepEqual(
      [log.flushDue(99), log.flushDue(100), log.nextDeadlineMs()],
      [false, true, 100],
    )
    bench.flush(log)
    assert.equal(log.nextDeadlineMs(), bench.options.segmentMs)
    for (let i = 0; i < 3; i++) append(log, batch({ valueBytes: 60 }))
    assert.equal(log.flushDue(1), true)
    bench.flush(log)
    assert.equal(log.recoveryPoint, 4)
    assert.equal(log.flushDue(1), false)
  })

  test('a failed flush fails the log for ever and the watermark stays', () => {
    const bench = new Bench({ flushMessages: 1 })
    const log = bench.open()
    append(log, batch())
    bench.files.onOperation = (kind, path) => {
      if (kind === 'flush' && path.endsWith('.log')) throw new Error('EIO')
    }
    bench.flush(log)
    bench.files.onOperation = () => {}
    assert.equal(log.failed, true)
    assert.deepEqual([log.highWatermark, log.recoveryPoint], [0, 0])
    assert.equal(refused(log, batch()), ErrorCode.KAFKA_STORAGE_ERROR)
    assert.equal(log.flushDue(1e9), false)
    assert.equal(log.close().clean, false)
    assert.equal(bench.files.openFiles, 0)
  })
})

describe('PartitionLog.close and reopening', () => {
  test('a clean log opens by its names alone and goes on where it was', () => {
    const bench = new Bench({ segmentBytes: 1000, indexIntervalBytes: 100 })
    let log = bench.open()
    for (let i = 0; i < 30; i++) {
      append(log, batch({ producerId: 1, producerEpoch: 0, baseSequence: i, timestamp: i + 1 }), 3)
    }
    log.deleteRecordsTo(4)
    const state = [...log.producers.entries()]
    const hint = log.close()
    assert.deepEqual([hint.clean, hint.logStartOffset, hint.logEndOffset], [true, 4, 30])
    assert.equal(bench.files.openFiles, 0)
    const { reads, opens, lists } = bench.files.counters
    log = bench.open(hint)
    assert.deepEqual(
      [bench.files.counters.reads, bench.files.counters.opens, bench.files.counters.lists],
      [reads, opens, lists + 1],
    )
    assert.deepEqual([log.logStartOffset, log.logEndOffset, log.highWatermark], [4, 30, 30])
    assert.equal(log.bytes, hint.bytes)
    const again = log.close()
    assert.deepEqual(again, hint)
    log = bench.open(hint)
    assert.deepEqual([...log.producers.entries()], state)
    const retry = stage(log, batch({ producerId: 1, producerEpoch: 0, baseSequence: 29 }), 3)
    assert.equal(retry.baseOffset, 29)
    append(log, batch({ producerId: 1, producerEpoch: 0, baseSequence: 30, timestamp: 31 }), 3)
    assert.equal(log.latestEpoch, 3)
    assert.deepEqual(log.verify().problems, [])
    assert.equal(log.batchForTimestamp(31, 'logEnd')?.baseOffset, 30)
    assert.equal(offsetsIn(readAll(log, 4))[0]!.base, 4)
    log.close()
    assert.deepEqual(bench.warnings, [])
  })

  test('delete removes every file, after the flush under way', () => {
    const bench = new Bench()
    const log = bench.open()
    append(log, batch())
    log.startFlush(7)
    log.delete()
    assert.notDeepEqual(bench.files.paths(), [])
    bench.files.drainFlushes((token, error) => log.onFlushed(token, error))
    assert.deepEqual(bench.files.paths(), [])
    assert.equal(bench.files.openFiles, 0)
  })
})
