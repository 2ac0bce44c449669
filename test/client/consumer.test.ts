import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { Consumer } from '../../src/client/consumer.ts'
import type { ConsumerOptions, ConsumerRecord } from '../../src/client/consumer-options.ts'
import { MillraceError } from '../../src/client/errors.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import type { FakePartition } from '../support/fake-log.ts'
import type { FakeServerOptions } from '../support/fake-world.ts'
import { type Harness, harness } from './harness.ts'

function start(
  options: ConsumerOptions,
  serverOptions: Partial<FakeServerOptions> = {},
): Harness & { consumer: Consumer } {
  const h = harness(new Random(1), serverOptions)
  return { ...h, consumer: new Consumer(h.link, options, () => {}) }
}

/** Appends a batch of `count` events, whose timestamps are their offsets in thousands. */
function append(partition: FakePartition, count: number, bytes = 1): void {
  const builder = new BatchBuilder()
  for (let i = 0; i < count; i++) {
    builder.append((partition.logEndOffset + i) * 1000, null, 'x'.repeat(bytes))
  }
  assert.equal(partition.append(builder.buildSync()).code, 0)
}

async function take(h: Harness, consumer: Consumer, count: number): Promise<ConsumerRecord[]> {
  const iterator = consumer[Symbol.asyncIterator]()
  const got: ConsumerRecord[] = []
  while (got.length < count) {
    const { value } = await h.timers.until(iterator.next())
    got.push(value)
  }
  return got
}

const offsets = (records: readonly ConsumerRecord[]) => records.map(({ offset }) => offset)

test('a consumer begins at an offset, an end, or a time', async () => {
  const cases: [ConsumerOptions['from'], number][] = [
    ['earliest', 2],
    ['latest', 10],
    [7, 7],
    [{ timestamp: 4500 }, 5],
    [{ timestamp: 99_000 }, 10],
  ]
  for (const [from, expected] of cases) {
    const h = harness(new Random(1))
    const [partition] = h.server.createTopic('t', 1)
    append(partition!, 4)
    append(partition!, 6)
    partition!.logStartOffset = 2
    const assignments = [{ topic: 't', partition: 0 }]
    const options = from === undefined ? { assignments } : { assignments, from }
    const consumer = new Consumer(h.link, options, () => {})
    await h.timers.pass(50)
    assert.equal(consumer.position('t', 0), expected, JSON.stringify(from))
    append(partition!, 1)
    h.server.appended()
    const [first] = await take(h, consumer, 1)
    assert.equal(first?.offset, expected)
    assert.equal(consumer.position('t', 0), expected + 1)
  }
})

test('topics are read whole, and partitions that are added from their beginning', async () => {
  const h = start({ topics: ['t'], from: 'latest', metadataRefreshMs: 1000 })
  const [first] = h.server.createTopic('t', 1)
  append(first!, 5)
  await h.timers.pass(100)
  append(h.server.createTopic('t', 2)[1]!, 2)
  await h.timers.pass(1500)
  append(first!, 1)
  h.server.appended()
  const got = await take(h, h.consumer, 3)
  const seen = got.map(({ partition, offset }) => `${partition}:${offset}`)
  assert.deepEqual(seen.sort(), ['0:5', '1:0', '1:1'])
})

test('a topic that does not exist, is said in the loop', async () => {
  const h = start({ topics: ['no'] })
  await assert.rejects(take(h, h.consumer, 1), { code: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION })
  const assigned = start({ assignments: [{ topic: 'no', partition: 0 }] })
  const taken = take(assigned, assigned.consumer, 1)
  await assert.rejects(taken, { code: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION })
})

test('an offset out of range: an error, or an end of the log', async () => {
  const cases: ['earliest' | 'latest' | 'error', number][] = [
    ['earliest', 3],
    ['latest', 10],
    ['error', -1],
  ]
  for (const [offsetReset, expected] of cases) {
    for (const offset of [0, 50]) {
      const assignments = [{ topic: 't', partition: 0, offset }]
      const h = start({ assignments, offsetReset })
      const [partition] = h.server.createTopic('t', 1)
      append(partition!, 10)
      partition!.logStartOffset = 3
      h.timers.after(500, () => {
        append(partition!, 1)
        h.server.appended()
      })
      const first = take(h, h.consumer, 1)
      if (expected >= 0) assert.equal((await first)[0]?.offset, expected)
      else {
        await assert.rejects(first, (error: unknown) => {
          return error instanceof MillraceError && error.code === ErrorCode.OFFSET_OUT_OF_RANGE
        })
        h.consumer.seek('t', 0, 8)
        assert.deepEqual(offsets(await take(h, h.consumer, 2)), [8, 9])
      }
    }
  }
})

test('records that are deleted while they are read, make the reset, not a gap without a word', async () => {
  const h = start({
    assignments: [{ topic: 't', partition: 0, offset: 0 }],
    offsetReset: 'earliest',
    bufferBytes: 1,
  })
  const [partition] = h.server.createTopic('t', 1)
  for (let i = 0; i < 10; i++) append(partition!, 1)
  assert.deepEqual(offsets(await take(h, h.consumer, 1)), [0])
  partition!.logStartOffset = 7
  assert.deepEqual(offsets(await take(h, h.consumer, 3)), [7, 8, 9])
})

