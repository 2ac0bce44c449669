/** How many partitions topics have: few questions to the server for many of them. */
import { ErrorCode } from '../errors/error-code.ts'
import { errorOfCode, type MillraceError, ServerError } from './errors.ts'
import type { AskOptions, Link } from './link.ts'

/** The partitions of a topic, or why there is none. */
export type TopicCount = number | MillraceError

/** Topics in one question: a longer one may not fit the envelope that the server reads. */
const TOPICS_PER_REQUEST = 200

/** Rejects with MillraceError when the question fails as a whole. */
export async function askTopicCounts(
  link: Link,
  topics: readonly string[],
  options: { create: boolean } & Pick<AskOptions, 'signal'>,
): Promise<Map<string, TopicCount>> {
  const { create, signal } = options
  const counts = new Map<string, TopicCount>()
  for (let first = 0; first < topics.length; first += TOPICS_PER_REQUEST) {
    const names = topics.slice(first, first + TOPICS_PER_REQUEST)
    const message = { type: 'metadata', topics: names, create } as const
    const answer = await link.request(message, 'metadata', { repeat: true, signal })
    link.leaders.learn(answer)
    for (const topic of answer.topics) {
      const error = errorOfCode(topic.errorCode, null)
      counts.set(topic.name, error ?? topic.partitions.length)
    }
  }
  for (const topic of topics) {
    const count = counts.get(topic)
    if (count !== undefined && count !== 0) continue
    const message = `the server does not know the topic ${topic}`
    counts.set(topic, new ServerError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message))
  }
  return counts
}
