import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { LineError, linesOf } from '../../src/cli/lines.ts'
import { withSeed } from '../support/seed.ts'

async function collect(chunks: readonly Uint8Array[], max = 1_000_000): Promise<string[]> {
  const lines: string[] = []
  for await (const batch of linesOf(Readable.from(chunks), max)) {
    for (const line of batch) lines.push(Buffer.from(line).toString('latin1'))
  }
  return lines
}

test('linesOf, any cut of any bytes, joins to what it was', async () => {
  await withSeed('cli/lines', async (random) => {
    for (let round = 0; round < 200; round++) {
      const text = random.bytes(random.below(3000))
      for (let i = random.below(60); i > 0; i--) text[random.below(text.length || 1)] = 0x0a
      const chunks: Uint8Array[] = []
      for (let at = 0; at < text.length; ) {
        const length = random.between(1, 400)
        chunks.push(text.subarray(at, at + length))
        at += length
      }
      const whole = Buffer.from(text).toString('latin1')
      const expected = whole.split('\n')
      if (expected.at(-1) === '') expected.pop()
      assert.deepEqual(await collect(chunks), expected)
    }
  })
})

test('linesOf, carriage returns, empty lines and an unfinished last line, keeps them', async () => {
  assert.deepEqual(await collect([Buffer.from('a\r\n\n\nb')]), ['a\r', '', '', 'b'])
  assert.deepEqual(await collect([]), [])
  assert.deepEqual(await collect([Buffer.from('\n')]), [''])
})

test('linesOf, a line without end, is refused before it fills the memory', async () => {
  const endless = Array.from({ length: 100 }, () => Buffer.alloc(1000, 0x61))
  await assert.rejects(collect(endless, 10_000), LineError)
  const inOne = [Buffer.concat([Buffer.alloc(20_000, 0x61), Buffer.from('\n')])]
  await assert.rejects(collect(inOne, 10_000), LineError)
})
