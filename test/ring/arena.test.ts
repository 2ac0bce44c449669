import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Arena, ArenaView, POISON } from '../../src/ring/arena.ts'
import {
  allocateArena,
  arenaGenerations,
  BLOCK_BYTES,
  extentClass,
} from '../../src/ring/arena-layout.ts'
import { withSeed } from './seed.ts'

const KIB = 1024

function openArena(bytes: number, options: { poison?: boolean; bytesInUseMax?: number } = {}) {
  const memory = allocateArena(bytes)
  return { memory, arena: new Arena(memory, options), view: new ArenaView(memory) }
}

test('extentClass, is the least power of two times 512, for sizes around the powers', () => {
  const sizes = [1, 512, 513, 1024, 1025, 65_536, 65_537, 1 << 30]
  assert.deepEqual(sizes.map(extentClass), [0, 0, 1, 1, 2, 7, 8, 21])
})

test('Arena.allocate, hands out every block once, when filled with the smallest extents', () => {
  for (const bytes of [64 * KIB, 37 * BLOCK_BYTES]) {
    const { arena } = openArena(bytes)
    const offsets = new Set<number>()
    for (let offset = arena.allocate(1); offset >= 0; offset = arena.allocate(1)) {
      assert.equal(offset % BLOCK_BYTES, 0)
      offsets.add(offset)
    }
    assert.equal(offsets.size, bytes / BLOCK_BYTES)
    assert.equal(arena.bytesInUse, bytes)
    assert.equal(arena.extentsInUse, offsets.size)
    assert.equal(arena.bytesPeak, bytes)
  }
})

test('Arena.allocate, answers -1, when the size, the space or the budget is exceeded', () => {
  const { arena } = openArena(64 * KIB)
  assert.equal(arena.extentBytesMax, 64 * KIB)
  assert.equal(arena.allocate(64 * KIB + 1), -1)
  assert.equal(arena.allocate(64 * KIB), 0)
  assert.equal(arena.allocate(1), -1)

  const limited = openArena(64 * KIB, { bytesInUseMax: 8 * KIB }).arena
  const first = limited.allocate(5 * KIB) // An extent of 8 KiB: the whole budget.
  assert.equal(limited.allocate(1), -1)
  limited.free(first, limited.generationOf(first))
  assert.notEqual(limited.allocate(1), -1)
  assert.equal(openArena(3 * BLOCK_BYTES).arena.extentBytesMax, 2 * BLOCK_BYTES)
})

test('Arena, never overlaps extents and joins all of them again, for any use', () => {
  const bytes = 48 * KIB // No power of two: two top runs.
  const operation = fc.oneof(
    { weight: 5, arbitrary: fc.record({ allocate: fc.integer({ min: 1, max: 20 * KIB }) }) },
    { weight: 4, arbitrary: fc.record({ free: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ trim: fc.nat(), to: fc.integer({ min: 1, max: 9000 }) }) },
  )
  const property = fc.property(fc.array(operation, { maxLength: 300 }), (steps) => {
    const { arena, view } = openArena(bytes)
    const live: number[] = []
    const owner = new Int32Array(bytes / BLOCK_BYTES).fill(-1)
    const mark = (offset: number, length: number, from: number, to: number) => {
      for (let at = offset; at < offset + length; at += BLOCK_BYTES) {
        assert.equal(owner[at / BLOCK_BYTES], from)
        owner[at / BLOCK_BYTES] = to
      }
    }
    const release = (offset: number) => {
      mark(offset, arena.capacityOf(offset), offset, -1)
      arena.free(offset, arena.generationOf(offset))
    }
    for (const step of steps) {
      if ('allocate' in step) {
        const offset = arena.allocate(step.allocate)
        if (offset < 0) continue
        assert.ok(arena.capacityOf(offset) >= step.allocate)
        assert.equal(offset % arena.capacityOf(offset), 0)
        mark(offset, arena.capacityOf(offset), -1, offset)
        view.check(offset, step.allocate, arena.generationOf(offset))
        live.push(offset)
      } else if (live.length === 0) {
        // Nothing to free or trim.
      } else if ('free' in step) {
        const [offset] = live.splice(step.free % live.length, 1)
        release(offset as number)
      } else {
        const offset = live[step.trim % live.length] as number
        const before = arena.capacityOf(offset)
        const bytesTo = Math.min(step.to, before)
        arena.trim(offset, bytesTo)
        const after = arena.capacityOf(offset)
        assert.ok(after >= bytesTo && (after === BLOCK_BYTES || after / 2 < bytesTo))
        mark(offset + after, before - after, offset, -1)
      }
      const used = owner.filter((block) => block >= 0).length * BLOCK_BYTES
      assert.equal(arena.bytesInUse, used)
      assert.equal(arena.extentsInUse, live.length)
    }
    for (const offset of live) release(offset)
    assert.equal(arena.bytesInUse, 0)
    assert.equal(arena.allocate(32 * KIB), 0)
    assert.equal(arena.allocate(16 * KIB), 32 * KIB)
  })
  return withSeed('ring/arena', (seed) => fc.assert(property, { seed, numRuns: 200 }))
})

