import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { splitEvents } from '../../../src/gateway/rest/split-events.ts'

test('splitEvents, any body, has the parts that JSON.parse finds', () => {
  const rest = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 3 })
  const list = fc.array(fc.jsonValue({ maxDepth: 4 }), { maxLength: 5 })
  fc.assert(
    fc.property(rest, list, rest, fc.nat(3), (before, events, after, indent) => {
      const body = { ...before, events, ...after }
      body.events = events
      const parts = splitEvents(JSON.stringify(body, null, indent), 10)
      assert.ok(parts !== null)
      assert.deepEqual(
        parts.events.map((text) => JSON.parse(text)),
        JSON.parse(JSON.stringify(events)),
      )
      const others = JSON.parse(JSON.stringify({ ...body, events: [] }))
      assert.deepEqual(JSON.parse(parts.rest), others)
    }),
  )
})

test('splitEvents, what has no list of events at its top, is not split', () => {
  for (const text of [
    '',
    '[]',
    '["events",[1]]',
    '{"value":{"events":[1]}}',
    '{"value":"events","key":"a"}',
    '{"events":{"a":[1]}}',
    '{"events":[1,2',
    '{"events"',
    '{"value":["events",[1]]}',
  ]) {
    assert.equal(splitEvents(text, 10), null, text)
  }
  assert.deepEqual(splitEvents('{"\\u0065vents" : [ 1,,"]"]}', 10)?.events, [' 1', '', '"]"'])
})

test('splitEvents, too many, ends with one too many', () => {
  assert.equal(splitEvents(`{"events":[${'0,'.repeat(100)}0]}`, 3)?.events.length, 4)
})

test('splitEvents, text that is no JSON, ends without a throw', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'{}[]",:\\ e'), minLength: 5 }), (text) => {
      splitEvents(`{"events":[${text}`, 5)
      splitEvents(text, 5)
    }),
  )
})
