/**
 * A run from outside: makes the network, starts `run.ts` in it, and takes away what it leaves: its
 * processes, by their namespaces, the namespaces, by their names, and the disks. The history, the
 * faults, and what brokers and clients said stay when something is wrong, with the brokers' data.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { DEBIAN_PYTHON } from '../e2e/clients/client.ts'
import { Disk, whyNoDisks } from './disk.ts'
import type { FaultKind } from './faults.ts'
import { Network, whyNoNetworks } from './network.ts'
import type { RunOptions, RunReport } from './run.ts'

export interface ChaosOptions {
  readonly seed: number
  readonly brokers: number
  readonly kinds: readonly FaultKind[]
  readonly faultsMax: number | null
  readonly minutesMax: number | null
  readonly eventsPerSecond: number
  /** The directory stays also when nothing is wrong. */
  readonly isKept: boolean
  readonly say: (line: string) => void
}

export interface ChaosReport extends RunReport {
  /** Null: it was removed. */
  readonly directory: string | null
  /** One line for each thing that is wrong; none: the run has passed. */
  readonly problems: readonly string[]
}

const DISK_BYTES = 1024 * 1024 * 1024
const TOOLS = ['ip', 'nft', 'tc', 'nsenter', 'mkfs.ext4', 'mount', 'umount', 'fallocate']

/** What a machine lacks for a run; null when it lacks nothing. */
export function whatIsMissing(): string | null {
  if (process.getuid?.() !== 0) return 'only root may make networks and disks'
  const missing = TOOLS.filter((tool) => !isThere(tool))
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`
  const python = spawnSync(DEBIAN_PYTHON, ['-c', 'import confluent_kafka'])
  return python.status === 0 ? null : 'python3-confluent-kafka is not installed'
}

/** The same, and what the kernel refuses. */
export function whyNoChaos(): string | null {
  return whatIsMissing() ?? whyNoNetworks() ?? whyNoDisks()
}

function isThere(tool: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' }).status === 0
}

export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { seed, brokers, kinds, faultsMax, minutesMax, eventsPerSecond } = options
  const directory = mkdtempSync(join(tmpdir(), 'millrace-chaos-'))
  const prefix = `mr${process.pid}`
  const network = new Network({ prefix, nodes: brokers })
  const told = { seed, brokers, kinds, faultsMax, minutesMax, eventsPerSecond }
  let report: ChaosReport | null = null
  try {
    network.make()
    const run = { ...told, prefix, directory, diskBytes: DISK_BYTES }
    report = judge(await runInside(network, run, options.say), directory)
  } finally {
    network.remove()
    const isRight = report !== null && report.problems.length === 0
    for (let id = 1; id <= brokers; id++) {
      if (!isRight) saveData(join(directory, `node-${id}`))
      Disk.remove(join(directory, `node-${id}`))
    }
    if (isRight && !options.isKept) rmSync(directory, { recursive: true, force: true })
  }
  return existsSync(directory) ? report : { ...report, directory: null }
}

async function runInside(
  network: Network,
  run: RunOptions,
  say: (line: string) => void,
): Promise<RunReport> {
  const program = join(dirname(fileURLToPath(import.meta.url)), 'run.js')
  const [command, ...prefix] = network.inside('clients')
  const args = [...prefix, process.execPath, '--enable-source-maps', program, JSON.stringify(run)]
  const child = spawn(command as string, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const letGo = endWith(child)
  createInterface({ input: child.stdout }).on('line', say)
  const [code, signal] = await once(child, 'exit')
  letGo()
  const path = join(run.directory, 'report.json')
  if (code !== 0 || !existsSync(path)) {
    throw new Error(`the run ended with ${code ?? signal}; see ${run.directory}`)
  }
  return JSON.parse(readFileSync(path, 'utf8')) as RunReport
}

/** Whoever interrupts us wants the run to end, and everything to be taken away. */
function endWith(child: ChildProcess): () => void {
  const end = (): void => {
    child.kill('SIGKILL')
  }
  process.once('SIGINT', end)
  process.once('SIGTERM', end)
  return () => {
    process.off('SIGINT', end)
    process.off('SIGTERM', end)
  }
}

function judge(report: RunReport, directory: string): ChaosReport {
  const { failures, differences, verdict } = report
  const examples = (verdict?.examples ?? []).map(
    ({ kind, partition, what }) => `${kind} in ${partition}: ${what}`,
  )
  const kinds = Object.entries(verdict?.kinds ?? {}).map(([kind, count]) => `${kind}: ${count}`)
  const unread = verdict === null ? ['the logs could not be read back'] : []
  const problems = [...failures, ...differences, ...unread, ...kinds, ...examples]
  return { ...report, directory, problems }
}

/** A disk is gone with the memory that it lies in. */
function saveData(own: string): void {
  try {
    execFileSync('cp', ['-r', join(own, 'disk', 'data'), join(own, 'data')], { stdio: 'ignore' })
  } catch {
    // It was not mounted, or the disk does not answer.
  }
}