test('seek drops what was fetched and reads on from there', async () => {
  const h = start({ assignments: [{ topic: 't', partition: 0, offset: 0 }] })
  const [partition] = h.server.createTopic('t', 1)
  for (let i = 0; i < 10; i++) append(partition!, 3)
  assert.deepEqual(offsets(await take(h, h.consumer, 4)), [0, 1, 2, 3])
  h.consumer.seek('t', 0, 20)
  assert.equal(h.consumer.position('t', 0), 20)
  assert.deepEqual(offsets(await take(h, h.consumer, 3)), [20, 21, 22])
  h.consumer.seek('t', 0, 'earliest')
  h.consumer.seek('t', 0, { timestamp: 25_000 })
  assert.deepEqual(offsets(await take(h, h.consumer, 2)), [25, 26])
  h.consumer.seek('t', 0, 'earliest')
  assert.deepEqual(offsets(await take(h, h.consumer, 1)), [0])
  assert.throws(() => h.consumer.seek('t', 1, 0), RangeError)
  assert.throws(() => h.consumer.seek('t', 0, -1), RangeError)
})

test('a paused partition gives nothing until it is resumed, and the others go on', async () => {
  const assignments = [0, 1].map((partition) => ({ topic: 't', partition, offset: 0 }))
  const h = start({ assignments })
  for (const partition of h.server.createTopic('t', 2)) {
    for (let i = 0; i < 3; i++) append(partition, 2)
  }
  h.consumer.pause('t', 0)
  const got = await take(h, h.consumer, 6)
  assert.ok(got.every(({ partition }) => partition === 1))
  h.consumer.resume('t', 0)
  const rest = await take(h, h.consumer, 6)
  assert.deepEqual(offsets(rest), [0, 1, 2, 3, 4, 5])
  assert.ok(rest.every(({ partition }) => partition === 0))
})

test('batches gives arrays of one partition', async () => {
  const h = start({ assignments: [{ topic: 't', partition: 0, offset: 1 }] })
  const [partition] = h.server.createTopic('t', 1)
  append(partition!, 3)
  append(partition!, 2)
  const batches = h.consumer.batches()
  const first = await h.timers.until(batches.next())
  const second = await h.timers.until(batches.next())
  assert.deepEqual(offsets(first.value.records), [1, 2])
  assert.deepEqual(offsets(second.value.records), [3, 4])
  assert.equal(h.consumer.position('t', 0), 5)
})

test('an application that does not take, is pushed no more than its buffer', async () => {
  const h = start({ assignments: [{ topic: 't', partition: 0, offset: 0 }], bufferBytes: 5000 })
  const [partition] = h.server.createTopic('t', 1)
  for (let i = 0; i < 50; i++) append(partition!, 1, 900)
  await h.timers.pass(1000)
  assert.ok(h.consumer.heldBytes >= 4000 && h.consumer.heldBytes <= 6000)
  assert.equal((await take(h, h.consumer, 50)).length, 50)
})

test('leaving the loop unsubscribes and ends the consumer', async () => {
  const h = start({ assignments: [{ topic: 't', partition: 0, offset: 0 }] })
  const [partition] = h.server.createTopic('t', 1)
  append(partition!, 3)
  const loop = async () => {
    for await (const record of h.consumer) if (record.offset === 1) break
  }
  await h.timers.until(loop())
  const [connection] = h.server.connections
  assert.equal(connection?.subscriptionsCount, 0)
  const { done } = await h.consumer[Symbol.asyncIterator]().next()
  assert.equal(done, true)
})

test('a signal ends the wait with its reason', async () => {
  const abort = new AbortController()
  const h = start({ assignments: [{ topic: 't', partition: 0 }], signal: abort.signal })
  h.server.createTopic('t', 1)
  const next = h.consumer[Symbol.asyncIterator]().next()
  const batchAbort = new AbortController()
  h.timers.after(10, () => abort.abort(new Error('enough')))
  await assert.rejects(h.timers.until(next), /enough/)
  const other = start({ assignments: [{ topic: 't', partition: 0 }] })
  other.server.createTopic('t', 1)
  const batch = other.consumer.batches({ signal: batchAbort.signal }).next()
  other.timers.after(10, () => batchAbort.abort(new Error('that too')))
  await assert.rejects(other.timers.until(batch), /that too/)
  await other.timers.until(other.consumer.close())
})

test('a batch that is corrupt, is said and not passed on', async () => {
  const h = start({ assignments: [{ topic: 't', partition: 0, offset: 0 }] })
  const [partition] = h.server.createTopic('t', 1)
  append(partition!, 1)
  append(partition!, 1)
  partition!.batches[0]!.bytes[65]! ^= 1
  await assert.rejects(take(h, h.consumer, 1), { code: ErrorCode.CORRUPT_MESSAGE })
  h.consumer.seek('t', 0, 1)
  assert.deepEqual(offsets(await take(h, h.consumer, 1)), [1])
})

test('more consumers than push credits or subscriptions, are told so', async () => {
  const h = start({ assignments: [{ topic: 't', partition: 0 }] }, { pushBytes: 1000 })
  h.server.createTopic('t', 1)
  const second = new Consumer(h.link, { assignments: [{ topic: 't', partition: 0 }] }, () => {})
  await assert.rejects(take(h, second, 1), { code: ErrorCode.POLICY_VIOLATION })
})

test('options that make no sense, are refused', () => {
  const { link } = harness(new Random(1))
  const place = { topic: 't', partition: 0 }
  const wrong: ConsumerOptions[] = [
    {},
    { assignments: [place, place] },
    { assignments: [{ ...place, offset: -5 }] },
    { topics: ['t'], from: 1.5 },
    { topics: ['t'], offsetReset: 'none' as 'error' },
    { topics: ['t'], bufferBytes: 0 },
  ]
  for (const options of wrong) {
    assert.throws(() => new Consumer(link, options, () => {}), JSON.stringify(options))
  }
})
