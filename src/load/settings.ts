/** What a run is told, and what of it cannot be. Pure. */
import type { Compression } from './driver.ts'
import type { Pacing } from './engine.ts'
import type { Address } from './load-socket.ts'

export type DriverName = 'kafka' | 'ws' | 'rest'
export type SourceName = 'client' | 'prebuilt'

/** Where the broker is, and which topics are meant. */
export interface TargetSettings {
  readonly driver: DriverName
  readonly kafka: Address
  /** `ws:` or `wss:` for the driver ws, `http:` or `https:` for rest. */
  readonly url: string
  /** Topics are named `${topic}-0`, `${topic}-1`, … */
  readonly topic: string
  readonly topics: number
  /** Null: as many as a topic has; a new one gets `PARTITIONS_DEFAULT`. */
  readonly partitions: number | null
  /** The broker's log directories, when this machine has them; else empty. */
  readonly dataDirs: readonly string[]
  /** The broker's process, when it runs here (Linux). */
  readonly brokerPids: readonly number[]
  readonly warmUpMs: number
  readonly durationMs: number
}

export interface ProduceSettings extends TargetSettings {
  readonly source: SourceName
  readonly eventBytes: number
  readonly batchBytes: number
  /** Client source: how long a batch waits for more events. */
  readonly lingerMs: number
  /** Client source: producers, each with batches of its own. */
  readonly producers: number
  readonly connections: number
  /** Requests without an answer on a connection (prebuilt) or of a producer (client). */
  readonly inFlight: number
  /** Different keys; 0: none. */
  readonly keys: number
  readonly compression: Compression
  readonly acks: 0 | 1 | -1
  /** Events a second over all connections; null: closed loop, as many as go. */
  readonly rate: number | null
  readonly payloadFile: string | null
  readonly seed: number
  readonly pacing: Pacing
  readonly deleteTopics: boolean
}

export interface ConsumeSettings extends TargetSettings {
  /** Each with a connection of its own. */
  readonly consumers: number
  readonly from: 'earliest' | 'latest'
  /** Goes on behind what was the end at the start. */
  readonly follow: boolean
  readonly checkCrc: boolean
  /** The most that one answer or push may carry for one partition. */
  readonly fetchBytes: number
}

export interface EndToEndSettings extends ProduceSettings {
  readonly consumers: number
  readonly fetchBytes: number
}

export const PARTITIONS_DEFAULT = 8
/** A float64 at the start of a value: when the event was to be sent. */
export const STAMP_BYTES = 8
/** An idempotent producer of our library has no more (KIP-98). */
const LIBRARY_IN_FLIGHT_MAX = 5

/** What the options contradict, in words for who gave them; null: nothing. */
export function produceSettingsProblem(settings: ProduceSettings): string | null {
  const { driver, source, acks, rate, producers, connections, inFlight } = settings
  if (acks === 0 && driver === 'rest') return '--acks 0: over REST everything is answered'
  if (acks === 0 && rate === null) {
    return '--acks 0 needs a --rate: without answers nothing closes the loop'
  }
  if (acks === 0 && driver === 'ws' && source === 'prebuilt') {
    return '--acks 0 over ws is for --source client: a prebuilt request goes again when answered'
  }
  if (source === 'prebuilt' && producers !== connections) {
    return '--producers is for --source client; prebuilt requests go over --connections'
  }
  if (connections > producers) {
    return `--connections ${connections}: more than the ${producers} producers that share them`
  }
  if (source === 'client' && driver === 'ws' && inFlight > LIBRARY_IN_FLIGHT_MAX) {
    return `--in-flight is at most ${LIBRARY_IN_FLIGHT_MAX} for an idempotent producer`
  }
  if (settings.eventBytes + 100 > settings.batchBytes && source === 'client') {
    return `--batch-bytes ${settings.batchBytes} has no room for an event of ${settings.eventBytes}`
  }
  return null
}

/** The same for an end-to-end run. */
export function endToEndSettingsProblem(settings: EndToEndSettings): string | null {
  const { driver, source, acks, eventBytes } = settings
  if (acks === 0) return '--acks 0: without answers nobody knows which batch arrived'
  if (driver === 'rest') return '--driver rest has no consumers: kafka or ws'
  if (driver === 'ws' && source === 'client' && eventBytes < STAMP_BYTES) {
    return `--event-bytes is at least ${STAMP_BYTES}: an event carries its time`
  }
  return produceSettingsProblem(settings)
}

export function topicNames({ topic, topics }: TargetSettings): string[] {
  return Array.from({ length: topics }, (_, i) => `${topic}-${i}`)
}
