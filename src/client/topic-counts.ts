/** How many partitions topics have: one question to the server for many of them. */
import { ErrorCode } from '../errors/error-code.ts'
import type { RequestMessage } from './connection.ts'
import { errorOfCode, type MillraceError, ServerError } from './errors.ts'
import type { AskOptions, Link } from './link.ts'

/** The partitions of a topic, or why there is none. */
export type TopicCount = number | MillraceError

/** Rejects with MillraceError when the question fails as a whole. */
export async function askTopicCounts(
  link: Link,
  topics: readonly string[],
  options: { create: boolean } & Pick<AskOptions, 'signal'>,
): Promise<Map<string, TopicCount>> {
  const message = {
    type: 'metadata' as const,
    topics: [...topics],
    create: options.create,
  } satisfies RequestMessage
  const answer = await link.request(message, 'metadata', { repeat: true, signal: options.signal })
  const counts = new Map<string, TopicCount>()
  for (const topic of answer.topics) {
    const error = errorOfCode(topic.errorCode, null)
    counts.set(topic.name, error ?? topic.partitions.length)
  }
  for (const topic of topics) {
    const count = counts.get(topic)
    if (count !== undefined && count !== 0) continue
    const message = `the server does not know the topic ${topic}`
    counts.set(topic, new ServerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message))
  }
  return counts
}
