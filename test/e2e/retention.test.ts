/**
 * Retention in a real broker process: what is on the disk, what clients see of it, and what a
 * restart and a kill leave.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { uuidToHex } from '../../src/base/uuid.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { type BrokerOptions, startBroker, type TestBroker } from '../support/broker.ts'
import {
  appendOk,
  batchOf,
  createTopic,
  fetch,
  listOffset,
  readPartition,
  TIMESTAMP_MS,
} from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

const MIB = 1024 * 1024
const EARLIEST = -2
const LATEST = -1
/** Until then something that must happen has happened; nothing is asserted of how long it takes. */
const WAIT_MS_MAX = 30_000

const BATCH_VALUES = 50
const VALUE = 'v'.repeat(2000)
const BATCHES = 240 // 24 MB: ten times what is to be kept.
const RETENTION_BYTES = 2 * MIB

interface Place {
  readonly topic: string
  readonly partition: 0
}

const dataDir = mkdtempSync(join(tmpdir(), 'millrace-test-'))
let broker: TestBroker
let client: RawClient

async function start(set: BrokerOptions['set'] = {}): Promise<void> {
  broker = await startBroker({ shards: 2, dataDirs: [dataDir], set: { ...set } })
  client = await RawClient.open(broker.port)
}

async function stop(how: 'stop' | 'kill'): Promise<void> {
  client?.close()
  await broker?.[how]()
}

/** Makes a topic of one partition; returns how to ask for it and where its files are. */
async function make(
  topic: string,
  configs: Readonly<Record<string, string>>,
): Promise<{ place: Place; directory: string }> {
  const id = await createTopic(client, { name: topic, partitions: 1, configs })
  return { place: { topic, partition: 0 }, directory: join(dataDir, `${uuidToHex(id)}-0`) }
}

function names(directory: string, suffix: string): string[] {
  return readdirSync(directory).filter((name) => name.endsWith(suffix))
}

