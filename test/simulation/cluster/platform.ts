/**
 * What the code of a simulated node takes for the system: timers, clocks, randomness, sockets and
 * files. `installPlatform` puts it in the place of Node's, once, in a process that does nothing
 * else: whatever runs on behalf of a host (`asHost`) gets that host's; the simulator itself, and
 * any code outside, still gets Node's. So the real shells run as they are, none of them knows.
 */
import crypto from 'node:crypto'
import fs from 'node:fs'
import fsp from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import net from 'node:net'
import type { Random } from '../../../src/base/random.ts'
import { FIRST_DESCRIPTOR, type HostFiles } from './sim-fs.ts'
import type { HostNetwork } from './sim-network.ts'

/** Who runs: a node, or a machine with clients. */
export interface SimHost {
  /** Names it in the trace. */
  readonly id: number
  readonly random: Random
  readonly network: HostNetwork
  /** Null: it has no disk. */
  readonly files: HostFiles | null
  /** Monotonic; goes at the rate of its clock. */
  nowMs(): number
  wallMs(): number
  after(delayMs: number, run: () => void): SimTimer
}

/** Stands for `NodeJS.Timeout` and `NodeJS.Immediate`. */
export class SimTimer {
  isCancelled = false
  /** Whose it is. */
  readonly hostId: number

  constructor(hostId: number) {
    this.hostId = hostId
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return true
  }

  close(): this {
    this.isCancelled = true
    return this
  }
}

let current: SimHost | null = null

export function currentHost(): SimHost | null {
  return current
}

/** From now on whatever runs does so for this host. */
export function setHost(host: SimHost | null): void {
  current = host
}

const realImmediate = globalThis.setImmediate

/** Runs `run` where no promise is being settled, so that `settle` may be called in it. */
export function outside<T>(run: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    realImmediate(() => {
      try {
        resolve(run())
      } catch (error) {
        reject(error)
      }
    })
  })
}

/** What Node runs between two of its own callbacks: a turn of its loop would cost far more. */
const runTicks = (process as unknown as { readonly _tickCallback: () => void })._tickCallback

/** All promises and ticks that can run run now. `onError`: of a tick that throws. */
export function settle(onError: (error: unknown) => void): void {
  for (;;) {
    try {
      runTicks()
      return
    } catch (error) {
      onError(error)
    }
  }
}

const TIMEOUT_MS_MAX = 0x7fff_ffff

function delayOf(ms: unknown): number {
  const delay = Number(ms)
  return delay >= 1 && delay <= TIMEOUT_MS_MAX ? Math.trunc(delay) : 1
}

type Callback = (...args: unknown[]) => void

let isInstalled = false

export function installPlatform(): void {
  if (isInstalled) return
  isInstalled = true
  // Its sockets and files are the system's; set before anything asks for it.
  process.env.MILLRACE_NATIVE = 'off'
  installTimers()
  installClocks()
  installModules()
}

function installTimers(): void {
  const { setTimeout: timeout, setInterval: interval, setImmediate: immediate } = globalThis
  const { clearTimeout: noTimeout, clearInterval: noInterval, clearImmediate: no } = globalThis
  const all = globalThis as unknown as Record<string, unknown>
  all.setTimeout = (run: Callback, ms?: number, ...args: unknown[]) => {
    if (current === null) return timeout(run, ms, ...args)
    return current.after(delayOf(ms), () => run(...args))
  }
  all.setImmediate = (run: Callback, ...args: unknown[]) => {
    if (current === null) return immediate(run, ...args)
    return current.after(0, () => run(...args))
  }
  all.setInterval = (run: Callback, ms?: number, ...args: unknown[]) => {
    const host = current
    if (host === null) return interval(run, ms, ...args)
    const whole = new SimTimer(host.id)
    const again = (): void => {
      host.after(delayOf(ms), () => {
        if (whole.isCancelled) return
        run(...args)
        if (!whole.isCancelled) again()
      })
    }
    again()
    return whole
  }
  const cancel = (real: (timer: never) => void) => (timer: unknown) => {
    if (timer instanceof SimTimer) timer.isCancelled = true
    else real(timer as never)
  }
  all.clearTimeout = cancel(noTimeout)
  all.clearInterval = cancel(noInterval)
  all.clearImmediate = cancel(no)
}

function installClocks(): void {
  const monotonic = performance.now.bind(performance)
  performance.now = () => (current === null ? monotonic() : current.nowMs())
  const wall = Date.now
  Date.now = () => (current === null ? wall() : current.wallMs())
  const random = Math.random
  Math.random = () => (current === null ? random() : current.random.fraction())
}

/** `name` of a module of Node's becomes what `ours` gives, where that is not undefined. */
function replace(module: object, name: string, ours: (...args: never[]) => unknown): void {
  const all = module as Record<string, (...args: unknown[]) => unknown>
  const real = all[name] as (...args: unknown[]) => unknown
  all[name] = (...args: unknown[]) => {
    const own = current === null ? undefined : ours(...(args as never[]))
    return own === undefined ? real(...args) : own
  }
}

const filesOfHost = (): HostFiles => {
  const files = current?.files ?? null
  if (files === null) throw new Error('this host has no disk')
  return files
}

/** What is no path of the simulated disk lies in the system, as code does. */
function onDisk<T>(path: unknown, run: (files: HostFiles, path: string) => T): T | undefined {
  const isOurs = typeof path === 'string' && (path.startsWith('/sim/') || path.startsWith('/proc/'))
  return isOurs ? run(filesOfHost(), path) : undefined
}

/** A descriptor of the system is somebody else's: the journal goes to one. */
function onOurs<T>(file: number, run: (files: HostFiles) => T): T | undefined {
  return file >= FIRST_DESCRIPTOR ? run(filesOfHost()) : undefined
}

function installModules(): void {
  replace(net, 'connect', (at: { host: string; port: number }) => current?.network.connect(at))
  replace(net, 'createServer', (_options: object, onConnection: () => void) =>
    current?.network.createServer(onConnection),
  )
  replace(crypto, 'randomBytes', (count: number) => Buffer.from(current!.random.bytes(count)))
  replace(crypto, 'randomUUID', () => {
    const hex = Buffer.from(current!.random.bytes(16)).toString('hex')
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  })
  replace(fs, 'existsSync', (path: string) => onDisk(path, (files, at) => files.exists(at)))
  replace(fs, 'readFileSync', (path: string) => onDisk(path, (files, at) => files.readText(at)))
  replace(fs, 'writeFileSync', (path: string, text: string) =>
    onDisk(path, (files, at) => files.writeText(at, text)),
  )
  replace(fs, 'rmSync', (path: string) => onDisk(path, (files, at) => files.remove(at)))
  replace(fs, 'statfsSync', (path: string) => onDisk(path, (files) => files.statfs()))
  replace(fs, 'openSync', (path: string) => onDisk(path, (files, at) => files.openSync(at)))
  replace(fs, 'closeSync', (file: number) => onOurs(file, (files) => files.closeSync(file)))
  replace(fs, 'fsyncSync', (file: number) => onOurs(file, (files) => files.fsyncSync(file)))
  replace(fs, 'writeSync', (file: number, text: string) =>
    onOurs(file, (files) => files.writeSync(file, text)),
  )
  for (const name of ['open', 'readFile', 'rename', 'mkdir', 'readdir', 'rm'] as const) {
    replace(fsp, name, (path: string, ...args: never[]) =>
      onDisk(path, (files, at) => (files.later[name] as Callback)(...([at, ...args] as never[]))),
    )
  }
  syncBuiltinESMExports()
}
