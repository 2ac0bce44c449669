/**
 * What people do to a simulated cluster while it is in trouble: they move replicas, change voters,
 * put a new disk into a machine and give it back what it had. Everything through Kafka's protocol,
 * tried again until it is done.
 */
import type { Random } from '../../../src/base/random.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { ApiKey } from '../../../src/wire/kafka/api.ts'
import { journal } from '../journal.ts'
import type { SimCluster } from './sim-cluster.ts'
import { addressOf, CLUSTER_PORT, type SimNode } from './sim-node.ts'

const RETRY_MS = 200

export class ClusterOperator {
  readonly #simulation: SimCluster
  readonly #random: Random
  /** Nodes whose disk is new, until they have everything again. */
  readonly repairing = new Set<SimNode>()
  /** Changes of voters under way. */
  changing = 0

  constructor(simulation: SimCluster) {
    this.#simulation = simulation
    this.#random = simulation.random.split()
  }

  reassign(): void {
    const { plan, places, nodes } = this.#simulation
    const place = this.#random.pick(places)
    const topic = plan.topics.find(({ name }) => name === place.topic)
    const ids = nodes.map(({ id }) => id)
    const replicas: number[] = []
    while (replicas.length < (topic?.replicationFactor ?? 1)) {
      replicas.push(...ids.splice(this.#random.below(ids.length), 1))
    }
    this.#simulation.onClient(async () => {
      await this.#move(place.topic, place.partition, replicas)
    })
  }

