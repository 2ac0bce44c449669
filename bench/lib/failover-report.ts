/** What `failover.ts` has seen, as Markdown. Pure. */
import type { MetadataOutage } from './metadata-writes.ts'
import { formatNumber, formatSpread, markdownTable, spreadOf } from './statistics.ts'
import { addDelivered, type Delivered } from './steady-producer.ts'

export interface Observation {
  readonly fault: string
  readonly node: number
  /** The node led the quorum when it was struck. */
  readonly wasController: boolean
  /** The longest pause of any partition just before, with all brokers there: the machine's. */
  readonly beforeMs: number
  /** Of the partitions that the node led: until each took a write again. */
  readonly ledMs: readonly number[]
  /** The longest pause of the others. */
  readonly othersMs: number
  /** Why writes failed, and how often. */
  readonly reasons: Readonly<Record<string, number>>
  /** Null unless the active controller was meant. */
  readonly metadata: MetadataOutage | null
  /** From just before the fault to when all was well again; null without such a producer. */
  readonly delivered: Delivered | null
}

const worstOf = ({ ledMs }: Observation): number => Math.max(0, ...ledMs)

/** `last`: what the Java producer has delivered after the last observation. */
export function failoverReport(
  observations: readonly Observation[],
  last: Delivered | null,
): string[] {
  const faults = [...new Set(observations.map(({ fault }) => fault))]
  const byFault = faults.map((fault) => observations.filter((one) => one.fault === fault))
  return [
    ...brokersLost(byFault),
    ...controllersLost(byFault.filter(([first]) => first?.metadata !== null)),
    ...javaProducer(byFault, last),
    ...everyRound(observations),
  ]
}

function brokersLost(byFault: readonly (readonly Observation[])[]): string[] {
  const rows = byFault.map((mine) => [
    mine[0]?.fault ?? '',
    String(mine.length),
    formatSpread(spreadOf(mine.map(worstOf))),
    formatNumber(Math.max(...mine.map(worstOf))),
    formatSpread(spreadOf(mine.map(({ othersMs }) => othersMs))),
    formatSpread(spreadOf(mine.map(({ beforeMs }) => beforeMs))),
  ])
  const head = ['fault', 'times', 'all led partitions, ms', 'worst', 'the others, ms', 'before, ms']
  return [
    'Pauses of the partitions that the struck broker led, of the others, and of all just before:',
    '',
    markdownTable(head, rows),
    '',
  ]
}

function controllersLost(byFault: readonly (readonly Observation[])[]): string[] {
  if (byFault.length === 0) return []
  const rows = byFault.map((mine) => {
    const outages = mine.flatMap(({ metadata }) => metadata ?? [])
    const written = outages.map(({ writtenMs }) => writtenMs)
    return [
      mine[0]?.fault ?? '',
      String(mine.length),
      formatSpread(spreadOf(outages.map(({ electedMs }) => electedMs))),
      formatSpread(spreadOf(written)),
      formatNumber(Math.max(...written)),
    ]
  })
  const head = ['fault', 'times', 'another is active, ms', 'a topic is created, ms', 'worst']
  return ['The active controller lost:', '', markdownTable(head, rows), '']
}

function javaProducer(
  byFault: readonly (readonly Observation[])[],
  last: Delivered | null,
): string[] {
  if (last === null) return []
  const rows = byFault.map((mine) => {
    const all = mine.flatMap(({ delivered }) => delivered ?? [])
    return [mine[0]?.fault ?? '', ...deliveredCells(all)]
  })
  rows.push(['afterwards', ...deliveredCells([last])])
  const head = ['fault', 'acknowledged', 'errors', 'slowest, ms']
  return ['A Java producer with its default options:', '', markdownTable(head, rows), '']
}

function deliveredCells(all: readonly Delivered[]): string[] {
  const { acknowledged, slowestMs, errors } = all.reduce(addDelivered)
  return [
    formatNumber(acknowledged),
    Object.entries(errors)
      .map(([name, n]) => `${n} × ${name}`)
      .join(', ') || '0',
    formatNumber(slowestMs),
  ]
}

function everyRound(observations: readonly Observation[]): string[] {
  const rows = observations.map((one) => [
    one.fault,
    `${one.node}${one.wasController ? ' (controller)' : ''}`,
    String(one.ledMs.length),
    formatNumber(worstOf(one)),
    formatNumber(one.othersMs),
    formatNumber(one.beforeMs),
    one.metadata === null ? '' : formatNumber(one.metadata.writtenMs),
  ])
  const pauses = ['worst, ms', 'the others, ms', 'before, ms', 'metadata, ms']
  const head = ['fault', 'node', 'partitions led', ...pauses]
  return ['Every round:', '', markdownTable(head, rows)]
}
