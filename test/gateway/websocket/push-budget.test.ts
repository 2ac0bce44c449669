import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Subscription } from '../../../src/broker/subscription.ts'
import { PushBudget } from '../../../src/gateway/websocket/push-budget.ts'

const MIB = 1024 * 1024

/** Subscriptions that only remember that they were asked to go on. */
function waiter(resumed: number[], id: number): Subscription {
  return { pump: () => resumed.push(id) } as unknown as Subscription
}

test('PushBudget.reserve, pushes larger than all of it, takes one at a time', () => {
  let buffered = 0
  const resumed: number[] = []
  const budget = new PushBudget(4 * MIB, () => buffered)
  const all = Array.from({ length: 5 }, (_, id) => waiter(resumed, id))
  const large = 6 * MIB
  assert.deepEqual(
    all.map((one) => budget.reserve(one, large)),
    [true, false, false, false, false],
  )
  // It has been read, and the client has taken some of it.
  budget.free(large)
  buffered = 3 * MIB
  assert.equal(budget.reserve(all[1] as Subscription, large), false)
  buffered = 2 * MIB
  budget.resume()
  assert.deepEqual(resumed.toSorted(), [1, 2, 3, 4])
  assert.equal(budget.reserve(all[2] as Subscription, large), true)
  assert.equal(budget.reserve(all[3] as Subscription, 1), false)
})

test('PushBudget.reserve, small pushes, share it', () => {
  let buffered = 0
  const budget = new PushBudget(4 * MIB, () => buffered)
  const one = waiter([], 0)
  assert.deepEqual(
    Array.from({ length: 5 }, () => budget.reserve(one, MIB)),
    [true, true, true, true, false],
  )
  for (let i = 0; i < 4; i++) budget.free(MIB)
  buffered = 3 * MIB
  assert.deepEqual([budget.reserve(one, MIB), budget.reserve(one, MIB)], [true, false])
})
