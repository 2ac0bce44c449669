/** Reads what jest writes with `--json`, and compares it with what a file of the list must do. */
import type { AllowedFile } from './kafkajs-list.ts'
import type { ProcessEnd } from './suite-process.ts'

export interface FailedTest {
  readonly name: string
  /** The first lines of what jest says. */
  readonly message: string
}

export interface FileResult {
  readonly path: string
  readonly passed: number
  readonly failed: readonly FailedTest[]
  /** By the suite itself, such as tests of older brokers. */
  readonly skipped: number
  /** Tests that the list says do not run. */
  readonly notListed: number
  readonly seconds: number
}

interface JestTest {
  readonly fullName: string
  readonly status: string
  readonly failureMessages?: readonly string[]
}

interface JestReport {
  readonly testResults: readonly {
    readonly message: string
    readonly assertionResults: readonly JestTest[]
  }[]
}

const MESSAGE_LINES_MAX = 12

function shorten(text: string): string {
  return text.split('\n').slice(0, MESSAGE_LINES_MAX).join('\n')
}

/** `json` is jest's report of one spec file; empty when it wrote none. */
export function resultOf(
  path: string,
  { file, json, end }: { file: AllowedFile; json: string; end: ProcessEnd },
): FileResult {
  const report: JestReport = json === '' ? { testResults: [] } : JSON.parse(json)
  const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults)
  const isNotListed = ({ fullName }: JestTest): boolean =>
    Object.hasOwn(file.not ?? {}, fullName.trim())
  const listed = tests.filter((test) => !isNotListed(test))
  const passed = listed.filter(({ status }) => status === 'passed').length
  const failed = listed
    .filter(({ status }) => status === 'failed')
    .map(({ fullName, failureMessages = [] }) => ({
      name: fullName,
      message: shorten(failureMessages.join('\n')),
    }))
  const problem = failed.length > 0 ? null : problemOf({ file, report, tests, passed, end })
  return {
    path,
    passed,
    failed: problem === null ? failed : [{ name: '(the whole file)', message: problem }],
    skipped: listed.length - passed - failed.length,
    notListed: tests.length - listed.length,
    seconds: end.seconds,
  }
}

/** Why a file in which no test failed did not do what the list says; null: it did. */
function problemOf(run: {
  file: AllowedFile
  report: JestReport
  tests: readonly JestTest[]
  passed: number
  end: ProcessEnd
}): string | null {
  const { file, report, tests, passed, end } = run
  if (end.timedOut) return 'took too long and was ended'
  if (tests.length === 0) {
    const said = report.testResults.map(({ message }) => message).join('\n')
    return shorten(said) || `jest ended with ${end.code ?? 'a signal'} and reported nothing`
  }
  const names = new Set(tests.map(({ fullName }) => fullName.trim()))
  const unknown = Object.keys(file.not ?? {}).filter((name) => !names.has(name))
  if (unknown.length > 0) return `no such test: ${unknown.join('; ')}`
  if (file.passes === null || file.passes === passed) return null
  return `${passed} tests passed instead of ${file.passes}`
}
