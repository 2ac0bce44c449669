import assert from 'node:assert/strict'
import { test } from 'node:test'
import { copyOf } from '../../src/base/bytes.ts'
import type { Random } from '../../src/base/random.ts'
import { FrameReceiver, type FrameSink, PREFIX_BYTES } from '../../src/gateway/frame-receiver.ts'
import { ReceiveMemory } from '../../src/gateway/receive-memory.ts'
import { Arena } from '../../src/ring/arena.ts'
import { allocateArena } from '../../src/ring/arena-layout.ts'
import { withSeed } from '../support/seed.ts'

const FILE = 'gateway/frame-receiver'

class Collector implements FrameSink {
  readonly frames: Uint8Array[] = []
  readonly held: { offset: number; generation: number }[] = []
  error: number | null = null
  /** Frames that it still wants. */
  wanted = Infinity
  readonly #arena: Arena

  constructor(arena: Arena) {
    this.#arena = arena
  }

  mayTake(): boolean {
    return this.frames.length < this.wanted
  }

  onFrame(offset: number, length: number, generation: number): void {
    this.frames.push(copyOf(this.#arena.bytes, offset, offset + length))
    this.held.push({ offset, generation })
  }

  onFramingError(declaredBytes: number): void {
    this.error = declaredBytes
  }

  freeAll(): void {
    for (const { offset, generation } of this.held.splice(0)) this.#arena.free(offset, generation)
  }
}

function framed(payloads: readonly Uint8Array[]): Buffer {
  const parts = payloads.flatMap((payload) => {
    const prefix = Buffer.alloc(4)
    prefix.writeInt32BE(payload.length)
    return [prefix, Buffer.from(payload)]
  })
  return Buffer.concat(parts)
}

function newArena(bytes: number): Arena {
  return new Arena(allocateArena(bytes), { poison: true })
}

/** A receive that may begin with the prefix: what comes behind the frame is offered again. */
function feedExpected(
  receiver: FrameReceiver,
  stream: Buffer,
  { at, piece }: { at: number; piece: number },
  arena: Arena,
): number {
  const count = Math.min(piece, PREFIX_BYTES + receiver.directLength)
  const head = stream.subarray(at, at + Math.min(count, PREFIX_BYTES))
  if (count > PREFIX_BYTES) {
    stream.copy(arena.bytes, receiver.directOffset, at + PREFIX_BYTES, at + count)
  }
  const rest = receiver.acceptExpected(head, 0, count)
  if (rest === null) return at + count
  const from = at + count - rest.length
  assert.deepEqual(Buffer.from(rest), stream.subarray(from, at + count))
  return from + receiver.accept(rest, 0, rest.length)
}

/** Offers the stream as a socket would: in pieces, partly straight into the extent. */
function feed(receiver: FrameReceiver, stream: Buffer, at: number, random: Random, arena: Arena) {
  const piece = Math.min(stream.length - at, random.between(1, random.chance(0.2) ? 70_000 : 900))
  if (receiver.expect()) return feedExpected(receiver, stream, { at, piece }, arena)
  const direct = Math.min(receiver.directLength, piece)
  if (direct > 0 && random.chance(0.5)) {
    stream.copy(arena.bytes, receiver.directOffset, at, at + direct)
    receiver.advance(direct)
    return at + direct
  }
  return receiver.accept(stream, at, at + piece)
}

test('FrameReceiver, any cut of the stream, gives every frame whole and in order', async () => {
  await withSeed(FILE, (random) => {
    for (let round = 0; round < 30; round++) {
      const arena = newArena(4 * 1024 * 1024)
      const sink = new Collector(arena)
      const receiver = new FrameReceiver(new ReceiveMemory(arena, () => 0), sink, 1024 * 1024)
      const sizes = Array.from({ length: random.between(1, 40) }, () =>
        random.chance(0.1) ? random.between(1, 300_000) : random.between(1, 2000),
      )
      const payloads = sizes.map((size) => random.bytes(size))
      const stream = framed(payloads)
      for (let at = 0; at < stream.length; ) {
        const next = feed(receiver, stream, at, random, arena)
        if (random.chance(0.3) || receiver.stalled) sink.freeAll()
        if (receiver.stalled) assert.equal(receiver.retry(), true, 'free memory ends the stall')
        at = next
      }
      assert.equal(sink.frames.length, payloads.length)
      for (const [i, payload] of payloads.entries()) {
        assert.deepEqual(Buffer.from(sink.frames[i] as Uint8Array), Buffer.from(payload))
      }
      sink.freeAll()
      receiver.close()
      assert.equal(arena.bytesInUse, 0, 'an idle connection owns no memory')
    }
  })
})

test('FrameReceiver, expecting a large frame that does not come, owns nothing afterwards', () => {
  const arena = newArena(1024 * 1024)
  const sink = new Collector(arena)
  const receiver = new FrameReceiver(new ReceiveMemory(arena, () => 0), sink, 100_000)
  assert.equal(receiver.expect(), false, 'no large frame has been seen yet')
  const stream = framed([Buffer.alloc(70_000, 1), Buffer.alloc(70_000, 2)])
  receiver.accept(stream, 0, 70_004)
  sink.freeAll()
  assert.equal(receiver.expect(), true)
  assert.equal(receiver.acceptExpected(stream, 0, 0), null)
  assert.equal(arena.bytesInUse, 0, 'nothing came')
  assert.equal(receiver.expect(), true)
  assert.equal(receiver.acceptExpected(stream, 70_004, 3), null)
  assert.equal(arena.bytesInUse, 0, 'a part of the prefix came')
  assert.equal(receiver.expect(), false, 'not within a prefix')
  receiver.accept(stream, 70_007, stream.length)
  assert.deepEqual(Buffer.from(sink.frames[1] as Uint8Array), Buffer.alloc(70_000, 2))
  sink.freeAll()
  assert.equal(receiver.expect(), true)
  const broken = Buffer.alloc(4, 0xff)
  assert.equal(receiver.acceptExpected(broken, 0, 4), null)
  assert.equal(sink.error, -1)
  assert.equal(arena.bytesInUse, 0, 'a broken prefix came')
  assert.equal(receiver.expect(), false, 'a broken stream is not read on')
})

test('FrameReceiver, a small frame where a large one was expected, holds little', () => {
  const arena = newArena(1024 * 1024)
  const sink = new Collector(arena)
  const receiver = new FrameReceiver(new ReceiveMemory(arena, () => 0), sink, 100_000)
  receiver.accept(framed([Buffer.alloc(70_000, 1)]), 0, 70_004)
  sink.freeAll()
  const small = framed([Buffer.alloc(10, 3), Buffer.alloc(20, 4)])
  assert.equal(receiver.expect(), true)
  small.copy(arena.bytes, receiver.directOffset, PREFIX_BYTES)
  const rest = receiver.acceptExpected(small, 0, small.length)
  assert.deepEqual(rest === null ? null : Buffer.from(rest), small.subarray(14))
  assert.equal(arena.bytesInUse, 512, 'the extent is cut to the frame')
  assert.deepEqual(Buffer.from(sink.frames[1] as Uint8Array), Buffer.alloc(10, 3))
})

test('FrameReceiver, a declared length without bytes, takes memory for what arrived only', () => {
  const arena = newArena(64 * 1024 * 1024)
  const receiver = new FrameReceiver(
    new ReceiveMemory(arena, () => 0),
    new Collector(arena),
    100 * 1024 * 1024,
  )
  const prefix = Buffer.alloc(4)
  prefix.writeInt32BE(50 * 1024 * 1024)
  receiver.accept(Buffer.concat([prefix, Buffer.alloc(10)]), 0, 14)
  assert.ok(arena.bytesInUse <= 16 * 1024, `${arena.bytesInUse} bytes for 10`)
})

test('FrameReceiver, a length that is negative, zero or too large, reports it and takes no more', () => {
  for (const length of [-1, 0, -(2 ** 31), 2 ** 31 - 1, 1001]) {
    const arena = newArena(1024 * 1024)
    const sink = new Collector(arena)
    const receiver = new FrameReceiver(new ReceiveMemory(arena, () => 0), sink, 1000)
    const bytes = Buffer.alloc(12)
    bytes.writeInt32BE(length)
    assert.equal(receiver.accept(bytes, 0, 12), 4)
    assert.equal(sink.error, length)
    assert.equal(receiver.accept(bytes, 4, 12), 4)
    assert.equal(arena.bytesInUse, 0)
  }
})

test('FrameReceiver, an exhausted arena, stalls without losing a byte and goes on after a free', () => {
  const arena = newArena(64 * 1024)
  const blocker = arena.allocate(64 * 1024)
  const sink = new Collector(arena)
  const receiver = new FrameReceiver(new ReceiveMemory(arena, () => 0), sink, 32 * 1024)
  const payload = Buffer.alloc(5000, 7)
  const stream = framed([payload])
  const taken = receiver.accept(stream, 0, stream.length)
  assert.equal(receiver.stalled, true)
  assert.equal(receiver.retry(), false)
  assert.equal(receiver.directLength, 0)
  arena.free(blocker, arena.generationOf(blocker))
  assert.equal(receiver.retry(), true)
  assert.equal(receiver.accept(stream, taken, stream.length), stream.length)
  assert.deepEqual(Buffer.from(sink.frames[0] as Uint8Array), payload)
})

test('FrameReceiver, a sink that has enough, takes no byte of the next frame until it wants more', () => {
  const arena = newArena(1024 * 1024)
  const sink = new Collector(arena)
  const receiver = new FrameReceiver(new ReceiveMemory(arena, () => 0), sink, 1000)
  const stream = framed(Array.from({ length: 10 }, (_, i) => Buffer.of(i, i)))
  sink.wanted = 3
  const taken = receiver.accept(stream, 0, stream.length)
  assert.equal(taken, 3 * 6)
  assert.equal(receiver.isIdle, true)
  assert.equal(receiver.accept(stream, taken, stream.length), taken, 'still enough')
  sink.wanted = Infinity
  assert.equal(receiver.accept(stream, taken, stream.length), stream.length)
  assert.deepEqual(
    sink.frames.map((frame) => frame[0]),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  )
})
