/** The admin client and the topic commands against a scripted broker made of our own codecs. */
import assert from 'node:assert/strict'
import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, test } from 'node:test'
import { ZERO_UUID } from '../../src/base/uuid.ts'
import { ExitCode, runProgram } from '../../src/cli/program.ts'
import { KafkaAdmin } from '../../src/client/kafka-admin.ts'
import { ConnectionError } from '../../src/client/kafka-connection.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  ApiKey,
  decodeRequest,
  decodeRequestHeader,
  encodeResponse,
  isSupported,
  Reader,
  type RequestOf,
  type ResponseInit,
  SUPPORTED_APIS,
  type SupportedApiKey,
} from '../../src/wire/kafka/api.ts'

type Handler<K extends SupportedApiKey> = (
  request: RequestOf<K>,
  version: number,
) => ResponseInit<K>
type Handlers = { [K in SupportedApiKey]?: Handler<K> }

interface BrokerOptions {
  readonly handlers: Handlers
  /** Highest version of every API but ApiVersions. */
  readonly maxVersion?: number
  /** Highest version of ApiVersions itself. */
  readonly apiVersionsMax?: number
  /** Sends answers in pieces of so many bytes. */
  readonly pieceBytes?: number
}

const TOPIC_ID = 'AAECAwQFBgcICQoLDA0ODw'
const servers: Server[] = []

afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

async function startBroker(options: BrokerOptions): Promise<number> {
  const server = createServer((socket) => serve(socket, options))
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return address.port
}

function serve(socket: Socket, options: BrokerOptions): void {
  let pending = Buffer.alloc(0)
  let sent = Promise.resolve()
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    pending = Buffer.concat([pending, chunk])
    while (pending.length >= 4 && pending.length >= 4 + pending.readInt32BE(0)) {
      const end = 4 + pending.readInt32BE(0)
      const answer = answerTo(pending.subarray(4, end), options)
      pending = pending.subarray(end)
      sent = sent.then(() => send(socket, answer, options.pieceBytes ?? answer.length))
    }
  })
}

async function send(socket: Socket, bytes: Buffer, pieceBytes: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    socket.write(bytes.subarray(at, at + pieceBytes))
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function answerTo(frame: Buffer, { handlers, maxVersion, apiVersionsMax }: BrokerOptions): Buffer {
  const reader = new Reader(frame)
  const { requestApiKey, requestApiVersion, correlationId } = decodeRequestHeader(reader)
  assert.ok(isSupported(requestApiKey, requestApiVersion))
  const encode = <K extends SupportedApiKey>(key: K, version: number, body: ResponseInit<K>) =>
    Buffer.concat(encodeResponse(key, version, correlationId, body))
  if (requestApiKey === ApiKey.API_VERSIONS) {
    const apiKeys = SUPPORTED_APIS.map((api) => ({
      apiKey: api.apiKey,
      minVersion: api.advertisedMin,
      maxVersion: Math.min(api.maxVersion, maxVersion ?? api.maxVersion),
    }))
    const tooNew = requestApiVersion > (apiVersionsMax ?? 4)
    const errorCode = tooNew ? ErrorCode.UNSUPPORTED_VERSION : ErrorCode.NONE
    return encode(requestApiKey, tooNew ? 0 : requestApiVersion, { errorCode, apiKeys })
  }
  return dispatch(requestApiKey as SupportedApiKey)

  function dispatch<K extends SupportedApiKey>(key: K): Buffer {
    const handler: Handler<K> | undefined = handlers[key]
    assert.ok(handler !== undefined, `no handler for ${key}`)
    const request = decodeRequest(key, requestApiVersion, reader)
    return encode(key, requestApiVersion, handler(request, requestApiVersion))
  }
}

async function connect(port: number): Promise<KafkaAdmin> {
  return await KafkaAdmin.connect({ host: '127.0.0.1', port, clientId: 'test', timeoutMs: 2_000 })
}

async function cli(port: number, ...args: string[]): Promise<{ code: number; text: string }> {
  const lines: string[] = []
  const streams = {
    out: (text: string) => lines.push(text),
    err: (text: string) => lines.push(text),
  }
  const noBroker = async (): Promise<void> => assert.fail('no broker is started')
  const full = ['topic', ...args, '--bootstrap', `127.0.0.1:${port}`, '--timeout', '2000']
  return { code: await runProgram(full, noBroker, streams), text: lines.join('\n') }
}

const PARTITION = {
  errorCode: 0,
  leaderId: 1,
  leaderEpoch: 3,
  replicaNodes: [1],
  isrNodes: [1],
}

const TWO_TOPICS: Handlers = {
  [ApiKey.METADATA]: (request) => {
    assert.equal(request.allowAutoTopicCreation, false, 'looking must not create')
    const all = [
      { name: 'zebra', topicId: TOPIC_ID, partitions: 2, isInternal: false },
      { name: 'ant', topicId: TOPIC_ID, partitions: 1, isInternal: false },
      { name: '__own', topicId: TOPIC_ID, partitions: 1, isInternal: true },
    ]
    const wanted = request.topics?.map((one) => one.name) ?? all.map((one) => one.name)
    const topics = wanted.map((name) => {
      const topic = all.find((one) => one.name === name)
      if (topic === undefined) {
        return { name, errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, partitions: [] }
      }
      const partitions = Array.from({ length: topic.partitions }, (_, partitionIndex) => ({
        ...PARTITION,
        partitionIndex,
      }))
      return { ...topic, errorCode: 0, partitions: partitions.reverse() }
    })
    return { brokers: [], topics }
  },
  [ApiKey.LIST_OFFSETS]: (request) => ({
    topics: request.topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex, timestamp }) => ({
        partitionIndex,
        errorCode: partitionIndex === 1 ? ErrorCode.NOT_LEADER_OR_FOLLOWER : ErrorCode.NONE,
        offset: timestamp === -2 ? 5 : 2 ** 40,
      })),
    })),
  }),
  [ApiKey.DESCRIBE_CONFIGS]: (request) => ({
    throttleTimeMs: 0,
    results: request.resources.map(({ resourceType, resourceName }) => ({
      errorCode: 0,
      errorMessage: null,
      resourceType,
      resourceName,
      configs: [
        { name: 'retention.ms', value: '5', configSource: 1, readOnly: false, isSensitive: false },
        { name: 'segment.ms', value: '6', configSource: 5, readOnly: false, isSensitive: false },
      ],
    })),
  }),
}

