/**
 * Runs one seed of a cluster's replication: brokers and their partitions on simulated disks, a
 * network and a controller that does not fail, through faults that the seed draws; then all is
 * healed, every partition must take writes again, and every replica must have the same.
 * Deterministic: the same seed and code give the same trace.
 */
import { Random } from '../../../src/base/random.ts'
import type { PartitionState } from '../../../src/metadata/partition-rules.ts'
import { EventClock } from '../event-clock.ts'
import { Links } from '../links.ts'
import { asViolation, type ClusterSeedResult, require_, type Violation } from '../violation.ts'
import { ReplicationChecker } from './replication-checker.ts'
import { type Cluster, CONTROLLER_ID } from './replication-cluster.ts'
import { drawLateMessages, drawReplicationPlan, type ReplicationPlan } from './replication-plan.ts'
import { SimBroker } from './sim-broker.ts'
import { describe, SimController } from './sim-controller.ts'
import type { SimReplica } from './sim-replica.ts'

const TICK_MS = 25
const SETTLE_MS = 1500
/** Within which a cluster that is healed works again. */
const LIVENESS_MS = 30_000
const STEPS_MAX = 3_000_000

export function runReplicationSeed(seed: number, focus: string | null = null): ClusterSeedResult {
  const drawPlan = focus === 'late' ? drawLateMessages : drawReplicationPlan
  const simulation = new ReplicationSimulation(seed, drawPlan)
  let violation: Violation | null = null
  try {
    simulation.run()
  } catch (error) {
    violation = asViolation(error)
  }
  const { trace, steps, clock, counters } = simulation
  return { seed, violation, trace, steps, simulatedMs: clock.nowMs, counters }
}

class ReplicationSimulation implements Cluster {
  readonly plan: ReplicationPlan
  readonly clock = new EventClock()
  readonly links: Links
  readonly checker = new ReplicationChecker()
  readonly controller: SimController
  readonly counters: Record<string, number> = {}
  steps = 0
  trace = 0x811c9dc5
  readonly #random: Random
  readonly #brokers: SimBroker[] = []
  #values = 0
  /** The last one, in the mode in which it is one at a time. */
  #lostPower: SimBroker | null = null

  constructor(seed: number, drawPlan: (random: Random) => ReplicationPlan) {
    const random = new Random(seed)
    this.plan = drawPlan(random.split())
    this.#random = random.split()
    this.links = new Links(this.plan.link, this.clock, random.split())
    this.controller = new SimController(this.plan, this.clock, (partition, before, after) =>
      this.#changed(partition, before, after),
    )
    for (let id = 1; id <= this.plan.brokers; id++) {
      this.#brokers.push(new SimBroker(id, this, random.split()))
    }
  }

  broker(id: number): SimBroker {
    return this.#brokers[id - 1] as SimBroker
  }

  at(id: number, run: () => void): void {
    this.trace = (Math.imul(this.trace ^ id, 0x01000193) ^ Math.floor(this.clock.nowMs)) >>> 0
    if (id === CONTROLLER_ID) run()
    else this.broker(id).input(run)
  }

  count(what: string): void {
    this.counters[what] = (this.counters[what] ?? 0) + 1
  }

  run(): void {
    for (const broker of this.#brokers) broker.start()
    this.links.isCalm = true
    this.#runFor(SETTLE_MS)
    this.controller.createPartitions()
    this.#runFor(SETTLE_MS)
    this.links.isCalm = false
    const endMs = this.clock.nowMs + this.plan.seconds * 1000
    while (this.clock.nowMs < endMs) {
      this.#runFor(TICK_MS)
      this.#breakThings()
      this.#work()
    }
    this.#heal()
    this.#expectAll()
    for (const partition of this.controller.partitions.keys()) {
      this.checker.checkReplicas(partition, this.#replicasOf(partition))
    }
    this.counters['acknowledged records'] = this.checker.acknowledged
  }

  #runFor(ms: number): void {
    const untilMs = this.clock.nowMs + ms
    while (this.clock.step(untilMs)) {
      this.steps++
      require_(this.steps < STEPS_MAX, 'a run ends', () => `${this.steps} events`)
    }
    this.controller.tick()
  }

  #changed(partition: number, before: PartitionState, after: PartitionState): void {
    this.checker.onChange(partition, before, after)
    if (before.leader >= 0 && before.leader === after.leader) {
      for (const id of after.inSyncReplicas) {
        const broker = this.broker(id)
        // Of one that is down, or new, the controller hears when it registers.
        const isKnown = broker.isUp && this.controller.knows(id, broker.life)
        const replica = broker.replicas[partition]
        if (before.inSyncReplicas.includes(id) || !isKnown || replica === undefined) continue
        this.checker.onJoined(broker, partition, replica)
      }
    }
    const { leader, inSyncReplicas, eligibleReplicas } = after
    if (leader !== before.leader) this.count(leader < 0 ? 'leaders lost' : 'elections')
    if (before.eligibleReplicas.includes(leader)) this.count('elections of an eligible replica')
    if (before.lastKnownLeader >= 0 && leader >= 0) this.count('elections of the last known leader')
    if (inSyncReplicas.length === 1 && after.replicas.length > 1) this.count('ISR of one')
    if (eligibleReplicas.length > 0) this.count('partitions with eligible replicas')
  }

