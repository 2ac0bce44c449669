/** Batches that real clients sent and a real broker stored: see fixtures/README.md. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { decodeBatch } from '../../src/record/batch.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import { COMPRESSION_NAMES } from '../../src/record/compression.ts'

const FOLDER = 'test/record/fixtures'
const RECORDS_PER_BATCH = 3
const options = { recordsBytesMax: 100_000 }

/** Beside the sources: compiling copies no fixtures. */
function fixture(name: string): Uint8Array {
  const own = dirname(fileURLToPath(import.meta.url))
  for (let folder = own; ; folder = dirname(folder)) {
    const path = join(folder, FOLDER, name)
    if (existsSync(path)) return readFileSync(path)
    if (folder === dirname(folder)) return readFileSync(join(process.cwd(), FOLDER, name))
  }
}

for (const client of ['java', 'kcat', 'kafka-python', 'kafkajs']) {
  test(`decodeBatch reads every codec as ${client} sends it`, async () => {
    const log = fixture(`${client}.log`)
    let position = 0
    let offset = 0
    const seen: string[] = []
    while (position < log.length) {
      const batch = await decodeBatch(log, position, options)
      const records = [...batch]
      const codec = COMPRESSION_NAMES[batch.header.compression]
      if (seen.at(-1) !== codec) seen.push(codec)
      for (const record of records) {
        const index = offset % RECORDS_PER_BATCH
        assert.equal(record.offset, offset++)
        assert.equal(Buffer.from(record.key ?? []).toString(), `key ${index}`)
        assert.equal(Buffer.from(record.value ?? []).toString(), `${codec} `.repeat(30) + index)
        const [header] = record.headers
        assert.equal(header?.key, 'codec')
        assert.equal(Buffer.from(header?.value ?? []).toString(), codec)
        if (client !== 'kcat') assert.equal(record.timestamp, 1_700_000_000_000 + 1000 * index)
      }
      position += batch.header.bytes
    }
    assert.deepEqual(seen, [...COMPRESSION_NAMES])
    assert.equal(offset, RECORDS_PER_BATCH * COMPRESSION_NAMES.length)
  })
}

test('BatchBuilder writes the very batch that the Java client sent', async () => {
  const log = fixture('java.log')
  const batch = await decodeBatch(log, 0, options)
  const { header } = batch
  assert.equal(header.compression, 0)
  const builder = new BatchBuilder()
  for (const { timestamp, key, value, headers } of batch) {
    builder.append(timestamp, key, value, headers)
  }
  const { baseOffset, leaderEpoch, producerId, producerEpoch, baseSequence } = header
  const built = builder.buildSync({
    baseOffset,
    leaderEpoch,
    producerId,
    producerEpoch,
    baseSequence,
  })
  assert.ok(producerId >= 0)
  assert.equal(Buffer.compare(built, log.subarray(0, header.bytes)), 0)
})
