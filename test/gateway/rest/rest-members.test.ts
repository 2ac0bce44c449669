import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RestMember } from '../../../src/gateway/rest/rest-members.ts'
import { FakeGroups } from '../../support/fake-groups.ts'
import { VirtualTimers } from '../../support/virtual-timers.ts'

/** Counts what is kept for those who wait: each is called when the member changes. */
function countedSignal(): { signal: AbortSignal; abort(): void; removed: () => number } {
  const controller = new AbortController()
  const { signal } = controller
  let removed = 0
  const remove = signal.removeEventListener.bind(signal)
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    removed++
    remove(...args)
  }
  return { signal, abort: () => controller.abort(), removed: () => removed }
}

async function newMember() {
  const timers = new VirtualTimers()
  const groups = new FakeGroups(timers)
  groups.counts.set('t', 2)
  const asked = { group: 'g', options: { topics: ['t'] }, clientHost: '/h' }
  const member = new RestMember(groups.calls({ isCut: false }), asked, () => {})
  await timers.pass(500)
  assert.equal(member.state, 'assigned')
  return { timers, member }
}

test('who has waited for a change, and given up, is forgotten', async () => {
  const { timers, member } = await newMember()
  const late = countedSignal()
  const gone = countedSignal()
  const waits = [member.change(100, late.signal), member.change(60_000, gone.signal)]
  gone.abort()
  await timers.pass(200)
  await Promise.all(waits)
  assert.deepEqual([late.removed(), gone.removed()], [1, 1])
  await member.leave()
  assert.deepEqual([late.removed(), gone.removed()], [1, 1], 'not called again')
})

test('who waits learns of a change', async () => {
  const { member } = await newMember()
  const { signal } = new AbortController()
  const waits = [member.change(60_000, signal), member.change(60_000, signal)]
  await member.leave()
  await Promise.all(waits)
  assert.equal(member.state, 'lost')
})
