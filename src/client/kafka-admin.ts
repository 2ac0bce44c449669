/**
 * Topics over Kafka's protocol: create, list, describe, delete. Speaks to any broker of the
 * protocol, not only to ours. A refusal by the broker is an AdminError with Kafka's code, name and
 * message.
 */
import { ZERO_UUID } from '../base/uuid.ts'
import { ErrorCode, errorInfo } from '../errors/error-code.ts'
import { ApiKey, type ResponseOf } from '../wire/kafka/api.ts'
import { type ConnectOptions, KafkaConnection } from './kafka-connection.ts'

const RESOURCE_TOPIC = 2
const SOURCE_TOPIC = 1
const LATEST = -1
const EARLIEST = -2

/** The broker refused. */
export class AdminError extends Error {
  readonly code: number
  /** Kafka's name of the code. */
  readonly codeName: string

  constructor(subject: string, code: number, message: string | null) {
    const info = errorInfo(code)
    super(`${subject}: ${message ?? info.message} (${info.name})`)
    this.name = 'AdminError'
    this.code = code
    this.codeName = info.name
  }
}

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
  /** Offsets are null where the partition's leader is not the broker that was asked. */
  readonly logStartOffset: number | null
  readonly highWatermark: number | null
}

export interface TopicDescription extends TopicSummary {
  readonly partitionList: readonly PartitionDescription[]
  /** What was set on the topic itself. */
  readonly configs: Readonly<Record<string, string | null>>
}

type TopicMetadata = ResponseOf<typeof ApiKey.METADATA>['topics'][number]

export class KafkaAdmin {
  readonly #connection: KafkaConnection
  readonly #timeoutMs: number

  private constructor(connection: KafkaConnection, timeoutMs: number) {
    this.#connection = connection
    this.#timeoutMs = timeoutMs
  }

  static async connect(options: ConnectOptions): Promise<KafkaAdmin> {
    return new KafkaAdmin(await KafkaConnection.open(options), options.timeoutMs)
  }

  close(): void {
    this.#connection.close()
  }

  /** Creates one topic. `validateOnly` creates none and still finds everything that is wrong. */
  async createTopic(topic: NewTopic, { validateOnly = false } = {}): Promise<TopicSummary> {
    const configs = [...topic.configs].map(([name, value]) => ({ name, value }))
    const answer = await this.#connection.request(ApiKey.CREATE_TOPICS, () => ({
      topics: [
        {
          name: topic.name,
          numPartitions: topic.partitions ?? -1,
          replicationFactor: topic.replicationFactor ?? -1,
          assignments: [],
          configs,
        },
      ],
      timeoutMs: this.#timeoutMs,
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
    const answer = await this.#connection.request(ApiKey.METADATA, () => ({
      topics: null,
      allowAutoTopicCreation: false,
    }))
    check('the list of topics', answer.errorCode)
    return answer.topics.map(summaryOf).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  async describeTopic(name: string): Promise<TopicDescription> {
    const answer = await this.#connection.request(ApiKey.METADATA, () => ({
      topics: [{ name, topicId: ZERO_UUID }],
      allowAutoTopicCreation: false,
    }))
    check('the metadata', answer.errorCode)
    const topic = answer.topics.find((one) => one.name === name)
    if (topic === undefined) throw missing(name)
    check(name, topic.errorCode)
    const partitions = topic.partitions.map((one) => one.partitionIndex)
    const starts = await this.#offsets(name, partitions, EARLIEST)
    const ends = await this.#offsets(name, partitions, LATEST)
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
    return { ...summaryOf(topic), partitionList, configs: await this.#ownConfigs(name) }
  }

  async deleteTopic(name: string): Promise<void> {
    const answer = await this.#connection.request(ApiKey.DELETE_TOPICS, (version) => ({
      ...(version >= 6 ? { topics: [{ name, topicId: ZERO_UUID }] } : { topicNames: [name] }),
      timeoutMs: this.#timeoutMs,
    }))
    const deleted = answer.responses.find((one) => one.name === name)
    if (deleted === undefined) throw missing(name)
    check(name, deleted.errorCode, deleted.errorMessage)
  }

  async #offsets(
    name: string,
    partitions: readonly number[],
    timestamp: number,
  ): Promise<Map<number, number>> {
    const answer = await this.#connection.request(ApiKey.LIST_OFFSETS, () => ({
      replicaId: -1,
      isolationLevel: 0,
      topics: [
        {
          name,
          partitions: partitions.map((partitionIndex) => ({ partitionIndex, timestamp })),
        },
      ],
      timeoutMs: this.#timeoutMs,
    }))
    const offsets = new Map<number, number>()
    for (const one of answer.topics.flatMap((topic) => topic.partitions)) {
      if (one.errorCode === ErrorCode.NONE) offsets.set(one.partitionIndex, one.offset)
    }
    return offsets
  }

  async #ownConfigs(name: string): Promise<Record<string, string | null>> {
    const answer = await this.#connection.request(ApiKey.DESCRIBE_CONFIGS, () => ({
      resources: [{ resourceType: RESOURCE_TOPIC, resourceName: name, configurationKeys: null }],
    }))
    const [result] = answer.results
    if (result === undefined) throw missing(name)
    check(name, result.errorCode, result.errorMessage)
    const own = result.configs.filter((entry) => entry.configSource === SOURCE_TOPIC)
    return Object.fromEntries(own.map((entry) => [entry.name, entry.value]))
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

function check(subject: string, code: number, message: string | null = null): void {
  if (code !== ErrorCode.NONE) throw new AdminError(subject, code, message)
}

function missing(name: string): AdminError {
  return new AdminError(name, ErrorCode.UNKNOWN_SERVER_ERROR, 'the answer does not speak of it')
}
