/**
 * What only the native engine does: it receives into the ingress arena, hands extents over, and
 * leaves a socket unread while there is no memory.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadNative, nativeLoadError } from '../../../src/base/native.ts'
import type { RequestFrame } from '../../../src/broker/request-frame.ts'
import { SPILL_BYTES } from '../../../src/gateway/native-events.ts'
import type { NativeTransport } from '../../../src/gateway/native-transport.ts'
import { ReceiveMemory } from '../../../src/gateway/receive-memory.ts'
import { NativePeer } from '../../../src/gateway/web/native-peer.ts'
import { unmask } from '../../../src/gateway/web/unmask.ts'
import type { WebSocketParts, WebSocketPeer } from '../../../src/gateway/web/web-server.ts'
import { Arena } from '../../../src/ring/arena.ts'
import { allocateArena } from '../../../src/ring/arena-layout.ts'
import { RawHttp } from '../../support/raw-http.ts'
import {
  encodeFrame,
  Opcode,
  upgradeRequest,
  WebSocketClient,
} from '../../support/web-socket-client.ts'
import { HANG_MS, Recorder, withServer } from './engines.ts'

const KIB = 1024
const MIB = 1024 * KIB
const skip = loadNative() === null ? `the addon: ${nativeLoadError()}` : false
const options = { skip, timeout: 2 * HANG_MS }

/** Repeats until it is so: bytes on their way may take a while. */
async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise(setImmediate)
}

function patterned(length: number, first: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (first + i * 31) & 0xff))
}

test('native, a large message, lies in an extent that who holds it keeps', options, async () => {
  const held: { frame: RequestFrame; bytes: Uint8Array }[] = []
  let small = 0
  const makeHandler = () => ({
    onMessage: (bytes: Uint8Array, frame: RequestFrame | null) => {
      if (frame === null) {
        small++
        return
      }
      frame.hold()
      held.push({ frame, bytes })
    },
    onDrain: () => {},
    onClose: () => {},
  })
  await withServer('native', { makeHandler }, async ({ port, memory }) => {
    const client = await WebSocketClient.open(port)
    const payloads = [150_000, 200_000, 70_000, 199_999].map(patterned)
    for (const payload of payloads) client.send(Opcode.BINARY, payload)
    client.send(Opcode.BINARY, 'small')
    await until(() => held.length === payloads.length && small === 1)
    client.destroy()
    for (const [i, { bytes, frame }] of held.entries()) {
      assert.ok(Buffer.from(bytes).equals(payloads[i] as Buffer))
      const start = bytes.byteOffset - frame.bytes.byteOffset
      assert.ok(start >= frame.offset && start + bytes.length <= frame.offset + 256 * KIB)
      frame.release()
    }
    await until(() => memory!.arena.bytesInUse === SPILL_BYTES)
  })
})

test(
  'native, messages in fragments that cross receives, come as they were sent',
  options,
  async () => {
    await withServer('native', {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      const recorder = await nextPeer()
      const payloads = Array.from({ length: 40 }, (_, i) => patterned(i * 4999, i))
      for (const payload of payloads) {
        const cut = Math.floor(payload.length / 3)
        client.send(Opcode.BINARY, payload.subarray(0, cut), { fin: false })
        client.send(Opcode.PING, 'between')
        client.send(Opcode.CONTINUATION, payload.subarray(cut, 2 * cut), { fin: false })
        client.send(Opcode.CONTINUATION, payload.subarray(2 * cut))
      }
      await recorder.until(() => recorder.messages.length === payloads.length)
      for (const [i, message] of recorder.messages.entries()) {
        assert.ok(message.equals(payloads[i] as Buffer), `message ${i}`)
      }
      client.destroy()
    })
  },
)

