/**
 * Requests written piece by piece from their schemas, so that a test can say something else in the
 * place of any length, count or text. Independent of the encoder under `src`: it knows only which
 * fields a version carries.
 */
import { isArray, layoutOf, type Slot, type Version } from '../../src/wire/kafka/codec/layout.ts'
import { API_SCHEMAS, type SupportedApiKey } from '../../src/wire/kafka/schema/catalog.ts'
import type { ElementType, Fields } from '../../src/wire/kafka/schema/definition.ts'
import { parseVersions } from '../../src/wire/kafka/schema/version-range.ts'
import { batchOf } from '../support/kafka.ts'

export type PieceKind = 'int16' | 'int32' | 'uvarint' | 'text' | 'value'

export interface Piece {
  readonly kind: PieceKind
  /** Where in the message: `topics.name length`. */
  readonly path: string
  readonly bytes: Uint8Array
  /** Of a length or count: what it says (compact ones say one more). */
  readonly number?: number
}

export interface SampleRequest {
  readonly apiKey: SupportedApiKey
  readonly version: number
  /** `Produce v9`. */
  readonly label: string
  readonly flexible: boolean
  /** Header and body; without the frame's size. */
  readonly pieces: readonly Piece[]
}

/** Topics that a sample names; a run against a broker has created it. */
export const SAMPLE_TOPIC = 'sampled'
export const SAMPLE_UUID = Uint8Array.from({ length: 16 }, (_, i) => i + 1)
export const CORRELATION_ID = 0x0a0b0c0d
const CLIENT_ID = 'hostile'

/** Numbers with which a request does what it is for; others are 0. */
const NUMBERS: Readonly<Record<string, number>> = {
  acks: -1,
  count: 1,
  currentLeaderEpoch: -1,
  lastFetchedEpoch: -1,
  logStartOffset: -1,
  maxBytes: 1000,
  numPartitions: 1,
  partitionMaxBytes: 1000,
  producerEpoch: -1,
  producerId: -1,
  replicaId: -1,
  replicaEpoch: -1,
  replicationFactor: -1,
  resourceType: 2,
  sessionEpoch: -1,
  timeoutMs: 1000,
  timestamp: -1,
  transactionTimeoutMs: 1000,
}

/** One request of every API in every version. */
export function sampleRequests(): SampleRequest[] {
  return Object.keys(API_SCHEMAS).flatMap((key) => {
    const apiKey = Number(key) as SupportedApiKey
    const { request } = API_SCHEMAS[apiKey]
    const { min, max } = parseVersions(request.versions)
    return Array.from({ length: max - min + 1 }, (_, i) => sampleRequest(apiKey, min + i))
  })
}

export function sampleRequest(apiKey: SupportedApiKey, number: number): SampleRequest {
  const { request } = API_SCHEMAS[apiKey]
  const flexibleFrom = parseVersions(request.flexible)
  const flexible = number >= flexibleFrom.min && number <= flexibleFrom.max
  const out = new Pieces()
  out.value('apiKey', int(2, apiKey))
  out.value('apiVersion', int(2, number))
  out.value('correlationId', int(4, CORRELATION_ID))
  out.length('clientId length', 'int16', CLIENT_ID.length)
  out.text('clientId', CLIENT_ID)
  if (flexible) out.tags('header')
  out.struct(request.fields, { number, flexible }, '')
  const label = `${request.name.replace('Request', '')} v${number}`
  return { apiKey, version: number, label, flexible, pieces: out.pieces }
}

/** With its size in front. */
export function frameOf(body: Uint8Array): Buffer {
  return Buffer.concat([int(4, body.length), body])
}

export function bytesOf(pieces: readonly Piece[]): Buffer {
  return Buffer.concat(pieces.map((piece) => piece.bytes))
}

export function int(bytes: 1 | 2 | 4 | 8, value: number | bigint): Uint8Array {
  const out = Buffer.alloc(bytes)
  if (bytes === 8) out.writeBigInt64BE(BigInt(value))
  else out.writeIntBE(Number(value), 0, bytes)
  return out
}

