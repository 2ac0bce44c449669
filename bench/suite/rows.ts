/**
 * What the suite measures: rows (a question each, with its target) of cells (one workload each).
 * Pure: no process is known here.
 */

/** A program under load. */
export type TargetName = 'millrace' | 'before' | 'kafka' | 'limit' | 'limit-two-threads'

/** What a cell asks for each second; undefined in a cell: as fast as the target answers. */
export type Rate =
  | { readonly eventsPerSecond: number }
  /** A share of what the same target reached in another cell, whose runs come first. */
  | { readonly shareOf: string; readonly share: number }

export interface Cell {
  readonly row: string
  /** Unique; a file name. */
  readonly name: string
  readonly title: string
  readonly targets: readonly TargetName[]
  readonly door: 'kafka' | 'websocket'
  readonly connections: number
  readonly partitions: number
  readonly eventBytes: number
  readonly eventsPerRequest: number
  /** Requests that may be unanswered on a connection; 1 when not given. */
  readonly inFlight?: number
  readonly rate?: Rate
  /** Of the topic; `name=value`. */
  readonly topicConfigs?: readonly string[]
  /** Tail consumers beside the producers, each reading every partition. */
  readonly consumers?: number
  /** Instead of the suite's, unless it is quick. */
  readonly seconds?: number
  /** Instead of the suite's. */
  readonly rounds?: number
}

export interface Row {
  readonly name: string
  readonly title: string
  readonly target: string
  readonly cells: readonly Cell[]
}

/** Prebuilt batches: an event costs its value and 6 to 8 bytes, a batch 61 more. */
const BATCH_64K = { eventBytes: 1024, eventsPerRequest: 63 }
const BATCH_1M = { eventBytes: 1024, eventsPerRequest: 1010 }
const BATCH_1M_OF_100 = { eventBytes: 100, eventsPerRequest: 9450 }
const BATCH_256K_OF_100 = { eventBytes: 100, eventsPerRequest: 2440 }
const BATCH_256K = { eventBytes: 1024, eventsPerRequest: 253 }
const BATCH_16K = { eventBytes: 1024, eventsPerRequest: 15 }
const SINGLE = { eventBytes: 200, eventsPerRequest: 1 }

const BESIDE_LIMIT: readonly TargetName[] = ['millrace', 'kafka', 'limit', 'limit-two-threads']
const BROKERS: readonly TargetName[] = ['millrace', 'kafka']
const FSYNC = ['flush.messages=1']

type Shape = Omit<Cell, 'row' | 'partitions' | 'door'> & Partial<Pick<Cell, 'partitions' | 'door'>>

function row(name: string, title: string, target: string, shapes: readonly Shape[]): Row {
  const cells = shapes.map((shape): Cell => ({ row: name, partitions: 8, door: 'kafka', ...shape }))
  return { name, title, target, cells }
}

const A = row(
  'a',
  '1 KB events, acks=1, 8 partitions, 16 connections, closed loop',
  'CPU-s/GB ≤ ⅓ of Kafka’s; ≥ 70 % of the limit’s GB/s; ≥ 1.5 GB/s at 1 MB',
  [
    {
      name: 'a-64k',
      title: '64 KiB requests of 1 KiB events',
      targets: BESIDE_LIMIT,
      connections: 16,
      ...BATCH_64K,
    },
    {
      name: 'a-1m',
      title: '1 MB requests of 1 KiB events',
      targets: BESIDE_LIMIT,
      connections: 16,
      ...BATCH_1M,
    },
  ],
)

const B = row('b', '100 B events in 1 MB requests', '≥ 10,000,000 acknowledged events/s', [
  {
    name: 'b-tcp',
    title: '1 MB requests of 100 B events, Kafka protocol',
    targets: [...BROKERS, 'limit-two-threads'],
    connections: 16,
    ...BATCH_1M_OF_100,
  },
  {
    name: 'b-websocket',
    title: '1 MB messages of 100 B events, WebSocket',
    targets: ['millrace'],
    door: 'websocket',
    connections: 16,
    ...BATCH_1M_OF_100,
  },
])

const C = row('c', 'open loop', 'P99 < 10 ms, P99.9 < 25 ms', [
  {
    name: 'c-100b',
    title: '5,000,000 events/s of 100 B offered, 256 KB requests',
    targets: BROKERS,
    connections: 16,
    rate: { eventsPerSecond: 5_000_000 },
    seconds: 60,
    ...BATCH_256K_OF_100,
  },
  {
    name: 'c-1k',
    title: '1,000,000 events/s of 1 KiB offered, 256 KB requests',
    targets: BROKERS,
    connections: 16,
    rate: { eventsPerSecond: 1_000_000 },
    seconds: 60,
    ...BATCH_256K,
  },
])

