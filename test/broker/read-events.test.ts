/** Events out of batches that a shard has read; the shard is the test. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByteBudget } from '../../src/base/byte-budget.ts'
import type { Broker } from '../../src/broker/broker.ts'
import { type EventsRead, INFLATED_BYTES_MAX, readEvents } from '../../src/broker/read-events.ts'
import { Slices } from '../../src/broker/slices.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { BatchBuilder, type BuildOptions } from '../../src/record/batch-builder.ts'
import { BATCH_HEADER_BYTES, BATCH_LENGTH, CRC } from '../../src/record/batch-layout.ts'
import { COMPRESSION_GZIP } from '../../src/record/compression.ts'
import { buildMarkerBatch } from '../../src/record/control-batch.ts'
import { crc32c } from '../../src/record/crc32c.ts'
import type { ReadRequest, ReadSink } from '../../src/shard/shard-proxy.ts'

interface Asked {
  readonly offset?: number
  readonly waitMs?: number
  readonly memoryBytes?: number
  readonly take?: (value: string) => boolean
}

interface Got extends EventsRead {
  readonly values: readonly string[]
  readonly readAt: readonly number[]
}

/** Reads from a log of whole batches; each read gives everything from its offset's batch on. */
async function read(batches: readonly Uint8Array[], asked: Asked = {}): Promise<Got> {
  const log = Buffer.concat(batches)
  const ends = batches.map((batch) => {
    const view = new DataView(batch.buffer, batch.byteOffset)
    return Number(view.getBigInt64(0)) + view.getInt32(23) + 1
  })
  const highWatermark = ends.at(-1) ?? 0
  const readAt: number[] = []
  let released = 0
  const shard = {
    egress: log,
    countSent: () => {},
    read: ({ fetchOffset }: ReadRequest, sink: ReadSink, index: number) => {
      readAt.push(fetchOffset)
      const first = ends.findIndex((end) => end > fetchOffset)
      const skipped = batches.slice(0, first === -1 ? batches.length : first)
      const offset = skipped.reduce((sum, batch) => sum + batch.length, 0)
      const isInside = fetchOffset <= highWatermark
      const outcome = {
        errorCode: isInside ? ErrorCode.NONE : ErrorCode.OFFSET_OUT_OF_RANGE,
        highWatermark,
        lastStableOffset: highWatermark,
        logStartOffset: 0,
        offset,
        length: isInside ? log.length - offset : 0,
        generation: 1,
        flags: 0,
        divergingEpoch: -1,
        divergingEndOffset: -1,
      }
      queueMicrotask(() => sink.onRead(outcome, index))
      return 1
    },
    release: () => {
      released++
    },
    unwatch: () => {},
    flush: () => {},
  }
  const broker = {
    clock: { monotonicMs: () => 0 },
    readBytesMax: 1e9,
    shardOf: () => shard,
    checkLeader: () => ErrorCode.NONE,
    hub: { flushAfterPoll: () => {} },
  } as unknown as Broker
  const memory = new ByteBudget(asked.memoryBytes ?? 1e9)
  const values: string[] = []
  const result = await readEvents(
    broker,
    {
      handle: 1,
      offset: asked.offset ?? 0,
      bytesMax: 1e6,
      waitMs: asked.waitMs ?? 0,
      signal: new AbortController().signal,
      memory,
      slices: new Slices(() => 0),
    },
    ({ value }) => {
      const text = Buffer.from(value ?? []).toString()
      values.push(text)
      return asked.take?.(text) ?? true
    },
  )
  assert.equal(memory.bytesInUse, 0, 'what was taken is given back')
  assert.ok(released <= readAt.length)
  return { ...result, values, readAt }
}

async function batch(baseOffset: number, values: readonly string[], options: BuildOptions = {}) {
  const builder = new BatchBuilder()
  for (const value of values) builder.append(1000, null, Buffer.from(value))
  return builder.build({ baseOffset, ...options })
}

/** The same, as a marker of a transaction at that offset. */
function marker(baseOffset: number): Uint8Array {
  const bytes = buildMarkerBatch({
    producerId: 1,
    producerEpoch: 0,
    timestampMs: 1000,
    committed: true,
    coordinatorEpoch: 0,
  })
  new DataView(bytes.buffer, bytes.byteOffset).setBigInt64(0, BigInt(baseOffset))
  return bytes
}

test('readEvents, begins inside a batch, and skips what only marks transactions', async () => {
  const log = [
    await batch(0, ['a', 'b', 'c']),
    marker(3),
    await batch(4, ['d', 'e'], { compression: COMPRESSION_GZIP }),
    marker(6),
  ]
  const got = await read(log, { offset: 1 })
  assert.deepEqual(got.values, ['b', 'c', 'd', 'e'])
  assert.equal(got.nextOffset, 7, 'behind the marker')
})

test('readEvents, markers alone, goes on behind them', async () => {
  const got = await read([await batch(0, ['a']), marker(1), marker(2)], { offset: 1 })
  assert.deepEqual([got.values, got.nextOffset, got.readAt], [[], 3, [1, 3]])
})

test('readEvents, a reader that has enough, says where to go on', async () => {
  const log = [await batch(0, ['a', 'b', 'c']), await batch(3, ['d'])]
  const got = await read(log, { take: (value) => value !== 'b' })
  assert.deepEqual([got.values, got.nextOffset], [['a', 'b'], 2])
  const last = await read(log, { offset: 2, take: () => false })
  assert.deepEqual([last.values, last.nextOffset], [['c'], 3])
})

test('readEvents, a batch with a right CRC that holds nonsense, ends in front of it', async () => {
  const broken = await batch(2, ['x', 'y'])
  broken.fill(0xff, BATCH_HEADER_BYTES)
  const view = new DataView(broken.buffer, broken.byteOffset)
  view.setUint32(CRC, crc32c(broken, CRC + 4, view.getInt32(BATCH_LENGTH) + 12))
  const log = [await batch(0, ['a', 'b']), broken]
  const got = await read(log)
  assert.deepEqual([got.errorCode, got.values, got.nextOffset], [ErrorCode.NONE, ['a', 'b'], 2])
  const at = await read(log, { offset: 2 })
  assert.deepEqual([at.errorCode, at.nextOffset], [ErrorCode.CORRUPT_MESSAGE, 2])
})

test('readEvents, a batch that is larger inside than the bound, is refused', async () => {
  const builder = new BatchBuilder()
  builder.append(1000, null, Buffer.alloc(INFLATED_BYTES_MAX))
  const got = await read([await builder.build({ compression: COMPRESSION_GZIP })])
  assert.deepEqual([got.errorCode, got.values], [ErrorCode.MESSAGE_TOO_LARGE, []])
})

test('readEvents, what is outside the log or has no memory, is said', async () => {
  const log = [await batch(0, ['a'])]
  assert.equal((await read(log, { offset: 2 })).errorCode, ErrorCode.OFFSET_OUT_OF_RANGE)
  const short = await read(log, { memoryBytes: 10 })
  assert.equal(short.errorCode, ErrorCode.THROTTLING_QUOTA_EXCEEDED)
})
