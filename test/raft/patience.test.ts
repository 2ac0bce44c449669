import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Patience } from '../../src/raft/patience.ts'

const OPTIONS = { heartbeatMs: 75, electionTimeoutMsMin: 300 }

/** Hears a leader every 75 ms, and each `every`th time `lateMs` later. */
function hear(patience: Patience, { from = 0, count = 5000, every = 500, lateMs = 0 }): number {
  let nowMs = from
  for (let i = 1; i <= count; i++) {
    const silentMs = 75 + (i % every === 0 ? lateMs : 0)
    nowMs += silentMs
    patience.heard(silentMs, nowMs)
  }
  return nowMs
}

test('a leader that is prompt, is waited for as configured', () => {
  const patience = new Patience(OPTIONS)
  hear(patience, { lateMs: 70 })
  assert.equal(patience.factor, 1)
})

test('one that is late again and again, is waited for four times as long as that', () => {
  const patience = new Patience(OPTIONS)
  const nowMs = hear(patience, { lateMs: 150 })
  assert.equal(patience.factor, 2)
  hear(patience, { from: nowMs, lateMs: 10 })
  assert.equal(patience.factor, 1, 'and not for ever')
})

test('one pause in minutes, or the first ones, change nothing', () => {
  const rare = new Patience(OPTIONS)
  hear(rare, { every: 4000, lateMs: 10_000 })
  assert.equal(rare.factor, 1)
  const early = new Patience(OPTIONS)
  hear(early, { count: 900, every: 3, lateMs: 200 })
  assert.equal(early.factor, 1)
})

test('nobody is waited for more than three times as long', () => {
  const patience = new Patience(OPTIONS)
  hear(patience, { every: 3, lateMs: 1000 })
  assert.equal(patience.factor, 3)
})

test('many messages, are no more than few', () => {
  const patience = new Patience(OPTIONS)
  let nowMs = 0
  for (let i = 1; i <= 500_000; i++) {
    const silentMs = i % 50_000 === 0 ? 225 : 1
    nowMs += silentMs
    patience.heard(silentMs, nowMs)
  }
  assert.equal(patience.factor, 2)
})

test('a process that is late itself, waits four times as long as that', () => {
  const patience = new Patience(OPTIONS)
  patience.ownDelay(70)
  assert.equal(patience.factor, 1)
  patience.ownDelay(120)
  assert.equal(patience.factor, 1.6)
  hear(patience, { lateMs: 150 })
  assert.equal(patience.factor, 2)
  patience.ownDelay(10_000)
  assert.equal(patience.factor, 3)
})
