import { ErrorCode } from '../../errors/error-code.ts'
import type { FetchRequest, FetchResponseInit } from '../../wire/kafka/schema/01-fetch.ts'
import type { Broker } from '../broker.ts'
import { FetchJob, type FetchResult, type FetchTarget } from '../fetch-job.ts'
import type { FetchPartition, FetchPlan } from '../fetch-session.ts'
import type { HandlerResult, Reply, RequestContext } from '../request.ts'

/**
 * Fetch (key 1): whole record batches as they lie in the log, by topic name or id, with incremental
 * sessions and long polls. Consumers only: a replica id is refused, whoever sends it.
 */
type TopicResponse = NonNullable<FetchResponseInit['responses']>[number]
type PartitionResponse = NonNullable<TopicResponse['partitions']>[number]

const TOPIC_ID_VERSION_MIN = 13
const READ_COMMITTED = 1
/** A long poll longer than this is cut short; the client asks again. */
const WAIT_MS_MAX = 5 * 60 * 1000

export function fetch(broker: Broker, body: FetchRequest, context: RequestContext): HandlerResult {
  if (body.replicaId >= 0 || body.replicaState.replicaId >= 0) {
    return { body: topLevel(ErrorCode.CLUSTER_AUTHORIZATION_FAILED) }
  }
  const plan = broker.fetchSessions.plan(body, context.apiVersion)
  if (plan.errorCode !== ErrorCode.NONE) return { body: topLevel(plan.errorCode) }
  const targets = plan.partitions.map((partition) => target(broker, partition, context.apiVersion))
  const bytesMax = Math.min(Math.max(body.maxBytes, 1), broker.fetchBytesMax)
  const limits = {
    bytesMin: Math.min(body.minBytes, bytesMax, bytesReachable(targets)),
    bytesMax,
    waitMsMax: Math.min(Math.max(body.maxWaitMs, 0), WAIT_MS_MAX),
  }
  const job = new FetchJob(targets, limits, () => broker.clock.monotonicMs())
  const unsubscribe = context.onClose(() => job.cancel())
  const { sendTurns } = context
  const release = (): void => {
    job.release()
    sendTurns.leave()
  }
  const turn = sendTurns.enter()
  const done = turn === null ? job.run() : turn.then(() => runNow(broker, job))
  return done.then((): Reply => {
    unsubscribe()
    return { body: response(plan, job, body), release }
  })
}

/** Outside the handling of received bytes nobody else publishes the reads. */
function runNow(broker: Broker, job: FetchJob): Promise<void> {
  const done = job.run()
  broker.hub.flush()
  return done
}

function target(broker: Broker, partition: FetchPartition, apiVersion: number): FetchTarget {
  const byId = apiVersion >= TOPIC_ID_VERSION_MIN
  const topic = byId ? broker.topicById(partition.topicId) : broker.topicByName(partition.topic)
  const handle = topic?.handles[partition.partition]
  if (handle === undefined) {
    const isUnknownId = byId && topic === undefined
    return refused(isUnknownId ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  }
  const epochError = broker.checkLeaderEpoch(handle, partition.currentLeaderEpoch)
  if (epochError !== ErrorCode.NONE) return refused(epochError)
  return {
    handle,
    shard: broker.shardOf(handle),
    fetchOffset: partition.fetchOffset,
    bytesMax: Math.min(partition.bytesMax, broker.readBytesMax),
    errorCode: ErrorCode.NONE,
  }
}

/** What these partitions may give at most; 1 at least, so that a wait for anything stays one. */
function bytesReachable(targets: readonly FetchTarget[]): number {
  return Math.max(
    1,
    targets.reduce((sum, { bytesMax }) => sum + bytesMax, 0),
  )
}

function refused(errorCode: number): FetchTarget {
  return { handle: -1, shard: null, fetchOffset: -1, bytesMax: 0, errorCode }
}

function response(plan: FetchPlan, job: FetchJob, body: FetchRequest): FetchResponseInit {
  const topics = new Map<string, TopicResponse & { partitions: PartitionResponse[] }>()
  for (const [i, partition] of plan.partitions.entries()) {
    const result = job.results[i]!
    if (plan.isIncremental && !isNews(partition, result)) continue
    partition.sentHighWatermark = result.highWatermark
    partition.sentLogStartOffset = result.logStartOffset
    const key = `${partition.topicId}/${partition.topic}`
    let topic = topics.get(key)
    if (topic === undefined) {
      topic = { topic: partition.topic, topicId: partition.topicId, partitions: [] }
      topics.set(key, topic)
    }
    topic.partitions.push(partitionResponse(partition, result, body))
  }
  return {
    errorCode: ErrorCode.NONE,
    sessionId: plan.sessionId,
    responses: [...topics.values()],
  }
}

function partitionResponse(
  partition: FetchPartition,
  result: FetchResult,
  body: FetchRequest,
): PartitionResponse {
  return {
    partitionIndex: partition.partition,
    errorCode: result.errorCode,
    highWatermark: result.highWatermark,
    lastStableOffset: result.lastStableOffset,
    logStartOffset: result.logStartOffset,
    abortedTransactions: body.isolationLevel === READ_COMMITTED ? [] : null,
    records: result.records ?? EMPTY,
  }
}

function isNews(partition: FetchPartition, result: FetchResult): boolean {
  return (
    result.records !== null ||
    result.errorCode !== ErrorCode.NONE ||
    result.highWatermark !== partition.sentHighWatermark ||
    result.logStartOffset !== partition.sentLogStartOffset
  )
}

function topLevel(errorCode: number): FetchResponseInit {
  return { errorCode, sessionId: 0, responses: [] }
}

const EMPTY = new Uint8Array(0)
