/** A log directory that fails takes its partitions offline, and nothing else. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { READ_MIN_ONE_BATCH, READ_WATCH, READ_WATCHING } from '../../src/shard/messages-layout.ts'
import { DEFAULT_LOG_OPTIONS, type LogOptions } from '../../src/storage/log.ts'
import { batch, concat } from '../storage/support/fixture.ts'
import { LOG_DIRECTORY, ShardFixture } from './fixture.ts'

const FAILED = ErrorCode.KAFKA_STORAGE_ERROR
const OTHER_DIRECTORY = '/other'
/** The handle of the partition in the other directory. */
const OTHER = 9

/** Two partitions in the directory that will fail, one in another. */
async function openBoth(options: Partial<LogOptions>): Promise<ShardFixture> {
  const shard = new ShardFixture()
  await shard.open(2, options)
  shard.files.makeDirectory(OTHER_DIRECTORY)
  const reply = await shard.control({
    kind: 'open',
    recover: false,
    options: { ...DEFAULT_LOG_OPTIONS, ...options },
    partitions: [
      {
        handle: OTHER,
        topicId: 'QUJDREVGR0hJSktMTU5PUA',
        partition: OTHER,
        logDirectory: OTHER_DIRECTORY,
        directory: `${OTHER_DIRECTORY}/topic-${OTHER}`,
        hint: null,
        leaderEpoch: 0,
      },
    ],
  })
  assert.equal(reply.kind, 'ok')
  return shard
}

/** Error code of each append's one answer, by index. */
function codesOf(shard: ShardFixture): Map<number, number> {
  const codes = new Map<number, number>()
  for (const { index, outcome } of shard.of('appended')) {
    assert(!codes.has(index), `append ${index} is answered twice`)
    codes.set(index, outcome.errorCode)
  }
  return codes
}

function failuresOf(shard: ShardFixture): string[] {
  return shard.events.flatMap((event) =>
    event.kind === 'directory-failed' ? [event.logDirectory] : [],
  )
}

/** Appends and reads are refused in the failed directory and served in the other. */
function assertOnlyOneIsOffline(shard: ShardFixture): void {
  const expected = new Map([
    [shard.append(0, batch()), FAILED],
    [shard.append(1, batch()), FAILED],
    [shard.append(OTHER, batch()), ErrorCode.NONE],
  ])
  shard.settle()
  const codes = codesOf(shard)
  for (const [index, code] of expected) assert.equal(codes.get(index), code)
  const reads = [0, 1, OTHER].map((handle) => shard.read(handle, 0, READ_MIN_ONE_BATCH).index)
  shard.settle()
  const outcomes = shard.of('read').filter(({ index }) => reads.includes(index))
  assert.deepEqual(
    outcomes.map(({ outcome }) => [outcome.errorCode, outcome.length > 0]),
    [
      [FAILED, false],
      [FAILED, false],
      [ErrorCode.NONE, true],
    ],
  )
  assert.deepEqual(failuresOf(shard), [LOG_DIRECTORY])
}

describe('ShardState.flushIfDue', () => {
  test('takes the directory offline and lives, when a flush cannot start', async () => {
    const shard = await openBoth({ flushMessages: 1 })
    shard.files.onOperation = (kind, path) => {
      if (kind === 'syncDirectory' && path.startsWith(LOG_DIRECTORY)) {
        throw new BrokerError(FAILED, 'sync the directory', null)
      }
    }
    const index = shard.append(0, batch())
    shard.settle()
    assert.equal(codesOf(shard).get(index), FAILED)
    assertOnlyOneIsOffline(shard)
  })

  test('waits for the reports of what was started, when the second file is refused', async () => {
    const shard = await openBoth({ flushMessages: 1, segmentBytes: 100 })
    const flush = shard.files.flush.bind(shard.files)
    let flushes = 0
    shard.files.flush = (file, token) => {
      if (++flushes === 2) throw new BrokerError(FAILED, 'flush', null)
      flush(file, token)
    }
    const index = shard.append(0, concat([batch(), batch(), batch()]))
    shard.settle()
    assert.equal(flushes, 2)
    assert.equal(codesOf(shard).get(index), FAILED)
    assertOnlyOneIsOffline(shard)
    // A flush that nobody waits for would keep the files for ever.
    assert.equal((await shard.control({ kind: 'delete', handle: 0 })).kind, 'ok')
    assert.deepEqual(shard.files.list(`${LOG_DIRECTORY}/topic-0`), [])
  })
})

describe('ControlHandler, told to fail a directory', () => {
  const request = {
    kind: 'fail-directory',
    logDirectory: LOG_DIRECTORY,
    message: 'another shard saw it fail',
  } as const

  test('answers who waits there, and refuses appends and reads from then on', async () => {
    const shard = await openBoth({ flushMessages: 1 })
    const drainFlushes = shard.files.drainFlushes.bind(shard.files)
    shard.files.drainFlushes = () => 0 // A disk that takes its time: acknowledgements wait.
    const waiting = [
      shard.append(0, batch()),
      shard.append(1, batch()),
      shard.append(OTHER, batch()),
    ]
    const watch = shard.read(0, 0, READ_WATCH)
    const elsewhere = shard.read(OTHER, 0, READ_WATCH)
    shard.settle()
    assert.equal(codesOf(shard).size, 0)
    assert(shard.of('read').every(({ outcome }) => outcome.flags === READ_WATCHING))

    assert.equal((await shard.control(request)).kind, 'ok')
    assert.deepEqual(
      waiting.map((index) => codesOf(shard).get(index)),
      [FAILED, FAILED, undefined],
    )
    assert.deepEqual(
      shard.of('wake').map(({ index }) => index),
      [watch.index],
    )

    shard.files.drainFlushes = drainFlushes // The late reports answer nobody twice.
    shard.settle()
    assert.equal(codesOf(shard).get(waiting[2] as number), ErrorCode.NONE)
    assert(shard.of('wake').some(({ index }) => index === elsewhere.index))
    assert.equal((await shard.control(request)).kind, 'ok')
    assertOnlyOneIsOffline(shard)
  })

  test('refuses partitions that nobody has used yet, and look-ups', async () => {
    const shard = await openBoth({})
    await shard.control(request)
    const reply = await shard.control({ kind: 'offsets', handle: 0 })
    assert.equal(reply.kind === 'failed' && reply.errorCode, FAILED)
    assert.equal((await shard.control({ kind: 'offsets', handle: OTHER })).kind, 'offsets')
    assertOnlyOneIsOffline(shard)
  })

  test('leaves no clean mark there at shutdown', async () => {
    const shard = await openBoth({})
    for (const handle of [0, OTHER]) shard.append(handle, batch())
    shard.settle()
    await shard.control(request)
    await shard.control({ kind: 'shutdown' })
    const hasMark = (directory: string): boolean =>
      shard.files.list(directory).some((name) => name.startsWith('clean-checkpoint'))
    assert.deepEqual([hasMark(LOG_DIRECTORY), hasMark(OTHER_DIRECTORY)], [false, true])
  })
})
