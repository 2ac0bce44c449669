import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkJson, JSON_DEPTH_MAX, JSON_NAMES_MAX } from '../../../src/gateway/rest/check-json.ts'

test('checkJson, any JSON that JavaScript has written, finds nothing', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 10 }), (value) => {
      const text = JSON.stringify(value)
      const hasHugeNumber = /(?<!["\\\w])-?\d[\d.]*(e\+\d+|\d{15})/.test(text)
      if (!hasHugeNumber) assert.equal(checkJson(text), null, text)
    }),
  )
})

test('checkJson, nesting, takes what is at the bound and no more', () => {
  const nested = (depth: number, open: string, close: string) =>
    open.repeat(depth) + close.repeat(depth)
  assert.equal(checkJson(nested(JSON_DEPTH_MAX, '[', ']')), null)
  assert.match(checkJson(nested(JSON_DEPTH_MAX + 1, '[', ']')) ?? '', /nested deeper/)
  assert.match(checkJson(nested(10_000, '{"a":', '}')) ?? '', /nested deeper/)
  assert.equal(checkJson(`"${'['.repeat(10_000)}"`), null, 'brackets in a string are text')
  assert.equal(checkJson('[[]],'.repeat(1000)), null, 'depth goes down again')
})

test('checkJson, a name that appears twice, finds it at every level and in every spelling', () => {
  for (const text of [
    '{"a":1,"a":2}',
    '[{"b":{"a":1,"c":[{}],"a":2}}]',
    '{"a":1,"\\u0061":2}',
    '{ "a" : {"a":1} , "b":[], "a" : 2}',
    '{"__proto__":1,"__proto__":2}',
  ]) {
    assert.match(checkJson(text) ?? '', /appears twice/, text)
  }
  for (const text of [
    '{"a":{"a":{"a":1}}}',
    '[{"a":1},{"a":1}]',
    '{"a":"b","b":"a"}',
    '{"a":["a","a"]}',
    '{"\\\\":1,"\\"":2}',
  ]) {
    assert.equal(checkJson(text), null, text)
  }
})

test('checkJson, numbers, refuses those that would come out as others', () => {
  for (const good of [
    '9007199254740991',
    '-9007199254740991',
    '0.1',
    '1.5e3',
    '1e-7',
    '-0',
    '17',
    '1.50000000000000000000',
    '0.00000000000000000000',
    '0.30000000000000004',
    '5e-324',
  ]) {
    assert.equal(checkJson(`{"a":[${good}]}`), null, good)
  }
  for (const bad of [
    '9007199254740992',
    '1e400',
    '-1e999',
    '1e20',
    '0.12345678901234567890',
    '1.00000000000000000001',
    '1e-400',
    '3e-324',
  ]) {
    assert.match(checkJson(`{"a":[${bad}]}`) ?? '', /not exact/, bad)
  }
  assert.equal(checkJson('"9007199254740993"'), null, 'a string is a string')
})

test('checkJson, text that is no JSON, ends without a throw', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'{}[]",:\\-0e1 ') }), (text) => {
      checkJson(text)
    }),
  )
})

test('checkJson, names, takes what is at the bound and no more', () => {
  const names = (count: number): string => {
    const pairs = Array.from({ length: count }, (_, i) => `"${i % 100}":{}`)
    const objects: string[] = []
    for (let at = 0; at < count; at += 100) objects.push(`{${pairs.slice(at, at + 100).join(',')}}`)
    return `[${objects.join(',')}]`
  }
  assert.equal(checkJson(names(JSON_NAMES_MAX)), null)
  assert.match(checkJson(names(JSON_NAMES_MAX + 1)) ?? '', /more than 10000 names/)
})
