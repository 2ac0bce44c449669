/**
 * Kafka's own DumpLogSegments reads every file that a broker leaves: after a mixed workload over
 * three shards and small segments, after a clean stop and after a kill with its recovery.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import type { CompressionCode } from '../../src/record/compression.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker } from '../support/broker.ts'
import {
  append,
  appendOk,
  batchOf,
  createTopic,
  newProducerId,
  TIMESTAMP_MS,
} from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'
import { skipUnless } from './clients/client.ts'
import { dumpLog, dumpLogAvailable } from './clients/dump-log.ts'

const skip = skipUnless(dumpLogAvailable())
const SHARDS = 3
const ROUNDS = 40

test('DumpLogSegments has no complaint after a clean stop and after a kill', { skip }, async () => {
  const dataDirs = [mkdtempSync(join(tmpdir(), 'millrace-dump-'))]
  let broker = await startBroker({ shards: SHARDS, dataDirs })
  try {
    let client = await RawClient.open(broker.port)
    await createTopics(client)
    await load(client)
    client.close()
    await broker.stop()
    await check(dataDirs[0]!, ['log', 'index', 'timeindex', 'snapshot'])

    broker = await startBroker({ shards: SHARDS, dataDirs })
    client = await RawClient.open(broker.port)
    await load(client)
    client.close()
    await broker.kill()
    broker = await startBroker({ shards: SHARDS, dataDirs })
    await broker.stop()
    await check(dataDirs[0]!, ['log', 'index', 'timeindex', 'snapshot'])
  } finally {
    await broker.kill()
    for (const directory of dataDirs) rmSync(directory, { recursive: true, force: true })
  }
})

test('DumpLogSegments finds nothing but holes in a compacted log', { skip }, async () => {
  const dataDirs = [mkdtempSync(join(tmpdir(), 'millrace-dump-'))]
  const set = { 'log.cleaner.backoff.ms': '100', 'log.flush.interval.ms': '50' }
  const broker = await startBroker({ shards: 1, dataDirs, set })
  try {
    const client = await RawClient.open(broker.port)
    const configs = {
      'cleanup.policy': 'compact',
      'internal.segment.bytes': '5000',
      'index.interval.bytes': '500',
      'min.cleanable.dirty.ratio': '0.1',
    }
    await createTopic(client, { name: 'compacted', partitions: 1, configs })
    const producerId = await newProducerId(client)
    for (let i = 0; (await compactions(broker.httpUrl)) < 2; i++) {
      await append(client, { topic: 'compacted', partition: 0 }, await keyedBatch(i, producerId))
    }
    client.close()
    await broker.stop()
    const files = logFiles(dataDirs[0]!).filter((name) => !hasPlaceholder(name))
    const { status, complaints } = await dumpLog(files)
    const others = complaints.filter(
      (line) => !/^Non-consecutive|^ {2}-?\d+ is followed/.test(line),
    )
    assert.deepEqual([status, others], [0, []])
    // There are holes: other than the first line of each file, which every log has.
    assert.ok(withoutFirstOffsets(complaints).length > 0)
  } finally {
    await broker.kill()
    for (const directory of dataDirs) rmSync(directory, { recursive: true, force: true })
  }
})

/** Of few keys, in every codec, tombstones among them. */
async function keyedBatch(i: number, producerId: number): Promise<Uint8Array> {
  const builder = new BatchBuilder()
  for (let record = 0; record < 4; record++) {
    const key = Buffer.from(`key-${(i * 7 + record * 3) % 13}`)
    const value = (i + record) % 11 === 0 ? null : Buffer.from(`v${i}`.repeat(20))
    builder.append(TIMESTAMP_MS + i * 1000 - record * 300, key, value, [])
  }
  const sequence = { producerId, producerEpoch: 0, baseSequence: i * 4 }
  return builder.build({ compression: (i % 5) as CompressionCode, ...sequence })
}

/** A segment whose records are all gone has no time; the one entry that says so Kafka has not. */
function hasPlaceholder(name: string): boolean {
  return name.endsWith('.timeindex') && readFileSync(name).readBigInt64BE(0) === -1n
}

