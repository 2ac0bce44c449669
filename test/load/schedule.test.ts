/** When units are due, and whose they are. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { dealPlaces } from '../../src/load/place.ts'
import { Schedule } from '../../src/load/schedule.ts'

test('Schedule, countDue, counts exactly what is due, at any rate and time', () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.001, max: 1e7, noNaN: true }),
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      fc.double({ min: -1000, max: 1e7, noNaN: true }),
      (unitsPerSecond, beginMs, afterMs) => {
        const schedule = new Schedule({ unitsPerSecond, lanes: 3, beginMs })
        const nowMs = beginMs + afterMs
        const count = schedule.countDue(nowMs)
        if (count > 0) assert.ok(schedule.dueMs(count - 1) <= nowMs)
        assert.ok(schedule.dueMs(count) > nowMs || nowMs < beginMs)
      },
    ),
  )
})

test('Schedule, gives every unit to one lane, in turn', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 0, max: 500 }),
      (lanes, count) => {
        const schedule = new Schedule({ unitsPerSecond: 1000, lanes, beginMs: 0 })
        const times: number[] = []
        for (let lane = 0; lane < lanes; lane++) {
          for (let unit = 0; unit < schedule.countOfLane(lane, count); unit++) {
            times.push(schedule.intendedMs(lane, unit))
          }
        }
        const expected = Array.from({ length: count }, (_, i) => schedule.dueMs(i))
        assert.deepEqual(
          times.sort((a, b) => a - b),
          expected,
        )
      },
    ),
  )
})

test('dealPlaces, leaves no place and no lane out', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 1, max: 50 }),
      (places, lanes) => {
        const dealt = dealPlaces(places, lanes)
        assert.equal(dealt.length, lanes)
        assert.ok(dealt.every((mine) => mine.length > 0))
        assert.equal(new Set(dealt.flat()).size, places)
        if (lanes <= places) assert.equal(dealt.flat().length, places, 'nobody shares')
      },
    ),
  )
})
