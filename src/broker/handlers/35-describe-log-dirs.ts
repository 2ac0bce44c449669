import { statfs } from 'node:fs/promises'
import { ErrorCode } from '../../errors/error-code.ts'
import type { Topic } from '../../metadata/image.ts'
import type {
  DescribeLogDirsRequest,
  DescribeLogDirsResponseInit,
} from '../../wire/kafka/schema/35-describe-log-dirs.ts'
import type { Broker } from '../broker.ts'
import { PartitionRows } from '../partition-rows.ts'
import type { AskContext, Reply } from '../request.ts'
import { METADATA_PARTITIONS_MAX } from './03-metadata.ts'

/**
 * DescribeLogDirs (key 35): the log directories, the room on their disks, and the sizes of the
 * partitions in them: of all, or of those asked for. An offline directory is named, with an error.
 *
 * An answer may be large: it keeps to the bounds and to the room of Metadata's answers.
 */
type DirectoryResult = DescribeLogDirsResponseInit['results'][number]
type TopicResult = DirectoryResult['topics'][number]

export async function describeLogDirs(
  broker: Broker,
  body: DescribeLogDirsRequest,
  { sendTurns }: AskContext,
): Promise<Reply> {
  const topics = topicsAsked(broker, body)
  const partitions = topics.reduce((sum, { topic }) => sum + topic.handles.length, 0)
  await sendTurns.enter()
  const size = Math.min(partitions, METADATA_PARTITIONS_MAX)
  await broker.metadataRoom.enter(size)
  const release = (): void => {
    sendTurns.leave()
    broker.metadataRoom.leave(size)
  }
  try {
    if (partitions > METADATA_PARTITIONS_MAX) {
      return { body: answer(ErrorCode.POLICY_VIOLATION, []), release }
    }
    const byPath = await sizesByPath(broker, topics)
    const results = await Promise.all(
      broker.directoryStates.all.map(({ path, condition }) =>
        condition === 'offline'
          ? { errorCode: ErrorCode.KAFKA_STORAGE_ERROR, logDir: path, topics: [] }
          : describe(path, byPath.get(path) ?? []),
      ),
    )
    return { body: answer(ErrorCode.NONE, results), release }
  } catch (error) {
    release() // Others wait for it.
    throw error
  }
}

function answer(errorCode: ErrorCode, results: DirectoryResult[]): DescribeLogDirsResponseInit {
  return { throttleTimeMs: 0, errorCode, results }
}

interface Asked {
  readonly topic: Topic
  /** Null: all of them. */
  readonly partitions: ReadonlySet<number> | null
}

/** Without what does not exist: Kafka's answers say nothing of it either. */
function topicsAsked(broker: Broker, { topics }: DescribeLogDirsRequest): Asked[] {
  if (topics === null) {
    return [...broker.image.topicsByName.values()].map((topic) => ({ topic, partitions: null }))
  }
  const byName = new Map<string, Set<number>>()
  for (const { topic, partitions } of topics) {
    const known = byName.get(topic) ?? new Set<number>()
    for (const partition of partitions) known.add(partition)
    byName.set(topic, known)
  }
  return [...byName].flatMap(([name, partitions]) => {
    const topic = broker.topicByName(name)
    return topic === undefined ? [] : [{ topic, partitions }]
  })
}

async function sizesByPath(
  broker: Broker,
  asked: readonly Asked[],
): Promise<Map<string, TopicResult[]>> {
  const topics = asked.map(({ topic }) => topic)
  const rows = await PartitionRows.load(broker, topics)
  const byPath = new Map<string, TopicResult[]>()
  for (const [i, { topic, partitions }] of asked.entries()) {
    const ofTopic = new Map<string, TopicResult['partitions'][number][]>()
    const start = rows.starts[i] as number
    // Partitions that were added meanwhile have no row.
    for (let row = start; row < (rows.starts[i + 1] as number); row++) {
      const partitionIndex = row - start
      if (partitions !== null && !partitions.has(partitionIndex)) continue
      const handle = rows.handles[row] as number
      if (!broker.hasReplica(handle)) continue
      const path = broker.logDirectory(handle)
      const list = ofTopic.get(path) ?? []
      ofTopic.set(path, list)
      // One that nobody knows without opening its log is damaged, or about to be deleted.
      const partitionSize = rows.get(row, 'logBytes') || 0
      list.push({ partitionIndex, partitionSize, offsetLag: 0, isFutureKey: false })
    }
    for (const [path, list] of ofTopic) {
      const results = byPath.get(path) ?? []
      byPath.set(path, results)
      results.push({ name: topic.name, partitions: list })
    }
  }
  return byPath
}

async function describe(path: string, topics: TopicResult[]): Promise<DirectoryResult> {
  const room = await statfs(path).catch(() => null)
  const space =
    room === null
      ? {}
      : { totalBytes: room.blocks * room.bsize, usableBytes: room.bavail * room.bsize }
  return { errorCode: ErrorCode.NONE, logDir: path, topics, ...space }
}
