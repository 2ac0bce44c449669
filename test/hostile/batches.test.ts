/**
 * Batches that lie, in process and through the Kafka door: refused with an error of the protocol,
 * or taken as they are; what was acknowledged reads back byte for byte, and nothing else is there.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { batchBytes } from '../../src/record/batch.ts'
import { ATTRIBUTES, BATCH_LENGTH } from '../../src/record/batch-layout.ts'
import { decompress } from '../../src/record/compression.ts'
import { RecordError } from '../../src/record/record-error.ts'
import { withBroker } from '../support/broker.ts'
import { append, createTopic, fetch, listOffset } from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'
import {
  batchAround,
  bombs,
  type HostileBatch,
  headerLies,
  recordLies,
  shapeLies,
} from './batch-cases.ts'
import { residentBytes, underWatch } from './watch.ts'

const MIB = 1024 * 1024
const TO = { topic: 'lies', partition: 0 }

describe('decompression bombs', () => {
  for (const { label, code, section } of bombs()) {
    test(`${label}, ${section.length} bytes, are refused in bounded memory`, async () => {
      const before = residentBytes(process.pid)
      for (let i = 0; i < 20; i++) {
        await assert.rejects(decompress(code, section, MIB), (error) => {
          assert.ok(error instanceof RecordError)
          const codes: number[] = [ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.CORRUPT_MESSAGE]
          return codes.includes(error.code)
        })
      }
      const growth = residentBytes(process.pid) - before
      assert.ok(growth < 100 * MIB, `resident memory rose by ${growth} bytes`)
    })
  }
})

for (const tier of ['auto', 'portable']) {
  describe(`batches that lie, tier ${tier}`, () => {
    test('are refused, or read back as they were acknowledged', () =>
      withBroker({ set: { 'millrace.native.tier': tier } }, async (broker) => {
        const client = await RawClient.open(broker.port)
        await createTopic(client, { name: TO.topic, partitions: 1 })
        const kept: { offset: number; batch: HostileBatch }[] = []
        await underWatch(broker, async () => {
          for (const batch of [...headerLies(), ...shapeLies(), ...recordLies()]) {
            const { errorCode, baseOffset } = await append(client, TO, batch.bytes)
            if (errorCode === ErrorCode.NONE) kept.push({ offset: baseOffset, batch })
          }
        })
        assert.ok(kept.length > 50, `${kept.length} were taken`)
        await checkKept(client, kept)
        // A search looks inside what nobody has looked inside yet.
        const { errorCode } = await listOffset(client, TO, 1)
        assert.ok(errorCode === ErrorCode.NONE || errorCode === ErrorCode.CORRUPT_MESSAGE)
        client.close()
      }))

    test('hold bombs, are searched by time in bounded memory', () =>
      withBroker({ set: { 'millrace.native.tier': tier } }, async (broker) => {
        const client = await RawClient.open(broker.port)
        const all = bombs()
        await createTopic(client, { name: 'bombs', partitions: all.length })
        await underWatch(broker, async () => {
          for (const [partition, { label, code, section }] of all.entries()) {
            const to = { topic: 'bombs', partition }
            const { errorCode } = await append(client, to, batchAround(section, code, 1000))
            assert.equal(errorCode, ErrorCode.NONE, label)
            for (let i = 0; i < 5; i++) {
              const found = await listOffset(client, to, 1)
              const isKnown = [ErrorCode.NONE, ErrorCode.CORRUPT_MESSAGE].includes(
                found.errorCode as 0,
              )
              assert.ok(isKnown, `${label}: ${found.errorCode}`)
            }
          }
        })
        client.close()
      }))
  })
}

/** From the first offset to the last: these batches, but for what the broker stamps. */
async function checkKept(
  client: RawClient,
  kept: readonly { offset: number; batch: HostileBatch }[],
): Promise<void> {
  let at = 0
  for (const { offset, batch } of kept) {
    const partitions = [{ partition: 0, fetchOffset: offset, partitionMaxBytes: 1 }]
    const [fetched] = await fetch(client, { topic: TO.topic, partitions, maxBytes: 1 })
    const bytes = fetched!.records
    assert.equal(offset, at, `${batch.label} follows the one before it`)
    assert.equal(Number(bytes.readBigInt64BE(0)), offset, batch.label)
    const from = BATCH_LENGTH + 4
    const length = batchBytes(new DataView(bytes.buffer, bytes.byteOffset), 0)
    assert.equal(length, batch.bytes.length, batch.label)
    const covered = (one: Buffer): Buffer => Buffer.from(one.subarray(ATTRIBUTES + 2, length))
    assert.deepEqual(covered(bytes), covered(batch.bytes), batch.label)
    assert.ok(from < length)
    at = offset + bytes.readInt32BE(57)
  }
}
