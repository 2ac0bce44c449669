/**
 * A suite's results as files: Markdown with the headline table, a table for each cell, charts and
 * the raw runs; and a line for each cell and target in the history.
 */
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { projectFolder } from '../lib/broker.ts'
import { type Bar, barChart } from '../lib/chart.ts'
import { KAFKA_JVM } from '../lib/kafka-broker.ts'
import { type Machine, machineLines } from '../lib/machine.ts'
import { threadTables } from '../lib/measurement-report.ts'
import { formatNumber, formatSpread, markdownTable } from '../lib/statistics.ts'
import type { SuiteOptions } from './options.ts'
import { type Cell, ROWS, type Row, type TargetName } from './rows.ts'
import type { CellRun } from './run-cell.ts'
import { METRICS, type MetricName, Summary, type Verdict, verdictsOf } from './summary.ts'

export interface SuiteResults {
  readonly options: SuiteOptions
  readonly machine: Machine
  /** Why there are no cgroups. */
  readonly note: string | null
  /** Version of Apache Kafka. */
  readonly kafka: string
  readonly runs: readonly CellRun[]
}

const LABELS: Readonly<Record<TargetName, string>> = {
  millrace: 'Millrace',
  before: 'Millrace before',
  kafka: 'Apache Kafka',
  limit: 'limit, 1 thread',
  'limit-two-threads': 'limit, 2 threads',
}

const ALWAYS: readonly MetricName[] = ['gigabytesPerSecond', 'requestsPerSecond', 'eventsPerSecond']
const LATENCIES: readonly MetricName[] = ['p50', 'p99', 'p999', 'max']
const COST: readonly MetricName[] = ['cpuPerGigabyte', 'cpuPerRequest']
const BESIDES: readonly MetricName[] = [
  'residentPeak',
  'groupPeak',
  'written',
  'switches',
  'clientCpu',
  'machineCpu',
  'steal',
]

/** Writes the report where the options say, and prints it. */
export function writeReport(results: SuiteResults): void {
  const { options } = results
  const isPublished = options.report !== undefined
  const reports = join(projectFolder(), 'perf-reports')
  const prefix = isPublished
    ? join(reports, options.report as string)
    : join(resolve(options.out), 'report')
  mkdirSync(dirname(prefix), { recursive: true })
  const charts = chartFiles(results)
  for (const [name, svg] of charts) writeFileSync(`${prefix}-${name}.svg`, svg)
  const text = reportText(
    results,
    [...charts.keys()].map((name) => `${basename(prefix)}-${name}.svg`),
  )
  writeFileSync(`${prefix}.md`, text)
  const { machine, note, kafka, runs } = results
  const raw = { machine, note, kafka, options: published(options), runs }
  writeFileSync(`${prefix}.json`, `${JSON.stringify(raw)}\n`)
  if (isPublished) addToHistory(join(reports, 'history.ndjson'), results)
  process.stdout.write(text)
  process.stderr.write(`written: ${prefix}.md, ${prefix}.json\n`)
}

/** Without the paths of this machine. */
function published(options: SuiteOptions): object {
  const { dataParent: _, out: __, main: ___, before: ____, cgroupParent: _____, ...rest } = options
  return rest
}

function cellsWithRuns(row: Row, runs: readonly CellRun[]): Cell[] {
  return row.cells.filter(({ name }) => runs.some((run) => run.cell === name))
}

function targetsWithRuns(cell: Cell, runs: readonly CellRun[]): TargetName[] {
  const found = new Set(runs.filter((run) => run.cell === cell.name).map((run) => run.target))
  return (Object.keys(LABELS) as TargetName[]).filter((name) => found.has(name))
}

