/**
 * Topics over Kafka's protocol: create, list, describe, grow, trim, delete. Speaks to any broker
 * of the protocol, not only to ours. A refusal is an AdminError with Kafka's code, name, message.
 */
import { ZERO_UUID } from '../base/uuid.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { ApiKey, type ResponseOf } from '../wire/kafka/api.ts'
import { check, missing } from './admin-error.ts'
import { KafkaBrokers } from './kafka-brokers.ts'
import { type ConnectOptions, KafkaConnection } from './kafka-connection.ts'

const RESOURCE_TOPIC = 2
const SOURCE_TOPIC = 1
export const LATEST = -1
export const EARLIEST = -2

export { AdminError } from './admin-error.ts'

export interface NewTopic {
  readonly name: string
  /** Null: the broker's num.partitions. */
  readonly partitions: number | null
  /** Null: the broker's default.replication.factor. */
  readonly replicationFactor: number | null
  readonly configs: ReadonlyMap<string, string>
}

export interface TopicSummary {
  readonly name: string
  readonly topicId: string | null
  readonly internal: boolean
  readonly partitions: number
  readonly replicationFactor: number
}

export interface PartitionDescription {
  readonly partition: number
  /** −1: none. */
  readonly leader: number
  readonly leaderEpoch: number
  readonly replicas: readonly number[]
  readonly inSyncReplicas: readonly number[]
  /** Offsets are null where nobody leads the partition. */
  readonly logStartOffset: number | null
  readonly highWatermark: number | null
}

export interface TopicDescription extends TopicSummary {
  readonly partitionList: readonly PartitionDescription[]
  /** What was set on the topic itself. */
  readonly configs: Readonly<Record<string, string | null>>
  /** What `acks=all` needs; 1 where the broker does not say. */
  readonly minInSyncReplicas: number
}

type TopicMetadata = ResponseOf<typeof ApiKey.METADATA>['topics'][number]

export class KafkaAdmin {
  readonly options: ConnectOptions
  readonly connection: KafkaConnection
  readonly brokers: KafkaBrokers

  private constructor(options: ConnectOptions, connection: KafkaConnection) {
    this.options = options
    this.connection = connection
    this.brokers = new KafkaBrokers(options, connection)
  }

  static async connect(options: ConnectOptions): Promise<KafkaAdmin> {
    return new KafkaAdmin(options, await KafkaConnection.open(options))
  }

  close(): void {
    this.brokers.close()
  }

  /** Creates one topic. `validateOnly` creates none and still finds everything that is wrong. */
  async createTopic(topic: NewTopic, { validateOnly = false } = {}): Promise<TopicSummary> {
    const configs = [...topic.configs].map(([name, value]) => ({ name, value }))
    const answer = await this.connection.request(ApiKey.CREATE_TOPICS, () => ({
      topics: [
        {
          name: topic.name,
          numPartitions: topic.partitions ?? -1,
          replicationFactor: topic.replicationFactor ?? -1,
          assignments: [],
          configs,
        },
      ],
      timeoutMs: this.options.timeoutMs,
      validateOnly,
    }))
    const created = answer.topics.find((one) => one.name === topic.name)
    if (created === undefined) throw missing(topic.name)
    check(topic.name, created.errorCode, created.errorMessage)
    return {
      name: created.name,
      topicId: idOrNull(created.topicId),
      internal: false,
      partitions: created.numPartitions,
      replicationFactor: created.replicationFactor,
    }
  }

