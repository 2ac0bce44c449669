/**
 * What Autobahn's suite asks of a server, as far as it concerns binary messages without extensions
 * (RFC 6455), in frames of our own making. Where a server may choose between a close frame and
 * dropping the connection, both are taken; that it closes, and what the handler hears, is not free.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { WebEngine } from '../../../src/gateway/web/web-server.ts'
import {
  closePayload,
  encodeFrame,
  type FrameOptions,
  Opcode,
  WebSocketClient,
} from '../../support/web-socket-client.ts'
import { MESSAGE_BYTES_MAX, onEveryEngine, type Recorder, withServer } from './engines.ts'

interface Connection {
  readonly client: WebSocketClient
  readonly recorder: Recorder
}

async function connected(
  engine: WebEngine,
  use: (connection: Connection) => Promise<void>,
): Promise<void> {
  await withServer(engine, {}, async ({ port, nextPeer }) => {
    const client = await WebSocketClient.open(port)
    try {
      await use({ client, recorder: await nextPeer() })
    } finally {
      client.destroy()
    }
  })
}

function bytesOf(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 31) & 0xff))
}

/** Waits for `count` messages, or for the close. */
async function received({ recorder }: Connection, count: number): Promise<readonly Buffer[]> {
  await recorder.until(() => recorder.messages.length >= count)
  return recorder.messages
}

/** The server must close: by a frame with one of `codes`, or by dropping the connection. */
async function expectClosed(connection: Connection, codes: readonly number[]): Promise<void> {
  const { client, recorder } = connection
  const { code } = await client.ended
  assert.ok(code === null || codes.includes(code), `closed with ${code}`)
  await recorder.closed
  assert.equal(recorder.closes.length, 1)
  assert.deepEqual(recorder.messages, [])
}

