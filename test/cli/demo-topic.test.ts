import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { DemoTopic } from '../../src/cli/demo-topic.ts'
import { withSeed } from '../support/seed.ts'

function line(n: number): Uint8Array {
  return Buffer.from(`line ${n}`)
}

test('Reassembly, partitions in any order between each other, is what was sent', async () => {
  await withSeed('cli/demo-topic', (random) => {
    for (let round = 0; round < 50; round++) {
      const partitions = random.between(1, 7)
      const count = random.below(300)
      const whole = createHash('sha256')
      for (let n = 0; n < count; n++) whole.update(line(n)).update('\n')
      const reader = new DemoTopic(partitions).reassembly('test')
      if (random.chance(0.5)) reader.expect(count)
      const next = Array.from({ length: partitions }, (_, partition) => partition)
      while (next.some((n) => n < count)) {
        const partition = random.below(partitions)
        const n = next[partition] as number
        if (n >= count) continue
        reader.take(partition, Math.floor(n / partitions), line(n))
        next[partition] = n + partitions
      }
      reader.expect(count)
      assert.equal(reader.done.aborted, true)
      assert.equal(reader.problem, null)
      assert.equal(reader.digest(), whole.digest('hex'))
    }
  })
})

test('Reassembly, an event twice, missing, or empty of a value, says so and ends', () => {
  for (const [offset, value] of [
    [0, line(0)],
    [2, line(2)],
    [1, null],
  ] as const) {
    const reader = new DemoTopic(1).reassembly('test')
    reader.take(0, 0, line(0))
    reader.take(0, offset, value)
    assert.match(reader.problem ?? '', new RegExp(`offset ${offset} instead of 1`))
    assert.equal(reader.done.aborted, true)
  }
})
