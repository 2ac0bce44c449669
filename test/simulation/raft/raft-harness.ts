/**
 * Runs one seed of a quorum: nodes on simulated clocks, disks and a network, through faults that
 * the seed draws; then a core of voters is healed while everything else stays broken for good, and
 * must go on (liveness); then all are healed and must agree. Deterministic: the same seed and code
 * give the same trace.
 */
import { Random } from '../../../src/base/random.ts'
import type { Uuid } from '../../../src/base/uuid.ts'
import type { RaftMessage } from '../../../src/raft/messages.ts'
import { isSameReplica, type ReplicaKey } from '../../../src/raft/replica-key.ts'
import { EventClock } from '../event-clock.ts'
import { journal } from '../journal.ts'
import { Links } from '../links.ts'
import { asViolation, type ClusterSeedResult, require_, type Violation } from '../violation.ts'
import { RaftChecker } from './raft-checker.ts'
import { hashOf, RaftHost } from './raft-host.ts'
import { drawRaftPlan, drawShortReigns, type RaftPlan } from './raft-plan.ts'

/** Within which a core that is healed has a leader and commits. */
const LIVENESS_MS = 20_000
const STEPS_MAX = 2_000_000
const TICK_MS = 50

export function runRaftSeed(seed: number, focus: string | null = null): ClusterSeedResult {
  const simulation = new RaftSimulation(seed, focus === 'reigns' ? drawShortReigns : drawRaftPlan)
  let violation: Violation | null = null
  try {
    simulation.run()
  } catch (error) {
    violation = asViolation(error)
  }
  const { trace, steps, clock, counters } = simulation
  return { seed, violation, trace, steps, simulatedMs: clock.nowMs, counters }
}

class RaftSimulation {
  readonly clock = new EventClock()
  readonly counters: Record<string, number> = {}
  steps = 0
  trace = 0x811c9dc5
  readonly #plan: RaftPlan
  readonly #random: Random
  /** Of broken connections: with draws of its own, as they came later than the rest. */
  readonly #breaks: Random
  readonly #links: Links
  readonly #checker = new RaftChecker()
  readonly #hosts: RaftHost[] = []
  readonly #wiped = new Set<string>()
  /** Hosts that stay as they are from now on. */
  readonly #lost = new Set<RaftHost>()
  #directories = 0
  #values = 0
  /** That were seen. */
  #elections = 0

