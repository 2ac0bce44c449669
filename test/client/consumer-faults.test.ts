/**
 * What a consumer gives under faults of the connection: every event from where it began, once, in
 * order, and no more ahead of the application than its buffer allows.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Random } from '../../src/base/random.ts'
import { Consumer } from '../../src/client/consumer.ts'
import type { ConsumerRecord } from '../../src/client/consumer-options.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import type { FakePartition } from '../support/fake-log.ts'
import { withSeed } from '../support/seed.ts'
import { type Harness, harness, text } from './harness.ts'

const FILE = 'client/consumer-faults'
const ROUNDS = 15
const PARTITIONS = 3
const BATCHES = 150
const RECORD_BYTES = 400
const BATCH_BYTES_MAX = 20 * (RECORD_BYTES + 40)
const CODECS = [0, 1, 2, 3] as const

/** Appends a batch, now and then one that applications do not see. */
function append(random: Random, partition: FakePartition, isControl = random.chance(0.1)): void {
  const builder = new BatchBuilder()
  const count = isControl ? 1 : random.between(1, 20)
  for (let i = 0; i < count; i++) {
    const value = `${partition.logEndOffset + i}:${'y'.repeat(random.below(RECORD_BYTES))}`
    builder.append(1000 + partition.logEndOffset + i, null, value)
  }
  const compression = isControl ? 0 : random.pick(CODECS)
  const options = isControl ? { control: true, producerId: 1, producerEpoch: 0 } : { compression }
  const { code } = partition.append(builder.buildSync(options), isControl)
  assert.equal(code, 0)
}

/** What an application should see from `offset` on. */
function visible(partition: FakePartition, offset: number): number[] {
  const offsets: number[] = []
  for (const { lastOffset, bytes } of partition.batches) {
    if ((bytes[22]! & 0x20) !== 0) continue // A control batch.
    const first = lastOffset - new DataView(bytes.buffer).getInt32(23)
    for (let at = Math.max(first, offset); at <= lastOffset; at++) offsets.push(at)
  }
  return offsets
}

function wait({ timers }: Harness, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    timers.after(delayMs, resolve)
  })
}

async function produceMeanwhile(random: Random, h: Harness): Promise<void> {
  for (let i = 0; i < BATCHES; i++) {
    append(random, h.server.partition('t', random.below(PARTITIONS))!)
    h.server.appended()
    if (random.chance(0.1)) h.server.dropAll()
    await wait(h, random.below(60))
  }
}

async function take(random: Random, h: Harness, consumer: Consumer, until: () => boolean) {
  const got: ConsumerRecord[] = []
  const mode = random.chance(0.5)
  const iterator = mode ? consumer[Symbol.asyncIterator]() : consumer.batches()
  while (!until() || got.length < total(h)) {
    const { value } = await iterator.next()
    if ('records' in value) got.push(...value.records)
    else got.push(value)
    if (random.chance(0.05)) {
      const paused = random.below(PARTITIONS)
      consumer.pause('t', paused)
      h.timers.after(random.below(300), () => consumer.resume('t', paused))
    }
    if (random.chance(0.1)) await wait(h, random.below(50))
    // Long enough for everything that it may be pushed.
    if (random.chance(0.01)) await wait(h, 3000)
  }
  await iterator.return?.()
  return got
}

let starts: number[] = []

function total(h: Harness): number {
  let count = 0
  for (let i = 0; i < PARTITIONS; i++) {
    count += visible(h.server.partition('t', i)!, starts[i]!).length
  }
  return count
}

test('a consumer under faults, gives every event once and in order, within its buffer', () =>
  withSeed(FILE, async (random) => {
    for (let round = 0; round < ROUNDS; round++) {
      const h = harness(random, { pushBytes: random.pick([20_000, 1_000_000]) })
      const partitions = h.server.createTopic('t', PARTITIONS)
      for (let i = 0; i < 20; i++) append(random, random.pick(partitions))
      starts = partitions.map((one) => random.below(one.logEndOffset + 1))
      h.server.faults = {
        dropPush: random.pick([0, 0.1]),
        answerDelayMs: random.pick([0, 30]),
        refuseConnection: random.pick([0, 0.3]),
      }
      const bufferBytes = random.pick([3000, 30_000, 300_000])
      const assignments = starts.map((offset, partition) => ({ topic: 't', partition, offset }))
      const consumer = new Consumer(h.link, { assignments, bufferBytes, retryMinMs: 10 }, () => {})
      let heldMax = 0
      const watch = () => {
        heldMax = Math.max(heldMax, consumer.heldBytes)
        h.timers.after(1, watch)
      }
      watch()
      let isProduced = false
      const produced = produceMeanwhile(random, h).then(() => {
        // One event more, so that whoever waits for the last one sees that it was the last.
        isProduced = true
        append(random, partitions[0]!, false)
        h.server.appended()
      })
      const got = await h.timers.until(
        take(random, h, consumer, () => isProduced),
        3_600_000,
      )
      await h.timers.until(produced)
      for (let i = 0; i < PARTITIONS; i++) {
        const mine = got.filter((record) => record.partition === i)
        assert.deepEqual(
          mine.map(({ offset }) => offset),
          visible(partitions[i]!, starts[i]!),
        )
        for (const record of mine) {
          assert.ok(text(record.value)?.startsWith(`${record.offset}:`))
          assert.equal(record.timestamp, 1000 + record.offset)
        }
      }
      assert.ok(heldMax <= bufferBytes + PARTITIONS * BATCH_BYTES_MAX, `${heldMax} bytes held`)
      h.link.close()
      await h.timers.pass(100)
      assert.deepEqual(h.server.violations, [])
    }
  }))