function reportText(results: SuiteResults, charts: readonly string[]): string {
  const { options, machine, note, kafka, runs } = results
  const summary = new Summary(runs)
  const verdicts = verdictsOf(summary, options.rows)
  const memory =
    options.memoryBytes === null || note !== null
      ? 'none'
      : `${formatNumber(options.memoryBytes / 2 ** 30)} GiB for each program, page cache included`
  const { profile } = options
  const parts = [
    `# Millrace beside Apache Kafka ${kafka} and the limit: suite ${options.suite}`,
    '',
    ...machineLines(machine),
    `- Profile: ${profile.name}; Millrace with ${profile.shards} shard(s); Kafka with ${profile.kafkaThreads} network and ${profile.kafkaThreads} request threads, \`${KAFKA_JVM.slice(0, 2).join(' ')}\`, G1 as its own script sets it, otherwise its defaults`,
    `- Memory cgroup: ${memory}`,
    `- ${options.rounds} rounds forth and back, ${options.seconds} s after ${options.warmUpSeconds} s${options.isQuick ? '; one warm JVM' : ''}; a new topic a run, end offsets and bytes on disk compared with what was acknowledged`,
    '- Prebuilt uncompressed batches from one native generator for all programs; an answer means “in the page cache” unless the row says fsync; latency from the intended send time',
    ...(note === null ? [] : [`- ${note}`]),
    '',
    '## Headline',
    '',
    headline(summary, runs),
    '',
    '## Targets',
    '',
    verdictTable(verdicts),
    '',
    ...charts.flatMap((name) => [`![${name}](${name})`, '']),
  ]
  for (const row of ROWS) {
    const cells = cellsWithRuns(row, runs)
    if (cells.length === 0) continue
    parts.push(`## Row ${row.name}: ${row.title}`, '', `Target: ${row.target}.`, '')
    for (const cell of cells) parts.push(...cellSection(summary, cell, runs))
  }
  return `${parts.join('\n').trimEnd()}\n`
}

/** A line a cell: what a reader compares first. */
function headline(summary: Summary, runs: readonly CellRun[]): string {
  const lines = ROWS.flatMap((row) =>
    cellsWithRuns(row, runs).map((cell) => {
      const metric = mainMetric(cell)
      const limit = bestLimit(summary, cell, metric)
      const over = (to: TargetName | null, of: MetricName) =>
        to === null ? '–' : formatNumber(summary.ratio(cell.name, of, to))
      const value = (target: TargetName | null) =>
        target === null ? '–' : formatSpread(summary.spread(cell.name, target, metric))
      return [
        `${cell.name}: ${cell.title}`,
        METRICS[metric].title,
        value('millrace'),
        value('kafka'),
        value(limit),
        over('kafka', metric),
        over(limit, metric),
        over('kafka', cell.eventsPerRequest === 1 ? 'cpuPerRequest' : 'cpuPerGigabyte'),
      ]
    }),
  )
  const head = ['', 'measure', 'Millrace', 'Apache Kafka', 'limit', '÷ Kafka', '÷ limit']
  return markdownTable([...head, 'CPU ÷ Kafka'], lines)
}

/** What the cell is about: what was reached in a closed loop, the tail in an open one. */
function mainMetric(cell: Cell): MetricName {
  if (cell.consumers !== undefined) return 'lag'
  if (cell.rate !== undefined) return 'p99'
  if (cell.eventsPerRequest === 1) return 'requestsPerSecond'
  return cell.eventBytes < 200 ? 'eventsPerSecond' : 'gigabytesPerSecond'
}

function bestLimit(summary: Summary, cell: Cell, metric: MetricName): TargetName | null {
  const isLatency = metric === 'p99'
  let best: TargetName | null = null
  for (const target of ['limit', 'limit-two-threads'] as const) {
    const value = summary.median(cell.name, target, metric)
    if (!Number.isFinite(value)) continue
    const soFar = best === null ? Number.NaN : summary.median(cell.name, best, metric)
    if (best === null || (isLatency ? value < soFar : value > soFar)) best = target
  }
  return best
}

function verdictTable(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ row, what, target, value, isMet }) => [
    `${row}: ${what}`,
    target,
    value,
    isMet === null ? '–' : isMet ? 'met' : '**missed**',
  ])
  return markdownTable(['', 'target', 'measured', ''], rows)
}

