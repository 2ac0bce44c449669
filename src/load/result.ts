/** What a run reports, as JSON: names and units that programs rely on. */
import type { Pacing, StopReason } from './engine.ts'
import type { LatencySummary } from './latency-summary.ts'
import { type Meter, perGb, round } from './meter.ts'
import type { DriverName, ProduceSettings, SourceName } from './settings.ts'
import type { Tally } from './tally.ts'

export interface ProduceResult {
  readonly command: 'produce'
  readonly driver: DriverName
  readonly source: SourceName
  /** The source in words: who made the batches, from what. */
  readonly sourceText: string
  readonly mode: 'open' | 'closed'
  readonly pacing: Pacing
  /** Events a second that were asked for; null: closed loop. */
  readonly rate: number | null
  readonly topics: readonly string[]
  /** Of all topics. */
  readonly partitions: number
  readonly producers: number
  readonly connections: number
  readonly inFlight: number
  readonly eventBytes: number
  /** Prebuilt: of one batch; client: the limit. */
  readonly batchBytes: number
  /** Prebuilt only. */
  readonly eventsPerRequest: number | null
  readonly lingerMs: number | null
  readonly keys: number
  readonly compression: string
  readonly acks: 0 | 1 | -1
  /** Of the measurement; likewise all that follows, unless it says "run". */
  readonly seconds: number
  readonly stoppedBy: StopReason
  /** Null: our library does not tell. */
  readonly requests: number | null
  readonly events: number
  /** Of batches; driver ws, source client: of keys and values; driver rest: of bodies. */
  readonly bytes: number
  readonly requestsPerSecond: number | null
  readonly eventsPerSecond: number
  readonly bytesPerSecond: number
  /** From the intended send time to the answer; the closed loop has no intention but the act. */
  readonly latencyMs: LatencySummary
  /** From the actual send time to the answer. */
  readonly serviceMs: LatencySummary
  /** Requests (prebuilt) or events (client) that were due. */
  readonly offered: number
  /** Of what was due in the measurement, the share that was acknowledged before its end. */
  readonly achievedRatio: number | null
  /** Run: due when it ended and never sent; they are in `latencyMs` with their age then. */
  readonly overdue: number
  /** Run: sent and never answered; likewise. */
  readonly unanswered: number
  /** Run: what was refused, and how often. */
  readonly refusals: Readonly<Record<string, number>>
  readonly brokenConnections: number
  /** Of the broker; null: nobody said which process it is. */
  readonly cpuSecondsPerGb: number | null
  readonly clientCpuSecondsPerGb: number | null
  readonly clientCpuSeconds: number
  readonly brokerCpuSeconds: number | null
  /** Whether end offsets, and bytes where they could be asked, agree with what was acknowledged. */
  readonly verified: boolean
  readonly problem: string | null
  /** How the bytes on the broker's disks were compared. */
  readonly bytesOnDisk: string
}

export interface ProduceOutcome {
  readonly settings: ProduceSettings
  readonly tally: Tally
  readonly meter: Meter
  readonly stoppedBy: StopReason
  readonly topics: readonly string[]
  readonly partitions: number
  readonly batchBytes: number
  readonly eventsPerRequest: number | null
  readonly problem: string | null
  readonly bytesOnDisk: string
}

export function produceResult(outcome: ProduceOutcome): ProduceResult {
  const { settings, tally, meter, problem } = outcome
  const { rate, source } = settings
  const seconds = Math.max(meter.seconds, 1e-9)
  const perSecond = (count: number): number => round(count / seconds, 1)
  const isClient = source === 'client'
  const isLibrary = isClient && settings.driver === 'ws'
  const { offeredUnits: offered } = tally
  return {
    command: 'produce',
    driver: settings.driver,
    source,
    sourceText: sourceText(settings),
    mode: rate === null ? 'closed' : 'open',
    pacing: settings.pacing,
    rate,
    topics: outcome.topics,
    partitions: outcome.partitions,
    producers: settings.producers,
    connections: settings.connections,
    inFlight: settings.inFlight,
    eventBytes: settings.eventBytes,
    batchBytes: outcome.batchBytes,
    eventsPerRequest: outcome.eventsPerRequest,
    lingerMs: isClient ? settings.lingerMs : null,
    keys: settings.keys,
    compression: settings.compression,
    acks: settings.acks,
    seconds: round(meter.seconds, 6),
    stoppedBy: outcome.stoppedBy,
    requests: isLibrary ? null : tally.requests,
    events: tally.events,
    bytes: tally.bytes,
    requestsPerSecond: isLibrary ? null : perSecond(tally.requests),
    eventsPerSecond: perSecond(tally.events),
    bytesPerSecond: perSecond(tally.bytes),
    latencyMs: tally.latency.summary(),
    serviceMs: tally.service.summary(),
    offered,
    achievedRatio: offered === 0 ? null : round(tally.achievedUnits / offered, 4),
    overdue: tally.overdueUnits,
    unanswered: tally.unansweredUnits,
    refusals: Object.fromEntries(tally.refusals),
    brokenConnections: tally.broken.length,
    cpuSecondsPerGb: perGb(meter.brokerCpuSeconds, tally.bytes),
    clientCpuSecondsPerGb: perGb(meter.clientCpuSeconds, tally.bytes),
    clientCpuSeconds: round(meter.clientCpuSeconds, 6),
    brokerCpuSeconds: meter.brokerCpuSeconds,
    verified: problem === null,
    problem,
    bytesOnDisk: outcome.bytesOnDisk,
  }
}

/** Both sources in words: never a number without them. */
export function sourceText(settings: ProduceSettings): string {
  const { driver, source, payloadFile } = settings
  const from = payloadFile === null ? 'random bytes' : payloadFile
  if (source === 'prebuilt') return `prebuilt (batches encoded once from ${from}, sent again)`
  if (driver === 'ws') return `client (our library, events one by one from ${from})`
  const door = driver === 'kafka' ? 'Kafka protocol' : 'REST'
  return `client (batches built here event by event from ${from}, ${door})`
}
