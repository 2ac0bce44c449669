/**
 * A Millrace broker as a process: started from `dist/`, ready when its health says so.
 */
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { request } from 'node:http'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../test/support/ports.ts'
import { hasEnded, sleep, startProcess, stopProcess, tailOf } from './children.ts'
import type { MemoryGroup } from './memory-group.ts'

/** The repository, seen from wherever below it this file was compiled to. */
export function projectFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package-lock.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('package-lock.json is nowhere above this file')
    folder = parent
  }
  return folder
}

/**
 * Where a benchmark leaves its report when nothing is said: from the current folder, because a
 * report repeats its options, and a machine's paths do not belong in it.
 */
export function reportPrefix(name: string): string {
  return relative(process.cwd(), join(projectFolder(), '.cache', 'bench', name))
}

const LOOPBACK = '127.0.0.1'

export interface BrokerOptions {
  /** The compiled command line; undefined: `dist/main.js`. */
  readonly main?: string | undefined
  readonly dataDir: string
  readonly logFile: string
  readonly shards: number
  /** `name=value` for `--set`. */
  readonly settings: readonly string[]
  readonly nodeArgs: readonly string[]
  readonly group?: MemoryGroup | undefined
  readonly cpus?: string | undefined
  /** Left out: any free one. */
  readonly kafkaPort?: number | undefined
  /** Of Kafka and HTTP; default: loopback. */
  readonly host?: string | undefined
  /** Begins the command line, such as `nsenter …`; it must become the broker's process. */
  readonly runWith?: readonly string[] | undefined
  readonly readyTimeoutMs: number
}

export interface RunningBroker {
  readonly child: ChildProcess
  readonly pid: number
  readonly kafkaPort: number
  readonly httpPort: number
  /** From before the process was made to its first "ready". */
  readonly readyMs: number
}

export async function startBroker(options: BrokerOptions): Promise<RunningBroker> {
  const main = options.main ?? join(projectFolder(), 'dist', 'main.js')
  if (!existsSync(main)) throw new Error(`${main} is missing: run npm run build first`)
  const kafkaPort = options.kafkaPort ?? (await freePort())
  const httpPort = await freePort()
  const host = options.host ?? LOOPBACK
  const args = [...options.nodeArgs, main, 'start', '--data-dir', options.dataDir]
  args.push('--kafka', `${host}:${kafkaPort}`, '--http', `${host}:${httpPort}`)
  if (host !== LOOPBACK) args.push('--insecure')
  args.push('--shards', String(options.shards))
  // Some loads stamp their records with a fixed, long past time.
  args.push('--set', 'log.retention.ms=-1')
  for (const setting of options.settings) args.push('--set', setting)
  const startedMs = performance.now()
  const [command, ...all] = [...(options.runWith ?? []), process.execPath, ...args]
  const child = startProcess({ command: command as string, args: all, ...options })
  try {
    await waitUntilReady(child, { host, port: httpPort }, startedMs + options.readyTimeoutMs)
  } catch (error) {
    await stopProcess(child, 1000)
    const log = tailOf(options.logFile)
    throw new Error(`the broker did not become ready; its last lines:\n${log}`, { cause: error })
  }
  const readyMs = performance.now() - startedMs
  return { child, pid: child.pid as number, kafkaPort, httpPort, readyMs }
}

async function waitUntilReady(
  child: ChildProcess,
  place: { readonly host: string; readonly port: number },
  deadlineMs: number,
): Promise<void> {
  while (!(await isReady(place))) {
    if (hasEnded(child)) throw new Error(`it ended with code ${child.exitCode}`)
    if (performance.now() > deadlineMs) throw new Error('it took too long')
    await sleep(5)
  }
}

function isReady(place: { readonly host: string; readonly port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request(
      { ...place, path: '/health/ready', timeout: 1000, agent: false },
      (response) => {
        response.resume()
        resolve(response.statusCode === 200)
      },
    )
    asked.on('error', () => resolve(false))
    asked.on('timeout', () => asked.destroy())
    asked.end()
  })
}
