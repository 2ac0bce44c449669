/** What a round of `client-rounds.ts` does, all of it from its seed. */
import type { Random } from '../../src/base/random.ts'
import type { CompressionName } from '../../src/index.ts'

export const TROUBLES = ['network', 'kill', 'both'] as const
/** A proxy that treats connections badly; kill -9 and a restart of the broker; both at once. */
export type Trouble = (typeof TROUBLES)[number]

export interface ProducerPlan {
  readonly name: string
  readonly events: number
  readonly compression: CompressionName
  readonly batchBytes: number
  readonly lingerMs: number
  readonly inFlight: number
  /** Short for producers whose events fail while the broker is away. */
  readonly deliveryTimeoutMs: number
  /** Events that are not settled, at most. */
  readonly outstanding: number
}

export interface RoundPlan {
  readonly shards: number
  readonly partitions: number
  readonly topicConfigs: Readonly<Record<string, string>>
  readonly producers: readonly ProducerPlan[]
  /** When the broker ends, to be started again: in this order. */
  readonly ends: readonly {
    /** So many events are settled. */
    readonly settled: number
    /** kill -9, or in order. */
    readonly by: 'kill' | 'stop'
  }[]
  /** How often the proxy harms a connection; 0: there is no proxy. */
  readonly faultsMax: number
  /** Whether producers and consumer share one client, and with it one connection. */
  readonly isShared: boolean
  readonly creditWindowBytes: number
  readonly consumer: {
    readonly byTopic: boolean
    readonly takes: 'records' | 'batches'
    readonly bufferBytes: number
    /** How often it does something else for a while. */
    readonly idleChance: number
    /** How often it pauses a partition for a while. */
    readonly pauseChance: number
  }
}

const EVENTS_MIN = 400
const EVENTS_MAX = 1500
const ENDS_MAX = 2
const FAULTS_MAX = 20
const PATIENT_MS = 120_000
const CODECS: readonly CompressionName[] = ['none', 'none', 'gzip', 'snappy', 'lz4', 'zstd']

export function drawPlan(random: Random, trouble: Trouble): RoundPlan {
  const producers = Array.from({ length: random.between(1, 2) }, (_, index): ProducerPlan => {
    const isPatient = index === 0 || random.chance(0.3)
    return {
      name: `${isPatient ? 'patient' : 'hasty'}-${index}`,
      events: random.between(EVENTS_MIN, EVENTS_MAX),
      compression: random.pick(CODECS),
      batchBytes: random.between(200, 3000),
      lingerMs: random.below(4),
      inFlight: random.chance(0.8) ? 5 : random.between(1, 4),
      deliveryTimeoutMs: isPatient ? PATIENT_MS : random.between(30, 600),
      outstanding: random.between(20, 400),
    }
  })
  const total = producers.reduce((sum, { events }) => sum + events, 0)
  const ends = trouble === 'network' ? 0 : random.between(1, ENDS_MAX)
  return {
    shards: random.pick([1, 3]),
    partitions: random.between(1, 6),
    topicConfigs: {
      // Small segments: rolls happen all the time.
      'internal.segment.bytes': random.pick(['30000', '200000']),
      ...(random.chance(0.3) ? { 'flush.messages': '1' } : {}),
    },
    producers,
    ends: Array.from({ length: ends }, () => random.below(total))
      .sort((a, b) => a - b)
      .map((settled) => ({ settled, by: random.chance(0.8) ? 'kill' : 'stop' })),
    faultsMax: trouble === 'kill' ? 0 : random.between(5, FAULTS_MAX),
    isShared: random.chance(0.5),
    creditWindowBytes: Math.floor(2 ** random.between(13, 22)),
    consumer: {
      byTopic: random.chance(0.5),
      takes: random.pick(['records', 'batches'] as const),
      bufferBytes: Math.floor(2 ** random.between(11, 20)),
      idleChance: random.pick([0, 0.01, 0.1]),
      pauseChance: random.pick([0, 0, 0.01]),
    },
  }
}
