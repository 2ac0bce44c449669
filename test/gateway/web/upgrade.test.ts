import assert from 'node:assert/strict'
import { test } from 'node:test'
import { plainAddress } from '../../../src/gateway/web/plain-address.ts'
import { isOriginAllowed } from '../../../src/gateway/web/upgrade-rules.ts'
import { RawHttp, rawRequest } from '../../support/raw-http.ts'
import {
  closePayload,
  encodeFrame,
  Opcode,
  type UpgradeOptions,
  upgradeRequest,
  WebSocketClient,
} from '../../support/web-socket-client.ts'
import { onEveryEngine, withServer } from './engines.ts'

test('isOriginAllowed, own host, loopback and the list are, everything else is not', () => {
  const host = 'broker.example:8080'
  const allowed = ['https://console.example', 'chrome-extension://abc']
  const cases: [string | undefined, string | undefined, boolean][] = [
    [undefined, host, true],
    ['http://broker.example:8080', host, true],
    ['HTTP://Broker.Example:8080', host, true],
    ['http://broker.example', host, false],
    ['http://broker.example', 'broker.example:80', true],
    ['https://broker.example', 'broker.example:443', true],
    ['https://broker.example', 'broker.example', true],
    ['https://broker.example', 'broker.example:80', false],
    ['http://localhost:3000', host, true],
    ['http://127.0.0.1', host, true],
    ['http://[::1]:3000', host, true],
    ['http://evil.example', host, false],
    ['http://127.0.0.1.evil.example', host, false],
    ['http://localhost.evil.example', host, false],
    ['http://broker.example:8080@evil.example', host, false],
    ['null', host, false],
    ['', host, false],
    ['file://', host, false],
    ['http://evil.example', undefined, false],
    ['https://console.example', host, true],
    ['https://console.example:444', host, false],
    ['chrome-extension://abc', host, true],
    ['chrome-extension://abcd', host, false],
  ]
  for (const [origin, asked, expected] of cases) {
    assert.equal(isOriginAllowed(origin, asked, allowed), expected, `${origin} to ${asked}`)
  }
  assert.equal(isOriginAllowed('null', host, ['*']), true)
})

