import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { Client } from '../../src/client/client.ts'
import { CreditWindow } from '../../src/client/credit-window.ts'
import {
  ClosedError,
  ConnectionError,
  MillraceError,
  TimeoutError,
} from '../../src/client/errors.ts'
import type { EventChannel, SocketEvents } from '../../src/client/platform.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { encodeEnvelope } from '../../src/wire/websocket/envelope.ts'
import type { ServerMessage } from '../../src/wire/websocket/messages.ts'
import { FakeServer } from '../support/fake-server.ts'
import { VirtualTimers } from '../support/virtual-timers.ts'
import { harness } from './harness.ts'

const HELLO: ServerMessage = {
  type: 'hello',
  versions: [1, 1],
  server: 'by hand',
  node: 1,
  cluster: 'c',
  limits: {
    messageBytes: 1_000_000,
    envelopeBytes: 65_536,
    batchBytes: 1_000_000,
    requests: 8,
    requestBytes: 100_000,
    subscriptions: 8,
    pushBytes: 1_000_000,
  },
  credits: 1000,
  pingIntervalMs: 1000,
  idleTimeoutMs: 2000,
}

/** A client whose server is the test itself. */
function byHand() {
  const timers = new VirtualTimers()
  const sockets: { events: SocketEvents; sent: Uint8Array[]; closedWith: number | null }[] = []
  const { platform } = new FakeServer({ timers, random: new Random(1) })
  const options = { url: 'ws://fake', requestTimeoutMs: 5000, reconnectMinMs: 100 }
  const client = new Client(options, {
    ...platform,
    openSocket: (_url, protocol, events) => {
      assert.equal(protocol, 'millrace.v1')
      const socket = { events, sent: [] as Uint8Array[], closedWith: null as number | null }
      sockets.push(socket)
      return {
        send: (pieces) => socket.sent.push(...pieces),
        close: (code) => {
          socket.closedWith ??= code
        },
      }
    },
  })
  const say = (message: ServerMessage) => sockets.at(-1)?.events.message(encodeEnvelope(message))
  return { timers, sockets, client, say }
}

test('a connection that is lost, is opened again later and later, within bounds', async () => {
  const { timers, sockets, client } = byHand()
  const connected = client.connect()
  const openedMs: number[] = []
  for (let i = 0; i < 12; i++) {
    openedMs.push(timers.monotonicMs())
    sockets.at(-1)?.events.closed(1006, '')
    const count = sockets.length
    while (sockets.length === count) await timers.pass(10)
  }
  const waits = openedMs.map((ms, i) => ms - (openedMs[i - 1] ?? 0)).slice(1)
  assert.ok(waits[0]! >= 50 && waits[0]! <= 120, `${waits[0]} ms at first`)
  assert.ok(waits.at(-1)! >= 5000 && waits.at(-1)! <= 10_020, `${waits.at(-1)} ms in the end`)
  sockets.at(-1)?.events.message(encodeEnvelope(HELLO))
  await timers.until(connected)
  assert.ok(client.isConnected)
})

test('what is no message of a server, ends the connection with the code that says so', async () => {
  const cases: [string, (events: SocketEvents) => void, number][] = [
    ['a text message', (events) => events.message(null), 1003],
    ['garbage', (events) => events.message(new Uint8Array(9).fill(0xc1)), 4002],
    [
      'an answer that nobody asked for',
      (e) => e.message(encodeEnvelope({ type: 'done', id: 7 })),
      4002,
    ],
    ['a second hello', (events) => events.message(encodeEnvelope(HELLO)), 4002],
  ]
  for (const [what, misbehave, code] of cases) {
    const { timers, sockets, client, say } = byHand()
    const connected = client.connect()
    say(HELLO)
    await timers.until(connected)
    misbehave(sockets[0]!.events)
    assert.equal(sockets[0]?.closedWith, code, what)
    assert.ok(!client.isConnected)
  }
})

test('a server of another version, is said to be one', async () => {
  const { timers, client, say } = byHand()
  const connected = client.connect()
  say({ ...HELLO, versions: [2, 3] })
  await assert.rejects(timers.until(connected), (error: unknown) => {
    return error instanceof MillraceError && error.code === ErrorCode.UNSUPPORTED_VERSION
  })
})

test('a request without an answer, ends the connection and fails', async () => {
  const { timers, sockets, client, say } = byHand()
  const asked = client.admin().deleteTopic('t')
  say({ ...HELLO, pingIntervalMs: 0 })
  await assert.rejects(timers.until(asked), (error: unknown) => {
    return error instanceof ConnectionError || error instanceof TimeoutError
  })
  await timers.pass(10)
  assert.equal(sockets[0]?.closedWith, 4002)
})

test('a server that is silent, is pinged, and given up when it stays silent', async () => {
  const { timers, sockets, client, say } = byHand()
  const connected = client.connect()
  say(HELLO)
  await timers.until(connected)
  await timers.pass(1100)
  assert.match(Buffer.concat(sockets[0]!.sent).toString('latin1'), /ping/)
  assert.ok(client.isConnected)
  await timers.pass(6000)
  assert.ok(!client.isConnected)
})