function cellSection(summary: Summary, cell: Cell, runs: readonly CellRun[]): string[] {
  const targets = targetsWithRuns(cell, runs)
  const rates = targets
    .map((target) => summary.runs(cell.name, target)[0]?.load.rate)
    .filter((rate) => rate !== undefined && rate !== null)
  const metrics = [...ALWAYS, ...LATENCIES, ...COST]
  if (cell.rate !== undefined) metrics.splice(ALWAYS.length, 0, 'achieved')
  if (cell.consumers !== undefined) metrics.push('deliveredPerSecond', 'cpuPerDelivered', 'lag')
  const table = (names: readonly MetricName[]) =>
    markdownTable(
      ['', ...names.map((name) => METRICS[name].title)],
      targets.map((target) => [
        LABELS[target],
        ...names.map((name) => formatSpread(summary.spread(cell.name, target, name))),
      ]),
    )
  const mine = runs.filter((run) => run.cell === cell.name)
  const bad = mine.filter(({ problem }) => problem !== null)
  const byTarget = new Map(
    targets.map((target) => [LABELS[target], summary.runs(cell.name, target)]),
  )
  return [
    `### ${cell.name}: ${cell.title}`,
    '',
    ...(rates.length > 0
      ? [`Offered: ${rates.map((rate) => formatNumber(rate as number)).join(', ')} requests/s.`, '']
      : []),
    table(metrics),
    '',
    '<details><summary>By thread, memory, the rest</summary>',
    '',
    ...threadTables(byTarget),
    table(BESIDES),
    '',
    '</details>',
    '',
    ...(bad.length > 0
      ? [`**${bad.length} of ${mine.length} runs do not count**; first: ${bad[0]?.problem}`, '']
      : []),
  ]
}

/** Throughput of the closed loops, CPU of all, tails of the open ones. */
function chartFiles({ runs, machine }: SuiteResults): Map<string, string> {
  const summary = new Summary(runs)
  const cells = ROWS.flatMap((row) => cellsWithRuns(row, runs))
  const files = new Map<string, string>()
  const add = (
    name: string,
    title: string,
    chosen: readonly Cell[],
    metric: MetricName,
    unit: string,
  ) => {
    const groups = chosen.map((cell) => ({
      title: `${cell.name}: ${cell.title}`,
      bars: targetsWithRuns(cell, runs).map((target): Bar => {
        const spread = summary.spread(cell.name, target, metric)
        const isLimit = target.startsWith('limit')
        const kind = target === 'kafka' ? 'peer' : isLimit ? 'limit' : 'ours'
        return {
          label: LABELS[target],
          value: spread.median,
          min: spread.min,
          max: spread.max,
          kind,
          text: formatNumber(spread.median),
        }
      }),
    }))
    const hasValue = groups.some(({ bars }) => bars.some(({ value }) => value > 0))
    if (hasValue) files.set(name, barChart({ title, unit: `${unit}; ${machine.cpu}`, groups }))
  }
  const closed = cells.filter(({ rate, eventsPerRequest }) => !rate && eventsPerRequest > 1)
  add('throughput', 'Throughput, closed loop', closed, 'gigabytesPerSecond', 'GB/s, more is better')
  const large = cells.filter(({ eventsPerRequest }) => eventsPerRequest > 1)
  add(
    'cpu',
    'What a gigabyte costs the broker',
    large,
    'cpuPerGigabyte',
    'CPU-s/GB, less is better',
  )
  const small = cells.filter(({ eventsPerRequest }) => eventsPerRequest === 1)
  add('requests', 'What a request costs', small, 'cpuPerRequest', 'CPU-µs/request, less is better')
  const open = cells.filter(({ rate }) => rate !== undefined)
  add('tail', 'P99 at the offered rate', open, 'p99', 'ms from the intended send time')
  return files
}

/** One line a cell and target, so that changes over time can be drawn. */
function addToHistory(file: string, { machine, runs }: SuiteResults): void {
  const summary = new Summary(runs)
  const date = new Date().toISOString().slice(0, 10)
  const { commit, cpu, cores, memoryBytes, kernel, node } = machine
  const names: readonly MetricName[] = [...ALWAYS, ...LATENCIES, ...COST, 'lag', 'residentPeak']
  const lines = ROWS.flatMap((row) => cellsWithRuns(row, runs)).flatMap((cell) =>
    targetsWithRuns(cell, runs).map((target) => {
      const medians = Object.fromEntries(
        names
          .map((name): [string, number] => [name, summary.median(cell.name, target, name)])
          .filter(([, value]) => Number.isFinite(value))
          .map(([name, value]) => [name, Number(value.toPrecision(4))]),
      )
      const rounds = summary.runs(cell.name, target).length
      const where = { cpu, cores, memoryBytes, kernel, node }
      return JSON.stringify({
        date,
        commit,
        cell: cell.name,
        target,
        rounds,
        ...medians,
        machine: where,
      })
    }),
  )
  let before = ''
  try {
    before = readFileSync(file, 'utf8')
  } catch {
    // The first entry makes the file.
  }
  const fresh = lines.filter((line) => !before.includes(line))
  if (fresh.length > 0) appendFileSync(file, `${fresh.join('\n')}\n`)
}
