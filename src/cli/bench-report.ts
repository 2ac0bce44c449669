/** What `millrace bench …` prints at the end, for people; for programs it is the result itself. */
import type { LatencySummary } from '../load/latency.ts'
import type { ProduceResult } from '../load/result.ts'
import { msText } from './bench-progress.ts'
import { type Cell, formatTable } from './output.ts'
import { sizeText } from './progress.ts'

export function produceReport(result: ProduceResult): string {
  const { stoppedBy, seconds, problem } = result
  const early = stoppedBy === 'time' ? '' : ` (ended early: ${stoppedBy})`
  return [
    formatTable(['', ''], [...setup(result), ...outcome(result)]).trimStart(),
    '',
    latencyTable([
      [result.mode === 'open' ? 'from the intended send time' : 'latency', result.latencyMs],
      ...(result.mode === 'open'
        ? [['from the actual one', result.serviceMs] as [string, LatencySummary]]
        : []),
    ]),
    '',
    problem === null
      ? `✓ verified over ${seconds.toFixed(1)} s${early}: end offsets are what was acknowledged; bytes ${result.bytesOnDisk}`
      : `✗ NOT verified${early}: ${problem}`,
  ].join('\n')
}

function setup(result: ProduceResult): Cell[][] {
  const { driver, mode, rate, connections, producers, inFlight, acks } = result
  const requests =
    result.eventsPerRequest === null
      ? `batches up to ${sizeText(result.batchBytes)}, linger ${result.lingerMs} ms`
      : `batches of ${result.eventsPerRequest} events, ${sizeText(result.batchBytes)}`
  const who =
    result.source === 'client'
      ? `${producers} producers over ${connections} connections`
      : `${connections} connections`
  return [
    ['driver', driver],
    ['source', result.sourceText],
    ['loop', mode === 'open' ? `open, ${whole(rate ?? 0)} events/s (${result.pacing})` : 'closed'],
    ['load', `${who}, ${inFlight} in flight, acks ${acks === -1 ? 'all' : acks}`],
    ['events', `${whole(result.eventBytes)} bytes, ${requests}, ${result.compression}`],
    ['topics', `${result.topics.length} with ${result.partitions} partitions`],
  ]
}

function outcome(result: ProduceResult): Cell[][] {
  const { eventsPerSecond, bytesPerSecond, requestsPerSecond, achievedRatio } = result
  const rows: Cell[][] = [
    [
      'went',
      `${whole(eventsPerSecond)} events/s, ${sizeText(bytesPerSecond)}/s, ` +
        `${whole(requestsPerSecond)} requests/s`,
    ],
  ]
  if (result.mode === 'open' && achievedRatio !== null) {
    const behind = result.overdue + result.unanswered
    const late = behind === 0 ? '' : `; ${whole(behind)} were due and not done at the end`
    rows.push(['achieved', `${(achievedRatio * 100).toFixed(2)} % of what was offered${late}`])
  }
  const { cpuSecondsPerGb, clientCpuSecondsPerGb } = result
  const broker = cpuSecondsPerGb === null ? '- (--broker-pid)' : `${cpuSecondsPerGb.toFixed(2)} s`
  rows.push([
    'CPU for a GB',
    `broker ${broker}, this ${clientCpuSecondsPerGb?.toFixed(2) ?? '-'} s`,
  ])
  return rows
}

export function latencyTable(rows: readonly (readonly [string, LatencySummary])[]): string {
  return formatTable(
    ['LATENCY', 'P50', 'P90', 'P99', 'P99.9', 'P99.99', 'MAX', 'COUNT'],
    rows.map(([name, one]) => [
      name,
      ...[one.p50, one.p90, one.p99, one.p999, one.p9999, one.max].map(msText),
      whole(one.count),
    ]),
  )
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}
