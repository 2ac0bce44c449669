/**
 * What the runs of a cell say together, and whether a row's target is met. Pure.
 */
import { formatNumber, formatSpread, type Spread, spreadOf } from '../lib/statistics.ts'
import type { TargetName } from './rows.ts'
import type { CellRun } from './run-cell.ts'

export interface Metric {
  readonly title: string
  readonly of: (run: CellRun) => number
}

const gigabytes = (run: CellRun): number => run.load.bytes / 1e9

/** Bytes that reached a consumer, or, without consumers, that were acknowledged. */
const delivered = (run: CellRun): number => run.fetch?.bytes ?? run.load.bytes

export const METRICS = {
  gigabytesPerSecond: { title: 'GB/s', of: (run) => run.load.bytesPerSecond / 1e9 },
  eventsPerSecond: { title: 'events/s', of: (run) => run.load.eventsPerSecond },
  requestsPerSecond: { title: 'requests/s', of: (run) => run.load.requestsPerSecond },
  achieved: {
    title: 'achieved ÷ offered',
    of: (run) => (run.load.mode === 'open' ? run.load.requests / run.load.offered : Number.NaN),
  },
  p50: { title: 'P50 ms', of: (run) => run.load.latencyMicros.p50 / 1000 },
  p99: { title: 'P99 ms', of: (run) => run.load.latencyMicros.p99 / 1000 },
  p999: { title: 'P99.9 ms', of: (run) => run.load.latencyMicros.p999 / 1000 },
  max: { title: 'max ms', of: (run) => run.load.latencyMicros.max / 1000 },
  cpuPerGigabyte: {
    title: 'CPU-s/GB',
    of: (run) => run.use.cpuSeconds / gigabytes(run),
  },
  cpuPerRequest: {
    title: 'CPU-µs/request',
    of: (run) => (run.use.cpuSeconds / run.load.requests) * 1e6,
  },
  cpuPerDelivered: {
    title: 'CPU-s/GB delivered',
    of: (run) => run.use.cpuSeconds / (delivered(run) / 1e9),
  },
  lag: { title: 'lag max ms', of: (run) => run.fetch?.lagMsMax ?? Number.NaN },
  deliveredPerSecond: {
    title: 'GB/s delivered',
    of: (run) => (run.fetch?.bytesPerSecond ?? Number.NaN) / 1e9,
  },
  residentPeak: { title: 'RSS peak MB', of: (run) => run.residentPeakBytes / 1e6 },
  groupPeak: { title: 'cgroup peak MB', of: (run) => (run.groupPeakBytes ?? Number.NaN) / 1e6 },
  written: { title: 'written GB/GB', of: (run) => run.use.writtenBytes / run.load.bytes },
  clientCpu: {
    title: 'client CPU-s/GB',
    of: (run) => (run.load.clientCpuSeconds + (run.fetch?.clientCpuSeconds ?? 0)) / gigabytes(run),
  },
  machineCpu: {
    title: 'machine CPU-s/GB',
    of: (run) => run.use.machine.busySeconds / gigabytes(run),
  },
  switches: {
    title: 'switches/request',
    of: (run) =>
      run.use.roles.reduce((sum, one) => sum + one.voluntarySwitches + one.involuntarySwitches, 0) /
      run.load.requests,
  },
  steal: { title: 'steal s', of: (run) => run.use.machine.stealSeconds },
} as const satisfies Record<string, Metric>

export type MetricName = keyof typeof METRICS

/** The runs of one suite, asked by cell and target. Runs that do not count are left out. */
export class Summary {
  readonly #runs: readonly CellRun[]

  constructor(runs: readonly CellRun[]) {
    this.#runs = runs
  }

  runs(cell: string, target: TargetName): CellRun[] {
    const isMine = (run: CellRun) => run.cell === cell && run.target === target
    return this.#runs.filter((run) => isMine(run) && run.problem === null)
  }

  spread(cell: string, target: TargetName, metric: MetricName): Spread {
    return spreadOf(this.runs(cell, target).map(METRICS[metric].of))
  }

  /** NaN when there is no run. */
  median(cell: string, target: TargetName, metric: MetricName): number {
    return this.spread(cell, target, metric).median
  }

  /** Ours divided by the other's, medians; NaN when one is missing. */
  ratio(cell: string, metric: MetricName, to: TargetName, of: TargetName = 'millrace'): number {
    return this.median(cell, of, metric) / this.median(cell, to, metric)
  }
}

export interface Verdict {
  readonly row: string
  readonly what: string
  readonly target: string
  readonly value: string
  /** Null: not measured. */
  readonly isMet: boolean | null
}

const THIRD = 1 / 3

