import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionError } from '../../src/base/assert.ts'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  BATCH_LENGTH,
  LAST_OFFSET_DELTA,
  LEADER_EPOCH,
  MAGIC,
} from '../../src/record/batch-layout.ts'
import { Partition } from '../../src/shard/partition.ts'
import { BatchScanner } from '../../src/storage/batch-scanner.ts'
import { isTemporary } from '../../src/storage/file-io.ts'
import type { FileId, OpenMode } from '../../src/storage/files.ts'
import type { LogHint, LogOptions, PartitionLog } from '../../src/storage/log.ts'
import {
  append,
  Bench,
  batch,
  concat,
  DIRECTORY,
  offsetsIn,
  readAll,
  START_MS,
  stage,
} from './support/fixture.ts'
import { fault, type MemoryFiles } from './support/memory-files.ts'

/** One batch per index entry, three batches per segment. */
const SMALL: Partial<LogOptions> = { segmentBytes: 260, indexIntervalBytes: 0 }
/**
 * Files that may be open in a settled log: the last segment and the sealed ones kept for readers.
 */
const OPEN_MAX = 5

const logNames = (bench: Bench): string[] =>
  bench.files.paths().filter((path) => path.endsWith('.log'))

/** Opening a file whose path ends with `suffix` fails until the function returned is called. */
function refuseOpening(files: MemoryFiles, suffix: string, code: string): () => void {
  const open = files.open.bind(files)
  files.open = (path: string, mode: OpenMode): FileId => {
    if (path.endsWith(suffix)) throw fault(code, `open ${path}`)
    return open(path, mode)
  }
  return () => {
    files.open = open
  }
}

describe('sealed segments', () => {
  test('are closed after the flush of a log that rolls often, their indexes forgotten', () => {
    const bench = new Bench({ ...SMALL, flushMessages: Infinity })
    const log = bench.open()
    for (let i = 0; i < 600; i++) {
      append(log, batch())
      if (log.flushDue(bench.clock.ms)) bench.flush(log)
      assert(bench.files.openFiles <= OPEN_MAX + 3, `${bench.files.openFiles} after ${i} batches`)
    }
    assert(log.segmentCount > 150)
    assert.equal(offsetsIn(readAll(log, 0)).length, 600)
    assert(bench.files.openFiles <= OPEN_MAX)
    const { opens } = bench.files.counters
    log.batchForTimestamp(START_MS, 'logEnd', 3)
    assert(bench.files.counters.opens >= opens + 3, 'log and both indexes of an old segment')
    assert.deepEqual(log.verify().problems, [])
  })

  test('are closed all at once by the flush of many that waited for it', () => {
    const bench = new Bench(SMALL)
    const log = bench.open()
    for (let i = 0; i < 400; i++) append(log, batch())
    assert(bench.files.openFiles > 100)
    bench.flush(log)
    assert(bench.files.openFiles <= OPEN_MAX, `${bench.files.openFiles} are open`)
    assert.equal(log.close().clean, true)
    assert.equal(bench.files.openFiles, 0)
  })

  test('keep what a refused write must give back, also when that write rolls many', () => {
    const bench = new Bench(SMALL)
    let log = bench.open()
    for (let i = 0; i < 3; i++) append(log, batch())
    log = bench.open(log.close()) // Its only segment is full and clean.
    assert.equal(log.producers.count, 0)
    bench.files.onOperation = (kind, path) => {
      if (kind === 'create' && !path.endsWith('00.log') && ++created > 8)
        throw fault('ENOSPC', kind)
    }
    let created = 0
    stage(log, concat(Array.from({ length: 40 }, () => batch())))
    assert.throws(() => log.writeStaged(), BrokerError)
    bench.files.onOperation = () => {}
    assert.equal(log.failure, null)
    append(log, batch())
    assert.deepEqual(log.verify().problems, [])
  })

  test('without any timestamp have indexes that are believed', () => {
    const bench = new Bench(SMALL)
    let log = bench.open()
    for (let i = 0; i < 9; i++) append(log, batch({ timestamp: -1 }))
    log = bench.open(log.close())
    bench.files.onOperation = (kind, path) => assert.fail(`${kind} ${path}`)
    assert.equal(log.batchForTimestamp(0, 'logEnd'), null)
    assert.equal(log.batchOfMaxTimestamp('logEnd'), null)
    assert.deepEqual(log.verify().problems, [])
    assert.deepEqual(bench.warnings, [])
  })

  test('get their damaged indexes rebuilt once', () => {
    const bench = new Bench(SMALL)
    let log = bench.open()
    for (let i = 0; i < 40; i++) append(log, batch())
    const hint = log.close()
    bench.files.tamper(bench.path('00000000000000000000.index'), new Uint8Array(9))
    for (let i = 0; i < 2; i++) {
      log = bench.open({ ...hint })
      assert.deepEqual(log.verify().problems, []) // Evicts the first segment.
      assert.deepEqual(log.verify().problems, [])
      assert.equal(bench.warnings.length, 1)
      log.close()
    }
  })
})

