/**
 * What a number was measured on: written into every report.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, statfsSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { projectFolder } from './broker.ts'
import { sleep } from './children.ts'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryBytes: number
  readonly kernel: string
  readonly node: string
  readonly fileSystem: string
  readonly commit: string
  /** Of the minute before the start. Above about 0.3 somebody else was at work. */
  readonly load: number
}

/** The file system that holds `path`: the longest mount point that is a prefix of it. */
export function fileSystemOf(path: string, mounts: string): string {
  let best = ''
  let type = 'unknown'
  for (const line of mounts.split('\n')) {
    const [, at, kind] = line.split(' ')
    if (at === undefined || kind === undefined) continue
    const isPrefix = at === '/' || path === at || path.startsWith(`${at}/`)
    if (isPrefix && at.length >= best.length) {
      best = at
      type = kind
    }
  }
  return type
}

export function freeDiskBytes(path: string): number {
  const stats = statfsSync(path)
  return stats.bavail * stats.bsize
}

const QUIET_MS = 500
/** Writes and discards of that time that are somebody's log lines. */
const QUIET_OPERATIONS = 5
const QUIET_MS_MAX = 15_000

/**
 * Waits until the disks have done nothing for half a second: a file system that was told to discard
 * what it frees (`mount -o discard`) goes on doing so for seconds after a deletion, and whoever
 * writes then waits. Gives up after 15 s; does nothing where the kernel does not tell.
 */
export async function quietDisks(): Promise<void> {
  const deadlineMs = performance.now() + QUIET_MS_MAX
  let before = diskActivity()
  while (before !== null && performance.now() < deadlineMs) {
    await sleep(QUIET_MS)
    const now = diskActivity()
    const isQuiet = now !== null && !now.isAtWork && now.done - before.done < QUIET_OPERATIONS
    if (isQuiet) return
    before = now
  }
}

/** What the disks have done and what they are at; null where nobody tells. */
function diskActivity(): { readonly done: number; readonly isAtWork: boolean } | null {
  let done = 0
  let isAtWork = false
  try {
    for (const line of readFileSync('/proc/diskstats', 'utf8').trim().split('\n')) {
      const fields = line.trim().split(/\s+/)
      // Partitions, and devices that are made of others, would count the same thing again.
      if (!/^(nvme\d+n\d+|[shv]d[a-z]+|xvd[a-z]+|mmcblk\d+)$/.test(fields[2] ?? '')) continue
      done += Number(fields[7] ?? 0) + Number(fields[14] ?? 0)
      isAtWork ||= Number(fields[11] ?? 0) > 0
    }
  } catch {
    return null
  }
  return { done, isAtWork }
}

export function describeMachine(dataParent: string): Machine {
  const git = (...args: string[]) => {
    const { status, stdout } = spawnSync('git', args, { cwd: projectFolder(), encoding: 'utf8' })
    return status === 0 ? stdout.trim() : undefined
  }
  const commit = git('rev-parse', '--short=12', 'HEAD') ?? 'none'
  const isChanged = (git('status', '--porcelain') ?? '') !== ''
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
    fileSystem: fileSystemOf(dataParent, readFileSync('/proc/self/mounts', 'utf8')),
    commit: isChanged ? `${commit} with changes` : commit,
    load: loadavg()[0] ?? Number.NaN,
  }
}

export function machineLines(machine: Machine): string[] {
  const gib = (machine.memoryBytes / 2 ** 30).toFixed(1)
  return [
    `- Machine: ${machine.cores} × ${machine.cpu}, ${gib} GiB, Linux ${machine.kernel}, data on ${machine.fileSystem}`,
    `- Node ${machine.node}; commit ${machine.commit}; load average before the start ${machine.load.toFixed(2)}`,
  ]
}
