/** Runs the command line until it ends by itself: for starts that are refused. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { brokerMain } from './broker.ts'

const TIMEOUT_MS = 30_000

export interface CommandResult {
  /** Null: it had to be killed. */
  readonly code: number | null
  readonly output: string
}

export async function runCommand(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  runWith: readonly string[] = [],
): Promise<CommandResult> {
  const [command, ...prefix] = [...runWith, process.execPath]
  const child = spawn(command as string, [...prefix, brokerMain(), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  child.stderr.on('data', (chunk) => {
    output += chunk
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS)
  try {
    const [code] = await once(child, 'close')
    return { code: code as number | null, output }
  } finally {
    clearTimeout(timer)
  }
}