onEveryEngine('WebSocket messages', (engine) => {
  for (const length of [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, MESSAGE_BYTES_MAX]) {
    test(`of ${length} bytes come and go as they are`, () =>
      connected(engine, async (connection) => {
        const payload = bytesOf(length)
        connection.client.send(Opcode.BINARY, payload)
        assert.ok((await received(connection, 1))[0]?.equals(payload))
        assert.equal(connection.recorder.peer.send([payload]), true)
        assert.ok((await connection.client.message())?.equals(payload))
      }))
  }

  test('in fragments, with control frames between them, come whole', () =>
    connected(engine, async (connection) => {
      const { client } = connection
      client.send(Opcode.BINARY, 'he', { fin: false })
      client.send(Opcode.PING, 'between')
      client.send(Opcode.CONTINUATION, '', { fin: false })
      client.send(Opcode.PONG, 'unasked')
      client.send(Opcode.CONTINUATION, 'll', { fin: false })
      client.send(Opcode.CONTINUATION, 'o')
      client.send(Opcode.BINARY, 'next')
      assert.deepEqual((await received(connection, 2)).map(String), ['hello', 'next'])
      const pong = await client.frame()
      assert.equal(pong?.opcode, Opcode.PONG)
      assert.equal(String(pong?.payload), 'between')
    }))

  test('in fragments of one byte come whole', () =>
    connected(engine, async (connection) => {
      const payload = bytesOf(3000)
      for (const [i, byte] of payload.entries()) {
        const opcode = i === 0 ? Opcode.BINARY : Opcode.CONTINUATION
        connection.client.send(opcode, Uint8Array.of(byte), { fin: i === payload.length - 1 })
      }
      assert.ok((await received(connection, 1))[0]?.equals(payload))
    }))

  test('of empty fragments are empty', () =>
    connected(engine, async (connection) => {
      connection.client.send(Opcode.BINARY, '', { fin: false })
      connection.client.send(Opcode.CONTINUATION, '', { fin: false })
      connection.client.send(Opcode.CONTINUATION, '')
      assert.deepEqual((await received(connection, 1)).map(String), [''])
    }))

  test('that arrive byte by byte come whole', () =>
    connected(engine, async (connection) => {
      const frames = Buffer.concat([
        encodeFrame(Opcode.BINARY, bytesOf(130), { fin: false }),
        encodeFrame(Opcode.PING, 'p'),
        encodeFrame(Opcode.CONTINUATION, bytesOf(7)),
      ])
      for (const byte of frames) {
        connection.client.write(Uint8Array.of(byte))
        await new Promise(setImmediate)
      }
      const [message] = await received(connection, 1)
      assert.ok(message?.equals(Buffer.concat([bytesOf(130), bytesOf(7)])))
    }))

  test('many in one packet come in order', () =>
    connected(engine, async (connection) => {
      const frames = Array.from({ length: 1000 }, (_, i) => encodeFrame(Opcode.BINARY, String(i)))
      connection.client.write(Buffer.concat(frames))
      const expected = Array.from({ length: 1000 }, (_, i) => String(i))
      assert.deepEqual((await received(connection, 1000)).map(String), expected)
    }))

  test('of text close with 1003', () =>
    connected(engine, async (connection) => {
      connection.client.send(Opcode.TEXT, 'text')
      assert.equal((await connection.client.frame())?.payload.readUInt16BE(0), 1003)
      connection.client.send(Opcode.CLOSE, closePayload(1003))
      assert.equal((await connection.client.ended).code, 1003)
      assert.deepEqual(connection.recorder.closes, [1003])
      assert.deepEqual(connection.recorder.messages, [])
    }))

  const tooLarge: [string, readonly [number, string | Uint8Array, FrameOptions?][]][] = [
    ['by one byte', [[Opcode.BINARY, bytesOf(MESSAGE_BYTES_MAX + 1)]]],
    [
      'in two fragments',
      [
        [Opcode.BINARY, bytesOf(MESSAGE_BYTES_MAX), { fin: false }],
        [Opcode.CONTINUATION, 'x'],
      ],
    ],
    ['by declaring 2^31 bytes', [[Opcode.BINARY, 'x', { declaredLength: 2n ** 31n }]]],
    ['by declaring 2^32 + 1 bytes', [[Opcode.BINARY, 'x', { declaredLength: 2n ** 32n + 1n }]]],
    ['by declaring 2^63 - 1 bytes', [[Opcode.BINARY, 'x', { declaredLength: 2n ** 63n - 1n }]]],
    ['by declaring 2^64 - 1 bytes', [[Opcode.BINARY, 'x', { declaredLength: 2n ** 64n - 1n }]]],
  ]
  for (const [name, frames] of tooLarge) {
    test(`too large ${name} close with 1009, without memory for them`, () =>
      connected(engine, async (connection) => {
        const before = process.memoryUsage()
        for (const [opcode, payload, options] of frames) {
          connection.client.send(opcode, payload, options)
        }
        connection.client.send(Opcode.CLOSE, closePayload(1009))
        await expectClosed(connection, [1009])
        assert.deepEqual(connection.recorder.closes, [1009])
        const grown = process.memoryUsage().arrayBuffers - before.arrayBuffers
        assert.ok(grown < 32 * 1024 * 1024, `${grown} bytes more`)
      }))
  }
})

