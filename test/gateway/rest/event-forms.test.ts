import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkJson } from '../../../src/gateway/rest/check-json.ts'
import { toJson, toRecord } from '../../../src/gateway/rest/event-forms.ts'
import type { Event, Format } from '../../../src/gateway/rest/shapes.ts'
import { Event as EventShape, ReadEvent } from '../../../src/gateway/rest/shapes.ts'

/** What comes back of an event: as it is shown in `format`. */
function back(event: Event, format: Format) {
  const { key, value, headers } = toRecord(event, format, 'event')
  const text = toJson({ offset: 7, timestamp: 8, key, value, headers }, format)
  assert.ok(!text.includes('\n'))
  const shown = ReadEvent.parse(JSON.parse(text))
  assert.equal(shown.offset, 7)
  return shown
}

const text = fc.string({ unit: 'grapheme' })
const bytes = fc.uint8Array()

test('json, any value that is taken, comes back equal and unmarked', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.option(text), (value, key) => {
      fc.pre(checkJson(JSON.stringify(value)) === null)
      const shown = back({ value, key }, 'json')
      assert.deepEqual(shown.value, JSON.parse(JSON.stringify(value)))
      assert.equal(shown.key, key)
      assert.equal(shown.valueFormat, undefined)
    }),
  )
})

test('text and base64, any value, comes back equal and unmarked', () => {
  fc.assert(
    fc.property(text, bytes, (string, some) => {
      const headers = [{ key: 'h', value: string }]
      const asText = back({ key: string, value: string, headers }, 'text')
      assert.deepEqual([asText.key, asText.value, asText.headers], [string, string, headers])
      assert.equal(asText.valueFormat, undefined)
      const value = Buffer.from(some).toString('base64')
      const asBytes = back({ key: value, value, headers: [{ key: 'h', value }] }, 'base64')
      assert.deepEqual([asBytes.key, asBytes.value], [value, value])
    }),
  )
})

test('any bytes, in any format, are shown without a loss and can be sent again', () => {
  fc.assert(
    fc.property(bytes, fc.constantFrom<Format>('json', 'text', 'base64'), (some, format) => {
      const record = { key: some, value: some, headers: [{ key: 'h', value: some }] }
      const { offset: _, ...shown } = JSON.parse(
        toJson({ offset: 0, timestamp: 0, ...record }, format),
      )
      const again = toRecord(EventShape.parse(shown), format, 'event')
      assert.deepEqual(Buffer.from(again.key ?? []), Buffer.from(some))
      if (format !== 'json') assert.deepEqual(Buffer.from(again.value ?? []), Buffer.from(some))
      assert.deepEqual(Buffer.from(again.headers[0]?.value ?? []), Buffer.from(some))
    }),
  )
})

function shownAs(value: string | Buffer, format: Format): [unknown, unknown] {
  const event = { offset: 0, timestamp: 0, key: null, value: Buffer.from(value), headers: [] }
  const { value: shown, valueFormat } = JSON.parse(toJson(event, format))
  return [shown, valueFormat]
}

test('json, bytes that are no JSON value, are text or base64 and say so', () => {
  assert.deepEqual(shownAs('hello', 'json'), ['hello', 'text'])
  assert.deepEqual(shownAs('', 'json'), ['', 'text'])
  assert.deepEqual(shownAs('null', 'json'), ['null', 'text'], 'null is no value at all')
  assert.deepEqual(shownAs('{"a":1,"a":2}', 'json'), ['{"a":1,"a":2}', 'text'])
  assert.deepEqual(shownAs('12345678901234567890', 'json'), ['12345678901234567890', 'text'])
  assert.deepEqual(shownAs('[1,', 'json'), ['[1,', 'text'])
  assert.deepEqual(shownAs('['.repeat(100), 'json'), ['['.repeat(100), 'text'])
  assert.deepEqual(shownAs('{"a":\n[1,\r\n2]}', 'json'), [{ a: [1, 2] }, undefined])
  assert.deepEqual(shownAs(Buffer.from([0xff]), 'json'), ['/w==', 'base64'])
  assert.deepEqual(shownAs(Buffer.from([0xff]), 'text'), ['/w==', 'base64'])
})

test('toRecord, what no bytes stand for, is refused and says where', () => {
  const cases: [Event, Format, RegExp][] = [
    [{ value: '\ud800' }, 'text', /event\.value: a surrogate/],
    [{ key: '\udc00', value: 1 }, 'json', /event\.key: a surrogate/],
    [{ value: 1 }, 'text', /event\.value: text wants a string/],
    [{ value: 'a' }, 'base64', /event\.value: it is not base64/],
    [{ value: 'ab=c' }, 'base64', /not base64/],
    [{ value: 'a*==' }, 'base64', /not base64/],
    [
      { value: null, headers: [{ key: 'h', value: 'é', format: 'base64' }] },
      'text',
      /headers\[0\]/,
    ],
  ]
  for (const [event, format, message] of cases) {
    assert.throws(() => toRecord(event, format, 'event'), message)
  }
})
