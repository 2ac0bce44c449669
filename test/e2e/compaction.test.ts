/**
 * Compaction in a real broker process: producers that go on meanwhile, a restart, a kill, and what
 * a consumer finds afterwards.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { uuidToHex } from '../../src/base/uuid.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { BatchBuilder, type BuildOptions } from '../../src/record/batch-builder.ts'
import type { CompressionCode } from '../../src/record/compression-code.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { append, appendOk, createTopic, decodeAll, fetch, TIMESTAMP_MS } from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

const WAIT_MS_MAX = 60_000
const KEYS = 50
const dataDir = mkdtempSync(join(tmpdir(), 'millrace-test-'))
let broker: TestBroker
let client: RawClient

async function start(): Promise<void> {
  broker = await startBroker({
    shards: 2,
    dataDirs: [dataDir],
    set: { 'log.cleaner.backoff.ms': '100', 'log.flush.interval.ms': '50' },
  })
  client = await RawClient.open(broker.port)
}

async function batch(from: number, count: number, compression: 0 | 4): Promise<Uint8Array> {
  const builder = new BatchBuilder()
  for (let i = from; i < from + count; i++) {
    builder.append(TIMESTAMP_MS, `k${i % KEYS}`, `v${i}`.padEnd(200, '.'))
  }
  const options: BuildOptions = { compression }
  return compression === 0 ? builder.buildSync(options) : await builder.build(options)
}

const text = (bytes: Uint8Array | null): string => Buffer.from(bytes ?? []).toString()

interface Place {
  readonly topic: string
  readonly partition: number
}

/** Every record, holes or not. */
async function readRecords({ topic, partition }: Place): Promise<[number, string, string][]> {
  const read: [number, string, string][] = []
  for (let next = 0; ; ) {
    const partitions = [{ partition, fetchOffset: next }]
    const [fetched] = await fetch(client, { topic, partitions })
    const batches = await decodeAll(fetched!.records)
    if (batches.length === 0) {
      assert.equal(next, fetched!.partition.highWatermark)
      return read
    }
    for (const batch of batches) {
      for (const { offset, key, value } of batch) {
        if (offset >= next) read.push([offset, text(key), text(value)])
      }
      next = batch.header.baseOffset + batch.header.lastOffsetDelta + 1
    }
  }
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + WAIT_MS_MAX
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `${what}: not after ${WAIT_MS_MAX} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

describe('a compacted topic', () => {
  before(start)
  after(async () => {
    client.close()
    await broker.stop()
  })

  for (const compression of [0, 4] as const) {
    test(`keeps the last value of each key, codec ${compression}`, async () => {
      const topic = `compacted-${compression}`
      const id = await createTopic(client, {
        name: topic,
        partitions: 1,
        configs: {
          'cleanup.policy': 'compact',
          'internal.segment.bytes': '20000',
          'min.cleanable.dirty.ratio': '0.1',
        },
      })
      const place = { topic, partition: 0 }
      const directory = join(dataDir, `${uuidToHex(id)}-0`)
      const latest = new Map<string, string>()
      let sent = 0
      const send = async (): Promise<void> => {
        await appendOk(client, place, await batch(sent, 20, compression))
        for (let i = sent; i < sent + 20; i++) {
          latest.set(`k${i % KEYS}`, `v${i}`.padEnd(200, '.'))
        }
        sent += 20
      }
      const offsets = async (): Promise<number[]> => {
        const records = await readRecords(place)
        const found = new Map(records.map(([, key, value]) => [key, value]))
        assert.deepEqual([...found].sort(), [...latest].sort())
        return records.map(([offset]) => offset)
      }
      for (let i = 0; i < 60; i++) await send()
      await until('it is compacted while it grows', async () => {
        await send()
        return (await offsets()).length < sent / 2
      })
      for (const how of ['stop', 'kill'] as const) {
        client.close()
        await broker[how]()
        await start()
        const kept = await offsets()
        assert(kept.length < sent / 2)
        assert.equal(kept.at(-1), sent - 1)
        for (let i = 0; i < 40; i++) await send()
        await until('it is compacted again', async () => (await offsets()).length < sent / 2)
      }
      assert(readdirSync(directory).includes('cleaner-offset-checkpoint'))
    })
  }
})

describe('a record without a key', () => {
  before(start)
  after(async () => {
    client.close()
    await broker.stop()
  })

  test('is refused by a compacted topic, whatever the codec, and what follows keeps its order', async () => {
    const configs = { 'cleanup.policy': 'compact,delete' }
    await createTopic(client, { name: 'keyed', partitions: 1, configs })
    const place = { topic: 'keyed', partition: 0 }
    const build = (key: string | null, compression: CompressionCode, sequence = -1) => {
      const builder = new BatchBuilder()
      builder.append(TIMESTAMP_MS, 'first', 'v')
      builder.append(TIMESTAMP_MS, key, 'v'.repeat(100))
      const producer = { producerId: 9000, producerEpoch: 0, baseSequence: sequence }
      return builder.build({ compression, ...(sequence < 0 ? {} : producer) })
    }
    for (const compression of [0, 1, 2, 3, 4] as const) {
      const refused = await append(client, place, await build(null, compression))
      assert.equal(refused.errorCode, ErrorCode.INVALID_RECORD, `codec ${compression}`)
      assert.match(refused.errorMessage ?? '', /needs a key/)
      // Clients fail that record alone with the error, and may send the others again.
      assert.deepEqual(
        refused.recordErrors.map(({ batchIndex }) => batchIndex),
        [1],
        `codec ${compression}`,
      )
      await appendOk(client, place, await build('k', compression))
      await appendOk(client, place, await build('', compression))
    }
    const mixed: Uint8Array[] = []
    for (let i = 0; i < 20; i++) mixed.push(await build(i % 2 === 0 ? null : 'k', 0))
    const outcomes = await Promise.all(mixed.map((one) => append(client, place, one)))
    assert.deepEqual(
      outcomes.map(({ errorCode, recordErrors }) => [errorCode, recordErrors.length]),
      mixed.map((_, i) => (i % 2 === 0 ? [ErrorCode.INVALID_RECORD, 1] : [0, 0])),
    )
    // Pipelined: every second batch has to be looked into before it goes on.
    const batches: Uint8Array[] = []
    for (let i = 0; i < 20; i++) batches.push(await build('k', i % 2 === 0 ? 4 : 0, i * 2))
    const answers = await Promise.all(batches.map((one) => append(client, place, one)))
    assert.deepEqual(
      answers.map(({ errorCode, baseOffset }) => [errorCode, baseOffset]),
      batches.map((_, i) => [0, 40 + i * 2]),
    )
    await createTopic(client, { name: 'free', partitions: 1 })
    await appendOk(client, { topic: 'free', partition: 0 }, await build(null, 4))
  })
})