/** Of everything in a partition's directory, deleted files included. */
function diskBytes(directory: string): number {
  let bytes = 0
  for (const name of readdirSync(directory)) {
    bytes += statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0
  }
  return bytes
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + WAIT_MS_MAX
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `${what}: not after ${WAIT_MS_MAX} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function offsetsOf(place: Place): Promise<{ earliest: number; latest: number }> {
  const earliest = await listOffset(client, place, EARLIEST)
  const latest = await listOffset(client, place, LATEST)
  return { earliest: earliest.offset, latest: latest.offset }
}

async function assertOutOfRange(place: Place, fetchOffset: number, start: number): Promise<void> {
  const [answer] = await fetch(client, {
    topic: place.topic,
    partitions: [{ partition: 0, fetchOffset }],
  })
  assert.equal(answer!.partition.errorCode, ErrorCode.OFFSET_OUT_OF_RANGE)
  assert.equal(answer!.partition.logStartOffset, start)
  assert.equal(answer!.records.length, 0)
}

before(() => start())

after(async () => {
  await stop('stop')
  broker?.cleanUp()
})

describe('a topic with retention.bytes', () => {
  let place: Place
  let directory: string
  let earliest: number

  test('keeps the disk bounded while ten times as much is written, without a pass', async () => {
    ;({ place, directory } = await make('by-size', {
      'segment.bytes': String(MIB),
      'retention.bytes': String(RETENTION_BYTES),
      'file.delete.delay.ms': '0',
    }))
    const values = Array.from({ length: BATCH_VALUES }, () => VALUE)
    const run = batchOf({ values, timestamp: Date.now() })
    for (let i = 0; i < BATCHES; i++) await appendOk(client, place, run)
    const written = BATCHES * run.length
    // What must be kept, the segment that is just not due, the one being written, and the indexes.
    const bound = RETENTION_BYTES + 2 * MIB + MIB / 8
    assert.ok(written > 5 * bound)
    await until('the disk is bounded', () => diskBytes(directory) <= bound)
    assert.ok(diskBytes(directory) >= RETENTION_BYTES, 'no more goes than is due')
    await until('what is deleted is gone', () => names(directory, '.deleted').length === 0)
  })

  test('shows clients a later start, and refuses older offsets cleanly', async () => {
    const offsets = await offsetsOf(place)
    earliest = offsets.earliest
    assert.equal(offsets.latest, BATCHES * BATCH_VALUES)
    const first = Number(names(directory, '.log').sort()[0]!.slice(0, 20))
    assert.equal(earliest, first)
    assert.ok(earliest > 0)
    await assertOutOfRange(place, earliest - 1, earliest)
    await assertOutOfRange(place, 0, earliest)
    const read = await readPartition(client, place, earliest)
    assert.equal(read.length, offsets.latest - earliest)
    assert.ok(read.every(({ value }) => value === VALUE))
  })

  test('is read by kcat from its new start on', (context) => {
    const args = ['-C', '-b', broker.bootstrap, '-t', place.topic, '-o', 'beginning', '-e', '-q']
    const kcat = spawnSync('kcat', [...args, '-f', '%o\n'], { encoding: 'utf8', timeout: 60_000 })
    if (kcat.error !== undefined) {
      context.skip('kcat is not installed')
      return
    }
    const offsets = kcat.stdout.trim().split('\n').map(Number)
    assert.equal(offsets[0], earliest)
    assert.equal(offsets.at(-1), BATCHES * BATCH_VALUES - 1)
    assert.equal(offsets.length, BATCHES * BATCH_VALUES - earliest)
  })

  for (const how of ['stop', 'kill'] as const) {
    test(`starts no earlier after a ${how}, and goes on`, async () => {
      const before = await offsetsOf(place)
      await stop(how)
      await start()
      assert.deepEqual(await offsetsOf(place), before)
      await assertOutOfRange(place, before.earliest - 1, before.earliest)
      assert.deepEqual(names(directory, '.deleted'), [])
      assert.equal(await appendOk(client, place, batchOf()), before.latest)
      const read = await readPartition(client, place, before.earliest)
      assert.equal(read.length, before.latest + 1 - before.earliest)
    })
  }
})

describe('a topic with retention.ms', () => {
  test('loses what is too old at the next pass, all of it, and keeps its offsets', async () => {
    await stop('stop')
    await start({ 'log.retention.check.interval.ms': '50' })
    const old = { 'retention.ms': '1000', 'segment.bytes': String(MIB) }
    const { place, directory } = await make('by-age', { ...old, 'file.delete.delay.ms': '0' })
    const forever = await make('for-ever', { 'retention.ms': '-1' })
    const compacted = await make('compacted', { ...old, 'cleanup.policy': 'compact' })
    const kept = await make('kept-a-while', old)
    for (const { topic } of [place, forever.place, compacted.place, kept.place]) {
      const spec = { values: ['one', 'two', 'three'], timestamp: TIMESTAMP_MS, isKeyed: true }
      await appendOk(client, { topic, partition: 0 }, batchOf(spec))
    }
    for (const { topic } of [place, kept.place]) {
      await until(`${topic} is emptied`, async () => {
        const { earliest, latest } = await offsetsOf({ topic, partition: 0 })
        return earliest === 3 && latest === 3
      })
    }
    await until('its file is removed', () => names(directory, '.deleted').length === 0)
    assert.deepEqual(names(directory, '.log'), ['00000000000000000003.log'])
    assert.equal(names(kept.directory, '.deleted').length, 1, 'file.delete.delay.ms is a minute')
    await assertOutOfRange(place, 2, 3)
    for (const { topic } of [forever.place, compacted.place]) {
      assert.deepEqual(await offsetsOf({ topic, partition: 0 }), { earliest: 0, latest: 3 })
    }
    const fresh = batchOf({ values: ['four'], timestamp: Date.now() + 60_000 })
    assert.equal(await appendOk(client, place, fresh), 3)
    assert.deepEqual(
      (await readPartition(client, place, 3)).map(({ offset, value }) => [offset, value]),
      [[3, 'four']],
    )
    assert.match(broker.output(), /retention deleted old segments/)
  })

  test('is still empty after a kill, and its deleted files are gone', async () => {
    const at = { topic: 'kept-a-while', partition: 0 } as const
    await stop('kill')
    await start()
    assert.deepEqual(await offsetsOf(at), { earliest: 3, latest: 3 })
    const deleted = readdirSync(dataDir, { recursive: true, encoding: 'utf8' })
    assert.deepEqual(
      deleted.filter((name) => name.endsWith('.deleted')),
      [],
    )
    assert.equal(await appendOk(client, at, batchOf()), 3)
  })
})
