/** A process of a suite that is not ours: bounded in time, what it prints goes into a file. */
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'

export interface ProcessEnd {
  /** Null: a signal ended it. */
  readonly code: number | null
  readonly timedOut: boolean
  readonly seconds: number
}

export interface SuiteProcess {
  readonly command: string
  readonly args: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly cwd: string
  /** The file that takes everything it prints. */
  readonly output: string
  readonly msMax: number
}

export function runProcess(suite: SuiteProcess): Promise<ProcessEnd> {
  const file = openSync(suite.output, 'w')
  const startedMs = performance.now()
  const child = spawn(suite.command, suite.args, {
    cwd: suite.cwd,
    stdio: ['ignore', file, file],
    env: { ...process.env, ...suite.environment },
  })
  closeSync(file)
  let timedOut = false
  const timer = setTimeout(() => {
    timedOut = true
    child.kill('SIGKILL')
  }, suite.msMax)
  return new Promise((done, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => {
      clearTimeout(timer)
      done({ code, timedOut, seconds: (performance.now() - startedMs) / 1000 })
    })
  })
}
