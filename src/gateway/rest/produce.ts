import type { z } from 'zod'
import type { Topic } from '../../broker/broker.ts'
import type { RecordOutcome } from '../../broker/plain-append.ts'
import { type PlainRecord, planRecords } from '../../broker/plain-records.ts'
import type { Slices } from '../../broker/slices.ts'
import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import type { WebRequest, WebResponse } from '../web/web-server.ts'
import { type Call, handleOf } from './call.ts'
import { bytesOf, toRecord } from './event-forms.ts'
import { BYTES_TYPE, LINES_TYPE } from './operations.ts'
import { badRequest, errorText, kafkaError, RestError } from './rest-error.ts'
import { EVENTS_MAX, Event, EventsRest, type Format, type ProduceQuery } from './shapes.ts'
import { type EventTexts, splitEvents } from './split-events.ts'
import { checkShape, parseJson, readText } from './validate.ts'

/** `POST /topics/{topic}/produce`, in three content types. Runs on main. */
type Query = z.infer<typeof ProduceQuery>

interface Asked {
  readonly records: readonly PlainRecord[]
  /** Of those that name none; null: where their keys say. */
  readonly partition: number | null
}

/** A body with events in JSON; what is decoded takes a multiple of it. */
const JSON_BYTES_MAX = 4 * 1024 * 1024
/** A larger body takes its turn with others that take long. */
const SMALL_BYTES = 64 * 1024
/** Characters of JSON between two looks at the clock. */
const CHARS_PER_LOOK = 16 * 1024
/** Base64 and quoting take more than what they stand for. */
const JSON_PER_BATCH_BYTE = 2

export async function produce(call: Call<Query>, contentType: string): Promise<WebResponse> {
  const { broker, request, query, appends, slices } = call
  const limit = bodyLimit(call, contentType)
  refuseLength(request, limit)
  const body = await request.body(limit)
  const input = { contentType, body, query, slices }
  const asked = await (body.length <= SMALL_BYTES ? read(input) : slices.run(() => read(input)))
  const topic = await topicToWrite(call)
  for (const { partition } of asked.records) {
    if (partition !== null && partition !== undefined) handleOf(topic, partition)
  }
  if (asked.partition !== null) handleOf(topic, asked.partition)
  const plan = planRecords(broker, topic, asked)
  if (typeof plan === 'number') throw kafkaError(plan)
  return answer(await appends.append(plan, request), ({ errorCode, partition }) =>
    broker.explain(errorCode, topic.handles[partition] ?? -1),
  )
}

function bodyLimit({ broker }: Call<Query>, contentType: string): number {
  if (contentType === BYTES_TYPE) return broker.requestBytesMax
  const wanted = broker.config.get('message.max.bytes') * JSON_PER_BATCH_BYTE
  return Math.min(Math.max(JSON_BYTES_MAX, wanted), broker.requestBytesMax)
}

/** What says its length is refused before it arrives. */
function refuseLength(request: WebRequest, bytesMax: number): void {
  if (Number(request.header('content-length') ?? 0) <= bytesMax) return
  const message = `The body is larger than ${bytesMax} bytes; send the events in several requests`
  throw new RestError({ status: 413, error: 'BODY_TOO_LARGE' }, message)
}

interface Input {
  readonly contentType: string
  readonly body: Uint8Array
  readonly query: Query
  readonly slices: Slices
}

async function read({ contentType, body, query, slices }: Input): Promise<Asked> {
  if (contentType === BYTES_TYPE) return readRaw(body, query)
  if (query.key !== undefined || query.header !== undefined || query.timestamp !== undefined) {
    throw badRequest(
      `query: key, header and timestamp are for ${BYTES_TYPE}; put them in the event`,
    )
  }
  const text = readText(body)
  if (contentType === LINES_TYPE) return readLines(text, query, slices)
  const texts = splitEvents(text, EVENTS_MAX)
  return texts === null ? readOne(text, query) : readMany(texts, query, slices)
}

function readRaw(value: Uint8Array, query: Query): Asked {
  const { key = null, key_format: keyFormat = 'text', partition = null, timestamp = null } = query
  const headers = (query.header ?? []).map((header) => {
    const colon = header.indexOf(':')
    return { key: header.slice(0, colon), value: Buffer.from(header.slice(colon + 1).trimStart()) }
  })
  const record: PlainRecord = {
    key: bytesOf(key, keyFormat, () => 'query.key'),
    value,
    headers,
    timestampMs: timestamp,
    partition,
  }
  return { records: [record], partition: null }
}

