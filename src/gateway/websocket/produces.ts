import { copyOf } from '../../base/bytes.ts'
import {
  ALL_IN_SYNC,
  type AppendedBatch,
  AppendJob,
  refusedBatch,
} from '../../broker/append-job.ts'
import { type AppendedElsewhere, type Elsewhere, elsewhere } from '../../broker/elsewhere.ts'
import { appendPlan, outlineOf, placeChunks, recordOutcomes } from '../../broker/plain-append.ts'
import { type PlainRecord, planRecords } from '../../broker/plain-records.ts'
import type { RequestFrame } from '../../broker/request-frame.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { type ClientMessages, CloseCode, type LeaderHint } from '../../wire/websocket/messages.ts'
import { leaderHint } from './leaders.ts'
import type { SessionLink } from './session-link.ts'

/**
 * The produces of one client: their batches go to their shards as they lie in the ingress arena, or
 * are copied there first, in the order of the messages. Where the arena has no extent now, what was
 * received waits here: credits bound how much that can be. Runs on main.
 */
type ProduceMessage = ClientMessages['produce']
type ProduceRecordsMessage = ClientMessages['produceRecords']

export interface Received {
  /** Record batches; valid during the call, and for who holds `frame`. With `produce`. */
  readonly payload: Uint8Array
  /** The extent that the payload lies in; null when it lies elsewhere. */
  readonly frame: RequestFrame | null
  readonly cost: number
}

/** Appends that wait for memory. */
interface Waiting {
  readonly bytes: Uint8Array
  readonly cost: number
  readonly start: StartAppends
}

/** Begins appends whose batches lie in `frame`, the first one at `offset` of the arena. */
type StartAppends = (frame: RequestFrame, offset: number) => void

export class Produces {
  readonly #session: SessionLink
  readonly #waiting: Waiting[] = []

  constructor(session: SessionLink) {
    this.#session = session
  }

  produce(message: ProduceMessage | ProduceRecordsMessage, received: Received): void {
    if (message.type === 'produce') this.#produceBatches(message, received)
    else this.#produceRecords(message, received)
  }

  /** Something of it waits for memory. */
  get isWaiting(): boolean {
    return this.#waiting.length > 0
  }

  /** The connection is gone: what has not reached the log never will. */
  close(): void {
    for (const { cost } of this.#waiting.splice(0)) this.#session.account.settle(cost)
  }

  /** Memory came back. */
  resume(): void {
    while (this.#waiting.length > 0) {
      const { bytes, start } = this.#waiting[0] as Waiting
      const frame = placeChunks(this.#session.broker.arena, [bytes])
      if (frame === null) return
      this.#waiting.shift() // Before it starts: that may end in `close`.
      start(frame, frame.offset)
      frame.release()
    }
  }

  #produceBatches(message: ProduceMessage, { payload, frame: own, cost }: Received): void {
    let bytes = 0
    for (const [, , length] of message.partitions) bytes += length
    if (bytes !== payload.length) {
      const reason = `produce: ${bytes} bytes of batches are named, ${payload.length} are there`
      this.#session.violate(CloseCode.MALFORMED, reason)
      this.#end(cost)
      return
    }
    if (bytes === 0) {
      const reason = 'produce: there is no batch'
      this.#session.violate(CloseCode.MALFORMED, reason)
      this.#end(cost)
      return
    }
    const start: StartAppends = (frame, first) => {
      const { timeoutMs } = ALL_IN_SYNC
      const job = new AppendJob(this.#session.broker, frame, { acks: message.acks, timeoutMs })
      /** By index: what other brokers say of batches that came for them. */
      const there = new Map<number, Promise<AppendedElsewhere>>()
      let offset = first
      for (const [topic, partition, length] of message.partitions) {
        const handle = this.#session.broker.topicByName(topic)?.handles[partition]
        const leader = handle === undefined ? null : this.#leaderElsewhere(handle)
        if (handle === undefined) job.refuse(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        else if (leader !== null) {
          const bytes = copyOf(frame.bytes, offset, offset + length)
          there.set(job.results.length, leader.appendOnce(handle, bytes, message.acks))
          job.refuse(ErrorCode.NOT_LEADER_OR_FOLLOWER, handle)
        } else job.append(handle, { offset, length })
        offset += length
      }
      job.start(() => {
        if (there.size === 0) this.#produced(message, job.results, cost)
        else void this.#join(job.results, there).then((all) => this.#produced(message, all, cost))
      })
    }
    // Not while earlier ones wait: an extent that waits behind them would be memory that they want.
    if (own !== null && this.#waiting.length === 0) {
      start(own, payload.byteOffset - own.bytes.byteOffset)
    } else {
      this.#append([payload], { bytes, cost }, start)
    }
  }

  /** Of a client that knows this broker only; null for what this broker leads as well. */
  #leaderElsewhere(handle: number): Elsewhere | null {
    return this.#session.relays === null ? null : elsewhere(this.#session.broker, handle)
  }

  async #join(
    results: readonly AppendedBatch[],
    there: ReadonlyMap<number, Promise<AppendedElsewhere>>,
  ): Promise<AppendedBatch[]> {
    return Promise.all(results.map(async (own, i) => ({ ...own, ...(await there.get(i)) })))
  }

  #produced(message: ProduceMessage, results: readonly AppendedBatch[], cost: number): void {
    const session = this.#session
    const kept = this.#end(cost)
    if (kept === null) return
    if (message.acks === 0) {
      // A client that asked for no answer learns of a failure by losing its connection.
      if (results.some((result) => result.errorCode !== ErrorCode.NONE)) {
        session.violate(CloseCode.MALFORMED, 'an append with acks=0 failed')
        return
      }
      session.endSilently(message.id)
      session.send({ type: 'credits', bytes: cost - kept })
      return
    }
    session.answer({
      type: 'produced',
      id: message.id,
      partitions: results.map(({ errorCode, baseOffset, appendTimeMs, logStartOffset, handle }) => [
        errorCode,
        baseOffset,
        appendTimeMs,
        logStartOffset,
        session.broker.explain(errorCode, handle),
      ]),
      ...leadersOf(session, results),
      ...(kept === 0 ? {} : { kept }),
    })
  }