  /** Every topic, by name. */
  async listTopics(): Promise<TopicSummary[]> {
    const answer = await this.connection.request(ApiKey.METADATA, () => ({
      topics: null,
      allowAutoTopicCreation: false,
    }))
    check('the list of topics', answer.errorCode)
    return answer.topics.map(summaryOf).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  async describeTopic(name: string): Promise<TopicDescription> {
    const answer = await this.connection.request(ApiKey.METADATA, () => ({
      topics: [{ name, topicId: ZERO_UUID }],
      allowAutoTopicCreation: false,
    }))
    check('the metadata', answer.errorCode)
    const topic = answer.topics.find((one) => one.name === name)
    if (topic === undefined) throw missing(name)
    check(name, topic.errorCode)
    const partitions = topic.partitions.map((one) => one.partitionIndex)
    const starts = await this.offsets(name, partitions, EARLIEST)
    const ends = await this.offsets(name, partitions, LATEST)
    const partitionList = topic.partitions.map((one) => ({
      partition: one.partitionIndex,
      leader: one.leaderId,
      leaderEpoch: one.leaderEpoch,
      replicas: one.replicaNodes,
      inSyncReplicas: one.isrNodes,
      logStartOffset: starts.get(one.partitionIndex) ?? null,
      highWatermark: ends.get(one.partitionIndex) ?? null,
    }))
    partitionList.sort((a, b) => a.partition - b.partition)
    return { ...summaryOf(topic), partitionList, ...(await this.#configs(name)) }
  }

  async deleteTopic(name: string): Promise<void> {
    const answer = await this.connection.request(ApiKey.DELETE_TOPICS, (version) => ({
      ...(version >= 6 ? { topics: [{ name, topicId: ZERO_UUID }] } : { topicNames: [name] }),
      timeoutMs: this.options.timeoutMs,
    }))
    const deleted = answer.responses.find((one) => one.name === name)
    if (deleted === undefined) throw missing(name)
    check(name, deleted.errorCode, deleted.errorMessage)
  }

  /** Raises the number of partitions to `total`. */
  async addPartitions(name: string, total: number, { validateOnly = false } = {}): Promise<void> {
    const answer = await this.connection.request(ApiKey.CREATE_PARTITIONS, () => ({
      topics: [{ name, count: total, assignments: null }],
      timeoutMs: this.options.timeoutMs,
      validateOnly,
    }))
    const result = answer.results.find((one) => one.name === name)
    if (result === undefined) throw missing(name)
    check(name, result.errorCode, result.errorMessage)
  }

  /**
   * Deletes what lies before an offset of each partition (exclusive; −1: before the end). Returns
   * the first offset that is left, by partition.
   */
  async deleteRecords(
    name: string,
    before: ReadonlyMap<number, number>,
  ): Promise<Map<number, number>> {
    const { timeoutMs } = this.options
    const answers = await this.brokers.atLeaders(name, [...before.keys()], (connection, mine) => {
      const partitions = mine.map((partitionIndex) => {
        return { partitionIndex, offset: before.get(partitionIndex) as number }
      })
      const topics = [{ name, partitions }]
      return connection.request(ApiKey.DELETE_RECORDS, () => ({ topics, timeoutMs }))
    })
    const starts = new Map<number, number>()
    for (const one of answers.flatMap(({ topics }) => topics.flatMap((t) => t.partitions))) {
      check(`${name}-${one.partitionIndex}`, one.errorCode)
      starts.set(one.partitionIndex, one.lowWatermark)
    }
    return starts
  }

  /**
   * The first offset at or after a time, or at EARLIEST or LATEST, by partition: −1 where there is
   * none, nothing where nobody leads the partition.
   */
  async offsets(
    name: string,
    partitions: readonly number[],
    timestamp: number,
  ): Promise<Map<number, number>> {
    const { timeoutMs } = this.options
    const answers = await this.brokers.atLeaders(name, partitions, (connection, mine) => {
      const wanted = mine.map((partitionIndex) => ({ partitionIndex, timestamp }))
      const topics = [{ name, partitions: wanted }]
      const body = { replicaId: -1, isolationLevel: 0, topics, timeoutMs }
      return connection.request(ApiKey.LIST_OFFSETS, () => body)
    })
    const offsets = new Map<number, number>()
    for (const one of answers.flatMap(({ topics }) => topics.flatMap((t) => t.partitions))) {
      if (one.errorCode === ErrorCode.NONE) offsets.set(one.partitionIndex, one.offset)
    }
    return offsets
  }

  async #configs(name: string): Promise<Pick<TopicDescription, 'configs' | 'minInSyncReplicas'>> {
    const answer = await this.connection.request(ApiKey.DESCRIBE_CONFIGS, () => ({
      resources: [{ resourceType: RESOURCE_TOPIC, resourceName: name, configurationKeys: null }],
    }))
    const [result] = answer.results
    if (result === undefined) throw missing(name)
    check(name, result.errorCode, result.errorMessage)
    const own = result.configs.filter((entry) => entry.configSource === SOURCE_TOPIC)
    const min = result.configs.find((entry) => entry.name === 'min.insync.replicas')
    return {
      configs: Object.fromEntries(own.map((entry) => [entry.name, entry.value])),
      minInSyncReplicas: Number(min?.value ?? 1),
    }
  }
}

function summaryOf(topic: TopicMetadata): TopicSummary {
  return {
    name: topic.name ?? '',
    topicId: idOrNull(topic.topicId),
    internal: topic.isInternal,
    partitions: topic.partitions.length,
    replicationFactor: topic.partitions[0]?.replicaNodes.length ?? 0,
  }
}

function idOrNull(topicId: string): string | null {
  return topicId === ZERO_UUID ? null : topicId
}
