import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import {
  ATTRIBUTES,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  LENGTH_PREFIX_BYTES,
  TRANSACTIONAL_BIT,
} from '../../record/batch-layout.ts'
import type { AppendOutcome, AppendSink } from '../../shard/shard-proxy.ts'
import type { RecordsRange } from '../../wire/kafka/api.ts'
import type { ProduceRequest, ProduceResponseInit } from '../../wire/kafka/schema/00-produce.ts'
import type { Broker } from '../broker.ts'
import type { HandlerResult, Reply, RequestContext } from '../request.ts'
import type { RequestFrame } from '../request-frame.ts'

/**
 * Produce (key 0). Every partition's batches go to its shard as they lie in the request's extent;
 * the response follows when all shards have answered. Errors are per partition.
 */
type PartitionResponse = ProduceResponseInit['responses'][number]['partitionResponses'][number]

const NO_TOPIC_ID_VERSION_MAX = 12

export function produce(
  broker: Broker,
  body: ProduceRequest,
  context: RequestContext,
): HandlerResult {
  if (body.acks < -1 || body.acks > 1) {
    return refuseAll(body, ErrorCode.INVALID_REQUIRED_ACKS)
  }
  if (body.transactionalId !== null) {
    return refuseAll(body, ErrorCode.INVALID_TXN_STATE)
  }
  const pending = new PendingProduce(body, context.frame)
  for (const [t, topic] of body.topicData.entries()) {
    const byId = context.apiVersion > NO_TOPIC_ID_VERSION_MAX
    const known = byId ? broker.topicById(topic.topicId) : broker.topicByName(topic.name)
    for (const [p, partition] of topic.partitionData.entries()) {
      const handle = known?.handles[partition.index]
      const records = partition.records
      if (handle === undefined) {
        const unknown = byId ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        pending.refuse(pending.add(t, p, partition.index), unknown)
        continue
      }
      const refusal = checkRecords(context.frame.bytes, records)
      if (refusal !== ErrorCode.NONE || records === null) {
        pending.refuse(pending.add(t, p, partition.index), refusal)
      } else {
        const index = pending.add(t, p, partition.index)
        context.frame.hold()
        broker.shardOf(handle).append(
          {
            handle,
            offset: records.offset,
            length: records.length,
            extentOffset: context.frame.offset,
            generation: context.frame.generation,
            leaderEpoch: broker.leaderEpoch(handle),
          },
          pending,
          index,
        )
      }
    }
  }
  const done = pending.start()
  if (body.acks !== 0) return done
  // A client that asked for no answer learns of a failure by losing its connection.
  return Promise.resolve(done).then((reply) => {
    if (hasError(reply.body as ProduceResponseInit)) {
      context.close('an append with acks=0 failed')
    }
    return null
  })
}

/** Collects the answers of one request's partitions. */
class PendingProduce implements AppendSink {
  readonly #responses: { name: string; topicId: string; partitionResponses: PartitionResponse[] }[]
  readonly #places: { topic: number; partition: number; index: number; written: boolean }[] = []
  readonly #frame: RequestFrame
  #waiting = 0
  #resolve: ((reply: Reply) => void) | null = null

  constructor(body: ProduceRequest, frame: RequestFrame) {
    this.#frame = frame
    this.#responses = body.topicData.map((topic) => ({
      name: topic.name,
      topicId: topic.topicId,
      partitionResponses: new Array(topic.partitionData.length),
    }))
  }

  add(topic: number, partition: number, index: number): number {
    this.#waiting++
    return this.#places.push({ topic, partition, index, written: false }) - 1
  }

  refuse(place: number, errorCode: number): void {
    this.#put(place, {
      index: this.#places[place]!.index,
      errorCode,
      baseOffset: -1,
      errorMessage: errorInfo(errorCode).message,
    })
  }

  start(): Reply | Promise<Reply> {
    if (this.#waiting === 0) return this.#reply()
    return new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  onWritten(place: number): void {
    this.#places[place]!.written = true
    this.#frame.release()
  }

  onAppended(outcome: AppendOutcome, place: number): void {
    if (!this.#places[place]!.written) this.#frame.release()
    const { errorCode } = outcome
    this.#put(place, {
      index: this.#places[place]!.index,
      errorCode,
      baseOffset: outcome.baseOffset,
      logAppendTimeMs: outcome.appendTimeMs,
      logStartOffset: outcome.logStartOffset,
      errorMessage: errorCode === ErrorCode.NONE ? null : errorInfo(errorCode).message,
    })
  }

  #put(place: number, response: PartitionResponse): void {
    const { topic, partition } = this.#places[place]!
    this.#responses[topic]!.partitionResponses[partition] = response
    this.#waiting--
    if (this.#waiting === 0) this.#resolve?.(this.#reply())
  }

  #reply(): Reply {
    return { body: { responses: this.#responses } satisfies ProduceResponseInit }
  }
}

/**
 * What the protocol asks beyond a valid batch: exactly one for each partition, as Kafka's brokers
 * do (a crash could keep part of a longer run, and its retry would look like a gap), and no
 * transactional one: without a coordinator nothing would ever end the transaction.
 */
function checkRecords(bytes: Uint8Array, records: RecordsRange | null): ErrorCode {
  if (records === null || records.length === 0) return ErrorCode.INVALID_RECORD
  if (records.length < BATCH_HEADER_BYTES) return ErrorCode.CORRUPT_MESSAGE
  const { offset } = records
  if (((bytes[offset + ATTRIBUTES + 1] as number) & TRANSACTIONAL_BIT) !== 0) {
    return ErrorCode.INVALID_TXN_STATE
  }
  const batchBytes = int32At(bytes, offset + BATCH_LENGTH) + LENGTH_PREFIX_BYTES
  // A length that is too large or negative is for the batch's own validation.
  const isRun = batchBytes >= BATCH_HEADER_BYTES && batchBytes < records.length
  return isRun ? ErrorCode.INVALID_RECORD : ErrorCode.NONE
}

function int32At(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16)
  return high | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)
}

function hasError(body: ProduceResponseInit): boolean {
  return body.responses.some((topic) =>
    topic.partitionResponses.some((partition) => partition.errorCode !== ErrorCode.NONE),
  )
}

function refuseAll(body: ProduceRequest, errorCode: number): Reply {
  return {
    body: {
      responses: body.topicData.map((topic) => ({
        name: topic.name,
        topicId: topic.topicId,
        partitionResponses: topic.partitionData.map((partition) => ({
          index: partition.index,
          errorCode,
          baseOffset: -1,
          errorMessage: errorInfo(errorCode).message,
        })),
      })),
    } satisfies ProduceResponseInit,
  }
}
