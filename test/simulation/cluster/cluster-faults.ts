/** What goes wrong in a simulated cluster, as its seed draws it, and how it is made good again. */
import type { Random } from '../../../src/base/random.ts'
import { journal } from '../journal.ts'
import { BitFlips } from './bit-flips.ts'
import type { ClusterOperator } from './cluster-operator.ts'
import type { Place } from './sim-client.ts'
import type { SimCluster } from './sim-cluster.ts'
import type { SimNode } from './sim-node.ts'

const TICK_MS = 50
const PAUSE_MS_MAX = 3000
const CLIENT_ID = 100
const CRASH_CALLS_MAX = 30
/** Of reigns: how long each lasts, between two looks, and how many looks until that is given up. */
const REIGN_MS_MAX = 600
const LOOK_MS = 100
const LOOKS_MAX = 200
/** For which who has reigned stays away, so that the other one leads meanwhile. */
const AWAY_MS_MAX = 5000

export class ClusterFaultsDrawer {
  readonly #simulation: SimCluster
  readonly #operator: ClusterOperator
  readonly #random: Random
  readonly flips: BitFlips
  /** Those that have lost something and may not be back yet, and under which epoch they were. */
  readonly #lost = new Map<SimNode, number>()
  isHealing = false
  /** They stay broken. */
  readonly #out = new Set<SimNode>()
  /** Nobody starts them for now. */
  readonly #away = new Set<SimNode>()
  /** Reaches nobody but the leader that it follows: it does not hear of another epoch. */
  #deaf: { readonly node: SimNode; readonly leader: SimNode } | null = null

  constructor(simulation: SimCluster, operator: ClusterOperator) {
    this.#simulation = simulation
    this.#operator = operator
    this.#random = simulation.random.split()
    this.flips = new BitFlips(simulation)
  }