  // —— faults ——

  #breakThings(): void {
    const { faults, mode } = this.plan
    const random = this.#random
    const happens = (chance: number): boolean => random.chance((chance * TICK_MS) / 1000)
    const broker = random.pick(this.#brokers)
    const other = random.pick(this.#brokers)
    if (happens(faults.crash) && broker.isUp) this.#crash(broker, mode)
    if (happens(faults.pause) && broker.isUp && !broker.isPaused) {
      this.count('pauses')
      broker.isPaused = true
      const { life } = broker
      this.clock.after(random.fraction() * 3000, () => {
        if (life === broker.life) broker.resume()
      })
    }
    if (happens(faults.partition)) {
      this.count('partitions')
      const ids = this.#brokers.map(({ id }) => id)
      this.links.partition([CONTROLLER_ID, ...ids], random)
    }
    if (happens(faults.oneWay)) {
      this.count('one-way cuts')
      const to = random.chance(0.3) ? CONTROLLER_ID : other.id
      if (to !== broker.id) this.links.cut(broker.id, to)
    }
    if (happens(faults.heal)) this.links.mendAll()
    if (happens(faults.cleanStop) && !broker.isPaused) {
      broker.stop(() => {
        this.count('stops in order')
        this.#restartSoon(broker)
      })
    }
    if (happens(faults.minimum)) {
      const least = mode === 'one loss' ? 2 : 1
      this.count('changes of the minimum')
      this.controller.changeMinimum(Math.min(random.between(least, 3), this.plan.replicationFactor))
    }
    if (happens(faults.preferred)) {
      this.controller.electPreferred(random.below(this.plan.partitions))
    }
  }

  #crash(broker: SimBroker, mode: ReplicationPlan['mode']): void {
    const random = this.#random
    let isPowerLoss = mode === 'flushes' && random.chance(0.5)
    if (mode === 'one loss') {
      isPowerLoss = this.#mayLose()
      if (isPowerLoss) this.#lostPower = broker
    }
    this.count(isPowerLoss ? 'power losses' : 'kills')
    const isKnown = !isPowerLoss && (mode === 'one loss' || random.chance(0.7))
    broker.crash(isPowerLoss, isKnown)
    this.#restartSoon(broker)
  }

  /**
   * The promise is for one machine at a time. The one before has come back and is counted anew, and
   * two brokers are known to have everything of every partition, in sync or eligible.
   */
  #mayLose(): boolean {
    const last = this.#lostPower
    if (last !== null && !this.controller.knows(last.id, last.life)) return false
    return this.controller.partitions.every(
      ({ inSyncReplicas, eligibleReplicas }) =>
        inSyncReplicas.length + eligibleReplicas.length >= 2,
    )
  }

  #restartSoon(broker: SimBroker): void {
    this.clock.after(this.#random.fraction() * this.plan.restartMsMax, () => {
      if (!broker.isUp) broker.start()
    })
  }

  // —— clients ——

  #work(): void {
    const random = this.#random
    for (let partition = 0; partition < this.plan.partitions; partition++) {
      if (!random.chance((this.plan.records * TICK_MS) / 1000)) continue
      this.#produce(partition, random.chance(0.7))
    }
  }

  /** To everybody who takes itself for the leader. */
  #produce(partition: number, needsAll: boolean): void {
    for (const broker of this.#brokers) {
      broker.produce(partition, `value ${this.#values++}`, needsAll)
    }
  }

  // —— the end ——

  #heal(): void {
    this.links.isCalm = true
    this.links.mendAll()
    for (const broker of this.#brokers) {
      if (!broker.isUp) broker.start()
      broker.resume()
    }
  }

  /** Every partition takes writes, and every replica is in sync and has all. */
  #expectAll(): void {
    const untilMs = this.clock.nowMs + LIVENESS_MS
    for (let partition = 0; partition < this.plan.partitions; partition++) {
      const before = this.checker.committedEnd(partition)
      for (;;) {
        const { inSyncReplicas, replicas } = this.controller.partitions[partition] as PartitionState
        const logs = this.#replicasOf(partition)
        const end = logs[0]?.logEndOffset
        const isSame = logs.every(({ logEndOffset }) => logEndOffset === end)
        const isWritten = this.checker.committedEnd(partition) > before
        if (isWritten && isSame && inSyncReplicas.length === replicas.length) break
        require_(this.clock.nowMs < untilMs, 'a healed cluster works again', () =>
          this.#describe(partition),
        )
        if (!isWritten) this.#produce(partition, true)
        this.#runFor(TICK_MS * 4)
      }
    }
  }

  #replicasOf(partition: number): SimReplica[] {
    const { replicas } = this.controller.partitions[partition] as PartitionState
    return replicas.map((id) => this.broker(id).replicas[partition] as SimReplica)
  }

  #describe(partition: number): string {
    const state = this.controller.partitions[partition] as PartitionState
    const logs = this.#replicasOf(partition).map(
      (replica) => `${replica?.highWatermark} of ${replica?.logEndOffset}`,
    )
    return `partition ${partition}: ${describe(state)}; ${logs.join('; ')}`
  }
}
