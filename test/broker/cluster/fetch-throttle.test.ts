/** What a fetcher leaves out while it copies more than it may. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { batch, Fixture } from './fetcher-fixture.ts'

describe('ReplicaFetcher, throttled', () => {
  test('asks for the others, and for what was held back once the rate allows it', (t) => {
    const fixture = new Fixture(t)
    fixture.throttle.isOpen = false
    fixture.add(0)
    fixture.add(1)
    fixture.connect()
    assert.deepEqual(fixture.named, [[1, 5]])
    fixture.give({ partition: 1, records: batch(5, 2), highWatermark: 7 })
    fixture.shard.followed({ logEndOffset: 7 })
    assert.deepEqual(fixture.named, [[1, 7]])
    assert.equal(fixture.throttle.taken, 0)
    fixture.throttle.isOpen = true
    fixture.pass(50)
    assert.deepEqual(fixture.named, [[0, 5]], 'a second request says it')
  })

  test('counts what comes, and leaves the session for as long as it has to wait', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.add(1)
    fixture.connect()
    const records = batch(5, 2)
    fixture.give({ records, highWatermark: 20 })
    assert.equal(fixture.throttle.taken, records.length)
    fixture.throttle.isOpen = false
    fixture.shard.followed({ logEndOffset: 7 })
    assert.deepEqual([fixture.forgotten, fixture.named], [[0], []])
    for (let i = 0; i < 3; i++) {
      fixture.give()
      fixture.pass(50)
      assert.deepEqual([fixture.forgotten, fixture.named], [[], []])
    }
    fixture.throttle.isOpen = true
    fixture.pass(50)
    assert.deepEqual(fixture.named, [[0, 7]])
  })

  test('holds nobody back who has reached the high watermark of the leader', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give({ records: batch(5, 2), highWatermark: 7 })
    const { taken } = fixture.throttle
    fixture.throttle.isOpen = false
    fixture.shard.followed({ logEndOffset: 7 })
    assert.deepEqual(fixture.named, [[0, 7]])
    fixture.give({ records: batch(7, 2), highWatermark: 7 })
    assert.equal(fixture.throttle.taken, taken)
  })

  test('sends nothing while all are held back, and stops with its fetcher', (t) => {
    const fixture = new Fixture(t)
    fixture.throttle.isOpen = false
    fixture.add(0)
    fixture.connect()
    assert.equal(fixture.fetches, 0)
    fixture.pass(1000)
    assert.equal(fixture.fetches, 0)
    fixture.fetcher.stop()
    fixture.throttle.isOpen = true
    fixture.pass(1000)
    assert.equal(fixture.fetches, 0)
  })
})