  electPreferred(): void {
    const { admin, places } = this.#simulation
    const place = this.#random.pick(places)
    this.#simulation.onClient(async () => {
      await admin.ask(admin.anyNode(), ApiKey.ELECT_LEADERS, {
        electionType: 0,
        topicPartitions: [{ topic: place.topic, partitions: [place.partition] }],
      })
    })
  }

  /** One voter more, or less; at least two remain. */
  changeVoters(): void {
    const { nodes } = this.#simulation
    const leader = nodes.find((node) => node.isServing && node.member?.node.isController === true)
    const voters = leader?.member?.node.voters ?? []
    if (voters.length === 0 || this.repairing.size > 0) return
    const outside = nodes.filter(({ id }) => voters.every((voter) => voter.id !== id))
    const node = this.#random.pick(outside.length > 0 && voters.length < 5 ? outside : nodes)
    const voter = voters.find(({ id }) => id === node.id)
    this.changing++
    this.#simulation.onClient(async () => {
      if (voter === undefined) {
        if (node.directoryId !== null) await this.#addVoter(node, node.directoryId)
      } else if (voters.length > 2) await this.#removeVoter(voter.id, voter.directoryId)
      this.changing--
    })
  }

  /** One after the other is stopped in order and started again. */
  rollingRestart(): void {
    const { nodes, world } = this.#simulation
    let next = 0
    const step = (): void => {
      const node = nodes[next]
      if (node === undefined || this.#simulation.isHealing) return
      if (nodes.every(({ isServing }) => isServing)) {
        next++
        node.stop()
      }
      world.clock.after(500, step)
    }
    step()
  }

  /** The node has a new disk. */
  repair(node: SimNode, directoryBefore: string | null): void {
    this.repairing.add(node)
    // Else its broker makes them anew without anybody's help, and says so once they are in sync.
    const isByHand = this.#random.chance(0.5)
    const replace = isByHand ? this.#replaceReplica : this.#awaitReplica
    this.#simulation.onClient(async () => {
      if (directoryBefore !== null) await this.#replaceVoter(node, directoryBefore)
      for (const { topic, partition } of this.#simulation.places) {
        await replace.call(this, node, topic, partition)
      }
      const offsets = this.#simulation.newestImage?.topicsByName.get('__consumer_offsets')
      for (const partition of offsets?.handles.keys() ?? []) {
        await replace.call(this, node, '__consumer_offsets', partition)
      }
      this.repairing.delete(node)
      this.#simulation.world.count('states: a node with a new disk has everything again')
      journal(() => `${this.#simulation.world.nowMs.toFixed(1)} node ${node.id} is repaired`)
    })
  }

  async #replaceVoter(node: SimNode, directoryBefore: string): Promise<void> {
    const { admin } = this.#simulation
    for (;;) {
      const own = this.quorumVoters()?.filter(({ id }) => id === node.id)
      const { directoryId } = node
      if (own !== undefined && directoryId !== null) {
        const old = own.find((one) => one.directoryId === directoryBefore)
        if (old !== undefined) await this.#removeVoter(node.id, directoryBefore)
        else if (own.length > 0) return
        else await this.#addVoter(node, directoryId)
      }
      await admin.sleep(RETRY_MS)
    }
  }

  /** As the controller has them; null while there is none. */
  quorumVoters() {
    const { nodes } = this.#simulation
    const leader = nodes.find((node) => node.member?.node.isController === true)
    return leader?.member?.node.voters ?? null
  }

  /** A replica on a disk that is gone leaves, and comes back to the one that is there. */
  async #replaceReplica(node: SimNode, topic: string, partition: number): Promise<void> {
    const { admin } = this.#simulation
    for (;;) {
      const image = this.#simulation.newestImage
      const handle = image?.topicsByName.get(topic)?.handles[partition]
      const directory = node.directoryId
      if (image !== null && handle !== undefined && directory !== null) {
        const { partitions } = image
        const replicas = partitions.replicas(handle)
        const isMoving =
          partitions.addingReplicas(handle).length + partitions.removingReplicas(handle).length > 0
        const wasHere = this.#simulation.wantedReplicas(topic, partition)
        if (!replicas.includes(node.id) && replicas.length >= wasHere) return
        const isThere = partitions.directoryOn(handle, node.id) === directory
        if (isThere && !isMoving) return
        if (!isMoving) {
          const others = replicas.filter((id) => id !== node.id)
          const target = replicas.includes(node.id) ? others : [...others, node.id]
          await this.#move(topic, partition, target)
        }
      }
      await admin.sleep(RETRY_MS)
    }
  }

  /** The metadata says that it lies on the new disk, or that it is elsewhere by now. */
  async #awaitReplica(node: SimNode, topic: string, partition: number): Promise<void> {
    for (;;) {
      const { newestImage: image, admin } = this.#simulation
      const handle = image?.topicsByName.get(topic)?.handles[partition]
      if (image !== null && handle !== undefined) {
        const directory = image.partitions.directoryOn(handle, node.id)
        if (directory === null || directory === node.directoryId) return
      }
      await admin.sleep(RETRY_MS)
    }
  }

  async #move(topic: string, partition: number, replicas: readonly number[]): Promise<void> {
    const { admin } = this.#simulation
    const answer = await admin.ask(admin.anyNode(), ApiKey.ALTER_PARTITION_REASSIGNMENTS, {
      topics: [
        { name: topic, partitions: [{ partitionIndex: partition, replicas: [...replicas] }] },
      ],
    })
    const code = answer?.body.responses[0]?.partitions[0]?.errorCode
    if (code === ErrorCode.NONE) this.#simulation.world.count('reassignments')
  }

  async #addVoter(node: SimNode, voterDirectoryId: string): Promise<void> {
    const { admin } = this.#simulation
    const answer = await admin.ask(admin.anyNode(), ApiKey.ADD_RAFT_VOTER, {
      clusterId: null,
      timeoutMs: 5000,
      voterId: node.id,
      voterDirectoryId,
      listeners: [{ name: 'CLUSTER', host: addressOf(node.id), port: CLUSTER_PORT }],
    })
    const code = answer?.body.errorCode
    journal(() => `voter ${node.id} ${voterDirectoryId} is added: ${code}`)
    if (code === ErrorCode.NONE) this.#simulation.world.count('voters added')
  }

  async #removeVoter(voterId: number, voterDirectoryId: string): Promise<void> {
    const { admin } = this.#simulation
    const body = { clusterId: null, voterId, voterDirectoryId }
    const answer = await admin.ask(admin.anyNode(), ApiKey.REMOVE_RAFT_VOTER, body)
    const code = answer?.body.errorCode
    journal(() => `voter ${voterId} ${voterDirectoryId} is removed: ${code}`)
    if (code === ErrorCode.NONE) this.#simulation.world.count('voters removed')
  }
}
