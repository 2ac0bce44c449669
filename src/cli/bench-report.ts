/** What `millrace bench …` prints at the end, for people; for programs it is the result itself. */
import type { LatencySummary } from '../load/latency-summary.ts'
import type { ProduceResult } from '../load/result.ts'
import type { ConsumeResult } from '../load/run-consume.ts'
import type { EndToEndResult } from '../load/run-end-to-end.ts'
import { msText } from './bench-progress.ts'
import { type Cell, formatTable } from './output.ts'
import { sizeText } from './progress.ts'

export function produceReport(result: ProduceResult): string {
  return [
    facts([...setup(result), ...outcome(result)]),
    latencyTable(produceLatencies(result, result.latencyMs)),
    verdict(result, `end offsets are what was acknowledged; bytes ${result.bytesOnDisk}`),
  ].join('\n\n')
}

export function consumeReport(result: ConsumeResult): string {
  const { driver, consumers, partitions, from, events, bytes, lagMax, crc } = result
  const rows: Cell[][] = [
    ['driver', driver],
    ['load', `${count(consumers, 'consumer')}, ${count(partitions, 'partition')}, from ${from}`],
    ['read', `${whole(events)} events, ${sizeText(bytes)}`],
    ['went', `${whole(result.eventsPerSecond)} events/s, ${sizeText(result.bytesPerSecond)}/s`],
    ['lag', `${whole(lagMax)} events at most`],
    ['CPU for a GB', cpuText(result)],
  ]
  return [facts(rows), verdict(result, `every partition without a gap; CRC ${crc}`)].join('\n\n')
}

export function endToEndReport(result: EndToEndResult): string {
  const { consumers, consumedEventsPerSecond, consumedBytesPerSecond, lagMax } = result
  const rows: Cell[][] = [
    [
      'arrived',
      `${whole(consumedEventsPerSecond)} events/s, ${sizeText(consumedBytesPerSecond)}/s at ` +
        `${count(consumers, 'consumer')}, ${whole(lagMax)} events behind at most`,
    ],
  ]
  return [
    facts([...setup(result), ...outcome(result), ...rows]),
    latencyTable([
      ['intended send → arrival', result.latencyMs],
      ...produceLatencies(result, result.produceMs),
    ]),
    verdict(result, `all that was acknowledged is stored and arrived; bytes ${result.bytesOnDisk}`),
  ].join('\n\n')
}

type Produced = Omit<ProduceResult, 'command' | 'latencyMs'>

function produceLatencies(result: Produced, latency: LatencySummary): [string, LatencySummary][] {
  // Without answers it is over when the system has the bytes.
  const end = result.acks === 0 ? 'sent' : 'answer'
  if (result.mode === 'closed') return [[`send → ${end}`, latency]]
  return [
    [`intended send → ${end}`, latency],
    [`actual send → ${end}`, result.serviceMs],
  ]
}

function facts(rows: readonly Cell[][]): string {
  return formatTable(['', ''], rows).trimStart()
}

function verdict(
  result: {
    readonly problem: string | null
    readonly seconds: number
    readonly stoppedBy: string
  },
  good: string,
): string {
  const { problem, seconds, stoppedBy } = result
  const isWhole = stoppedBy === 'time' || stoppedBy === 'end'
  const time = `${seconds.toFixed(1)} s${isWhole ? '' : ` (ended early: ${stoppedBy})`}`
  return problem === null ? `✓ ${time}, verified: ${good}` : `✗ ${time}, NOT verified: ${problem}`
}

function setup(result: Produced): Cell[][] {
  const { driver, mode, rate, connections, producers, inFlight, acks } = result
  const requests =
    result.eventsPerRequest === null
      ? `batches up to ${sizeText(result.batchBytes)}, linger ${result.lingerMs} ms`
      : `batches of ${result.eventsPerRequest} events, ${sizeText(result.batchBytes)}`
  const who =
    result.source === 'client'
      ? `${count(producers, 'producer')} over ${count(connections, 'connection')}`
      : count(connections, 'connection')
  return [
    ['driver', driver],
    ['source', result.sourceText],
    ['loop', mode === 'open' ? `open, ${whole(rate ?? 0)} events/s (${result.pacing})` : 'closed'],
    ['load', `${who}, ${inFlight} in flight, acks ${acks === -1 ? 'all' : acks}`],
    ['events', `${whole(result.eventBytes)} bytes, ${requests}, ${result.compression}`],
    ['topics', `${result.topics.length} with ${count(result.partitions, 'partition')}`],
  ]
}

function outcome(result: Produced): Cell[][] {
  const { eventsPerSecond, bytesPerSecond, requestsPerSecond, achievedRatio } = result
  const rows: Cell[][] = [
    [
      'went',
      `${whole(eventsPerSecond)} events/s, ${sizeText(bytesPerSecond)}/s` +
        (requestsPerSecond === null ? '' : `, ${whole(requestsPerSecond)} requests/s`),
    ],
  ]
  if (result.mode === 'open' && achievedRatio !== null) {
    const behind = result.overdue + result.unanswered
    const late = behind === 0 ? '' : `; ${whole(behind)} were due and not done at the end`
    rows.push(['achieved', `${(achievedRatio * 100).toFixed(2)} % of what was offered${late}`])
  }
  rows.push(['CPU for a GB', cpuText(result)])
  return rows
}

function cpuText(result: {
  readonly cpuSecondsPerGb: number | null
  readonly clientCpuSecondsPerGb: number | null
}): string {
  const seconds = (value: number | null): string => (value === null ? '-' : value.toFixed(2))
  const { cpuSecondsPerGb: broker, clientCpuSecondsPerGb: own } = result
  const hint = broker === null ? ' (--broker-pid)' : ''
  return `broker ${seconds(broker)}${hint}, this program ${seconds(own)} seconds`
}

function latencyTable(rows: readonly (readonly [string, LatencySummary])[]): string {
  return formatTable(
    ['LATENCY', 'P50', 'P90', 'P99', 'P99.9', 'P99.99', 'MAX', 'COUNT'],
    rows.map(([name, one]) => [
      name,
      ...[one.p50, one.p90, one.p99, one.p999, one.p9999, one.max].map(msText),
      whole(one.count),
    ]),
  )
}

function count(value: number, noun: string): string {
  return `${whole(value)} ${noun}${value === 1 ? '' : 's'}`
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}
