/**
 * Reads what librdkafka's `test-runner` says while it runs. Not the summary at its end: a runner
 * that aborts, as it does when a test has failed, loses that.
 */
import { stripVTControlCharacters } from 'node:util'
import type { ProcessEnd } from './suite-process.ts'

export type TestState = 'passed' | 'failed' | 'skipped'

export interface TestResult {
  readonly name: string
  readonly state: TestState
  readonly seconds: number
  /** Why it failed or was skipped, in the suite's words; empty when it passed. */
  readonly message: string
}

/** `[NAME / SECONDS] TEXT`, NAME padded, with what is a part of the test behind it. */
const SAID = /^\[(\d{4}_\w+)[^/]*\/\s*([\d.]+)s\] (.*)$/
const ENDED = /^=+ Test \w+ (PASSED|FAILED|SKIPPED) =+$/
const SKIPPED = /^WARN: SKIPPING TEST: (.*)$/
const FAILED = /^### Test "(\d{4}_\w+)[^"]*" failed at .*###$/

/** By name. A test that neither ended nor failed is not among them. */
export function parseOutput(output: string): Map<string, TestResult> {
  const seconds = new Map<string, number>()
  const messages = new Map<string, string>()
  const states = new Map<string, TestState>()
  const lines = stripVTControlCharacters(output).split('\n')
  for (const [i, line] of lines.entries()) {
    const failed = FAILED.exec(line)?.[1]
    if (failed !== undefined) {
      // The first failure is the one that explains the others.
      if (states.get(failed) !== 'failed') messages.set(failed, (lines[i + 1] ?? '').trim())
      states.set(failed, 'failed')
    }
    const [, name, time, text] = SAID.exec(line) ?? []
    if (name === undefined) continue
    seconds.set(name, Number(time))
    const reason = SKIPPED.exec(text ?? '')?.[1]
    if (reason !== undefined) {
      messages.set(name, reason)
      states.set(name, 'skipped')
    }
    const state = ENDED.exec(text ?? '')?.[1]?.toLowerCase() as TestState | undefined
    if (state !== undefined && states.get(name) !== 'failed') states.set(name, state)
  }
  const results = new Map<string, TestResult>()
  for (const [name, state] of states) {
    const message = messages.get(name) ?? ''
    results.set(name, { name, state, seconds: seconds.get(name) ?? 0, message })
  }
  return results
}

/**
 * A result for each test of a step: what the suite says, and `failed` for what did not end. A
 * process that fails although every test passed (it leaks, it crashes at its end) fails them, and
 * a part of which no subtest ran has not passed.
 */
export function resultsOf(
  { names, part }: { readonly names: readonly string[]; readonly part: string | null },
  output: string,
  end: ProcessEnd,
): TestResult[] {
  const said = parseOutput(output)
  const ending = end.timedOut
    ? 'took too long and was ended'
    : `the suite ended with ${end.code === null ? 'a signal' : `code ${end.code}`}`
  const results = names.map((name): TestResult => {
    const result = said.get(name)
    if (result === undefined)
      return { name, state: 'failed', seconds: end.seconds, message: ending }
    const isEmpty = part !== null && result.state === 'passed' && !hasPassed(output, part)
    return isEmpty ? { ...result, state: 'failed', message: 'nothing of it ran' } : result
  })
  const isExplained = end.code === 0 || results.some(({ state }) => state === 'failed')
  return results.map((result) => ({
    ...result,
    name: part === null ? result.name : `${result.name}: ${part}`,
    ...(isExplained ? {} : { state: 'failed', message: ending }),
  }))
}

/** Whether a subtest of this part has passed: `[ FUNCTION:LINE: TEXT: PASS (SECONDS) ]`. */
function hasPassed(output: string, part: string): boolean {
  return stripVTControlCharacters(output)
    .split('\n')
    .some((line) => line.includes(part) && /: PASS \([\d.]+s\) \]/.test(line))
}
