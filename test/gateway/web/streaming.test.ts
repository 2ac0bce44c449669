/** Answers in pieces: what arrives, who waits for whom, and what is closed when a client goes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { WebEngine, WebRequest, WebResponse } from '../../../src/gateway/web/web-server.ts'
import { RawHttp, rawRequest } from '../../support/raw-http.ts'
import { onEveryEngine, withServer } from './engines.ts'

const HOST = 'Host: localhost\r\n'
const PIECE = 'x'.repeat(64 * 1024)

function answer(body: WebResponse['body']): WebResponse {
  return { status: 200, headers: { 'content-type': 'text/plain' }, body }
}

/** The body of a chunked answer that has ended. */
function unchunk(text: string): string {
  let at = text.indexOf('\r\n\r\n') + 4
  let body = ''
  for (;;) {
    const end = text.indexOf('\r\n', at)
    const length = Number.parseInt(text.slice(at, end), 16)
    assert.ok(end > 0 && length >= 0, 'a chunk has a length')
    if (length === 0) return body
    body += text.slice(end + 2, end + 2 + length)
    at = end + 2 + length + 2
  }
}

/** Resolves once `holds`; the test's own time limit ends it otherwise. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
}

onEveryEngine('answers in pieces', streamingTests, { concurrency: 4 })

function streamingTests(engine: WebEngine): void {
  test('they arrive in order, and the connection goes on', async () => {
    async function* pieces(): AsyncGenerator<string | Uint8Array> {
      yield 'one,'
      await new Promise(setImmediate)
      yield Buffer.from('two,')
      yield 'three'
    }
    const onRequest = ({ path }: WebRequest) => answer(path === '/last' ? 'whole' : pieces())
    await withServer(engine, { onRequest }, async ({ port, errors }) => {
      const http = await RawHttp.open(port)
      http.write(`GET / HTTP/1.1\r\n${HOST}\r\n`)
      let seen = ''
      http.socket.on('data', (chunk) => {
        seen += chunk
      })
      await until(() => seen.endsWith('0\r\n\r\n'))
      http.write(`GET /last HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`)
      const text = await http.ended
      assert.match(text, /^HTTP\/1.1 200 OK\r\n/)
      assert.match(text, /transfer-encoding: chunked/i)
      assert.equal(unchunk(text), 'one,two,three')
      assert.ok(text.endsWith('whole'))
      assert.deepEqual(errors, [])
    })
  })

  test('no piece is made before a slow reader has taken the one in front of it', async () => {
    let made = 0
    const total = 400 // 25 MB: more than every buffer on the way.
    async function* pieces(): AsyncGenerator<string> {
      for (; made < total; made++) yield PIECE
    }
    await withServer(engine, { onRequest: () => answer(pieces()) }, async ({ port }) => {
      const http = await RawHttp.open(port)
      http.socket.pause()
      http.write(`GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`)
      let before = -1
      // Until it stands still.
      while (before !== made || made === 0) {
        before = made
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
      assert.ok(made < total / 2, `${made} pieces wait for a client that reads none`)
      http.socket.resume()
      let bytes = 0
      http.socket.on('data', (chunk: string) => {
        bytes += chunk.length
      })
      await until(() => bytes > total * PIECE.length)
      assert.equal(made, total)
      http.socket.destroy()
    })
  })

  test('what a slow reader has left of the last piece arrives, though no other follows', async () => {
    let go = (): void => {}
    const asked = new Promise<void>((resolve) => {
      go = resolve
    })
    const length = 16 * 1024 * 1024
    async function* pieces(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(length, 'y')
      await asked
    }
    await withServer(engine, { onRequest: () => answer(pieces()) }, async ({ port }) => {
      const http = await RawHttp.open(port)
      http.socket.pause()
      http.write(`GET / HTTP/1.1\r\n${HOST}\r\n`)
      await new Promise((resolve) => setTimeout(resolve, 100))
      let bytes = 0
      http.socket.on('data', (chunk: string) => {
        bytes += chunk.length
      })
      http.socket.resume()
      await until(() => bytes > length)
      go()
      http.socket.destroy()
    })
  })

  test('a client that goes closes the body, wherever it is', async () => {
    let closed = 0
    async function* waiting(signal: AbortSignal): AsyncGenerator<string> {
      try {
        yield 'first'
        await new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => resolve())
          if (signal.aborted) resolve()
        })
        yield 'nobody reads this'
      } finally {
        closed++
      }
    }
    async function* endless(): AsyncGenerator<string> {
      try {
        for (;;) yield PIECE
      } finally {
        closed++
      }
    }
    const onRequest = ({ path, signal }: WebRequest) =>
      answer(path === '/endless' ? endless() : waiting(signal))
    await withServer(engine, { onRequest }, async ({ port, errors }) => {
      for (const [i, path] of ['/waiting', '/endless'].entries()) {
        const http = await RawHttp.open(port)
        let seen = 0
        http.socket.on('data', (chunk) => {
          seen += chunk.length
        })
        http.write(`GET ${path} HTTP/1.1\r\n${HOST}\r\n`)
        await until(() => seen > 100)
        http.socket.destroy()
        await until(() => closed === i + 1)
      }
      assert.deepEqual(errors, [])
    })
  })

  test('a body that fails breaks off, so that its reader notices', async () => {
    async function* failing(): AsyncGenerator<string> {
      yield 'first'
      await new Promise(setImmediate)
      throw new Error('it fails')
    }
    await withServer(engine, { onRequest: () => answer(failing()) }, async ({ port, errors }) => {
      const http = await RawHttp.open(port)
      http.write(`GET / HTTP/1.1\r\n${HOST}\r\n`)
      const text = await http.ended
      assert.ok(!text.endsWith('0\r\n\r\n'), 'it does not look complete')
      assert.equal(errors.length, 1)
    })
  })

  test('HEAD opens no body', async () => {
    let begun = 0
    async function* pieces(): AsyncGenerator<string> {
      begun++
      yield 'x'
    }
    await withServer(engine, { onRequest: () => answer(pieces()) }, async ({ port }) => {
      const head = await rawRequest(port, `HEAD / HTTP/1.1\r\n${HOST}\r\n`)
      assert.equal(head.status, 200)
      assert.equal(begun, 0)
    })
  })

  test('bodies share one memory, and it comes back however a request ends', async () => {
    let release = (): void => {}
    const onRequest = async (request: WebRequest): Promise<WebResponse> => {
      const body = await request.body(60_000)
      if (request.path === '/wait') {
        await new Promise<void>((resolve) => {
          release = resolve
        })
      }
      return answer(String(body.length))
    }
    const limits = { bodyBytesMax: 60_000, bodiesBytesMax: 100_000 }
    await withServer(engine, { onRequest, limits }, async ({ port }) => {
      const ask = (path: string) =>
        `POST ${path} HTTP/1.1\r\n${HOST}Content-Length: 60000\r\n\r\n${'x'.repeat(60_000)}`
      const first = await RawHttp.open(port)
      first.write(ask('/wait'))
      const held = release
      await until(() => release !== held)
      const second = await rawRequest(port, ask('/'))
      assert.equal(second.status, 503)
      assert.equal(JSON.parse(second.body).error, 'TOO_MUCH_UNDER_WAY')
      assert.equal(second.headers.get('retry-after'), '1')
      first.socket.destroy()
      release()
      // Half a body, and its sender goes.
      const third = await RawHttp.open(port)
      third.write(ask('/').slice(0, 50_000))
      await new Promise((resolve) => setTimeout(resolve, 50))
      third.socket.destroy()
      for (;;) {
        const { status } = await rawRequest(port, ask('/'))
        if (status === 200) break
        assert.equal(status, 503)
      }
    })
  })
}
