import type { Uuid } from '../base/uuid.ts'
import { type AlterRefusal, type ConfigChanges, isRefusal } from '../config/alter.ts'
import type { BrokerConfig } from '../config/broker-config.ts'
import { validateTopicConfigs } from '../config/topic-options.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { MetadataImage, Topic } from '../metadata/image.ts'
import type { MetadataRecord } from '../metadata/records.ts'
import type { Logger, Loggers } from '../metrics/logger.ts'
import type { DirectoryStates } from './directory-states.ts'
import type { PartitionOpener } from './local-partitions.ts'
import type { Decision, MetadataStore } from './metadata-store.ts'
import {
  assignmentProblem,
  type ReplicaPlacer,
  registeredBrokersCount,
  replicationFactorOf,
} from './replica-placer.ts'
import { TopicCreations } from './topic-creations.ts'
import { isInternalTopic, topicNameError } from './topic-name.ts'
import { OK, refused, type TopicOutcome, type TopicRequest } from './topic-request.ts'

/**
 * Creates, grows, configures and deletes topics: decides, makes the records durable, then lets the
 * shards be told. The doors' handlers call it; it knows no protocol. Results carry an error code
 * and a message.
 */
export type { TopicOutcome, TopicRequest }

/** Partitions that one request may create; more is a mistake or an attack. */
export const PARTITIONS_PER_TOPIC_MAX = 100_000

/** What the service works on. */
export interface TopicServiceParts {
  readonly config: BrokerConfig
  readonly store: MetadataStore
  readonly placer: ReplicaPlacer
  readonly opener: PartitionOpener
  readonly directoryStates: DirectoryStates
  /** The log directory that holds the metadata log. */
  readonly metadataPath: string
  readonly loggers: Loggers
}

export class TopicService {
  readonly #parts: TopicServiceParts
  readonly #creations: TopicCreations
  /** Creations under way, so that a hundred clients asking at once create one topic. */
  readonly #autoCreating = new Map<string, Promise<TopicOutcome>>()
  readonly #deletedCallbacks: ((topic: Topic) => void)[] = []

