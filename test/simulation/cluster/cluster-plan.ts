/** What a seed of a whole cluster's simulation is like: its size, its clients, what goes wrong. */
import type { Random } from '../../../src/base/random.ts'
import type { DiskPlan } from '../disk-plan.ts'
import type { LossMode } from '../replication/replication-plan.ts'
import type { NetworkPlan } from './sim-network.ts'

/** Chances a simulated second. */
export interface ClusterFaults {
  readonly kill: number
  readonly powerLoss: number
  /** Of kills and losses of power: how many strike inside a call of the disk. */
  readonly insideCall: number
  readonly pause: number
  readonly partition: number
  readonly oneWay: number
  readonly flap: number
  readonly reset: number
  readonly heal: number
  readonly stop: number
  readonly failFlushes: number
  readonly fullDisk: number
  readonly wipe: number
  readonly bitFlip: number
  readonly voters: number
  readonly clockJump: number
  readonly reassign: number
  readonly preferred: number
  readonly rolling: number
  /** All at once: their machines, or where that may lose something their processes. */
  readonly blackout: number
  /** One of two replicas leads alone, several times, and then the other one: see the drawer. */
  readonly reigns: number
}

export interface TopicPlan {
  readonly name: string
  readonly partitions: number
  readonly replicationFactor: number
  readonly configs: Readonly<Record<string, string>>
}

/** How patient clients are, in milliseconds. */
export interface ClientsPlan {
  readonly requestMs: number
  readonly ackMs: number
  readonly fetchWaitMs: number
  readonly commitMs: number
  /** Now and then a producer is silent for so long, at the most. */
  readonly restMsMax: number
}

/** Of a long life, see endurance.ts. */
export interface EndurancePlan {
  readonly lifeMs: number
  /** 0: nothing breaks. */
  readonly stormsPerHour: number
  readonly segmentMs: number
  readonly retentionMs: number
  /** Groups that commit once and come back hours later. */
  readonly visitors: number
  readonly offsetsRetentionMs: number
  /** A calm cluster is left alone for so long before it is held to be at rest. */
  readonly restMs: number
}

export interface ClusterPlan {
  /** Brokers are 1 … nodes, the first `voters.length` of them also vote at first. */
  readonly nodes: number
  readonly voters: readonly number[]
  readonly shards: number
  /** What may be lost: see replication/replication-plan.ts. */
  readonly mode: LossMode
  readonly topics: readonly TopicPlan[]
  readonly producers: number
  readonly consumers: number
  /** Producers that send with acks=1 and do not look back. */
  readonly careless: number
  /** Between two batches of a producer, at the most. */
  readonly produceMsMax: number
  readonly seconds: number
  readonly network: NetworkPlan
  readonly disk: DiskPlan
  readonly flushMsMax: number
  readonly clockDriftMax: number
  readonly restartMsMax: number
  /** `name=value`, of all brokers. */
  readonly options: readonly string[]
  readonly faults: ClusterFaults
  readonly clients: ClientsPlan
  /** What a parked thread of a shard sleeps at most. */
  readonly parkMsMax: number
  /** Within which a cluster that is healed works again. */
  readonly livenessMs: number
  /** Sessions of those that are broken have ended. */
  readonly settleMs: number
  /** Between two looks at whole logs. */
  readonly logsMs: number
  /** Null: a short life in which something breaks all the time. */
  readonly endurance: EndurancePlan | null
}

/** `focus`: reigns, or nothing. */
export function drawClusterPlan(random: Random, focus: string | null): ClusterPlan {
  const any = drawAny(random)
  const hasReigns = random.chance(0.3)
  return hasReigns || focus === 'reigns' ? withReigns(any, random) : any
}

/** A topic with two replicas, both of which are needed, and of which one is alone now and then. */
function withReigns(any: ClusterPlan, random: Random): ClusterPlan {
  const [first, ...others] = any.topics as [TopicPlan, ...TopicPlan[]]
  const configs = { ...first.configs, 'min.insync.replicas': '2' }
  return {
    ...any,
    topics: [{ ...first, replicationFactor: 2, configs }, ...others],
    careless: 1,
    produceMsMax: random.pick([50, 200]),
    seconds: 40,
    faults: { ...any.faults, reigns: 0.1 + random.fraction() * 0.2 },
  }
}

