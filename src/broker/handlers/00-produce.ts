import { ErrorCode } from '../../errors/error-code.ts'
import type { ProduceRequest, ProduceResponseInit } from '../../wire/kafka/schema/00-produce.ts'
import { type AppendedBatch, AppendJob, refusedBatch } from '../append-job.ts'
import type { Broker } from '../broker.ts'
import { LeaderHints } from '../leader-hints.ts'
import { type HandlerResult, PendingReply, type Reply, type RequestContext } from '../request.ts'

/**
 * Produce (key 0). Every partition's batch goes to its shard as it lies in the request's extent;
 * the response follows when all shards have answered. Errors are per partition.
 */
const NO_TOPIC_ID_VERSION_MAX = 12

export function produce(
  broker: Broker,
  body: ProduceRequest,
  context: RequestContext,
): HandlerResult {
  if (body.acks < -1 || body.acks > 1)
    return refuseAll(broker, { body, context }, ErrorCode.INVALID_REQUIRED_ACKS)
  if (body.transactionalId !== null) {
    return refuseAll(broker, { body, context }, ErrorCode.INVALID_TXN_STATE)
  }
  const job = new AppendJob(broker, context.frame, body)
  const byId = context.apiVersion > NO_TOPIC_ID_VERSION_MAX
  const unknown = byId ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
  for (const topic of body.topicData) {
    const known = byId ? broker.topicById(topic.topicId) : broker.topicByName(topic.name)
    for (const partition of topic.partitionData) {
      const handle = known?.handles[partition.index]
      if (handle === undefined) job.refuse(unknown)
      else job.append(handle, partition.records)
    }
  }
  return new PendingProduce(broker, job, { body, context })
}

class PendingProduce extends PendingReply {
  readonly #broker: Broker
  readonly #job: AppendJob
  readonly #asked: Asked

  constructor(broker: Broker, job: AppendJob, asked: Asked) {
    super()
    this.#broker = broker
    this.#job = job
    this.#asked = asked
  }

  override whenReady(callback: (reply: Reply | null) => void): void {
    this.#job.start(() => callback(answer(this.#broker, this.#job, this.#asked)))
  }
}

interface Asked {
  readonly body: ProduceRequest
  readonly context: RequestContext
}

function answer(broker: Broker, job: AppendJob, { body, context }: Asked): Reply | null {
  if (body.acks !== 0) return response(broker, { body, context }, job.results)
  // A client that asked for no answer learns of a failure by losing its connection.
  if (job.results.some((result) => result.errorCode !== ErrorCode.NONE)) {
    context.close('an append with acks=0 failed')
  }
  return null
}

function response(
  broker: Broker,
  { body, context }: Asked,
  results: readonly AppendedBatch[],
): Reply {
  const hints = new LeaderHints(broker, context.listenerName)
  let next = 0
  return {
    body: {
      responses: body.topicData.map((topic) => ({
        name: topic.name,
        topicId: topic.topicId,
        partitionResponses: topic.partitionData.map(({ index }) => {
          const result = results[next++] as AppendedBatch
          const { errorCode, baseOffset, appendTimeMs, logStartOffset, handle } = result
          return {
            index,
            errorCode,
            baseOffset,
            logAppendTimeMs: appendTimeMs,
            logStartOffset,
            recordErrors: result.recordErrors.map((batchIndex) => ({ batchIndex })),
            errorMessage: broker.explain(errorCode, handle),
            currentLeader: hints.of(errorCode, handle),
          }
        }),
      })),
      nodeEndpoints: hints.nodeEndpoints,
    } satisfies ProduceResponseInit,
  }
}

function refuseAll(broker: Broker, asked: Asked, errorCode: number): Reply {
  const refused = refusedBatch(errorCode)
  const count = asked.body.topicData.reduce((sum, topic) => sum + topic.partitionData.length, 0)
  return response(broker, asked, new Array<AppendedBatch>(count).fill(refused))
}