/** Every target of the rows that have runs. */
export function verdictsOf(summary: Summary, rows: readonly string[]): Verdict[] {
  const found: Verdict[] = []
  const say = (row: string, what: string, target: string, value: number, isMet: boolean) => {
    if (!rows.includes(row)) return
    const isKnown = Number.isFinite(value)
    const text = isKnown ? formatNumber(value) : 'not measured'
    found.push({ row, what, target, value: text, isMet: isKnown ? isMet : null })
  }
  const atMost = (row: string, what: string, value: number, bound: number, unit = '') =>
    say(row, what, `≤ ${formatNumber(bound)}${unit}`, value, value <= bound)
  const atLeast = (row: string, what: string, value: number, bound: number, unit = '') =>
    say(row, what, `≥ ${formatNumber(bound)}${unit}`, value, value >= bound)
  const below = (row: string, what: string, value: number, bound: number, unit: string) =>
    say(row, what, `< ${formatNumber(bound)}${unit}`, value, value < bound)

  for (const [cell, size] of [
    ['a-64k', '64 KiB'],
    ['a-1m', '1 MB'],
  ] as const) {
    atMost(
      'a',
      `${size}: CPU-s/GB ÷ Kafka’s`,
      summary.ratio(cell, 'cpuPerGigabyte', 'kafka'),
      THIRD,
    )
    atLeast('a', `${size}: GB/s ÷ the limit’s`, fractionOfLimit(summary, cell), 0.7)
  }
  atLeast('a', '1 MB: GB/s', summary.median('a-1m', 'millrace', 'gigabytesPerSecond'), 1.5)
  for (const [cell, door] of [
    ['b-tcp', 'TCP'],
    ['b-websocket', 'WebSocket'],
  ] as const) {
    const rate = summary.median(cell, 'millrace', 'eventsPerSecond')
    atLeast('b', `${door}: million events/s`, rate / 1e6, 10)
  }
  for (const [cell, what] of [
    ['c-100b', '5M/s of 100 B'],
    ['c-1k', '1M/s of 1 KiB'],
  ] as const) {
    below('c', `${what}: P99 ms`, summary.median(cell, 'millrace', 'p99'), 10, ' ms')
    below('c', `${what}: P99.9 ms`, summary.median(cell, 'millrace', 'p999'), 25, ' ms')
  }
  const perRequest = summary.ratio('d-closed', 'cpuPerRequest', 'kafka')
  atMost('d', 'CPU-µs/request ÷ Kafka’s', perRequest, THIRD)
  below('d', 'half of the maximum: P99 ms', summary.median('d-half', 'millrace', 'p99'), 2, ' ms')
  for (const [cell, plain, size] of [
    ['e-64k', 'a-64k', '64 KiB'],
    ['e-1m', 'a-1m', '1 MB'],
  ] as const) {
    const ours = summary.median(cell, 'millrace', 'gigabytesPerSecond')
    const theirs = summary.median(plain, 'kafka', 'gigabytesPerSecond')
    atLeast('e', `${size} with fsync ÷ Kafka’s without`, ours / theirs, 1)
  }
  below('e', 'half of the maximum: P99 ms', summary.median('e-half', 'millrace', 'p99'), 10, ' ms')
  for (const cell of ['f-1', 'f-3', 'f-10']) {
    const count = cell.slice(2)
    const lag = summary.spread(cell, 'millrace', 'lag').max
    below('f', `${count} consumers: longest lag ms`, lag, 1000, ' ms')
    const ratio = summary.ratio(cell, 'cpuPerDelivered', 'kafka')
    atMost('f', `${count} consumers: CPU-s/GB delivered ÷ Kafka’s`, ratio, 0.5)
  }
  for (const what of ['partitions', 'connections']) {
    const many = summary.median(`i-${what}-1000`, 'millrace', 'cpuPerGigabyte')
    const one = summary.median(`i-${what}-1`, 'millrace', 'cpuPerGigabyte')
    below('i', `CPU-s/GB, 1,000 ${what} ÷ 1`, many / one, 1.2, '')
  }
  below('l', 'ten minutes: P99.9 ms', summary.median('l-long', 'millrace', 'p999'), 10, ' ms')
  return found
}

/** Of the better of the limit's two shapes: a program may use both cores, as the broker does. */
function fractionOfLimit(summary: Summary, cell: string): number {
  const of = (target: TargetName) => summary.median(cell, target, 'gigabytesPerSecond')
  const limits = [of('limit'), of('limit-two-threads')].filter(Number.isFinite)
  return limits.length === 0 ? Number.NaN : of('millrace') / Math.max(...limits)
}

/** "median (min–max)" of a metric. */
export function written(
  summary: Summary,
  cell: string,
  target: TargetName,
  metric: MetricName,
): string {
  return formatSpread(summary.spread(cell, target, metric))
}
