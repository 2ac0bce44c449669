/**
 * What is sent to clients that read slowly or not at all: bounded, in order, and every chunk's
 * memory is given back exactly once.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeFrame, Opcode, WebSocketClient } from '../../support/web-socket-client.ts'
import { BACKPRESSURE_BYTES_MAX, onEveryEngine, type Recorder, withServer } from './engines.ts'

const CHUNK_BYTES = 64 * 1024

/** The kernel takes this much of a connection that nobody reads, and not this much more. */
const ROUNDS_MAX = 10_000

/** Sends until the peer refuses; returns how many were taken and how many have been given back. */
function flood(
  { peer }: Recorder,
  chunk: Uint8Array,
): { sends: number; taken: number; settled: number[] } {
  const settled: number[] = []
  let sends = 0
  while (sends < ROUNDS_MAX) {
    const index = sends++
    settled.push(0)
    if (!peer.send([chunk], () => settled[index]!++)) break
    assert.ok(peer.bufferedBytes <= BACKPRESSURE_BYTES_MAX + 2 * CHUNK_BYTES)
  }
  return { sends, taken: sends - 1, settled }
}

onEveryEngine('WebSocket backpressure', (engine) => {
  test('of a client that does not read closes it at the limit, with bounded memory', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      client.socket.pause()
      const recorder = await nextPeer()
      const { sends, settled } = flood(recorder, new Uint8Array(CHUNK_BYTES))
      assert.ok(sends < ROUNDS_MAX)
      assert.deepEqual(recorder.closes, [1006])
      assert.equal(recorder.peer.bufferedBytes, 0)
      assert.equal(
        recorder.peer.send([new Uint8Array(1)], () => settled.push(1)),
        false,
      )
      client.socket.resume()
      await client.ended
      while (settled.some((count) => count === 0)) await new Promise(setImmediate)
      assert.ok(settled.every((count) => count === 1))
    })
  })

  test('is let go of by a client that reads: drained, in order, nothing lost', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      client.socket.pause()
      const recorder = await nextPeer()
      const { peer } = recorder
      let sent = 0
      let settled = 0
      while (peer.bufferedBytes === 0 && sent < ROUNDS_MAX) {
        const message = Buffer.alloc(CHUNK_BYTES, sent)
        message.writeUInt32BE(sent)
        assert.equal(
          peer.send([message], () => settled++),
          true,
        )
        sent++
      }
      client.socket.resume()
      for (let i = 0; i < sent; i++) {
        const message = await client.message()
        assert.equal(message?.length, CHUNK_BYTES)
        assert.equal(message.readUInt32BE(0), i)
      }
      await recorder.until(() => recorder.drains > 0 && peer.bufferedBytes === 0)
      assert.ok(recorder.drains > 0)
      assert.deepEqual(recorder.closes, [])
      while (settled < sent) await new Promise(setImmediate)
      assert.equal(settled, sent)
      client.destroy()
    })
  })

  test('gives memory back exactly once when the client hangs up under it', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      client.socket.pause()
      const recorder = await nextPeer()
      const counts: number[] = []
      while (recorder.peer.bufferedBytes === 0 && counts.length < ROUNDS_MAX) {
        const index = counts.push(0) - 1
        recorder.peer.send([new Uint8Array(CHUNK_BYTES)], () => counts[index]!++)
      }
      client.socket.resetAndDestroy()
      await recorder.closed
      while (counts.some((count) => count === 0)) await new Promise(setImmediate)
      assert.ok(counts.every((count) => count === 1))
      assert.equal(
        recorder.peer.send([new Uint8Array(1)], () => counts.push(1)),
        false,
      )
      assert.equal(counts.at(-1), 1)
    })
  })

  test('of pings that are not read closes the client too', async () => {
    const webSocket = { backpressureBytesMax: 16 * 1024 }
    await withServer(engine, { webSocket }, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      const recorder = await nextPeer()
      client.socket.pause()
      const pings = Buffer.concat(
        Array.from({ length: 500 }, () => encodeFrame(Opcode.PING, Buffer.alloc(125))),
      )
      const write = (): void => {
        while (!client.socket.destroyed && client.socket.write(pings)) {
          if (recorder.closes.length > 0) return
        }
      }
      client.socket.on('drain', write)
      write()
      assert.equal(await recorder.closed, 1006)
      client.destroy()
    })
  })
})

