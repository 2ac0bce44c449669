/** `Control` over Kafka's protocol. The load goes to who leads when it begins. */
import { AdminError, KafkaAdmin, type TopicDescription } from '../../client/kafka-admin.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { Control, LogEnds, ReadyTopic, TopicsWanted } from '../control.ts'
import { LoadError } from '../load-error.ts'
import type { Address } from '../load-socket.ts'
import type { Place } from '../place.ts'
import { CLIENT_ID } from './kafka-requests.ts'
import { askLogBytes } from './log-directories.ts'

const TIMEOUT_MS = 30_000
const LEADERS_MS = 10_000
const LOOK_MS = 20

export class KafkaControl implements Control {
  readonly #admin: KafkaAdmin

  private constructor(admin: KafkaAdmin) {
    this.#admin = admin
  }

  /** Throws ConnectionError. */
  static async open(address: Address): Promise<KafkaControl> {
    const options = { ...address, clientId: CLIENT_ID, timeoutMs: TIMEOUT_MS }
    return new KafkaControl(await KafkaAdmin.connect(options))
  }

  async prepare({ names, partitions }: TopicsWanted): Promise<ReadyTopic[]> {
    const topics: ReadyTopic[] = []
    for (const name of names) {
      const isNew = await this.#create(name, partitions)
      topics.push({ ...(await this.#whenLed(name)), isNew })
    }
    return topics
  }

  async find(names: readonly string[]): Promise<(ReadyTopic | null)[]> {
    const found: (ReadyTopic | null)[] = []
    for (const name of names) found.push(await this.#find(name))
    return found
  }

  async logEnds(places: readonly Place[]): Promise<LogEnds[]> {
    const topics = new Map<string, TopicDescription>()
    for (const { topic } of places) {
      if (!topics.has(topic)) topics.set(topic, await this.#admin.describeTopic(topic))
    }
    return places.map(({ topic, partition }) => {
      const found = topics.get(topic)?.partitionList.find((one) => one.partition === partition)
      const { logStartOffset = null, highWatermark = null } = found ?? {}
      if (logStartOffset === null || highWatermark === null) {
        throw new LoadError(`nobody leads ${topic}-${partition}, so that nobody says where it ends`)
      }
      return { start: logStartOffset, end: highWatermark }
    })
  }

  logBytes(places: readonly Place[]): Promise<number[] | null> {
    return askLogBytes(this.#admin.brokers, places)
  }

  async deleteTopics(names: readonly string[]): Promise<void> {
    for (const name of names) await this.#admin.deleteTopic(name)
  }

  close(): void {
    this.#admin.close()
  }

  /** Whether it is new now. */
  async #create(name: string, partitions: number): Promise<boolean> {
    try {
      const topic = { name, partitions, replicationFactor: null, configs: new Map() }
      await this.#admin.createTopic(topic)
      return true
    } catch (error) {
      const isThere = error instanceof AdminError && error.code === ErrorCode.TOPIC_ALREADY_EXISTS
      if (isThere) return false
      throw error
    }
  }

  async #whenLed(name: string): Promise<ReadyTopic> {
    const untilMs = performance.now() + LEADERS_MS
    for (;;) {
      const topic = await this.#describe(name)
      const isLed = topic?.partitionList.every((one) => one.highWatermark !== null) === true
      if (topic !== null && isLed) return await this.#ready(topic)
      if (performance.now() > untilMs) {
        throw new LoadError(`topic ${name} has partitions that nobody leads`)
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  }

  async #find(name: string): Promise<ReadyTopic | null> {
    const topic = await this.#describe(name)
    return topic === null ? null : await this.#ready(topic)
  }

  async #ready({ name, topicId, partitions }: TopicDescription): Promise<ReadyTopic> {
    const leaders = await this.#admin.brokers.leadersOf(name)
    return { name, topicId, partitions, isNew: false, leaders }
  }

  async #describe(name: string): Promise<TopicDescription | null> {
    try {
      return await this.#admin.describeTopic(name)
    } catch (error) {
      if (!(error instanceof AdminError)) throw error
      if (error.code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) return null
      if (error.code === ErrorCode.LEADER_NOT_AVAILABLE) return null
      throw error
    }
  }
}