test('listTopics, gives every topic by name, at every version of Metadata', async () => {
  for (let maxVersion = 4; maxVersion <= 13; maxVersion++) {
    const admin = await connect(await startBroker({ handlers: TWO_TOPICS, maxVersion }))
    const topics = await admin.listTopics()
    admin.close()
    assert.deepEqual(
      topics.map((one) => [one.name, one.partitions, one.internal]),
      [
        ['__own', 1, true],
        ['ant', 1, false],
        ['zebra', 2, false],
      ],
    )
    assert.equal(topics[0]?.topicId, maxVersion >= 10 ? TOPIC_ID : null)
  }
})

test('KafkaAdmin, reads answers, that arrive byte by byte', async () => {
  const port = await startBroker({ handlers: TWO_TOPICS, pieceBytes: 1 })
  const admin = await connect(port)
  assert.equal((await admin.listTopics()).length, 3)
  admin.close()
})

test('KafkaAdmin, matches answers to requests, when several are under way', async () => {
  const admin = await connect(await startBroker({ handlers: TWO_TOPICS, pieceBytes: 3 }))
  const [all, ant, zebra] = await Promise.all([
    admin.listTopics(),
    admin.describeTopic('ant'),
    admin.describeTopic('zebra'),
  ])
  admin.close()
  assert.deepEqual([all.length, ant.name, zebra.name], [3, 'ant', 'zebra'])
})

test('KafkaAdmin, falls back to ApiVersions v0, when the broker knows no v3', async () => {
  const port = await startBroker({ handlers: TWO_TOPICS, apiVersionsMax: 2 })
  const admin = await connect(port)
  assert.equal((await admin.listTopics()).length, 3)
  admin.close()
})

test('KafkaAdmin, says which versions differ, when there is no common one', async () => {
  const admin = await connect(await startBroker({ handlers: {}, maxVersion: 1 }))
  const topic = { name: 'a', partitions: 1, replicationFactor: 1, configs: new Map() }
  await assert.rejects(admin.createTopic(topic), (error: unknown) => {
    assert.ok(error instanceof ConnectionError)
    assert.match(error.message, /serves CREATE_TOPICS in versions 2–1, this client in 2–7/)
    return true
  })
  admin.close()
})

test('topic list, prints a table without internal topics, or JSON', async () => {
  const port = await startBroker({ handlers: TWO_TOPICS })
  const table = await cli(port, 'list')
  assert.equal(table.code, ExitCode.DONE)
  const rows = table.text.split('\n').map((line) => line.split(/\s+/))
  assert.deepEqual(rows, [
    ['NAME', 'PARTITIONS', 'REPLICAS'],
    ['ant', '1', '1'],
    ['zebra', '2', '1'],
  ])
  const json = await cli(port, 'list', '--internal', '--format', 'json')
  assert.equal(JSON.parse(json.text).length, 3)
})

