/** When shards that have refused are asked again. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { RoleRetries } from '../../../src/broker/cluster/role-retries.ts'

class Fixture {
  nowMs = 0
  readonly due: { readonly atMs: number; readonly handles: readonly number[] }[] = []
  readonly retries = new RoleRetries(
    (handles) => this.due.push({ atMs: this.nowMs, handles }),
    () => this.nowMs,
  )
  readonly #t: TestContext

  constructor(t: TestContext) {
    this.#t = t
    t.mock.timers.enable({ apis: ['setTimeout'] })
  }

  pass(ms: number): void {
    for (let i = 0; i < ms; i++) {
      this.nowMs++
      this.#t.mock.timers.tick(1)
    }
  }
}

describe('RoleRetries', () => {
  test('waits twice as long each time, and half a minute at the most', (t) => {
    const fixture = new Fixture(t)
    const waits: number[] = []
    for (let i = 0, atMs = 0; i < 10; i++) {
      fixture.retries.refused(7)
      fixture.pass(30_000)
      const { length } = fixture.due
      assert.equal(length, i + 1)
      waits.push((fixture.due[i]?.atMs ?? 0) - atMs)
      atMs = fixture.nowMs
    }
    assert.deepEqual(waits.slice(0, 4), [200, 400, 800, 1600])
    assert.deepEqual(waits.slice(-2), [30_000, 30_000])
  })

  test('takes together what is due together, each in its own time', (t) => {
    const fixture = new Fixture(t)
    fixture.retries.refused(1)
    fixture.retries.refused(2)
    fixture.pass(100)
    fixture.retries.refused(3)
    fixture.pass(1000)
    assert.deepEqual(fixture.due, [
      { atMs: 200, handles: [1, 2] },
      { atMs: 300, handles: [3] },
    ])
  })

  test('begins anew with what was taken, and asks nobody once it is stopped', (t) => {
    const fixture = new Fixture(t)
    fixture.retries.refused(1)
    fixture.pass(200)
    fixture.retries.forget(1)
    fixture.retries.refused(1)
    fixture.pass(200)
    assert.equal(fixture.due.length, 2)
    fixture.retries.refused(1)
    fixture.retries.stop()
    fixture.pass(30_000)
    assert.equal(fixture.due.length, 2)
  })
})
