/** `Control` over `millrace.v1`, by the client library. */
import { Client } from '../../client/client.ts'
import { MillraceError } from '../../client/errors.ts'
import { nodePlatform } from '../../client/platform-node.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { Control, LogEnds, ReadyTopic, TopicsWanted } from '../control.ts'
import { LoadError } from '../load-error.ts'
import type { Place } from '../place.ts'

const CONNECT_MS = 10_000
const LEADERS_MS = 10_000
const LOOK_MS = 20

export class WebSocketControl implements Control {
  readonly #client: Client

  private constructor(client: Client) {
    this.#client = client
  }

  /** Throws LoadError when nobody answers. */
  static async open(url: string): Promise<WebSocketControl> {
    const client = new Client({ url, clientId: 'millrace-bench' }, nodePlatform)
    try {
      await client.connect({ signal: AbortSignal.timeout(CONNECT_MS) })
      return new WebSocketControl(client)
    } catch (error) {
      await client.close().catch(() => {})
      throw new LoadError(`no broker answers at ${url}: is it running? (--url names one)`, error)
    }
  }

  async prepare({ names, partitions }: TopicsWanted): Promise<ReadyTopic[]> {
    const topics: ReadyTopic[] = []
    for (const name of names) {
      const isNew = await this.#create(name, partitions)
      topics.push({ ...(await this.#whenThere(name)), isNew })
    }
    return topics
  }

  async find(names: readonly string[]): Promise<(ReadyTopic | null)[]> {
    const all = await this.#client.admin().listTopics()
    return names.map((name) => {
      const topic = all.find((one) => one.name === name)
      if (topic === undefined) return null
      const { topicId, partitions } = topic
      return { name, topicId, partitions: partitions.length, isNew: false }
    })
  }

  async logEnds(places: readonly Place[]): Promise<LogEnds[]> {
    const admin = this.#client.admin()
    const at = (end: 'earliest' | 'latest') => places.map((place) => ({ ...place, at: end }))
    const starts = await admin.listOffsets(at('earliest'))
    const ends = await admin.listOffsets(at('latest'))
    return places.map((_, i) => {
      return { start: starts[i]?.offset ?? 0, end: ends[i]?.offset ?? 0 }
    })
  }

  /** The protocol does not say. */
  async logBytes(): Promise<null> {
    return null
  }

  async deleteTopics(names: readonly string[]): Promise<void> {
    for (const name of names) await this.#client.admin().deleteTopic(name)
  }

  close(): void {
    this.#client.close().catch(() => {})
  }

  async #create(name: string, partitions: number): Promise<boolean> {
    try {
      await this.#client.admin().createTopic({ name, partitions })
      return true
    } catch (error) {
      const isThere =
        error instanceof MillraceError && error.code === ErrorCode.TOPIC_ALREADY_EXISTS
      if (isThere) return false
      throw error
    }
  }

  async #whenThere(name: string): Promise<ReadyTopic> {
    const untilMs = performance.now() + LEADERS_MS
    for (;;) {
      const [topic = null] = await this.find([name])
      if (topic !== null) return topic
      if (performance.now() > untilMs) throw new LoadError(`topic ${name} does not appear`)
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  }
}