  #produceRecords(message: ProduceRecordsMessage, { cost, payload }: Received): void {
    const session = this.#session
    if (payload.length > 0) {
      session.violate(CloseCode.MALFORMED, 'produceRecords has no payload')
      this.#end(cost)
      return
    }
    // Nothing below may hold the message: decoded, its records are a hundred times its cost.
    const { id } = message
    const topic = session.broker.topicByName(message.topic)
    const plan =
      topic === undefined
        ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        : message.acks === 0
          ? ErrorCode.INVALID_REQUIRED_ACKS
          : planRecords(session.broker, topic, {
              partition: message.partition,
              records: message.records.map(plainRecord),
            })
    if (typeof plan === 'number') {
      const kept = this.#end(cost)
      if (kept !== null) session.fail(id, plan, null, kept)
      return
    }
    const there = new Map<number, Promise<AppendedElsewhere>>()
    for (const [i, { handle, bytes }] of plan.batches.entries()) {
      const leader = this.#leaderElsewhere(handle)
      if (leader !== null) there.set(i, leader.append(handle, bytes, message.acks))
    }
    const outline = outlineOf(plan)
    const onDone = (results: readonly AppendedBatch[]): void => {
      const kept = this.#end(cost)
      if (kept === null) return
      const failed = results.find((result) => result.errorCode !== ErrorCode.NONE)
      session.answer({
        type: 'producedRecords',
        id,
        records: recordOutcomes(outline, results).map(({ partition, offset, errorCode }) => [
          partition,
          offset,
          errorCode,
        ]),
        message:
          failed === undefined ? null : session.broker.explain(failed.errorCode, failed.handle),
        ...(kept === 0 ? {} : { kept }),
      })
    }
    const here = plan.batches.filter((_, i) => !there.has(i))
    const chunks = here.map((batch) => batch.bytes)
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    const own = there.size === 0 ? outline : outlineOf({ ...plan, batches: here })
    const joined = (results: readonly AppendedBatch[]): void => {
      if (there.size === 0) onDone(results)
      else void this.#join(inPlaces(plan.batches.length, there, results), there).then(onDone)
    }
    if (bytes === 0) joined([])
    else {
      this.#append(chunks, { bytes, cost }, (frame, first) => {
        appendPlan(session.broker, own, { frame, first }, joined)
      })
    }
  }

  /** Places the chunks in an extent and starts the appends; keeps a copy while there is none. */
  #append(
    chunks: readonly Uint8Array[],
    { bytes, cost }: { bytes: number; cost: number },
    start: StartAppends,
  ): void {
    const { arena } = this.#session.broker
    const frame = this.#waiting.length === 0 ? placeChunks(arena, chunks) : null
    if (frame !== null) {
      start(frame, frame.offset)
      frame.release()
      return
    }
    const copy = new Uint8Array(bytes)
    fill(copy, 0, chunks)
    this.#waiting.push({ bytes: copy, cost, start })
    this.#session.waitForMemory()
  }

  /**
   * The message has cost nothing any more. Returns how much of its cost the client does not get
   * back; null when nobody waits for its answer.
   */
  #end(cost: number): number | null {
    if (!this.#session.isClosed) return this.#session.endCost(cost)
    this.#session.account.settle(cost)
    return null
  }
}

/** Leaves places for the batches that went to other brokers. */
function inPlaces(
  count: number,
  there: ReadonlyMap<number, unknown>,
  results: readonly AppendedBatch[],
): AppendedBatch[] {
  let next = 0
  return Array.from({ length: count }, (_, i) =>
    there.has(i) ? refusedBatch(ErrorCode.NONE) : (results[next++] as AppendedBatch),
  )
}

/** Of those that were refused because somebody else leads them. */
function leadersOf({ broker }: SessionLink, results: readonly AppendedBatch[]) {
  const leaders = results.flatMap(({ errorCode, handle }, i): [number, LeaderHint][] => {
    const leader = leaderHint(broker, errorCode, handle)
    return leader === undefined ? [] : [[i, leader]]
  })
  return leaders.length === 0 ? {} : { leaders }
}

function fill(target: Uint8Array, from: number, chunks: readonly Uint8Array[]): void {
  let at = from
  for (const chunk of chunks) {
    target.set(chunk, at)
    at += chunk.length
  }
}

const encoder = new TextEncoder()

function plainRecord(record: ProduceRecordsMessage['records'][number]): PlainRecord {
  return {
    key: content(record.key),
    value: content(record.value),
    headers: (record.headers ?? []).map(([key, value]) => ({ key, value: content(value) })),
    timestampMs: record.timestamp ?? null,
  }
}

function content(value: Uint8Array | string | null | undefined): Uint8Array | null {
  if (value === null || value === undefined) return null
  return typeof value === 'string' ? encoder.encode(value) : value
}
