/**
 * As much of a broker as `millrace bench produce` speaks to: it keeps no events, only counts, and
 * may lie about them.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { viewOf } from '../../src/base/bytes.ts'
import { batchRecordsCount } from '../../src/record/batch.ts'
import {
  ApiKey,
  decodeRequest,
  decodeRequestHeader,
  encodeResponse,
  Reader,
  type RequestOf,
  type ResponseInit,
  SUPPORTED_APIS,
  type SupportedApiKey,
} from '../../src/wire/kafka/api.ts'

export interface Lies {
  /** What is stored of a batch of so many events; default all. Requests count from 1. */
  readonly stores?: (events: number, request: number) => number
  /** Of the n-th request; default none. */
  readonly errorCode?: (request: number) => number
  /** Closes the connection instead of the answer to the n-th request. */
  readonly closesAt?: number
  /** Default: it does not serve DescribeLogDirs, for it has no files. */
  readonly logDirs?: FakeLogDirs
}

export interface FakeLogDirs {
  readonly minVersion?: number
  readonly maxVersion: number
  readonly answer: ResponseInit<typeof ApiKey.DESCRIBE_LOG_DIRS>
}

const TOPIC_ID = 'AAECAwQFBgcICQoLDA0ODw'
const TOPIC_ALREADY_EXISTS = 36

export class FakeKafka {
  readonly #server: Server
  readonly #lies: Lies
  readonly #sockets = new Set<Socket>()
  /** By partition. */
  readonly #ends: number[]
  #requests = 0
  port = 0
  /** API keys, of each connection's first request. */
  readonly firstAsked: number[] = []
  logDirsAsked: RequestOf<typeof ApiKey.DESCRIBE_LOG_DIRS>['topics'] = null

  private constructor(partitions: number, lies: Lies) {
    this.#lies = lies
    this.#ends = new Array<number>(partitions).fill(0)
    this.#server = createServer((socket) => this.#serve(socket))
  }

  static async start(partitions: number, lies: Lies = {}): Promise<FakeKafka> {
    const fake = new FakeKafka(partitions, lies)
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve))
    const address = fake.#server.address()
    if (address !== null && typeof address === 'object') fake.port = address.port
    return fake
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    let pending = Buffer.alloc(0)
    let isNew = true
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk])
      while (pending.length >= 4 && pending.length >= 4 + pending.readInt32BE(0)) {
        const end = 4 + pending.readInt32BE(0)
        if (isNew) this.firstAsked.push(pending.readInt16BE(4))
        isNew = false
        const answer = this.#answer(pending.subarray(4, end))
        pending = pending.subarray(end)
        if (answer === null) socket.destroy()
        else socket.write(answer)
      }
    })
  }

  #answer(frame: Buffer): Buffer | null {
    const reader = new Reader(frame)
    const { requestApiKey, requestApiVersion: version, correlationId } = decodeRequestHeader(reader)
    const encode = <K extends SupportedApiKey>(key: K, body: ResponseInit<K>): Buffer => {
      return Buffer.concat(encodeResponse(key, version, correlationId, body))
    }
    switch (requestApiKey) {
      case ApiKey.API_VERSIONS: {
        const known = SUPPORTED_APIS.filter(({ apiKey }) => apiKey !== ApiKey.DESCRIBE_LOG_DIRS)
        const apiKeys = known.map(({ apiKey, advertisedMin, maxVersion }) => {
          return { apiKey: apiKey as number, minVersion: advertisedMin, maxVersion }
        })
        if (this.#lies.logDirs !== undefined) {
          const { minVersion = 1, maxVersion } = this.#lies.logDirs
          apiKeys.push({ apiKey: ApiKey.DESCRIBE_LOG_DIRS, minVersion, maxVersion })
        }
        return encode(ApiKey.API_VERSIONS, { errorCode: 0, apiKeys })
      }
      case ApiKey.CREATE_TOPICS: {
        const { topics } = decodeRequest(ApiKey.CREATE_TOPICS, version, reader)
        return encode(ApiKey.CREATE_TOPICS, {
          topics: topics.map(({ name }) => ({ name, errorCode: TOPIC_ALREADY_EXISTS })),
        })
      }
      case ApiKey.METADATA: {
        const { topics } = decodeRequest(ApiKey.METADATA, version, reader)
        const partitions = this.#ends.map((_, partitionIndex) => {
          const nodes = { leaderId: 1, leaderEpoch: 0, replicaNodes: [1], isrNodes: [1] }
          return { errorCode: 0, partitionIndex, ...nodes }
        })
        return encode(ApiKey.METADATA, {
          brokers: [],
          topics: (topics ?? []).map(({ name }) => {
            return { name, topicId: TOPIC_ID, errorCode: 0, partitions }
          }),
        })
      }
      case ApiKey.LIST_OFFSETS: {
        const { topics } = decodeRequest(ApiKey.LIST_OFFSETS, version, reader)
        return encode(ApiKey.LIST_OFFSETS, {
          topics: topics.map(({ name, partitions }) => ({
            name,
            partitions: partitions.map(({ partitionIndex, timestamp }) => {
              const offset = timestamp === -2 ? 0 : (this.#ends[partitionIndex] ?? 0)
              return { partitionIndex, errorCode: 0, offset }
            }),
          })),
        })
      }
      case ApiKey.DESCRIBE_CONFIGS: {
        const { resources } = decodeRequest(ApiKey.DESCRIBE_CONFIGS, version, reader)
        return encode(ApiKey.DESCRIBE_CONFIGS, {
          throttleTimeMs: 0,
          results: resources.map(({ resourceType, resourceName }) => {
            return { resourceType, resourceName, errorCode: 0, errorMessage: null, configs: [] }
          }),
        })
      }
      case ApiKey.DESCRIBE_LOG_DIRS: {
        this.logDirsAsked = decodeRequest(ApiKey.DESCRIBE_LOG_DIRS, version, reader).topics
        return encode(ApiKey.DESCRIBE_LOG_DIRS, (this.#lies.logDirs as FakeLogDirs).answer)
      }
      case ApiKey.PRODUCE:
        return this.#produce(frame, reader, version, encode)
      default:
        throw new Error(`nobody asks a fake for ${requestApiKey}`)
    }
  }

  #produce(
    frame: Buffer,
    reader: Reader,
    version: number,
    encode: (key: typeof ApiKey.PRODUCE, body: ResponseInit<typeof ApiKey.PRODUCE>) => Buffer,
  ): Buffer | null {
    const { topicData } = decodeRequest(ApiKey.PRODUCE, version, reader)
    const request = ++this.#requests
    const { stores = (events) => events, errorCode = () => 0, closesAt } = this.#lies
    if (request === closesAt) return null
    const responses = topicData.map(({ name, partitionData }) => ({
      name,
      partitionResponses: partitionData.map(({ index, records }) => {
        const events = batchRecordsCount(viewOf(frame), records?.offset ?? 0)
        const baseOffset = this.#ends[index] ?? 0
        const code = errorCode(request)
        if (code === 0) this.#ends[index] = baseOffset + stores(events, request)
        return { index, errorCode: code, baseOffset: code === 0 ? baseOffset : -1 }
      }),
    }))
    return encode(ApiKey.PRODUCE, { responses })
  }
}