  constructor(parts: TopicServiceParts) {
    this.#parts = parts
    this.#creations = new TopicCreations({
      image: () => this.#image,
      change: (decide) => this.#change(decide),
      recordsOf: (id, request) => this.#creationRecords(id, request),
      partitionsOf: (request) => this.#partitionsOf(request),
      onMade: (topic) => this.#opened(topic, 0),
    })
  }

  /** Checks everything about a request except whether the name is free. */
  validate(request: TopicRequest): TopicOutcome | null {
    const nameError = topicNameError(request.name)
    if (nameError !== null) return refused(ErrorCode.INVALID_TOPIC_EXCEPTION, nameError)
    if (isInternalTopic(request.name) && request.isInternal !== true) {
      // Made by whoever names it first, it would take anybody's records.
      const message = `"${request.name}" is the broker's own: it is made with the first group`
      return refused(ErrorCode.INVALID_TOPIC_EXCEPTION, message)
    }
    const partitions = request.assigned?.length ?? request.partitions
    if (partitions !== -1 && (partitions < 1 || partitions > PARTITIONS_PER_TOPIC_MAX)) {
      return refused(
        ErrorCode.INVALID_PARTITIONS,
        `A topic has 1 to ${PARTITIONS_PER_TOPIC_MAX} partitions, not ${partitions}`,
      )
    }
    const unplaceable = this.#replicasError(request)
    if (unplaceable !== null) return unplaceable
    const configError = validateTopicConfigs(request.configs)
    return configError === null ? null : refused(ErrorCode.INVALID_CONFIG, configError)
  }

  /** Those that are asked for at the same time become one change. */
  async create(request: TopicRequest, validateOnly = false): Promise<TopicOutcome> {
    const invalid = this.validate(request)
    if (invalid !== null) return invalid
    if (validateOnly) return this.#creations.nameTaken(request.name) ?? OK
    return this.#creations.create(request)
  }

  /** `callback` runs with each topic that has been deleted. */
  onDeleted(callback: (topic: Topic) => void): void {
    this.#deletedCallbacks.push(callback)
  }

  /** Creates a topic because somebody needs it; concurrent calls share one creation. */
  autoCreate(name: string, options: Omit<TopicRequest, 'name'> = DEFAULTS): Promise<TopicOutcome> {
    const known = this.#autoCreating.get(name)
    if (known !== undefined) return known
    const creation = this.create({ ...options, name }).finally(() =>
      this.#autoCreating.delete(name),
    )
    this.#autoCreating.set(name, creation)
    return creation
  }

  /** Grows a topic. */
  async addPartitions(
    name: string,
    { total, assigned = null }: Growth,
    validateOnly: boolean,
  ): Promise<TopicOutcome> {
    let decidedAt = -1
    let opened: Promise<void> | null = null
    const outcome = await this.#change(() => {
      const topic = this.#image.topicsByName.get(name)
      if (topic === undefined) {
        const message = `There is no topic "${name}"`
        return { records: [], result: refused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message) }
      }
      if (isInternalTopic(name)) {
        const message = `"${name}" keeps its number of partitions: groups are found by it`
        return { records: [], result: refused(ErrorCode.INVALID_TOPIC_EXCEPTION, message) }
      }
      const first = topic.handles.length
      // What was decided before has been committed; only the answer was lost.
      if (decidedAt >= 0 && first === total) return { records: [], result: { ...OK, topic } }
      if (total <= first || total > PARTITIONS_PER_TOPIC_MAX) {
        const message =
          `Topic "${name}" has ${first} partitions and can only grow, ` +
          `to at most ${PARTITIONS_PER_TOPIC_MAX}; ${total} was asked for`
        return { records: [], result: refused(ErrorCode.INVALID_PARTITIONS, message) }
      }
      const count = total - first
      const factor = replicationFactorOf(this.#image, topic)
      const unplaceable = this.#growthError({ count, factor }, assigned)
      if (unplaceable !== null) return { records: [], result: unplaceable }
      if (validateOnly) return { records: [], result: OK }
      const record = this.#parts.placer.place(this.#image, {
        topicId: topic.id,
        firstPartition: first,
        count,
        replicationFactor: factor,
        assigned,
      })
      decidedAt = first
      const onApplied = (): void => {
        opened = this.#opened(topic, first)
      }
      return { records: [record], result: { ...OK, topic }, onApplied }
    })
    await opened
    return outcome
  }

  /**
   * Sets options of a topic; null takes one back to what the broker says. `changes` may depend on
   * what the topic has at that moment. Logs that are open follow before it resolves.
   */
  async alterConfigs(
    name: string,
    changes: ConfigChanges | ((topic: Topic) => ConfigChanges | AlterRefusal),
    validateOnly: boolean,
  ): Promise<TopicOutcome> {
    let told: Promise<unknown> | null = null
    const outcome = await this.#change(() => {
      const topic = this.#image.topicsByName.get(name)
      if (topic === undefined) {
        const message = `There is no topic "${name}"`
        return { records: [], result: refused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message) }
      }
      const plan = typeof changes === 'function' ? changes(topic) : changes
      if (isRefusal(plan)) {
        return { records: [], result: refused(plan.errorCode, plan.errorMessage) }
      }
      const invalid = validateTopicConfigs(new Map([...topic.configs, ...plan]))
      if (invalid !== null)
        return { records: [], result: refused(ErrorCode.INVALID_CONFIG, invalid) }
      if (validateOnly) return { records: [], result: OK }
      const records = [...plan]
        .filter(([option, value]) => (topic.configs.get(option) ?? null) !== value)
        .map(([option, value]): MetadataRecord => {
          return { type: 'config', topicId: topic.id, name: option, value }
        })
      const onApplied = (): void => {
        if (records.length > 0) told = this.configure(topic)
      }
      return { records, result: { ...OK, topic }, onApplied }
    })
    await told
    return outcome
  }

  async delete(topic: Topic): Promise<TopicOutcome> {
    let isDecided = false
    const remove = (): Promise<TopicOutcome> =>
      this.#change(() => {
        if (this.#image.topicsById.get(topic.id) === undefined) {
          if (isDecided) return { records: [], result: OK }
          const result = refused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 'Deleted already')
          return { records: [], result }
        }
        isDecided = true
        return { records: [{ type: 'remove-topic', topicId: topic.id }], result: OK }
      })
    let outcome = await remove()
    if (outcome.errorCode === ErrorCode.KAFKA_STORAGE_ERROR) {
      // A full disk must not keep anybody from making room.
      outcome = await this.#parts.directoryStates.withReserve(this.#parts.metadataPath, remove)
    }
    if (outcome.errorCode !== ErrorCode.NONE) return outcome
    this.#logger.debug({ topic: topic.name }, 'deleted a topic')
    this.removed(topic)
    await this.#parts.opener.deleted(topic)
    return outcome
  }

  /** A topic is in the image no more, whoever has deleted it; may be said again. */
  removed(topic: Topic): void {
    for (const callback of this.#deletedCallbacks) callback(topic)
  }

  get #logger(): Logger {
    return this.#parts.loggers('metadata')
  }

  get #image(): MetadataImage {
    return this.#parts.store.image
  }

  async #change(decide: () => Decision<TopicOutcome>): Promise<TopicOutcome> {
    try {
      return await this.#parts.store.change(decide)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      const isStorage = error.code === ErrorCode.KAFKA_STORAGE_ERROR
      const { directoryStates, metadataPath } = this.#parts
      const problem = isStorage ? directoryStates.explain(metadataPath) : null
      return refused(error.code, problem === null ? error.message : `${error.message}. ${problem}`)
    }
  }

  /** Null when there are brokers for it. */
  #replicasError({ assigned, replicationFactor }: TopicRequest): TopicOutcome | null {
    if (assigned !== undefined) {
      const problem = assignmentProblem(this.#image, assigned, null)
      return problem === null ? null : refused(ErrorCode.INVALID_REPLICA_ASSIGNMENT, problem)
    }
    return this.#factorError(this.#factorOf(replicationFactor))
  }

  #growthError(
    { count, factor }: { readonly count: number; readonly factor: number },
    assigned: Growth['assigned'],
  ): TopicOutcome | null {
    if (assigned == null) return this.#factorError(factor)
    const problem =
      assigned.length === count
        ? assignmentProblem(this.#image, assigned, factor)
        : `${count} partitions are new, and ${assigned.length} were assigned to brokers`
    return problem === null ? null : refused(ErrorCode.INVALID_REPLICA_ASSIGNMENT, problem)
  }

  #factorError(factor: number): TopicOutcome | null {
    const brokers = registeredBrokersCount(this.#image)
    if (factor >= 1 && factor <= brokers) return null
    const are = brokers === 1 ? 'there is 1' : `there are ${brokers}`
    const message = `Replication factor ${factor} needs as many brokers; ${are}`
    return refused(ErrorCode.INVALID_REPLICATION_FACTOR, message)
  }

  #factorOf(asked: number): number {
    return asked === -1 ? this.#parts.config.get('default.replication.factor') : asked
  }

  #creationRecords(id: Uuid, request: TopicRequest): MetadataRecord[] {
    const { assigned = null } = request
    const records: MetadataRecord[] = [{ type: 'topic', topicId: id, name: request.name }]
    for (const [name, value] of request.configs) {
      if (value !== null) records.push({ type: 'config', topicId: id, name, value })
    }
    const placed = this.#parts.placer.place(this.#image, {
      topicId: id,
      firstPartition: 0,
      count: this.#partitionsOf(request),
      replicationFactor: assigned?.[0]?.length ?? this.#factorOf(request.replicationFactor),
      assigned,
    })
    return [...records, placed]
  }

  #partitionsOf({ partitions, assigned }: TopicRequest): number {
    const asked = partitions === -1 ? this.#parts.config.get('num.partitions') : partitions
    return assigned?.length ?? asked
  }

  /** Lets shards know what holds for a topic; one that is deleted meanwhile needs it no more. */
  configure(topic: Topic): Promise<void> {
    return this.#parts.opener.configured(topic)
  }

  #opened(topic: Topic, first: number): Promise<void> {
    const partitions = topic.handles.length - first
    this.#logger.debug({ topic: topic.name, partitions }, 'created partitions')
    return this.#parts.opener.opened(topic, first)
  }
}

/** What a topic is to have. */
export interface Growth {
  readonly total: number
  /** Broker ids of each new partition; null: they are chosen. */
  readonly assigned?: readonly (readonly number[])[] | null
}

const DEFAULTS = {
  partitions: -1,
  replicationFactor: -1,
  configs: new Map<string, string | null>(),
}
