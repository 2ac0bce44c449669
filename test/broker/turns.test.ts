import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Turns } from '../../src/broker/turns.ts'

test('Turns, pieces of work, run one after another in order, also behind one that fails', async () => {
  const turns = new Turns()
  const events: string[] = []
  const piece = (name: string, fails = false) =>
    turns.run(async () => {
      events.push(`${name} begins`)
      await new Promise(setImmediate)
      events.push(`${name} ends`)
      if (fails) throw new Error(name)
      return name
    })
  const all = await Promise.allSettled([piece('a'), piece('b', true), piece('c')])
  assert.deepEqual(
    all.map((one) => one.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  const expected = ['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']
  assert.deepEqual(events, expected)
})
