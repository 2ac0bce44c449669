/**
 * What a long life of a simulated cluster is like: timings as in production, so that what happens
 * once an hour does happen, light and steady traffic, and a day as bad as days get: long calm, and
 * storms in which things break, a few at a time or many within seconds.
 */
import type { Random } from '../../../src/base/random.ts'
import type { LossMode } from '../replication/replication-plan.ts'
import type { ClusterFaults, ClusterPlan, EndurancePlan, TopicPlan } from './cluster-plan.ts'

/** Timings that belong together: of the quorum, of brokers' sessions, of fetches. */
interface Pace {
  readonly electionMs: number
  readonly sessionMs: number
  readonly beatMs: number
  readonly fetchWaitMs: number
  readonly lagMs: number
}

/** Millrace's defaults, which are quick, and what a cluster over slower paths is given. */
const PACES: readonly Pace[] = [
  { electionMs: 300, sessionMs: 1000, beatMs: 200, fetchWaitMs: 500, lagMs: 30_000 },
  { electionMs: 1000, sessionMs: 6000, beatMs: 1000, fetchWaitMs: 500, lagMs: 30_000 },
  { electionMs: 2000, sessionMs: 9000, beatMs: 2000, fetchWaitMs: 500, lagMs: 30_000 },
  { electionMs: 2000, sessionMs: 9000, beatMs: 2000, fetchWaitMs: 2000, lagMs: 30_000 },
  { electionMs: 5000, sessionMs: 18_000, beatMs: 4000, fetchWaitMs: 5000, lagMs: 60_000 },
]
/** How often a seed has which: a quick pace takes far more events for each hour. */
const PACE_CHOICE = [0, 1, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4]
const HOURS_OF_QUICK = 3

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

export function drawEndurancePlan(random: Random, focus: string | null): ClusterPlan {
  const isShort = focus === 'short'
  const nodes = random.pick([3, 3, 3, 3, 3, 4])
  const mode = random.pick<LossMode>(['kills', 'flushes', 'one loss'])
  const pace = PACES[random.pick(PACE_CHOICE)] as Pace
  const endurance = drawLife(random, focus, pace === PACES[0])
  const requestMs = random.pick([5000, 10_000])
  return {
    nodes,
    voters: [1, 2, 3],
    shards: random.pick([1, 1, 2]),
    mode,
    topics: drawTopics(random, mode, endurance),
    producers: 2,
    consumers: 1,
    careless: 0,
    produceMsMax: isShort ? 5000 : random.pick([10_000, 30_000, 60_000]),
    seconds: 0,
    network: {
      loss: pace.electionMs >= 1000 ? random.pick([0, 0.0001, 0.001]) : 0,
      delayMsMin: 0.05,
      delayMsMax: random.pick([0.5, 2, 10]),
      splitChance: random.pick([0, 0.1]),
    },
    disk: {
      sectorBytes: random.pick([512, 4096]),
      shortWriteChance: random.pick([0, 0, 0.02]),
      flushDoneChance: random.pick([0.3, 0.7, 1]),
      readLaterChance: random.pick([0, 0.5, 1]),
      writebackChance: random.pick([0, 0.1, 0.5]),
      orderedNames: random.chance(0.5),
      garbage: random.chance(0.2),
    },
    flushMsMax: random.pick([0.5, 3, 20]),
    clockDriftMax: random.pick([0, 0.0002]),
    restartMsMax: isShort ? 5000 : random.pick([5000, 60_000]),
    options: [
      `controller.quorum.election.timeout.ms=${pace.electionMs}`,
      `broker.session.timeout.ms=${pace.sessionMs}`,
      `broker.heartbeat.interval.ms=${pace.beatMs}`,
      `replica.fetch.wait.max.ms=${pace.fetchWaitMs}`,
      `replica.lag.time.max.ms=${pace.lagMs}`,
      `metadata.log.max.record.bytes.between.snapshots=${random.pick([2000, 20 * 1024 * 1024])}`,
      `log.flush.interval.messages=${mode === 'flushes' ? 1 : 9_000_000_000}`,
      `log.roll.ms=${endurance.segmentMs}`,
      'log.cleaner.min.cleanable.ratio=0.2',
      `offsets.retention.minutes=${endurance.offsetsRetentionMs / MINUTE_MS}`,
      `producer.id.expiration.ms=${random.pick([2 * HOUR_MS, 3 * HOUR_MS])}`,
      'offsets.topic.num.partitions=2',
      `millrace.arena.egress.bytes=${4 * 1024 * 1024}`,
      'auto.create.topics.enable=false',
    ],
    faults: drawFaults(random, mode),
    clients: {
      requestMs,
      ackMs: requestMs - 1000,
      fetchWaitMs: random.pick([5000, 15_000, 30_000]),
      commitMs: isShort ? 5000 : random.pick([10_000, 60_000]),
      restMsMax: isShort ? 0 : 6 * HOUR_MS,
    },
    parkMsMax: random.pick([50, 1000, 1000, 1000, 1000, 1000, 1000, 1000]),
    livenessMs: 5 * MINUTE_MS,
    settleMs: 3 * pace.sessionMs,
    logsMs: MINUTE_MS,
    endurance,
  }
}

function drawLife(random: Random, focus: string | null, isQuick: boolean): EndurancePlan {
  const stormsPerHour = random.pick([0, 0.5, 1, 1, 2, 2, 3, 4])
  const life = {
    segmentMs: random.pick([10, 30, 60]) * MINUTE_MS,
    retentionMs: random.pick([2, 3, 4]) * HOUR_MS,
    visitors: 1,
    // Wall clocks jump by most of an hour, either way.
    offsetsRetentionMs: random.pick([150, 240]) * MINUTE_MS,
    restMs: 6 * MINUTE_MS,
  }
  if (focus === 'short') {
    // In which much happens.
    const lifeMs = 10 * MINUTE_MS
    return { ...life, lifeMs, stormsPerHour: 20, segmentMs: 3 * MINUTE_MS, restMs: MINUTE_MS }
  }
  const lifeMs = (isQuick ? HOURS_OF_QUICK : random.between(6, 24)) * HOUR_MS
  return { ...life, lifeMs, stormsPerHour: focus === 'calm' ? 0 : stormsPerHour }
}

function drawTopics(random: Random, mode: LossMode, life: EndurancePlan): TopicPlan[] {
  // What is in one page cache only is lost with it: that is what a minimum of one means.
  const least = mode === 'one loss' ? 2 : 1
  return Array.from({ length: random.between(1, 2) }, (_, i): TopicPlan => {
    const replicationFactor = random.pick([2, 3, 3, 3])
    const minimum = Math.min(replicationFactor, random.pick([least, 2, 2]))
    return {
      name: `topic${i}`,
      partitions: random.between(1, 2),
      replicationFactor,
      configs: {
        'min.insync.replicas': String(minimum),
        'segment.ms': String(life.segmentMs),
        'retention.ms': String(life.retentionMs),
      },
    }
  })
}

/** As in a short life: storms are as dense, and far between. */
function drawFaults(random: Random, mode: LossMode): ClusterFaults {
  const some = (chance: number): number => (random.chance(0.5) ? random.fraction() * chance : 0)
  return {
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
    blackout: some(0.05),
    reigns: 0,
  }
}