test('plainAddress, writes every address in one way', () => {
  const cases: [string | undefined, string][] = [
    [undefined, ''],
    ['', ''],
    ['127.0.0.1', '127.0.0.1'],
    ['::ffff:127.0.0.1', '127.0.0.1'],
    ['0000:0000:0000:0000:0000:ffff:c0a8:0102', '192.168.1.2'],
    ['0000:0000:0000:0000:0000:0000:0000:0001', '::1'],
    ['2001:0DB8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['fe80::1%eth0', 'fe80::1'],
  ]
  for (const [text, expected] of cases) assert.equal(plainAddress(text), expected, text)
})

onEveryEngine('upgrade of /ws', (engine) => {
  const refusals: [string, UpgradeOptions, number, string][] = [
    ['without Upgrade', { headers: { upgrade: null } }, 426, 'UPGRADE_REQUIRED'],
    ['without Connection', { headers: { connection: 'keep-alive' } }, 426, 'UPGRADE_REQUIRED'],
    ['to another protocol', { headers: { upgrade: 'h2c' } }, 426, 'UPGRADE_REQUIRED'],
    ['in version 8', { headers: { 'sec-websocket-version': '8' } }, 426, 'UNSUPPORTED_VERSION'],
    [
      'without a version',
      { headers: { 'sec-websocket-version': null } },
      426,
      'UNSUPPORTED_VERSION',
    ],
    ['without a key', { headers: { 'sec-websocket-key': null } }, 400, 'INVALID_REQUEST'],
    ['with a short key', { headers: { 'sec-websocket-key': 'YQ==' } }, 400, 'INVALID_REQUEST'],
    [
      'with a key that is no base64',
      { headers: { 'sec-websocket-key': '!!!!!!!!!!!!!!!!!!!!!!==' } },
      400,
      'INVALID_REQUEST',
    ],
    [
      'without a subprotocol',
      { headers: { 'sec-websocket-protocol': null } },
      400,
      'UNSUPPORTED_PROTOCOL',
    ],
    [
      'with another subprotocol',
      { headers: { 'sec-websocket-protocol': 'millrace.v2, chat' } },
      400,
      'UNSUPPORTED_PROTOCOL',
    ],
    [
      'from a foreign page',
      { headers: { origin: 'http://evil.example' } },
      403,
      'ORIGIN_NOT_ALLOWED',
    ],
    ['from a page without origin', { headers: { origin: 'null' } }, 403, 'ORIGIN_NOT_ALLOWED'],
    ['with POST', { method: 'POST' }, 405, 'METHOD_NOT_ALLOWED'],
  ]
  for (const [name, options, status, error] of refusals) {
    test(`${name} is refused with ${status} and says what to do`, async () => {
      await withServer(engine, {}, async ({ port, complaints }) => {
        const http = await RawHttp.open(port)
        http.write(upgradeRequest(port, options))
        const answer = await http.answer()
        await http.ended
        assert.equal(answer.status, status)
        assert.equal(complaints.length, 1)
        assert.match(complaints[0]!, new RegExp(`^protocol: .* was refused with ${status}$`))
        const body = JSON.parse(answer.body)
        assert.equal(body.error, error)
        assert.ok(body.message.length > 10)
        const client = await WebSocketClient.open(port)
        client.destroy()
      })
    })
  }

  test('by a name that is not this machine is refused where only it is served', async () => {
    await withServer(engine, { webSocket: { isLocal: true } }, async ({ port }) => {
      const foreign = { host: 'page.example', origin: 'http://page.example' }
      const http = await RawHttp.open(port)
      http.write(upgradeRequest(port, { headers: foreign }))
      const answer = await http.answer()
      assert.deepEqual([answer.status, JSON.parse(answer.body).error], [403, 'HOST_NOT_ALLOWED'])
      const client = await WebSocketClient.open(port)
      client.destroy()
    })
  })

  test('with what a browser sends, and from allowed pages, is accepted', async () => {
    const webSocket = { allowedOrigins: ['https://console.example'] }
    await withServer(engine, { webSocket }, async ({ port, nextPeer }) => {
      const variants: UpgradeOptions[] = [
        { headers: { origin: `http://127.0.0.1:${port}` } },
        { headers: { origin: 'http://localhost:5173' } },
        { headers: { origin: 'https://console.example' } },
        { headers: { connection: 'keep-alive, Upgrade', upgrade: 'WebSocket' } },
        { headers: { 'sec-websocket-protocol': 'chat, millrace.v1' } },
        { headers: { 'sec-websocket-extensions': 'permessage-deflate; client_max_window_bits' } },
        { path: '/ws?token=a' },
      ]
      for (const options of variants) {
        const client = await WebSocketClient.open(port, options)
        client.send(Opcode.BINARY, 'hello')
        const recorder = await nextPeer()
        await recorder.until(() => recorder.messages.length === 1)
        assert.equal(String(recorder.messages[0]), 'hello')
        assert.equal(recorder.peer.remoteAddress, '127.0.0.1')
        client.destroy()
        assert.equal(await recorder.closed, 1006)
      }
    })
  })

  test('elsewhere than /ws is a plain request', async () => {
    await withServer(engine, {}, async ({ port }) => {
      for (const path of ['/', '/wss', '/ws/', '/health/live']) {
        const answer = await rawRequest(port, upgradeRequest(port, { path }))
        assert.equal(answer.status, 200, path)
      }
    })
  })

  test('is closed with 1013 when nobody takes it', async () => {
    await withServer(engine, { makeHandler: () => null }, async ({ port }) => {
      const client = await WebSocketClient.open(port)
      const frame = await client.frame()
      assert.equal(frame?.opcode, Opcode.CLOSE)
      client.send(Opcode.CLOSE, closePayload(1013))
      assert.equal((await client.ended).code, 1013)
    })
  })

  test('by a handler that closes inside accept, tells the handler too', async () => {
    const codes: number[] = []
    const makeHandler = (peer: { end(code: number, reason: string): void }) => {
      peer.end(4001, 'no')
      return { onMessage: () => {}, onDrain: () => {}, onClose: (code: number) => codes.push(code) }
    }
    await withServer(engine, { makeHandler }, async ({ port }) => {
      const client = await WebSocketClient.open(port)
      assert.equal((await client.frame())?.opcode, Opcode.CLOSE)
      client.send(Opcode.CLOSE, closePayload(4001))
      assert.deepEqual(await client.ended, { code: 4001, reason: 'no' })
      assert.deepEqual(codes, [4001])
    })
  })

  test('can be answered at once, from inside accept', async () => {
    const makeHandler = (peer: { send(chunks: Uint8Array[]): boolean }) => {
      peer.send([Buffer.from('hel'), Buffer.from('lo')])
      return { onMessage: () => {}, onDrain: () => {}, onClose: () => {} }
    }
    await withServer(engine, { makeHandler }, async ({ port }) => {
      const client = await WebSocketClient.open(port)
      assert.equal(String(await client.message()), 'hello')
      client.destroy()
    })
  })

  test('that comes byte by byte is accepted', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const text = upgradeRequest(port)
      // uWebSockets.js wants the request line in one piece.
      const first = text.indexOf('\r\n') + 2
      const pieces = [text.slice(0, first), ...text.slice(first)]
      const client = await WebSocketClient.openWith(port, pieces)
      client.write(encodeFrame(Opcode.BINARY, 'x'))
      const recorder = await nextPeer()
      await recorder.until(() => recorder.messages.length === 1)
      client.destroy()
    })
  })
})
