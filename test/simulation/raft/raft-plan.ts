/** What a seed of the quorum's simulation is like: how many take part, and what goes wrong. */
import type { Random } from '../../../src/base/random.ts'
import { RAFT_DEFAULTS, type RaftOptions } from '../../../src/raft/options.ts'
import type { LinkPlan } from '../links.ts'

/** Chances a simulated second. */
export interface FaultPlan {
  readonly kill: number
  readonly powerLoss: number
  readonly pause: number
  readonly partition: number
  readonly oneWay: number
  readonly flap: number
  readonly heal: number
  readonly wipe: number
  readonly membership: number
  readonly transfer: number
  readonly snapshot: number
}

export interface RaftPlan {
  readonly nodes: number
  readonly voters: number
  readonly seconds: number
  /** Proposals a second. */
  readonly proposals: number
  readonly link: LinkPlan
  readonly flushMsMax: number
  /** Each node's clock goes by so much too fast or too slow. */
  readonly clockDriftMax: number
  readonly snapshotPartBytes: number
  readonly faults: FaultPlan
  readonly options: RaftOptions
}

export function drawRaftPlan(random: Random): RaftPlan {
  const some = (chance: number): number => (random.chance(0.5) ? random.fraction() * chance : 0)
  const voters = random.pick([1, 2, 3, 3, 3, 4, 5, 5])
  return {
    nodes: voters + random.below(4),
    voters,
    seconds: random.between(8, 30),
    proposals: random.pick([2, 10, 40]),
    link: {
      loss: random.chance(0.5) ? random.fraction() * 0.3 : 0,
      duplication: random.chance(0.5) ? random.fraction() * 0.3 : 0,
      delayMsMax: random.pick([1, 5, 30, 100]),
    },
    flushMsMax: random.pick([1, 10, 60]),
    clockDriftMax: random.pick([0, 0.05, 0.2]),
    snapshotPartBytes: random.pick([7, 20, 1000]),
    faults: {
      kill: some(0.4),
      powerLoss: some(0.4),
      pause: some(0.4),
      partition: some(0.6),
      oneWay: some(0.6),
      flap: some(0.3),
      heal: 0.2 + random.fraction(),
      wipe: some(0.15),
      membership: some(0.8),
      transfer: some(0.5),
      snapshot: some(2),
    },
    options: {
      ...RAFT_DEFAULTS,
      appendBytesMax: random.pick([1, 20, 1000]),
      inFlightMax: random.pick([1, 2, 16]),
      recentBytesMax: random.pick([0, 30, 10_000]),
      observerTimeoutMs: 2000,
    },
  }
}
