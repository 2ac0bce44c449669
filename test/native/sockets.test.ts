import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import type { NativeAddon } from '../../src/base/native.ts'
import { Random } from '../../src/base/random.ts'
import { addonOrThrow, seed, withoutAddon } from './support.ts'

const skip = withoutAddon
const EAGAIN = -11

/** A poller that hands each wait's [id, events] pairs to whoever asks. */
class Events {
  readonly #addon: NativeAddon
  readonly poller: number
  #waiting: (() => void) | null = null
  #seen: [number, number][] = []

  constructor(addon: NativeAddon) {
    this.#addon = addon
    const out = new Int32Array(64)
    this.poller = addon.pollerOpen(() => {
      const count = addon.pollerWait(this.poller, out)
      for (let i = 0; i < count; i++) this.#seen.push([out[2 * i]!, out[2 * i + 1]!])
      this.#waiting?.()
    })
  }

  /** Until `id` has all bits of `events` at once. */
  async until(id: number, events: number): Promise<void> {
    this.#seen = []
    while (!this.#seen.some(([seenId, seen]) => seenId === id && (seen & events) === events)) {
      this.#seen = []
      await new Promise<void>((resolve) => {
        this.#waiting = resolve
      })
    }
    this.#waiting = null
  }

  close(): void {
    this.#addon.pollerClose(this.poller)
  }
}

interface Pair {
  readonly addon: NativeAddon
  readonly events: Events
  readonly listener: number
  /** Our end, watched as id 1. */
  readonly fd: number
  readonly peer: Socket
}

async function withPair(body: (pair: Pair) => Promise<void>): Promise<void> {
  const addon = addonOrThrow()
  const events = new Events(addon)
  const listener = addon.tcpListen('127.0.0.1', 0, 16)
  addon.pollerAdd(events.poller, listener, 0, false)
  const peer = connect(addon.tcpLocalPort(listener), '127.0.0.1')
  try {
    await events.until(0, 1)
    const fd = addon.tcpAccept(listener)
    assert(fd > 0)
    addon.pollerAdd(events.poller, fd, 1, false)
    await body({ addon, events, listener, fd, peer })
    addon.closeFd(fd)
  } finally {
    peer.destroy()
    addon.closeFd(listener)
    events.close()
  }
}

test('tcpAccept takes a connection, then answers minus EAGAIN', { skip }, async () => {
  await withPair(async ({ addon, listener, fd, peer }) => {
    assert.equal(addon.tcpAccept(listener), EAGAIN)
    if (peer.connecting) await once(peer, 'connect')
    assert.equal(addon.tcpPeerAddress(fd), `127.0.0.1:${peer.localPort}`)
    assert.equal(addon.tcpLocalPort(fd), addon.tcpLocalPort(listener))
  })
})

test('tcpListen refuses a port in use, and an address that is not ours', { skip }, () => {
  const addon = addonOrThrow()
  const listener = addon.tcpListen('::1', 0, 4)
  const port = addon.tcpLocalPort(listener)
  assert.throws(() => addon.tcpListen('::1', port, 4), { code: 'EADDRINUSE', syscall: 'bind' })
  assert.throws(() => addon.tcpListen('192.0.2.1', 0, 4), {
    code: 'EADDRNOTAVAIL',
    syscall: 'bind',
  })
  addon.closeFd(listener)
  const byName = addon.tcpListen('localhost', 0, 4)
  assert(addon.tcpLocalPort(byName) > 0)
  addon.closeFd(byName)
})

test('tcpReceive scatters into both ranges, then answers EAGAIN, then 0 at the end', {
  skip,
}, async () => {
  await withPair(async ({ addon, events, fd, peer }) => {
    const memory = new Uint8Array(new SharedArrayBuffer(32)).fill(0xee)
    assert.equal(addon.tcpReceive(fd, memory, 0, 8, 0, 0, 0), EAGAIN)
    peer.write(Uint8Array.from([1, 2, 3, 4, 5, 6, 7]))
    await events.until(1, 1)
    assert.equal(addon.tcpReceive(fd, memory, 20, 3, 2, 9, 0), 7)
    assert.deepEqual([...memory.subarray(20, 24)], [1, 2, 3, 0xee])
    assert.deepEqual([...memory.subarray(1, 7)], [0xee, 4, 5, 6, 7, 0xee])
    peer.write(Uint8Array.from([1, 2, 3, 4, 5, 6, 7]))
    await events.until(1, 1)
    memory.fill(0xee)
    assert.equal(addon.tcpReceive(fd, memory, 20, 3, 2, 9, 2), 7, 'a head before the first range')
    assert.deepEqual([...memory.subarray(1, 7)], [0xee, 1, 2, 6, 7, 0xee])
    assert.deepEqual([...memory.subarray(19, 24)], [0xee, 3, 4, 5, 0xee])
    peer.end()
    await events.until(1, 1)
    assert.equal(addon.tcpReceive(fd, memory, 0, 8, 8, 8, 0), 0)
  })
})