test('Arena.free, asserts, on a double free, a wrong generation or no extent', () => {
  const { arena } = openArena(64 * KIB)
  const offset = arena.allocate(KIB)
  const generation = arena.generationOf(offset)
  assert.throws(() => arena.free(offset, generation + 1), /wrong generation/)
  assert.throws(() => arena.free(offset + BLOCK_BYTES, 0), /no arena extent/)
  assert.throws(() => arena.free(offset + 1, 0), /offset/)
  assert.throws(() => arena.free(64 * KIB, 0), /offset/)
  assert.throws(() => arena.free(2 ** 32, generation), /offset/)
  assert.throws(() => arena.free(-BLOCK_BYTES, 0), /offset/)
  arena.free(offset, generation)
  assert.throws(() => arena.free(offset, generation), /no arena extent/)
  assert.equal(arena.allocate(KIB), offset)
  assert.throws(() => arena.free(offset, generation), /wrong generation/)
})

test('Arena.free, fills the extent with poison and nothing else, when asked to', () => {
  const { arena } = openArena(8 * KIB, { poison: true })
  const offsets = [arena.allocate(KIB), arena.allocate(KIB), arena.allocate(KIB)]
  arena.bytes.fill(7)
  const [, middle = 0] = offsets
  arena.free(middle, arena.generationOf(middle))
  const poisoned = arena.bytes.filter((byte) => byte === POISON).length
  assert.equal(poisoned, KIB)
  assert.ok(arena.bytes.subarray(middle, middle + KIB).every((byte) => byte === POISON))
})

test('ArenaView.check, asserts, on a stale tag, a longer length or a foreign offset', () => {
  const { arena, view } = openArena(64 * KIB)
  const offset = arena.allocate(3 * KIB)
  const generation = arena.generationOf(offset)
  view.check(offset, 4 * KIB, generation)
  assert.throws(() => view.check(offset, 4 * KIB + 1, generation), /length/)
  assert.throws(() => view.check(offset + BLOCK_BYTES, 1, generation), /freed/)
  assert.throws(() => view.check(64 * KIB, 1, 0), /offset/)
  arena.trim(offset, KIB)
  view.check(offset, KIB, generation)
  assert.throws(() => view.check(offset, KIB + 1, generation), /length/)
})

test('ArenaView.check, finds a planted early free, whatever became of the extent', () => {
  const { arena, view } = openArena(16 * KIB)
  const offset = arena.allocate(4 * KIB)
  const generation = arena.generationOf(offset)
  arena.free(offset, generation)
  assert.throws(() => view.check(offset, 1, generation), /freed/)
  const again = arena.allocate(4 * KIB)
  assert.equal(again, offset)
  assert.throws(() => view.check(offset, 1, generation), /another generation/)
  arena.free(again, arena.generationOf(again))
  assert.equal(arena.allocate(16 * KIB), 0)
  assert.throws(() => view.check(offset, 1, generation), /another generation/)
})

test('Arena, tells owners apart, when the generation wraps at 2^32', () => {
  const { memory, arena, view } = openArena(BLOCK_BYTES)
  arenaGenerations(memory).fill(2 ** 32 - 1)
  const offset = arena.allocate(1)
  assert.equal(arena.generationOf(offset), 2 ** 32 - 1)
  arena.free(offset, 2 ** 32 - 1)
  assert.equal(arena.allocate(1), offset)
  assert.equal(arena.generationOf(offset), 0)
  view.check(offset, 1, 0)
  assert.throws(() => view.check(offset, 1, 2 ** 32 - 1), /another generation/)
})

test('Arena, costs no resident memory at rest, and reuses low addresses in use', () => {
  const before = process.memoryUsage.rss()
  const { arena } = openArena(256 << 20)
  assert.ok(process.memoryUsage.rss() - before < 64 << 20, 'an idle arena of 256 MiB is untouched')
  let highest = 0
  const live: number[] = []
  for (let i = 0; i < 20_000; i++) {
    const offset = arena.allocate(1 + ((i * 7919) % (64 * KIB)))
    highest = Math.max(highest, offset)
    live.push(offset)
    if (live.length < 16) continue
    const [oldest = 0] = live.splice((i * 31) % 16, 1)
    arena.free(oldest, arena.generationOf(oldest))
  }
  // 16 extents of at most 64 KiB, plus what the stacks may hold unmerged: 8 classes of 2 MiB.
  assert.ok(highest < (1 << 20) + (16 << 20), `highest offset ${highest}`)
})
