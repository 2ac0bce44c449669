/** The clock that drives lanes, in virtual time: what is due, what waits, what is counted. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Engine, type EngineOptions } from '../../src/load/engine.ts'
import { Tally } from '../../src/load/tally.ts'
import { VirtualTimers } from '../support/virtual-timers.ts'
import { engineTime, type FakeBroker, FakeLane } from './fake-lane.ts'

interface Setup extends Partial<EngineOptions> {
  readonly broker?: FakeBroker
}

async function run({ broker = { takesMs: () => 1, events: 10 }, ...options }: Setup) {
  const timers = new VirtualTimers()
  const tally = new Tally(1)
  const measured: string[] = []
  const engine = new Engine(
    {
      lanes: 1,
      unitsPerSecond: 100,
      warmUpMs: 1000,
      durationMs: 10_000,
      pacing: 'sleep',
      drainMs: 5000,
      signal: new AbortController().signal,
      time: engineTime(timers),
      ...options,
    },
    tally,
    { measure: (at) => measured.push(`${at} ${timers.monotonicMs()}`), acknowledged: () => {} },
  )
  const lanes = Array.from({ length: options.lanes ?? 1 }, (_, index) => {
    const lane = new FakeLane(index, timers, broker)
    lane.engine = engine
    return lane
  })
  const stoppedBy = await timers.until(engine.run(lanes))
  return { tally, lanes, stoppedBy, measured, timers }
}

test('Engine, open loop, sends on schedule and counts what was due in the measurement', async () => {
  const { tally, stoppedBy, measured } = await run({ lanes: 3 })
  assert.equal(stoppedBy, 'time')
  assert.equal(measured.length, 2)
  assert.ok(Math.abs(tally.offeredUnits - 1000) <= 1, `${tally.offeredUnits} of 1000 were due`)
  assert.ok(tally.achievedUnits >= tally.offeredUnits - 1, 'one may be under way at the end')
  assert.equal(tally.latency.count, tally.offeredUnits)
  assert.equal(tally.overdueUnits + tally.unansweredUnits, 0)
  const { p50, max } = tally.latency.summary()
  assert.ok(p50 !== null && max !== null && p50 >= 1 && max < 3, `${p50} and ${max} ms`)
})

test('Engine, spinning, is on time to the look', async () => {
  const { tally } = await run({ pacing: 'spin' })
  const { max } = tally.latency.summary()
  assert.ok(max !== null && max < 1.1, `${max} ms`)
})

test('Engine, a broker that stalls for a second shows in latency, not only in one request', async () => {
  const stallsAtMs = 5000
  const broker = {
    events: 1,
    takesMs: (sentMs: number) => (sentMs >= stallsAtMs && sentMs < stallsAtMs + 10 ? 1000 : 1),
  }
  const { tally } = await run({ broker })
  // A hundred requests were due meanwhile, each of them waited: on average for half a second.
  const latency = tally.latency.summary()
  const service = tally.service.summary()
  assert.ok(latency.p99 !== null && latency.p99 > 850, `p99 ${latency.p99} ms`)
  assert.ok(latency.p90 !== null && latency.p90 > 50, `p90 ${latency.p90} ms`)
  // Who measures from the actual send time sees one slow request of a thousand.
  assert.ok(service.p99 !== null && service.p99 < 2, `service p99 ${service.p99} ms`)
  assert.ok(service.max !== null && service.max >= 1000)
  assert.ok(Math.abs(tally.latency.count - 1000) <= 1)
})

test('Engine, what was due and never sent is counted with its age', async () => {
  const broker = { events: 1, takesMs: () => 100 } // Ten a second, of a hundred.
  const { tally } = await run({ broker })
  assert.ok(tally.overdueUnits > 850, `${tally.overdueUnits} overdue`)
  assert.ok(Math.abs(tally.latency.count - tally.offeredUnits) <= 1, 'nothing is left out')
  assert.ok(tally.achievedUnits / tally.offeredUnits < 0.15)
  const { p50, max } = tally.latency.summary()
  assert.ok(p50 !== null && p50 > 4000, `p50 ${p50} ms`)
  assert.ok(max !== null && max > 9000)
})

test('Engine, what was sent and never answered is counted with its age', async () => {
  const broker = { events: 1, takesMs: (sentMs: number) => (sentMs < 6000 ? 1 : null) }
  const { tally, timers } = await run({ broker, drainMs: 4000 })
  assert.equal(tally.unansweredUnits, 1)
  const { max } = tally.latency.summary()
  assert.ok(timers.monotonicMs() >= 15_000, 'it waited for the answer')
  assert.ok(max !== null && max >= 8900, `${max} ms: until the end of the drain`)
  assert.ok(Math.abs(tally.latency.count - tally.offeredUnits) <= 1)
  assert.equal(tally.undone.count, tally.overdueUnits + 1)
})

test('Engine, closed loop, sends when there is room, and latency is service', async () => {
  const { tally, lanes } = await run({ unitsPerSecond: null, lanes: 4, durationMs: 1000 })
  for (const lane of lanes) assert.ok(lane.sent > 1900, `${lane.sent} sent`)
  assert.ok(Math.abs(tally.requests - 4000) <= 8, `${tally.requests} requests`)
  assert.equal(tally.events, tally.requests * 10)
  assert.deepEqual(tally.latency.summary(), tally.service.summary())
  assert.equal(tally.overdueUnits, 0)
})

test('Engine, aborted, ends early and keeps what there is', async () => {
  const stop = new AbortController()
  const broker = {
    events: 1,
    takesMs: (sentMs: number) => {
      if (sentMs > 3000) stop.abort()
      return 1
    },
  }
  const { tally, stoppedBy, timers } = await run({ broker, signal: stop.signal })
  assert.equal(stoppedBy, 'signal')
  assert.ok(timers.monotonicMs() < 3100)
  assert.ok(Math.abs(tally.requests - 200) <= 2, `${tally.requests} in two seconds`)
})

test('Engine, aborted in the warm-up, has measured nothing', async () => {
  const stop = new AbortController()
  stop.abort()
  const { tally, stoppedBy, measured } = await run({ signal: stop.signal })
  assert.equal(stoppedBy, 'signal')
  assert.deepEqual([tally.requests, tally.offeredUnits, measured.length], [0, 0, 0])
})

test('Engine, a refusal ends the run, lost connections when none is left', async () => {
  for (const kind of ['refused', 'connections'] as const) {
    const timers = new VirtualTimers()
    const tally = new Tally(1)
    const signal = new AbortController().signal
    const options = { lanes: 2, unitsPerSecond: 100, warmUpMs: 0, durationMs: 10_000, drainMs: 10 }
    const time = engineTime(timers)
    const events = { measure: () => {}, acknowledged: () => {} }
    const engine = new Engine({ ...options, pacing: 'sleep', signal, time }, tally, events)
    const lanes = [0, 1].map(
      (index) => new FakeLane(index, timers, { takesMs: () => 1, events: 1 }),
    )
    for (const lane of lanes) lane.engine = engine
    timers.after(100, () => {
      if (kind === 'refused') engine.refused('MESSAGE_TOO_LARGE: too large')
      else engine.broke(0, 'closed')
    })
    timers.after(200, () => engine.broke(1, 'closed'))
    assert.equal(await timers.until(engine.run(lanes)), kind)
    assert.ok(timers.monotonicMs() < 300)
  }
})
