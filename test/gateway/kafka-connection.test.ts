import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Broker } from '../../src/broker/broker.ts'
import type { Handler, Reply, RequestContext } from '../../src/broker/request.ts'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { KafkaConnection } from '../../src/gateway/kafka-connection.ts'
import { KafkaRows } from '../../src/gateway/kafka-rows.ts'
import { ReceiveMemory } from '../../src/gateway/receive-memory.ts'
import type { Transport } from '../../src/gateway/transport.ts'
import { RequestMetrics } from '../../src/metrics/request-metrics.ts'
import { RecordError } from '../../src/record/record-error.ts'
import { Arena } from '../../src/ring/arena.ts'
import { allocateArena } from '../../src/ring/arena-layout.ts'
import { ApiKey, encodeRequest } from '../../src/wire/kafka/api.ts'

/** A transport whose bytes the test brings and takes. */
class FakeTransport implements Transport {
  readonly remoteAddress = '127.0.0.1'
  readonly sent: Uint8Array[] = []
  queuedBytes = 0
  isReading = true
  isDestroyed = false
  owner: KafkaConnection | null = null
  #left: Uint8Array | null = null

  get hasUntaken(): boolean {
    return this.#left !== null
  }

  receive(bytes: Uint8Array): void {
    assert.equal(this.#left, null, 'nothing is read while bytes wait')
    const owner = this.owner!
    const taken = owner.receiver.accept(bytes, 0, bytes.length)
    if (taken < bytes.length && !this.isDestroyed) this.#left = bytes.subarray(taken)
    owner.onReceived()
  }

  drainReceived(): void {
    const left = this.#left
    this.#left = null
    if (left !== null) this.receive(left)
  }

  pause(): void {
    this.isReading = false
  }

  resume(): void {
    this.isReading = true
  }

  send(chunks: Uint8Array[], onSent: () => void): void {
    this.sent.push(...chunks)
    onSent()
  }

  destroy(): void {
    this.isDestroyed = true
    this.#left = null
    this.owner!.onClosed(null)
  }

  end(): void {}
}

interface Harness {
  readonly transport: FakeTransport
  readonly logged: string[]
  readonly complaints: string[]
  readonly calls: Call[]
}

interface Call {
  readonly apiKey: number
  resolve(reply: Reply): void
  reject(error: unknown): void
}

/** A connection whose requests are answered when the test says so. */
function open(): Harness {
  const transport = new FakeTransport()
  const harness: Harness = { transport, logged: [], complaints: [], calls: [] }
  const handler = (_body: never, { apiKey }: RequestContext): Promise<Reply> =>
    new Promise<Reply>((resolve, reject) => harness.calls.push({ apiKey, resolve, reject }))
  const inTurn = async (body: never, context: RequestContext): Promise<Reply> => {
    await context.whenFirst()
    return handler(body, context)
  }
  const arena = new Arena(allocateArena(1024 * 1024))
  const broker = {
    clock: { monotonicMs: () => 0, wallMs: () => 0 },
    hub: { flush: () => {}, flushSoon: () => {}, isCongested: false, isPumping: false },
    loggers: () => ({
      error: (fields: { error: string }) => harness.logged.push(fields.error),
    }),
  } as unknown as Broker
  transport.owner = new KafkaConnection({
    id: 1,
    transport,
    broker,
    memory: new ReceiveMemory(arena, () => 0),
    handlers: new Map<number, Handler>([
      [ApiKey.LIST_GROUPS, handler],
      [ApiKey.METADATA, inTurn],
    ]),
    rows: new KafkaRows(new RequestMetrics()),
    listenerName: 'PLAINTEXT',
    frameBytesMax: 100_000,
    isOpen: () => true,
    waiting: new Set(),
    ready: [],
    onClosed: () => {},
    onProtocolError: (_connection, reason) => harness.complaints.push(reason),
  })
  return harness
}

const HEADER = { correlationId: 1, clientId: null }

function requests(count: number): Buffer {
  const one = Buffer.concat(encodeRequest(ApiKey.LIST_GROUPS, 1, HEADER, {}))
  return Buffer.concat(Array.from({ length: count }, () => one))
}

function metadataRequest(): Buffer {
  return Buffer.concat(encodeRequest(ApiKey.METADATA, 1, HEADER, { topics: null }))
}

const answer = (groups: number): Reply => ({
  body: {
    errorCode: 0,
    groups: Array.from({ length: groups }, () => ({ groupId: 'x'.repeat(1000), protocolType: '' })),
  },
})

const METADATA: Reply = { body: { brokers: [], controllerId: 1, topics: [] } }

const settled = () => new Promise(setImmediate)

test('KafkaConnection, a chunk of many requests, works on a bounded number at a time', async () => {
  const { transport, calls } = open()
  transport.receive(requests(1000))
  assert.equal(calls.length, 64)
  assert.equal(transport.isReading, false)
  for (let done = 0; done < 1000; done++) {
    assert.ok(calls.length - done <= 64)
    calls[done]!.resolve(answer(0))
    await settled()
  }
  assert.equal(calls.length, 1000)
  assert.equal(transport.isReading, true, 'everything was taken')
})

test('KafkaConnection, answers that wait for an earlier one, stop reading by their bytes', async () => {
  const { transport, calls } = open()
  transport.receive(requests(3))
  assert.equal(transport.isReading, true)
  calls[1]!.resolve(answer(600))
  await settled()
  assert.equal(transport.isReading, true, '600 KB may wait')
  calls[2]!.resolve(answer(600))
  await settled()
  calls[0]!.resolve(answer(0))
  assert.equal(transport.sent.length, 0)
  transport.receive(requests(1))
  assert.equal(calls.length, 3, '1.2 MB may not')
  assert.equal(transport.isReading, false)
  await settled()
  assert.equal(calls.length, 4)
  assert.equal(transport.isReading, true)
})

test('KafkaConnection, asked who leads behind others, finds out when those are answered', async () => {
  const { transport, calls } = open()
  transport.receive(Buffer.concat([requests(2), metadataRequest(), requests(1), metadataRequest()]))
  const keys = () => calls.map(({ apiKey }) => apiKey)
  const { LIST_GROUPS, METADATA: WHO_LEADS } = ApiKey
  assert.deepEqual(keys(), [LIST_GROUPS, LIST_GROUPS, LIST_GROUPS], 'all but who leads')
  calls[1]!.resolve(answer(0))
  await settled()
  assert.equal(calls.length, 3, 'one is still before it')
  calls[0]!.resolve(answer(0))
  await settled()
  assert.equal(transport.sent.length, 2)
  assert.deepEqual(keys().slice(3), [WHO_LEADS])
  calls[2]!.resolve(answer(0))
  calls[3]!.resolve(METADATA)
  await settled()
  assert.equal(transport.sent.length, 4)
  assert.deepEqual(keys().slice(4), [WHO_LEADS], 'each in its turn')
  calls[4]!.resolve(METADATA)
  await settled()
  assert.equal(transport.sent.length, 5)
})

test('KafkaConnection, asked who leads behind others and closed, lets nobody wait', async () => {
  const { transport, calls } = open()
  transport.receive(Buffer.concat([requests(1), metadataRequest()]))
  assert.equal(calls.length, 1)
  transport.destroy()
  await settled()
  assert.equal(calls.length, 2, 'nothing waits for what never comes')
  for (const { resolve } of calls) resolve(answer(0))
  await settled()
  assert.equal(transport.sent.length, 0)
})

test('KafkaConnection, a failure of a peer or the world that no handler answers, closes and is logged', async () => {
  const failures = [
    new RecordError(ErrorCode.CORRUPT_MESSAGE, 'bad bytes'),
    new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, 'read a file'),
  ]
  for (const failure of failures) {
    const { transport, calls, logged, complaints } = open()
    transport.receive(requests(1))
    calls[0]!.reject(failure)
    await settled()
    assert.equal(transport.isDestroyed, true)
    assert.deepEqual(complaints, [failure.message])
    assert.match(logged[0]!, /kafka-connection\.test/, 'the stack')
  }
})

test('KafkaConnection, our own bug in a handler, is not caught', async () => {
  const { transport, calls } = open()
  transport.receive(requests(1))
  const bug = new TypeError('a planted bug')
  const thrown = new Promise((resolve) => {
    const listeners = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.once('uncaughtException', (error) => {
      for (const listener of listeners) process.on('uncaughtException', listener)
      resolve(error)
    })
  })
  calls[0]!.reject(bug)
  assert.equal(await thrown, bug)
  assert.equal(transport.isDestroyed, false)
})
