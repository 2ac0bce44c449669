/**
 * Which replicas have to move so that brokers have equally much, and who is to lead. Pure: the same
 * cluster gives the same plan.
 *
 *   1 vacate    what is on brokers that are to have nothing goes to others
 *   2 racks     no two replicas of a partition on one rack while another has none of it
 *   3 replicas  from the brokers with most to those with least, until they differ by one at most
 *   4 leaders   which replica is the first: costs no bytes
 *
 * Each move copies a partition once, and none is made that these steps do not need.
 */
import type { PartitionName } from '../client/kafka-cluster.ts'

export interface PlanBroker {
  readonly id: number
  readonly rack: string | null
  /** False: it keeps what it has and gets nothing more. */
  readonly takes?: boolean
}

export interface PlanPartition extends PartitionName {
  /** The preferred leader first. */
  readonly replicas: readonly number[]
}

export interface PlannedMove extends PartitionName {
  readonly from: readonly number[]
  readonly to: readonly number[]
}

/** There is no such plan: says why, for people. */
export class PlanError extends Error {}

interface Place extends PartitionName {
  readonly from: readonly number[]
  replicas: number[]
}

/** A broker while the plan is made. */
interface Load {
  readonly id: number
  readonly rack: string
  readonly takes: boolean
  readonly places: Set<Place>
  /** Of those the ones that it leads. */
  readonly led: Set<Place>
  readonly byTopic: Map<string, number>
}

/**
 * Spreads the partitions over `brokers`, which is where they are to be and nowhere else. Throws
 * PlanError when there are fewer brokers than a partition has replicas.
 */
export function planRebalance(
  brokers: readonly PlanBroker[],
  partitions: readonly PlanPartition[],
): PlannedMove[] {
  const plan = new Plan(brokers, partitions)
  plan.vacate()
  plan.separateRacks()
  plan.balanceReplicas()
  plan.balanceLeaders()
  return plan.moves()
}

/**
 * Moves what is not on `brokers` to them, and leaves everything else where it is. Throws PlanError
 * when there are too few that take it.
 */
export function planVacate(
  brokers: readonly PlanBroker[],
  partitions: readonly PlanPartition[],
): PlannedMove[] {
  const plan = new Plan(brokers, partitions)
  plan.vacate()
  return plan.moves()
}

/**
 * Makes another replica the preferred leader of each partition that `brokerId` leads or would:
 * one of those that `mayLead`, whoever leads least. Partitions without such a one are left out.
 */
export function planDrain(
  brokerId: number,
  partitions: readonly (PlanPartition & { readonly mayLead: readonly number[] })[],
): PlannedMove[] {
  const leads = new Map<number, number>()
  const count = (id: number): number => leads.get(id) ?? 0
  for (const { replicas } of partitions) {
    const [first = -1] = replicas
    leads.set(first, count(first) + 1)
  }
  const moves: PlannedMove[] = []
  for (const { topic, partition, replicas: from, mayLead } of partitions) {
    if (from[0] !== brokerId) continue
    const others = from.filter((id) => id !== brokerId && mayLead.includes(id))
    if (others.length === 0) continue
    const next = others.reduce((best, id) => (count(id) < count(best) ? id : best))
    leads.set(next, count(next) + 1)
    const followers = from.filter((id) => id !== brokerId && id !== next)
    moves.push({ topic, partition, from, to: [next, ...followers, brokerId] })
  }
  return moves
}

/** Replicas and preferred leaders of each broker, by id. */
export function countByBroker(
  partitions: Iterable<Pick<PlanPartition, 'replicas'>>,
): Map<number, { replicas: number; leaders: number }> {
  const counts = new Map<number, { replicas: number; leaders: number }>()
  for (const { replicas } of partitions) {
    for (const [i, id] of replicas.entries()) {
      const count = counts.get(id) ?? { replicas: 0, leaders: 0 }
      counts.set(id, count)
      count.replicas++
      if (i === 0) count.leaders++
    }
  }
  return counts
}

