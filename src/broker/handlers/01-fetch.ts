import { ErrorCode } from '../../errors/error-code.ts'
import type { FetchRequest, FetchResponseInit } from '../../wire/kafka/schema/01-fetch.ts'
import type { Broker } from '../broker.ts'
import { FetchJob, type FetchResult, type FetchTarget, refusedTarget } from '../fetch-job.ts'
import type { FetchPartition, FetchPlan } from '../fetch-session.ts'
import { fetchTarget } from '../fetch-target.ts'
import { type CurrentLeader, LeaderHints } from '../leader-hints.ts'
import type { HandlerResult, Reply, RequestContext } from '../request.ts'

/**
 * Fetch (key 1): whole record batches as they lie in the log, by topic name or id, with incremental
 * sessions and long polls. Consumers only: a replica id is refused, whoever sends it. The leader
 * sends consumers to a replica in their rack where it is told to, and followers serve those that
 * know of them (KIP-392).
 */
type TopicResponse = NonNullable<FetchResponseInit['responses']>[number]
type PartitionResponse = NonNullable<TopicResponse['partitions']>[number]

const TOPIC_ID_VERSION_MIN = 13
/** From here on a client can be told another replica, and so may ask one. */
const RACK_VERSION_MIN = 11
const READ_COMMITTED = 1
/** A long poll longer than this is cut short; the client asks again. */
const WAIT_MS_MAX = 5 * 60 * 1000

export function fetch(broker: Broker, body: FetchRequest, context: RequestContext): HandlerResult {
  if (body.replicaId >= 0 || body.replicaState.replicaId >= 0) {
    return { body: topLevel(ErrorCode.CLUSTER_AUTHORIZATION_FAILED) }
  }
  const plan = broker.fetchSessions.plan(body, context.apiVersion)
  if (plan.errorCode !== ErrorCode.NONE) return { body: topLevel(plan.errorCode) }
  const from = { version: context.apiVersion, rack: body.rackId }
  const targets = plan.partitions.map((partition) => target(broker, partition, from))
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
    const hints = new LeaderHints(broker, context.listenerName)
    return { body: response({ plan, targets, body }, job, hints), release }
  })
}

/** Outside the handling of received bytes nobody else publishes the reads. */
function runNow(broker: Broker, job: FetchJob): Promise<void> {
  const done = job.run()
  broker.hub.flush()
  return done
}

function target(
  broker: Broker,
  partition: FetchPartition,
  from: { readonly version: number; readonly rack: string },
): FetchTarget {
  const byId = from.version >= TOPIC_ID_VERSION_MIN
  const topic = byId ? broker.topicById(partition.topicId) : broker.topicByName(partition.topic)
  const handle = topic?.handles[partition.partition]
  if (handle === undefined) {
    const isUnknownId = byId && topic === undefined
    return refusedTarget(
      isUnknownId ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    )
  }
  return fetchTarget(broker, handle, {
    fetchOffset: partition.fetchOffset,
    bytesMax: partition.bytesMax,
    leaderEpoch: partition.currentLeaderEpoch,
    knowsFollowers: from.version >= RACK_VERSION_MIN,
    rack: from.rack,
  })
}

/** What these partitions may give at most; 1 at least, so that a wait for anything stays one. */
function bytesReachable(targets: readonly FetchTarget[]): number {
  return Math.max(
    1,
    targets.reduce((sum, { bytesMax }) => sum + bytesMax, 0),
  )
}

interface Asked {
  readonly plan: FetchPlan
  /** Of the plan's partitions, in their order. */
  readonly targets: readonly FetchTarget[]
  readonly body: FetchRequest
}

function response(asked: Asked, job: FetchJob, hints: LeaderHints): FetchResponseInit {
  const { plan, targets, body } = asked
  const topics = new Map<string, TopicResponse & { partitions: PartitionResponse[] }>()
  for (const [i, partition] of plan.partitions.entries()) {
    const result = job.results[i]!
    const { handle, preferredReplica = -1 } = targets[i]!
    const isSent = result.errorCode !== ErrorCode.NONE || preferredReplica >= 0
    if (plan.isIncremental && !isSent && !isNews(partition, result)) continue
    partition.sentHighWatermark = result.highWatermark
    partition.sentLogStartOffset = result.logStartOffset
    const key = `${partition.topicId}/${partition.topic}`
    let topic = topics.get(key)
    if (topic === undefined) {
      topic = { topic: partition.topic, topicId: partition.topicId, partitions: [] }
      topics.set(key, topic)
    }
    const leader = hints.of(result.errorCode, handle)
    topic.partitions.push(partitionResponse(body, result, { partition, leader, preferredReplica }))
  }
  return {
    errorCode: ErrorCode.NONE,
    sessionId: plan.sessionId,
    responses: [...topics.values()],
    nodeEndpoints: hints.nodeEndpoints,
  }
}

function partitionResponse(
  body: FetchRequest,
  result: FetchResult,
  of: {
    readonly partition: FetchPartition
    readonly leader: CurrentLeader | undefined
    readonly preferredReplica: number
  },
): PartitionResponse {
  return {
    partitionIndex: of.partition.partition,
    errorCode: result.errorCode,
    highWatermark: result.highWatermark,
    lastStableOffset: result.lastStableOffset,
    logStartOffset: result.logStartOffset,
    currentLeader: of.leader,
    abortedTransactions: body.isolationLevel === READ_COMMITTED ? [] : null,
    preferredReadReplica: result.errorCode === ErrorCode.NONE ? of.preferredReplica : -1,
    records: result.records ?? EMPTY,
  }
}

function isNews(partition: FetchPartition, result: FetchResult): boolean {
  return (
    result.records !== null ||
    result.highWatermark !== partition.sentHighWatermark ||
    result.logStartOffset !== partition.sentLogStartOffset
  )
}

function topLevel(errorCode: number): FetchResponseInit {
  return { errorCode, sessionId: 0, responses: [] }
}

const EMPTY = new Uint8Array(0)