describe('PartitionLog.open, of a log it refuses', () => {
  /** Promised data of the last segment is damaged. */
  function damaged(): { bench: Bench; hint: LogHint } {
    const bench = new Bench(SMALL)
    const log = bench.open()
    for (let i = 0; i < 30; i++) append(log, batch())
    bench.flush(log)
    const hint = log.checkpoint()
    bench.files.kill()
    const path = logNames(bench).at(-1)!
    const content = bench.files.contentOf(path)
    content[MAGIC] = 1
    bench.files.tamper(path, content)
    return { bench, hint }
  }

  test('leaves no file open', () => {
    const { bench, hint } = damaged()
    assert.throws(() => bench.open(hint), { code: ErrorCode.CORRUPT_MESSAGE })
    assert.equal(bench.files.openFiles, 0)
  })

  test('is not tried again by its partition until that is configured', () => {
    const { bench, hint } = damaged()
    const identity = { handle: 1, topicId: '', partition: 0, leaderEpoch: 0 }
    const where = { logDirectory: '/data', directory: DIRECTORY, hint }
    const partition = new Partition({ ...identity, ...where } as never, bench.options)
    const errorOf = (): unknown => {
      try {
        partition.log(bench.context)
      } catch (error) {
        return error
      }
      return null
    }
    const first = errorOf()
    assert(first instanceof BrokerError && first.code === ErrorCode.CORRUPT_MESSAGE)
    const before = { ...bench.files.counters }
    assert.equal(errorOf(), first)
    assert.deepEqual(bench.files.counters, before)
    partition.configure(bench.options)
    assert.notEqual(errorOf(), first)
    assert(bench.files.counters.lists > before.lists)
  })

  test('is tried again by its partition after a failure that may pass', () => {
    const bench = new Bench()
    append(bench.open(), batch())
    bench.files.kill()
    const identity = { handle: 1, topicId: '', partition: 0, leaderEpoch: 0 }
    const where = { logDirectory: '/data', directory: DIRECTORY, hint: null }
    const partition = new Partition({ ...identity, ...where } as never, bench.options)
    const allow = refuseOpening(bench.files, '.log', 'EMFILE')
    assert.throws(() => partition.log(bench.context), isTemporary)
    allow()
    assert.equal(partition.log(bench.context).logEndOffset, 1)
  })
})

/** Everything one may ask of a log; errors of the world are an answer, our assertions are not. */
function use(bench: Bench, hint: LogHint | null, message: string): void {
  const tolerate = (work: () => void): void => {
    try {
      work()
    } catch (error) {
      if (error instanceof BrokerError) return
      throw new Error(message, { cause: error })
    }
  }
  tolerate(() => {
    const log = bench.open(hint)
    for (let offset = 0; offset < log.logEndOffset; offset++) {
      tolerate(() => readSome(log, offset))
    }
    tolerate(() => log.batchForTimestamp(START_MS + 3, 'logEnd'))
    tolerate(() => log.batchOfMaxTimestamp('logEnd'))
    tolerate(() => log.verify())
    for (let i = 0; i < 3; i++) {
      tolerate(() => {
        stage(log, batch({ timestamp: START_MS + 100 + i }), 2)
        log.writeStaged()
      })
    }
    tolerate(() => readSome(log, log.logEndOffset - 1))
    tolerate(() => log.truncateTo(Math.max(log.logStartOffset, 4)))
    tolerate(() => log.close())
  })
}

