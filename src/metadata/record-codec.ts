import { assert } from '../base/assert.ts'
import { MessageCodecs } from '../wire/kafka/codec/codecs.ts'
import { Reader } from '../wire/kafka/reader.ts'
import type { Fields, MessageSchema } from '../wire/kafka/schema/definition.ts'
import { Writer } from '../wire/kafka/writer.ts'
import { RULE_VERSION } from './records.ts'

/**
 * The frame of the records that metadata is kept in, in its log and in its snapshots. A record's
 * value is
 *
 *   frame version (1) uvarint │ record type uvarint │ version uvarint │ body in that version
 *
 * and its body is declared with the same schema language as Kafka's messages: fields are added with
 * a new version or as tagged fields, never changed, so that old logs stay readable.
 */
const FRAME_VERSION = 1
const SIZE_PREFIX_BYTES = 4

export interface RecordFormat<R extends { readonly type: string }> {
  /** No two formats have the same, of whatever codec. */
  readonly id: number
  readonly type: R['type']
  /** The highest version that this broker reads. */
  readonly versionMax: number
  /** Where a record is written in another version than the highest. */
  readonly versionOf?: (record: never) => number
  readonly schema: MessageSchema
  /** Where the body is not simply the record without its type. */
  readonly toBody?: (record: never) => object
  readonly fromBody?: (body: never, version: number) => object
}

interface Format<R extends { readonly type: string }> extends RecordFormat<R> {
  readonly codecs: MessageCodecs
}

const writer = new Writer()

export class RecordCodec<R extends { readonly type: string }> {
  readonly #byId = new Map<number, Format<R>>()
  readonly #byType = new Map<string, Format<R>>()

  constructor(formats: readonly RecordFormat<R>[]) {
    for (const format of formats) {
      const known = { ...format, codecs: new MessageCodecs(format.schema) }
      assert(!this.#byId.has(format.id) && !this.#byType.has(format.type))
      this.#byId.set(format.id, known)
      this.#byType.set(format.type, known)
    }
  }

  /** The value shares its memory with no other, but may be part of a larger buffer. */
  encode(record: R): Uint8Array {
    const format = this.#byType.get(record.type)
    assert(format !== undefined)
    const version = format.versionOf?.(record as never) ?? format.versionMax
    writer.start()
    writer.uvarint(FRAME_VERSION)
    writer.uvarint(format.id)
    writer.uvarint(version)
    format.codecs.encoder(version)(writer, format.toBody?.(record as never) ?? record)
    const chunks = writer.finish()
    const [only] = chunks
    assert(only !== undefined)
    if (chunks.length === 1) return only.subarray(SIZE_PREFIX_BYTES)
    return Buffer.concat(chunks).subarray(SIZE_PREFIX_BYTES)
  }

  /**
   * Throws DecodeError for bytes that are no record, and Error for a record type or version, or
   * rules, that only a newer broker knows.
   */
  decode(value: Uint8Array): R {
    const reader = new Reader(value)
    const frameVersion = reader.uvarint('frameVersion')
    const id = reader.uvarint('recordType')
    const version = reader.uvarint('version')
    const format = this.#byId.get(id)
    const isKnown = frameVersion === FRAME_VERSION && format !== undefined
    if (!isKnown || version > format.versionMax) {
      throw newerBroker(`record type ${id} version ${version}`)
    }
    const decoded = format.codecs.decoder(version)(reader) as object
    reader.finish(format.type)
    const body = format.fromBody?.(decoded as never, version) ?? decoded
    // Of older rules it is known what they said (`DIRECTORY_RULES`).
    if ('ruleVersion' in body && !isKnownRule(body.ruleVersion as number)) {
      throw newerBroker(`record type ${id} for rules of version ${body.ruleVersion}`)
    }
    return { type: format.type, ...body } as unknown as R
  }
}

function isKnownRule(version: number): boolean {
  return version >= 1 && version <= RULE_VERSION
}

export function newerBroker(what: string): Error {
  return new Error(`the metadata log holds ${what}: a newer broker wrote it`)
}

// —— what bodies are made of ——

export function recordOf(name: string, fields: Fields, versionMax = 0): MessageSchema {
  const versions = versionMax === 0 ? '0' : (`0-${versionMax}` as const)
  return { name, kind: 'record', apiKey: -1, versions, flexible: '0+', fields }
}

export const INT8 = { type: 'int8', versions: '0+' } as const
export const INT32 = { type: 'int32', versions: '0+' } as const
export const INT32S = { type: ['int32'], versions: '0+' } as const
export const INT64 = { type: 'int64', versions: '0+' } as const
export const UUID = { type: 'uuid', versions: '0+' } as const
export const UUIDS = { type: ['uuid'], versions: '0+' } as const
export const TEXT = { type: 'string', versions: '0+' } as const
export const TEXT_OR_NULL = { type: 'string', versions: '0+', nullable: '0+' } as const
export const BOOL = { type: 'bool', versions: '0+' } as const
export const BYTES = { type: 'bytes', versions: '0+' } as const
