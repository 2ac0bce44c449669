/**
 * The tables of the first measurement. Pure: runs in, Markdown out.
 */
import type { Run } from './measurement-run.ts'
import type { RoleUse } from './process-sample.ts'
import {
  formatNumber,
  formatSpread,
  markdownTable,
  ratio,
  type Spread,
  spreadOf,
} from './statistics.ts'

/** Main, everything that owns partitions, and the rest: comparable between broker and limit. */
export const PARTS = ['main', 'partitions', 'other'] as const
export type Part = (typeof PARTS)[number]

export function partOf(role: string): Part {
  if (role === 'main') return 'main'
  return role === 'other' ? 'other' : 'partitions'
}

/** What the tables by thread need of a run. */
export type ThreadRun = Pick<Run, 'load' | 'use'>

export function gigabytes(run: ThreadRun): number {
  return run.load.bytes / 1e9
}

/** A quantity of the roles of one part of a run. */
export function sumOfPart(run: ThreadRun, part: Part, of: (use: RoleUse) => number): number {
  const roles = run.use.roles.filter((use) => partOf(use.role) === part)
  return roles.reduce((sum, use) => sum + of(use), 0)
}

function spread<R>(runs: readonly R[], of: (run: R) => number): Spread {
  return spreadOf(runs.map(of))
}

/** Median of `of` over the target's runs, divided by that over the base's. */
export function ratioToBase(
  runs: readonly Run[],
  base: readonly Run[],
  of: (run: Run) => number,
): number {
  return ratio(spread(runs, of).median, spread(base, of).median)
}

const cpuSeconds = (use: RoleUse) => use.cpuSeconds

type Column = readonly [title: string, of: (run: Run) => number]
type ThreadColumn = readonly [title: string, of: (run: ThreadRun) => number]

const THROUGHPUT: readonly Column[] = [
  ['GB/s', (run) => run.load.bytesPerSecond / 1e9],
  ['requests/s', (run) => run.load.requestsPerSecond],
  ['P50 µs', (run) => run.load.latencyMicros.p50],
  ['P99 µs', (run) => run.load.latencyMicros.p99],
  ['CPU-s/GB', (run) => run.use.cpuSeconds / gigabytes(run)],
  ['CPU-µs/request', (run) => (run.use.cpuSeconds / run.load.requests) * 1e6],
]

const perGigabyte = PARTS.map(
  (part): ThreadColumn => [part, (run) => sumOfPart(run, part, cpuSeconds) / gigabytes(run)],
)
const perRequest = PARTS.map(
  (part): ThreadColumn => [
    part,
    (run) => (sumOfPart(run, part, cpuSeconds) / run.load.requests) * 1e6,
  ],
)

const MODES: readonly ThreadColumn[] = PARTS.flatMap((part): ThreadColumn[] => [
  [`${part} user`, (run) => sumOfPart(run, part, (use) => use.userSeconds) / gigabytes(run)],
  [`${part} system`, (run) => sumOfPart(run, part, (use) => use.systemSeconds) / gigabytes(run)],
])

const REST: readonly Column[] = [
  ['main busy', (run) => sumOfPart(run, 'main', cpuSeconds) / run.use.seconds],
  ['waits/request', (run) => total(run, (use) => use.voluntarySwitches) / run.load.requests],
  ['preempted/request', (run) => total(run, (use) => use.involuntarySwitches) / run.load.requests],
  ['RSS peak MB', (run) => run.residentPeakBytes / 1e6],
  ['cgroup peak MB', (run) => (run.groupPeakBytes ?? Number.NaN) / 1e6],
  ['written GB/GB', (run) => run.use.writtenBytes / run.load.bytes],
  ['client CPU-s/GB', (run) => run.load.clientCpuSeconds / gigabytes(run)],
  ['machine CPU-s/GB', (run) => run.use.machine.busySeconds / gigabytes(run)],
  ['steal s', (run) => run.use.machine.stealSeconds],
]

function total(run: Run, of: (use: RoleUse) => number): number {
  return run.use.roles.reduce((sum, use) => sum + of(use), 0)
}

function table(byTarget: ReadonlyMap<string, readonly Run[]>, columns: readonly Column[]): string {
  const rows = [...byTarget].map(([target, runs]) => [
    target,
    ...columns.map(([, of]) => formatSpread(spread(runs, of))),
  ])
  return markdownTable(['', ...columns.map(([title]) => title)], rows)
}

function ratioTable(byTarget: ReadonlyMap<string, readonly Run[]>, base: string): string {
  const baseRuns = byTarget.get(base) ?? []
  const columns: readonly Column[] = [...THROUGHPUT]
  const rows = [...byTarget].map(([target, runs]) => [
    target,
    ...columns.map(([, of]) => formatNumber(ratioToBase(runs, baseRuns, of))),
  ])
  return markdownTable([`÷ ${base}`, ...columns.map(([title]) => title)], rows)
}

/** What each part of a program used, for programs whose threads are named as ours are. */
export function threadTables(byTarget: ReadonlyMap<string, readonly ThreadRun[]>): string[] {
  const rows = [...byTarget].flatMap(([target, runs]) => {
    if (runs.length === 0) return []
    const cells = [...perGigabyte, ...perRequest, ...MODES].map(([, of]) =>
      formatSpread(spread(runs, of)),
    )
    return [[target, ...cells]]
  })
  const head = [
    '',
    ...perGigabyte.map(([title]) => `${title} s/GB`),
    ...perRequest.map(([title]) => `${title} µs/request`),
    ...MODES.map(([title]) => `${title} s/GB`),
  ]
  return [markdownTable(head, rows), '']
}

/** The tables of one workload under one memory bound. */
export function reportSection(title: string, runs: readonly Run[], base: string): string {
  const byTarget = new Map<string, Run[]>()
  for (const run of runs) byTarget.set(run.target, [...(byTarget.get(run.target) ?? []), run])
  const parts = [`### ${title}`, '', table(byTarget, THROUGHPUT), '']
  if (byTarget.has(base) && byTarget.size > 1) parts.push(ratioTable(byTarget, base), '')
  parts.push('CPU-seconds per GB by thread:', '', table(byTarget, perGigabyte), '')
  parts.push('CPU-µs per request by thread:', '', table(byTarget, perRequest), '')
  parts.push('CPU-seconds per GB by thread and mode (from 10 ms ticks):', '')
  parts.push(table(byTarget, MODES), '', 'Besides:', '', table(byTarget, REST), '')
  const early = runs.filter((run) => run.load.stoppedBy !== 'time').length
  if (early > 0)
    parts.push(`${early} of ${runs.length} runs ended early (bytes or connections).`, '')
  const bad = runs.filter((run) => !run.load.verified)
  if (bad.length > 0) {
    parts.push(
      `**${bad.length} of ${runs.length} runs do not count**; first: ${bad[0]?.load.problem}`,
      '',
    )
  }
  return parts.join('\n')
}