onEveryEngine('WebSocket control frames', (engine) => {
  for (const length of [0, 1, 125]) {
    test(`a ping of ${length} bytes is answered with its own bytes`, () =>
      connected(engine, async ({ client }) => {
        client.send(Opcode.PING, bytesOf(length))
        const pong = await client.frame()
        assert.equal(pong?.opcode, Opcode.PONG)
        assert.ok(pong?.payload.equals(bytesOf(length)))
      }))
  }

  test('ten pings are answered in order', () =>
    connected(engine, async ({ client }) => {
      client.write(Buffer.concat(Array.from({ length: 10 }, (_, i) => encodeFrame(9, `${i}`))))
      for (let i = 0; i < 10; i++) assert.equal(String((await client.frame())?.payload), `${i}`)
    }))

  const violations: [string, readonly [number, string | Uint8Array, FrameOptions?][], number[]][] =
    [
      ...[1, 2, 4, 7].map((reserved): [string, [number, string, FrameOptions][], number[]] => [
        `reserved bits ${reserved}`,
        [[Opcode.BINARY, 'x', { reserved }]],
        [1002],
      ]),
      ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(
        (opcode): [string, [number, string][], number[]] => [
          `opcode ${opcode}`,
          [[opcode, 'x']],
          [1002],
        ],
      ),
      ['a ping of 126 bytes', [[Opcode.PING, bytesOf(126)]], [1002]],
      ['a pong of 126 bytes', [[Opcode.PONG, bytesOf(126)]], [1002]],
      ['a close of 126 bytes', [[Opcode.CLOSE, closePayload(1000, 'x'.repeat(124))]], [1002]],
      ['a ping in fragments', [[Opcode.PING, 'x', { fin: false }]], [1002]],
      ['a close in fragments', [[Opcode.CLOSE, '', { fin: false }]], [1002]],
      ['a continuation of nothing', [[Opcode.CONTINUATION, 'x']], [1002]],
      [
        'an unfinished continuation of nothing',
        [[Opcode.CONTINUATION, 'x', { fin: false }]],
        [1002],
      ],
      [
        'text that is not UTF-8',
        [[Opcode.TEXT, Uint8Array.of(0xce, 0xba, 0xed, 0xa0)]],
        [1003, 1007],
      ],
    ]
  for (const [name, frames, codes] of violations) {
    test(`${name} closes the connection`, () =>
      connected(engine, async (connection) => {
        for (const [opcode, payload, options] of frames) {
          connection.client.send(opcode, payload, options)
        }
        await connection.recorder.closed
        connection.client.send(Opcode.CLOSE, closePayload(1002))
        await expectClosed(connection, codes)
      }))
  }
})