test('topic describe, shows partitions in order, offsets, and what was set', async () => {
  const port = await startBroker({ handlers: TWO_TOPICS })
  const { code, text } = await cli(port, 'describe', 'zebra')
  assert.equal(code, ExitCode.DONE, text)
  assert.match(text, /^Topic: {3}zebra\nId: {6}AAECAwQFBgcICQoLDA0ODw\nOptions: retention\.ms=5\n/)
  assert.match(text, /\n0 +1 +3 +1 +1 +5 +1099511627776\n1 +1 +3 +1 +1 +- +-$/)
})

test('topic describe, fails with the broker’s code, for a topic that does not exist', async () => {
  const port = await startBroker({ handlers: TWO_TOPICS })
  const { code, text } = await cli(port, 'describe', 'bee')
  assert.equal(code, ExitCode.FAILED)
  assert.match(text, /^error: bee: .* \(UNKNOWN_TOPIC_OR_PARTITION\)$/)
})

test('topic create, sends what was asked, and shows what the broker chose', async () => {
  const requests: RequestOf<typeof ApiKey.CREATE_TOPICS>[] = []
  const handlers: Handlers = {
    ...TWO_TOPICS,
    [ApiKey.CREATE_TOPICS]: (request) => {
      requests.push(request)
      return {
        topics: request.topics.map(({ name }) => ({
          name,
          topicId: TOPIC_ID,
          errorCode: name === 'zebra' ? ErrorCode.TOPIC_ALREADY_EXISTS : ErrorCode.NONE,
          errorMessage: name === 'zebra' ? 'Topic zebra exists' : null,
          numPartitions: 6,
          replicationFactor: 1,
        })),
      }
    },
  }
  const port = await startBroker({ handlers })
  const made = await cli(port, 'create', 'bee', '-p', '6', '-c', 'retention.ms=5', '-c', 'a=b=c')
  assert.equal(made.text, 'Created the topic bee: 6 partitions, replication factor 1')
  assert.deepEqual(requests[0]?.topics[0], {
    name: 'bee',
    numPartitions: 6,
    replicationFactor: -1,
    assignments: [],
    configs: [
      { name: 'retention.ms', value: '5' },
      { name: 'a', value: 'b=c' },
    ],
  })
  assert.equal(requests[0]?.validateOnly, false)

  const dry = await cli(port, 'create', 'bee', '--dry-run')
  assert.match(dry.text, /^Would create/)
  assert.equal(requests[1]?.validateOnly, true)

  const twice = await cli(port, 'create', 'zebra')
  assert.equal(twice.code, ExitCode.FAILED)
  assert.equal(twice.text, 'error: zebra: Topic zebra exists (TOPIC_ALREADY_EXISTS)')
  const unless = await cli(port, 'create', 'zebra', '--if-not-exists')
  assert.equal(unless.code, ExitCode.DONE)
  assert.equal(requests.length, 3, 'a topic that exists is not created again')
})

test('topic delete, deletes by name, at versions with and without topic ids', async () => {
  for (const maxVersion of [5, 6]) {
    const deleted: (string | null)[] = []
    const handlers: Handlers = {
      [ApiKey.DELETE_TOPICS]: (request, version) => {
        const names = version >= 6 ? request.topics.map((one) => one.name) : request.topicNames
        deleted.push(...names)
        for (const { topicId } of request.topics) assert.equal(topicId, ZERO_UUID)
        return { responses: names.map((name) => ({ name, errorCode: 0 })) }
      },
    }
    const port = await startBroker({ handlers, maxVersion })
    const { code, text } = await cli(port, 'delete', 'ant', 'zebra')
    assert.equal(code, ExitCode.DONE, text)
    assert.equal(text, 'Deleted the topic ant\nDeleted the topic zebra')
    assert.deepEqual(deleted, ['ant', 'zebra'])
  }
})

test('topic trim, deletes nothing by time, while a partition does not tell its offsets', async () => {
  const handlers: Handlers = {
    ...TWO_TOPICS,
    [ApiKey.DELETE_RECORDS]: () => assert.fail('records would be lost'),
  }
  const port = await startBroker({ handlers })
  for (const way of [
    ['--before-time', '1'],
    ['--before', 'latest'],
  ]) {
    const { code, text } = await cli(port, 'trim', 'zebra', ...way)
    assert.equal(code, ExitCode.FAILED)
    assert.match(text, /zebra-1: .*nothing was changed/)
  }
})
