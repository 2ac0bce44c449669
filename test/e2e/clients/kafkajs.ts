/**
 * kafkajs 2.2.4, in this process. Its public consumer works in groups only, so `consume` goes
 * through the cluster object inside the package: the same requests, decoder and codecs, without a
 * group.
 *
 * LZ4 and zstd are codecs that its user registers; snappy (kafkajs-snappy) sends the raw form.
 */
import { createRequire } from 'node:module'
import zstd from '@mongodb-js/zstd'
import kafkajs, { type IHeaders, type Message } from 'kafkajs'
import kafkajsSnappy from 'kafkajs-snappy'
import lz4 from 'lz4-napi'
import {
  ClientError,
  COMPRESSIONS,
  CONSUME_TIMEOUT_MS,
  type Compression,
  type ConsumeRequest,
  type CreateTopicRequest,
  type Header,
  type KafkaClient,
  type ProduceRequest,
  type ReceivedRecord,
  type RecordToSend,
  type SentRecord,
} from './client.ts'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs
const NAME = 'kafkajs'
const FETCH_WAIT_MS = 500

interface KafkajsEncoder {
  readonly buffer: Buffer
}
CompressionCodecs[CompressionTypes.Snappy] = kafkajsSnappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder: KafkajsEncoder) => lz4.compressFrameSync(encoder.buffer),
  decompress: async (bytes: Buffer) => lz4.decompressFrameSync(bytes),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: (encoder: KafkajsEncoder) => zstd.compress(encoder.buffer),
  decompress: (bytes: Buffer) => zstd.decompress(bytes),
})

const TYPES: Readonly<Record<Compression, number>> = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

export interface KafkajsClient extends KafkaClient {
  createTopic(request: CreateTopicRequest): Promise<void>
  deleteTopic(bootstrap: string, topic: string): Promise<void>
  /** Each partition's `low` (log start) and `high` (high watermark) as of now. */
  topicOffsets(
    bootstrap: string,
    topic: string,
  ): Promise<readonly { partition: number; low: number; high: number }[]>
  /** Removes the records before `offset`. */
  deleteRecords(
    bootstrap: string,
    topic: string,
    offsets: ReadonlyMap<number, number>,
  ): Promise<void>
  /** Grows a topic to `total` partitions. */
  createPartitions(bootstrap: string, topic: string, total: number): Promise<void>
  /** AlterConfigs: what the topic sets becomes exactly `configs`. */
  alterConfigs(
    bootstrap: string,
    topic: string,
    configs: Readonly<Record<string, string>>,
  ): Promise<void>
  /** By name. */
  describeConfigs(
    bootstrap: string,
    topic: string,
  ): Promise<Readonly<Record<string, string | null>>>
}

export const kafkajsClient: KafkajsClient = {
  name: NAME,
  limits: {
    compressions: COMPRESSIONS,
    timestamps: true,
    nullHeaders: false,
    binaryHeaders: true,
    nullRecords: true,
    mixedEmpties: true,
    headerOrder: false,
    acknowledges: false,
  },

  available: () => true,

  async produce(request: ProduceRequest): Promise<readonly SentRecord[]> {
    const producer = connectTo(request.bootstrap).producer({
      createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
      ...request.config,
    })
    await producer.connect()
    try {
      await producer.send({
        topic: request.topic,
        acks: -1,
        compression: TYPES[request.compression],
        messages: request.records.map(toMessage),
      })
    } finally {
      await producer.disconnect()
    }
    return [] // It answers one offset a partition, not one a record.
  },

  consume: fetchRecords,

  async createTopic({ bootstrap, topic, partitions, configs = {} }) {
    await withAdmin(bootstrap, (admin) => {
      const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
      return admin.createTopics({ topics: [{ topic, numPartitions: partitions, configEntries }] })
    })
  },

  async deleteTopic(bootstrap, topic) {
    await withAdmin(bootstrap, (admin) => admin.deleteTopics({ topics: [topic] }))
  },

  async listTopics(bootstrap) {
    return (await withAdmin(bootstrap, (admin) => admin.listTopics())).sort()
  },

  async topicOffsets(bootstrap, topic) {
    const found = await withAdmin(bootstrap, (admin) => admin.fetchTopicOffsets(topic))
    return found
      .map(({ partition, low, high }) => ({ partition, low: Number(low), high: Number(high) }))
      .sort((left, right) => left.partition - right.partition)
  },

  async deleteRecords(bootstrap, topic, offsets) {
    const partitions = [...offsets].map(([partition, offset]) => ({
      partition,
      offset: `${offset}`,
    }))
    await withAdmin(bootstrap, async (admin) => {
      await admin.fetchTopicOffsets(topic) // It needs the topic's leaders, and loads them only here.
      await admin.deleteTopicRecords({ topic, partitions })
    })
  },

  async createPartitions(bootstrap, topic, total) {
    const topicPartitions = [{ topic, count: total }]
    await withAdmin(bootstrap, (admin) => admin.createPartitions({ topicPartitions }))
  },

  async alterConfigs(bootstrap, topic, configs) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }]
    await withAdmin(bootstrap, (admin) => admin.alterConfigs({ validateOnly: false, resources }))
  },

  async describeConfigs(bootstrap, topic) {
    const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic }]
    const found = await withAdmin(bootstrap, (admin) =>
      admin.describeConfigs({ includeSynonyms: false, resources }),
    )
    const entries = found.resources[0]?.configEntries ?? []
    return Object.fromEntries(
      entries.map(({ configName, configValue }) => [configName, configValue]),
    )
  },

  async close() {},
}