function readSome(log: PartitionLog, offset: number): void {
  const location = log.locate(offset, 150, { minOneBatch: true, upTo: 'logEnd' })
  if (typeof location === 'number' || location.length === 0) return
  const into = new Uint8Array(location.length)
  const bytes = log.read(location, into, 0)
  for (const { last } of offsetsIn(into.subarray(0, bytes))) assert(last < log.logEndOffset)
}

describe('a flipped bit', () => {
  test('in a value of a sealed segment is found when that is read, and only then', () => {
    const bench = new Bench(SMALL)
    const log = bench.open()
    for (let i = 0; i < 8; i++) append(log, batch())
    bench.flush(log)
    const hint = log.close()
    for (const [i, path] of logNames(bench).entries()) {
      const content = bench.files.contentOf(path)
      // The last byte but one is of the value of the last batch.
      const flipped = content.slice()
      flipped[content.length - 2]! ^= 4
      bench.files.tamper(path, flipped)
      const opened = bench.open({ ...hint })
      const read = () => offsetsIn(readAll(opened, 0))
      if (i < 2) {
        assert.throws(read, { code: ErrorCode.CORRUPT_MESSAGE, message: /the CRC of the batch at/ })
      } else {
        assert.equal(read().length, 8, 'clients compare what was appended a moment ago')
      }
      opened.close()
      bench.files.tamper(path, content)
    }
  })

  // In a batch: of its value, and of its leader epoch, which no checksum covers.
  for (const [what, at, message] of [
    ['value', -2, /the CRC of the batch at/],
    ['leader epoch', LEADER_EPOCH + 3, /is of leader epoch 5, and not of 1 as it was/],
  ] as const) {
    test(`in the ${what} of the newest batch is found by whoever asks for it again`, () => {
      const bench = new Bench({})
      const log = bench.open()
      for (let i = 0; i < 3; i++) append(log, batch(), 1)
      const [path = ''] = logNames(bench)
      const content = bench.files.contentOf(path).slice()
      const length = content.length / 3
      content[at < 0 ? content.length + at : length * 2 + at]! ^= 4
      bench.files.tamper(path, content)
      const read = (verify: boolean): number[] => {
        const into = new Uint8Array(content.length)
        const options = { minOneBatch: true, upTo: 'logEnd', verify } as const
        const location = log.locate(0, into.length, options)
        assert(typeof location !== 'number')
        return offsetsIn(into.subarray(0, log.read(location, into, 0))).map(({ last }) => last)
      }
      assert.deepEqual(read(false), [0, 1, 2])
      assert.throws(() => read(true), { code: ErrorCode.CORRUPT_MESSAGE, message })
      log.close()
    })
  }

  const data = ['.log', '.index', '.timeindex']
  const files = [
    ['00000000000000000000', data],
    ['00000000000000000006', [...data, '.snapshot']],
    ['00000000000000000008', ['.snapshot']],
  ] as const
  for (const [name, kinds] of files) {
    for (const suffix of kinds) {
      test(`in ${name}${suffix} is never taken for a bug`, () => {
        const source = new Bench(SMALL)
        const log = source.open()
        for (let i = 0; i < 8; i++) {
          const producer = { producerId: 3, producerEpoch: 0, baseSequence: i }
          append(log, batch({ timestamp: START_MS + i, ...producer }), 1)
        }
        const hint = log.close()
        const path = source.path(name + suffix)
        const content = source.files.contentOf(path)
        for (let bit = 0; bit < content.length * 8; bit++) {
          const flipped = content.slice()
          flipped[bit >>> 3]! ^= 1 << (bit & 7)
          for (const clean of [true, false]) {
            const bench = new Bench({ ...SMALL, segmentBytes: 1000 }) // Room in the last segment.
            bench.files = source.files.clone()
            bench.files.tamper(path, flipped)
            use(bench, { ...hint, clean }, `bit ${bit} of ${name}${suffix}, clean: ${clean}`)
          }
        }
      })
    }
  }

  test('in the lastOffsetDelta of the last batch is corruption for its reader', () => {
    const bench = new Bench()
    let log = bench.open()
    for (let i = 0; i < 3; i++) append(log, batch())
    const hint = log.close()
    const path = logNames(bench)[0]!
    const content = bench.files.contentOf(path)
    content[(content.length / 3) * 2 + LAST_OFFSET_DELTA + 3]! ^= 4
    bench.files.tamper(path, content)
    log = bench.open(hint)
    assert.throws(() => readAll(log, 0), { code: ErrorCode.CORRUPT_MESSAGE })
  })

  test('in a batch that is read around stops no appends', () => {
    const bench = new Bench({ indexIntervalBytes: 0 })
    let log = bench.open()
    for (let i = 0; i < 6; i++) append(log, batch())
    log = bench.open(log.close())
    append(log, batch())
    const path = logNames(bench)[0]!
    const content = bench.files.contentOf(path)
    content[(content.length / 7) * 2 + LAST_OFFSET_DELTA + 3]! ^= 4
    bench.files.tamper(path, content)
    assert.throws(() => readAll(log, 2), { code: ErrorCode.CORRUPT_MESSAGE })
    append(log, batch())
    assert.equal(log.logEndOffset, 8)
    const location = log.locate(7, 1000, { minOneBatch: true, upTo: 'logEnd' })
    assert(typeof location === 'object' && location.length > 0)
  })
})

