import {
  anyBytes,
  bool,
  bytesCount,
  dictionary,
  either,
  type Fields,
  type FieldsOf,
  i32,
  int53,
  integer,
  list,
  map,
  nullable,
  optional,
  text,
  tuple,
  u32,
} from './shape.ts'

/**
 * The messages of `millrace.v1` (README.md has them in words): shapes, and the types that follow.
 * Every count and length that a client chooses is bounded here.
 */
export const SUBPROTOCOL = 'millrace.v1'
export const VERSION = 1

/** What a message that carries records costs beyond its length. */
export const MESSAGE_COST_BYTES = 512

export const CloseCode = {
  GOING_AWAY: 1001,
  UNSUPPORTED_DATA: 1003,
  MESSAGE_TOO_BIG: 1009,
  TRY_AGAIN_LATER: 1013,
  MALFORMED: 4002,
  LIMIT_EXCEEDED: 4008,
  TOO_SLOW: 4009,
} as const
export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode]

/** Where `subscribe` begins when no offset is meant. */
export const OFFSET_LATEST = -1
export const OFFSET_EARLIEST = -2

export const PARTITIONS_PER_REQUEST_MAX = 2000
export const RECORDS_PER_REQUEST_MAX = 10_000
const HEADERS_PER_RECORD_MAX = 1000
export const NAMES_MAX = 2000
const CONFIGS_MAX = 1000
const COMMIT_METADATA_MAX = 32_767
/** Longer than Kafka allows a topic's name, so that the name's own error is given. */
const name = text(1000)
const message = text(100_000)
const acks = integer(-1, 1)
const content = nullable(either(anyBytes, text(0x7fff_ffff)))

const plainRecord = map({
  key: optional(content),
  value: optional(content),
  headers: optional(list(tuple(name, content), HEADERS_PER_RECORD_MAX)),
  timestamp: optional(nullable(int53)),
})

/** Who has to be asked instead: its node id, the leader epoch, its URL ('': not known). */
const leader = tuple(i32, i32, message)

export const CLIENT_MESSAGES = {
  hello: { followLeaders: optional(bool) },
  requestCredits: { bytes: bytesCount },
  yieldCredits: { bytes: bytesCount },
  produce: {
    id: u32,
    acks,
    partitions: list(tuple(name, i32, bytesCount), PARTITIONS_PER_REQUEST_MAX, 1),
  },
  produceRecords: {
    id: u32,
    acks,
    topic: name,
    partition: nullable(i32),
    records: list(plainRecord, RECORDS_PER_REQUEST_MAX, 1),
  },
  initProducer: { id: u32 },
  subscribe: {
    id: u32,
    subscription: u32,
    topic: name,
    partition: i32,
    offset: int53,
    credits: bytesCount,
    maxBytes: optional(integer(1, 0x7fff_ffff)),
  },
  flow: { subscription: u32, credits: bytesCount },
  unsubscribe: { id: u32, subscription: u32 },
  joinGroup: {
    id: u32,
    member: u32,
    group: name,
    topics: list(name, NAMES_MAX, 1),
    sessionTimeoutMs: optional(bytesCount),
    rebalanceTimeoutMs: optional(bytesCount),
    clientId: optional(text(255)),
  },
  released: { member: u32 },
  commitOffsets: {
    id: u32,
    member: u32,
    offsets: list(
      tuple(name, i32, integer(0, Number.MAX_SAFE_INTEGER), nullable(text(COMMIT_METADATA_MAX))),
      PARTITIONS_PER_REQUEST_MAX,
      1,
    ),
  },
  leaveGroup: { id: u32, member: u32 },
  fetch: {
    id: u32,
    maxBytes: bytesCount,
    minBytes: bytesCount,
    maxWaitMs: bytesCount,
    partitions: list(tuple(name, i32, int53, bytesCount), PARTITIONS_PER_REQUEST_MAX, 1),
  },
  listOffsets: {
    id: u32,
    partitions: list(tuple(name, i32, int53), PARTITIONS_PER_REQUEST_MAX, 1),
  },
  metadata: { id: u32, topics: nullable(list(name, NAMES_MAX)), create: optional(bool) },
  createTopic: {
    id: u32,
    name,
    partitions: i32,
    replicationFactor: integer(-1, 0x7fff),
    configs: dictionary(message, CONFIGS_MAX),
    validateOnly: optional(bool),
  },
  createPartitions: { id: u32, name, count: i32 },
  deleteTopic: { id: u32, name },
  deleteRecords: { id: u32, topic: name, partition: i32, offset: int53 },
  describeTopic: { id: u32, name },
  ping: { id: u32 },
} as const satisfies Readonly<Record<string, Fields>>

