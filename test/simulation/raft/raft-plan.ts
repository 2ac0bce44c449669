/** What a seed of the quorum's simulation is like: how many take part, and what goes wrong. */
import type { Random } from '../../../src/base/random.ts'
import { RAFT_DEFAULTS, type RaftOptions } from '../../../src/raft/options.ts'
import { type LinkPlan, NOT_LATE } from '../links.ts'

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

/**
 * What happens to leaders: most of what a quorum's rules are there for lies within milliseconds of
 * an election, where what happens at any time seldom strikes.
 */
export interface StrikePlan {
  /** Of leaders: how many are struck. */
  readonly chance: number
  /** So long after their election, at the most. */
  readonly delayMsMax: number
  /** How many of those lose power; others are cut off from some. */
  readonly powerLoss: number
  /** How many take another node with them. */
  readonly another: number
  /** Of those that are cut off: after how many all lose power. */
  readonly blackout: number
}

export interface RaftPlan {
  readonly nodes: number
  readonly voters: number
  readonly seconds: number
  /** Proposals a second. */
  readonly proposals: number
  readonly link: LinkPlan
  readonly flushMsMax: number
  /** The disk of the first node takes so many times as long. */
  readonly slowness: number
  /** A node that has ended is started again after so long, at the most. */
  readonly restartMsMax: number
  /** Each node's clock goes by so much too fast or too slow. */
  readonly clockDriftMax: number
  readonly snapshotPartBytes: number
  readonly faults: FaultPlan
  readonly strike: StrikePlan
  readonly options: RaftOptions
}

/** Short reigns of a few voters that know little of each other, and nothing else. */
export function drawShortReigns(random: Random): RaftPlan {
  const voters = random.pick([3, 5, 5])
  return {
    ...drawAny(random),
    nodes: voters,
    voters,
    seconds: 30,
    proposals: random.pick([0, 2, 10]),
    link: { loss: 0, duplication: 0, delayMsMax: random.pick([5, 30]), ...NOT_LATE },
    flushMsMax: random.pick([1, 10]),
    slowness: random.pick([1, 10]),
    restartMsMax: random.pick([5, 300, 300, 2000]),
    clockDriftMax: random.pick([0, 0.2]),
    faults: { ...NO_FAULTS, heal: random.pick([0.5, 2]) },
    strike: {
      chance: random.pick([0.6, 0.9]),
      delayMsMax: random.pick([10, 30, 80]),
      powerLoss: random.pick([0.2, 0.8]),
      another: random.pick([0, 0.5]),
      blackout: random.pick([0, 0, 0.5]),
    },
    options: {
      ...RAFT_DEFAULTS,
      appendBytesMax: random.pick([1, 1000]),
      inFlightMax: 1,
      observerTimeoutMs: 2000,
    },
  }
}

const NO_FAULTS: FaultPlan = {
  kill: 0,
  powerLoss: 0,
  pause: 0,
  partition: 0,
  oneWay: 0,
  flap: 0,
  heal: 0,
  wipe: 0,
  membership: 0,
  transfer: 0,
  snapshot: 0,
}

export function drawRaftPlan(random: Random): RaftPlan {
  return random.chance(0.25) ? drawShortReigns(random) : drawAny(random)
}

function drawAny(random: Random): RaftPlan {
  const some = (chance: number): number => (random.chance(0.5) ? random.fraction() * chance : 0)
  const flushMsMax = random.pick([1, 10, 60])
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
      ...NOT_LATE,
    },
    flushMsMax,
    slowness: flushMsMax > 10 ? 1 : random.pick([1, 1, 10]),
    restartMsMax: random.pick([5, 300, 2000]),
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
    strike: {
      chance: random.pick([0, 0, 0.3, 0.8]),
      delayMsMax: random.pick([5, 30, 200]),
      powerLoss: random.fraction(),
      another: random.pick([0, 0.5]),
      blackout: random.pick([0, 0, 0.5]),
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