  /** `scale`: how much more often, or less, than the plan says. */
  breakThings(scale = 1): void {
    const { faults } = this.#simulation.plan
    const { nodes, network } = this.#simulation
    const operator = this.#operator
    const random = this.#random
    const happens = (chance: number): boolean => random.chance((scale * chance * TICK_MS) / 1000)
    const node = random.pick(nodes)
    const other = random.pick(nodes)
    if (happens(faults.kill)) this.#kill(node)
    if (happens(faults.powerLoss) && node.isUp && this.#mayLose(node)) this.#losePower(node)
    if (happens(faults.failFlushes) && node.isUp && this.#mayLose(node)) {
      this.#count('fault: failing flushes', node)
      this.#noteLoss(node)
      node.disk.flushFailChance = random.pick([0.2, 1])
    }
    if (happens(faults.pause) && node.isUp && !node.host.isPaused) this.#pause(node)
    if (happens(faults.stop) && node.isServing) {
      this.#count('fault: stop in order', node)
      node.stop()
    }
    if (happens(faults.fullDisk) && node.isUp) this.#fillDisk(node)
    if (happens(faults.clockJump)) {
      this.#count('fault: clock jump', node)
      // Beyond an hour brokers refuse what clients date as now (`message.timestamp.after.max.ms`).
      node.host.wallShiftMs = (random.fraction() - 0.5) * random.pick([1000, 100_000, 6_000_000])
    }
    if (happens(faults.partition)) this.#partition()
    if (happens(faults.oneWay) && node !== other) {
      this.#count('fault: one-way cut', node)
      network.cut(node.id, random.chance(0.2) ? CLIENT_ID : other.id)
    }
    if (happens(faults.flap) && node !== other) this.#flap(node.id, other.id)
    if (happens(faults.reset)) network.resetOne()
    if (happens(faults.heal)) network.mendAll((from, to) => this.#isDeaf(from, to))
    if (happens(faults.wipe) && node.isUp && this.#mayWipe(node)) this.#wipe(node)
    if (happens(faults.bitFlip) && node.isUp && this.#haveOthersAll(node)) this.#flipBit(node)
    if (happens(faults.reassign)) operator.reassign()
    if (happens(faults.preferred)) operator.electPreferred()
    if (happens(faults.voters)) operator.changeVoters()
    if (happens(faults.rolling)) {
      this.#simulation.world.count('fault: rolling restart')
      operator.rollingRestart()
    }
    if (happens(faults.blackout)) this.#blackOut()
    if (happens(faults.reigns)) this.#reigns()
  }

  /** All is put right but what is down: that comes back by itself. */
  calmDown(): void {
    const { network, nodes } = this.#simulation
    network.mendAll()
    for (const node of nodes) {
      this.#healDisk(node)
      node.host.resume()
    }
  }

  /** Somebody will look after a process that has ended. */
  restartSoon(node: SimNode): void {
    const { world, plan } = this.#simulation
    const delayMs = this.isHealing ? 100 : this.#random.fraction() * plan.restartMsMax
    world.clock.after(delayMs, () => {
      if (!node.isUp && !this.#out.has(node) && !this.#away.has(node)) node.start()
    })
  }

  /**
   * Some nodes stay as broken as they are, or break for good; the others are healed and must go on
   * alone, which `placesAlive` says where.
   */
  healCore(): void {
    const { network, nodes, world } = this.#simulation
    this.isHealing = true
    this.#away.clear()
    this.#deaf = null
    const out = this.#drawOut()
    journal(() => `${world.nowMs.toFixed(1)} for good: ${[...out].map(({ id }) => id)}`)
    for (const node of out) this.#out.add(node)
    for (const node of out) this.#breakForGood(node)
    const isCore = (id: number): boolean => id === CLIENT_ID || !out.has(this.#simulation.node(id))
    network.isCalm = true
    network.mendAll((from, to) => !isCore(from) || !isCore(to))
    for (const node of nodes) if (!out.has(node)) this.#heal(node)
  }

  /** Where enough replicas are among those that are healed, and one that may lead. */
  placesAlive(): readonly Place[] {
    return this.#simulation.places.filter((place) => this.#canGoOn(place, this.#out))
  }

  healAll(): void {
    const { network, nodes } = this.#simulation
    network.isCalm = true
    network.mendAll()
    this.#out.clear()
    for (const node of nodes) this.#heal(node)
  }

  // —— healing ——

  /** A minority of the voters, whatever node is asked who they are. */
  #drawOut(): Set<SimNode> {
    const { nodes, world } = this.#simulation
    const out = new Set<SimNode>()
    const quorums = nodes.flatMap((node) => (node.isUp && node.member ? [node.member.node] : []))
    for (const node of [...nodes].sort(() => this.#random.fraction() - 0.5)) {
      out.add(node)
      const isMinority = quorums.every(({ voters }) => {
        const left = voters.filter(({ id, directoryId }) => {
          const voter = this.#simulation.node(id)
          return !out.has(voter) && voter.directoryId === directoryId
        })
        return left.length > voters.length / 2
      })
      if (!isMinority || quorums.length === 0) out.delete(node)
    }
    if (out.size > 0) world.count('liveness: with nodes that stay broken')
    return out
  }

  #breakForGood(node: SimNode): void {
    const { network, nodes } = this.#simulation
    const others = [CLIENT_ID, ...nodes.map(({ id }) => id)].filter((id) => id !== node.id)
    const how = this.#random.pick(['kill', 'pause', 'cut', 'in', 'out'])
    this.#count(`fault: for good: ${how}`, node)
    if (how === 'kill') node.kill()
    else if (how === 'pause') node.host.pause()
    else {
      for (const id of others) {
        if (how !== 'out') network.cut(id, node.id)
        if (how !== 'in') network.cut(node.id, id)
      }
    }
  }

  #canGoOn({ topic, partition }: Place, out: ReadonlySet<SimNode>): boolean {
    const image = this.#simulation.newestImage
    const handle = image?.topicsByName.get(topic)?.handles[partition]
    if (image === null || handle === undefined) return false
    const isIn = (id: number): boolean => !out.has(this.#simulation.node(id))
    const { replicas, inSyncReplicas, eligibleReplicas } = image.partitions.state(handle)
    const mayLead = [...inSyncReplicas, ...eligibleReplicas].some(isIn)
    return mayLead && replicas.filter(isIn).length >= image.minInSyncReplicas(handle)
  }

  #heal(node: SimNode): void {
    this.#healDisk(node)
    if (!node.isUp) node.start()
    node.host.resume()
  }

  // —— kinds ——

  #kill(node: SimNode): void {
    if (!node.isUp) return
    if (this.#random.chance(this.#simulation.plan.faults.insideCall)) {
      this.#count('fault: kill inside a call', node)
      node.disk.crashIn = this.#random.between(1, CRASH_CALLS_MAX)
      return
    }
    this.#count('fault: kill', node)
    node.kill()
    this.restartSoon(node)
  }

  #losePower(node: SimNode): void {
    this.#count('fault: power loss', node)
    this.#noteLoss(node)
    node.losePower()
    this.restartSoon(node)
  }

  #blackOut(): void {
    const { nodes, world } = this.#simulation
    world.count('fault: blackout')
    for (const node of nodes) {
      if (!node.isUp) continue
      if (this.#isOnDisks) this.#losePower(node)
      else this.#kill(node)
    }
  }

  /**
   * Of two replicas one is away, and the other leads alone: it takes what is sent with acks=1, dies
   * and leads again, with what only it has, of several epochs. Then it is away, and the first one
   * leads, if it has everything: unless it has lost power. Or that one is there all the while, and
   * follows in an epoch that is over.
   */
  #reigns(): void {
    const { places, world } = this.#simulation
    if (this.#away.size > 0 || this.#deaf !== null) return
    const pairs = places.filter(
      ({ index }) => this.#simulation.stateOf(index)?.replicas.length === 2,
    )
    if (pairs.length === 0) return
    const place = this.#random.pick(pairs)
    const state = this.#simulation.stateOf(place.index)
    if (state === null || state.leader < 0) return
    const leader = this.#simulation.node(state.leader)
    const otherId = state.replicas.find((id) => id !== leader.id) as number
    const other = this.#simulation.node(otherId)
    if (!leader.isServing || !other.isServing) return
    this.#count('fault: reigns', leader)
    const how = this.#random.pick(['kill', 'power loss', 'deaf', 'deaf'])
    // From the controller it would hear everything.
    if (how === 'deaf' && leader.member?.node.isController === false) this.#deafen(other, leader)
    else {
      this.#away.add(other)
      if (how === 'power loss' && this.#mayLose(other)) this.#losePower(other)
      else this.#end(other)
    }
    let reigns = this.#random.between(1, 3)
    let looks = 0
    const look = (): void => {
      if (this.isHealing) return
      const now = this.#simulation.stateOf(place.index)
      const isAlone = now?.leader === leader.id && now.inSyncReplicas.length === 1
      if (looks++ > LOOKS_MAX) this.#comeBack(other)
      else if (!isAlone || !leader.isServing) world.clock.after(LOOK_MS, look)
      else world.clock.after(this.#random.fraction() * REIGN_MS_MAX, next)
    }
    const next = (): void => {
      if (this.isHealing) return
      if (reigns-- > 0) {
        this.#end(leader)
        this.#comeBack(leader)
        look()
        return
      }
      this.#away.add(leader)
      this.#end(leader)
      this.#comeBack(other)
      world.clock.after(this.#random.fraction() * AWAY_MS_MAX, () => this.#comeBack(leader))
    }
    look()
  }

  #end(node: SimNode): void {
    if (!node.isUp) return
    this.#count('fault: kill', node)
    node.kill()
  }

  #deafen(node: SimNode, leader: SimNode): void {
    const { network, nodes } = this.#simulation
    this.#count('fault: deaf', node)
    this.#deaf = { node, leader }
    for (const { id } of nodes) if (this.#isDeaf(id, node.id)) network.cutBoth(id, node.id)
  }

  #isDeaf(a: number, b: number): boolean {
    if (this.#deaf === null) return false
    const { node, leader } = this.#deaf
    const far = a === node.id ? b : b === node.id ? a : null
    return far !== null && far !== leader.id && far !== CLIENT_ID
  }

  #comeBack(node: SimNode): void {
    this.#away.delete(node)
    if (this.#deaf?.node === node) {
      this.#deaf = null
      for (const { id } of this.#simulation.nodes) {
        this.#simulation.network.mend(id, node.id)
        this.#simulation.network.mend(node.id, id)
      }
    }
    if (!node.isUp && !this.#out.has(node)) node.start()
  }

  #pause(node: SimNode): void {
    this.#count('fault: pause', node)
    const { life } = node.host
    node.host.pause()
    this.#simulation.world.clock.after(this.#random.fraction() * PAUSE_MS_MAX, () => {
      if (node.host.life === life) node.host.resume()
    })
  }

  #fillDisk(node: SimNode): void {
    this.#count('fault: full disk', node)
    node.disk.freeBytes = this.#random.below(2000)
    const { life } = node.host
    this.#simulation.world.clock.after(this.#random.fraction() * 3000, () => {
      if (node.host.life === life) node.disk.freeBytes = Number.POSITIVE_INFINITY
    })
  }

  #flipBit(node: SimNode): void {
    if (!this.flips.strike(node, this.#random)) return
    this.#count('fault: bit flip', node)
    this.#simulation.readAnew()
  }

  #partition(): void {
    const { network, nodes } = this.#simulation
    this.#simulation.world.count('fault: partition')
    const ids = [CLIENT_ID, ...nodes.map(({ id }) => id)]
    const sides = ids.map((id) => ({ id, isLeft: this.#random.chance(0.5) }))
    journal(() => `partition ${sides.map(({ id, isLeft }) => `${id}${isLeft ? 'L' : 'R'}`)}`)
    for (const a of sides) {
      for (const b of sides) if (a.isLeft !== b.isLeft) network.cut(a.id, b.id)
    }
  }

  #flap(a: number, b: number): void {
    const { network, world } = this.#simulation
    world.count('fault: flapping link')
    let times = this.#random.between(3, 12)
    const flip = (): void => {
      if (this.isHealing) return
      if (times-- === 0) {
        network.mend(a, b)
        return
      }
      if (network.isCut(a, b)) network.mend(a, b)
      else network.cut(a, b)
      world.clock.after(50 + this.#random.fraction() * 400, flip)
    }
    flip()
  }

  /** Its disk is replaced by an empty one: all that it had is on the others. */
  #wipe(node: SimNode): void {
    const operator = this.#operator
    this.#count('fault: disk replaced', node)
    const before = node.directoryId
    this.#noteLoss(node)
    node.kill()
    node.wipe()
    operator.repair(node, before)
    this.restartSoon(node)
  }

  // —— what may be lost ——

  /**
   * In the mode of one loss the promise is for one machine at a time: the one before has come back
   * and is counted anew, and of every partition two brokers are known to have everything. So it is
   * in any mode once a bit has turned over: what one disk has lost is on the others.
   */
  #mayLose(node: SimNode): boolean {
    const { mode } = this.#simulation.plan
    if (mode === 'kills') return false
    if (this.#isOnDisks) return true
    return this.#haveOthersAll(node)
  }

  /** Whoever is in sync has everything on its disk, and all of these are whole. */
  get #isOnDisks(): boolean {
    const isFlushed = this.#simulation.plan.mode === 'flushes'
    return isFlushed && !this.flips.hasStruck && this.#operator.repairing.size === 0
  }

  /** One disk at a time, and no voter's while another one's was not replaced by a new voter. */
  #mayWipe(node: SimNode): boolean {
    const { nodes } = this.#simulation
    const operator = this.#operator
    if (operator.repairing.size > 0 || operator.changing > 0 || node.directoryId === null) {
      return false
    }
    // Where a minimum of one is enough, the others may stop before it is known to be lost: then it
    // is the one that has all.
    const { topics } = this.#simulation.plan
    if (topics.some(({ configs }) => configs['min.insync.replicas'] === '1')) return false
    // Of two voters none may be lost.
    if ((operator.quorumVoters()?.length ?? 0) < 3) return false
    if (!nodes.every((one) => one.isServing && !one.host.isPaused)) return false
    return this.#haveOthersAll(node)
  }

  #haveOthersAll(node: SimNode): boolean {
    const image = this.#simulation.newestImage
    if (image === null) return false
    for (const [lost, brokerEpoch] of this.#lost) {
      const registered = image.brokers.get(lost.id)
      if (registered === undefined || registered.epoch <= brokerEpoch) return false
      if (lost !== node && !lost.isServing) return false
      this.#lost.delete(lost)
    }
    const indexes = new Map(
      this.#simulation.places.map(({ topic, partition, index }) => {
        return [image.topicsByName.get(topic)?.handles[partition], index]
      }),
    )
    for (const { handles } of image.topicsById.values()) {
      for (const handle of handles) {
        const { inSyncReplicas, eligibleReplicas } = image.partitions.state(handle)
        const sound = new Set([...inSyncReplicas, ...eligibleReplicas])
        sound.delete(this.flips.victimOf(indexes.get(handle) ?? -1))
        if (sound.size < 2) return false
      }
    }
    return true
  }

  #noteLoss(node: SimNode): void {
    const registered = this.#simulation.newestImage?.brokers.get(node.id)
    this.#lost.set(node, registered?.epoch ?? -1)
  }

  #healDisk(node: SimNode): void {
    node.disk.freeBytes = Number.POSITIVE_INFINITY
    node.disk.flushFailChance = 0
    node.disk.crashIn = Number.POSITIVE_INFINITY
  }

  #count(what: string, node: SimNode): void {
    journal(() => `${this.#simulation.world.nowMs.toFixed(1)} ${what} node ${node.id}`)
    this.#simulation.world.count(what)
  }
}
