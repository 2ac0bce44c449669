/** What it may cost to name the records that a compacted topic refuses. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { KeyChecks, KeylessBudget } from '../../src/broker/key-checks.ts'
import { loadConfig } from '../../src/config/load.ts'
import { MetadataImage } from '../../src/metadata/image.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'

const GZIP = 1

function keyless(records: number, valueBytes = 1): Uint8Array {
  const builder = new BatchBuilder()
  const value = new Uint8Array(valueBytes)
  for (let i = 0; i < records; i++) builder.append(0, i % 2 === 0 ? null : 'k', value)
  return builder.buildSync({ compression: GZIP })
}

describe('records without a key', () => {
  const checks = new KeyChecks(new MetadataImage(), loadConfig())
  const ask = (batch: Uint8Array, budget: KeylessBudget) =>
    checks.keyless(batch, { offset: 0, length: batch.length }, budget)

  test('are named as long as the request may have more of them', async () => {
    const budget = new KeylessBudget()
    assert.deepEqual(await ask(keyless(5), budget), [0, 2, 4])
    const batch = keyless(1600)
    assert.equal((await ask(batch, budget)).length, 800)
    assert.equal((await ask(batch, budget)).length, 197)
    assert.deepEqual(await ask(batch, budget), [])
  })

  test('of a batch that inflates to more than is looked through, are not, nor any behind it', async () => {
    const budget = new KeylessBudget()
    assert.deepEqual(await ask(keyless(1, 15_000_000), budget), [])
    assert.deepEqual(await ask(keyless(5), budget), [])
  })

  test('of many batches at once, let others run in between', async () => {
    let turns = 0
    let isOver = false
    const turn = (): void => {
      turns++
      if (!isOver) setImmediate(turn)
    }
    turn()
    const batch = keyless(9)
    await Promise.all(Array.from({ length: 50 }, () => ask(batch, new KeylessBudget())))
    isOver = true
    assert.ok(turns >= 50, `${turns} turns`)
  })
})
