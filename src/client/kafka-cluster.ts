/**
 * A cluster over Kafka's protocol: who is in it, where partitions are, who votes; and what changes
 * that. Speaks to any broker of the protocol. A refusal is an AdminError.
 */
import { ErrorCode } from '../errors/error-code.ts'
import { ApiKey } from '../wire/kafka/api.ts'
import { AdminError, check, missing } from './admin-error.ts'
import type { KafkaConnection } from './kafka-connection.ts'

const METADATA_TOPIC = '__cluster_metadata'
const PREFERRED = 0

export interface ClusterBroker {
  readonly id: number
  readonly host: string
  readonly port: number
  readonly rack: string | null
  /** It is registered and not heard: others lead its partitions. */
  readonly isFenced: boolean
}

export interface PartitionName {
  readonly topic: string
  readonly partition: number
}

export interface ClusterPartition extends PartitionName {
  /** −1: none. */
  readonly leader: number
  /** The preferred leader first. */
  readonly replicas: readonly number[]
  readonly inSyncReplicas: readonly number[]
}

export interface ClusterView {
  readonly clusterId: string | null
  /** −1: none. */
  readonly controllerId: number
  /** By id. */
  readonly brokers: readonly ClusterBroker[]
  readonly topics: number
  /** By topic and number. */
  readonly partitions: readonly ClusterPartition[]
}

export interface Reassignment extends PartitionName {
  /** Old and new ones. */
  readonly replicas: readonly number[]
  readonly adding: readonly number[]
  readonly removing: readonly number[]
}

export interface Move extends PartitionName {
  /** The preferred leader first; null: as it was before a move under way. */
  readonly replicas: readonly number[] | null
}

/** Null: done. */
export interface Outcome extends PartitionName {
  readonly refusal: AdminError | null
}

export interface QuorumVoter {
  readonly id: number
  readonly directoryId: string
  /** −1: not known. */
  readonly logEndOffset: number
  /** For how long the leader has not heard it; null: not known. */
  readonly silentMs: number | null
}

export interface QuorumView {
  /** −1: nobody. */
  readonly leaderId: number
  readonly leaderEpoch: number
  readonly highWatermark: number
  readonly voters: readonly QuorumVoter[]
  readonly observers: readonly QuorumVoter[]
}

export class KafkaCluster {
  readonly #connection: KafkaConnection
  readonly #timeoutMs: number

  constructor(connection: KafkaConnection, timeoutMs: number) {
    this.#connection = connection
    this.#timeoutMs = timeoutMs
  }