onEveryEngine('WebSocket send', (engine) => {
  test('takes one message whole that is larger than the limit', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      client.socket.pause()
      const { peer } = await nextPeer()
      const part = new Uint8Array(8 * 1024 * 1024)
      assert.equal(peer.send([part, part, Uint8Array.of(1)]), true)
      assert.ok(peer.bufferedBytes > BACKPRESSURE_BYTES_MAX)
      client.socket.resume()
      assert.equal((await client.message())?.length, 2 * part.length + 1)
      client.destroy()
    })
  })

  test('joins chunks, empty ones too, into one message', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      const { peer } = await nextPeer()
      const lists = [[], [''], ['a'], ['', 'a', ''], ['a', 'bc', 'def'], ['x'.repeat(70_000), 'y']]
      let settled = 0
      for (const list of lists) {
        const chunks = list.map((text) => Buffer.from(text))
        assert.ok(peer.send(chunks, () => settled++))
        assert.equal(String(await client.message()), list.join(''))
      }
      while (settled < lists.length) await new Promise(setImmediate)
      assert.equal(settled, lists.length)
      client.destroy()
    })
  })

  test('takes views of shared memory, and leaves them alone after onSent', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      const { peer } = await nextPeer()
      const shared = new Uint8Array(new SharedArrayBuffer(400_000))
      for (let round = 1; round <= 20; round++) {
        // The memory is written again as soon as it may be: a late read would show.
        shared.fill(round)
        const chunks = [shared.subarray(7, 12), shared.subarray(1000, 200_000)]
        await new Promise<void>((resolve) => {
          assert.ok(peer.send(chunks, resolve))
        })
        shared.fill(0xee)
        const message = await client.message()
        assert.equal(message?.length, 199_005)
        assert.ok(message.every((byte) => byte === round))
      }
      client.destroy()
    })
  })

  test('of shared memory to a client that does not read gives it back at once', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      client.socket.pause()
      const recorder = await nextPeer()
      const { peer } = recorder
      const shared = new Uint8Array(new SharedArrayBuffer(2 * CHUNK_BYTES))
      let sent = 0
      let settled = 0
      // One more than what is buffered by the system, and one behind it.
      for (let more = 0; more < 2 && sent < ROUNDS_MAX; sent++) {
        shared.fill(sent)
        const chunks = [Buffer.of(sent >> 8, sent), shared.subarray(3, CHUNK_BYTES), shared]
        assert.ok(peer.send(chunks, () => settled++))
        assert.equal(settled, sent + 1)
        shared.fill(0xee) // A late read would show.
        if (peer.bufferedBytes > 0) more++
      }
      client.socket.resume()
      for (let i = 0; i < sent; i++) {
        const message = await client.message()
        assert.equal(message?.length, 2 + 3 * CHUNK_BYTES - 3)
        assert.equal(message.readUInt16BE(0), i)
        const wrong = message.subarray(2).findIndex((byte) => byte !== (i & 0xff))
        assert.equal(wrong, -1, `message ${i}`)
      }
      await recorder.until(() => recorder.drains > 0 && peer.bufferedBytes === 0)
      assert.equal(settled, sent)
      client.destroy()
    })
  })

  test('after the close of either side sends nothing and gives memory back', async () => {
    await withServer(engine, {}, async ({ port, nextPeer }) => {
      for (const close of ['end', 'terminate', 'destroy'] as const) {
        const client = await WebSocketClient.open(port)
        const recorder = await nextPeer()
        if (close === 'end') recorder.peer.end(1000, '')
        else if (close === 'terminate') recorder.peer.terminate()
        else client.destroy()
        await recorder.closed
        let settled = 0
        assert.equal(
          recorder.peer.send([Buffer.from('x'), Buffer.from('y')], () => settled++),
          false,
        )
        assert.equal(settled, 1)
        client.destroy()
      }
    })
  })

  test('inside onMessage answers in order, with what waits for its turn', async () => {
    const makeHandler = (peer: Recorder['peer']) => ({
      onMessage: (bytes: Uint8Array) => {
        peer.send([Buffer.from('echo '), Buffer.from(bytes)])
      },
      onDrain: () => {},
      onClose: () => {},
    })
    await withServer(engine, { makeHandler }, async ({ port }) => {
      const client = await WebSocketClient.open(port)
      const frames = Array.from({ length: 200 }, (_, i) => encodeFrame(Opcode.BINARY, `${i}`))
      client.write(Buffer.concat(frames))
      for (let i = 0; i < 200; i++) assert.equal(String(await client.message()), `echo ${i}`)
      client.destroy()
    })
  })
})