test('native, clients that declare much and send little, hold little', options, async () => {
  const webSocket = { messageBytesMax: 4 * MIB }
  await withServer(
    'native',
    { webSocket, arenaBytes: 64 * MIB },
    async ({ port, memory, nextPeer }) => {
      const clients: WebSocketClient[] = []
      for (let i = 0; i < 100; i++) {
        const client = await WebSocketClient.open(port)
        const payload = Buffer.alloc(100)
        client.send(Opcode.BINARY, payload, { declaredLength: BigInt(4 * MIB) })
        clients.push(client)
      }
      const { arena } = memory!
      await until(() => arena.extentsInUse === 1 + clients.length)
      assert.equal(arena.bytesInUse, SPILL_BYTES + clients.length * 16 * KIB)
      // Heads alone, and halves of them, take nothing at all.
      const half = await WebSocketClient.open(port)
      half.write(encodeFrame(Opcode.BINARY, '', { declaredLength: BigInt(MIB) }).subarray(0, 9))
      const served = await WebSocketClient.open(port)
      for (let i = 0; i < 101; i++) await nextPeer()
      const recorder = await nextPeer()
      served.send(Opcode.BINARY, 'served meanwhile')
      await recorder.until(() => recorder.messages.length === 1)
      assert.equal(arena.extentsInUse, 1 + clients.length)
      for (const client of [...clients, half, served]) client.destroy()
      await until(() => arena.bytesInUse === SPILL_BYTES)
    },
  )
})

test(
  'native, without memory, a socket is not read and goes on when some came back',
  options,
  async () => {
    await withServer('native', { arenaBytes: MIB }, async ({ port, memory, nextPeer }) => {
      const { arena } = memory!
      const blockers: number[] = []
      for (let at = arena.allocate(512); at >= 0; at = arena.allocate(512)) blockers.push(at)
      const client = await WebSocketClient.open(port)
      const recorder = await nextPeer()
      client.send(Opcode.BINARY, 'what is small needs none')
      await recorder.until(() => recorder.messages.length === 1)
      const payloads = Array.from({ length: 12 }, (_, i) => patterned(150_000, i))
      for (const payload of payloads) client.send(Opcode.BINARY, payload)
      client.send(Opcode.PING, 'behind them')
      // The system takes what it buffers of a connection that nobody reads; nothing is handed over.
      for (let i = 0; i < 200; i++) await new Promise(setImmediate)
      assert.equal(recorder.messages.length, 1)
      const other = await WebSocketClient.open(port)
      const otherRecorder = await nextPeer()
      other.send(Opcode.BINARY, 'others are served')
      await otherRecorder.until(() => otherRecorder.messages.length === 1)
      for (const at of blockers) arena.free(at, arena.generationOf(at))
      memory!.freed()
      await recorder.until(() => recorder.messages.length === 1 + payloads.length)
      for (const [i, payload] of payloads.entries()) {
        assert.ok(recorder.messages[i + 1]?.equals(payload))
      }
      assert.equal(String((await client.frame())?.payload), 'behind them')
      client.destroy()
      other.destroy()
    })
  },
)

test('native, a client that is gone while it waits for memory, is let go of', options, async () => {
  await withServer('native', { arenaBytes: MIB }, async ({ port, memory, nextPeer }) => {
    const { arena } = memory!
    const blockers: number[] = []
    for (let at = arena.allocate(512); at >= 0; at = arena.allocate(512)) blockers.push(at)
    const client = await WebSocketClient.open(port)
    const recorder = await nextPeer()
    client.send(Opcode.BINARY, Buffer.alloc(100_000))
    for (let i = 0; i < 50; i++) await new Promise(setImmediate)
    client.socket.resetAndDestroy()
    assert.equal(await recorder.closed, 1006)
    for (const at of blockers) arena.free(at, arena.generationOf(at))
    memory!.freed()
  })
})

test('native, a client that only half answers a ping, is given up', options, async () => {
  const webSocket = { idleTimeoutMs: 400, pingIntervalMs: 100 }
  await withServer('native', { webSocket }, async ({ port, nextPeer }) => {
    const client = await WebSocketClient.open(port)
    const recorder = await nextPeer()
    client.write(encodeFrame(Opcode.BINARY, Buffer.alloc(1000)).subarray(0, 500))
    assert.equal(await recorder.closed, 1006)
    client.destroy()
  })
})

test(
  'native, what a client sends behind a violation, does not cost it the close frame',
  options,
  async () => {
    await withServer('native', {}, async ({ port, nextPeer }) => {
      const client = await WebSocketClient.open(port)
      const recorder = await nextPeer()
      client.send(3, 'no such opcode')
      client.write(Buffer.alloc(300_000)) // What is behind it is read and dropped: no reset.
      assert.equal(await recorder.closed, 1002)
      assert.equal((await client.frame())?.payload.readUInt16BE(0), 1002)
      assert.equal((await client.ended).code, 1002)
    })
  },
)

