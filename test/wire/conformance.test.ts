import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { ApiKey, ClusterApi } from '../../src/wire/kafka/api-key.ts'
import type {
  Field,
  Fields,
  MessageSchema,
  VersionRange,
} from '../../src/wire/kafka/schema/definition.ts'
import { parseVersions } from '../../src/wire/kafka/schema/version-range.ts'
import { SCHEMAS } from './messages.ts'

/**
 * Compares every declaration with Kafka's own message definitions, in the folder that the
 * environment variable MILLRACE_KAFKA_MESSAGES names. Without it there is nothing to compare with;
 * with it, a missing folder or file is a failure.
 */
const FOLDER = process.env.MILLRACE_KAFKA_MESSAGES
const skip =
  FOLDER === undefined || FOLDER === ''
    ? 'SKIPPED: set MILLRACE_KAFKA_MESSAGES to a folder of Kafka message definitions (JSON)'
    : false
if (skip !== false) console.warn(`wire conformance ${skip}`)

interface KafkaField {
  readonly name: string
  readonly type: string
  readonly versions: string
  readonly nullableVersions?: string
  readonly flexibleVersions?: string
  readonly default?: string | number | boolean
  readonly tag?: number
  readonly taggedVersions?: string
  readonly ignorable?: boolean | string
  readonly fields?: readonly KafkaField[]
}

interface KafkaMessage {
  readonly name: string
  readonly apiKey?: number
  readonly type: string
  readonly validVersions: string
  readonly flexibleVersions: string
  readonly latestVersionUnstable?: boolean
  readonly fields: readonly KafkaField[]
  readonly commonStructs?: readonly KafkaField[]
}

function load(name: string): KafkaMessage {
  const text = readFileSync(join(FOLDER as string, `${name}.json`), 'utf8')
  return JSON.parse(text.replace(/^\s*\/\/.*$/gm, ''))
}

/** One comparable form for both sides. */
type Normal = Readonly<Record<string, unknown>>

interface Around {
  readonly structs: Map<string, readonly KafkaField[]>
  /** The versions of the message. */
  readonly valid: VersionRange
}

/** True for a field of versions that the message still has. */
function isLive({ versions }: { readonly versions: string }, valid: VersionRange): boolean {
  const { min, max } = parseVersions(versions as VersionRange)
  const message = parseVersions(valid)
  return min <= message.max && max >= message.min
}

function normalKafka(field: KafkaField, around: Around): Normal {
  const { structs, valid } = around
  const isArray = field.type.startsWith('[]')
  const element = isArray ? field.type.slice(2) : field.type
  const children = field.fields ?? structs.get(element)
  const type = children === undefined ? element : 'struct'
  return {
    name: field.name.toLowerCase(),
    type: isArray ? `[]${type}` : type,
    versions: field.versions,
    nullable: field.nullableVersions ?? 'none',
    default: normalDefault(field.default, element),
    tag: field.tag ?? -1,
    tagged: field.taggedVersions ?? 'none',
    ignorable: String(field.ignorable ?? false) === 'true',
    flexible: field.flexibleVersions ?? 'as the message',
    fields: (children ?? [])
      .filter((child) => isLive(child, valid))
      .map((child) => normalKafka(child, around)),
  }
}

function normalDefault(value: string | number | boolean | undefined, type: string): string {
  if (value === undefined) return 'implicit'
  const isNumber = /^u?int/.test(type) || type === 'float64'
  return isNumber && value !== 'null' ? String(Number(value)) : String(value)
}

function normalOurs(name: string, field: Field, valid: VersionRange): Normal {
  const { type } = field
  const isArray = Array.isArray(type)
  const element: unknown = isArray ? type[0] : type
  const typeName = typeof element === 'string' ? element : 'struct'
  const children = typeof element === 'string' ? [] : Object.entries(element as Fields)
  return {
    name: name.toLowerCase(),
    type: isArray ? `[]${typeName}` : typeName,
    versions: field.versions,
    nullable: field.nullable ?? 'none',
    default: field.default === undefined ? 'implicit' : String(field.default),
    tag: field.tag ?? -1,
    tagged: field.tagged ?? 'none',
    ignorable: field.ignorable ?? false,
    flexible: field.flexible ?? 'as the message',
    fields: children
      .filter(([, child]) => isLive(child, valid))
      .map(([childName, child]) => normalOurs(childName, child, valid)),
  }
}

/**
 * What Kafka 4.3 says of these is more than definitions from before it do: a version, and that the
 * last one is stable. Compared is what such a folder knows.
 */
const GROWN = new Set([
  'ConsumerGroupHeartbeatRequest',
  'ConsumerGroupDescribeRequest',
  'ConsumerGroupDescribeResponse',
])

function compare(schema: MessageSchema): void {
  const kafka = load(schema.name)
  const hasGrown = GROWN.has(schema.name)
  const valid = hasGrown ? (kafka.validVersions as VersionRange) : schema.versions
  const structs = new Map(kafka.commonStructs?.map(({ name, fields }) => [name, fields ?? []]))
  assert.deepEqual(
    {
      kind: schema.kind,
      apiKey: schema.apiKey,
      versions: valid,
      flexible: schema.flexible,
      unstable: schema.latestVersionUnstable ?? false,
    },
    {
      kind: kafka.type,
      apiKey: kafka.apiKey ?? -1,
      versions: kafka.validVersions,
      flexible: kafka.flexibleVersions,
      unstable: schema.kind === 'request' && !hasGrown && (kafka.latestVersionUnstable ?? false),
    },
  )
  assert.deepEqual(
    Object.entries(schema.fields)
      .filter(([, field]) => isLive(field, valid))
      .map(([name, field]) => normalOurs(name, field, valid)),
    kafka.fields
      .filter((field) => isLive(field, valid))
      .map((field) => normalKafka(field, { structs, valid })),
  )
}

describe('schema, equals the Kafka definition', { skip }, () => {
  // Those of the brokers among each other are not Kafka's.
  const ofKafka = SCHEMAS.filter(({ apiKey }) => apiKey < ClusterApi.HELLO)
  for (const schema of ofKafka) test(schema.name, () => compare(schema))
})

test('ApiKey, names every request as Kafka does', { skip }, () => {
  const ours = new Map<string, number>(Object.entries(ApiKey))
  const files = readdirSync(FOLDER as string).filter((file) => file.endsWith('Request.json'))
  assert.ok(files.length > 50, `${files.length} request files in ${FOLDER}`)
  for (const file of files) {
    const { name, apiKey } = load(file.slice(0, -'.json'.length))
    const snake = name.replace(/Request$/, '').replace(/(?<!^)([A-Z])/g, '_$1')
    // Kafka 4.1 renamed key 74 (KIP-1142); older definitions may lie beside the new one.
    if (snake.toUpperCase() === 'LIST_CLIENT_METRICS_RESOURCES') continue
    assert.equal(ours.get(snake.toUpperCase()), apiKey, name)
  }
})
