import type { z } from 'zod'
import { elsewhere } from '../../broker/elsewhere.ts'
import { deleteRecords } from '../../broker/handlers/21-delete-records.ts'
import { type Event, type EventsRead, readEvents as readLog } from '../../broker/read-events.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { DeleteRecordsResponseInit } from '../../wire/kafka/schema/21-delete-records.ts'
import { jsonResponse } from '../web/responses.ts'
import type { BodyChunk, WebResponse } from '../web/web-server.ts'
import { type Call, handleOf, topicOf } from './call.ts'
import { toJson } from './event-forms.ts'
import { EventStream, type Page } from './event-stream.ts'
import { EARLIEST, LATEST, offsetAt } from './offset-at.ts'
import { JSON_TYPE, LINES_TYPE } from './operations.ts'
import { badRequest, kafkaError, type RestError } from './rest-error.ts'
import {
  type DeleteEventsQuery,
  type EventsQuery,
  type Format,
  READ_BYTES_DEFAULT,
  READ_EVENTS_MAX,
} from './shapes.ts'

/** Reading a partition's events: a page, a long poll, or a stream that follows. Runs on main. */
type Query = z.infer<typeof EventsQuery>

/** An answer up to this is sent whole; a larger one in pieces, as its reader takes them. */
export const WHOLE_BYTES_MAX = 64 * 1024
/** What is read at once from the log; a batch comes whole all the same. */
const READ_BYTES = 1024 * 1024
/** A stream sends so much at once, and a slow reader costs it. */
const STREAM_BYTES = 256 * 1024
/** A stream without events sends an empty line: a reader that is gone is noticed by it. */
const HEARTBEAT_MS = 5000

interface Place {
  readonly handle: number
  readonly name: string
  readonly format: Format
}

export async function readEvents(call: Call<Query>, type: string): Promise<WebResponse> {
  const { query } = call
  const handle = handleOf(topicOf(call), call.partition)
  if (query.offset !== undefined && query.timestamp !== undefined) {
    throw badRequest('query: offset and timestamp are both there; one says where to begin')
  }
  const offset = await beginning(call, handle)
  const place = { handle, name: `${call.topic}-${call.partition}`, format: query.format ?? 'json' }
  if (query.follow === true) return follow(call, place, offset)
  const limits = {
    bytesMax: query.max_bytes ?? READ_BYTES_DEFAULT,
    eventsMax: query.max_events ?? READ_EVENTS_MAX,
    waitMs: query.wait_ms ?? 0,
  }
  const page = await readPage(call, place, offset, limits)
  return type === LINES_TYPE ? asLines(call, page) : asJson(call, page)
}

/** The offset to begin at. */
async function beginning(call: Call<Query>, handle: number): Promise<number> {
  const { offset = 'earliest', timestamp } = call.query
  if (timestamp !== undefined) {
    const found = await offsetAt(call.broker, call, timestamp)
    return found >= 0 ? found : offsetAt(call.broker, call, LATEST)
  }
  if (typeof offset === 'number') return offset
  const isEarliest = offset === 'earliest'
  if (elsewhere(call.broker, handle) !== null) {
    return offsetAt(call.broker, call, isEarliest ? EARLIEST : LATEST)
  }
  const reply = await call.broker.control(handle, { kind: 'offsets', handle })
  if (reply.kind !== 'offsets') throw kafkaError(ErrorCode.KAFKA_STORAGE_ERROR)
  return isEarliest ? reply.logStartOffset : reply.highWatermark
}

interface PageLimits {
  readonly bytesMax: number
  readonly eventsMax: number
  readonly waitMs: number
}

/** Throws RestError for what cannot be read. */
async function readPage(
  call: Call<unknown>,
  { handle, name, format }: Place,
  offset: number,
  limits: PageLimits,
): Promise<Page> {
  const { broker, request, memory, slices, topic, partition } = call
  const events: string[] = []
  let length = 0
  const read = await readLog(
    broker,
    {
      handle,
      offset,
      bytesMax: Math.min(limits.bytesMax, READ_BYTES),
      waitMs: limits.waitMs,
      // To make one costs as much as a small read.
      signal: limits.waitMs > 0 ? request.signal : null,
      memory,
      slices,
    },
    (event: Event) => {
      const text = toJson(event, format)
      events.push(text)
      length += text.length + 1
      return length < limits.bytesMax && events.length < limits.eventsMax
    },
  )
  if (read.errorCode !== ErrorCode.NONE) {
    // A shard says of a partition that has just been deleted only that it is not there.
    if (broker.topicByName(topic)?.handles[partition] !== handle) throw goneError(name)
    throw readError(read, name)
  }
  return { offset, events, length, read }
}

function goneError(name: string): RestError {
  return kafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `${name} has been deleted`)
}

function readError(read: EventsRead, name: string): RestError {
  const { errorCode, errorMessage, nextOffset, logStartOffset, highWatermark } = read
  if (errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
    const message =
      `Offset ${nextOffset} is not in ${name}, which holds ${logStartOffset} to ` +
      `${highWatermark} (exclusive). Ask for one of these, or for offset=earliest or latest`
    return kafkaError(errorCode, message, { logStartOffset, highWatermark })
  }
  if (errorCode === ErrorCode.THROTTLING_QUOTA_EXCEEDED) return kafkaError(errorCode, TOO_MANY)
  if (errorMessage === null) return kafkaError(errorCode)
  const message =
    `The batch of ${name} at offset ${nextOffset} cannot be read here: ${errorMessage}. ` +
    'Go on behind it, or read it over the Kafka protocol'
  return kafkaError(errorCode, message, { nextOffset })
}

