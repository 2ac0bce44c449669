/** The house rules, on small trees that each break one of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  checkSources,
  findCycles,
  formatFinding,
  hasHeadComment,
  importsOf,
  type Rules,
  resolveImport,
} from '../../scripts/lib/tidy-rules.ts'

const RULES: Rules = {
  everywhere: ['base', 'errors'],
  imports: {
    base: { allowed: [] },
    errors: { allowed: ['base'] },
    low: { allowed: [] },
    high: { allowed: ['low'] },
    'main.ts': { allowed: ['high'] },
  },
  pureFolders: ['low'],
  nodeAllowed: { 'src/low/gzip.ts': { modules: ['node:zlib'], because: 'computation' } },
  addonLoader: 'src/base/native.ts',
  linesWarned: 4,
  linesMax: 6,
  columnsMax: 60,
}

/** A small file with the head comment that every file has. */
function lines(...parts: string[]): string {
  return ['/** Head. */', ...parts].join('\n')
}

function findingsOf(tree: Record<string, string>): string[] {
  return checkSources(new Map(Object.entries(tree)), RULES).map(formatFinding)
}

test('importsOf, finds every kind of import, and nothing in comments', () => {
  const source = [
    "import { a } from './a.ts'",
    "import type { B } from '../b.ts'",
    'import {',
    '  c,',
    '  type D,',
    "} from './c.ts'",
    "import * as e from 'node:e'",
    "import './f.ts'",
    "export { g } from './g.ts'",
    "export * from './h.ts'",
    ['const i = await import(', "'./i.ts')"].join(''),
    " * import { no } from './no.ts'",
    "const text = Array.from('x')",
  ].join('\n')
  assert.deepEqual(
    importsOf(source).map((one) => [one.line, one.specifier]),
    [
      [1, './a.ts'],
      [2, '../b.ts'],
      [3, './c.ts'],
      [7, 'node:e'],
      [8, './f.ts'],
      [9, './g.ts'],
      [10, './h.ts'],
      [11, './i.ts'],
    ],
  )
})

test('resolveImport, walks up and down, and leaves packages alone', () => {
  assert.equal(resolveImport('src/a/b.ts', './c.ts'), 'src/a/c.ts')
  assert.equal(resolveImport('src/a/b.ts', '../../test/c.ts'), 'test/c.ts')
  assert.equal(resolveImport('src/a/b.ts', 'yaml'), null)
})

test('checkSources, is silent, on a tree that keeps the rules', () => {
  const findings = findingsOf({
    'src/base/one.ts': lines(),
    'src/errors/two.ts': lines("import './../base/one.ts'"),
    'src/low/three.ts': lines("import '../errors/two.ts'"),
    'src/low/gzip.ts': lines("import 'node:zlib'"),
    'src/high/four.ts': lines("import 'node:fs'", "import '../low/three.ts'"),
    'src/main.ts': lines("import './high/four.ts'"),
    'test/five.test.ts': "import '../src/low/three.ts'",
  })
  assert.deepEqual(findings, [])
})

test('checkSources, finds an import against the direction, also of a type', () => {
  const findings = findingsOf({
    'src/high/one.ts': lines(),
    'src/low/two.ts': lines("import type { One } from '../high/one.ts'"),
  })
  assert.deepEqual(findings, ['src/low/two.ts:2: src/low may not import src/high'])
})

test('checkSources, finds base importing errors', () => {
  const findings = findingsOf({
    'src/base/one.ts': lines("import '../errors/two.ts'"),
    'src/errors/two.ts': lines(),
  })
  assert.deepEqual(findings, ['src/base/one.ts:2: src/base may not import src/errors'])
})

test('checkSources, finds src importing test, and a target that does not exist', () => {
  const findings = findingsOf({
    'src/low/one.ts': lines("import '../../test/support.ts'", "import './gone.ts'"),
    'test/support.ts': lines(),
  })
  assert.deepEqual(findings, [
    'src/low/one.ts:2: src never imports test/ (test/support.ts)',
    'src/low/one.ts:3: imports src/low/gone.ts, which does not exist',
  ])
})

test('checkSources, finds a folder that the table does not know', () => {
  assert.deepEqual(findingsOf({ 'src/new/one.ts': lines() }), [
    'src/new/one.ts: src/new is not in the import table',
  ])
})

test('checkSources, finds node modules in pure folders, and exceptions that nobody needs', () => {
  const findings = findingsOf({
    'src/low/disk.ts': lines("import { readFileSync } from 'node:fs'"),
    'src/low/gzip.ts': lines(),
  })
  assert.deepEqual(findings, [
    'src/low/disk.ts:2: src/low is pure and may not import node:fs',
    "src/low/gzip.ts: no longer imports node:zlib: take it off tidy's list",
  ])
})

test('checkSources, finds a second loader of the addon', () => {
  const load = "const addon = require('./millrace.node')"
  const findings = findingsOf({ 'src/low/one.ts': lines(load), 'src/base/native.ts': lines(load) })
  assert.deepEqual(findings, ['src/low/one.ts:2: only src/base/native.ts loads the addon'])
})

test('checkSources, warns of a long file and fails a longer one', () => {
  const file = (count: number): string => `/** Head. */\n${'x\n'.repeat(count - 1)}`
  const findings = findingsOf({
    'src/low/a.ts': file(4),
    'src/low/b.ts': file(5),
    'src/low/c.ts': file(7),
  })
  assert.deepEqual(findings, [
    'src/low/b.ts: warning: 5 lines; more than 4 want a reason',
    'src/low/c.ts: 7 lines; at most 6: split it',
  ])
})

test('checkSources, counts columns of comments by character, and lets addresses be', () => {
  const findings = findingsOf({
    'src/low/a.ts': lines(
      `// ${'—'.repeat(57)}`,
      `// ${'x'.repeat(58)}`,
      `// https://${'x'.repeat(61)}`,
    ),
    'src/low/b.ts': lines('x'.repeat(61)),
  })
  assert.deepEqual(findings, ['src/low/a.ts:3: 61 columns; at most 60'])
})

test('checkSources, finds a test that was narrowed', () => {
  const findings = findingsOf({ 'test/a.test.ts': ['test', "only('x', () => {})"].join('.') })
  assert.deepEqual(findings, ['test/a.test.ts:1: runs only this test: take it out'])
})

test('hasHeadComment, accepts it before or behind the imports, and nowhere else', () => {
  assert.ok(hasHeadComment('/** Head. */\nconst a = 1'))
  assert.ok(hasHeadComment('#!/usr/bin/env node\n// Head.\n'))
  assert.ok(hasHeadComment("import {\n  a,\n} from 'a'\nimport 'b'\n\n/** Head. */\n"))
  assert.ok(!hasHeadComment("import 'a'\nconst a = 1\n/** Late. */\n"))
  assert.ok(!hasHeadComment('const a = 1'))
})

test('findCycles, reports each cycle once, with its way', () => {
  const sources = new Map([
    ['src/a.ts', "import type { B } from './b.ts'"],
    ['src/b.ts', "import './c.ts'"],
    ['src/c.ts', "import './a.ts'"],
    ['src/d.ts', "import './a.ts'"],
    ['src/e.ts', "import './e.ts'"],
  ])
  assert.deepEqual(
    findCycles(sources).map((finding) => finding.message),
    [
      'import cycle: src/a.ts → src/b.ts → src/c.ts → src/a.ts',
      'import cycle: src/e.ts → src/e.ts',
    ],
  )
})
