/**
 * What a process has used, thread by thread, from /proc: parsing, sampling, and the difference of
 * two samples. Linux only.
 */
import { readdirSync, readFileSync } from 'node:fs'

/**
 * Of the clock ticks in /proc; Linux gives user space 100 a second on every architecture of ours.
 */
const TICKS_PER_SECOND = 100

export interface ThreadSample {
  readonly tid: number
  readonly name: string
  /** Time on a core, in ns. */
  readonly cpuNs: number
  /** The same in ticks of 10 ms, by where it was spent. */
  readonly userTicks: number
  readonly systemTicks: number
  readonly voluntarySwitches: number
  readonly involuntarySwitches: number
}

export interface MachineSample {
  /** Seconds over all cores. */
  readonly busySeconds: number
  readonly stealSeconds: number
}

export interface ProcessSample {
  readonly atNs: bigint
  readonly threads: ReadonlyMap<number, ThreadSample>
  /**
   * Bytes that the process has caused to be written to storage; 0 where the system does not say.
   */
  readonly writtenBytes: number
  readonly machine: MachineSample
}

/** The part a thread plays: `main`, `shard-N` (for the limit program: `writer-N`), or `other`. */
export type Role = string

export interface RoleUse {
  readonly role: Role
  readonly threads: number
  readonly cpuSeconds: number
  readonly userSeconds: number
  readonly systemSeconds: number
  readonly voluntarySwitches: number
  readonly involuntarySwitches: number
}

export interface ProcessUse {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly roles: readonly RoleUse[]
  readonly writtenBytes: number
  readonly machine: MachineSample
}

export function roleOf(tid: number, name: string, pid: number): Role {
  if (tid === pid) return 'main'
  return /^(shard|writer)-\d+$/.test(name) ? name : 'other'
}

/** /proc/…/stat: the name stands in parentheses and may itself hold parentheses and spaces. */
export function parseStat(text: string): { name: string; userTicks: number; systemTicks: number } {
  const open = text.indexOf('(')
  const close = text.lastIndexOf(')')
  // After the name: state is field 3, utime field 14, stime field 15.
  const fields = text.slice(close + 2).split(' ')
  return {
    name: text.slice(open + 1, close),
    userTicks: Number(fields[11]),
    systemTicks: Number(fields[12]),
  }
}

/** A `name: value` line of /proc/…/status or /proc/…/io; 0 when it is not there. */
export function parseField(text: string, name: string): number {
  const match = new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(text)
  return match === null ? 0 : Number(match[1])
}

/** The first line of /proc/stat. */
export function parseMachine(text: string): MachineSample {
  const fields = text.slice(0, text.indexOf('\n')).trim().split(/\s+/).slice(1).map(Number)
  const at = (index: number) => (fields[index] ?? 0) / TICKS_PER_SECOND
  // user nice system idle iowait irq softirq steal
  return { busySeconds: at(0) + at(1) + at(2) + at(5) + at(6), stealSeconds: at(7) }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // The thread has ended, or the system does not have this file.
  }
}

function sampleThread(pid: number, tid: number): ThreadSample | undefined {
  const folder = `/proc/${pid}/task/${tid}`
  const stat = readText(`${folder}/stat`)
  if (stat === '') return undefined
  const { name, userTicks, systemTicks } = parseStat(stat)
  const runNs = Number(readText(`${folder}/schedstat`).split(' ')[0])
  const status = readText(`${folder}/status`)
  const ticksNs = ((userTicks + systemTicks) / TICKS_PER_SECOND) * 1e9
  return {
    tid,
    name,
    cpuNs: runNs > 0 ? runNs : ticksNs,
    userTicks,
    systemTicks,
    voluntarySwitches: parseField(status, 'voluntary_ctxt_switches'),
    involuntarySwitches: parseField(status, 'nonvoluntary_ctxt_switches'),
  }
}

export function sampleProcess(pid: number): ProcessSample {
  const atNs = process.hrtime.bigint()
  const threads = new Map<number, ThreadSample>()
  for (const entry of readdirSync(`/proc/${pid}/task`)) {
    const thread = sampleThread(pid, Number(entry))
    if (thread !== undefined) threads.set(thread.tid, thread)
  }
  return {
    atNs,
    threads,
    writtenBytes: parseField(readText(`/proc/${pid}/io`), 'write_bytes'),
    machine: parseMachine(readText('/proc/stat')),
  }
}

/** Memory of a process in bytes: a field of /proc/…/status, such as VmRSS or VmHWM. */
export function memoryOf(pid: number, field: string): number {
  return parseField(readText(`/proc/${pid}/status`), field) * 1024
}

/** What was used between two samples. A thread that ended in between is not counted. */
export function useBetween(before: ProcessSample, after: ProcessSample, pid: number): ProcessUse {
  const roles = new Map<Role, RoleUse>()
  for (const [tid, thread] of after.threads) {
    const from = before.threads.get(tid)
    const role = roleOf(tid, thread.name, pid)
    const sum = roles.get(role)
    const userTicks = thread.userTicks - (from?.userTicks ?? 0)
    const systemTicks = thread.systemTicks - (from?.systemTicks ?? 0)
    const voluntary = thread.voluntarySwitches - (from?.voluntarySwitches ?? 0)
    const involuntary = thread.involuntarySwitches - (from?.involuntarySwitches ?? 0)
    roles.set(role, {
      role,
      threads: (sum?.threads ?? 0) + 1,
      cpuSeconds: (sum?.cpuSeconds ?? 0) + (thread.cpuNs - (from?.cpuNs ?? 0)) / 1e9,
      userSeconds: (sum?.userSeconds ?? 0) + userTicks / TICKS_PER_SECOND,
      systemSeconds: (sum?.systemSeconds ?? 0) + systemTicks / TICKS_PER_SECOND,
      voluntarySwitches: (sum?.voluntarySwitches ?? 0) + voluntary,
      involuntarySwitches: (sum?.involuntarySwitches ?? 0) + involuntary,
    })
  }
  const list = [...roles.values()].sort((a, b) => orderOf(a.role) - orderOf(b.role))
  return {
    seconds: Number(after.atNs - before.atNs) / 1e9,
    cpuSeconds: list.reduce((sum, one) => sum + one.cpuSeconds, 0),
    roles: list,
    writtenBytes: after.writtenBytes - before.writtenBytes,
    machine: {
      busySeconds: after.machine.busySeconds - before.machine.busySeconds,
      stealSeconds: after.machine.stealSeconds - before.machine.stealSeconds,
    },
  }
}

function orderOf(role: Role): number {
  if (role === 'main') return -1
  const number = /-(\d+)$/.exec(role)
  return number === null ? Number.MAX_SAFE_INTEGER : Number(number[1])
}
