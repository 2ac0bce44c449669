import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BodyMemory } from '../../../src/gateway/web/body-memory.ts'

test('one address has at most half, and what it gives back is there again', () => {
  const memory = new BodyMemory({ bodyBytesMax: 10, bodiesBytesMax: 100 })
  assert.ok(memory.tryTake('a', 30))
  assert.ok(memory.tryTake('a', 20))
  assert.ok(!memory.tryTake('a', 1))
  assert.ok(memory.tryTake('b', 50))
  assert.ok(!memory.tryTake('c', 1), 'all of it is taken')
  memory.give('a', 50)
  assert.ok(memory.tryTake('c', 50))
  memory.give('b', 50)
  assert.ok(memory.tryTake('a', 50))
})

test('one body is taken, however small the half', () => {
  const memory = new BodyMemory({ bodyBytesMax: 80, bodiesBytesMax: 100 })
  assert.ok(memory.tryTake('a', 80))
  assert.ok(!memory.tryTake('a', 1))
  assert.ok(memory.tryTake('b', 20))
  assert.ok(!memory.tryTake('b', 1))
})
