import type { Uuid } from '../base/uuid.ts'
import { randomUuid, uuidToHex } from '../base/uuid.ts'
import { type AlterRefusal, type ConfigChanges, isRefusal } from '../config/alter.ts'
import type { BrokerConfig } from '../config/broker-config.ts'
import { resolveTopicConfig } from '../config/topic-config.ts'
import { validateTopicConfigs } from '../config/topic-options.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { MetadataImage, Topic } from '../metadata/image.ts'
import type { MetadataRecord } from '../metadata/records.ts'
import type { Logger, Loggers } from '../metrics/logger.ts'
import type { OpenPartition } from '../shard/control.ts'
import type { ShardHub } from '../shard/shard-hub.ts'
import type { ShardProxy } from '../shard/shard-proxy.ts'
import type { LogHint } from '../storage/log-types.ts'
import type { DirectoryStates } from './directory-states.ts'
import { logOptions } from './log-options.ts'
import type { Decision, MetadataStore } from './metadata-store.ts'
import type { PartitionPlacement } from './partition-placement.ts'
import { collisionKey, isInternalTopic, topicNameError } from './topic-name.ts'

/**
 * Creates, grows, configures and deletes topics: decides, makes the records durable, then tells the
 * shards. The doors' handlers call it; it knows no protocol. Results carry an error code and a
 * message.
 */
export interface TopicRequest {
  readonly name: string
  /** −1: the broker's `num.partitions`. */
  readonly partitions: number
  /** −1: the broker's default. */
  readonly replicationFactor: number
  readonly configs: ReadonlyMap<string, string | null>
  /** The broker makes it for itself: nobody else may use such a name. */
  readonly isInternal?: boolean
}

export interface TopicOutcome {
  readonly errorCode: ErrorCode
  readonly errorMessage: string | null
  readonly topic: Topic | null
}

/** Partitions that one request may create; more is a mistake or an attack. */
export const PARTITIONS_PER_TOPIC_MAX = 100_000

/** A partition that has just been created: nothing of it is on disk, nothing needs a scan. */
const EMPTY_LOG: LogHint = {
  clean: true,
  recoveryPoint: 0,
  logStartOffset: 0,
  logEndOffset: 0,
  truncations: 0,
  bytes: 0,
}
/** Of paths in one control message: well below what a lane's record holds. */
const OPEN_PATH_BYTES = 64 * 1024

/** What the service works on. */
export interface TopicServiceParts {
  readonly config: BrokerConfig
  readonly store: MetadataStore
  readonly placement: PartitionPlacement
  readonly hub: ShardHub
  readonly directoryStates: DirectoryStates
  /** The log directory that holds the metadata log. */
  readonly metadataPath: string
  readonly loggers: Loggers
}

export class TopicService {
  readonly #parts: TopicServiceParts
  /** Creations under way, so that a hundred clients asking at once create one topic. */
  readonly #autoCreating = new Map<string, Promise<TopicOutcome>>()
  readonly #deletedCallbacks: ((topic: Topic) => void)[] = []

  constructor(parts: TopicServiceParts) {
    this.#parts = parts
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
    const { partitions, replicationFactor } = request
    if (partitions !== -1 && (partitions < 1 || partitions > PARTITIONS_PER_TOPIC_MAX)) {
      return refused(
        ErrorCode.INVALID_PARTITIONS,
        `A topic has 1 to ${PARTITIONS_PER_TOPIC_MAX} partitions, not ${partitions}`,
      )
    }
    const replicas =
      replicationFactor === -1
        ? this.#parts.config.get('default.replication.factor')
        : replicationFactor
    if (replicas !== 1) {
      return refused(
        ErrorCode.INVALID_REPLICATION_FACTOR,
        `Replication factor ${replicas} needs as many brokers; there is 1`,
      )
    }
    const configError = validateTopicConfigs(request.configs)
    return configError === null ? null : refused(ErrorCode.INVALID_CONFIG, configError)
  }

