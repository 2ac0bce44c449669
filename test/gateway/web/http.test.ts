import assert from 'node:assert/strict'
import { test } from 'node:test'
import { httpRoutes } from '../../../src/gateway/http-routes.ts'
import { jsonResponse } from '../../../src/gateway/web/responses.ts'
import type { WebEngine, WebRequest, WebResponse } from '../../../src/gateway/web/web-server.ts'
import { MetricsRegistry } from '../../../src/metrics/registry.ts'
import { RawHttp, rawRequest } from '../../support/raw-http.ts'
import { onEveryEngine, withServer } from './engines.ts'

const HOST = 'Host: localhost\r\n'

function text(body: string): WebResponse {
  return { status: 200, headers: { 'content-type': 'text/plain' }, body }
}

function errorOf(body: string): unknown {
  return JSON.parse(body).error
}

/** Some wait for timeouts, and each has a server of its own. */
const CONCURRENT = { concurrency: 8 }

onEveryEngine('HTTP', httpTests, CONCURRENT)

function httpTests(engine: WebEngine): void {
  test('health and metrics are served with GET and HEAD, and nothing else is', async () => {
    const onRequest = httpRoutes({
      metrics: new MetricsRegistry(),
      broker: () => null,
      isForClients: true,
      rules: { allowedOrigins: [], isLocal: true },
    })
    await withServer(engine, { onRequest }, async ({ port }) => {
      const ask = (line: string) => rawRequest(port, `${line} HTTP/1.1\r\n${HOST}\r\n`)
      const live = await ask('GET /health/live?a=b')
      assert.equal(live.status, 200)
      assert.equal(live.headers.get('content-type'), 'application/json')
      assert.equal(live.body, '{"status":"live"}\n')
      assert.equal((await ask('GET /health/ready')).status, 503)
      const metrics = await ask('GET /metrics')
      assert.match(metrics.body, /^process_cpu_seconds_total /m)
      assert.match(metrics.headers.get('content-type') ?? '', /^text\/plain/)
      for (const path of ['/health/live', '/metrics']) {
        const head = await ask(`HEAD ${path}`)
        assert.equal(head.status, 200)
        assert.ok(Number(head.headers.get('content-length')) > 10)
      }
      const other = await ask('GET /nothing')
      assert.equal(other.status, 404)
      assert.equal(errorOf(other.body), 'NOT_FOUND')
      const posted = await ask('DELETE /metrics')
      assert.equal(posted.status, 405)
      assert.equal(posted.headers.get('allow'), 'GET, HEAD')
      assert.equal(errorOf(posted.body), 'METHOD_NOT_ALLOWED')
      const foreign = 'GET /metrics HTTP/1.1\r\nHost: page.example\r\n\r\n'
      assert.equal(errorOf((await rawRequest(port, foreign)).body), 'HOST_NOT_ALLOWED')
    })
  })

  test('a client that breaks the protocol is complained of once', async () => {
    await withServer(engine, {}, async ({ port, complaints }) => {
      const large = `GET / HTTP/1.1\r\n${HOST}content-length: 1000000\r\n\r\n`
      assert.equal((await rawRequest(port, large)).status, 413)
      assert.deepEqual(complaints, ['protocol: its request was refused with 413'])
    })
  })

  test('a HEAD answer has no body: the connection goes on with the next answer', async () => {
    await withServer(engine, {}, async ({ port }) => {
      const http = await RawHttp.open(port)
      http.write(`HEAD /a HTTP/1.1\r\n${HOST}\r\nGET /b HTTP/1.1\r\n${HOST}\r\n`)
      assert.equal((await http.answer({ isHead: true })).headers.get('content-length'), '12')
      assert.equal((await http.answer()).body, '{"ok":true}\n')
      http.socket.destroy()
    })
  })

  test('a request says its method, path, query, headers and address, also later', async () => {
    const seen: unknown[] = []
    const onRequest = async (request: WebRequest): Promise<WebResponse> => {
      await new Promise(setImmediate)
      const { method, path, query, remoteAddress } = request
      seen.push(method, path, query, remoteAddress, request.header('x-a'), request.header('x-b'))
      seen.push(Buffer.from(await request.body(100)).toString())
      return text('later')
    }
    await withServer(engine, { onRequest }, async ({ port }) => {
      const head = `PUT /a%20b/c?d=e&f=%20 HTTP/1.1\r\n${HOST}X-A: one\r\nx-a: two\r\n`
      const answer = await rawRequest(port, `${head}Content-Length: 4\r\n\r\nbody`)
      assert.equal(answer.body, 'later')
      const address = '127.0.0.1'
      const expected = ['PUT', '/a%20b/c', 'd=e&f=%20', address, 'one, two', undefined, 'body']
      assert.deepEqual(seen, expected)
    })
  })

  test('a body comes whole, however it is sent', async () => {
    const onRequest = async (request: WebRequest): Promise<WebResponse> =>
      text(Buffer.from(await request.body(50_000)).toString())
    await withServer(engine, { onRequest }, async ({ port }) => {
      const http = await RawHttp.open(port)
      const body = 'x'.repeat(50_000)
      const head = `POST / HTTP/1.1\r\n${HOST}`
      http.write(`${head}Content-Length: ${body.length}\r\n\r\n`)
      for (let i = 0; i < body.length; i += 10_000) {
        http.write(body.slice(i, i + 10_000))
        await new Promise(setImmediate)
      }
      assert.equal((await http.answer()).body, body)
      http.write(`${head}Transfer-Encoding: chunked\r\n\r\n`)
      for (const part of ['3\r\nabc\r\n', '2\r\nde\r\n', '0\r\n\r\n']) {
        http.write(part)
        await new Promise(setImmediate)
      }
      assert.equal((await http.answer()).body, 'abcde')
      http.write(`${head}Content-Length: 0\r\n\r\n`)
      assert.equal((await http.answer()).body, '')
      http.socket.destroy()
    })
  })

  test('a body that is too large is refused, and the connection closed', async () => {
    let calls = 0
    const onRequest = async (request: WebRequest): Promise<WebResponse> => {
      calls++
      return text(String((await request.body(10)).length))
    }
    await withServer(engine, { onRequest }, async ({ port, errors }) => {
      const head = `POST / HTTP/1.1\r\n${HOST}`
      const declared = await RawHttp.open(port)
      declared.write(`${head}Content-Length: 99999999999\r\n\r\nx`)
      assert.match(await declared.ended, /^HTTP\/1.1 413 .*BODY_TOO_LARGE/s)
      assert.equal(calls, 0, 'what is declared beyond every bound is refused unseen')
      const sent = await RawHttp.open(port)
      sent.write(`${head}Transfer-Encoding: chunked\r\n\r\nb\r\n${'x'.repeat(11)}\r\n`)
      assert.match(await sent.ended, /^HTTP\/1.1 413 .*larger than 10 bytes/s)
      const fits = await rawRequest(port, `${head}Content-Length: 10\r\n\r\n0123456789`)
      assert.equal(fits.body, '10')
      assert.deepEqual(errors, [])
    })
  })

  test('two lengths, or one that is no number, are refused', async () => {
    await withServer(engine, {}, async ({ port }) => {
      for (const lengths of [
        'Content-Length: 3\r\nContent-Length: 5\r\n',
        'Content-Length: -3\r\n',
      ]) {
        const http = await RawHttp.open(port)
        http.write(`POST / HTTP/1.1\r\n${HOST}${lengths}\r\nabcde`)
        assert.match(await http.ended, /^HTTP\/1.1 400 /)
      }
    })
  })

  test('headers beyond 16 KiB are refused, and the connection closed', async () => {
    await withServer(engine, {}, async ({ port }) => {
      const http = await RawHttp.open(port)
      http.write(`GET / HTTP/1.1\r\n${HOST}X-Long: ${'y'.repeat(30_000)}\r\n`)
      http.write('\r\n')
      assert.match(await http.ended, /^HTTP\/1.1 431 /)
      const fits = `GET / HTTP/1.1\r\n${HOST}X-Long: ${'y'.repeat(12_000)}\r\n\r\n`
      assert.equal((await rawRequest(port, fits)).status, 200)
    })
  })

  test('an answer that is larger than the sockets hold arrives whole', async () => {
    const body = Buffer.alloc(20_000_000, 'large')
    const onRequest = (): WebResponse => ({ status: 200, headers: {}, body })
    await withServer(engine, { onRequest }, async ({ port }) => {
      const response = await fetch(`http://127.0.0.1:${port}/`)
      assert.ok(Buffer.from(await response.arrayBuffer()).equals(body))
    })
  })

  test('a client that leaves aborts its request, once, and its late answer goes nowhere', async () => {
    const started: WebRequest[] = []
    let wake = (): void => {}
    let answer = (_: WebResponse): void => {}
    let aborts = 0
    const onRequest = (request: WebRequest): Promise<WebResponse> => {
      started.push(request)
      request.signal.addEventListener('abort', () => {
        aborts++
        wake()
      })
      wake()
      return new Promise((resolve) => {
        answer = resolve
      })
    }
    await withServer(engine, { onRequest }, async ({ port, errors }) => {
      const http = await RawHttp.open(port)
      const isStarted = new Promise<void>((resolve) => {
        wake = resolve
      })
      http.write(`GET /slow HTTP/1.1\r\n${HOST}\r\n`)
      await isStarted
      const isAborted = new Promise<void>((resolve) => {
        wake = resolve
      })
      http.socket.destroy()
      await isAborted
      answer(text('too late'))
      await new Promise(setImmediate)
      assert.equal(aborts, 1)
      assert.equal(started[0]?.signal.aborted, true)
      assert.deepEqual(errors, [])
      onRequestEndsWell(await rawRequest(port, `GET /ws HTTP/1.1\r\n${HOST}\r\n`))
    })
  })

  function onRequestEndsWell({ status }: { status: number }): void {
    assert.equal(status, 426, 'the server goes on')
  }

  test('a body that breaks off rejects what waits for it', async () => {
    const kinds: unknown[] = []
    let wake = (): void => {}
    const onRequest = async (request: WebRequest): Promise<WebResponse> => {
      wake()
      try {
        await request.body(100)
      } catch (error) {
        kinds.push((error as { kind?: unknown }).kind)
        wake()
        throw error
      }
      return text('never')
    }
    await withServer(engine, { onRequest }, async ({ port, errors }) => {
      const http = await RawHttp.open(port)
      const next = (): Promise<void> =>
        new Promise((resolve) => {
          wake = resolve
        })
      const isStarted = next()
      http.write(`POST / HTTP/1.1\r\n${HOST}Content-Length: 10\r\n\r\nabc`)
      await isStarted
      const isRejected = next()
      http.socket.destroy()
      await isRejected
      assert.deepEqual(kinds, ['aborted'])
      assert.deepEqual(errors, [], 'that a client leaves is no error of ours')
    })
  })

  test('a body that does not end is closed after the time for a request', async () => {
    const limits = { requestTimeoutMs: 300 }
    const onRequest = async (request: WebRequest): Promise<WebResponse> =>
      text(String((await request.body(100)).length))
    await withServer(engine, { limits, onRequest }, async ({ port }) => {
      const http = await RawHttp.open(port)
      http.write(`POST / HTTP/1.1\r\n${HOST}Content-Length: 10\r\n\r\nabc`)
      assert.doesNotMatch(await http.ended, /200 OK/)
    })
  })

  test('headers that do not end are closed', async () => {
    await withServer(engine, {}, async ({ port }) => {
      const http = await RawHttp.open(port)
      http.write(`GET / HTTP/1.1\r\n${HOST}X-Slow: `)
      assert.doesNotMatch(await http.ended, /200 OK/)
    })
  })

  test('a connection that says nothing is closed, and one that says a byte', async () => {
    await withServer(engine, { limits: { requestTimeoutMs: 300 } }, async ({ port }) => {
      const silent = await RawHttp.open(port)
      const one = await RawHttp.open(port)
      one.write('G')
      assert.doesNotMatch(await silent.ended, /200 OK/)
      assert.doesNotMatch(await one.ended, /200 OK/)
    })
  })

  test('a handler that fails is answered 500, and its error handed over', async () => {
    const onRequest = (request: WebRequest): WebResponse | Promise<WebResponse> => {
      if (request.path === '/now') throw new Error('now')
      return Promise.reject(new Error('later'))
    }
    await withServer(engine, { onRequest }, async ({ port, errors }) => {
      for (const path of ['/now', '/later']) {
        const answer = await rawRequest(port, `GET ${path} HTTP/1.1\r\n${HOST}\r\n`)
        assert.equal(answer.status, 500)
        assert.equal(errorOf(answer.body), 'UNKNOWN_SERVER_ERROR')
      }
      assert.deepEqual(
        errors.map((error) => (error as Error).message),
        ['now', 'later'],
      )
    })
  })

  test('an upgrade to something else is answered as a plain request', async () => {
    await withServer(engine, {}, async ({ port }) => {
      const upgrade =
        'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n'
      const answer = await rawRequest(port, `GET /x HTTP/1.1\r\n${HOST}${upgrade}\r\n`)
      assert.equal(answer.status, 200)
      assert.equal(answer.body, '{"ok":true}\n')
    })
  })

  test('a status, its headers and a binary body are sent as they are', async () => {
    const body = Uint8Array.from({ length: 256 }, (_, i) => i)
    const onRequest = (): WebResponse => ({ status: 418, headers: { 'x-a': 'b' }, body })
    await withServer(engine, { onRequest }, async ({ port }) => {
      const answer = await rawRequest(port, `GET / HTTP/1.1\r\n${HOST}\r\n`)
      assert.equal(answer.status, 418)
      assert.equal(answer.headers.get('x-a'), 'b')
      assert.deepEqual(Buffer.from(answer.body, 'latin1'), Buffer.from(body))
    })
  })

  test('listen fails on a port that is taken, and says where', async () => {
    await withServer(engine, {}, async ({ port, openAnother }) => {
      const parts = partsAt(port, () => jsonResponse(200, {}))
      await assert.rejects((await openAnother(parts)).listen(), {
        name: 'BrokerError',
        message: new RegExp(`^Cannot listen on 127.0.0.1:${port}: `),
      })
    })
  })

  test('close ends connections that wait, ones that are idle, and ones that were just made', async () => {
    const onRequest = (request: WebRequest): WebResponse | Promise<WebResponse> =>
      request.path === '/hang' ? new Promise(() => {}) : text('')
    await withServer(engine, { onRequest }, async ({ port, server }) => {
      const clients = [await RawHttp.open(port), await RawHttp.open(port), await RawHttp.open(port)]
      clients[0]?.write(`GET /hang HTTP/1.1\r\n${HOST}\r\n`)
      clients[1]?.write(`GET /idle HTTP/1.1\r\n${HOST}\r\n`)
      await clients[1]?.answer()
      await server.close()
      for (const client of clients) await client.ended
      await assert.rejects(RawHttp.open(port), { code: 'ECONNREFUSED' })
    })
  })

  test('a client that does not read its answer is closed', async () => {
    const onRequest = ({ path }: WebRequest): WebResponse =>
      path === '/large' ? { ...text(''), body: Buffer.alloc(50_000_000) } : text('')
    await withServer(engine, { onRequest, limits: { connectionsMax: 1 } }, async ({ port }) => {
      const stuck = await RawHttp.open(port)
      stuck.socket.pause()
      stuck.write(`GET /large HTTP/1.1\r\n${HOST}\r\n`)
      // The only connection that may be: while it is there, another is refused.
      while ((await rawRequest(port, `GET / HTTP/1.1\r\n${HOST}\r\n`)).status !== 200) {
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      stuck.socket.destroy()
    })
  })
}

function partsAt(port: number, onRequest: () => WebResponse) {
  return {
    host: '127.0.0.1',
    port,
    onRequest,
    onError: () => {},
    onComplaint: () => {},
    webSocket: {
      path: '/ws',
      protocol: 'millrace.v1',
      messageBytesMax: 1,
      backpressureBytesMax: 1,
      idleTimeoutMs: 10_000,
      pingIntervalMs: 10_000,
      allowedOrigins: [],
      isLocal: false,
      accept: () => null,
    },
    limits: {
      connectionsMax: 1,
      connectionsPerAddressMax: 1,
      bodyBytesMax: 1,
      bodiesBytesMax: 1,
      requestTimeoutMs: 10_000,
    },
  }
}