export function uvarint(value: number): Uint8Array {
  const out: number[] = []
  let rest = value
  while (rest > 0x7f) {
    out.push((rest % 128) | 0x80)
    rest = Math.floor(rest / 128)
  }
  out.push(rest)
  return Uint8Array.from(out)
}

const FIXED: Readonly<Record<string, 1 | 2 | 4 | 8>> = {
  bool: 1,
  int8: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  float64: 8,
}

class Pieces {
  readonly pieces: Piece[] = []

  value(path: string, bytes: Uint8Array): void {
    this.pieces.push({ kind: 'value', path, bytes })
  }

  text(path: string, text: string): void {
    this.pieces.push({ kind: 'text', path, bytes: Buffer.from(text) })
  }

  length(path: string, kind: 'int16' | 'int32' | 'uvarint', number: number): void {
    const bytes = kind === 'uvarint' ? uvarint(number + 1) : int(kind === 'int16' ? 2 : 4, number)
    this.pieces.push({ kind, path, bytes, number })
  }

  /** One tagged field that nobody knows. */
  tags(path: string, known: readonly (readonly [number, Uint8Array])[] = []): void {
    const all = [...known, [99, Buffer.from('later')] as const]
    this.pieces.push({ kind: 'uvarint', path: `${path} tag count`, ...raw(all.length) })
    for (const [tag, content] of all) {
      this.pieces.push({ kind: 'uvarint', path: `${path} tag`, ...raw(tag) })
      this.pieces.push({ kind: 'uvarint', path: `${path} tag ${tag} size`, ...raw(content.length) })
      this.value(`${path} tag ${tag}`, content)
    }
  }

  struct(fields: Fields, version: Version, path: string): void {
    const layout = layoutOf(fields, version, path)
    for (const slot of layout.inline) this.#field(slot, version)
    if (!layout.flexible) return
    const known = layout.tagged.map((slot) => {
      const content = new Pieces()
      content.#field(slot, version)
      return [slot.field.tag as number, bytesOf(content.pieces)] as const
    })
    this.tags(path === '' ? 'body' : path, known)
  }

  #field(slot: Slot, version: Version): void {
    const { type, path, compact } = slot
    if (isArray(type)) {
      this.length(`${path} count`, compact ? 'uvarint' : 'int32', 1)
      this.#value(type[0], slot, version)
      return
    }
    if (typeof type === 'object' && slot.nullable) this.value(`${path} presence`, int(1, 1))
    this.#value(type as ElementType, slot, version)
  }

  #value(type: ElementType, slot: Slot, version: Version): void {
    const { path, compact, name } = slot
    if (typeof type === 'object') this.struct(type, version, path)
    else if (type === 'string') this.#sized(path, compact ? 'uvarint' : 'int16', textOf(name), true)
    else if (type === 'bytes') this.#sized(path, compact ? 'uvarint' : 'int32', ONE_BYTE, false)
    else if (type === 'records') {
      this.#sized(path, compact ? 'uvarint' : 'int32', batchOf({ values: ['sampled'] }), false)
    } else if (type === 'uuid') this.value(path, SAMPLE_UUID)
    else this.value(path, int(FIXED[type] as 1 | 2 | 4 | 8, NUMBERS[name] ?? 0))
  }

  #sized(path: string, kind: 'int16' | 'int32' | 'uvarint', bytes: Uint8Array, isText: boolean) {
    this.length(`${path} length`, kind, bytes.length)
    this.pieces.push({ kind: isText ? 'text' : 'value', path, bytes })
  }
}

const ONE_BYTE = Uint8Array.of(7)

/** A varint that is no length: says itself. */
function raw(number: number): { bytes: Uint8Array; number: number } {
  return { bytes: uvarint(number), number: number - 1 }
}

function textOf(name: string): Uint8Array {
  const isConfig = name === 'configurationKeys' || name === 'value'
  return Buffer.from(isConfig ? 'retention.ms' : SAMPLE_TOPIC)
}