  async create(request: TopicRequest, validateOnly = false): Promise<TopicOutcome> {
    const invalid = this.validate(request)
    if (invalid !== null) return invalid
    const id = randomUuid()
    let topic: Topic | null = null
    let opened: Promise<void> | null = null
    const outcome = await this.#change(() => {
      const taken = this.#nameTaken(request.name)
      if (taken !== null) return { records: [], result: taken }
      if (validateOnly) return { records: [], result: OK }
      const onApplied = (): void => {
        topic = this.#image.topicsById.get(id) ?? null
        if (topic !== null) opened = this.#open(topic, 0)
      }
      return { records: this.#creationRecords(id, request), result: OK, onApplied }
    })
    await opened
    return outcome.errorCode === ErrorCode.NONE ? { ...OK, topic } : outcome
  }

  /** `callback` runs with each topic that has been deleted. */
  onDeleted(callback: (topic: Topic) => void): void {
    this.#deletedCallbacks.push(callback)
  }

  /** Creates a topic because somebody needs it; concurrent calls share one creation. */
  autoCreate(
    name: string,
    options: Omit<TopicRequest, 'name' | 'replicationFactor'> = DEFAULTS,
  ): Promise<TopicOutcome> {
    const known = this.#autoCreating.get(name)
    if (known !== undefined) return known
    const request = { ...options, name, replicationFactor: -1 }
    const creation = this.create(request).finally(() => this.#autoCreating.delete(name))
    this.#autoCreating.set(name, creation)
    return creation
  }

  /** Grows a topic to `total` partitions. */
  async addPartitions(name: string, total: number, validateOnly: boolean): Promise<TopicOutcome> {
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
      if (total <= first || total > PARTITIONS_PER_TOPIC_MAX) {
        const message =
          `Topic "${name}" has ${first} partitions and can only grow, ` +
          `to at most ${PARTITIONS_PER_TOPIC_MAX}; ${total} was asked for`
        return { records: [], result: refused(ErrorCode.INVALID_PARTITIONS, message) }
      }
      if (validateOnly) return { records: [], result: OK }
      const record = this.#partitionsRecord(topic.id, first, total - first)
      const onApplied = (): void => {
        opened = this.#open(topic, first)
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
    const remove = (): Promise<TopicOutcome> =>
      this.#change(() => {
        if (this.#image.topicsById.get(topic.id) === undefined) {
          const result = refused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 'Deleted already')
          return { records: [], result }
        }
        return { records: [{ type: 'remove-topic', topicId: topic.id }], result: OK }
      })
    let outcome = await remove()
    if (outcome.errorCode === ErrorCode.KAFKA_STORAGE_ERROR) {
      // A full disk must not keep anybody from making room.
      outcome = await this.#parts.directoryStates.withReserve(this.#parts.metadataPath, remove)
    }
    if (outcome.errorCode !== ErrorCode.NONE) return outcome
    this.#logger.debug({ topic: topic.name }, 'deleted a topic')
    for (const callback of this.#deletedCallbacks) callback(topic)
    await Promise.all(
      topic.handles.map((handle) => this.#shardOf(handle).control({ kind: 'delete', handle })),
    )
    return outcome
  }

  get #logger(): Logger {
    return this.#parts.loggers('metadata')
  }

  get #image(): MetadataImage {
    return this.#parts.store.image
  }

  #shardOf(handle: number): ShardProxy {
    return this.#parts.hub.host.proxies[this.#parts.placement.shardOf(handle)] as ShardProxy
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

  #nameTaken(name: string): TopicOutcome | null {
    if (this.#image.topicsByName.get(name) !== undefined) {
      return refused(ErrorCode.TOPIC_ALREADY_EXISTS, `Topic "${name}" exists already`)
    }
    if (!name.includes('.') && !name.includes('_')) return null
    const key = collisionKey(name)
    for (const other of this.#image.topicsByName.keys()) {
      if (collisionKey(other) !== key) continue
      const message = `Topic "${name}" collides with "${other}": "." and "_" count as equal`
      return refused(ErrorCode.INVALID_TOPIC_EXCEPTION, message)
    }
    return null
  }

  #creationRecords(id: Uuid, request: TopicRequest): MetadataRecord[] {
    const partitions =
      request.partitions === -1 ? this.#parts.config.get('num.partitions') : request.partitions
    const records: MetadataRecord[] = [{ type: 'topic', topicId: id, name: request.name }]
    for (const [name, value] of request.configs) {
      if (value !== null) records.push({ type: 'config', topicId: id, name, value })
    }
    records.push(this.#partitionsRecord(id, 0, partitions))
    return records
  }

  #partitionsRecord(topicId: Uuid, firstPartition: number, count: number): MetadataRecord {
    const directories = Array.from({ length: count }, () => this.#parts.placement.chooseDirectory())
    return { type: 'partitions', topicId, firstPartition, directories }
  }

  /** Tells the shards what holds for a topic; one that is deleted meanwhile needs it no more. */
  configure(topic: Topic): Promise<unknown> {
    const { config } = this.#parts
    const options = logOptions(resolveTopicConfig(topic.configs, config), config)
    const told = topic.handles.map((handle) =>
      this.#shardOf(handle).control({ kind: 'configure', handle, options }),
    )
    return Promise.all(told)
  }

  /** Makes new partitions known to their shards. */
  async #open(topic: Topic, first: number): Promise<void> {
    const partitions = topic.handles.length - first
    this.#logger.debug({ topic: topic.name, partitions }, 'created partitions')
    const byShard = new Map<number, OpenPartition[]>()
    for (const handle of topic.handles.slice(first)) {
      const shard = this.#parts.placement.assign(handle, 0)
      const open = openPartition(this.#parts, topic, { handle, hint: EMPTY_LOG })
      const list = byShard.get(shard)
      if (list === undefined) byShard.set(shard, [open])
      else list.push(open)
    }
    const options = logOptions(
      resolveTopicConfig(topic.configs, this.#parts.config),
      this.#parts.config,
    )
    const opened: Promise<unknown>[] = []
    for (const [shard, list] of byShard) {
      const proxy = this.#parts.hub.host.proxies[shard]!
      for (const batch of openBatches(list)) {
        opened.push(proxy.control({ kind: 'open', recover: false, options, partitions: batch }))
      }
    }
    await Promise.all(opened)
  }
}

