/**
 * Which brokers get the replicas of new partitions, and which of their directories. Pure: the same
 * brokers and the same seed give the same.
 *
 *   leaders     take turns over the active brokers: none has two more than another
 *   followers   the active first; then racks that the partition is not on yet; then who has least,
 *               what follows the same leader counted twice: many share its work when it dies
 */
import type { Random } from '../base/random.ts'
import type { Uuid } from '../base/uuid.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { MetadataImage } from './image.ts'

export interface PlacementBroker {
  readonly id: number
  readonly rack: string | null
  readonly isActive: boolean
}

export interface PlacementRequest {
  readonly partitions: number
  readonly replicationFactor: number
  readonly brokers: readonly PlacementBroker[]
  readonly random: Random
}

/** What was asked for cannot be. */
export interface Refusal {
  readonly errorCode: ErrorCode
  readonly errorMessage: string
}

export function isRefused(result: object): result is Refusal {
  return 'errorCode' in result
}

/** Broker ids by partition, the preferred leader first. */
export function placeReplicas(request: PlacementRequest): number[][] | Refusal {
  const { partitions, replicationFactor, brokers, random } = request
  const refusal = refuse(replicationFactor, brokers)
  if (refusal !== null) return refusal
  const candidates = inTurns(brokers, random)
  const leaders = candidates.filter((broker) => broker.isActive)
  const first = random.below(leaders.length)
  const placed: number[][] = []
  for (let partition = 0; partition < partitions; partition++) {
    const leader = leaders[(first + partition) % leaders.length] as Candidate
    const chosen = [leader]
    take(leader)
    while (chosen.length < replicationFactor) {
      const follower = bestFollower(candidates, leader)
      leader.followers[follower.index]! += 1
      take(follower)
      chosen.push(follower)
    }
    for (const candidate of chosen) {
      candidate.isChosen = false
      candidate.rackUse.count = 0
    }
    placed.push(chosen.map(({ id }) => id))
  }
  return placed
}

export interface Placement {
  readonly replicas: readonly (readonly number[])[]
  /** The log directory of each replica, in the same order. */
  readonly replicaDirectories: readonly (readonly Uuid[])[]
}

/** Replicas and directories of new partitions in a cluster as it is. */
export function placeInCluster(
  image: MetadataImage,
  request: Omit<PlacementRequest, 'brokers'>,
): Placement | Refusal {
  const brokers = [...image.brokers.values()].map(({ id, rack, directories }) => {
    return { id, rack, isActive: image.isActive(id), directories }
  })
  const withDisks = brokers.filter((broker) => broker.directories.length > 0)
  const replicas = placeReplicas({ ...request, brokers: withDisks })
  if (isRefused(replicas)) return replicas
  const choice = new DirectoryChoice(image)
  const replicaDirectories = replicas.map((ids) => ids.map((id) => choice.choose(id) as Uuid))
  return { replicas, replicaDirectories }
}

/** Chooses the directory with the fewest replicas, counting those that it has chosen. */
export class DirectoryChoice {
  readonly #image: MetadataImage
  /** Null until a broker has several: counting takes milliseconds where there are many. */
  #counts: Map<Uuid, number> | null = null

  constructor(image: MetadataImage) {
    this.#image = image
  }

  /** Null for a broker that is not registered, or has none. */
  choose(brokerId: number): Uuid | null {
    const directories = this.#image.brokers.get(brokerId)?.directories ?? []
    if (directories.length <= 1) return directories[0] ?? null
    this.#counts ??= this.#image.partitions.replicasByDirectory()
    const counts = this.#counts
    const countOf = (directory: Uuid): number => counts.get(directory) ?? 0
    const best = directories.reduce((a, b) => (countOf(b) < countOf(a) ? b : a))
    counts.set(best, countOf(best) + 1)
    return best
  }
}

interface Candidate extends PlacementBroker {
  /** Among the candidates. */
  readonly index: number
  /** Of this request. */
  replicas: number
  /** As a leader: how often each of the others follows it. */
  readonly followers: number[]
  /** Whether the partition that is being placed has a replica on it. */
  isChosen: boolean
  /** How many it has on this rack. */
  readonly rackUse: { count: number }
}

function refuse(replicationFactor: number, brokers: readonly PlacementBroker[]): Refusal | null {
  const errorCode = ErrorCode.INVALID_REPLICATION_FACTOR
  if (replicationFactor < 1) {
    return { errorCode, errorMessage: `Replication factor ${replicationFactor} is below 1` }
  }
  if (brokers.length < replicationFactor) {
    const errorMessage =
      `Replication factor ${replicationFactor} needs as many brokers; ` +
      `${brokers.length === 1 ? 'there is 1' : `there are ${brokers.length}`}`
    return { errorCode, errorMessage }
  }
  const isAny = brokers.some((broker) => broker.isActive)
  return isAny ? null : { errorCode, errorMessage: 'No broker is active' }
}

/** One of each rack, then another of each: neighbours are on different racks if they can be. */
function inTurns(brokers: readonly PlacementBroker[], random: Random): Candidate[] {
  const racks = new Map<string, PlacementBroker[]>()
  for (const broker of [...brokers].sort((a, b) => a.id - b.id)) {
    const list = racks.get(broker.rack ?? '') ?? []
    list.splice(random.below(list.length + 1), 0, broker)
    racks.set(broker.rack ?? '', list)
  }
  const lists = [...racks].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, list]) => list)
  const longest = Math.max(...lists.map((list) => list.length))
  const uses = lists.map(() => ({ count: 0 }))
  const ordered: Candidate[] = []
  for (let turn = 0; turn < longest; turn++) {
    for (const [i, list] of lists.entries()) {
      const broker = list[turn]
      if (broker === undefined) continue
      ordered.push({
        ...broker,
        index: ordered.length,
        replicas: 0,
        followers: new Array(brokers.length).fill(0),
        isChosen: false,
        rackUse: uses[i] as { count: number },
      })
    }
  }
  return ordered
}

function take(candidate: Candidate): void {
  candidate.isChosen = true
  candidate.rackUse.count++
  candidate.replicas++
}

function bestFollower(candidates: readonly Candidate[], leader: Candidate): Candidate {
  let best: Candidate | null = null
  for (let i = 1; i < candidates.length; i++) {
    const candidate = candidates[(leader.index + i) % candidates.length] as Candidate
    if (candidate.isChosen) continue
    if (best === null || isBetter(candidate, best, leader)) best = candidate
  }
  return best as Candidate
}

function isBetter(a: Candidate, b: Candidate, leader: Candidate): boolean {
  if (a.isActive !== b.isActive) return a.isActive
  if (a.rackUse.count !== b.rackUse.count) return a.rackUse.count < b.rackUse.count
  return load(a, leader) < load(b, leader)
}

/** Of all replicas, and once more of those beside this leader. */
function load({ replicas, index }: Candidate, leader: Candidate): number {
  return replicas + (leader.followers[index] as number)
}
