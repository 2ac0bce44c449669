/** Appends that wait for memory; the shard and the clock are the test's. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Broker } from '../../../src/broker/broker.ts'
import type { PlainPlan } from '../../../src/broker/plain-records.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { AppendQueue } from '../../../src/gateway/rest/append-queue.ts'
import { RestError } from '../../../src/gateway/rest/rest-error.ts'
import { BatchBuilder } from '../../../src/record/batch-builder.ts'
import { Arena } from '../../../src/ring/arena.ts'
import { allocateArena } from '../../../src/ring/arena-layout.ts'
import type { AppendRequest, AppendSink } from '../../../src/shard/shard-proxy.ts'

const ARENA_BYTES = 1024 * 1024

function setUp() {
  const arena = new Arena(allocateArena(ARENA_BYTES))
  const appends: { request: AppendRequest; sink: AppendSink; index: number }[] = []
  const state = { nowMs: 0, pump: (): void => {} }
  const broker = {
    arena,
    clock: { monotonicMs: () => state.nowMs },
    leaderEpoch: () => 0,
    leads: () => true,
    image: { partitions: { replicas: () => [1] } },
    groups: { owns: () => false },
    keyChecks: { mustWait: () => false },
    shardOf: () => ({
      append: (request: AppendRequest, sink: AppendSink, index: number) => {
        appends.push({ request, sink, index })
      },
    }),
    hub: {
      onPumped: (callback: () => void) => {
        state.pump = callback
      },
      flushAfterPoll: () => {},
    },
  } as unknown as Broker
  return { queue: new AppendQueue(broker), arena, appends, state }
}

/** One batch of about so many bytes to a partition. */
function plan(partition: number, bytes: number): PlainPlan {
  const builder = new BatchBuilder()
  builder.append(1, null, Buffer.alloc(bytes))
  const batch = { partition, handle: partition + 1, bytes: builder.buildSync() }
  return { batches: [batch], places: new Int32Array([0, 0]) }
}

const DONE = { errorCode: ErrorCode.NONE, logStartOffset: 0, appendTimeMs: -1 }

function requestOf(controller = new AbortController()): { signal: AbortSignal } {
  return { signal: controller.signal }
}

test('AppendQueue, without memory, waits in order and goes on when some comes back', async () => {
  const { queue, arena, appends, state } = setUp()
  const first = queue.append(plan(0, 700_000), requestOf())
  const second = queue.append(plan(1, 300_000), requestOf())
  const third = queue.append(plan(2, 10), requestOf())
  assert.equal(appends.length, 1, 'a small one does not pass one that waits')
  const [one] = appends
  one!.sink.onAppended({ ...DONE, baseOffset: 7 }, one!.index)
  assert.deepEqual(await first, [{ partition: 0, offset: 7, errorCode: 0, appendTimeMs: -1 }])
  state.pump()
  assert.deepEqual(
    appends.map(({ request }) => request.handle),
    [1, 2, 3],
  )
  for (const { sink, index } of appends.slice(1)) sink.onAppended({ ...DONE, baseOffset: 1 }, index)
  await Promise.all([second, third])
  assert.equal(arena.bytesInUse, 0)
})

test('AppendQueue, memory that stays short, is said, and nobody waits for who has gone', async () => {
  const { queue, arena, appends, state } = setUp()
  const first = queue.append(plan(0, 700_000), requestOf())
  const gone = new AbortController()
  const given = queue.append(plan(1, 700_000), requestOf(gone))
  const late = queue.append(plan(2, 700_000), requestOf())
  gone.abort()
  const alive = setInterval(() => {}, 1000) // The queue's own timer keeps no process.
  const isShort = (error: unknown) => error instanceof RestError && error.status === 503
  await assert.rejects(given, isShort)
  state.nowMs = 60_000
  await assert.rejects(late, isShort)
  clearInterval(alive)
  const [one] = appends
  one!.sink.onAppended({ ...DONE, baseOffset: 0 }, one!.index)
  await first
  state.pump()
  assert.equal(appends.length, 1)
  assert.equal(arena.bytesInUse, 0)
})
