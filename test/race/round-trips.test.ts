/**
 * The main thread and a worker wake each other thousands of times, each parked whenever it has
 * nothing to do: the main thread through `Atomics.waitAsync`, the worker in `Atomics.wait` or, with
 * the addon, on an eventfd.
 */
import assert from 'node:assert/strict'
import { extname } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { loadNative } from '../../src/base/native.ts'
import {
  allocateWaitCell,
  Doorbell,
  type EventfdSignal,
  PARKED_ATOMICS,
  WAIT_CELL_STATE,
  WaitAsyncParker,
  waitCellWords,
} from '../../src/ring/doorbell.ts'
import { LaneReader, LaneWriter } from '../../src/ring/lane.ts'
import { allocateLane } from '../../src/ring/lane-layout.ts'
import type { EchoData, EchoReport } from './echo-thread.ts'

const TWO_32 = 2 ** 32
const ROUNDS = 3_000

interface EchoOptions {
  parkMs: number
  eventfd?: number
  native?: EventfdSignal | null
}

function openEcho(t: TestContext, options: EchoOptions) {
  const data: EchoData = {
    forth: allocateLane(1024, { initialCounter: TWO_32 - 1024 }),
    back: allocateLane(1024, { initialCounter: TWO_32 - 2048 }),
    echoCell: allocateWaitCell(),
    callerCell: allocateWaitCell(),
    eventfd: options.eventfd ?? null,
    parkMs: options.parkMs,
  }
  const script = new URL(`./echo-thread${extname(import.meta.url)}`, import.meta.url)
  const worker = new Worker(script, { workerData: data })
  t.after(() => worker.terminate()) // Also when the test fails: a parked worker holds the process.
  const report = new Promise<EchoReport>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  const writer = new LaneWriter(data.forth)
  const reader = new LaneReader(data.back)
  const doorbell = new Doorbell(data.echoCell, options.native ?? null)
  const parker = new WaitAsyncParker(data.callerCell, () => reader.isEmpty())
  const post = (payloadBytes: number, value: number) => {
    const at = writer.claim(1, payloadBytes)
    assert.ok(at >= 0)
    for (let i = 0; i < payloadBytes; i++) writer.bytes[at + i] = value + i
    writer.commit()
  }
  return { data, report, reader, doorbell, parker, post }
}

/** Sends bursts and waits for all their echoes, round after round. */
function runRounds(echo: ReturnType<typeof openEcho>): Promise<void> {
  const { reader, doorbell, parker, post } = echo
  return new Promise((resolve, reject) => {
    let round = 0
    let outstanding = 0
    const startRound = () => {
      for (let i = 0; i <= round % 5; i++, outstanding++) post(1 + ((round * 7 + i) % 60), round)
      doorbell.ring()
    }
    const take = (_type: number, at: number) => {
      assert.equal(reader.bytes[at], round & 0xff)
      outstanding--
    }
    const turn = () => {
      try {
        do {
          reader.drain(1000, take)
          if (outstanding > 0) continue
          if (++round === ROUNDS) {
            post(0, 0)
            doorbell.ring()
            resolve()
            return
          }
          startRound()
        } while (!parker.arm(turn))
      } catch (error) {
        reject(error)
      }
    }
    startRound()
    turn()
  })
}

test('WaitAsyncParker and AtomicsParker, wake each other, for thousands of parks', {
  timeout: 30_000,
}, async (t) => {
  const waitAsync = t.mock.method(Atomics, 'waitAsync')
  const echo = openEcho(t, { parkMs: 5_000 })
  await runRounds(echo)
  const { echoed, sleptOverData } = await echo.report
  assert.equal(
    echoed,
    Array.from({ length: ROUNDS }, (_, i) => 1 + (i % 5)).reduce((a, b) => a + b),
  )
  assert.equal(sleptOverData, 0)
  assert.ok(waitAsync.mock.callCount() <= 2 * ROUNDS)
})

test('WaitAsyncParker and EventfdParker, wake each other, for thousands of parks', {
  timeout: 30_000,
  skip: loadNative() === null && 'the addon is not built',
}, async (t) => {
  const native = loadNative()
  assert.ok(native !== null)
  const eventfd = native.eventfdCreate()
  try {
    const echo = openEcho(t, { parkMs: 5_000, eventfd, native })
    await runRounds(echo)
    assert.equal((await echo.report).sleptOverData, 0)
  } finally {
    native.closeFd(eventfd)
  }
})

test('AtomicsParker, reports a sleep over data, when a producer rings before it commits', async (t) => {
  const echo = openEcho(t, { parkMs: 300 })
  const words = waitCellWords(echo.data.echoCell)
  const echoes = 3 // One would do, were the worker never held up between its look and its sleep.
  for (let i = 0; i < echoes; i++) {
    echo.doorbell.ring()
    do await sleep(20)
    while (Atomics.load(words, WAIT_CELL_STATE) !== PARKED_ATOMICS)
    echo.post(8, 1)
    while (echo.reader.drain(1, () => {}) === 0) await sleep(5)
  }
  echo.post(0, 0)
  echo.doorbell.ring()
  const { echoed, sleptOverData } = await echo.report
  assert.ok(sleptOverData > 0)
  assert.equal(echoed, echoes, 'a bounded park delivers late, not never')
})

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
