/** The library as an application in Node uses it: over real sockets, with all codecs. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { WebSocketServer } from 'ws'
import { Random } from '../../src/base/random.ts'
import type { ClientSocket } from '../../src/client/platform.ts'
import { nodePlatform } from '../../src/client/platform-node.ts'
import { ConnectionError, createClient } from '../../src/index.ts'
import { FakeServer } from '../support/fake-server.ts'

/** The fake server behind a real listener. */
async function listen() {
  const server = new FakeServer({ timers: nodePlatform.timers, random: new Random(1) })
  const listener = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  listener.on('connection', (socket) => {
    assert.equal(socket.protocol, 'millrace.v1')
    let open = false
    const end: ClientSocket = server.platform.openSocket('', '', {
      opened: () => {
        open = true
      },
      message: (bytes) => socket.send(bytes as Uint8Array),
      closed: (code) => socket.close(code === 1006 ? 1001 : code),
    })
    socket.on('message', (data) => {
      assert.ok(open)
      end.send([data as Buffer])
    })
    socket.on('close', () => end.close(1000, ''))
  })
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  return { server, listener, url: `ws://127.0.0.1:${port}/ws` }
}

test('createClient sends and reads with every codec over a real socket', async () => {
  const { server, listener, url } = await listen()
  server.createTopic('t', 1)
  const client = createClient({ url })
  try {
    const consumer = client.consumer({ topics: ['t'], from: 'earliest' })
    const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
    for (const compression of codecs) {
      const producer = client.producer({ compression })
      await producer.send({ topic: 't', key: compression, value: compression.repeat(100) })
      await producer.close()
    }
    const seen: string[] = []
    for await (const { key, value } of consumer) {
      const name = new TextDecoder().decode(key ?? undefined)
      assert.equal(new TextDecoder().decode(value ?? undefined), name.repeat(100))
      assert.equal(key?.constructor, Uint8Array)
      if (seen.push(name) === codecs.length) break
    }
    assert.deepEqual(seen, codecs)
  } finally {
    await client.close()
    listener.close()
  }
})

test('createClient goes on when the connection is lost', async () => {
  const { server, listener, url } = await listen()
  server.createTopic('t', 1)
  const client = createClient({ url, reconnectMinMs: 1 })
  try {
    const producer = client.producer()
    await producer.send({ topic: 't', value: 'a' })
    server.dropAll()
    assert.equal((await producer.send({ topic: 't', value: 'b' })).offset, 1)
    assert.equal(server.opened, 2)
  } finally {
    await client.close()
    listener.close()
  }
})

test('createClient refuses what is no WebSocket URL, and says what cannot be reached', async () => {
  assert.throws(() => createClient({ url: 'http://127.0.0.1' }), TypeError)
  assert.throws(() => createClient({ url: 'nonsense' }), TypeError)
  const client = createClient({ url: 'ws://127.0.0.1:1/ws', requestTimeoutMs: 200 })
  await assert.rejects(client.admin().listTopics(), { code: 7, retriable: true })
  await client.close()
  assert.ok(new ConnectionError('x').retriable)
})

/** `ws` by itself waits for thirty seconds, and the program with it. */
test('a closed socket, with a server that does not answer the close, ends', {
  timeout: 20_000,
}, async (t) => {
  const server = createServer()
  server.on('upgrade', (request, socket) => {
    const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
    const accept = createHash('sha1').update(key).digest('base64')
    const head = `Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}`
    const answer = `HTTP/1.1 101 Switching Protocols\r\n${head}\r\nSec-WebSocket-Protocol: p\r\n`
    socket.write(`${answer}\r\n`)
    socket.resume()
    t.after(() => socket.destroy())
  })
  t.after(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const code = await new Promise<number>((resolve) => {
    const socket = nodePlatform.openSocket(`ws://127.0.0.1:${port}`, 'p', {
      opened: () => socket.close(1000, ''),
      message: () => {},
      closed: resolve,
    })
  })
  assert.equal(code, 1006)
})
