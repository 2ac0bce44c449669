/** CPU time of this process, and of another one of this machine. */
import { readFileSync } from 'node:fs'
import { LoadError } from './load-error.ts'

/** Of the clock ticks in /proc: 100 a second on every architecture of Linux that we know. */
const TICKS_PER_SECOND = 100

/** Seconds since this process started, all threads. */
export function ownCpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** The same of the process `pid`. Throws LoadError where there is none, or no /proc. */
export function cpuSecondsOf(pid: number): number {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch (error) {
    throw new LoadError(`no process ${pid} in /proc (--broker-pid is for Linux)`, error)
  }
  // After the name, which stands in parentheses and may hold spaces: utime is field 14, stime 15.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}
