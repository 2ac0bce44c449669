/** The list of what of kafkajs's own suite runs, and how the results of it are read. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  allowedFiles,
  differencesFrom,
  namePattern,
  problemsOf,
  readSuiteList,
  type SuiteList,
} from './kafkajs-list.ts'
import { resultOf } from './kafkajs-results.ts'

const END = { code: 0, timedOut: false, seconds: 1 }

const LIST: SuiteList = {
  repository: '',
  commit: '',
  version: '',
  settings: {},
  reasons: { security: 'needs what is not there yet' },
  folders: { 'src/protocol/': 'security' },
  files: {
    'src/a.spec.js': { passes: 2, not: { 'A (b) c': 'security' } },
    'src/b.spec.js': 'security',
  },
}

function reportOf(...tests: [fullName: string, status: string][]): string {
  const assertionResults = tests.map(([fullName, status]) => {
    return { fullName, status, failureMessages: status === 'failed' ? ['it is not so'] : [] }
  })
  return JSON.stringify({ testResults: [{ message: '', assertionResults }] })
}

test('the list, gives a reason for everything that does not run', () => {
  for (const brokers of [1, 3] as const) {
    const list = readSuiteList(brokers)
    assert.deepEqual(problemsOf(list), [])
    assert.ok(allowedFiles(list).length > 50)
  }
})

test('problemsOf, finds unknown and unused reasons, files of a listed folder and empty ones', () => {
  assert.deepEqual(problemsOf(LIST), [])
  const problems = problemsOf({
    ...LIST,
    reasons: { ...LIST.reasons, idle: 'a reason that nothing has' },
    files: { ...LIST.files, 'src/protocol/c.spec.js': { passes: 0 }, 'src/d.spec.js': 'what' },
  })
  assert.deepEqual(problems, [
    'src/protocol/c.spec.js is in src/protocol/, too',
    'src/protocol/c.spec.js: nothing runs',
    'src/d.spec.js: what is what?',
    'idle is not used',
  ])
})

test('differencesFrom, names files that the list or the suite lacks', () => {
  const specs = ['src/a.spec.js', 'src/new.spec.js', 'src/protocol/e.spec.js']
  assert.deepEqual(differencesFrom(LIST, specs), [
    'src/new.spec.js is not in the list',
    'src/b.spec.js is not in the suite',
  ])
})

test('namePattern, matches every name but those that do not run', () => {
  assert.equal(namePattern({ passes: 1 }), null)
  const not = { 'A (b) c': 'security', 'D/e?': 'security' }
  const pattern = new RegExp(namePattern({ passes: 1, not }) as string, 'i')
  const names = ['A (b) c', 'A (b) c and more', 'D/e?', 'D/', 'b']
  assert.deepEqual(
    names.filter((name) => pattern.test(name)),
    ['A (b) c and more', 'D/', 'b'],
  )
})

test('resultOf, counts what passes, is skipped and is not on the list', () => {
  const file = { passes: 2, not: { no: 'security' } }
  const json = reportOf(['a', 'passed'], ['b', 'passed'], ['old', 'pending'], ['no', 'pending'])
  assert.deepEqual(resultOf('src/a.spec.js', { file, json, end: END }), {
    path: 'src/a.spec.js',
    passed: 2,
    failed: [],
    skipped: 1,
    notListed: 1,
    seconds: 1,
  })
})

test('resultOf, fails a file with a failed test, with too few, and without a report', () => {
  const messages = (json: string, end = END): string[] =>
    resultOf('src/a.spec.js', {
      file: { passes: 2, not: { no: 'security' } },
      json,
      end,
    }).failed.map(({ name, message }) => `${name}: ${message}`)
  assert.deepEqual(messages(reportOf(['a', 'failed'], ['b', 'passed'])), ['a: it is not so'])
  assert.deepEqual(messages(reportOf(['a', 'passed'], ['no', 'pending'])), [
    '(the whole file): 1 tests passed instead of 2',
  ])
  assert.deepEqual(messages(reportOf(['a', 'passed'], ['b', 'passed'])), [
    '(the whole file): no such test: no',
  ])
  assert.deepEqual(messages('', { ...END, code: 1 }), [
    '(the whole file): jest ended with 1 and reported nothing',
  ])
  assert.deepEqual(messages('', { ...END, timedOut: true }), [
    '(the whole file): took too long and was ended',
  ])
})