/** Replicas that have to be copied. */
export function copiesOf({ from, to }: PlannedMove): number {
  return to.filter((id) => !from.includes(id)).length
}

class Plan {
  readonly #loads: readonly Load[]
  readonly #byId: ReadonlyMap<number, Load>
  readonly #places: readonly Place[]
  readonly #racks: number

  constructor(brokers: readonly PlanBroker[], partitions: readonly PlanPartition[]) {
    this.#loads = brokers.map(({ id, rack, takes = true }) => {
      return { id, rack: rack ?? '', takes, places: new Set(), led: new Set(), byTopic: new Map() }
    })
    this.#byId = new Map(this.#loads.map((load) => [load.id, load]))
    this.#racks = new Set(this.#loads.map(({ rack }) => rack)).size
    const widest = partitions.find(({ replicas }) => replicas.length > brokers.length)
    if (widest !== undefined) throw tooFew(widest, brokers.length)
    this.#places = partitions.map(({ topic, partition, replicas }) => {
      return { topic, partition, from: replicas, replicas: [...replicas] }
    })
    for (const place of this.#places) {
      for (const id of place.replicas) this.#count(this.#byId.get(id), place)
    }
  }

  moves(): PlannedMove[] {
    const changed = this.#places.filter(({ from, replicas }) => from.join() !== replicas.join())
    return changed.map(({ topic, partition, from, replicas: to }) => ({
      topic,
      partition,
      from,
      to,
    }))
  }

  vacate(): void {
    for (const place of this.#places) {
      for (const id of [...place.replicas]) {
        if (this.#byId.has(id)) continue
        const to = this.#bestFor(place, id)
        if (to === null) throw tooFew(place, this.#loads.filter(({ takes }) => takes).length)
        this.#replace(place, id, to)
      }
    }
  }

  separateRacks(): void {
    for (const place of this.#places) {
      for (;;) {
        const double = this.#doubleOn(place)
        const isSpread = this.#racksOf(place.replicas).size === this.#racks
        if (double === null || isSpread) break
        const to = this.#bestFor(place, double)
        if (to === null || this.#racksOf(place.replicas).has(to.rack)) break
        this.#replace(place, double, to)
      }
    }
  }

  balanceReplicas(): void {
    while (this.#moveOne()) {
      // Each one makes the sum of squares smaller: it ends.
    }
  }

  /** Along chains, where whoever leads too much shares nothing with whoever leads too little. */
  balanceLeaders(): void {
    for (const load of this.#loads) load.led.clear()
    for (const place of this.#places) this.#byId.get(place.replicas[0] as number)?.led.add(place)
    while (this.#passOne()) {
      // The same.
    }
  }

  // —— replicas ——

  /** The one with least of those that have none, on a rack that has none if that is possible. */
  #bestFor(place: Place, leaving: number): Load | null {
    const racks = this.#racksOf(place.replicas.filter((id) => id !== leaving))
    let best: Load | null = null
    for (const load of this.#loads) {
      if (load.places.has(place) || !load.takes) continue
      if (best === null || isBetter(load, best, { racks, topic: place.topic })) best = load
    }
    return best
  }

  #doubleOn({ replicas }: Place): number | null {
    const seen = new Set<string>()
    for (const id of replicas) {
      const rack = this.#byId.get(id)?.rack ?? ''
      if (seen.has(rack)) return id
      seen.add(rack)
    }
    return null
  }

  #racksOf(ids: readonly number[]): Set<string> {
    return new Set(ids.map((id) => this.#byId.get(id)?.rack ?? ''))
  }

  #moveOne(): boolean {
    const descending = [...this.#loads].sort((a, b) => b.places.size - a.places.size || a.id - b.id)
    for (const source of descending) {
      for (let i = descending.length - 1; i >= 0; i--) {
        const target = descending[i] as Load
        if (source.places.size - target.places.size < 2) break
        const place = this.#movable(source, target)
        if (place === null) continue
        this.#replace(place, source.id, target)
        return true
      }
    }
    return false
  }

  /** Of the topic that the two have most unequally; rather one that the source does not lead. */
  #movable(source: Load, target: Load): Place | null {
    let best: Place | null = null
    let bestScore = Number.NEGATIVE_INFINITY
    for (const place of source.places) {
      if (target.places.has(place) || !this.#keepsRacks(place, source, target)) continue
      const { topic } = place
      const difference = (source.byTopic.get(topic) ?? 0) - (target.byTopic.get(topic) ?? 0)
      const score = 2 * difference + (place.replicas[0] === source.id ? 0 : 1)
      if (score <= bestScore) continue
      best = place
      bestScore = score
    }
    return best
  }

  #keepsRacks({ replicas }: Place, source: Load, target: Load): boolean {
    if (source.rack === target.rack) return true
    const after = replicas.map((id) => (id === source.id ? target.id : id))
    return this.#racksOf(after).size >= this.#racksOf(replicas).size
  }

  #replace(place: Place, id: number, to: Load): void {
    const source = this.#byId.get(id)
    if (source !== undefined) {
      source.places.delete(place)
      source.byTopic.set(place.topic, (source.byTopic.get(place.topic) ?? 0) - 1)
    }
    place.replicas = place.replicas.map((one) => (one === id ? to.id : one))
    this.#count(to, place)
  }

  #count(load: Load | undefined, place: Place): void {
    if (load === undefined) return
    load.places.add(place)
    load.byTopic.set(place.topic, (load.byTopic.get(place.topic) ?? 0) + 1)
  }

  // —— leaders ——

  /** Passes one leadership on from a broker to one that leads at least two less. */
  #passOne(): boolean {
    const descending = [...this.#loads].sort((a, b) => b.led.size - a.led.size || a.id - b.id)
    for (const source of descending) {
      const chain = this.#chainFrom(source)
      if (chain === null) continue
      for (const { place, to } of chain) this.#lead(place, to)
      return true
    }
    return false
  }

  /** The shortest one. */
  #chainFrom(source: Load): { place: Place; to: Load }[] | null {
    const cameBy = new Map<Load, { place: Place; from: Load }>()
    const queue = [source]
    for (let at = queue.shift(); at !== undefined; at = queue.shift()) {
      if (source.led.size - at.led.size >= 2) return chainTo(at, source, cameBy)
      for (const place of at.led) {
        for (const id of place.replicas) {
          const next = this.#byId.get(id)
          if (next === undefined || next === source || cameBy.has(next)) continue
          cameBy.set(next, { place, from: at })
          queue.push(next)
        }
      }
    }
    return null
  }

  #lead(place: Place, to: Load): void {
    const first = place.replicas[0] as number
    this.#byId.get(first)?.led.delete(place)
    to.led.add(place)
    place.replicas = place.replicas.map((id, i) => (i === 0 ? to.id : id === to.id ? first : id))
  }
}

function chainTo(
  end: Load,
  source: Load,
  cameBy: ReadonlyMap<Load, { place: Place; from: Load }>,
): { place: Place; to: Load }[] {
  const chain: { place: Place; to: Load }[] = []
  for (let to = end; to !== source; ) {
    const { place, from } = cameBy.get(to) as { place: Place; from: Load }
    chain.push({ place, to })
    to = from
  }
  return chain.reverse()
}

function isBetter(
  a: Load,
  b: Load,
  { racks, topic }: { readonly racks: ReadonlySet<string>; readonly topic: string },
): boolean {
  if (racks.has(a.rack) !== racks.has(b.rack)) return !racks.has(a.rack)
  if (a.places.size !== b.places.size) return a.places.size < b.places.size
  return (a.byTopic.get(topic) ?? 0) < (b.byTopic.get(topic) ?? 0)
}

function tooFew({ topic, replicas }: PlanPartition, brokers: number): PlanError {
  const has = `${topic} has ${replicas.length} replicas of each partition`
  const are = brokers === 1 ? 'there is 1 broker' : `there are ${brokers} brokers`
  return new PlanError(`${has}, and ${are} for them: add one, or give it fewer replicas`)
}