function connectTo(bootstrap: string) {
  return new Kafka({ clientId: 'millrace-test', brokers: [bootstrap], logLevel: logLevel.NOTHING })
}

type Admin = ReturnType<ReturnType<typeof connectTo>['admin']>

async function withAdmin<T>(bootstrap: string, action: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = connectTo(bootstrap).admin()
  await admin.connect()
  try {
    return await action(admin)
  } finally {
    await admin.disconnect()
  }
}

function toMessage(record: RecordToSend): Message {
  const headers: Record<string, Buffer[]> = {}
  for (const { key, value } of record.headers) {
    const values = headers[key] ?? []
    values.push(Buffer.from(value ?? []))
    headers[key] = values
  }
  return {
    key: asBuffer(record.key),
    value: asBuffer(record.value),
    headers: headers as IHeaders,
    ...(record.partition === undefined ? {} : { partition: record.partition }),
    ...(record.timestamp === undefined ? {} : { timestamp: `${record.timestamp}` }),
  }
}

function asBuffer(bytes: Uint8Array | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

// —— what the package keeps inside ——

interface FetchedMessage {
  readonly offset: string
  readonly timestamp: string
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers?: Readonly<Record<string, Buffer | readonly Buffer[] | null>>
  readonly isControlRecord?: boolean
}

interface FetchedPartition {
  readonly partition: number
  readonly messages: readonly FetchedMessage[]
}

interface InnerBroker {
  fetch(request: {
    readonly maxWaitTime: number
    readonly topics: readonly {
      readonly topic: string
      readonly partitions: readonly {
        readonly partition: number
        readonly fetchOffset: string
        readonly maxBytes: number
      }[]
    }[]
  }): Promise<{
    readonly responses: readonly { readonly partitions: readonly FetchedPartition[] }[]
  }>
}

interface InnerCluster {
  connect(): Promise<void>
  disconnect(): Promise<void>
  addTargetTopic(topic: string): Promise<void>
  findLeaderForPartitions(topic: string, partitions: readonly number[]): Record<string, number[]>
  findBroker(target: { readonly nodeId: string }): Promise<InnerBroker>
}

const require = createRequire(import.meta.url)

function connectInside(bootstrap: string): InnerCluster {
  const Cluster = require('kafkajs/src/cluster') as new (options: object) => InnerCluster
  const { createLogger } = require('kafkajs/src/loggers')
  const consoleLog = require('kafkajs/src/loggers/console')
  const socketFactory = require('kafkajs/src/network/socketFactory')
  return new Cluster({
    logger: createLogger({ level: logLevel.NOTHING, logCreator: consoleLog }),
    socketFactory: socketFactory(),
    brokers: [bootstrap],
    clientId: 'millrace-test',
    connectionTimeout: 2000,
    requestTimeout: 30_000,
    metadataMaxAge: 300_000,
    isolationLevel: 0,
    retry: { retries: 3 },
    allowAutoTopicCreation: false,
  })
}

async function fetchRecords(request: ConsumeRequest): Promise<readonly ReceivedRecord[]> {
  const { topic, partition, count, timeoutMs = CONSUME_TIMEOUT_MS } = request
  const deadline = Date.now() + timeoutMs
  const records: ReceivedRecord[] = []
  const cluster = connectInside(request.bootstrap)
  await cluster.connect()
  try {
    await cluster.addTargetTopic(topic)
    const [nodeId] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]))
    if (nodeId === undefined) throw new ClientError(NAME, 'NoLeader', `${topic}-${partition}`)
    const broker = await cluster.findBroker({ nodeId })
    let next = request.fromOffset
    while (records.length < count) {
      if (Date.now() > deadline) {
        throw new ClientError(NAME, 'Timeout', `got ${records.length} of ${count} records`)
      }
      const partitions = [{ partition, fetchOffset: `${next}`, maxBytes: 2 ** 20 }]
      const topics = [{ topic, partitions }]
      const { responses } = await broker.fetch({ maxWaitTime: FETCH_WAIT_MS, topics })
      for (const message of responses[0]?.partitions[0]?.messages ?? []) {
        // A fetch answers whole batches: records before the wanted offset are skipped.
        if (Number(message.offset) < next) continue
        next = Number(message.offset) + 1
        if (message.isControlRecord !== true) records.push(received(partition, message))
      }
    }
  } finally {
    await cluster.disconnect()
  }
  return records.slice(0, count)
}

function received(partition: number, message: FetchedMessage): ReceivedRecord {
  const headers: Header[] = []
  for (const [key, values] of Object.entries(message.headers ?? {})) {
    for (const value of Array.isArray(values) ? values : [values]) headers.push({ key, value })
  }
  const { key, value } = message
  const offset = Number(message.offset)
  return { partition, offset, timestamp: Number(message.timestamp), key, value, headers }
}
