/** What is asked for when a topic is made, and what comes of it. */
import { ErrorCode } from '../errors/error-code.ts'
import type { Topic } from '../metadata/image.ts'

export interface TopicRequest {
  readonly name: string
  /** −1: the broker's `num.partitions`. */
  readonly partitions: number
  /** −1: the broker's default. */
  readonly replicationFactor: number
  /** Broker ids of each partition, which then stand for both numbers. */
  readonly assigned?: readonly (readonly number[])[]
  readonly configs: ReadonlyMap<string, string | null>
  /** The broker makes it for itself: nobody else may use such a name. */
  readonly isInternal?: boolean
}

export interface TopicOutcome {
  readonly errorCode: ErrorCode
  readonly errorMessage: string | null
  readonly topic: Topic | null
}

export const OK: TopicOutcome = { errorCode: ErrorCode.NONE, errorMessage: null, topic: null }

export function refused(errorCode: ErrorCode, errorMessage: string): TopicOutcome {
  return { errorCode, errorMessage, topic: null }
}