test('a question is asked again on the next connection, a change is not', async () => {
  const h = harness(new Random(3))
  h.server.createTopic('t', 1)
  await h.timers.until(h.link.connect())
  const request = { type: 'metadata', topics: null } as const
  const asked = h.link.request(request, 'metadata', { repeat: true })
  const changed = h.link.request({ type: 'deleteTopic', name: 't' }, 'done')
  h.server.dropAll()
  await assert.rejects(h.timers.until(changed), ConnectionError)
  assert.equal((await h.timers.until(asked)).topics.length, 1)
})

test('recall is answered with what is not in use, and the window grows again when it is', async () => {
  const h = harness(new Random(4), { credits: 50_000, creditsMax: 200_000 })
  h.server.createTopic('t', 1)
  h.server.faults = { recall: 1 - 1e-9 }
  const client = new Client({ url: 'ws://fake' }, h.server.platform)
  const producer = client.producer({ lingerMs: 0 })
  for (let i = 0; i < 100; i++) {
    await h.timers.until(producer.send({ topic: 't', value: 'x'.repeat(30_000) }))
  }
  await h.timers.until(client.close())
  assert.equal(h.server.partition('t', 0)?.logEndOffset, 100)
  await h.timers.pass(100)
  assert.deepEqual(h.server.violations, [])
})

test('producers that share a connection, all get credits', async () => {
  const h = harness(new Random(5), { credits: 3000, creditsMax: 3000, requests: 3 })
  h.server.createTopic('t', 8)
  h.server.faults = { answerDelayMs: 20 }
  const client = new Client({ url: 'ws://fake', creditWindowBytes: 3000 }, h.server.platform)
  const producers = Array.from({ length: 8 }, () => client.producer({ lingerMs: 0 }))
  const sent = producers.flatMap((producer, partition) =>
    Array.from({ length: 20 }, () =>
      producer.send({ topic: 't', partition, value: 'x'.repeat(partition === 0 ? 2000 : 300) }),
    ),
  )
  await h.timers.until(Promise.all(sent), 60_000)
  await h.timers.until(client.close())
  assert.deepEqual(h.server.violations, [])
})

test('close ends every wait', async () => {
  const { timers, client } = byHand()
  const connected = client.connect()
  const asked = client.admin().listTopics()
  const refused = [connected, asked].map((wait) => assert.rejects(wait, ClosedError))
  await timers.until(client.close())
  await timers.until(Promise.all(refused))
  await assert.rejects(client.connect(), ClosedError)
  assert.throws(() => client.producer(), ClosedError)
})

test('events go to the channels that have subscribers', async () => {
  const timers = new VirtualTimers()
  const server = new FakeServer({ timers, random: new Random(1) })
  server.createTopic('t', 1)
  const seen: string[] = []
  const channel = (name: string): EventChannel => ({
    hasSubscribers: true,
    publish: (message) => seen.push(`${name} ${Object.keys(message as object).join()}`),
  })
  const events = {
    connect: channel('connect'),
    disconnect: channel('disconnect'),
    produce: channel('produce'),
    error: { hasSubscribers: false, publish: () => assert.fail('nobody listens') },
  }
  const client = new Client({ url: 'ws://fake', clientId: 'me' }, { ...server.platform, events })
  await timers.until(client.producer().send({ topic: 't', value: 'x' }))
  await timers.until(client.close())
  assert.deepEqual(seen, [
    'connect url,clientId,server,node,cluster',
    'produce partitions,bytes,durationMs,failed',
    'disconnect url,clientId,error',
  ])
})

test('CreditWindow counts what acks 0 brings home apart from what the server adds', () => {
  const window = new CreditWindow(1000)
  window.spend(400, false)
  window.spend(100, true)
  window.grant(300)
  assert.equal(window.window, 1000)
  window.grant(300)
  assert.equal(window.window, 1200)
  window.restore(100, 0)
  assert.equal(window.inHand, 1200)
  window.spend(500, true)
  window.restore(500, 200)
  assert.deepEqual([window.inHand, window.window], [1000, 1000], 'the server kept some')
  assert.equal(window.yieldUpTo(5000), 1000)
  assert.equal(window.window, 0)
  assert.throws(() => window.spend(1, true), /overdrawn/)
})

test('a request that was given up, is not made when there is a connection again', async () => {
  const h = harness(new Random(6))
  h.server.createTopic('t', 1)
  h.server.isDown = true
  const deleted = h.link.request({ type: 'deleteTopic', name: 't' }, 'done')
  await assert.rejects(h.timers.until(deleted), TimeoutError)
  const abort = new AbortController()
  const message = { type: 'createPartitions', name: 't', count: 2 } as const
  const enlarged = h.link.request(message, 'done', { signal: abort.signal })
  h.timers.after(10, () => abort.abort(new Error('never mind')))
  await assert.rejects(h.timers.until(enlarged), /never mind/)
  h.server.isDown = false
  await h.timers.until(h.link.connect())
  await h.timers.pass(1000)
  assert.equal(h.server.topics.get('t')?.length, 1)
})

test('a request that the server would not read, fails alone', async () => {
  const h = harness(new Random(7))
  const topics = Array.from({ length: 5000 }, (_, i) => `a-topic-with-a-long-name-${i}`)
  const asked = h.link.request({ type: 'metadata', topics }, 'metadata')
  await assert.rejects(h.timers.until(asked), { code: ErrorCode.MESSAGE_TOO_LARGE })
  assert.equal(h.server.opened, 1)
  assert.ok(h.link.connection !== null)
})
