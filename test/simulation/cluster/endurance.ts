/**
 * The long life of a cluster: calm for hours, a storm, everything is put right, calm again. In a
 * storm things break as in a short life. Afterwards all must be whole again within minutes, and
 * from then on a cluster at rest stays as it is: nobody is elected or fenced, no replica leaves,
 * what is written is read, what is old is deleted, and nodes hold no more than they did before.
 */
import type { Random } from '../../../src/base/random.ts'
import { journal } from '../journal.ts'
import { require_ } from '../violation.ts'
import type { ClusterChecker } from './cluster-checker.ts'
import type { ClusterFaultsDrawer } from './cluster-faults.ts'
import type { ClusterOperator } from './cluster-operator.ts'
import type { EndurancePlan } from './cluster-plan.ts'
import { Growth } from './growth.ts'
import type { Place } from './sim-client.ts'
import type { SimCluster } from './sim-cluster.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
/** Between two looks at a cluster at rest. */
const LOOK_MS = MINUTE_MS
/** Looks until what was written by then has been read by everybody. */
const READ_LOOKS = 3
const GROWTH_LOOKS = 20
/** Broker's wall clocks are wrong by less. */
const CLOCK_MS_MAX = 55 * MINUTE_MS
/** Retention looks every five minutes, a while after a start. */
const RETENTION_MS = 15 * MINUTE_MS
const CALM_TICK_MS = 5000
const FILES_A_SEGMENT = 3
/** Of logs that are not the workload's, of the metadata, of what was deleted a minute ago. */
const OTHER_FILES = 60

/** A cluster that lives for long. */
export interface LivingCluster extends SimCluster {
  readonly checker: ClusterChecker
  readonly operator: ClusterOperator
  runFor(ms: number, tickMs?: number): Promise<void>
  tick(): Promise<void>
  until(what: string, isDone: () => boolean): Promise<void>
  /** Up to where every consumer has read. */
  readEnd(place: Place): number
  areAllInSync(): boolean
  describe(): string
}

/** Who leads what, as a cluster at rest has it. */
interface Order {
  readonly controller: string
  readonly leaders: ReadonlyMap<string, { readonly leader: number; readonly epoch: number }>
  readonly starts: number
  readonly fenced: number
}

export class Endurance {
  readonly #cluster: LivingCluster
  readonly #plan: EndurancePlan
  readonly #faults: ClusterFaultsDrawer
  readonly #random: Random
  readonly #growth: Growth
  /** What was settled at the last looks, by partition, oldest first. */
  #ends: number[][] = []
  #looks = 0

  constructor(cluster: LivingCluster, plan: EndurancePlan, faults: ClusterFaultsDrawer) {
    this.#cluster = cluster
    this.#plan = plan
    this.#faults = faults
    this.#random = cluster.random.split()
    this.#growth = new Growth(cluster.world, cluster.network)
  }

  async live(): Promise<void> {
    const { world } = this.#cluster
    const endMs = world.nowMs + this.#plan.lifeMs
    world.stepsMax = Number.POSITIVE_INFINITY
    await this.#mend()
    while (world.nowMs < endMs) {
      const untilMs = Math.min(world.nowMs + this.#calmMs(), endMs)
      await this.#rest(untilMs)
      if (world.nowMs >= endMs) return
      await this.#storm()
      await this.#mend()
    }
  }

  /** Until the next storm. */
  #calmMs(): number {
    const { stormsPerHour } = this.#plan
    if (stormsPerHour === 0) return Number.POSITIVE_INFINITY
    return (-Math.log(1 - this.#random.fraction()) * HOUR_MS) / stormsPerHour
  }

  /** All at once, or a fault every minute or so. */
  async #storm(): Promise<void> {
    const { world } = this.#cluster
    const isBurst = this.#random.chance(0.6)
    const ms = isBurst
      ? this.#random.between(1000, 15_000)
      : this.#random.between(2, 15) * MINUTE_MS
    journal(() => `${world.nowMs.toFixed(1)} a storm, ${isBurst ? 'at once' : 'slow'}, ${ms} ms`)
    world.count(isBurst ? 'storms at once' : 'storms, slow')
    const untilMs = world.nowMs + ms
    while (world.nowMs < untilMs) {
      if (isBurst) await this.#cluster.tick()
      else await this.#cluster.runFor(1000, 1000)
      this.#faults.breakThings(isBurst ? 1 : 0.4)
    }
    // Nobody is there at once to put things right.
    await this.#cluster.runFor(this.#random.fraction() * this.#random.pick([5, 120]) * 1000, 1000)
  }

  /** All that is broken is put right, and the cluster is whole again soon. */
  async #mend(): Promise<void> {
    const { world, operator, nodes } = this.#cluster
    journal(() => `${world.nowMs.toFixed(1)} all is put right`)
    this.#faults.calmDown()
    const startedMs = world.nowMs
    const isWhole = (): boolean => {
      if (!nodes.every((node) => node.isServing) || this.#cluster.network.hasCuts) return false
      return (
        operator.repairing.size === 0 && operator.changing === 0 && this.#cluster.areAllInSync()
      )
    }
    await this.#cluster.until('all is whole again after a storm', isWhole)
    world.most('seconds until all is whole again', Math.round((world.nowMs - startedMs) / 1000))
  }

  // —— at rest ——

  async #rest(untilMs: number): Promise<void> {
    const { world } = this.#cluster
    const restsMs = world.nowMs + this.#plan.restMs
    await this.#cluster.runFor(Math.min(restsMs, untilMs) - world.nowMs, CALM_TICK_MS)
    if (world.nowMs >= untilMs) return
    const fromMs = world.nowMs
    let order = this.#order()
    this.#ends = []
    while (world.nowMs < untilMs) {
      await this.#cluster.runFor(Math.min(LOOK_MS, untilMs - world.nowMs), CALM_TICK_MS)
      order = this.#lookAtOrder(order)
      this.#lookAtReaders()
      if (++this.#looks % GROWTH_LOOKS === 0) this.#lookAtAge()
    }
    world.count('minutes at rest', Math.round((world.nowMs - fromMs) / MINUTE_MS))
  }

  #order(): Order {
    const { nodes, newestImage, world } = this.#cluster
    const leaders = new Map<string, { leader: number; epoch: number }>()
    for (const { name, handles } of newestImage?.topicsByName.values() ?? []) {
      for (const [partition, handle] of handles.entries()) {
        const { leader, leaderEpoch: epoch } = newestImage!.partitions.state(handle)
        leaders.set(`${name}-${partition}`, { leader, epoch })
      }
    }
    const epochs = nodes.map(({ member }) => {
      return `${member?.node.quorum.epoch} ${member?.node.leaderId}`
    })
    return {
      controller: epochs.join(),
      leaders,
      starts: world.counters.starts ?? 0,
      fenced: world.counters['states: brokers fenced'] ?? 0,
    }
  }

