/** A connection to a leader: answers lie in the ingress arena, and wait for its memory. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { describe, type TestContext, test } from 'node:test'
import { loadNative, type NativeAddon, nativeLoadError } from '../../src/base/native.ts'
import type { ReplicaLink } from '../../src/broker/cluster/replica-link.ts'
import type { RequestFrame } from '../../src/broker/request-frame.ts'
import { NativeSockets } from '../../src/gateway/native-sockets.ts'
import { connectNet } from '../../src/gateway/net-transport.ts'
import { ReceiveMemory } from '../../src/gateway/receive-memory.ts'
import { openReplicaLink } from '../../src/gateway/replica-link.ts'
import type { Connect } from '../../src/gateway/transport.ts'
import { Arena } from '../../src/ring/arena.ts'
import { allocateArena } from '../../src/ring/arena-layout.ts'

const ARENA_BYTES = 1024 * 1024
const PIECE_BYTES = 64 * 1024
const FRAME_BYTES_MAX = ARENA_BYTES / 8

class Leader {
  readonly server: Server
  readonly sockets: Socket[] = []
  received = Buffer.alloc(0)

  constructor() {
    this.server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.on('data', (chunk) => {
        this.received = Buffer.concat([this.received, chunk])
      })
      this.sockets.push(socket)
    })
  }

  get socket(): Socket {
    return this.sockets[0] as Socket
  }

  /** Frames of so many bytes each, all at once. */
  give(...sizes: number[]): void {
    this.socket.write(Buffer.concat(sizes.map((size, i) => frameOf(size, i + 1))))
  }
}

function frameOf(size: number, fill: number): Buffer {
  const bytes = Buffer.alloc(4 + size, fill)
  bytes.writeInt32BE(size)
  return bytes
}

/** What makes the connection, and what of the arena it has for itself. */
interface Engine {
  readonly name: string
  readonly skip: string | false
  open(arena: Arena): { readonly connect: Connect; readonly close: () => void }
}

const ENGINES: readonly Engine[] = [
  {
    name: 'node:net',
    skip: false,
    open: () => ({ connect: connectNet, close: () => undefined }),
  },
  {
    name: "the addon's sockets",
    skip: loadNative() === null && (nativeLoadError() ?? 'there is no addon'),
    open: (arena) => {
      const sockets = new NativeSockets(loadNative() as NativeAddon, () => undefined)
      sockets.useArena(arena)
      return { connect: sockets.connect, close: () => sockets.close() }
    },
  },
]

class Fixture {
  readonly leader = new Leader()
  readonly arena = new Arena(allocateArena(ARENA_BYTES), { poison: true })
  readonly memory = new ReceiveMemory(this.arena, () => 0)
  /** Length and first byte of each frame. */
  readonly frames: number[][] = []
  readonly held: RequestFrame[] = []
  readonly closed: string[] = []
  opened = 0
  /** Frames are held from here on. */
  isHolding = false
  onFrame: () => void = () => undefined
  readonly link: ReplicaLink
  readonly #ownExtents: number
  #wakes: (() => void)[] = []

  private constructor(t: TestContext, engine: Engine, leader: Leader, port: number) {
    this.leader = leader
    const { connect, close } = engine.open(this.arena)
    this.#ownExtents = this.arena.extentsInUse
    t.after(() => {
      this.link.close()
      for (const socket of leader.sockets) socket.destroy()
      leader.server.close()
      close()
    })
    const at = { host: '127.0.0.1', port }
    this.link = openReplicaLink({ memory: this.memory, connect }, at, {
      onOpen: () => {
        this.opened++
        this.#wake()
      },
      onFrame: (frame) => {
        this.frames.push([frame.length, frame.bytes[frame.offset] as number])
        if (this.isHolding) {
          frame.hold()
          this.held.push(frame)
        }
        this.onFrame()
        this.#wake()
      },
      onClosed: (reason) => {
        this.closed.push(reason)
        this.#wake()
      },
    })
  }

  static async open(t: TestContext, engine: Engine): Promise<Fixture> {
    const leader = new Leader()
    leader.server.listen(0, '127.0.0.1')
    await once(leader.server, 'listening')
    const { port } = leader.server.address() as AddressInfo
    const accepted = once(leader.server, 'connection')
    const fixture = new Fixture(t, engine, leader, port)
    await accepted
    await fixture.until(() => fixture.opened === 1)
    return fixture
  }

  /** Of frames. */
  get extentsInUse(): number {
    return this.arena.extentsInUse - this.#ownExtents
  }

  /** All of the arena but so many bytes. Returns how to give it back. */
  take(leftBytes: number): () => void {
    const taken: number[] = []
    while (this.arena.bytesInUse + PIECE_BYTES <= ARENA_BYTES - leftBytes) {
      taken.push(this.arena.allocate(PIECE_BYTES))
    }
    return () => {
      for (const offset of taken) this.arena.free(offset, this.arena.generationOf(offset))
    }
  }

  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await new Promise<void>((resolve) => this.#wakes.push(resolve))
  }

  releaseAll(): void {
    for (const frame of this.held.splice(0)) frame.release()
    this.memory.freed()
  }

  #wake(): void {
    for (const wake of this.#wakes.splice(0)) wake()
  }
}

