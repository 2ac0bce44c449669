import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LifeSigns } from '../../../src/gateway/web/life-signs.ts'

test('LifeSigns, pings the silent once an interval and gives up at the end', () => {
  const signs = new LifeSigns({ idleTimeoutMs: 100, pingIntervalMs: 30 }, 1000)
  const looks = [10, 20, 30, 40, 50, 60, 70, 90, 99, 100].map((ms) => signs.look(false, 1000 + ms))
  const fine = 'fine'
  assert.deepEqual(looks, [fine, fine, 'ping', fine, fine, 'ping', fine, 'ping', fine, 'dead'])
})

test('LifeSigns, starts anew whenever something was heard', () => {
  const signs = new LifeSigns({ idleTimeoutMs: 100, pingIntervalMs: 30 }, 0)
  for (let nowMs = 25; nowMs < 1000; nowMs += 25) assert.equal(signs.look(true, nowMs), 'fine')
  assert.equal(signs.look(false, 1000), 'fine')
  assert.equal(signs.look(false, 1005), 'ping')
  assert.equal(signs.look(true, 2000), 'fine', 'however late one looks')
})
