/**
 * What the engines do differently, as the README of the folder says. Nothing of it is wanted:
 * when a new version of a library changes a line here, the README is to follow.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { WebRequest, WebResponse } from '../../../src/gateway/web/web-server.ts'
import { RawHttp } from '../../support/raw-http.ts'
import {
  closePayload,
  encodeFrame,
  Opcode,
  upgradeRequest,
  WebSocketClient,
} from '../../support/web-socket-client.ts'
import { MESSAGE_BYTES_MAX, onEveryEngine, withServer } from './engines.ts'

onEveryEngine('differences', (engine) => {
  test('a message that is too large', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      client.send(Opcode.BINARY, Buffer.alloc(MESSAGE_BYTES_MAX + 1))
      const recorder = await nextPeer()
      assert.equal(await recorder.closed, 1009)
      client.send(Opcode.CLOSE, closePayload(1009))
      const { code } = await client.ended
      if (engine === 'uws') assert.equal(code, null)
      else assert.ok(code === 1009 || code === null)
    })
  })

  test('a violation of the protocol', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      client.send(3)
      assert.equal(await (await nextPeer()).closed, engine === 'uws' ? 1006 : 1002)
      client.destroy()
    })
  })

  test('an unmasked frame', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      client.send(Opcode.BINARY, 'unmasked', { masked: false })
      client.write(Buffer.alloc(4)) // Taken for the rest of the payload.
      const recorder = await nextPeer()
      await recorder.until(() => recorder.messages.length > 0)
      assert.equal(recorder.messages.length, engine === 'uws' ? 1 : 0)
      assert.deepEqual(recorder.closes, engine === 'uws' ? [] : [1002])
      client.destroy()
    })
  })

  test('a new message inside a fragmented one', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      client.send(Opcode.BINARY, 'first', { fin: false })
      client.send(Opcode.BINARY, 'second')
      const recorder = await nextPeer()
      await recorder.until(() => recorder.messages.length > 0)
      assert.deepEqual(recorder.messages.map(String), engine === 'uws' ? ['firstsecond'] : [])
      assert.deepEqual(recorder.closes, engine === 'uws' ? [] : [1002])
      client.destroy()
    })
  })

  test('a length that is written wider than it needs', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      for (const lengthBits of [16, 64] as const) {
        const client = await WebSocketClient.open(port)
        client.send(Opcode.BINARY, 'wide', { lengthBits })
        const recorder = await nextPeer()
        await recorder.until(() => recorder.messages.length > 0)
        assert.deepEqual(recorder.messages.map(String), engine === 'native' ? [] : ['wide'])
        assert.deepEqual(recorder.closes, engine === 'native' ? [1002] : [])
        client.destroy()
      }
    })
  })

  test('a message of more than 16,384 fragments', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      const fragment = encodeFrame(Opcode.CONTINUATION, '', { fin: false })
      client.send(Opcode.BINARY, '', { fin: false })
      client.write(Buffer.concat(Array.from({ length: 16_384 }, () => fragment)))
      client.send(Opcode.CONTINUATION, 'end')
      const recorder = await nextPeer()
      await recorder.until(() => recorder.messages.length > 0)
      assert.deepEqual(recorder.messages.map(String), engine === 'node' ? [] : ['end'])
      assert.deepEqual(recorder.closes, engine === 'node' ? [1008] : [])
      client.destroy()
    })
  })

  test('text', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      const half = encodeFrame(Opcode.TEXT, 'half of it').subarray(0, 8)
      client.write(half)
      const recorder = await nextPeer()
      if (engine === 'native') assert.equal(await recorder.closed, 1003)
      else assert.deepEqual(recorder.closes, [], 'judged when it is whole')
      client.destroy()
      await recorder.closed
    })
  })

  test('a message in the same packet as the upgrade', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const early = encodeFrame(Opcode.BINARY, 'early').toString('latin1')
      const client = await WebSocketClient.openWith(port, [upgradeRequest(port) + early], 'latin1')
      client.send(Opcode.BINARY, 'late')
      const recorder = await nextPeer()
      await recorder.until(() => recorder.messages.some((bytes) => String(bytes) === 'late'))
      const expected = engine === 'uws' ? ['late'] : ['early', 'late']
      assert.deepEqual(recorder.messages.map(String), expected)
      client.destroy()
    })
  })

  test('HTTP/1.0', async () => {
    await withServer(engine, {}, async ({ port }) => {
      const http = await RawHttp.open(port)
      http.write('GET / HTTP/1.0\r\nHost: localhost\r\n\r\n')
      assert.match(await http.ended, engine === 'uws' ? / 505 / : / 200 /)
    })
  })

  test('a hundred headers', async () => {
    await withServer(engine, {}, async ({ port }) => {
      const http = await RawHttp.open(port)
      const count = engine === 'uws' ? 97 : 1000
      http.write(`GET / HTTP/1.1\r\nHost: localhost\r\n${'A: b\r\n'.repeat(count)}\r\n`)
      assert.equal((await http.answer()).status, 200)
      http.socket.destroy()
    })
  })

  test('no Host, and an Expect that is none', async () => {
    await withServer(engine, {}, async ({ port }) => {
      for (const [headers, status] of [
        ['', 400],
        ['Host: a\r\nExpect: 200-maybe\r\n', 417],
      ] as const) {
        const http = await RawHttp.open(port)
        http.write(`GET / HTTP/1.1\r\n${headers}\r\n`)
        if (engine === 'uws') {
          http.socket.destroy() // It closes the first, and knows nothing of the second.
          continue
        }
        const answer = await http.answer()
        assert.equal(answer.status, status)
        assert.ok(JSON.parse(answer.body).message.length > 15)
        http.socket.destroy()
      }
    })
  })

  test('a pipelined request behind one that is still worked on', async () => {
    let answer: ((response: WebResponse) => void) | null = null
    const onRequest = ({ path }: WebRequest): WebResponse | Promise<WebResponse> => {
      if (path === '/second') return { status: 200, headers: {}, body: 'second' }
      return new Promise((resolve) => {
        answer = resolve
      })
    }
    await withServer(engine, { onRequest }, async ({ port }) => {
      const http = await RawHttp.open(port)
      const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
      http.write(request('/first') + request('/second'))
      if (engine === 'uws') {
        assert.equal(await http.ended, '')
        return
      }
      while (answer === null) await new Promise(setImmediate)
      const respond = answer as (response: WebResponse) => void
      respond({ status: 200, headers: {}, body: 'first' })
      assert.equal((await http.answer()).body, 'first')
      assert.equal((await http.answer()).body, 'second')
      http.socket.destroy()
    })
  })

  test('what waits behind another answer hears that the connection is gone', async () => {
    let closed = 0
    let aborted = 0
    const body = {
      [Symbol.asyncIterator]: () => body,
      next: () => Promise.resolve({ done: false, value: 'x'.repeat(1 << 20) }),
      return: () => {
        closed++
        return Promise.resolve({ done: true, value: undefined })
      },
    } as AsyncIterableIterator<string>
    let asked = 0
    const onRequest = ({ path, signal }: WebRequest): WebResponse | Promise<WebResponse> => {
      asked++
      signal.addEventListener('abort', () => aborted++)
      return path === '/stream' ? { status: 200, headers: {}, body } : new Promise(() => {})
    }
    await withServer(engine, { onRequest }, async ({ port }) => {
      const http = await RawHttp.open(port)
      const paths = ['/first', '/stream', '/third']
      http.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''))
      if (engine === 'uws') {
        assert.equal(await http.ended, '')
        return
      }
      while (asked < 3) await new Promise(setImmediate)
      http.socket.destroy()
      while (aborted < 3 || closed < 1) await new Promise(setImmediate)
    })
  })

  test('a connection that asks for much and waits for no answer', async () => {
    let asked = 0
    const onRequest = (): Promise<WebResponse> => {
      asked++
      return new Promise(() => {})
    }
    await withServer(engine, { onRequest }, async ({ port }) => {
      const http = await RawHttp.open(port)
      http.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(1000))
      assert.equal(await http.ended, '')
      assert.equal(asked, engine === 'uws' ? 1 : 200)
    })
  })
})
