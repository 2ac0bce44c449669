import { z } from 'zod'

/**
 * The shapes of requests and answers, each declared once: what is validated, what the types are,
 * and what /openapi.json says come from here. `operations.ts` says which belongs where.
 */
export const EVENTS_MAX = 10_000
export const HEADERS_MAX = 1000
export const PARTITION_MAX = 2 ** 31 - 1
export const READ_EVENTS_MAX = 100_000
export const READ_BYTES_DEFAULT = 1024 * 1024
export const READ_BYTES_MAX = 4 * 1024 * 1024
export const WAIT_MS_MAX = 60_000
export const DESCRIBED_PARTITIONS_MAX = 1000

export const Partition = z.int().min(0).max(PARTITION_MAX)
export const Offset = z.int().min(0)
export const Timestamp = z.int().min(0).describe('Milliseconds since 1970')
export const TopicName = z.string().min(1).max(249)
const partition = Partition
const offset = Offset
const timestamp = Timestamp

export const Format = z
  .enum(['json', 'text', 'base64'])
  .describe(
    'What a value in JSON stands for. json: any JSON value, stored as its compact JSON text (a ' +
      'string with its quotes); keys and headers are text. text: a string, stored as its UTF-8. ' +
      'base64: bytes. null is no value at all, in each of them',
  )
export type Format = z.infer<typeof Format>

export const BytesFormat = z.enum(['text', 'base64'])
export type BytesFormat = z.infer<typeof BytesFormat>

export const Header = z.strictObject({
  key: z.string(),
  value: z.string().nullable(),
  format: BytesFormat.optional().describe('Of this value, where it is not the format of the rest'),
})
export type Header = z.infer<typeof Header>

/** Zod asks for the presence of an unknown value with a message that nobody understands. */
const required = z.custom<unknown>((value) => value !== undefined, 'is missing; null for none')

export const Event = z.strictObject({
  key: z.string().nullable().optional().describe('Equal keys go to the same partition'),
  value: required.meta({ description: 'By its format; null for none' }),
  headers: z.array(Header).max(HEADERS_MAX).optional(),
  partition: partition.optional(),
  timestamp: timestamp.optional(),
  keyFormat: BytesFormat.optional(),
  valueFormat: Format.optional().describe('Of this value, where it is not the format of the rest'),
})
export type Event = z.infer<typeof Event>

export const Acks = z
  .union([z.literal(1), z.literal(-1), z.literal('all')])
  .describe('With one broker all mean the same: stored. 0 is not taken: an answer says where')

export const Events = z.strictObject({
  events: z.array(Event).min(1).max(EVENTS_MAX),
  partition: partition.optional().describe('Of the events that name none'),
  format: Format.optional(),
  acks: Acks.optional(),
})

/** Of a body whose events are looked at one by one: all that is wrong with a million would take. */
export const EventsRest = Events.extend({ events: z.array(z.never()) })

export const ProduceQuery = z.strictObject({
  format: Format.optional(),
  partition: partition.optional().describe('Of the events that name none'),
  key: z.string().optional().describe('With application/octet-stream'),
  key_format: BytesFormat.optional(),
  timestamp: timestamp.optional(),
  header: z
    .array(z.string().regex(/^[^:]+:/, 'must be NAME:VALUE'))
    .max(HEADERS_MAX)
    .optional()
    .describe('NAME:VALUE, with application/octet-stream'),
})

const Failure = {
  error: z.string().describe("A name: Kafka's, where Kafka has one"),
  code: z.int().describe("Kafka's error code, or the HTTP status"),
  message: z.string().describe('What is wrong, and what to do next'),
}

export const Refusal = z.strictObject({
  ...Failure,
  logStartOffset: offset.optional(),
  highWatermark: offset.optional(),
  nextOffset: offset.optional(),
})

export const Produced = z.strictObject({
  offsets: z
    .array(
      z.strictObject({
        partition,
        offset: z.int().min(-1).describe('−1 when this event was not stored'),
        timestamp: timestamp.optional().describe('When the broker stamps events'),
        error: Failure.error.optional(),
        code: Failure.code.optional(),
        message: Failure.message.optional(),
      }),
    )
    .describe('In the order of the events'),
  failed: z.int().min(1).optional().describe('How many were not stored, where some were'),
})

export const EventsQuery = z.strictObject({
  offset: z
    .union([offset, z.enum(['earliest', 'latest'])])
    .optional()
    .describe('Where to begin; earliest when neither this nor timestamp is there'),
  timestamp: timestamp
    .optional()
    .describe('Begin at the first event that is not older, or else at the end'),
  max_bytes: z.int().min(1).max(READ_BYTES_MAX).optional().describe('Of the answer, roughly'),
  max_events: z.int().min(1).max(READ_EVENTS_MAX).optional(),
  wait_ms: z.int().min(0).max(WAIT_MS_MAX).optional().describe('For a first event'),
  format: Format.optional(),
  follow: z.boolean().optional().describe('Go on as events arrive, one a line'),
})

export const ReadEvent = z.strictObject({
  offset,
  timestamp: z.int().min(-1),
  key: z.string().nullable(),
  value: z.unknown(),
  headers: z.array(Header).optional(),
  keyFormat: BytesFormat.optional().describe('Where the key is not text, with json and text'),
  valueFormat: BytesFormat.optional().describe('Where the value does not fit the format asked for'),
})

const Bounds = {
  nextOffset: offset.describe('Where to go on'),
  highWatermark: offset.describe('Behind the last event that can be read'),
  logStartOffset: offset,
}

export const Page = z.strictObject({ events: z.array(ReadEvent), ...Bounds })

const Name = TopicName
const Count = z.int().min(1).max(PARTITION_MAX)
const ConfigValue = z.union([z.string(), z.number(), z.boolean()])

export const NewTopic = z.strictObject({
  name: Name,
  partitions: Count.optional(),
  replicationFactor: z.int().min(1).max(32_767).optional(),
  configs: z.record(z.string(), ConfigValue).optional(),
})

export const TopicChange = z.strictObject({
  partitions: Count.optional().describe('More than there are'),
  configs: z
    .record(z.string(), ConfigValue.nullable())
    .optional()
    .describe("null: the broker's own value again"),
})

export const TopicQuery = z.strictObject({
  first_partition: partition.optional().describe('The first one whose offsets are told'),
  max_partitions: z.int().min(0).max(DESCRIBED_PARTITIONS_MAX).optional(),
})

export const Topics = z.strictObject({
  topics: z.array(z.strictObject({ name: Name, topicId: z.string(), partitions: Count })),
})

export const Topic = z.strictObject({
  name: Name,
  topicId: z.string(),
  partitionsCount: Count,
  partitions: z.array(
    z.strictObject({
      partition,
      leader: z.int(),
      leaderEpoch: z.int(),
      logStartOffset: offset.optional(),
      highWatermark: offset.optional(),
      error: Failure.error.optional(),
    }),
  ),
  configs: z.record(
    z.string(),
    z.strictObject({
      value: z.string().nullable(),
      source: z.enum(['topic', 'broker', 'default']),
    }),
  ),
})

export const Deleted = z.strictObject({ name: Name, topicId: z.string() })

export const DeleteEventsQuery = z.strictObject({
  before: z.union([offset, z.literal('latest')]).describe('The first offset that stays'),
})

export const DeletedEvents = z.strictObject({ logStartOffset: offset })
export const Nothing = z.strictObject({})
