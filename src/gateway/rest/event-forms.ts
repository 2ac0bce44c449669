import { isUtf8 } from 'node:buffer'
import type { PlainRecord } from '../../broker/plain-records.ts'
import type { Event as ReadEvent } from '../../broker/read-events.ts'
import { checkJson } from './check-json.ts'
import { badRequest } from './rest-error.ts'
import type { BytesFormat, Event, Format } from './shapes.ts'

/**
 * Events in JSON and as bytes, forth and back: what is read in the format it was written in equals
 * what was written. What does not fit the format asked for says so beside itself (`valueFormat`,
 * `keyFormat`, `format`) and loses nothing. Pure.
 */
const NO_HEADERS: PlainRecord['headers'] = []

/** `where` names the event in a refusal. Throws RestError. */
export function toRecord(event: Event, format: Format, where: string): PlainRecord {
  const { key = null, value, headers, partition, timestamp, keyFormat, valueFormat } = event
  const bytesFormat = bytesFormatOf(format)
  return {
    key: bytesOf(key, keyFormat ?? bytesFormat, () => `${where}.key`),
    value: valueBytes(value, valueFormat ?? format, where),
    headers:
      headers?.map((header, i) => ({
        key: wellFormed(header.key, () => `${where}.headers[${i}].key`),
        value: bytesOf(header.value, header.format ?? bytesFormat, () => {
          return `${where}.headers[${i}].value`
        }),
      })) ?? NO_HEADERS,
    timestampMs: timestamp ?? null,
    partition: partition ?? null,
  }
}

/** Keys and headers are never JSON. */
export function bytesFormatOf(format: Format): BytesFormat {
  return format === 'base64' ? 'base64' : 'text'
}

function valueBytes(value: unknown, format: Format, where: string): Uint8Array | null {
  if (value === null) return null
  if (format === 'json') return Buffer.from(JSON.stringify(value))
  if (typeof value !== 'string') {
    throw badRequest(`${where}.value: ${format} wants a string or null; json takes anything`)
  }
  return bytesOf(value, format, () => `${where}.value`)
}

/** Throws RestError for what no bytes stand for. */
export function bytesOf(
  text: string | null,
  format: BytesFormat,
  where: () => string,
): Uint8Array | null {
  if (text === null) return null
  if (format === 'text') return Buffer.from(wellFormed(text, where))
  const bytes = Buffer.from(text, 'base64')
  // What is no base64 is skipped, and so leaves too little. A pattern costs more than the decoding.
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  if (text.length % 4 === 0 && bytes.length === (text.length / 4) * 3 - padding) return bytes
  throw badRequest(`${where()}: it is not base64 (A–Z a–z 0–9 + /, padded with =)`)
}

function wellFormed(text: string, where: () => string): string {
  if (text.isWellFormed()) return text
  throw badRequest(`${where()}: a surrogate without its pair is no character; send base64`)
}

/** One event as JSON text on one line. */
export function toJson(event: ReadEvent, format: Format): string {
  const { offset, timestamp, key, value, headers } = event
  const bytesFormat = bytesFormatOf(format)
  const shownKey = show(key, bytesFormat)
  const shownValue = format === 'json' ? showJson(value) : show(value, bytesFormat)
  let text = `{"offset":${offset},"timestamp":${timestamp},"key":${shownKey.text}`
  if (shownKey.format !== null) text += `,"keyFormat":"${shownKey.format}"`
  text += `,"value":${shownValue.text}`
  if (shownValue.format !== null) text += `,"valueFormat":"${shownValue.format}"`
  if (headers.length === 0) return `${text}}`
  const list = headers.map((header) => {
    const shown = show(header.value, bytesFormat)
    const other = shown.format === null ? '' : `,"format":"${shown.format}"`
    return `{"key":${JSON.stringify(header.key)},"value":${shown.text}${other}}`
  })
  return `${text},"headers":[${list.join(',')}]}`
}

/** JSON text; and the format, where it is not the one asked for. */
interface Shown {
  readonly text: string
  readonly format: BytesFormat | null
}

const NULL: Shown = { text: 'null', format: null }

function show(bytes: Uint8Array | null, format: BytesFormat): Shown {
  if (bytes === null) return NULL
  if (format === 'base64') return { text: `"${base64(bytes)}"`, format: null }
  if (isReadable(bytes)) return { text: JSON.stringify(utf8(bytes)), format: null }
  return { text: `"${base64(bytes)}"`, format: 'base64' }
}

/** From here on text is looked at before it is quoted. */
const LARGE_BYTES = 64 * 1024

/**
 * Whether it goes into JSON as text. Quoted, a control character takes six times its byte: what is
 * large and made of them, such as a batch that inflates to zeros, is no text.
 */
function isReadable(bytes: Uint8Array): boolean {
  if (!isUtf8(bytes)) return false
  if (bytes.length < LARGE_BYTES) return true
  let controls = 0
  for (let i = 0; i < bytes.length; i++) if ((bytes[i] as number) < 0x20) controls++
  return controls * 5 < bytes.length
}

/** As it lies in the log, not parsed and written anew: its numbers stay what they are. */
function showJson(bytes: Uint8Array | null): Shown {
  if (bytes === null) return NULL
  if (!isReadable(bytes)) return { text: `"${base64(bytes)}"`, format: 'base64' }
  const text = utf8(bytes)
  if (isJsonValue(text)) return { text: text.replace(/[\r\n]/g, ' '), format: null }
  return { text: JSON.stringify(text), format: 'text' }
}

/** JSON that this door would take as a value. `null` as text is not: it would look like none. */
function isJsonValue(text: string): boolean {
  // Most text that is no JSON shows it at once; an exception costs.
  if (!/^\s*[-"{[\dtf]/.test(text) || checkJson(text) !== null) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function utf8(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('utf8')
}

function base64(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64')
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