/** Cuts a list of partitions into pieces that fit a control message each. */
export function* openBatches(partitions: readonly OpenPartition[]): Generator<OpenPartition[]> {
  let batch: OpenPartition[] = []
  let bytes = 0
  for (const partition of partitions) {
    batch.push(partition)
    bytes += Buffer.byteLength(partition.directory) + Buffer.byteLength(partition.logDirectory)
    if (bytes < OPEN_PATH_BYTES) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}

/** What a shard must know of a partition. */
export function openPartition(
  parts: Pick<TopicServiceParts, 'store' | 'placement'>,
  topic: Topic,
  at: { handle: number; hint: LogHint | null },
): OpenPartition {
  const { partitions } = parts.store.image
  const partition = partitions.partitionNumber(at.handle)
  const logDirectory = parts.placement.pathOf(partitions.directory(at.handle))
  return {
    handle: at.handle,
    topicId: topic.id,
    partition,
    logDirectory,
    directory: `${logDirectory}/${uuidToHex(topic.id)}-${partition}`,
    hint: at.hint,
    leaderEpoch: partitions.leaderEpoch(at.handle),
  }
}

const DEFAULTS = { partitions: -1, configs: new Map<string, string | null>() }

const OK: TopicOutcome = { errorCode: ErrorCode.NONE, errorMessage: null, topic: null }

function refused(errorCode: ErrorCode, errorMessage: string): TopicOutcome {
  return { errorCode, errorMessage, topic: null }
}
