/** What a seed of the replication's simulation is like. */
import type { Random } from '../../../src/base/random.ts'
import { type LinkPlan, NOT_LATE } from '../links.ts'

/**
 * What may be lost:
 *
 *   kills         processes die at will, the page cache survives
 *   flushes       every record is on the disk before it counts: all may lose power at will
 *   one loss      one broker at a time loses power, with what was not flushed, while others'
 *                 processes die at will; the next one once two have all again
 */
export type LossMode = 'kills' | 'flushes' | 'one loss'

/** Chances a simulated second. */
export interface ReplicationFaults {
  readonly crash: number
  readonly pause: number
  readonly partition: number
  readonly oneWay: number
  readonly heal: number
  readonly cleanStop: number
  readonly preferred: number
  /** `min.insync.replicas` is changed. */
  readonly minimum: number
}

export interface ReplicationPlan {
  readonly brokers: number
  readonly partitions: number
  readonly replicationFactor: number
  readonly minInSyncReplicas: number
  readonly seconds: number
  /** Records a second and partition. */
  readonly records: number
  readonly mode: LossMode
  readonly link: LinkPlan
  readonly flushMsMax: number
  /** A broker that has ended is started again after so long, at the most. */
  readonly restartMsMax: number
  readonly lagMsMax: number
  readonly sessionMs: number
  readonly fetchRecordsMax: number
  readonly faults: ReplicationFaults
}

export function drawReplicationPlan(random: Random): ReplicationPlan {
  return random.chance(0.3) ? drawLateMessages(random) : drawAny(random)
}

/**
 * What was sent long ago still comes: fetches and proposals of a broker that has lost, cut or been
 * given something since. With brokers that come and go quickly, and a minimum of all now and then.
 */
export function drawLateMessages(random: Random): ReplicationPlan {
  const any = drawAny(random)
  const replicationFactor = random.pick([2, 3, 3])
  return {
    ...any,
    brokers: replicationFactor,
    partitions: 2,
    replicationFactor,
    mode: random.pick<LossMode>(['kills', 'flushes', 'one loss', 'one loss']),
    minInSyncReplicas: random.pick([2, replicationFactor]),
    seconds: 40,
    link: {
      loss: 0,
      duplication: random.pick([0.1, 0.5]),
      delayMsMax: random.pick([1, 5]),
      late: random.pick([0.02, 0.1, 0.3]),
      lateMsMax: random.pick([1000, 4000]),
    },
    records: 30,
    fetchRecordsMax: random.pick([1, 1, 3]),
    restartMsMax: random.pick([100, 500, 2500]),
    flushMsMax: random.pick([1, 10]),
    lagMsMax: 300,
    sessionMs: 400,
    faults: {
      ...any.faults,
      crash: 0.3 + random.fraction(),
      pause: random.pick([0, 0.5]),
      partition: random.pick([0, 0.5]),
      oneWay: random.pick([0.2, 1]),
      heal: 1,
    },
  }
}

function drawAny(random: Random): ReplicationPlan {
  const some = (chance: number): number => (random.chance(0.6) ? random.fraction() * chance : 0)
  const brokers = random.pick([2, 3, 3, 4, 5])
  const replicationFactor = Math.min(brokers, random.pick([2, 3, 3, 3, 5]))
  const mode = random.pick<LossMode>(['kills', 'flushes', 'one loss'])
  // What is in one page cache only is lost with it: that is what a minimum of one means.
  const least = mode === 'one loss' ? 2 : 1
  return {
    brokers,
    partitions: random.between(1, 3),
    replicationFactor,
    minInSyncReplicas: Math.min(replicationFactor, random.pick([least, 2, 2])),
    seconds: random.between(10, 40),
    records: random.pick([2, 10, 30]),
    mode,
    link: {
      loss: random.chance(0.5) ? random.fraction() * 0.2 : 0,
      duplication: random.chance(0.5) ? random.fraction() * 0.2 : 0,
      delayMsMax: random.pick([1, 5, 30, 100]),
      ...NOT_LATE,
    },
    flushMsMax: random.pick([1, 10, 60]),
    restartMsMax: 2500,
    lagMsMax: random.pick([300, 1000, 3000]),
    sessionMs: random.pick([400, 1000]),
    fetchRecordsMax: random.pick([1, 3, 100]),
    faults: {
      crash: some(0.5),
      pause: some(0.5),
      partition: some(0.5),
      oneWay: some(0.5),
      heal: 0.2 + random.fraction(),
      cleanStop: some(0.3),
      preferred: some(0.5),
      minimum: some(0.3),
    },
  }
}
