/** How the door shares credits among clients, with clients that only record what they are told. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Broker } from '../../../src/broker/broker.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import type { WebSocketHandler, WebSocketPeer } from '../../../src/gateway/web/web-server.ts'
import { WebSocketDoor } from '../../../src/gateway/websocket/websocket-door.ts'
import { RequestMetrics } from '../../../src/metrics/request-metrics.ts'
import { decodeServerMessage, encodeEnvelope } from '../../../src/wire/websocket/envelope.ts'
import type { ClientMessage, ServerMessage } from '../../../src/wire/websocket/messages.ts'

const MIB = 1024 * 1024
const OPTIONS: Readonly<Record<string, number>> = {
  'millrace.arena.ingress.bytes': 8 * MIB, // 1 MiB of credits, 256 KiB a client.
  'message.max.bytes': 1_000_000,
}

class Client implements WebSocketPeer {
  readonly remoteAddress = '127.0.0.1'
  readonly bufferedBytes = 0
  readonly told: ServerMessage[] = []
  handler: WebSocketHandler | null = null
  closedWith: number | null = null
  /** What it gives back when it is asked; null: it does not answer. */
  yields: number | null = null

  send(chunks: readonly Uint8Array[], onSent?: () => void): boolean {
    const { envelope } = decodeServerMessage(Buffer.concat(chunks), MIB)
    this.told.push(envelope)
    onSent?.()
    if (envelope.type === 'recall' && this.yields !== null) {
      this.say({ type: 'yieldCredits', bytes: this.yields })
    }
    return true
  }

  end(code: number): void {
    this.closedWith = code
    this.handler?.onClose(code)
  }

  terminate(): void {
    this.end(1006)
  }

  say(message: ClientMessage, payload = new Uint8Array(0)): void {
    this.handler?.onMessage(Buffer.concat([encodeEnvelope(message), payload]), null)
  }

  get credits(): number {
    let sum = 0
    for (const message of this.told) {
      if (message.type === 'hello') sum += message.credits
      if (message.type === 'credits') sum += message.bytes
    }
    return sum
  }

  heard(type: ServerMessage['type']): ServerMessage[] {
    return this.told.filter((message) => message.type === type)
  }
}

class Bench {
  nowMs = 0
  readonly complaints: string[] = []
  /** The ingress arena has room. */
  hasMemory = true
  topic: { readonly handles: readonly number[] } | undefined = undefined
  readonly door: WebSocketDoor
  #pumped = (): void => {}
  readonly #tick: (ms: number) => void

  constructor(t: TestContext, subscriptionsTotalMax = 1000) {
    t.mock.timers.enable({ apis: ['setInterval'] })
    this.#tick = (ms) => t.mock.timers.tick(ms)
    const broker = {
      arena: {
        bytes: new Uint8Array(MIB),
        allocate: () => (this.hasMemory ? 0 : -1),
        generationOf: () => 1,
        free: () => {},
      },
      topicByName: () => this.topic,
      topicConfig: () => ({ maxMessageBytes: 1000 }),
      shardOf: () => ({}),
      leads: () => true,
      readBytesMax: MIB,
      control: () => new Promise(() => {}),
      explain: () => null,
      requests: new RequestMetrics(),
      clock: { monotonicMs: () => this.nowMs, wallMs: () => 0 },
      config: {
        get: (name: string) => OPTIONS[name],
        startText: (name: string) => String(OPTIONS[name]),
      },
      hub: {
        onPumped: (callback: () => void) => {
          this.#pumped = callback
        },
        flush: () => {},
        flushSoon: () => {},
      },
      nodeId: 1,
      clusterId: 'cluster',
    }
    this.door = new WebSocketDoor({
      broker: broker as unknown as Broker,
      complaints: { closed: (_peer: string, why: string) => this.complaints.push(why) } as never,
      software: 'test',
      pingIntervalMs: 1000,
      idleTimeoutMs: 2000,
      subscriptionsTotalMax,
    })
  }

  open(): Client {
    const client = new Client()
    client.handler = this.door.accept(client)
    return client
  }

  /** Memory came back. */
  pump(): void {
    this.#pumped()
  }

  pass(ms: number): void {
    for (let at = 0; at < ms; at += 1000) {
      this.nowMs += 1000
      this.#tick(1000)
    }
  }
}

const WINDOW = 256 * 1024