const partitionMetadata = tuple(i32, i32, i32, i32)
const COUNT_MAX = 0x7fff_ffff

export const SERVER_MESSAGES = {
  hello: {
    versions: tuple(u32, u32),
    server: message,
    node: i32,
    cluster: message,
    limits: map({
      messageBytes: bytesCount,
      envelopeBytes: bytesCount,
      batchBytes: bytesCount,
      requests: bytesCount,
      requestBytes: bytesCount,
      subscriptions: bytesCount,
      pushBytes: bytesCount,
    }),
    credits: bytesCount,
    pingIntervalMs: bytesCount,
    idleTimeoutMs: bytesCount,
  },
  credits: { bytes: bytesCount },
  recall: { bytes: bytesCount },
  produced: {
    id: u32,
    partitions: list(tuple(i32, int53, int53, int53, nullable(message)), COUNT_MAX),
    leaders: optional(list(tuple(u32, leader), COUNT_MAX)),
    kept: optional(bytesCount),
  },
  producedRecords: {
    id: u32,
    records: list(tuple(i32, int53, i32), COUNT_MAX),
    message: nullable(message),
    kept: optional(bytesCount),
  },
  producer: { id: u32, producerId: int53, producerEpoch: i32 },
  subscribed: {
    id: u32,
    subscription: u32,
    offset: int53,
    logStartOffset: int53,
    highWatermark: int53,
  },
  batches: {
    subscription: u32,
    highWatermark: int53,
    logStartOffset: int53,
    bytes: bytesCount,
  },
  ended: {
    subscription: u32,
    code: i32,
    name: message,
    message,
    retriable: bool,
    leader: optional(leader),
  },
  joinedGroup: { id: u32, member: u32, memberId: message },
  assigned: { member: u32, generation: i32, partitions: list(tuple(name, i32, int53), COUNT_MAX) },
  revoke: { member: u32, withinMs: bytesCount, partitions: list(tuple(name, i32), COUNT_MAX) },
  memberLost: { member: u32, code: i32, name: message, message, retriable: bool },
  committed: { id: u32, errorCodes: list(i32, COUNT_MAX) },
  fetched: { id: u32, partitions: list(tuple(i32, int53, int53, bytesCount), COUNT_MAX) },
  offsets: { id: u32, partitions: list(tuple(i32, int53, int53), COUNT_MAX) },
  metadata: {
    id: u32,
    cluster: message,
    controller: i32,
    nodes: list(tuple(i32, message, i32), COUNT_MAX),
    urls: optional(list(tuple(i32, message), COUNT_MAX)),
    topics: list(
      map({
        name,
        topicId: message,
        errorCode: i32,
        internal: bool,
        partitions: list(partitionMetadata, COUNT_MAX),
      }),
      COUNT_MAX,
    ),
  },
  topicConfig: { id: u32, configs: list(tuple(message, nullable(message), bool), COUNT_MAX) },
  deleted: { id: u32, logStartOffset: int53 },
  done: { id: u32 },
  pong: { id: u32 },
  error: {
    id: nullable(u32),
    code: i32,
    name: message,
    message,
    retriable: bool,
    leader: optional(leader),
    kept: optional(bytesCount),
  },
} as const satisfies Readonly<Record<string, Fields>>

type Messages<M extends Readonly<Record<string, Fields>>> = {
  [K in keyof M]: { readonly type: K } & FieldsOf<M[K]>
}

export type ClientMessages = Messages<typeof CLIENT_MESSAGES>
export type ServerMessages = Messages<typeof SERVER_MESSAGES>
export type ClientMessageType = keyof ClientMessages
export type ServerMessageType = keyof ServerMessages
export type ClientMessage = ClientMessages[ClientMessageType]
export type ServerMessage = ServerMessages[ServerMessageType]
export type LeaderHint = NonNullable<ServerMessages['ended']['leader']>
export type PlainRecord = ClientMessages['produceRecords']['records'][number]