for (const engine of ENGINES) {
  describe(`a connection to a leader, ${engine.name}`, { skip: engine.skip }, () => {
    test('sends what is asked, and hands out answers where they lie', async (t) => {
      const fixture = await Fixture.open(t, engine)
      fixture.link.send([Buffer.from('how '), Buffer.from('far?')])
      await once(fixture.leader.socket, 'data')
      assert.equal(fixture.leader.received.toString(), 'how far?')
      fixture.leader.give(10, 20_000, 3)
      await fixture.until(() => fixture.frames.length === 3)
      assert.deepEqual(fixture.frames, [
        [10, 1],
        [20_000, 2],
        [3, 3],
      ])
      assert.equal(fixture.extentsInUse, 0, 'who does not hold a frame has lost it')
      assert.equal(fixture.link.takeProgress(), true)
      assert.equal(fixture.link.takeProgress(), false)
    })

    test('waits for memory, and goes on', async (t) => {
      const fixture = await Fixture.open(t, engine)
      const giveBack = fixture.take(3 * PIECE_BYTES)
      fixture.isHolding = true
      const sizes = Array.from({ length: 8 }, () => 60_000)
      fixture.leader.give(...sizes)
      await fixture.until(() => fixture.frames.length > 0)
      while (fixture.arena.bytesInUse < ARENA_BYTES) {
        await new Promise((resolve) => setImmediate(resolve))
      }
      assert.ok(fixture.frames.length < sizes.length)
      assert.equal(fixture.link.takeProgress(), true)
      giveBack()
      while (fixture.frames.length < sizes.length) {
        fixture.releaseAll()
        await new Promise((resolve) => setImmediate(resolve))
      }
      fixture.releaseAll()
      assert.deepEqual(
        fixture.frames,
        sizes.map((size, i) => [size, i + 1]),
      )
      assert.equal(fixture.extentsInUse, 0)
      assert.equal(fixture.memory.holder, null)
    })

    test('counts what waits for memory here as no silence of the leader', async (t) => {
      const fixture = await Fixture.open(t, engine)
      const giveBack = fixture.take(0)
      fixture.leader.give(1000)
      while (!fixture.link.takeProgress()) await new Promise((resolve) => setImmediate(resolve))
      assert.equal(fixture.link.takeProgress(), true)
      giveBack()
      fixture.memory.freed()
      await fixture.until(() => fixture.frames.length === 1)
      fixture.link.takeProgress()
      assert.equal(fixture.link.takeProgress(), false)
    })

    for (const size of [-1, 0, FRAME_BYTES_MAX + 1]) {
      test(`ends with a frame of ${size} bytes`, async (t) => {
        const fixture = await Fixture.open(t, engine)
        const head = Buffer.alloc(4)
        head.writeInt32BE(size)
        fixture.leader.socket.write(head)
        await fixture.until(() => fixture.closed.length === 1)
        assert.match(fixture.closed[0] as string, new RegExp(`${size} bytes`))
        assert.deepEqual(fixture.frames, [])
        assert.equal(fixture.extentsInUse, 0)
      })
    }

    test('tells once that it is over, and gives back half of a frame', async (t) => {
      const fixture = await Fixture.open(t, engine)
      fixture.leader.socket.write(frameOf(5000, 1).subarray(0, 3000))
      while (fixture.extentsInUse === 0) await new Promise((resolve) => setImmediate(resolve))
      fixture.leader.socket.destroy()
      await fixture.until(() => fixture.closed.length > 0)
      assert.deepEqual([fixture.closed.length, fixture.frames], [1, []])
      assert.equal(fixture.extentsInUse, 0)
      fixture.link.close()
      fixture.link.send([Buffer.from('anybody?')])
      assert.equal(fixture.closed.length, 1)
    })

    test('tells whoever waits for memory that it has gone', async (t) => {
      const fixture = await Fixture.open(t, engine)
      fixture.leader.socket.write(frameOf(5000, 1).subarray(0, 3000))
      while (fixture.extentsInUse === 0) await new Promise((resolve) => setImmediate(resolve))
      const freed = new Promise<void>((resolve) => fixture.memory.onFreed(resolve))
      fixture.leader.socket.destroy()
      await freed
      assert.equal(fixture.extentsInUse, 0)
    })

    test('does not tell in the middle of a send that it is over', async (t) => {
      const fixture = await Fixture.open(t, engine)
      fixture.leader.socket.resetAndDestroy()
      fixture.link.send([Buffer.from('anybody?')])
      assert.deepEqual(fixture.closed, [])
      await fixture.until(() => fixture.closed.length === 1)
      assert.match(fixture.closed.join(), /ECONNRESET|EPIPE/)
    })

    test('hands out nothing more once it is closed, though it has arrived', async (t) => {
      const fixture = await Fixture.open(t, engine)
      fixture.onFrame = () => fixture.link.close()
      fixture.leader.give(10, 10, 10)
      await once(fixture.leader.socket, 'close')
      assert.deepEqual([fixture.frames.length, fixture.closed], [1, []])
      assert.equal(fixture.extentsInUse, 0)
    })

    test('tells that it cannot connect', async (t) => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      server.close()
      await once(server, 'close')
      const arena = new Arena(allocateArena(ARENA_BYTES))
      const memory = new ReceiveMemory(arena, () => 0)
      const { connect, close } = engine.open(arena)
      t.after(close)
      const reason = await new Promise<string>((resolve) => {
        const nothing = () => undefined
        const sink = { onOpen: nothing, onFrame: nothing, onClosed: resolve }
        openReplicaLink({ memory, connect }, { host: '127.0.0.1', port }, sink)
      })
      assert.match(reason, /ECONNREFUSED/)
    })
  })
}
