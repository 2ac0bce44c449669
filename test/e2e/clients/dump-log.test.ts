import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { viewOf, writeInt64 } from '../../../src/base/bytes.ts'
import { BatchBuilder } from '../../../src/record/batch-builder.ts'
import { BASE_OFFSET } from '../../../src/record/batch-layout.ts'
import { COMPRESSION_NAMES } from '../../../src/record/compression.ts'
import { buildMarkerBatch } from '../../../src/record/control-batch.ts'
import { repositoryRoot, skipUnless } from './client.ts'
import { dumpLog, dumpLogAvailable } from './dump-log.ts'

const NAME = '00000000000000000000'
const skip = skipUnless(dumpLogAvailable())

/** Files of one segment, by extension, laid into a folder of their own and dumped. */
async function dump(files: Record<string, Uint8Array>, only: string) {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-dump-'))
  try {
    for (const [extension, bytes] of Object.entries(files)) {
      writeFileSync(join(folder, `${NAME}.${extension}`), bytes)
    }
    return await dumpLog([join(folder, `${NAME}.${only}`)])
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function sound(): Uint8Array {
  return new Uint8Array(readFileSync(join(repositoryRoot, 'test/record/fixtures/java.log')))
}

test('dumpLog has no complaint about a sound segment', { skip }, async () => {
  const { status, output, complaints } = await dump({ log: sound() }, 'log')
  assert.deepEqual([status, complaints], [0, []])
  assert.match(output, /offset: 14 .*payload: zstd zstd/)
})

test('dumpLog complains about a flipped bit', { skip }, async () => {
  const log = sound()
  log[200] = (log[200] as number) ^ 1
  assert.equal((await dump({ log }, 'log')).complaints.length, 1)
})

test('dumpLog complains about a torn batch', { skip }, async () => {
  const { complaints } = await dump({ log: sound().subarray(0, 600) }, 'log')
  assert.match(complaints.join(), /Found 9 invalid bytes/)
})

test('dumpLog complains about indexes that disagree with the log', { skip }, async () => {
  const index = Buffer.alloc(8)
  index.writeInt32BE(1) // Offset 1 at position 0, where the batch of 0–2 starts.
  assert.ok((await dump({ log: sound(), index }, 'index')).complaints.length > 0)
  const timeindex = Buffer.alloc(12)
  timeindex.writeBigInt64BE(1_700_000_009_999n)
  timeindex.writeInt32BE(2, 8)
  assert.ok((await dump({ log: sound(), timeindex }, 'timeindex')).complaints.length > 0)
})

test('Kafka reads what BatchBuilder and buildMarkerBatch write, in every codec', {
  skip,
}, async () => {
  const batches: Uint8Array[] = []
  const value = Buffer.from('a value worth compressing '.repeat(3000))
  for (const [index, compression] of ([0, 1, 2, 3, 4] as const).entries()) {
    const builder = new BatchBuilder()
    builder.append(1_700_000_000_000, Buffer.from('k'), value, [{ key: 'h', value: null }])
    builder.append(1_700_000_000_001, null, null)
    batches.push(await builder.build({ compression, baseOffset: 2 * index, leaderEpoch: 0 }))
  }
  const origin = { producerId: 7, producerEpoch: 1, timestampMs: 1_700_000_000_002 }
  const marker = buildMarkerBatch({ ...origin, committed: true, coordinatorEpoch: 42 })
  writeInt64(viewOf(marker), BASE_OFFSET, 10)
  const { output, complaints } = await dump({ log: Buffer.concat([...batches, marker]) }, 'log')
  assert.deepEqual(complaints, [])
  for (const codec of COMPRESSION_NAMES) assert.match(output, new RegExp(`compresscodec: ${codec}`))
  assert.equal(output.split(`payload: ${value}`).length - 1, 5)
  assert.match(output, /offset: 10 .*endTxnMarker: COMMIT coordinatorEpoch: 42/)
})