test('a snapshot from beyond the end of the log goes when the log is woken', () => {
  const bench = new Bench(SMALL)
  const log = bench.open()
  append(log, batch())
  const hint = log.close()
  const stray = bench.path('00000000000000000900.snapshot')
  bench.files.tamper(stray, new Uint8Array(20))
  const again = bench.open(hint)
  for (let i = 0; i < 9; i++) append(again, batch())
  assert(!bench.files.paths().includes(stray))
  assert.deepEqual(again.verify().problems, [])
})

test('BatchScanner.isIntact reads no more than a batch may have, after a torn length', () => {
  let readMax = 0
  const files = {
    read: (_file: FileId, _position: number, into: { bytes: Uint8Array; length: number }) => {
      readMax = Math.max(readMax, into.length)
      const view = new DataView(into.bytes.buffer)
      view.setInt32(BATCH_LENGTH, 900_000_000)
      view.setInt8(MAGIC, 2)
      return into.length
    },
  }
  const scanner = new BatchScanner(files as never)
  scanner.start(1, 0, 1_000_000_000)
  assert.equal(scanner.next(), false)
  assert.match(scanner.problem!, /a batch of 900000012 bytes/)
  assert(readMax < 1 << 20)
})

describe('a failure that may pass', () => {
  test('isTemporary tells it from a disk that failed', () => {
    for (const code of ['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'ENOMEM']) {
      assert.equal(isTemporary(fault(code, 'write')), true, code)
      const cause = Object.assign(new Error(code), { code, syscall: 'fdatasync' })
      const flush = new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, 'flush', cause)
      assert.equal(isTemporary(flush), false, `a flush that failed with ${code}`)
    }
    for (const error of [fault('EIO', 'read'), new AssertionError('bug'), null, 'ENOSPC']) {
      assert.equal(isTemporary(error), false)
    }
  })

  test('of replacing a file leaves nothing half-written: the clean mark stays good', () => {
    const bench = new Bench(SMALL)
    const log = bench.open()
    bench.files.onOperation = (kind, path) => {
      if (kind === 'write' && path.includes('.snapshot')) throw fault('ENOSPC', kind)
    }
    for (let i = 0; i < 9; i++) append(log, batch())
    bench.files.onOperation = () => {}
    assert.deepEqual(
      bench.files.paths().filter((path) => path.endsWith('.tmp')),
      [],
    )
    const hint = log.close()
    bench.warnings.length = 0
    assert.equal(bench.open(hint).logEndOffset, 9)
    assert.deepEqual(bench.warnings, [])
  })

  for (const code of ['ENOSPC', 'EMFILE']) {
    test(`${code} on the leader epochs postpones the flush and loses nothing`, () => {
      const bench = new Bench({ flushMessages: 1, flushMs: 60_000 })
      const log = bench.open()
      append(log, batch(), 1)
      bench.flush(log)
      append(log, batch(), 2)
      bench.files.onOperation = (kind, path) => {
        if (kind === 'create' && path.includes('leader-epoch')) throw fault(code, kind)
      }
      bench.clock.ms = 10_000
      for (let tries = 1; tries <= 3; tries++) {
        assert.equal(log.flushDue(bench.clock.ms), true)
        assert.throws(() => log.startFlush(tries), isTemporary)
        assert.deepEqual([log.failure, log.flushing, log.highWatermark], [null, false, 1])
        assert.equal(log.flushDue(bench.clock.ms), false, 'no busy loop')
        const retryMs = log.nextDeadlineMs()
        assert(retryMs > bench.clock.ms && retryMs <= bench.clock.ms + 1000)
        bench.clock.ms = retryMs
      }
      append(log, batch(), 2)
      bench.files.onOperation = () => {}
      assert.equal(log.flushDue(bench.clock.ms), true)
      bench.flush(log)
      assert.deepEqual([log.highWatermark, log.recoveryPoint], [3, 3])
      bench.files.kill()
      const again = bench.open(log.checkpoint())
      assert.deepEqual(again.endOffsetForEpoch(1), { epoch: 1, endOffset: 1 })
    })
  }

  test('of reading the leader epochs does not lose them', () => {
    const bench = new Bench()
    let log = bench.open()
    for (const epoch of [1, 2, 3]) append(log, batch(), epoch)
    log = bench.open(log.close())
    const allow = refuseOpening(bench.files, 'leader-epoch-checkpoint', 'EMFILE')
    assert.throws(() => log.latestEpoch, isTemporary)
    assert.equal(stage(log, batch(), 3).errorCode, ErrorCode.KAFKA_STORAGE_ERROR)
    allow()
    append(log, batch(), 3)
    assert.deepEqual(log.endOffsetForEpoch(1), { epoch: 1, endOffset: 1 })
    assert.equal(stage(log, batch(), 2).errorCode, ErrorCode.FENCED_LEADER_EPOCH)
  })

  test('of asking for a size does not leave it unknown', () => {
    const bench = new Bench()
    let log = bench.open()
    append(log, batch())
    log = bench.open(log.close())
    const size = bench.files.size.bind(bench.files)
    bench.files.size = () => {
      throw fault('ENOMEM', 'stat')
    }
    assert.throws(() => readAll(log, 0), isTemporary)
    assert.equal(bench.files.openFiles, 0)
    bench.files.size = size
    assert.equal(readAll(log, 0).length, log.bytes)
  })
})

