/**
 * Topics that are asked for while the metadata is being changed are made by the next change,
 * together: a change costs a flush, on a majority of the controllers, whatever it holds. Each topic
 * is made or refused by itself.
 */
import { randomUuid, type Uuid } from '../base/uuid.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { MetadataImage, Topic } from '../metadata/image.ts'
import type { MetadataRecord } from '../metadata/records.ts'
import { collisionKey } from '../metadata/topic-names.ts'
import type { Decision } from './metadata-store.ts'
import { OK, refused, type TopicOutcome, type TopicRequest } from './topic-request.ts'

/** Of one change, so that it is applied in a short turn of main; a larger topic has its own. */
const TOPICS_MAX = 100
const PARTITIONS_MAX = 1000

export interface TopicCreationsParts {
  readonly image: () => MetadataImage
  readonly change: (decide: () => Decision<TopicOutcome>) => Promise<TopicOutcome>
  /** Throws BrokerError when there is no place for it. */
  readonly recordsOf: (id: Uuid, request: TopicRequest) => readonly MetadataRecord[]
  /** Of the request. */
  readonly partitionsOf: (request: TopicRequest) => number
  /** The topic is there; resolves when this broker has opened what it has of it. */
  readonly onMade: (topic: Topic) => Promise<void>
}

interface Creation {
  readonly id: Uuid
  readonly request: TopicRequest
  readonly resolve: (outcome: TopicOutcome) => void
  readonly reject: (error: unknown) => void
  outcome: TopicOutcome
  opened: Promise<void> | null
}

export class TopicCreations {
  readonly #parts: TopicCreationsParts
  #waiting: Creation[] = []
  #isRunning = false

  constructor(parts: TopicCreationsParts) {
    this.#parts = parts
  }

  /** A request that is right in itself. */
  create(request: TopicRequest): Promise<TopicOutcome> {
    return new Promise((resolve, reject) => {
      const id = randomUuid()
      this.#waiting.push({ id, request, resolve, reject, outcome: OK, opened: null })
      if (!this.#isRunning) void this.#run()
    })
  }

  /** Why the name cannot be had, or null. */
  nameTaken(name: string): TopicOutcome | null {
    const image = this.#parts.image()
    if (image.topicsByName.has(name)) return taken(name)
    const other = image.topicsByName.collidingWith(name)
    return other === undefined ? null : collides(name, other)
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    await null // A request asks for all its topics in one go.
    while (this.#waiting.length > 0) await this.#make(this.#take())
    this.#isRunning = false
  }

  #take(): Creation[] {
    let partitions = 0
    let count = 0
    for (const { request } of this.#waiting) {
      partitions += this.#parts.partitionsOf(request)
      if (count > 0 && (count === TOPICS_MAX || partitions > PARTITIONS_MAX)) break
      count++
    }
    return this.#waiting.splice(0, count)
  }

  async #make(creations: readonly Creation[]): Promise<void> {
    try {
      const whole = await this.#parts.change(() => this.#decide(creations))
      if (whole.errorCode === ErrorCode.MESSAGE_TOO_LARGE && creations.length > 1) {
        // Long options; each may well be small enough.
        for (const creation of creations) await this.#make([creation])
        return
      }
      for (const creation of creations) {
        if (whole.errorCode === ErrorCode.NONE) settle(creation)
        else creation.resolve(whole)
      }
    } catch (error) {
      for (const { reject } of creations) reject(error)
    }
  }

  #decide(creations: readonly Creation[]): Decision<TopicOutcome> {
    const image = this.#parts.image()
    const records: MetadataRecord[] = []
    /** Of this change, by what they collide in. */
    const names = new Map<string, string>()
    for (const creation of creations) {
      const { id, request } = creation
      creation.outcome = OK
      // What was decided before has been committed; only the answer was lost.
      if (image.topicsById.has(id)) continue
      const { name } = request
      const other = names.get(collisionKey(name))
      const problem = other === undefined ? this.nameTaken(name) : clash(name, other)
      if (problem !== null) {
        creation.outcome = problem
        continue
      }
      try {
        records.push(...this.#parts.recordsOf(id, request))
        names.set(collisionKey(name), name)
      } catch (error) {
        if (!(error instanceof BrokerError)) throw error
        creation.outcome = refused(error.code, error.message)
      }
    }
    return { records, result: OK, onApplied: () => this.#onApplied(creations) }
  }

  #onApplied(creations: readonly Creation[]): void {
    for (const creation of creations) {
      if (creation.outcome.errorCode !== ErrorCode.NONE) continue
      const topic = this.#parts.image().topicsById.get(creation.id) ?? null
      creation.outcome = { ...OK, topic }
      if (topic !== null) creation.opened = this.#parts.onMade(topic)
    }
  }
}

function settle({ opened, outcome, resolve, reject }: Creation): void {
  if (opened === null) resolve(outcome)
  else opened.then(() => resolve(outcome), reject)
}

function clash(name: string, other: string): TopicOutcome {
  return name === other ? taken(name) : collides(name, other)
}

function taken(name: string): TopicOutcome {
  return refused(ErrorCode.TOPIC_ALREADY_EXISTS, `Topic "${name}" exists already`)
}

function collides(name: string, other: string): TopicOutcome {
  const message = `Topic "${name}" collides with "${other}": "." and "_" count as equal`
  return refused(ErrorCode.INVALID_TOPIC_EXCEPTION, message)
}
