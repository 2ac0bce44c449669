/**
 * What one seed draws before anything runs: sizes, limits and the mix of faults (swarm testing:
 * each run leaves some faults out and turns others up), so that thousands of short runs differ in
 * kind and not only in order.
 */
import type { Random } from '../../src/base/random.ts'
import { type Uuid, uuidFromHex } from '../../src/base/uuid.ts'
import { DEFAULT_LOG_OPTIONS, type LogOptions } from '../../src/storage/log-types.ts'
import type { DiskPlan } from './disk-plan.ts'

export interface PartitionPlan {
  readonly handle: number
  readonly topicId: Uuid
  readonly partition: number
  readonly logDirectory: string
  readonly directory: string
  readonly options: LogOptions
}

export interface ProducerPlan {
  readonly index: number
  readonly partition: number
  /** −1: not idempotent. */
  readonly producerId: number
  readonly firstSequence: number
  readonly inFlightMax: number
}

/** Chances a step, unless named otherwise. */
export interface FaultPlan {
  readonly crash: number
  /** Of the crashes: how many strike inside a call of the disk. */
  readonly crashInsideCall: number
  /** Of the crashes: how many are power losses. */
  readonly powerLoss: number
  readonly cleanShutdown: number
  readonly outOfSpace: number
  readonly failFlushes: number
  readonly timeJump: number
  readonly junk: number
  readonly truncate: number
}

export interface Plan {
  readonly logDirectories: readonly string[]
  readonly partitions: readonly PartitionPlan[]
  readonly producers: readonly ProducerPlan[]
  readonly shardsMax: number
  readonly laneBytes: number
  readonly egressBytes: number
  readonly checkpointIntervalMs: number
  readonly retentionCheckIntervalMs: number
  readonly compactionIntervalMs: number
  /** Of the compactors' own randomness. */
  readonly compactionSeed: number
  readonly openLogsMax: number
  readonly disk: DiskPlan
  readonly faults: FaultPlan
  readonly lives: number
  readonly stepsPerLife: number
  readonly recordsMax: number
  readonly valueBytesMax: number
  readonly stepMsMax: number
}

const NEVER_OR = [0, 0, 1] as const

export function drawPlan(random: Random): Plan {
  const plan = drawBasics(random)
  const own = random.split() // Last: without compaction a seed takes the course that it took.
  const byTopic = new Map<Uuid, Partial<LogOptions>>()
  const partitions = plan.partitions.map((partition) => {
    const compaction = byTopic.get(partition.topicId) ?? drawCompaction(own)
    byTopic.set(partition.topicId, compaction)
    return { ...partition, options: { ...partition.options, ...compaction } }
  })
  const compactionIntervalMs = own.pick([10, 300])
  return { ...plan, partitions, compactionIntervalMs, compactionSeed: own.u32() }
}

/** Keys are unique: compaction joins segments and may take nothing. */
function drawCompaction(random: Random): Partial<LogOptions> {
  return {
    isCompacted: random.chance(0.4),
    minCleanableDirtyRatio: random.pick([0, 0.5]),
    minCompactionLagMs: random.pick([0, 0, 500]),
  }
}

type Basics = Omit<Plan, 'compactionIntervalMs' | 'compactionSeed'>