function drawAny(random: Random): ClusterPlan {
  const some = (chance: number): number => (random.chance(0.5) ? random.fraction() * chance : 0)
  const nodes = random.pick([3, 3, 3, 4, 5])
  const votersCount = nodes === 5 ? random.pick([3, 5]) : 3
  const mode = random.pick<LossMode>(['kills', 'flushes', 'one loss'])
  // What is in one page cache only is lost with it: that is what a minimum of one means.
  const least = mode === 'one loss' ? 2 : 1
  const topics = Array.from({ length: random.between(1, 3) }, (_, i): TopicPlan => {
    const replicationFactor = random.pick([2, 3, 3, 3])
    const minimum = Math.min(replicationFactor, random.pick([least, 2, 2]))
    return {
      name: `topic${i}`,
      partitions: random.between(1, 3),
      replicationFactor,
      configs: {
        'min.insync.replicas': String(minimum),
        'segment.ms': random.pick(['500', '3000', '600000']),
        'retention.ms': '-1',
      },
    }
  })
  const electionMs = random.pick([200, 300, 300])
  return {
    nodes,
    voters: Array.from({ length: votersCount }, (_, i) => i + 1),
    shards: random.between(1, 2),
    mode,
    topics,
    producers: random.between(1, 2),
    consumers: 1,
    careless: random.pick([0, 0, 1]),
    produceMsMax: random.pick([50, 200, 1000]),
    seconds: random.between(10, 40),
    network: {
      loss: random.chance(0.5) ? random.fraction() * 0.1 : 0,
      delayMsMin: 0.05,
      delayMsMax: random.pick([0.5, 2, 10, 30]),
      splitChance: random.pick([0, 0.1, 0.5]),
    },
    disk: {
      sectorBytes: random.pick([64, 512, 4096]),
      shortWriteChance: random.pick([0, 0, 0.02]),
      flushDoneChance: random.pick([0.3, 0.7, 1]),
      readLaterChance: random.pick([0, 0.5, 1]),
      writebackChance: random.pick([0, 0, 0.1, 0.5]),
      orderedNames: random.chance(0.5),
      garbage: random.chance(0.2),
    },
    flushMsMax: random.pick([0.5, 3, 20]),
    clockDriftMax: random.pick([0, 0.02, 0.1]),
    restartMsMax: random.pick([500, 2500, 6000]),
    options: [
      `controller.quorum.election.timeout.ms=${electionMs}`,
      `broker.session.timeout.ms=${random.pick([500, 1000])}`,
      `broker.heartbeat.interval.ms=${random.pick([100, 200])}`,
      `replica.lag.time.max.ms=${random.pick([300, 1000, 3000])}`,
      `metadata.log.max.record.bytes.between.snapshots=${random.pick([500, 2000, 100_000])}`,
      `log.flush.interval.messages=${mode === 'flushes' ? 1 : 9_000_000_000}`,
      `log.flush.offset.checkpoint.interval.ms=${random.pick([200, 2000, 60_000])}`,
      'offsets.topic.num.partitions=2',
      `millrace.arena.egress.bytes=${4 * 1024 * 1024}`,
      'auto.create.topics.enable=false',
    ],
    faults: {
      kill: some(0.4),
      powerLoss: mode === 'kills' ? 0 : some(0.4),
      insideCall: random.pick([0, 0, 0.5]),
      pause: some(0.4),
      partition: some(0.4),
      oneWay: some(0.4),
      flap: some(0.2),
      reset: some(1),
      heal: 0.2 + random.fraction(),
      stop: some(0.2),
      failFlushes: mode === 'kills' ? 0 : some(0.15),
      fullDisk: some(0.15),
      wipe: some(0.15),
      bitFlip: some(0.6),
      voters: some(0.3),
      clockJump: some(0.3),
      reassign: some(0.2),
      preferred: some(0.2),
      rolling: some(0.05),
      blackout: some(0.1),
      reigns: 0,
    },
    clients: { requestMs: 3000, ackMs: 2000, fetchWaitMs: 500, commitMs: 300, restMsMax: 0 },
    parkMsMax: 50,
    livenessMs: 40_000,
    settleMs: 5000,
    logsMs: 1000,
    endurance: null,
  }
}
