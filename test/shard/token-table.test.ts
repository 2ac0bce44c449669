import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TokenTable } from '../../src/shard/token-table.ts'
import { withSeed } from '../support/seed.ts'

test('TokenTable, any order of adds and takes, finds each value by its token until it is taken', async () => {
  await withSeed('shard/token-table', (random) => {
    const table = new TokenTable<{ readonly id: number }>()
    const waiting = new Map<number, { readonly id: number }>()
    const spent: number[] = []
    for (let id = 0; id < 20_000; id++) {
      if (random.chance(0.5)) {
        const value = { id }
        const token = table.add(value)
        assert.equal(token, token >>> 0)
        assert.equal(waiting.has(token), false, 'a token names one value at a time')
        waiting.set(token, value)
      } else if (waiting.size > 0) {
        const token = [...waiting.keys()][random.below(waiting.size)] as number
        assert.equal(table.get(token), waiting.get(token))
        assert.equal(table.take(token), waiting.get(token))
        waiting.delete(token)
        spent.push(token)
      }
      // A slot has 256 generations: what was spent lately is not known again.
      for (const token of spent.slice(-20)) {
        if (!waiting.has(token)) assert.equal(table.take(token), undefined)
      }
    }
  })
})

test('TokenTable, a token that was never given, is unknown', () => {
  const table = new TokenTable<object>()
  assert.equal(table.get(0), undefined)
  const token = table.add({})
  assert.equal(table.get(token + 1), undefined)
  assert.equal(table.get(0xffff_ffff), undefined)
})

test('TokenTable, as many values as two requests may name partitions, takes them all', () => {
  const table = new TokenTable<object>()
  const value = {}
  for (let i = 0; i < 2_100_000; i++) table.add(value)
  assert.equal(table.size, 2_100_000)
  assert.equal(table.take(2_099_999), value)
})