const D = row(
  'd',
  'one 200 B event a request, 32 connections, one in flight each',
  'CPU-µs/request ≤ ⅓ of Kafka’s; P99 < 2 ms at half of the maximum',
  [
    {
      name: 'd-closed',
      title: 'one 200 B event a request, closed loop',
      targets: [...BROKERS, 'limit'],
      connections: 32,
      ...SINGLE,
    },
    {
      name: 'd-half',
      title: 'one 200 B event a request, half of the own maximum',
      targets: BROKERS,
      connections: 32,
      rate: { shareOf: 'd-closed', share: 0.5 },
      ...SINGLE,
    },
  ],
)

const E = row(
  'e',
  'fsync before the acknowledgement (flush.messages=1)',
  '64 KiB and 1 MB with fsync ≥ Kafka’s without (row a); P99 < 10 ms at half of the maximum',
  [
    {
      name: 'e-64k',
      title: '64 KiB requests, fsync before the acknowledgement',
      targets: BROKERS,
      connections: 16,
      topicConfigs: FSYNC,
      ...BATCH_64K,
    },
    {
      name: 'e-1m',
      title: '1 MB requests, fsync before the acknowledgement',
      targets: BROKERS,
      connections: 16,
      topicConfigs: FSYNC,
      ...BATCH_1M,
    },
    {
      name: 'e-half',
      title: '64 KiB requests, fsync, half of the own maximum',
      targets: BROKERS,
      connections: 16,
      topicConfigs: FSYNC,
      rate: { shareOf: 'e-64k', share: 0.5 },
      ...BATCH_64K,
    },
  ],
)

function tail(consumers: number, megabytes: number): Shape {
  return {
    name: `f-${consumers}`,
    title: `${megabytes} MB/s offered in 64 KiB requests, ${consumers} tail consumer(s)`,
    targets: BROKERS,
    connections: 16,
    consumers,
    rate: { eventsPerSecond: (megabytes * 1e6) / 1034 },
    ...BATCH_64K,
  }
}

const F = row(
  'f',
  'tail consumers beside producers',
  'lag < 1 s throughout; CPU-s per GB delivered ≤ ½ of Kafka’s',
  [tail(1, 300), tail(3, 300), tail(10, 100)],
)

function scale(name: string, partitions: number, connections: number): Shape {
  return {
    name,
    title: `16 KB requests, ${partitions} partition(s), ${connections} connection(s), 50 MB/s`,
    targets: ['millrace'],
    partitions,
    connections,
    inFlight: 5,
    rate: { eventsPerSecond: 5e7 / 1034 },
    ...BATCH_16K,
  }
}

const I = row(
  'i',
  'the same load over more partitions and connections',
  'CPU-s/GB up < 20 % from 1 to 1,000 partitions, and from 1 to 1,000 connections',
  [
    scale('i-partitions-1', 1, 16),
    scale('i-partitions-10', 10, 16),
    scale('i-partitions-100', 100, 16),
    scale('i-partitions-1000', 1000, 16),
    scale('i-connections-1', 8, 1),
    scale('i-connections-10', 8, 10),
    scale('i-connections-100', 8, 100),
    scale('i-connections-1000', 8, 1000),
  ],
)

const L = row(
  'l',
  'ten minutes at 60 % of the maximum, through retention',
  'no growth of memory, no drift of P99, P99.9 < 10 ms',
  [
    {
      name: 'l-long',
      title: '64 KiB requests at 60 % of the own maximum, 10 minutes, retention.bytes 1 GB',
      targets: ['millrace'],
      connections: 16,
      topicConfigs: ['retention.bytes=1000000000', 'segment.bytes=134217728'],
      rate: { shareOf: 'a-64k', share: 0.6 },
      seconds: 600,
      rounds: 1,
      ...BATCH_64K,
    },
  ],
)

export const ROWS: readonly Row[] = [A, B, C, D, E, F, I, L]

/** Rows by the name of a suite. */
export const SUITES: Readonly<Record<string, readonly string[]>> = {
  headline: ['a', 'b', 'c', 'd', 'e', 'f'],
  full: ROWS.map(({ name }) => name),
}

/**
 * The order of one round: forth, and back in every second round, so that with the round after it
 * what drifts, such as a disk that fills, meets all targets alike: A B, B A.
 */
export function orderOf(targets: readonly TargetName[], round: number): TargetName[] {
  return round % 2 === 0 ? [...targets] : [...targets].reverse()
}

/**
 * Requests a second for one target. `maximum`: of that target in the cell that the rate refers to;
 * undefined when it was not measured.
 */
export function requestRate(cell: Cell, maximum: number | undefined): number | undefined {
  const { rate } = cell
  if (rate === undefined) return undefined
  if ('eventsPerSecond' in rate) return rate.eventsPerSecond / cell.eventsPerRequest
  return maximum === undefined ? undefined : maximum * rate.share
}