  async describe(): Promise<ClusterView> {
    const cluster = await this.#connection.request(ApiKey.DESCRIBE_CLUSTER, (version) => ({
      includeClusterAuthorizedOperations: false,
      ...(version >= 2 ? { includeFencedBrokers: true } : {}),
    }))
    check('the cluster', cluster.errorCode, cluster.errorMessage)
    const metadata = await this.#connection.request(ApiKey.METADATA, () => ({
      topics: null,
      allowAutoTopicCreation: false,
    }))
    check('the metadata', metadata.errorCode)
    const brokers = cluster.brokers.map(({ brokerId: id, host, port, rack, isFenced }) => {
      return { id, host, port, rack, isFenced }
    })
    const topics = metadata.topics.filter(({ errorCode }) => errorCode === ErrorCode.NONE)
    const partitions = topics.flatMap(({ name, partitions }) =>
      partitions.map((one) => ({
        topic: name ?? '',
        partition: one.partitionIndex,
        leader: one.leaderId,
        replicas: one.replicaNodes,
        inSyncReplicas: one.isrNodes,
      })),
    )
    return {
      clusterId: cluster.clusterId,
      controllerId: cluster.controllerId,
      brokers: brokers.sort((a, b) => a.id - b.id),
      topics: topics.length,
      partitions: partitions.sort(byName),
    }
  }

  async quorum(): Promise<QuorumView> {
    const answer = await this.#connection.request(ApiKey.DESCRIBE_QUORUM, () => ({
      topics: [{ topicName: METADATA_TOPIC, partitions: [{ partitionIndex: 0 }] }],
    }))
    check('the quorum', answer.errorCode, answer.errorMessage)
    const partition = answer.topics[0]?.partitions[0]
    if (partition === undefined) throw missing('the quorum')
    check('the quorum', partition.errorCode, partition.errorMessage)
    // By the clock of whoever has answered: the leader is heard by itself all the time.
    const leader = partition.currentVoters.find((one) => one.replicaId === partition.leaderId)
    const nowMs = leader?.lastFetchTimestamp ?? -1
    const voterOf = (one: (typeof partition.currentVoters)[number]): QuorumVoter => {
      const { replicaId: id, replicaDirectoryId: directoryId, logEndOffset } = one
      const isHeard = nowMs >= 0 && one.lastFetchTimestamp >= 0
      const silentMs = isHeard ? Math.max(0, nowMs - one.lastFetchTimestamp) : null
      return { id, directoryId, logEndOffset, silentMs }
    }
    const { leaderId, leaderEpoch, highWatermark, currentVoters, observers } = partition
    return {
      leaderId,
      leaderEpoch,
      highWatermark,
      voters: currentVoters.map(voterOf).sort((a, b) => a.id - b.id),
      observers: observers.map(voterOf).sort((a, b) => a.id - b.id),
    }
  }

  /** What is under way, by topic and number. */
  async reassignments(): Promise<Reassignment[]> {
    const answer = await this.#connection.request(ApiKey.LIST_PARTITION_REASSIGNMENTS, () => ({
      timeoutMs: this.#timeoutMs,
      topics: null,
    }))
    check('the reassignments', answer.errorCode, answer.errorMessage)
    const list = answer.topics.flatMap(({ name: topic, partitions }) =>
      partitions.map((one) => ({
        topic,
        partition: one.partitionIndex,
        replicas: one.replicas,
        adding: one.addingReplicas,
        removing: one.removingReplicas,
      })),
    )
    return list.sort(byName)
  }

  /** Begins moves, or ends them. A move that is refused leaves the others alone. */
  async reassign(moves: readonly Move[]): Promise<Outcome[]> {
    if (moves.length === 0) return []
    const topics = gathered(moves).map(([name, ofTopic]) => ({
      name,
      partitions: ofTopic.map(({ partition, replicas }) => {
        return { partitionIndex: partition, replicas: replicas === null ? null : [...replicas] }
      }),
    }))
    const answer = await this.#connection.request(ApiKey.ALTER_PARTITION_REASSIGNMENTS, () => ({
      timeoutMs: this.#timeoutMs,
      topics,
    }))
    check('the reassignment', answer.errorCode, answer.errorMessage)
    return answer.responses.flatMap(({ name: topic, partitions }) =>
      partitions.map(({ partitionIndex: partition, errorCode, errorMessage }) => {
        return outcomeOf({ topic, partition }, errorCode, errorMessage)
      }),
    )
  }

  /** Lets the first replica of each lead. Those that have it already count as done. */
  async electPreferred(partitions: readonly PartitionName[]): Promise<Outcome[]> {
    if (partitions.length === 0) return []
    const topicPartitions = gathered(partitions).map(([topic, ofTopic]) => {
      return { topic, partitions: ofTopic.map(({ partition }) => partition) }
    })
    const answer = await this.#connection.request(ApiKey.ELECT_LEADERS, (version) => ({
      ...(version >= 1 ? { electionType: PREFERRED } : {}),
      topicPartitions,
      timeoutMs: this.#timeoutMs,
    }))
    check('the election', answer.errorCode)
    return answer.replicaElectionResults.flatMap(({ topic, partitionResult }) =>
      partitionResult.map(({ partitionId: partition, errorCode, errorMessage }) => {
        const isDone = errorCode === ErrorCode.ELECTION_NOT_NEEDED
        return outcomeOf({ topic, partition }, isDone ? ErrorCode.NONE : errorCode, errorMessage)
      }),
    )
  }

  async unregister(brokerId: number): Promise<void> {
    const answer = await this.#connection.request(ApiKey.UNREGISTER_BROKER, () => ({ brokerId }))
    check(`broker ${brokerId}`, answer.errorCode, answer.errorMessage)
  }

  /** The change is committed when this resolves. */
  async addVoter({ id, directoryId }: Omit<QuorumVoter, 'logEndOffset'>): Promise<void> {
    const answer = await this.#connection.request(ApiKey.ADD_RAFT_VOTER, () => ({
      clusterId: null,
      timeoutMs: this.#timeoutMs,
      voterId: id,
      voterDirectoryId: directoryId,
      listeners: [],
    }))
    check(`node ${id}`, answer.errorCode, answer.errorMessage)
  }

  async removeVoter({ id, directoryId }: Omit<QuorumVoter, 'logEndOffset'>): Promise<void> {
    const answer = await this.#connection.request(ApiKey.REMOVE_RAFT_VOTER, () => ({
      clusterId: null,
      voterId: id,
      voterDirectoryId: directoryId,
    }))
    check(`node ${id}`, answer.errorCode, answer.errorMessage)
  }
}

/** As people and maps name it. */
export function nameOf({ topic, partition }: PartitionName): string {
  return `${topic}-${partition}`
}

function byName(a: PartitionName, b: PartitionName): number {
  return a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1
}

function gathered<T extends PartitionName>(items: readonly T[]): [string, T[]][] {
  const topics = new Map<string, T[]>()
  for (const item of items) {
    const list = topics.get(item.topic) ?? []
    topics.set(item.topic, list)
    list.push(item)
  }
  return [...topics]
}

function outcomeOf(name: PartitionName, code: number, message: string | null): Outcome {
  const { topic, partition } = name
  const refusal = code === ErrorCode.NONE ? null : new AdminError(nameOf(name), code, message)
  return { topic, partition, refusal }
}