  #lookAtOrder(before: Order): Order {
    const { newestImage: image } = this.#cluster
    const now = this.#order()
    const stays = (isSame: boolean, what: () => string): void => {
      require_(isSame, 'a cluster at rest stays as it is', () => {
        return `${what()}${this.#cluster.describe()}`
      })
    }
    stays(now.controller === before.controller, () => `${before.controller} to ${now.controller}`)
    stays(now.starts === before.starts, () => 'a process has ended')
    stays(now.fenced === before.fenced, () => 'a broker was fenced')
    for (const { name, handles } of image?.topicsByName.values() ?? []) {
      for (const [partition, handle] of handles.entries()) {
        const { replicas, inSyncReplicas, leader, leaderEpoch } = image!.partitions.state(handle)
        const known = before.leaders.get(`${name}-${partition}`)
        const isSame = known?.epoch === leaderEpoch || leader === replicas[0]
        stays(isSame, () => `${name}-${partition}: ${known?.leader} to ${leader}`)
        stays(inSyncReplicas.length === replicas.length, () => `${name}-${partition} in sync`)
      }
    }
    return now
  }

  /** What is written is acknowledged, and read soon. */
  #lookAtReaders(): void {
    const { checker, places } = this.#cluster
    this.#ends.push(places.map(({ index }) => checker.committedEnd(index)))
    if (this.#ends.length <= READ_LOOKS) return
    const ends = this.#ends.shift()
    for (const place of places) {
      const end = ends?.[place.index] ?? 0
      const what = (): string => `${place.topic}-${place.partition} to ${end}`
      require_(this.#cluster.readEnd(place) >= end, 'what is written is read soon', what)
      require_(
        checker.committedEnd(place.index) > end,
        'a cluster at rest takes writes',
        () => `${what()}${this.#cluster.describe()}`,
      )
    }
  }

  // —— the old ——

  #lookAtAge(): void {
    const { nodes, world } = this.#cluster
    const { retentionMs, segmentMs } = this.#plan
    const segments = Math.ceil((retentionMs + CLOCK_MS_MAX) / segmentMs) + 4
    const partitions = this.#cluster.places.length + 3
    this.#growth.look(nodes, partitions * segments * FILES_A_SEGMENT + OTHER_FILES)
    for (const place of this.#cluster.places) this.#forget(place)
    // A file system commits names by itself.
    for (const node of nodes) node.disk.commitNames()
    world.most('MB of memory', Math.round(process.memoryUsage().rss / 1024 / 1024))
  }

  /** What retention has deleted everywhere was old, and what it has left is not too old. */
  #forget({ index, topic, partition }: Place): void {
    const { nodes, checker, newestImage: image } = this.#cluster
    const { retentionMs, segmentMs } = this.#plan
    const nowMs = this.#cluster.admin.host.wallMs()
    const handle = image?.topicsByName.get(topic)?.handles[partition]
    if (image === null || handle === undefined) return
    const starts: number[] = []
    for (const id of image.partitions.replicas(handle)) {
      for (const one of nodes[id - 1]?.partitions() ?? []) {
        if (one.topicId !== image.topicsByName.get(topic)?.id) continue
        if (one.partition === partition && one.openedLog !== null) {
          starts.push(one.openedLog.logStartOffset)
        }
      }
    }
    if (starts.length < image.partitions.replicas(handle).length) return
    const start = Math.min(...starts, this.#cluster.readEnd({ index, topic, partition }))
    const isOld = ({ maxTimestamp }: { maxTimestamp: number }): boolean =>
      nowMs - maxTimestamp > retentionMs - CLOCK_MS_MAX
    checker.forget(index, start, isOld)
    const oldest = checker.batchAt(index, start)
    if (oldest === null) return
    const ageMs = nowMs - oldest.maxTimestamp
    require_(
      ageMs < retentionMs + 2 * segmentMs + CLOCK_MS_MAX + RETENTION_MS,
      'what is old is deleted',
      () => `${topic}-${partition}: batch ${oldest.id} is ${Math.round(ageMs / MINUTE_MS)} min old`,
    )
  }
}