test(
  'native, an upgrade behind plain requests of the same connection, is taken',
  options,
  async () => {
    await withServer('native', {}, async ({ port, nextPeer }) => {
      const http = await RawHttp.open(port)
      for (let i = 0; i < 3; i++) {
        http.write('GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n')
        assert.equal((await http.answer()).status, 200)
      }
      http.write(upgradeRequest(port))
      const recorder = await nextPeer()
      http.write(encodeFrame(Opcode.BINARY, 'hello'))
      await recorder.until(() => recorder.messages.length === 1)
      http.socket.destroy()
      assert.equal(await recorder.closed, 1006)
    })
  },
)

/** A peer on a transport that takes everything, for what only time would show. */
function quietPeer(memory: ReceiveMemory): {
  peer: NativePeer
  recorder: Recorder
  sent: Buffer[]
} {
  const sent: Buffer[] = []
  const transport = {
    remoteAddress: '127.0.0.1',
    queuedBytes: 0,
    hasUntaken: false,
    isClosed: false,
    pause: () => {},
    resume: () => {},
    prepend: () => {},
    shutDown: () => {},
    destroy: () => {},
    send: (chunks: Uint8Array[], onSent: () => void) => {
      sent.push(Buffer.concat(chunks))
      onSent()
    },
  } as unknown as NativeTransport
  let recorder: Recorder | null = null
  const webSocket = {
    messageBytesMax: MIB,
    backpressureBytesMax: MIB,
    idleTimeoutMs: HANG_MS,
    pingIntervalMs: HANG_MS,
    accept: (accepted: WebSocketPeer) => {
      recorder = new Recorder(accepted)
      return recorder
    },
  } as unknown as WebSocketParts
  const waiting = new Set<NativePeer>()
  const peer = new NativePeer({
    transport,
    memory,
    unmask,
    webSocket,
    waiting,
    onClosed: () => {},
  })
  peer.open(Buffer.alloc(0))
  return { peer, recorder: recorder as unknown as Recorder, sent }
}

test('NativePeer, a message that is not finished while others wait, ends its client', () => {
  const arena = new Arena(allocateArena(256 * KIB), { poison: true })
  const memory = new ReceiveMemory(arena, () => performance.now())
  const { peer, recorder, sent } = quietPeer(memory)
  const frame = encodeFrame(Opcode.BINARY, Buffer.alloc(50_000))
  peer.receiver.accept(frame, 0, 40_000)
  peer.onReceived()
  const now = performance.now()
  peer.endHoarding(now + 60_000)
  assert.deepEqual(recorder.closes, [], 'nobody waits for its memory')
  const other = {}
  while (memory.holder === null) assert.ok(memory.allocate(other, 32 * KIB) >= 0)
  peer.endHoarding(now + 1000)
  assert.deepEqual(recorder.closes, [], 'it is not silent for long')
  peer.endHoarding(now + 60_000)
  assert.deepEqual(recorder.closes, [1008])
  assert.equal(peer.receiver.heldBytes, 0)
  assert.equal(sent[0]?.readUInt16BE(2), 1008)
  assert.equal(peer.send([Buffer.from('x')]), false)
  peer.onClosed(null)
  assert.deepEqual(recorder.closes, [1008])
})

test('NativePeer, pings that come at once, are answered in one send', () => {
  const arena = new Arena(allocateArena(256 * KIB), { poison: true })
  const { peer, sent } = quietPeer(new ReceiveMemory(arena, () => 0))
  const pings = Array.from({ length: 1000 }, (_, i) => encodeFrame(Opcode.PING, `${i}`))
  const bytes = Buffer.concat(pings)
  peer.receiver.accept(bytes, 0, bytes.length)
  peer.onReceived()
  const pongs = Array.from({ length: 1000 }, (_, i) =>
    encodeFrame(Opcode.PONG, `${i}`, { masked: false }),
  )
  assert.equal(sent.length, 1)
  assert.ok(sent[0]?.equals(Buffer.concat(pongs)))
  peer.onClosed(null)
})
