/**
 * Processes that a benchmark starts: every one is stopped by its number, also when the benchmark
 * itself is interrupted, and groups and folders made for them go with them.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import type { MemoryGroup } from './memory-group.ts'

const running = new Set<ChildProcess>()
const folders = new Set<string>()
const groups = new Set<MemoryGroup>()

function cleanUp(): void {
  for (const child of running) child.kill('SIGKILL')
  for (const group of groups) group.removeNow()
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}

/** Call once, first. */
export function cleanUpAtExit(): void {
  process.on('exit', cleanUp)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(130))
  }
}

/** `folder` is deleted at the end of the process, if `forgetFolder` was not called before. */
export function ownFolder(folder: string): void {
  folders.add(folder)
}

export function deleteFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
  folders.delete(folder)
}

export function ownGroup(group: MemoryGroup): void {
  groups.add(group)
}

export async function deleteGroup(group: MemoryGroup): Promise<void> {
  await group.remove()
  groups.delete(group)
}

export interface StartOptions {
  readonly command: string
  readonly args: readonly string[]
  /** Gets standard output and standard error. */
  readonly logFile: string
  readonly group?: MemoryGroup | undefined
  /** Cores, as `taskset -c` takes them. */
  readonly cpus?: string | undefined
  readonly environment?: Readonly<Record<string, string>>
}

/** Starts a process whose number is the number of the program itself: no shell stays in between. */
export function startProcess(options: StartOptions): ChildProcess {
  let command = [options.command, ...options.args]
  if (options.cpus !== undefined) command = ['taskset', '-c', options.cpus, ...command]
  if (options.group !== undefined) {
    // It joins before the program exists, so that every page of it is counted.
    const join = 'echo $$ > "$0" && exec "$@"'
    command = ['/bin/sh', '-c', join, options.group.membersFile, ...command]
  }
  const log = openSync(options.logFile, 'w')
  const child = spawn(command[0] as string, command.slice(1), {
    stdio: ['ignore', log, log],
    env: { ...process.env, ...options.environment },
  })
  closeSync(log)
  track(child)
  return child
}

/** Makes the process end with this one. */
export function track(child: ChildProcess): void {
  running.add(child)
  child.on('exit', () => running.delete(child))
  child.on('error', () => running.delete(child))
}

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined
}

/** Asks a process to end, and makes it after `patienceMs`. */
export async function stopProcess(child: ChildProcess, patienceMs = 15_000): Promise<void> {
  if (hasEnded(child)) return
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs)
  await ended
  clearTimeout(timer)
}

export function tailOf(file: string, lines = 15): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
  } catch {
    return ''
  }
}

/** Whether somebody listens on a port of loopback. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