test('WebSocketDoor, idle credits, go to those who ask for some', (t) => {
  const bench = new Bench(t)
  const rich = [bench.open(), bench.open(), bench.open(), bench.open()]
  for (const client of rich) client.say({ type: 'requestCredits', bytes: 10 * MIB })
  assert.deepEqual(
    rich.map(({ credits }) => credits),
    [WINDOW, WINDOW, WINDOW, WINDOW],
  )
  const late = bench.open()
  assert.equal(late.credits, 0, 'all are taken')
  late.say({ type: 'requestCredits', bytes: 100_000 })
  bench.pass(5000)
  const [asked] = rich as [Client]
  assert.deepEqual(asked.heard('recall'), [{ type: 'recall', bytes: WINDOW - 4096 }])
  asked.say({ type: 'yieldCredits', bytes: WINDOW - 4096 })
  bench.pass(1000)
  assert.equal(late.credits, 100_000)
  bench.pass(60_000)
  assert.equal(asked.heard('recall').length, 1, 'who keeps little is left alone')
  assert.equal(late.heard('recall').length, 0, 'and nobody is asked while nobody waits')
})

test('WebSocketDoor, a client that does not answer a recall, is closed, and only then', (t) => {
  const bench = new Bench(t)
  const clients = [bench.open(), bench.open(), bench.open(), bench.open()]
  for (const client of clients) client.say({ type: 'requestCredits', bytes: WINDOW })
  for (const client of clients.slice(1)) client.yields = 0
  const late = bench.open()
  late.say({ type: 'requestCredits', bytes: 1000 })
  bench.pass(9000)
  assert.equal(clients[0]?.closedWith, null)
  bench.pass(6000)
  assert.equal(clients[0]?.closedWith, 4009)
  assert.equal(clients[0]?.heard('recall').length, 1)
  assert.deepEqual(
    clients.slice(1).map(({ closedWith }) => closedWith),
    [null, null, null],
    'an answer of nothing is an answer',
  )
  assert.equal(late.credits, 1000, 'what it held has come back')
  assert.match(bench.complaints.join(), /give credits back/)
})

test('WebSocketDoor, closed connections, leave no credits behind', (t) => {
  const bench = new Bench(t)
  for (let round = 0; round < 100; round++) {
    const client = bench.open()
    client.say({ type: 'requestCredits', bytes: WINDOW })
    assert.equal(client.credits, WINDOW)
    if (round % 2 === 0) client.say({ type: 'produce', id: 1, acks: 1, partitions: [['t', 0, 5]] })
    if (client.closedWith === null) client.terminate()
  }
  assert.equal(bench.door.creditsGranted, 0)
  assert.equal(bench.door.connectionCount, 0)
})

test('WebSocketDoor, a produce that waited and closes its connection, gives its cost back once', (t) => {
  const bench = new Bench(t)
  const other = bench.open()
  const client = bench.open()
  for (const one of [other, client]) one.say({ type: 'requestCredits', bytes: WINDOW })
  bench.hasMemory = false
  // Nobody knows the topic: without an answer only the end of the connection says so.
  const partitions: [string, number, number][] = [['unknown', 0, 5]]
  client.say({ type: 'produce', id: 1, acks: 0, partitions }, new Uint8Array(5))
  client.say({ type: 'produce', id: 2, acks: 0, partitions }, new Uint8Array(5))
  assert.equal(client.closedWith, null)
  bench.hasMemory = true
  bench.pump()
  assert.equal(client.closedWith, 4002)
  assert.equal(bench.door.creditsGranted, WINDOW, 'what the other one has')
})

test('WebSocketDoor, memory that comes back without an answer of a shard, is found', (t) => {
  const bench = new Bench(t)
  const client = bench.open()
  bench.hasMemory = false
  client.say({ type: 'produce', id: 1, acks: 1, partitions: [['t', 0, 5]] }, new Uint8Array(5))
  bench.pass(5000)
  assert.equal(client.heard('produced').length, 0)
  bench.hasMemory = true
  bench.pass(1000)
  assert.equal(client.heard('produced').length, 1)
})

test('WebSocketDoor, as many subscriptions as all clients may have, refuses more until some end', (t) => {
  const bench = new Bench(t, 3)
  bench.topic = { handles: [0] }
  const clients = [bench.open(), bench.open(), bench.open()] as const
  const subscribe = (client: Client, number: number): void => {
    const where = { topic: 'events', partition: 0, offset: 0, credits: 1 }
    client.say({ type: 'subscribe', id: number, subscription: number, ...where })
  }
  subscribe(clients[0], 1)
  subscribe(clients[0], 2)
  subscribe(clients[1], 1)
  subscribe(clients[1], 2)
  const [error] = clients[1].heard('error') as { code: number; message: string }[]
  assert.equal(error?.code, ErrorCode.THROTTLING_QUOTA_EXCEEDED)
  assert.match(error.message, /^The broker has 3 subscriptions, as many as it takes: end some/)
  assert.equal(clients[1].closedWith, null)
  clients[0].say({ type: 'unsubscribe', id: 9, subscription: 1 })
  subscribe(clients[2], 1)
  subscribe(clients[2], 2)
  assert.equal(clients[2].heard('error').length, 1)
  clients[0].end(1000)
  subscribe(clients[2], 3)
  assert.equal(clients[2].heard('error').length, 1)
  assert.equal(clients[0].heard('error').length, 0)
})
