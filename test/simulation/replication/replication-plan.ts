/** What a seed of the replication's simulation is like. */
import type { Random } from '../../../src/base/random.ts'
import type { LinkPlan } from '../links.ts'

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
  readonly lagMsMax: number
  readonly sessionMs: number
  readonly fetchRecordsMax: number
  readonly faults: ReplicationFaults
}

export function drawReplicationPlan(random: Random): ReplicationPlan {
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
    },
    flushMsMax: random.pick([1, 10, 60]),
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
