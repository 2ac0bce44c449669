/**
 * The wake protocol under every order of its atomic operations (two messages), and under many
 * random orders of longer runs. The same exploration must find each planted lost wake.
 */
import assert from 'node:assert/strict'
import { extname } from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { Random } from '../../src/base/random.ts'
import { allocateWaitCell } from '../../src/ring/doorbell.ts'
import { allocateLane } from '../../src/ring/lane-layout.ts'
import { withSeed } from '../ring/seed.ts'
import { allocateGate, type Choose, exploreAll, Scheduler } from './schedule.ts'
import type { ActorData, Bug } from './schedule-thread.ts'

// The same numbers as in schedule-thread.ts, which cannot be loaded here: it starts acting.
const DELIVERED = 0
const SLEPT_OVER_DATA = 1
const OUT_OF_ORDER = 2
const PARKS = 3
const WAKES = 4

interface Stage {
  run(choose: Choose): number
  report: Int32Array
  close(): Promise<unknown>
}

interface Explored {
  /** Orders tried: all there are. */
  runs: number
  stalls: number
  report: Int32Array
}

function openStage(options: { bug: Bug; producers: number; messages: number }): Stage {
  const { bug, producers, messages } = options
  const lanes = Array.from({ length: producers }, () => allocateLane(1 << 20))
  const shared = { gate: allocateGate(producers + 1), cell: allocateWaitCell(), bug, messages }
  const report = new SharedArrayBuffer(32)
  const actors: ActorData[] = [{ ...shared, index: 0, role: 'consumer', lanes, report }]
  for (const [i, lane] of lanes.entries()) {
    actors.push({ ...shared, index: i + 1, role: 'producer', lanes: [lane], report })
  }
  const script = new URL(`./schedule-thread${extname(import.meta.url)}`, import.meta.url)
  const workers = actors.map((workerData) => new Worker(script, { workerData }))
  const scheduler = new Scheduler(shared.gate)
  return {
    run: (choose) => scheduler.run(choose),
    report: new Int32Array(report),
    close: () => Promise.all(workers.map((worker) => worker.terminate())),
  }
}

async function explore(bug: Bug, messages: number): Promise<Explored> {
  const stage = openStage({ bug, producers: 1, messages })
  try {
    let stalls = 0
    const runs = exploreAll((choose) => {
      stalls += stage.run(choose)
    })
    return { runs, stalls, report: stage.report }
  } finally {
    await stage.close()
  }
}

test('doorbell, loses no wake, in any order of the operations around two messages', async () => {
  const { runs, stalls, report } = await explore('none', 2)
  assert.ok(runs > 10_000, `${runs} orders`)
  assert.equal(stalls, 0, 'the consumer slept and nobody was left to wake it')
  assert.equal(report[SLEPT_OVER_DATA], 0)
  assert.equal(report[OUT_OF_ORDER], 0)
  assert.equal(report[DELIVERED], 2 * runs)
  assert.ok((report[WAKES] as number) <= (report[PARKS] as number))
  assert.ok((report[WAKES] as number) > 0 && (report[PARKS] as number) > 0)
})

for (const bug of ['ring-before-commit', 'park-without-look', 'look-before-park'] as const) {
  test(`exploration, finds a planted lost wake, when a side is built as ${bug}`, async () => {
    const { runs, stalls, report } = await explore(bug, 1)
    assert.ok(stalls > 0, `not found in ${runs} orders`)
    assert.equal(report[SLEPT_OVER_DATA], stalls, 'each is visible as a sleep over data')
    assert.equal(report[DELIVERED], runs, 'a bounded park delivers late, not never')
  })
}

test('doorbell, loses no wake and wakes once a park, with two producers in random orders', () =>
  withSeed('race/doorbell-schedules', async (seed) => {
    const random = new Random(seed)
    const stage = openStage({ bug: 'none', producers: 2, messages: 3 })
    try {
      const runs = 300
      for (let run = 0; run < runs; run++) {
        assert.equal(
          stage.run((count) => random.below(count)),
          0,
          `lost wake in run ${run}`,
        )
      }
      const { report } = stage
      assert.equal(report[SLEPT_OVER_DATA], 0)
      assert.equal(report[OUT_OF_ORDER], 0)
      assert.equal(report[DELIVERED], runs * 6)
      assert.ok((report[WAKES] as number) <= (report[PARKS] as number))
      assert.ok((report[WAKES] as number) > 0)
    } finally {
      await stage.close()
    }
  }))