async function compactions(httpUrl: string): Promise<number> {
  const answer = await fetch(`${httpUrl}/metrics`)
  return Number(/^millrace_shard_compactions_total\{.*\} (\d+)$/m.exec(await answer.text())?.[1])
}

const TOPICS = [
  {
    name: 'plain',
    partitions: 3,
    configs: { 'internal.segment.bytes': '5000', 'index.interval.bytes': '500' },
  },
  {
    name: 'fsynced',
    partitions: 2,
    configs: { 'internal.segment.bytes': '9000', 'flush.messages': '1' },
  },
  {
    name: 'stamped',
    partitions: 2,
    configs: { 'internal.segment.bytes': '9000', 'message.timestamp.type': 'LogAppendTime' },
  },
  { name: 'preallocated', partitions: 1, configs: { preallocate: 'true' } },
] as const

async function createTopics(client: RawClient): Promise<void> {
  for (const topic of TOPICS) await createTopic(client, topic)
}

/**
 * Every codec, keys, headers, nulls, times that run back, idempotent ones, duplicates, refusals.
 */
async function load(client: RawClient): Promise<void> {
  const producerId = await newProducerId(client)
  for (let i = 0; i < ROUNDS; i++) {
    for (const { name: topic, partitions } of TOPICS) {
      const at = { topic, partition: i % partitions }
      const builder = new BatchBuilder()
      for (let record = 0; record <= i % 4; record++) {
        const timestamp = TIMESTAMP_MS + i * 1000 - record * 300
        const headers = record === 2 ? [{ key: 'h', value: null }] : []
        const value = record === 3 ? null : Buffer.from('v'.repeat(i * 10))
        builder.append(timestamp, record === 1 ? Buffer.from('key') : null, value, headers)
      }
      await appendOk(client, at, await builder.build({ compression: (i % 5) as CompressionCode }))
      const baseSequence = Math.floor(i / partitions)
      const batch = batchOf({ producerId, producerEpoch: 0, baseSequence })
      await appendOk(client, at, batch)
      await appendOk(client, at, batch)
      assert.notEqual((await append(client, at, batch.subarray(0, 50))).errorCode, 0)
    }
  }
  await client.request(ApiKey.DELETE_RECORDS, 2, {
    topics: [{ name: 'plain', partitions: [{ partitionIndex: 0, offset: 17 }] }],
    timeoutMs: 30_000,
  })
}

function logFiles(dataDir: string): string[] {
  return readdirSync(dataDir, { recursive: true, encoding: 'utf8' })
    .filter((name) => /(^|\/)\d{20}\.[a-z]+$/.test(name))
    .map((name) => join(dataDir, name))
}

async function check(dataDir: string, extensions: readonly string[]): Promise<void> {
  const files = logFiles(dataDir)
  for (const extension of extensions) {
    const count = files.filter((name) => name.endsWith(`.${extension}`)).length
    assert.ok(count >= 5, `${count} ${extension} files`)
  }
  const { status, complaints } = await dumpLog(files)
  assert.deepEqual([status, withoutFirstOffsets(complaints).slice(0, 20)], [0, []])
}

/**
 * DumpLogSegments of Kafka 4.4 starts to count at −1 in every file, so that it finds the first
 * offset of each later segment "non-consecutive", in Kafka's own files as well. Only that line
 * goes, and the heading when nothing else stands below it.
 */
function withoutFirstOffsets(complaints: readonly string[]): string[] {
  const rest: string[] = []
  for (let i = 0; i < complaints.length; i++) {
    const base = /^Non-consecutive offsets in .*\/(\d{20})\.log$/.exec(complaints[i] as string)?.[1]
    const isFirstOffset = complaints[i + 1] === `  -1 is followed by ${Number(base)}`
    if (base === undefined || !isFirstOffset) rest.push(complaints[i] as string)
    else i++ // Further lines of the same file stand behind it and stay.
  }
  return rest
}