test('recovery writes the leader epochs only when they changed', () => {
  const bench = new Bench(SMALL)
  const log = bench.open()
  for (let i = 0; i < 9; i++) append(log, batch(), 1 + (i >> 2))
  bench.flush(log)
  const renamed: string[] = []
  const recover = (): PartitionLog => {
    bench.files.kill()
    renamed.length = 0
    bench.files.onOperation = (kind, path) => {
      if (kind === 'rename') renamed.push(path)
    }
    return bench.open(null)
  }
  assert.equal(recover().latestEpoch, 3)
  assert.equal(renamed.length, 0)
  append(bench.open(null), batch(), 7)
  assert.equal(recover().latestEpoch, 7)
  assert.equal(renamed.filter((path) => path.includes('leader-epoch')).length, 1)
})

test('nextDeadlineMs tells of what was written during a flush', () => {
  const bench = new Bench({ flushMs: 1000 })
  const log = bench.open()
  append(log, batch())
  assert.equal(log.nextDeadlineMs(), 1000)
  bench.clock.ms = 1000
  log.startFlush(1)
  assert.equal(log.nextDeadlineMs(), bench.options.segmentMs, 'all of it is being flushed')
  bench.clock.ms = 1300
  append(log, batch())
  assert.equal(log.nextDeadlineMs(), 2300)
  assert.equal(log.flushDue(2300), false, 'one flush at a time')
  bench.files.drainFlushes((token, error) => log.onFlushed(token, error))
  assert.equal(log.flushing, false)
  assert.equal(log.nextDeadlineMs(), 2300)
  assert.equal(log.flushDue(2300), true)
})
