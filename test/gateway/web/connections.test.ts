import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { WebEngine, WebRequest, WebResponse } from '../../../src/gateway/web/web-server.ts'
import { RawHttp, rawRequest } from '../../support/raw-http.ts'
import { Opcode, upgradeRequest, WebSocketClient } from '../../support/web-socket-client.ts'
import { onEveryEngine, withServer } from './engines.ts'

const GET = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'

/** Some wait for pings, and each has a server of its own. */
const CONCURRENT = { concurrency: 3 }

onEveryEngine('connections', connectionTests, CONCURRENT)

function connectionTests(engine: WebEngine): void {
  test('that are idle, a thousand of them, are served while another is', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const busy = await WebSocketClient.open(port)
      const served = await nextPeer()
      const clients: WebSocketClient[] = []
      while (clients.length < 1000) {
        const batch = Array.from({ length: 100 }, () => WebSocketClient.open(port))
        clients.push(...(await Promise.all(batch)))
        assert.ok(served.peer.send([Buffer.from(`at ${clients.length}`)]))
        assert.equal(String(await busy.message()), `at ${clients.length}`)
        assert.equal((await rawRequest(port, GET)).status, 200)
      }
      const recorders = await Promise.all(clients.map(() => nextPeer()))
      for (const recorder of recorders) assert.ok(recorder.peer.send([Buffer.from('hello')]))
      for (const client of clients) assert.equal(String(await client.message()), 'hello')
      for (const client of clients) client.send(Opcode.BINARY, 'and back')
      for (const recorder of recorders) {
        await recorder.until(() => recorder.messages.length === 1)
        assert.equal(String(recorder.messages[0]), 'and back')
      }
      for (const client of clients) client.destroy()
      for (const recorder of recorders) await recorder.closed
      busy.destroy()
    })
  })

  test('beyond the limit are refused with 503, and welcome when there is room', async () => {
    const limits = { connectionsMax: 3 }
    await withServer(engine, { limits }, async ({ port, nextPeer }) => {
      const sockets = [await WebSocketClient.open(port), await WebSocketClient.open(port)]
      const recorders = [await nextPeer(), await nextPeer()]
      const http = await RawHttp.open(port)
      http.write(GET)
      assert.equal((await http.answer()).status, 200)

      const refused = await rawRequest(port, GET)
      assert.equal(refused.status, 503)
      assert.equal(JSON.parse(refused.body).error, 'TOO_MANY_CONNECTIONS')
      assert.equal((await rawRequest(port, upgradeRequest(port))).status, 503)
      http.write(GET)
      assert.equal((await http.answer()).status, 200, 'who is connected is served')
      recorders[0]?.peer.send([Buffer.from('x')])
      assert.equal(String(await sockets[0]?.message()), 'x')

      sockets[0]?.destroy()
      await recorders[0]?.closed
      await until(async () => (await rawRequest(port, GET)).status === 200)
      http.socket.destroy()
      sockets[1]?.destroy()
      await recorders[1]?.closed
      for (let i = 0; i < 20; i++) {
        await until(async () => (await rawRequest(port, GET)).status === 200)
      }
    })
  })

  test('of one address beyond its limit are refused with 429', async () => {
    const limits = { connectionsPerAddressMax: 2 }
    await withServer(engine, { limits }, async ({ port, nextPeer }) => {
      const clients = [await WebSocketClient.open(port), await WebSocketClient.open(port)]
      const recorders = [await nextPeer(), await nextPeer()]
      assert.equal((await rawRequest(port, GET)).status, 429)
      assert.equal((await rawRequest(port, upgradeRequest(port))).status, 429)
      for (const client of clients) client.destroy()
      for (const recorder of recorders) await recorder.closed
      await until(async () => (await rawRequest(port, GET)).status === 200)
      for (let i = 0; i < 10; i++) {
        await until(async () => (await rawRequest(port, GET)).status === 200)
      }
    })
  })

  test('of one address are counted while a request is under way, and not after', async () => {
    const answers: ((response: WebResponse) => void)[] = []
    let wake = (): void => {}
    const onRequest = (_: WebRequest): Promise<WebResponse> =>
      new Promise((resolve) => {
        answers.push(resolve)
        wake()
      })
    const limits = { connectionsPerAddressMax: 1 }
    await withServer(engine, { limits, onRequest }, async ({ port }) => {
      const isStarted = new Promise<void>((resolve) => {
        wake = resolve
      })
      const first = await RawHttp.open(port)
      first.write(GET)
      await isStarted
      assert.equal((await rawRequest(port, GET)).status, 429)
      answers[0]?.({ status: 200, headers: {}, body: '' })
      assert.equal((await first.answer()).status, 200)
      first.socket.destroy()
      const upgraded = await untilValue(() => WebSocketClient.open(port))
      upgraded.destroy()
    })
  })

  test('that answer nothing are pinged, then closed', async () => {
    const webSocket = { idleTimeoutMs: 5000, pingIntervalMs: 200 }
    await withServer(engine, { webSocket }, async ({ port, nextPeer }) => {
      const silent = await WebSocketClient.open(port)
      const silentPeer = await nextPeer()
      const alive = await WebSocketClient.open(port)
      const alivePeer = await nextPeer()
      let pings = 0
      const answering = (async () => {
        for (let frame = await alive.frame(); frame !== null; frame = await alive.frame()) {
          if (frame.opcode !== Opcode.PING) continue
          pings++
          alive.send(Opcode.PONG, frame.payload)
        }
      })()
      // What it is sent proves nothing.
      const feeding = setInterval(() => silentPeer.peer.send([Buffer.from('for you')]), 100)
      let isPinged = false
      for (let frame = await silent.frame(); frame !== null; frame = await silent.frame()) {
        isPinged ||= frame.opcode === Opcode.PING
      }
      clearInterval(feeding)
      assert.ok(isPinged)
      assert.equal(await silentPeer.closed, 1006)
      await silent.ended
      assert.ok(pings > 0)
      assert.deepEqual(alivePeer.closes, [])
      alivePeer.peer.send([Buffer.from('there?')])
      alive.destroy()
      await answering
    })
  })

  test('that do nothing but answer pings stay', async () => {
    // Longer, in all, than any timer that uWebSockets.js has of its own for these times.
    const webSocket = { pingIntervalMs: 4000 }
    await withServer(engine, { webSocket }, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      const recorder = await nextPeer()
      for (let pings = 0; pings < 4; pings++) {
        const frame = await client.frame()
        assert.equal(frame?.opcode, Opcode.PING)
        client.send(Opcode.PONG, frame.payload)
      }
      assert.deepEqual(recorder.closes, [])
      client.destroy()
    })
  })
}

/** Repeats until it is so: what ends a connection on the other side may take a while. */
async function until(isTrue: () => Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await new Promise(setImmediate)
}

async function untilValue<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask()
    } catch {
      await new Promise(setImmediate)
    }
  }
}