function drawBasics(random: Random): Basics {
  const logDirectories = random.chance(0.3) ? ['/disk0', '/disk1'] : ['/disk0']
  const topics = random.between(1, 3)
  const partitions: PartitionPlan[] = []
  for (let topic = 0; topic < topics; topic++) {
    const hex = (topic + 1).toString(16).padStart(32, '0')
    const options = drawOptions(random)
    for (let partition = 0; partition < random.between(1, 2); partition++) {
      const logDirectory = random.pick(logDirectories)
      partitions.push({
        handle: partitions.length,
        topicId: uuidFromHex(hex),
        partition,
        logDirectory,
        directory: `${logDirectory}/${hex}-${partition}`,
        options,
      })
    }
  }
  return {
    logDirectories,
    partitions,
    producers: drawProducers(random, partitions.length),
    shardsMax: random.between(1, 3),
    laneBytes: random.pick([2048, 4096, 65536]),
    egressBytes: random.pick([16 * 1024, 256 * 1024]),
    checkpointIntervalMs: random.pick([50, 500, 60_000]),
    retentionCheckIntervalMs: random.pick([10, 300, 60_000]),
    openLogsMax: random.pick([1, 2, 100]),
    disk: {
      sectorBytes: random.pick([16, 64, 512, 4096]),
      shortWriteChance: random.pick([0, 0.02, 0.3]),
      flushDoneChance: random.pick([0.1, 0.5, 1]),
      readLaterChance: random.pick([0, 0.5, 1]),
      writebackChance: random.pick([0, 0, 0.1, 0.5]),
      orderedNames: random.chance(0.5),
      garbage: random.chance(0.2),
    },
    faults: {
      crash: random.pick([0, 0.003, 0.01, 0.03]),
      crashInsideCall: random.pick([0, 0.5, 1]),
      powerLoss: random.pick([0, 0.5, 0.5, 1]),
      cleanShutdown: random.pick([0, 0.002, 0.01]),
      outOfSpace: random.pick(NEVER_OR) * 0.02,
      failFlushes: random.pick([0, 0, 0, 1]) * 0.02,
      timeJump: random.pick(NEVER_OR) * 0.02,
      junk: random.pick(NEVER_OR) * 0.05,
      truncate: random.pick([0, 0, 0, 1]) * 0.01,
    },
    ...(random.chance(0.3)
      ? { lives: random.between(5, 12), stepsPerLife: random.between(1, 10) }
      : { lives: random.between(2, 5), stepsPerLife: random.between(20, 120) }),
    recordsMax: random.pick([1, 3, 10]),
    valueBytesMax: random.pick([4, 60, 600]),
    stepMsMax: random.pick([1, 20, 200]),
  }
}

function drawOptions(random: Random): LogOptions {
  return {
    ...DEFAULT_LOG_OPTIONS,
    ...drawRetention(random),
    segmentBytes: random.pick([1500, 4000, 20_000, 1 << 30]),
    segmentMs: random.pick([300, 5000, 7 * 24 * 3600 * 1000]),
    segmentIndexBytes: random.pick([32, 1024, 10 * 1024 * 1024]),
    indexIntervalBytes: random.pick([0, 100, 1000, 4096]),
    flushMessages: random.pick([1, 1, 1, 3, 20, Infinity]),
    flushMs: random.pick([10, 1000, Infinity]),
    timestampType: random.chance(0.25) ? 'LogAppendTime' : 'CreateTime',
    preallocate: random.chance(0.2),
    pageCacheWindowBytes: random.pick([1000, 64 * 1024 * 1024]),
    writeBehindBytes: random.pick([500, 16 * 1024 * 1024]),
  }
}

/** By size or by age, so that the checker can tell which of them must have allowed a deletion. */
function drawRetention(
  random: Random,
): Pick<LogOptions, 'retentionBytes' | 'retentionMs' | 'fileDeleteDelayMs'> {
  const none = { retentionBytes: Infinity, retentionMs: Infinity }
  const how = random.below(4)
  const bySize = { ...none, retentionBytes: random.pick([0, 2000, 10_000]) }
  const byAge = { ...none, retentionMs: random.pick([0, 100, 2000, 60_000]) }
  return {
    ...(how === 0 ? bySize : how === 1 ? byAge : none),
    fileDeleteDelayMs: random.pick([0, 50, 60_000]),
  }
}

function drawProducers(random: Random, partitions: number): ProducerPlan[] {
  const producers: ProducerPlan[] = []
  for (let index = 0; index < random.between(1, 5); index++) {
    const isIdempotent = random.chance(0.7)
    producers.push({
      index,
      partition: random.below(partitions),
      producerId: isIdempotent ? 1000 + index : -1,
      firstSequence: random.chance(0.2) ? 2 ** 31 - 1 - random.below(30) : 0,
      inFlightMax: random.between(1, 5),
    })
  }
  return producers
}