onEveryEngine('WebSocket close', (engine) => {
  for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 4000, 4999]) {
    test(`with ${code} is answered, and the handler hears it`, () =>
      connected(engine, async ({ client, recorder }) => {
        client.send(Opcode.CLOSE, closePayload(code, 'bye – ☂'))
        assert.equal((await client.ended).code, code)
        assert.equal(await recorder.closed, code)
        assert.deepEqual(recorder.closes, [code])
      }))
  }

  for (const code of [1012, 1014, 3000, 3999]) {
    test(`with ${code} is answered, though uWebSockets.js does not know the code`, () =>
      connected(engine, async ({ client, recorder }) => {
        client.send(Opcode.CLOSE, closePayload(code))
        assert.equal((await client.ended).code, engine === 'uws' ? 1005 : code)
        assert.equal(await recorder.closed, engine === 'uws' ? 1006 : code)
      }))
  }

  test('without a code is answered, and is 1005 for the handler', () =>
    connected(engine, async ({ client, recorder }) => {
      client.send(Opcode.CLOSE)
      assert.equal((await client.ended).code, 1005)
      assert.equal(await recorder.closed, 1005)
    }))

  const broken: [string, Uint8Array][] = [
    ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map(
      (code): [string, Uint8Array] => [`the code ${code}`, closePayload(code)],
    ),
    ['half a code', Uint8Array.of(3)],
    ['a reason that is not UTF-8', closePayload(1000, Uint8Array.of(0xff, 0xfe))],
    ['a reason that ends inside a character', closePayload(1000, Uint8Array.of(0xe2, 0x82))],
    ['a surrogate in the reason', closePayload(1000, Uint8Array.of(0xed, 0xa0, 0x80))],
  ]
  for (const [name, payload] of broken) {
    test(`with ${name} ends the connection`, () =>
      connected(engine, async ({ client, recorder }) => {
        client.send(Opcode.CLOSE, payload)
        await recorder.closed
        client.send(Opcode.CLOSE, closePayload(1002))
        const { code } = await client.ended
        assert.ok([null, 1002, 1005, 1007].includes(code), `closed with ${code}`)
        assert.equal(recorder.closes.length, 1)
        assert.ok([1002, 1005, 1006, 1007].includes(recorder.closes[0] as number))
      }))
  }

  test('is the end: nothing that follows it is a message', () =>
    connected(engine, async ({ client, recorder }) => {
      const frames = [encodeFrame(8, closePayload(1000)), encodeFrame(2, 'x'), encodeFrame(9, 'p')]
      client.write(Buffer.concat(frames))
      const { code } = await client.ended
      assert.ok(code === 1000 || code === null)
      await recorder.closed
      assert.deepEqual(recorder.messages, [])
      assert.equal(recorder.peer.send([Buffer.from('x')]), false)
      assert.equal(recorder.peer.bufferedBytes, 0)
      recorder.peer.end(1000, '')
      recorder.peer.terminate()
      assert.equal(recorder.closes.length, 1)
    }))

  test('by the server says code and reason, cut to what fits, after all that was sent', () =>
    connected(engine, async ({ client, recorder }) => {
      recorder.peer.send([Buffer.from('last')])
      recorder.peer.end(4321, 'ä'.repeat(100))
      assert.deepEqual(recorder.closes, [4321], 'the handler hears it at once')
      assert.equal(String(await client.message()), 'last')
      assert.equal((await client.frame())?.opcode, Opcode.CLOSE)
      client.send(Opcode.BINARY, 'too late')
      client.send(Opcode.CLOSE, closePayload(4321))
      assert.deepEqual(await client.ended, { code: 4321, reason: 'ä'.repeat(61) })
      assert.deepEqual(recorder.closes, [4321])
      assert.deepEqual(recorder.messages, [])
    }))

  test('by terminate drops the connection', () =>
    connected(engine, async ({ client, recorder }) => {
      recorder.peer.terminate()
      assert.deepEqual(recorder.closes, [1006])
      assert.equal((await client.ended).code, null)
      assert.deepEqual(recorder.closes, [1006])
    }))

  test('inside onMessage stops the messages behind it', async () => {
    const seen: string[] = []
    const codes: number[] = []
    const makeHandler = (peer: Recorder['peer']) => ({
      onMessage: (bytes: Uint8Array) => {
        seen.push(Buffer.from(bytes).toString())
        if (seen.length === 2) peer.terminate()
      },
      onDrain: () => {},
      onClose: (code: number) => codes.push(code),
    })
    await withServer(engine, { makeHandler }, async ({ port }) => {
      const client = await WebSocketClient.open(port)
      client.write(Buffer.concat(['a', 'b', 'c', 'd'].map((text) => encodeFrame(2, text))))
      await client.ended
      assert.deepEqual(seen, ['a', 'b'])
      assert.deepEqual(codes, [1006])
    })
  })

  const halves: [string, Uint8Array][] = [
    ['nothing', Buffer.alloc(0)],
    ['one byte of a frame', encodeFrame(2, 'hello').subarray(0, 1)],
    ['half a header', encodeFrame(2, bytesOf(70_000)).subarray(0, 7)],
    ['half a payload', encodeFrame(2, bytesOf(70_000)).subarray(0, 30_000)],
    ['half a message', encodeFrame(2, 'hello', { fin: false })],
    ['half a close', encodeFrame(8, closePayload(1000, 'bye')).subarray(0, 5)],
  ]
  for (const [name, bytes] of halves) {
    test(`by hanging up after ${name} is 1006`, () =>
      connected(engine, async ({ client, recorder }) => {
        client.write(bytes)
        await new Promise((resolve) => client.socket.write('', resolve))
        client.socket.end()
        assert.equal(await recorder.closed, 1006)
        assert.deepEqual(recorder.closes, [1006])
        assert.deepEqual(recorder.messages, [])
      }))
  }

  test('of the server tells every client 1001', async () => {
    await withServer(engine, {}, async ({ port, server, nextPeer }) => {
      const clients = [await WebSocketClient.open(port), await WebSocketClient.open(port)]
      const recorders = [await nextPeer(), await nextPeer()]
      await server.close()
      for (const client of clients) assert.equal((await client.ended).code, 1001)
      for (const recorder of recorders) assert.deepEqual(recorder.closes, [1001])
    })
  })
})
