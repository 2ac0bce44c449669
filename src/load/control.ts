/** What a run asks beside its load: topics, where logs begin and end, how many bytes they take. */
import type { Address } from './load-socket.ts'
import type { Place } from './place.ts'

export interface TopicsWanted {
  readonly names: readonly string[]
  readonly partitions: number
}

/** A topic as it is once it is ready. */
export interface ReadyTopic {
  readonly name: string
  /** Null: the broker does not say. */
  readonly topicId: string | null
  readonly partitions: number
  readonly isNew: boolean
  /** By partition; absent where there is one broker to talk to. */
  readonly leaders?: ReadonlyMap<number, Address>
}

export interface LogEnds {
  readonly start: number
  /** The high watermark. */
  readonly end: number
}

export interface Control {
  /** Creates what is missing and waits until every partition has a leader. Throws LoadError. */
  prepare(wanted: TopicsWanted): Promise<ReadyTopic[]>
  /** The topics as they are; `null` where there is none. */
  find(names: readonly string[]): Promise<(ReadyTopic | null)[]>
  /** In the order of `places`. */
  logEnds(places: readonly Place[]): Promise<LogEnds[]>
  /** Bytes of the logs of `places`, in their order; null: this broker cannot be asked. */
  logBytes(places: readonly Place[]): Promise<number[] | null>
  deleteTopics(names: readonly string[]): Promise<void>
  close(): void
}