function asJson(call: Call<Query>, { events, length, read }: Page): WebResponse {
  const { nextOffset, highWatermark, logStartOffset } = read
  const end =
    `],"nextOffset":${nextOffset},"highWatermark":${highWatermark},` +
    `"logStartOffset":${logStartOffset}}\n`
  const headers = { 'content-type': JSON_TYPE, 'cache-control': 'no-store' }
  if (length <= WHOLE_BYTES_MAX) {
    return { status: 200, headers, body: `{"events":[${events.join(',')}${end}` }
  }
  return {
    status: 200,
    headers,
    body: inPieces(call, { events, length, begin: '{"events":[', between: ',', end }),
  }
}

function asLines(call: Call<Query>, { events, length, read }: Page): WebResponse {
  const headers = {
    'content-type': LINES_TYPE,
    'cache-control': 'no-store',
    'x-next-offset': String(read.nextOffset),
    'x-high-watermark': String(read.highWatermark),
    'x-log-start-offset': String(read.logStartOffset),
  }
  const end = events.length === 0 ? '' : '\n'
  if (length <= WHOLE_BYTES_MAX) {
    return { status: 200, headers, body: `${events.join('\n')}${end}` }
  }
  return {
    status: 200,
    headers,
    body: inPieces(call, { events, length, begin: '', between: '\n', end }),
  }
}

const TOO_MANY = 'Other answers that are under way fill their memory'

interface Pieces {
  readonly events: readonly string[]
  readonly length: number
  readonly begin: string
  readonly between: string
  readonly end: string
}

/** Throws RestError when too many answers are under way. */
export function inPieces(
  { memory, request }: Call<unknown>,
  pieces: Pieces,
): AsyncIterable<BodyChunk> {
  const { events, length, begin, between, end } = pieces
  if (!memory.tryTake(length)) throw kafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED, TOO_MANY)
  async function* generate(): AsyncGenerator<string> {
    let piece = begin
    for (const [i, event] of events.entries()) {
      piece += i === 0 ? event : `${between}${event}`
      if (piece.length < WHOLE_BYTES_MAX) continue
      yield piece
      piece = ''
    }
    yield `${piece}${end}`
  }
  return new HeldBody(generate(), () => memory.give(length), request.signal)
}

/**
 * A body that gives something back once when it is over, also when nobody ever asks for a piece:
 * a generator that has not begun runs no `finally`.
 */
class HeldBody implements AsyncIterableIterator<BodyChunk> {
  readonly #pieces: AsyncGenerator<BodyChunk>
  readonly #signal: AbortSignal
  #release: (() => void) | null

  constructor(pieces: AsyncGenerator<BodyChunk>, release: () => void, signal: AbortSignal) {
    this.#pieces = pieces
    this.#release = release
    this.#signal = signal
    signal.addEventListener('abort', this.#over)
    if (signal.aborted) this.#over()
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async next(): Promise<IteratorResult<BodyChunk>> {
    const result = await this.#pieces.next()
    if (result.done === true) this.#over()
    return result
  }

  async return(): Promise<IteratorResult<BodyChunk>> {
    this.#over()
    return this.#pieces.return(undefined)
  }

  readonly #over = (): void => {
    this.#signal.removeEventListener('abort', this.#over)
    this.#release?.()
    this.#release = null
  }
}

/** The first page is read before the answer begins, so that what is wrong has a status. */
async function follow(call: Call<Query>, place: Place, offset: number): Promise<WebResponse> {
  const { memory, query, request } = call
  const eventsMax = query.max_events ?? Infinity
  const first = await readPage(call, place, offset, streamLimits(eventsMax, 0))
  const read = (from: number, eventsLeft: number): Promise<Page> =>
    readPage(call, place, from, streamLimits(eventsLeft, HEARTBEAT_MS))
  const headers = {
    'content-type': LINES_TYPE,
    'cache-control': 'no-store',
    // For proxies that collect answers.
    'x-accel-buffering': 'no',
  }
  const body = new EventStream({ memory, signal: request.signal, read }, first, eventsMax)
  return { status: 200, headers, body }
}

function streamLimits(eventsLeft: number, waitMs: number): PageLimits {
  return { bytesMax: STREAM_BYTES, eventsMax: Math.min(eventsLeft, READ_EVENTS_MAX), waitMs }
}

export async function deleteEvents(
  call: Call<z.infer<typeof DeleteEventsQuery>>,
): Promise<WebResponse> {
  const { broker, query, topic: name, partition: partitionIndex } = call
  const handle = handleOf(topicOf(call), partitionIndex)
  const offset = query.before === 'latest' ? -1 : query.before
  const leader = elsewhere(broker, handle)
  if (leader !== null) {
    const deleted = await leader.deleteRecords(handle, offset)
    if (deleted.errorCode !== ErrorCode.NONE) {
      throw deleteError(deleted.errorCode, `${name}-${partitionIndex}`, offset)
    }
    return jsonResponse(200, { logStartOffset: deleted.offset })
  }
  const body = { topics: [{ name, partitions: [{ partitionIndex, offset }] }], timeoutMs: 0 }
  const reply = (await deleteRecords(broker, body)).body as DeleteRecordsResponseInit
  const { errorCode, lowWatermark } = reply.topics[0]!.partitions[0]!
  if (errorCode !== ErrorCode.NONE) {
    throw deleteError(errorCode, `${name}-${partitionIndex}`, offset)
  }
  return jsonResponse(200, { logStartOffset: lowWatermark })
}

function deleteError(errorCode: number, name: string, offset: number): RestError {
  if (errorCode !== ErrorCode.OFFSET_OUT_OF_RANGE) return kafkaError(errorCode)
  return kafkaError(errorCode, `${name} does not go as far as ${offset}: "latest" is its end`)
}
