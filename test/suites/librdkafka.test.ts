/** The list of librdkafka's tests, and how the runner reads what they say: an invented sample. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { problemsOf, readSuiteList, type SuiteList, stepsOf } from './librdkafka-list.ts'
import { parseOutput, resultsOf } from './librdkafka-output.ts'

const SMALL: SuiteList = {
  repository: 'nowhere',
  commit: 'none',
  version: '0',
  scenarios: { default: {}, other: {} },
  reasons: { local: 'needs no broker', later: 'not there yet' },
  tests: {
    '0001_one': 'default',
    '0001_one_local': 'local',
    '0001_two': 'other',
    '0002_parts': { first: 'default', second: 'later', third: 'default' },
  },
  notWithConsumerProtocol: { '0002_parts: third': 'later' },
  needKafkaTools: [],
}

describe('the list of librdkafka’s tests', () => {
  test('is consistent', () => {
    assert.deepEqual(problemsOf(readSuiteList(1)), [])
    assert.deepEqual(problemsOf(readSuiteList(3)), [])
    assert.deepEqual(problemsOf(SMALL), [])
  })

  test('names what runs, one scenario after the other, parts alone', () => {
    const told = (protocol: 'classic' | 'consumer'): string[] =>
      stepsOf(SMALL, protocol).map((s) => `${s.scenario} ${s.number} ${s.part} ${s.names}`)
    const whole = ['default 0001 null 0001_one']
    const first = ['default 0002 first 0002_parts']
    const other = ['other 0001 null 0001_two']
    assert.deepEqual(told('classic'), [
      ...whole,
      ...first,
      'default 0002 third 0002_parts',
      ...other,
    ])
    assert.deepEqual(told('consumer'), [...whole, ...first, ...other])
  })

  const broken: readonly [string, Partial<SuiteList>, RegExp][] = [
    ['an unknown reason', { tests: { ...SMALL.tests, '0003_x': 'why' } }, /0003_x: what is why/],
    ['an unused reason', { reasons: { ...SMALL.reasons, idle: 'x' } }, /idle is not used/],
    ['what would run unasked', { tests: { ...SMALL.tests, '0001_x': 'later' } }, /would run with/],
    ['an exception of nothing', { notWithConsumerProtocol: { no: 'later' } }, /no does not run/],
    ['tools of no test', { needKafkaTools: ['0009_no'] }, /0009_no is no test/],
  ]
  for (const [name, change, problem] of broken) {
    test(`with ${name}, is not`, () => {
      assert.match(problemsOf({ ...SMALL, ...change }).join('\n'), problem)
    })
  }
})

const RED = '\u001b[31m'
const PLAIN = '\u001b[0m'
const OUTPUT = `${PLAIN}[<MAIN>             /  0.000s] Broker version: 1
[0001_good          /  0.000s] =========== Running test 0001_good ===========
[0001_good          /  1.500s] ${RED}=========== Test 0001_good PASSED ===========${PLAIN}
[0002_lazy          /  0.100s] WARN: SKIPPING TEST: no moon tonight
[0002_lazy          /  0.200s] =========== Test 0002_lazy SKIPPED ===========
[0003_bad:part      /  4.250s] TEST FAILURE
${RED}### Test "0003_bad (f:12: part)" failed at some.c:12:f() at a time: ###
Expected 3, not 4
### Test "0003_bad" failed at some.c:99:g() at a time: ###
A later one
[0004_hangs         /  9.000s] =========== Running test 0004_hangs ===========
`

describe('the output of the suite', () => {
  const end = { code: 1, timedOut: false, seconds: 30 }

  test('tells of each test how it ended, and of the first failure', () => {
    assert.deepEqual(
      [...parseOutput(OUTPUT).values()],
      [
        { name: '0001_good', state: 'passed', seconds: 1.5, message: '' },
        { name: '0002_lazy', state: 'skipped', seconds: 0.2, message: 'no moon tonight' },
        { name: '0003_bad', state: 'failed', seconds: 4.25, message: 'Expected 3, not 4' },
      ],
    )
  })

  test('of a test that did not end, is a failure', () => {
    const names = ['0001_good', '0004_hangs']
    const hung = resultsOf({ names, part: null }, OUTPUT, { ...end, code: null, timedOut: true })
    assert.deepEqual(
      hung.map(({ state, message }) => [state, message]),
      [
        ['passed', ''],
        ['failed', 'took too long and was ended'],
      ],
    )
  })

  test('of a process that fails although its tests passed, is a failure', () => {
    const [good] = resultsOf({ names: ['0001_good'], part: null }, OUTPUT, end)
    assert.deepEqual([good?.state, good?.message], ['failed', 'the suite ended with code 1'])
  })

  test('of a part, is a pass only when something of it ran', () => {
    const step = { names: ['0001_good'], part: 'half' }
    const of = (output: string) => resultsOf(step, output, { ...end, code: 0 })[0]
    assert.deepEqual([of(OUTPUT)?.name, of(OUTPUT)?.state], ['0001_good: half', 'failed'])
    const ran = `[0001_good   /  1.000s] [ f_half:1: x: PASS (0.50s) ]\n${OUTPUT}`
    assert.equal(of(ran)?.state, 'passed')
  })
})
