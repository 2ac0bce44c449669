/** The limit program as a process, ready when it says that it listens. */
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { freePort } from '../../test/support/ports.ts'
import { hasEnded, sleep, startProcess, stopProcess, tailOf } from './children.ts'
import { limitsProgram } from './limits.ts'
import type { MemoryGroup } from './memory-group.ts'

export interface LimitServerOptions {
  /** Is made. */
  readonly dataDir: string
  readonly logFile: string
  readonly partitions: number
  /** After so long it ends by itself. */
  readonly secondsMax: number
  /** The arguments of a variant, such as `--writers 1`. */
  readonly args: readonly string[]
  readonly group: MemoryGroup | undefined
  readonly cpus: string | undefined
}

const READY_TIMEOUT_MS = 5000

export async function startLimitServer(
  options: LimitServerOptions,
): Promise<{ child: ChildProcess; port: number }> {
  const { dataDir, logFile, group, cpus } = options
  mkdirSync(dataDir)
  const port = await freePort()
  const args = ['--listen', `127.0.0.1:${port}`, '--data-dir', dataDir]
  args.push('--partitions', String(options.partitions))
  args.push('--max-seconds', String(Math.ceil(options.secondsMax)), ...options.args)
  const child = startProcess({ command: limitsProgram('limit-server'), args, logFile, group, cpus })
  const deadlineMs = performance.now() + READY_TIMEOUT_MS
  while (!readFileSync(logFile, 'utf8').includes('listening')) {
    if (hasEnded(child) || performance.now() > deadlineMs) {
      await stopProcess(child)
      throw new Error(`limit-server did not start:\n${tailOf(logFile)}`)
    }
    await sleep(5)
  }
  return { child, port }
}