  constructor(seed: number, drawPlan: (random: Random) => RaftPlan) {
    const random = new Random(seed)
    this.#plan = drawPlan(random.split())
    this.#random = random.split()
    this.#links = new Links(this.#plan.link, this.clock, random.split())
    const keys: ReplicaKey[] = []
    for (let id = 1; id <= this.#plan.nodes; id++) {
      keys.push({ id, directoryId: this.#newDirectory() })
    }
    const voters = keys.slice(0, this.#plan.voters)
    for (const key of keys) {
      const host = new RaftHost(key, voters, {
        plan: this.#plan,
        clock: this.clock,
        random: random.split(),
        checker: this.#checker,
        send: (message) => {
          this.#checker.onSent(message)
          if (message.type === 'vote-response' && !message.isPreVote && message.isGranted) {
            this.#strikeVoter(message.from.id)
          }
          this.#links.send(message.from.id, message.to.id, () => this.#deliver(message))
        },
        flushMsMax: this.#plan.flushMsMax * (key.id === 1 ? this.#plan.slowness : 1),
        count: (what) => this.#count(what),
      })
      this.#hosts.push(host)
    }
    this.#breaks = random.split()
  }

  run(): void {
    for (const host of this.#hosts)
      this.clock.after(this.#random.fraction() * 500, () => host.start())
    const endMs = this.#plan.seconds * 1000
    for (let atMs = TICK_MS; atMs <= endMs; atMs += TICK_MS) {
      this.#runTo(atMs)
      this.#breakThings()
      this.#work()
    }
    this.#healCore()
    this.#expectProgress('a healed core goes on, whatever else stays broken')
    this.#healAll()
    this.#expectProgress('a healed quorum goes on')
    this.#expectAgreement()
    this.#checker.checkAcknowledged()
    this.#count('elections', this.#checker.elections)
    this.#count('acknowledged entries', this.#checker.acknowledged.length)
  }

  #runTo(untilMs: number): void {
    while (this.clock.step(untilMs)) {
      this.steps++
      if (this.#checker.elections > this.#elections) this.#strikeLater()
      require_(this.steps < STEPS_MAX, 'a run ends', () => `${this.steps} events`)
    }
  }

  #deliver(message: RaftMessage): void {
    const host = this.#hosts[message.to.id - 1] as RaftHost
    this.trace = hashOf(this.trace, {
      endOffset: message.from.id * 100 + message.to.id,
      epoch: message.epoch,
      bytes: new Uint8Array([message.type.length, Math.floor(this.clock.nowMs) & 0xff]),
      baseOffset: 0,
      voters: null,
    })
    host.receive(message)
  }

  // —— faults ——

  #breakThings(): void {
    const { faults } = this.#plan
    const random = this.#random
    const happens = (chance: number): boolean => random.chance((chance * TICK_MS) / 1000)
    const host = random.pick(this.#hosts)
    const other = random.pick(this.#hosts)
    if (happens(faults.kill)) this.#crash(host, false)
    if (happens(faults.powerLoss)) {
      if (random.chance(0.1)) for (const each of this.#hosts) this.#crash(each, true)
      else this.#crash(host, true)
    }
    if (happens(faults.pause) && host.isUp && !host.isPaused) {
      this.#count('pauses')
      host.isPaused = true
      const { life } = host
      this.clock.after(random.fraction() * 3000, () => {
        if (life === host.life && !this.#lost.has(host)) host.resume()
      })
    }
    if (happens(faults.partition)) this.#partition()
    if (happens(faults.oneWay) && host !== other) {
      this.#count('one-way cuts')
      this.#links.cut(host.key.id, other.key.id)
    }
    if (happens(faults.flap) && host !== other) this.#flap(host.key.id, other.key.id, 10)
    if (happens(faults.heal)) this.#links.mendAll()
    if (this.#breaks.chance((faults.flap * TICK_MS) / 1000)) this.#breakConnections(host)
    if (happens(faults.wipe)) this.#wipe(host)
    // One that was not struck when it began would reign for long.
    if (happens(this.#plan.strike.chance * 2)) this.#strikeLater()
  }

  /** Somebody has been elected. */
  #strikeLater(): void {
    this.#elections = this.#checker.elections
    const { chance, delayMsMax } = this.#plan.strike
    if (this.#links.isCalm || !this.#random.chance(chance)) return
    const leader = this.#hosts
      .filter(({ node }) => node?.role === 'leader')
      .sort((a, b) => (b.node?.epoch ?? 0) - (a.node?.epoch ?? 0))[0]
    if (leader === undefined) return
    const { life } = leader
    this.clock.after(this.#random.fraction() * delayMsMax, () => {
      if (leader.life === life && !this.#links.isCalm) this.#strike(leader)
    })
  }

  /** It has given its vote, and is back while others still ask for it. */
  #strikeVoter(id: number): void {
    if (this.#links.isCalm || !this.#random.chance(this.#plan.strike.chance / 4)) return
    const host = this.#hosts[id - 1] as RaftHost
    const { life } = host
    this.clock.after(this.#random.fraction() * 5, () => {
      if (host.life !== life || this.#links.isCalm) return
      this.#count('voters struck')
      host.kill(this.#random.chance(0.5))
      this.clock.after(1, () => {
        if (!host.isUp && !this.#lost.has(host)) host.start()
      })
    })
  }

  #strike(leader: RaftHost): void {
    const random = this.#random
    const { powerLoss, another, blackout } = this.#plan.strike
    this.#count('leaders struck')
    if (random.chance(another)) this.#crash(random.pick(this.#hosts), random.chance(powerLoss))
    if (random.chance(powerLoss)) {
      this.#crash(leader, true)
      return
    }
    for (const other of this.#hosts) {
      if (other === leader || random.chance(0.4)) continue
      this.#links.cut(leader.key.id, other.key.id)
      if (random.chance(0.5)) this.#links.cut(other.key.id, leader.key.id)
    }
    if (!random.chance(blackout)) return
    // What it has brought to some until then is all that there is of it.
    this.clock.after(random.fraction() * 100, () => {
      if (this.#links.isCalm) return
      this.#count('blackouts')
      for (const each of this.#hosts) this.#crash(each, true)
      this.#links.mendAll()
    })
  }

  #crash(host: RaftHost, isPowerLoss: boolean): void {
    if (!host.isUp) return
    this.#count(isPowerLoss ? 'power losses' : 'kills')
    host.kill(isPowerLoss)
    this.#breakConnections(host)
    this.clock.after(this.#random.fraction() * this.#plan.restartMsMax, () => {
      if (!host.isUp && !this.#lost.has(host)) host.start()
    })
  }

  /** Of a process that ended, or of one that lives: some of the others are told. */
  #breakConnections(host: RaftHost): void {
    for (const other of this.#hosts) {
      if (other === host || this.#breaks.chance(0.3)) continue
      this.#count('broken connections')
      this.clock.after(this.#breaks.fraction() * 20, () => {
        other.input(() => other.node?.onConnectionLost(host.key.id, other.nowMs))
      })
    }
  }

  #partition(): void {
    this.#count('partitions')
    this.#links.partition(
      this.#hosts.map(({ key }) => key.id),
      this.#random,
    )
  }

  #flap(from: number, to: number, times: number): void {
    if (times === 10) this.#count('flapping links')
    if (times === 0 || this.#links.isCalm) return
    if (times % 2 === 0) this.#links.cut(from, to)
    else this.#links.mend(from, to)
    this.clock.after(this.#random.fraction() * 400, () => this.#flap(from, to, times - 1))
  }

  /** A disk is lost; only one of a quorum's at a time, until its voter has been replaced. */
  #wipe(host: RaftHost): void {
    const source = this.#hosts.find((one) => one !== host && one.isUp && one.node?.leader !== null)
    if (source === undefined) return
    const isVoter = this.#voterSets().some((set) => set.some((key) => isSame(key, host)))
    if (isVoter) {
      const dead = this.#voterSets().some((set) => {
        const lost = set.filter((key) => isSame(key, host) || this.#wiped.has(key.directoryId))
        return set.length - lost.length < Math.floor(set.length / 2) + 1 || lost.length > 1
      })
      if (dead) return
    }
    this.#count('wiped disks')
    this.#wiped.add(host.key.directoryId)
    if (host.isUp) host.kill(true)
    const voters = source.node?.voters.replicas ?? []
    host.wipe(this.#newDirectory(), voters)
    this.clock.after(this.#random.fraction() * 1000, () => {
      if (!host.isUp && !this.#lost.has(host)) host.start()
    })
  }

  // —— what clients and operators do ——

  #work(): void {
    const plan = this.#plan
    const random = this.#random
    const happens = (chance: number): boolean => random.chance((chance * TICK_MS) / 1000)
    const leaders = this.#hosts.filter((host) => host.node?.role === 'leader')
    if (happens(plan.proposals)) for (const leader of leaders) this.#propose(leader)
    if (happens(plan.faults.snapshot)) random.pick(this.#hosts).takeSnapshot()
    const leader = leaders.length > 0 ? random.pick(leaders) : null
    if (leader === null) return
    if (happens(plan.faults.transfer)) this.#transfer(leader)
    if (happens(plan.faults.membership) || this.#wiped.size > 0) this.#changeVoters(leader)
  }

  #propose(leader: RaftHost): void {
    if (leader.propose(`value ${this.#values++}`)) this.#count('proposals')
  }

  #transfer(leader: RaftHost): void {
    leader.input(() => {
      const refusal = leader.node?.transfer(null, leader.nowMs)
      if (refusal === null) this.#count('transfers')
    })
  }

  #changeVoters(leader: RaftHost): void {
    const random = this.#random
    leader.input(() => {
      const { node, nowMs } = leader
      // Nothing that waited for a process to go on changes what a majority is at the end.
      if (node === null || this.#links.isCalm) return
      const gone = node.voters.replicas.find(({ directoryId }) => this.#wiped.has(directoryId))
      const outside = this.#hosts.filter(({ key }) => !node.voters.has(key))
      if (gone !== undefined) {
        // Whoever lost its disk comes back as somebody else, once the one that it was is out.
        if (node.removeVoter(gone, nowMs) === null) this.#count('voters replaced')
        return
      }
      if (!random.chance(0.3)) return
      if (outside.length > 0 && random.chance(0.6)) {
        if (node.addVoter(random.pick(outside).key, nowMs) === null) this.#count('voters added')
      } else if (node.voters.size > 1) {
        const refusal = node.removeVoter(random.pick(node.voters.replicas), nowMs)
        if (refusal === null) this.#count('voters removed')
      }
    })
    // A replica that was taken out has no part in a majority any more.
    for (const directory of this.#wiped) {
      const isKnown = this.#voterSets().some((set) =>
        set.some(({ directoryId }) => directoryId === directory),
      )
      if (!isKnown) this.#wiped.delete(directory)
    }
  }

  // —— the end ——

  /** Every set of voters that may count for a majority somewhere. */
  #voterSets(): ReplicaKey[][] {
    return this.#hosts.flatMap((host) => host.voterSets.map((set) => [...set]))
  }

  /**
   * A smallest part that has a majority of every set of voters goes on without faults; what is
   * broken elsewhere stays broken for good.
   */
  #healCore(): void {
    const random = this.#random
    const sets = this.#voterSets()
    const core = new Set(this.#hosts)
    const untried = [...this.#hosts]
    while (untried.length > 0) {
      const [host] = untried.splice(random.below(untried.length), 1) as [RaftHost]
      core.delete(host)
      const isEnough = sets.every((set) => {
        const alive = set.filter((key) => [...core].some((one) => isSame(key, one)))
        return alive.length >= Math.floor(set.length / 2) + 1
      })
      if (!isEnough) core.add(host)
    }
    journal(() => `core: ${[...core].map(({ name }) => name).join(' ')}`)
    this.#links.isCalm = true
    for (const host of this.#hosts) {
      if (core.has(host)) {
        if (!host.isUp) host.start()
        host.resume()
        for (const other of core) this.#links.mend(host.key.id, other.key.id)
        continue
      }
      this.#lost.add(host)
      this.#breakForGood(host)
    }
  }

  /** Dead, deaf, dumb or paused; or only cut off from some. */
  #breakForGood(host: RaftHost): void {
    const random = this.#random
    const how = random.below(4)
    if (how === 0 && host.isUp) host.kill(random.chance(0.5))
    if (how === 1) host.isPaused = true
    for (const other of this.#hosts) {
      if (other === host) continue
      if (how === 2 || random.chance(0.3)) this.#links.cut(other.key.id, host.key.id)
      if (how === 3 || random.chance(0.3)) this.#links.cut(host.key.id, other.key.id)
    }
  }

  #healAll(): void {
    this.#lost.clear()
    this.#links.mendAll()
    for (const host of this.#hosts) {
      if (!host.isUp) host.start()
      host.resume()
    }
  }

  /** Something that is proposed from now on is acknowledged in time. */
  #expectProgress(invariant: string): void {
    const { acknowledged } = this.#checker
    const before = acknowledged.length
    const untilMs = this.clock.nowMs + LIVENESS_MS
    while (acknowledged.length === before) {
      require_(this.clock.nowMs < untilMs, invariant, () => this.#describe())
      this.#runTo(this.clock.nowMs + TICK_MS)
      for (const host of this.#hosts) if (host.node?.role === 'leader') this.#propose(host)
    }
  }

  #expectAgreement(): void {
    const isBehind = (host: RaftHost): boolean => host.appliedOffset < this.#checker.committedEnd
    let untilMs = 0
    let before = -1
    while (this.#hosts.some(isBehind)) {
      // With small messages and a slow disk it may take long; but it goes on.
      const applied = this.#hosts.reduce((sum, host) => sum + host.appliedOffset, 0)
      if (applied > before) untilMs = this.clock.nowMs + LIVENESS_MS
      before = applied
      require_(this.clock.nowMs < untilMs, 'everybody catches up', () => this.#describe())
      this.#runTo(this.clock.nowMs + TICK_MS)
    }
  }

  #describe(): string {
    const { committedEnd } = this.#checker
    const lines = this.#hosts.map((host) => {
      const { node } = host
      if (node === null) return `${host.name} down`
      const { role, epoch, endOffset, committedOffset, startOffset } = node
      const voters = node.voters.replicas.map(({ id }) => id).join()
      return `${host.name}${host.isPaused ? ' paused' : ''} ${role} ${epoch} [${startOffset} ${committedOffset} ${endOffset}] of ${voters}`
    })
    return `committed ${committedEnd}: ${lines.join('; ')}`
  }

  #newDirectory(): Uuid {
    return `d${this.#directories++}` as Uuid
  }

  #count(what: string, by = 1): void {
    this.counters[what] = (this.counters[what] ?? 0) + by
  }
}

function isSame(key: ReplicaKey, host: RaftHost): boolean {
  return isSameReplica(key, host.key)
}
