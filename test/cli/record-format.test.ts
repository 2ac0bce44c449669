import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type PrintableRecord, printerOf, TemplateError } from '../../src/cli/record-format.ts'

const RECORD: PrintableRecord = {
  topic: 'orders',
  partition: 3,
  offset: 2 ** 33,
  timestamp: 1_700_000_000_000,
  key: Buffer.from('k'),
  value: Buffer.from('grün'),
  headers: [
    { key: 'a', value: Buffer.from('1') },
    { key: 'b', value: null },
  ],
}

function print(format: string, record: PrintableRecord = RECORD): string {
  return Buffer.from(printerOf(format)(record)).toString()
}

test('printerOf, text, prints the value and nothing else', () => {
  assert.equal(print('text'), 'grün\n')
  assert.equal(print('text', { ...RECORD, value: null }), '\n')
  const bytes = Buffer.of(0xff, 0x00, 0x0a)
  assert.deepEqual(
    Buffer.from(printerOf('text')({ ...RECORD, value: bytes })),
    Buffer.of(0xff, 0x00, 0x0a, 0x0a),
  )
})

test('printerOf, json, prints a line that says everything, base64 where it is no UTF-8', () => {
  assert.deepEqual(JSON.parse(print('json')), {
    topic: 'orders',
    partition: 3,
    offset: 2 ** 33,
    timestamp: 1_700_000_000_000,
    key: 'k',
    value: 'grün',
    headers: [
      { name: 'a', value: '1' },
      { name: 'b', value: null },
    ],
  })
  const binary = JSON.parse(print('json', { ...RECORD, key: null, value: Buffer.of(0xff) }))
  assert.deepEqual([binary.key, binary.value, binary.valueBase64], [null, undefined, '/w=='])
})

test('printerOf, a template, puts its parts in and leaves the rest', () => {
  assert.equal(
    print('%t-%p@%o %T [%k] %v {%h} 100%%\\n\\t\\\\'),
    ['orders-3@8589934592 1700000000000 [k] grün {a=1,b=} 100%\n\t\\'].join(),
  )
  assert.equal(print('😀%v'), '😀grün')
})

test('printerOf, a template with an unknown part, says which are known', () => {
  assert.throws(() => printerOf('%x'), TemplateError)
  assert.throws(() => printerOf('100%'), /%v value/)
})
