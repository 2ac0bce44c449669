/** What may be copied in a second, in virtual time. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ByteRate } from '../../src/replication/byte-rate.ts'
import { withSeed } from '../support/seed.ts'

describe('ByteRate', () => {
  test('begins empty, and saves up what one second gives', () => {
    const rate = new ByteRate(1000, 0)
    assert.equal(rate.mayTake(0), false)
    assert.equal(rate.mayTake(1), true)
    rate.take(1500, 60_000)
    assert.equal(rate.mayTake(60_500), false)
    assert.equal(rate.mayTake(60_501), true)
  })

  test('says when something may be copied again, to the millisecond', () => {
    const rate = new ByteRate(2000, 0)
    rate.take(10_000, 1000)
    const waitMs = rate.waitMs(1000)
    assert.ok(waitMs > 4000 && waitMs <= 4001, String(waitMs))
    assert.equal(rate.mayTake(1000 + Math.ceil(waitMs)), true)
    assert.equal(rate.waitMs(1000 + Math.ceil(waitMs)), 0)
  })

  test('what is given back may be taken again, and no more than that', () => {
    const rate = new ByteRate(1000, 0)
    rate.take(1_000_000, 1000)
    rate.take(-999_000, 1000)
    assert.equal(rate.mayTake(1001), true)
    rate.take(-1_000_000, 1001)
    rate.take(1000, 1001)
    assert.equal(rate.mayTake(1001), false)
  })

  test('a new rate holds at once, without what the one before has left', () => {
    const rate = new ByteRate(1, 0)
    rate.take(1_000_000, 1000)
    rate.setRate(1_000_000, 1000)
    assert.equal(rate.mayTake(1001), true)
    rate.setRate(0, 1001)
    assert.deepEqual([rate.mayTake(1e9), rate.waitMs(1e9)], [false, Number.POSITIVE_INFINITY])
    rate.setRate(Number.POSITIVE_INFINITY, 1e9)
    rate.take(1e12, 1e9)
    assert.deepEqual([rate.mayTake(1e9), rate.waitMs(1e9)], [true, 0])
  })

  test('lets through in any time what its rate gives, a second of it more, and one taking', () =>
    withSeed('replication/byte-rate', (random) => {
      const bytesPerSecond = 1 + random.below(1_000_000)
      const rate = new ByteRate(bytesPerSecond, 0)
      const taken: { atMs: number; bytes: number }[] = []
      const takingMax = 1 + random.below(100_000)
      for (let nowMs = 0, i = 0; i < 400; i++, nowMs += random.below(300)) {
        if (!rate.mayTake(nowMs)) continue
        const bytes = 1 + random.below(takingMax)
        rate.take(bytes, nowMs)
        taken.push({ atMs: nowMs, bytes })
      }
      for (let from = 0; from < taken.length; from++) {
        const fromMs = (taken[from] as { atMs: number }).atMs
        let sum = 0
        for (const { atMs, bytes } of taken.slice(from)) {
          sum += bytes
          const bound = (bytesPerSecond * (atMs - fromMs + 1000)) / 1000 + takingMax
          assert.ok(sum <= bound, `${sum} bytes in ${atMs - fromMs} ms, more than ${bound}`)
        }
      }
    }))

  test('gives its whole rate to whoever always has something to copy', () => {
    const rate = new ByteRate(5000, 0)
    let sum = 0
    for (let nowMs = 0; nowMs < 100_000; nowMs++) {
      if (!rate.mayTake(nowMs)) continue
      rate.take(700, nowMs)
      sum += 700
    }
    assert.ok(sum >= 99 * 5000 && sum <= 101 * 5000, String(sum))
  })
})
