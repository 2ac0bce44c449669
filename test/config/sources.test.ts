/** Properties, YAML, environment names, assignments: text to pairs. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BROKER_OPTIONS } from '../../src/config/options.ts'
import {
  optionNameOf,
  parseAssignment,
  parseProperties,
  parseYamlOptions,
  variableNameOf,
} from '../../src/config/sources.ts'
import { editDistance, nearest } from '../../src/config/suggest.ts'

const seed = process.env.MILLRACE_SEED
const parameters = seed === undefined ? {} : { seed: Number(seed) }

test('parseProperties, reads what Java reads, separator by separator', () => {
  const source = [
    '# a comment',
    '! another',
    '',
    'a=1',
    'b : 2',
    'c 3',
    '  d  =  four words here  ',
    'e=one\\',
    '    two\\',
    '    three',
    'f\\=g=h',
    'tab=a\\tb',
    'unicode=\\u00e9',
    'empty=',
    'bare',
    'url=http://x:1/?a=b',
    'listeners=PLAINTEXT://:9092',
  ].join('\r\n')
  assert.deepEqual(Object.fromEntries(parseProperties(source)), {
    a: '1',
    b: '2',
    c: '3',
    d: 'four words here',
    e: 'onetwothree',
    'f=g': 'h',
    tab: 'a\tb',
    unicode: 'é',
    empty: '',
    bare: '',
    url: 'http://x:1/?a=b',
    listeners: 'PLAINTEXT://:9092',
  })
})

test('parseProperties, keeps an even number of backslashes as text, at the end of a line', () => {
  const entries = parseProperties('a=x\\\\\nb=y')
  assert.deepEqual(Object.fromEntries(entries), { a: 'x\\', b: 'y' })
})

test('parseProperties, ends, for any text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (source) => {
      assert.ok(parseProperties(source).size <= source.length)
    }),
    parameters,
  )
})

test('parseYamlOptions, flattens, and refuses what is not a mapping or says a name twice', () => {
  const entries = parseYamlOptions('log:\n  dirs: [a, b]\n  preallocate: true\nempty:\n')
  assert.deepEqual(Object.fromEntries(entries), {
    'log.dirs': 'a,b',
    'log.preallocate': 'true',
    empty: '',
  })
  assert.throws(() => parseYamlOptions('just text'), /mapping/)
  assert.throws(() => parseYamlOptions('log.dirs: a\nlog:\n  dirs: b\n'), /log\.dirs is set twice/)
  assert.equal(parseYamlOptions('').size, 0)
})

test('optionNameOf, undoes variableNameOf, for every option', () => {
  for (const name of [...Object.keys(BROKER_OPTIONS), 'with_underscore', 'with-dash.and_both']) {
    const variable = variableNameOf('KAFKA', name)
    assert.equal(optionNameOf(variable.slice('KAFKA_'.length)), name)
  }
})

test('parseAssignment, splits at the first equals sign', () => {
  assert.deepEqual(parseAssignment(' a.b = c=d '), ['a.b', 'c=d'])
  assert.deepEqual(parseAssignment('a='), ['a', ''])
  assert.equal(parseAssignment('=x'), null)
  assert.equal(parseAssignment('a'), null)
})

test('editDistance, is a distance, and gives up past the limit', () => {
  assert.equal(editDistance('kitten', 'sitting', 9), 3)
  assert.equal(editDistance('ab', 'ba', 9), 1)
  assert.equal(editDistance('kitten', 'sitting', 2), 3)
  fc.assert(
    fc.property(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), (a, b) => {
      const distance = editDistance(a, b, 99)
      assert.equal(distance, editDistance(b, a, 99))
      assert.equal(distance === 0, a === b)
      assert.ok(distance <= Math.max(a.length, b.length))
    }),
    parameters,
  )
})

test('nearest, finds a typo and nothing far-fetched', () => {
  const known = Object.keys(BROKER_OPTIONS)
  assert.equal(nearest('log.retention.hrs', known), 'log.retention.hours')
  assert.equal(nearest('advertised.listener', known), 'advertised.listeners')
  assert.equal(nearest('Num.Partitions', known), 'num.partitions')
  assert.equal(nearest('zookeeper.connect', known), null)
})