test('tcpSend gathers chunks from a place in the middle', { skip }, async () => {
  await withPair(async ({ addon, fd, peer }) => {
    const shared = new Uint8Array(new SharedArrayBuffer(4))
    shared.set([3, 4, 5, 6])
    const chunks = [Uint8Array.of(9, 9), Uint8Array.of(0, 1, 2), shared, new Uint8Array(0)]
    assert.equal(addon.tcpSend(fd, chunks, 1, 1), 6)
    assert.equal(addon.tcpSend(fd, chunks, 4, 0), 0)
    const [received] = await once(peer, 'data')
    assert.deepEqual([...received], [1, 2, 3, 4, 5, 6])
  })
})

test('tcpSend and tcpReceive carry a stream whole through a full socket', { skip }, async () => {
  const random = new Random(seed)
  await withPair(async ({ addon, events, fd, peer }) => {
    const round = random.bytes(2_000_000)
    const chunks: Uint8Array[] = []
    for (let at = 0; at < round.length; ) {
      const length = random.between(1, 40_000)
      chunks.push(round.subarray(at, at + length))
      at += length
    }
    const received: Buffer[] = []
    peer.pause()
    let blocked = 0
    let rounds = 0
    // How much a socket takes is the system's choice: until it has been full once.
    while (blocked === 0 && rounds++ < 60) {
      let [from, skipped] = [0, 0]
      while (from < chunks.length) {
        const sent = addon.tcpSend(fd, chunks, from, skipped)
        if (sent === EAGAIN) {
          if (blocked++ === 0) peer.on('data', (bytes) => received.push(bytes)).resume()
          addon.pollerModify(events.poller, fd, 1, true, true)
          await events.until(1, 2)
          addon.pollerModify(events.poller, fd, 1, true, false)
          continue
        }
        assert(sent > 0, `errno ${-sent}`)
        skipped += sent
        while (from < chunks.length && skipped >= chunks[from]!.length) {
          skipped -= chunks[from++]!.length
        }
      }
    }
    assert(blocked > 0, `seed ${seed}: the socket never filled up`)
    const total = rounds * round.length
    while (received.reduce((sum, bytes) => sum + bytes.length, 0) < total) {
      await once(peer, 'data')
    }
    const expected = Buffer.concat(Array(rounds).fill(round))
    assert.equal(Buffer.compare(Buffer.concat(received), expected), 0, `seed ${seed}`)
  })
})

test('tcpSend answers minus errno, without a signal, when the peer is gone', { skip }, async () => {
  await withPair(async ({ addon, events, fd, peer }) => {
    peer.resetAndDestroy()
    await events.until(1, 4)
    const sent = addon.tcpSend(fd, [Uint8Array.of(1)], 0, 0)
    assert([-32, -104].includes(sent), `${sent} is neither EPIPE nor ECONNRESET`)
    addon.pollerRemove(events.poller, fd)
    assert.throws(() => addon.pollerRemove(events.poller, fd), { code: 'ENOENT' })
  })
})

test('pollerModify without interest is silent while bytes wait', { skip }, async () => {
  await withPair(async ({ addon, events, fd, peer }) => {
    addon.pollerModify(events.poller, fd, 1, false, false)
    peer.write('x')
    // A second connection proves that the loop turned meanwhile, without any waiting time.
    const out = new Int32Array(8)
    const other = addon.eventfdCreate()
    addon.pollerAdd(events.poller, other, 2, false)
    await new Promise((resolve) => peer.write('y', resolve))
    addon.eventfdSignal(other)
    assert.deepEqual([addon.pollerWait(events.poller, out), out[0], out[1]], [1, 2, 1])
    addon.eventfdWait(other, 0)
    addon.pollerModify(events.poller, fd, 1, true, false)
    await events.until(1, 1)
    addon.closeFd(other)
  })
})

test('tcpShutdown ends what is sent and not what is received', { skip }, async () => {
  await withPair(async ({ addon, events, fd, peer }) => {
    peer.allowHalfOpen = true
    addon.tcpShutdown(fd)
    addon.tcpShutdown(fd) // Nor does a second time fail.
    peer.resume()
    await once(peer, 'end')
    peer.write('still')
    await events.until(1, 1)
    assert.equal(addon.tcpReceive(fd, new Uint8Array(8), 0, 8, 0, 0, 0), 5)
  })
})

test('duplicateFd keeps a connection that its first descriptor leaves', { skip }, async () => {
  await withPair(async ({ addon, listener, peer }) => {
    const second = connect(addon.tcpLocalPort(listener), '127.0.0.1')
    await once(second, 'connect')
    const first = addon.tcpAccept(listener)
    const own = addon.duplicateFd(first)
    addon.closeFd(first)
    assert.throws(() => addon.duplicateFd(first), { code: 'EBADF', syscall: 'fcntl' })
    assert.equal(addon.tcpSend(own, [Buffer.from('here')], 0, 0), 4)
    const [received] = await once(second, 'data')
    assert.equal(String(received), 'here')
    addon.closeFd(own)
    await once(second, 'close')
    assert.ok(!peer.destroyed)
  })
})
