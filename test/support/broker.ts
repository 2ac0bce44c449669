import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packageRoot } from './package-root.ts'
import { freePort } from './ports.ts'

/**
 * A real broker process for end-to-end tests: `dist/main.js start` on free loopback ports and a
 * temporary directory. Arena memory is poisoned when freed, so that a late reader is found.
 */
export interface BrokerOptions {
  readonly shards?: number
  readonly set?: Readonly<Record<string, string>>
  /** Old records are deleted, as by default. */
  readonly retains?: boolean
  /** Several directories, or one that is used again after `kill`. */
  readonly dataDirs?: readonly string[]
  /** Fixed Kafka port, for a restart that clients should not notice. */
  readonly port?: number
  /** The same for HTTP. */
  readonly httpPort?: number
  readonly environment?: Readonly<Record<string, string>>
  /** A command that runs the broker: the arguments that follow it are the broker's command line. */
  readonly runWith?: readonly string[]
  /** Another program than `dist/main.js`: one with a planted bug. */
  readonly main?: string
}

/** The program under test; MILLRACE_TEST_MAIN names another build of it. */
export function brokerMain(): string {
  return process.env.MILLRACE_TEST_MAIN ?? join(packageRoot(), 'dist/main.js')
}

export interface TestBroker {
  readonly bootstrap: string
  readonly port: number
  readonly httpUrl: string
  /** The first data directory. */
  readonly dataDir: string
  readonly dataDirs: readonly string[]
  readonly pid: number
  /** Everything that it has written to stdout and stderr. */
  output(): string
  /** Stops it in order; the data stays until `cleanUp`. */
  stop(): Promise<void>
  /** kill -9. */
  kill(): Promise<void>
  /** Resolves with the exit code (null: a signal) when the process has ended. */
  readonly ended: Promise<number | null>
  /** Removes the data. */
  cleanUp(): void
}

const START_MS_MAX = 60_000
const STOP_MS_MAX = 30_000

export async function startBroker(options: BrokerOptions = {}): Promise<TestBroker> {
  const dataDirs = options.dataDirs ?? [mkdtempSync(join(tmpdir(), 'millrace-test-'))]
  const port = options.port ?? (await freePort())
  const httpPort = options.httpPort ?? (await freePort())
  // Records of tests are of fixed, long past times: retention must not come in between.
  const retention: Record<string, string> = options.retains ? {} : { 'log.retention.ms': '-1' }
  const settings = { 'log.dirs': dataDirs.join(','), ...retention, ...options.set }
  const [command, ...prefix] = [...(options.runWith ?? []), process.execPath]
  const child = spawn(
    command as string,
    [
      ...prefix,
      options.main ?? brokerMain(),
      'start',
      '--kafka',
      `127.0.0.1:${port}`,
      '--http',
      `127.0.0.1:${httpPort}`,
      '--shards',
      String(options.shards ?? 3),
      ...Object.entries(settings).flatMap(([name, value]) => ['--set', `${name}=${value}`]),
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, MILLRACE_CHECK_MEMORY: '1', ...options.environment },
    },
  )
  let output = ''
  const collect = (chunk: Buffer): void => {
    output = `${output}${chunk}`.slice(-200_000)
  }
  child.stdout.on('data', collect)
  child.stderr.on('data', collect)
  const ended = once(child, 'exit').then(([code]) => code as number | null)
  const httpUrl = `http://127.0.0.1:${httpPort}`
  await waitUntilReady(child, httpUrl, () => output)
  return {
    bootstrap: `127.0.0.1:${port}`,
    port,
    httpUrl,
    dataDir: dataDirs[0] as string,
    dataDirs,
    pid: child.pid as number,
    output: () => output,
    ended,
    stop: () => stop(child, ended, () => output),
    kill: async () => {
      child.kill('SIGKILL')
      await ended
    },
    cleanUp: () => {
      for (const directory of dataDirs) rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Runs `use` with a broker that is stopped and removed afterwards; a failure shows its output. */
export async function withBroker(
  options: BrokerOptions,
  use: (broker: TestBroker) => Promise<void>,
): Promise<void> {
  const broker = await startBroker(options)
  try {
    await use(broker)
  } catch (error) {
    process.stderr.write(`--- broker output ---\n${broker.output()}\n---\n`)
    throw error
  } finally {
    await broker.stop()
    broker.cleanUp()
  }
}

async function waitUntilReady(
  child: ChildProcess,
  httpUrl: string,
  output: () => string,
): Promise<void> {
  const deadline = Date.now() + START_MS_MAX
  while (Date.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`the broker ended while starting:\n${output()}`)
    }
    const response = await fetch(`${httpUrl}/health/ready`).catch(() => null)
    await response?.body?.cancel()
    if (response?.status === 200) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  child.kill('SIGKILL')
  throw new Error(`the broker was not ready in ${START_MS_MAX} ms:\n${output()}`)
}

async function stop(
  child: ChildProcess,
  ended: Promise<number | null>,
  output: () => string,
): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
  const code = await ended
  clearTimeout(timer)
  if (code !== 0) throw new Error(`the broker ended with ${code}:\n${output()}`)
}
