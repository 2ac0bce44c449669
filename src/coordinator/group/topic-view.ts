import type { Uuid } from '../../base/uuid.ts'

/** The topics of the cluster as a coordinator must know them: a pure look at the metadata. */
export interface TopicView {
  /** Grows whenever a topic is made, grown or deleted. */
  readonly version: number
  byName(name: string): KnownTopic | undefined
  byId(id: Uuid): KnownTopic | undefined
  /** Of all topics but those that the broker keeps for itself. */
  names(): Iterable<string>
}

export interface KnownTopic {
  readonly id: Uuid
  readonly name: string
  readonly partitions: number
}
