import { assert } from '../base/assert.ts'
import { MessageCodecs } from '../wire/kafka/codec/codecs.ts'
import { Reader } from '../wire/kafka/reader.ts'
import type { Fields, MessageSchema } from '../wire/kafka/schema/definition.ts'
import { Writer } from '../wire/kafka/writer.ts'
import type { MetadataRecord } from './records.ts'

/**
 * The bytes of the metadata log's records. A record's value is
 *
 *   frame version (1) uvarint │ record type uvarint │ version uvarint │ body in that version
 *
 * and its body is declared with the same schema language as Kafka's messages: fields are added with
 * a new version or as tagged fields, never changed, so that old logs stay readable.
 */
const FRAME_VERSION = 1

function recordOf(name: string, fields: Fields): MessageSchema {
  return { name, kind: 'record', apiKey: -1, versions: '0', flexible: '0+', fields }
}

const SCHEMAS: readonly {
  readonly id: number
  readonly type: MetadataRecord['type']
  readonly schema: MessageSchema
}[] = [
  {
    id: 1,
    type: 'broker-start',
    schema: recordOf('BrokerStartRecord', {
      brokerId: { type: 'int32', versions: '0+' },
      brokerEpoch: { type: 'int64', versions: '0+' },
      clean: { type: 'bool', versions: '0+' },
    }),
  },
  {
    id: 2,
    type: 'topic',
    schema: recordOf('TopicRecord', {
      topicId: { type: 'uuid', versions: '0+' },
      name: { type: 'string', versions: '0+' },
    }),
  },
  {
    id: 3,
    type: 'partitions',
    schema: recordOf('PartitionsRecord', {
      topicId: { type: 'uuid', versions: '0+' },
      firstPartition: { type: 'int32', versions: '0+' },
      directories: { type: ['uuid'], versions: '0+' },
    }),
  },
  {
    id: 4,
    type: 'config',
    schema: recordOf('ConfigRecord', {
      topicId: { type: 'uuid', versions: '0+' },
      name: { type: 'string', versions: '0+' },
      value: { type: 'string', versions: '0+', nullable: '0+' },
    }),
  },
  {
    id: 5,
    type: 'remove-topic',
    schema: recordOf('RemoveTopicRecord', { topicId: { type: 'uuid', versions: '0+' } }),
  },
  {
    id: 6,
    type: 'producer-ids',
    schema: recordOf('ProducerIdsRecord', {
      brokerId: { type: 'int32', versions: '0+' },
      nextProducerId: { type: 'int64', versions: '0+' },
    }),
  },
  {
    id: 7,
    type: 'broker-config',
    schema: recordOf('BrokerConfigRecord', {
      broker: { type: 'string', versions: '0+' },
      name: { type: 'string', versions: '0+' },
      value: { type: 'string', versions: '0+', nullable: '0+' },
    }),
  },
  {
    id: 8,
    type: 'group-config',
    schema: recordOf('GroupConfigRecord', {
      group: { type: 'string', versions: '0+' },
      name: { type: 'string', versions: '0+' },
      value: { type: 'string', versions: '0+', nullable: '0+' },
    }),
  },
]

const BY_TYPE = new Map(
  SCHEMAS.map(({ id, type, schema }) => [type, { id, codecs: new MessageCodecs(schema) }]),
)
const TYPE_BY_ID = new Map(SCHEMAS.map(({ id, type }) => [id, type]))
const VERSION = 0
const SIZE_PREFIX_BYTES = 4

const writer = new Writer()

/** The record's value for the metadata log. */
export function encodeMetadataRecord(record: MetadataRecord): Uint8Array {
  const entry = BY_TYPE.get(record.type)
  assert(entry !== undefined)
  writer.start()
  writer.uvarint(FRAME_VERSION)
  writer.uvarint(entry.id)
  writer.uvarint(VERSION)
  entry.codecs.encoder(VERSION)(writer, record)
  const chunks = writer.finish()
  assert(chunks.length === 1)
  return (chunks[0] as Uint8Array).subarray(SIZE_PREFIX_BYTES)
}

/**
 * Reads a record's value. Throws DecodeError for bytes that are no record, and Error for a record
 * type or version that only a newer broker knows.
 */
export function decodeMetadataRecord(value: Uint8Array): MetadataRecord {
  const reader = new Reader(value)
  const frameVersion = reader.uvarint('frameVersion')
  const id = reader.uvarint('recordType')
  const version = reader.uvarint('version')
  const type = TYPE_BY_ID.get(id)
  if (frameVersion !== FRAME_VERSION || type === undefined || version > VERSION) {
    throw new Error(
      `the metadata log holds record type ${id} version ${version}: a newer broker wrote it`,
    )
  }
  const body = BY_TYPE.get(type)!.codecs.decoder(version)(reader) as object
  reader.finish(type)
  return { type, ...body } as MetadataRecord
}