async function readLines(text: string, query: Query, slices: Slices): Promise<Asked> {
  const { format = 'json', partition = null } = query
  const lines: string[] = []
  const numbers: number[] = []
  let number = 1
  for (let at = 0; at < text.length; number++) {
    const found = text.indexOf('\n', at)
    const end = found === -1 ? text.length : found
    const line = text.slice(at, end)
    at = end + 1
    if (line.trim() === '') continue
    if (lines.length === EVENTS_MAX) throw tooMany()
    lines.push(line)
    numbers.push(number)
  }
  if (lines.length === 0) throw badRequest('body: there is no event in it')
  const records = await toRecords(lines, { format, slices, place: (i) => `line ${numbers[i]}` })
  return { records, partition }
}

/** A body that is one event. */
function readOne(text: string, query: Query): Asked {
  const body = parseJson(text, 'body')
  const isList = typeof body === 'object' && body !== null && Object.hasOwn(body, 'events')
  if (isList) checkShape(EventsRest, body, 'body') // Throws: "events" is no list.
  const event = checkShape(Event, body, 'body')
  const record = toRecord(event, query.format ?? 'json', 'body')
  return { records: [record], partition: query.partition ?? null }
}

async function readMany(texts: EventTexts, query: Query, slices: Slices): Promise<Asked> {
  if (texts.events.length > EVENTS_MAX) throw tooMany()
  if (texts.events.length === 0) throw badRequest('body.events: there is no event in it')
  const rest = checkShape(EventsRest, parseJson(texts.rest, 'body'), 'body')
  const { partition, format } = rest
  if (partition !== undefined && query.partition !== undefined) throw twice('partition')
  if (format !== undefined && query.format !== undefined) throw twice('format')
  const records = await toRecords(texts.events, {
    format: format ?? query.format ?? 'json',
    slices,
    place: (i) => `body.events[${i}]`,
  })
  return { records, partition: partition ?? query.partition ?? null }
}

interface Reading {
  readonly format: Format
  readonly slices: Slices
  /** How an event is called in a refusal. */
  readonly place: (index: number) => string
}

/** Events one by one, so that the first one that is wrong ends it. */
async function toRecords(texts: readonly string[], how: Reading): Promise<PlainRecord[]> {
  const { format, slices, place } = how
  const records: PlainRecord[] = []
  let unseenChars = 0
  for (const [i, text] of texts.entries()) {
    unseenChars += text.length
    if (unseenChars > CHARS_PER_LOOK) {
      unseenChars = 0
      await slices.breathe()
    }
    const where = place(i)
    records.push(toRecord(checkShape(Event, parseJson(text, where), where), format, where))
  }
  return records
}

function twice(name: string): RestError {
  return badRequest(`${name} stands in the query and in the body; once is enough`)
}

function tooMany(): RestError {
  return badRequest(`body: more than ${EVENTS_MAX} events; send them in several requests`)
}

/** The topic; made now where that is allowed, as for Kafka's producers. */
async function topicToWrite({ broker, topic: name }: Call<Query>): Promise<Topic> {
  const topic = broker.topicByName(name)
  if (topic !== undefined) return topic
  if (!broker.config.get('auto.create.topics.enable')) {
    const message = `There is no topic "${name}", and auto.create.topics.enable is off`
    throw kafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `${message}: POST /topics creates it`)
  }
  const { errorCode, errorMessage } = await broker.topics.autoCreate(name)
  const created = broker.topicByName(name)
  if (created !== undefined) return created
  throw kafkaError(errorCode, errorMessage)
}

/** When nothing was stored it is an error; else each event says where it is, or why it is not. */
function answer(
  outcomes: readonly RecordOutcome[],
  explain: (outcome: RecordOutcome) => string | null,
): WebResponse {
  let failed = 0
  let text = ''
  for (const outcome of outcomes) {
    const { partition, offset, errorCode, appendTimeMs } = outcome
    text += `${text === '' ? '' : ','}{"partition":${partition},"offset":${offset}`
    if (errorCode !== ErrorCode.NONE) {
      failed++
      const { name, code } = errorInfo(errorCode)
      const message = errorText(errorCode, explain(outcome))
      text += `,"error":"${name}","code":${code},"message":${JSON.stringify(message)}`
    } else if (appendTimeMs >= 0) {
      text += `,"timestamp":${appendTimeMs}`
    }
    text += '}'
  }
  const first = outcomes[0]!
  if (failed === outcomes.length) throw kafkaError(first.errorCode, explain(first))
  const body = `{"offsets":[${text}]${failed === 0 ? '' : `,"failed":${failed}`}}\n`
  return { status: 200, headers: { 'content-type': 'application/json' }, body }
}
