/**
 * Topics, offsets and the cluster: one request and its answer each. What only asks is asked again
 * when the connection is lost; what changes something rejects with ConnectionError then, since it
 * may have happened.
 */
import { PARTITIONS_PER_REQUEST_MAX } from '../wire/websocket/messages.ts'
import type { StartOffset } from './consumer-options.ts'
import { checkStart } from './consumer-options.ts'
import { errorOfCode, ServerError } from './errors.ts'
import { isMisplaced } from './leaders.ts'
import type { Link, WaitOptions } from './link.ts'
import { backoffMs, sleep } from './wait.ts'

export interface PartitionInfo {
  readonly partition: number
  /** The node that leads it; −1: none does. */
  readonly leader: number
  readonly leaderEpoch: number
}

export interface TopicInfo {
  readonly name: string
  readonly topicId: string
  /** The broker's own: not for applications. */
  readonly isInternal: boolean
  readonly partitions: readonly PartitionInfo[]
}

export interface TopicConfig {
  readonly name: string
  /** Null: the server does not say. */
  readonly value: string | null
  readonly isDefault: boolean
}

export interface TopicDescription extends TopicInfo {
  readonly configs: readonly TopicConfig[]
}

export interface NewTopic {
  readonly name: string
  /** Default: the broker's. */
  readonly partitions?: number
  /** Default: the broker's. */
  readonly replicationFactor?: number
  /** By Kafka's names, such as `retention.ms`. */
  readonly configs?: Readonly<Record<string, string>>
  /** Only says whether it could be made. Default: false. */
  readonly validateOnly?: boolean
}

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

export interface OffsetQuery extends TopicPartition {
  /** Default: 'latest'. */
  readonly at?: Exclude<StartOffset, number>
}

export interface PartitionOffset extends TopicPartition {
  /** −1: every event is older than the timestamp. */
  readonly offset: number
  /** Of the event there; −1 at the ends of the log. */
  readonly timestamp: number
}

export interface ClusterInfo {
  readonly cluster: string
  /** The node that decides about topics; −1: none does at present. */
  readonly controller: number
  /** Where each node listens for Kafka's protocol. */
  readonly nodes: readonly { readonly node: number; readonly host: string; readonly port: number }[]
}

const AT_END = -1
const AT_START = -2
/** How long a new leader is waited for, and how often it is asked for. */
const LEADERS_PATIENCE_MS = 30_000
const LEADERS_RETRY = { minMs: 100, maxMs: 1000 }

/** Made by `client.admin()`; there is nothing to close. All methods reject with MillraceError. */
export class Admin {
  readonly #link: Link

  constructor(link: Link) {
    this.#link = link
  }

  /** All topics, or those named. Rejects when one of those named does not exist. */
  async listTopics(
    options: WaitOptions & { readonly topics?: readonly string[] } = {},
  ): Promise<TopicInfo[]> {
    const topics = options.topics === undefined ? null : [...options.topics]
    const answer = await this.#metadata(topics, options)
    return answer.topics.map(({ name, topicId, errorCode, internal, partitions }) => {
      const error = errorOfCode(errorCode, null)
      if (error !== null) throw error
      return {
        name,
        topicId,
        isInternal: internal,
        partitions: partitions.map(([, partition, leader, leaderEpoch]) => {
          return { partition, leader, leaderEpoch }
        }),
      }
    })
  }

  /** The topic's partitions and configuration. */
  async describeTopic(name: string, options: WaitOptions = {}): Promise<TopicDescription> {
    const [topic] = await this.listTopics({ ...options, topics: [name] })
    const ask = { ...options, repeat: true }
    const answer = await this.#link.request({ type: 'describeTopic', name }, 'topicConfig', ask)
    const configs = answer.configs.map(([key, value, isDefault]) => {
      return { name: key, value, isDefault }
    })
    return { ...(topic as TopicInfo), configs }
  }

  async createTopic(topic: NewTopic, options: WaitOptions = {}): Promise<void> {
    const { name, partitions = -1, replicationFactor = -1, configs = {} } = topic
    const validateOnly = topic.validateOnly === true
    const request = { name, partitions, replicationFactor, configs: { ...configs }, validateOnly }
    await this.#link.request({ type: 'createTopic', ...request }, 'done', options)
  }

  /** Raises the number of partitions to `count`. */
  async createPartitions(name: string, count: number, options: WaitOptions = {}): Promise<void> {
    await this.#link.request({ type: 'createPartitions', name, count }, 'done', options)
  }

