import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReceiveMemory } from '../../src/gateway/receive-memory.ts'
import { Arena } from '../../src/ring/arena.ts'
import { allocateArena } from '../../src/ring/arena-layout.ts'

const KIB = 1024

function fresh(): { arena: Arena; memory: ReceiveMemory } {
  const arena = new Arena(allocateArena(256 * KIB), { poison: true })
  return { arena, memory: new ReceiveMemory(arena, () => 7) }
}

test('ReceiveMemory, the shared half taken, lets one receiver at a time go on', () => {
  const { memory } = fresh()
  const [a, b] = [{}, {}]
  assert.ok(memory.allocate(a, 64 * KIB) >= 0)
  assert.ok(memory.allocate(b, 64 * KIB) >= 0)
  assert.equal(memory.holder, null)
  assert.equal(memory.heldSinceMs, Infinity)
  assert.ok(memory.allocate(b, 32 * KIB) >= 0, 'the first one beyond the half holds')
  assert.equal(memory.holder, b)
  assert.equal(memory.heldSinceMs, 7)
  assert.equal(memory.allocate(a, 32 * KIB), -1, 'nobody else does')
  assert.ok(memory.allocate(a, 8 * KIB) >= 0, 'but what is small passes, up to three quarters')
  assert.ok(memory.allocate(b, 32 * KIB) >= 0, 'the holder goes on')
  assert.equal(memory.allocate(a, 8 * KIB), -1)
  memory.done(a)
  assert.equal(memory.holder, b)
  memory.done(b)
  assert.ok(memory.allocate(a, 32 * KIB) >= 0, 'the next one holds')
  assert.equal(memory.holder, a)
})

test('ReceiveMemory, the arena exhausted, refuses also the holder', () => {
  const { arena, memory } = fresh()
  const owner = {}
  const first = memory.allocate(owner, 256 * KIB)
  assert.ok(first >= 0)
  assert.equal(memory.allocate(owner, 512), -1)
  arena.free(first, arena.generationOf(first))
  assert.ok(memory.allocate(owner, 512) >= 0)
})