  async deleteTopic(name: string, options: WaitOptions = {}): Promise<void> {
    await this.#link.request({ type: 'deleteTopic', name }, 'done', options)
  }

  /** Deletes what is before `offset` (exclusive). Resolves with the first offset that is left. */
  async deleteRecords(
    place: TopicPartition,
    before: number | 'latest',
    options: WaitOptions = {},
  ): Promise<number> {
    const { topic, partition } = place
    const offset = before === 'latest' ? -1 : before
    const request = { type: 'deleteRecords', topic, partition, offset } as const
    const { leaders } = this.#link
    return this.#followingLeaders(options, async () => {
      try {
        const link = leaders.linkFor(topic, partition)
        return (await link.request(request, 'deleted', options)).logStartOffset
      } catch (error) {
        if (!(error instanceof ServerError) || !isMisplaced(error.code)) throw error
        leaders.refused(topic, partition, error.leader)
        return error
      }
    })
  }

  /** Where logs begin or end, or the first events that are not older than a timestamp. */
  async listOffsets(
    queries: readonly OffsetQuery[],
    options: WaitOptions = {},
  ): Promise<PartitionOffset[]> {
    const found: PartitionOffset[] = []
    for (let from = 0; from < queries.length; from += PARTITIONS_PER_REQUEST_MAX) {
      const some = queries.slice(from, from + PARTITIONS_PER_REQUEST_MAX)
      found.push(...(await this.#followingLeaders(options, () => this.#listOffsets(some, options))))
    }
    return found
  }

  async #listOffsets(
    queries: readonly OffsetQuery[],
    options: WaitOptions,
  ): Promise<PartitionOffset[] | ServerError> {
    const byLink = new Map<Link, OffsetQuery[]>()
    for (const query of queries) {
      const link = this.#link.leaders.linkFor(query.topic, query.partition)
      const list = byLink.get(link)
      if (list === undefined) byLink.set(link, [query])
      else list.push(query)
    }
    const found = new Map<OffsetQuery, PartitionOffset | ServerError>()
    await Promise.all(
      [...byLink].map(async ([link, some]) => {
        const partitions = some.map((query): [string, number, number] => {
          return [query.topic, query.partition, timestampOf(query.at ?? 'latest')]
        })
        const ask = { ...options, repeat: true }
        const answer = await link.request({ type: 'listOffsets', partitions }, 'offsets', ask)
        for (const [index, query] of some.entries()) {
          const { topic, partition } = query
          const [code, offset, timestamp] = answer.partitions[index] ?? [-1, -1, -1]
          found.set(query, errorOfCode(code, null) ?? { topic, partition, offset, timestamp })
          if (isMisplaced(code)) this.#link.leaders.refused(topic, partition, null)
        }
      }),
    )
    const places: PartitionOffset[] = []
    let misplaced: ServerError | null = null
    for (const query of queries) {
      const place = found.get(query) as PartitionOffset | ServerError
      if (!(place instanceof ServerError)) places.push(place)
      else if (isMisplaced(place.code)) misplaced = place
      else throw place
    }
    return misplaced ?? places
  }

  /** Asks again, for a while, as long as the answer is that somebody else leads. */
  async #followingLeaders<T>(
    { signal }: WaitOptions,
    ask: () => Promise<T | ServerError>,
  ): Promise<T> {
    const { timers, random } = this.#link.platform
    const untilMs = timers.monotonicMs() + LEADERS_PATIENCE_MS
    for (let failures = 0; ; failures++) {
      const answer = await ask()
      if (!(answer instanceof ServerError)) return answer
      if (timers.monotonicMs() >= untilMs) throw answer
      await sleep(timers, backoffMs(failures, LEADERS_RETRY, random()), signal)
    }
  }

  async describeCluster(options: WaitOptions = {}): Promise<ClusterInfo> {
    const { cluster, controller, nodes } = await this.#metadata([], options)
    return { cluster, controller, nodes: nodes.map(([node, host, port]) => ({ node, host, port })) }
  }

  #metadata(topics: string[] | null, options: WaitOptions) {
    const ask = { ...options, repeat: true }
    return this.#link.request({ type: 'metadata', topics }, 'metadata', ask).then((answer) => {
      this.#link.leaders.learn(answer)
      return answer
    })
  }
}

function timestampOf(at: Exclude<StartOffset, number>): number {
  checkStart(at)
  if (at === 'latest') return AT_END
  return at === 'earliest' ? AT_START : at.timestamp
}
