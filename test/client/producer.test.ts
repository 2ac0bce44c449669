import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import {
  BufferFullError,
  ClosedError,
  DeliveryError,
  MillraceError,
  ServerError,
  TimeoutError,
} from '../../src/client/errors.ts'
import { Producer } from '../../src/client/producer.ts'
import type { ProducerOptions } from '../../src/client/producer-options.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { partitionOfKey } from '../../src/record/murmur2.ts'
import type { FakeServerOptions } from '../support/fake-world.ts'
import { type Harness, harness, text } from './harness.ts'

function start(
  options: ProducerOptions = {},
  serverOptions: Partial<FakeServerOptions> = {},
): Harness & { producer: Producer } {
  const h = harness(new Random(1), serverOptions)
  return { ...h, producer: new Producer(h.link, options, () => {}) }
}

function values({ server }: Harness, partition: number, topic = 't'): (string | null)[] {
  const records = server.partition(topic, partition)?.records() ?? []
  return records.map(({ value }) => text(value))
}

test('send resolves with where the event is, and stores key, value, headers and timestamp', async () => {
  const { timers, server, producer } = start()
  server.createTopic('t', 1)
  const headers = [
    { key: 'a', value: Uint8Array.of(1) },
    { key: 'ü', value: 'text' },
    { key: 'none', value: null },
  ]
  const first = producer.send({ topic: 't', key: 'k', value: 'schön', headers, timestamp: 77 })
  const second = producer.send({ topic: 't', value: null })
  assert.deepEqual(await timers.until(first), {
    topic: 't',
    partition: 0,
    offset: 0,
    timestamp: 77,
  })
  assert.equal((await timers.until(second)).offset, 1)
  const [record, empty] = server.partition('t', 0)!.records()
  assert.equal(text(record!.key), 'k')
  assert.equal(text(record!.value), 'schön')
  assert.deepEqual(
    record!.headers.map(({ key, value }) => [key, text(value)]),
    [
      ['a', '\u0001'],
      ['ü', 'text'],
      ['none', null],
    ],
  )
  assert.equal(empty!.key, null)
  assert.equal(empty!.value, null)
  assert.ok(empty!.timestamp > 1_600_000_000_000)
  assert.equal(server.partition('t', 0)!.batches.length, 1)
})

test('events with a key go where the hash of the key says, as text and as bytes', async () => {
  const h = start()
  h.server.createTopic('t', 7)
  for (const key of ['21', 'foobar', 'ключ', 'k'.repeat(3000)]) {
    const bytes = new TextEncoder().encode(key)
    const expected = partitionOfKey(bytes, 7)
    const sent = [key, bytes].map((one) => h.producer.send({ topic: 't', key: one, value: 'v' }))
    for (const { partition } of await h.timers.until(Promise.all(sent))) {
      assert.equal(partition, expected)
    }
  }
})

test('events without a key fill one batch after another, in changing partitions', async () => {
  const h = start({ batchBytes: 1000, lingerMs: 1 })
  h.server.createTopic('t', 4)
  const sent = Array.from({ length: 400 }, () =>
    h.producer.send({ topic: 't', value: 'x'.repeat(90) }),
  )
  const places = await h.timers.until(Promise.all(sent))
  const changes = places.filter(
    ({ partition }, i) => i > 0 && partition !== places[i - 1]?.partition,
  )
  assert.equal(new Set(places.map(({ partition }) => partition)).size, 4)
  assert.ok(changes.length >= 30 && changes.length <= 50, `${changes.length} changes`)
})

test('roundRobin and a function choose the partition; a wrong choice is refused', async () => {
  const h = harness(new Random(2))
  h.server.createTopic('t', 3)
  const robin = new Producer(h.link, { partitioner: 'roundRobin' }, () => {})
  const sent = [0, 1, 2, 3].map(() => robin.send({ topic: 't', value: 'x' }))
  const got = (await h.timers.until(Promise.all(sent))).map(({ partition }) => partition)
  assert.deepEqual(
    got.map((partition) => (partition - got[0]! + 3) % 3),
    [0, 1, 2, 0],
  )
  const custom = new Producer(h.link, { partitioner: ({ value }) => Number(value) }, () => {})
  assert.equal((await h.timers.until(custom.send({ topic: 't', value: '2' }))).partition, 2)
  await assert.rejects(h.timers.until(custom.send({ topic: 't', value: '3' })), RangeError)
  await assert.rejects(h.timers.until(custom.send({ topic: '', value: '3' })), TypeError)
})

test('a partition that is new, is found; one that does not exist is refused', async () => {
  const h = start({ deliveryTimeoutMs: 60_000 })
  h.server.createTopic('t', 1)
  await h.timers.until(h.producer.send({ topic: 't', value: 'a' }))
  h.server.createTopic('t', 3)
  const place = await h.timers.until(h.producer.send({ topic: 't', partition: 2, value: 'b' }))
  assert.equal(place.partition, 2)
  const missing = h.producer.send({ topic: 't', partition: 9, value: 'c' })
  await assert.rejects(h.timers.until(missing), (error: unknown) => {
    return error instanceof ServerError && error.code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
  })
})

test('new partitions are used after the refresh', async () => {
  const h = start({ metadataRefreshMs: 1000, partitioner: 'roundRobin' })
  h.server.createTopic('t', 1)
  await h.timers.until(h.producer.send({ topic: 't', value: 'a' }))
  h.server.createTopic('t', 2)
  await h.timers.pass(1100)
  const sent = [0, 1].map(() => h.producer.send({ topic: 't', value: 'x' }))
  const got = (await h.timers.until(Promise.all(sent))).map(({ partition }) => partition)
  assert.deepEqual(got.sort(), [0, 1])
})

test('a topic that is missing, is created where the broker does that, and refused elsewhere', async () => {
  const h = start()
  const refused = h.producer.send({ topic: 'no', value: 'a' })
  await assert.rejects(h.timers.until(refused), { code: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION })
  h.server.autoCreate = 2
  const sent = [1, 2, 3].map((i) => h.producer.send({ topic: 'yes', partition: 1, value: `${i}` }))
  await h.timers.until(Promise.all(sent))
  assert.deepEqual(values(h, 1, 'yes'), ['1', '2', '3'])
})

test('send waits for room in the buffer, and a signal ends the wait but not what is sent', async () => {
  const h = start({ bufferBytes: 1000, deliveryTimeoutMs: 60_000 })
  h.server.createTopic('t', 1)
  await h.timers.until(h.producer.send({ topic: 't', value: 'first' }))
  h.server.isDown = true
  h.server.dropAll()
  await h.timers.pass(50)
  const abort = new AbortController()
  const held = h.producer.send({ topic: 't', value: 'a'.repeat(900) }, { signal: abort.signal })
  const waits = h.producer.send({ topic: 't', value: 'b'.repeat(900) }, { signal: abort.signal })
  const later = h.producer.send({ topic: 't', value: 'c' })
  assert.ok(h.producer.bufferedBytes - h.producer.waitingBytes <= 1000)
  abort.abort(new Error('enough'))
  await assert.rejects(held, /enough/)
  await assert.rejects(waits, /enough/)
  h.server.isDown = false
  await h.timers.until(later)
  assert.deepEqual(values(h, 0), ['first', 'a'.repeat(900), 'c'])
  await assert.rejects(h.producer.send({ topic: 't' }, { signal: AbortSignal.abort() }))
})

test('produce says when the buffer is full, and ready when there is room', async () => {
  const h = start({ bufferBytes: 500 })
  h.server.createTopic('t', 1)
  let count = 0
  while (h.producer.produce({ topic: 't', value: 'x'.repeat(50) })) count++
  assert.throws(() => h.producer.produce({ topic: 't', value: 'x' }), BufferFullError)
  await h.timers.until(h.producer.ready())
  assert.ok(h.producer.produce({ topic: 't', value: 'y' }))
  await h.timers.until(h.producer.flush())
  assert.equal(values(h, 0).length, count + 2)
  assert.equal(h.producer.bufferedBytes, 0)
})

test('flush does not linger, and rejects once when events without a promise failed', async () => {
  const h = start({ lingerMs: 60_000, batchBytes: 1000 })
  h.server.createTopic('t', 1)
  h.server.partition('t', 0)!.batchBytesMax = 500
  const before = h.timers.monotonicMs()
  h.producer.produce({ topic: 't', value: 'x'.repeat(600) })
  await assert.rejects(h.timers.until(h.producer.flush()), (error: unknown) => {
    return error instanceof MillraceError && error.code === ErrorCode.MESSAGE_TOO_LARGE
  })
  h.producer.produce({ topic: 't', value: 'fits' })
  await h.timers.until(h.producer.flush())
  assert.ok(h.timers.monotonicMs() - before < 1000)
  assert.deepEqual(values(h, 0), ['fits'])
})

test('lingering gathers events in one batch; a full batch does not wait', async () => {
  const h = start({ lingerMs: 100, batchBytes: 1000 })
  h.server.createTopic('t', 1)
  await h.timers.until(h.producer.send({ topic: 't', value: 'warm' }))
  const startMs = h.timers.monotonicMs()
  const first = h.producer.send({ topic: 't', value: 'a' })
  await h.timers.pass(50)
  const second = h.producer.send({ topic: 't', value: 'b' })
  await h.timers.until(Promise.all([first, second]))
  const tookMs = h.timers.monotonicMs() - startMs
  assert.ok(tookMs >= 100 && tookMs < 110, `${tookMs} ms`)
  assert.equal(h.server.partition('t', 0)!.batches.length, 2)
  const fullAtMs = h.timers.monotonicMs()
  const full = Array.from({ length: 11 }, () =>
    h.producer.send({ topic: 't', value: 'x'.repeat(100) }),
  )
  await h.timers.until(full[0]!)
  assert.ok(h.timers.monotonicMs() - fullAtMs < 20)
})

test('an event that is not delivered in time, fails and says whether it may be stored', async () => {
  const h = start({ deliveryTimeoutMs: 2000 })
  h.server.createTopic('t', 1)
  await h.timers.until(h.producer.send({ topic: 't', value: 'a' }))
  h.server.faults = { loseAnswer: 0.999999999 }
  const lost = h.producer.send({ topic: 't', value: 'lost' })
  await assert.rejects(h.timers.until(lost), (error: unknown) => {
    return error instanceof DeliveryError && error.inDoubt && !error.retriable
  })
  h.server.faults = {}
  h.server.isDown = true
  h.server.dropAll()
  await h.timers.pass(10)
  const never = h.producer.send({ topic: 't', value: 'never' })
  await assert.rejects(h.timers.until(never), (error: unknown) => {
    const isLate = error instanceof DeliveryError && error.cause instanceof TimeoutError
    return isLate && !error.inDoubt && error.retriable
  })
  h.server.isDown = false
  assert.equal((await h.timers.until(h.producer.send({ topic: 't', value: 'b' }))).offset, 2)
  assert.deepEqual(values(h, 0), ['a', 'lost', 'b'])
})

test('a broker that forgot the producer, is written to under a new producer id', async () => {
  const h = start({ inFlight: 1, retryMinMs: 1 })
  const [partition] = h.server.createTopic('t', 1)
  await h.timers.until(h.producer.send({ topic: 't', value: 'a' }))
  // One that knows another sequence than ours: the refusal is certain, nothing is in doubt.
  partition!.refuseSequences = 1
  const place = await h.timers.until(h.producer.send({ topic: 't', value: 'b' }))
  assert.equal(place.offset, 1)
  assert.equal(h.server.nextProducerId, 1002)
  assert.deepEqual(values(h, 0), ['a', 'b'])
})

test('a batch in doubt that the broker does not know, fails; what follows is stored', async () => {
  const h = start({ retryMinMs: 1, lingerMs: 0 })
  const [partition] = h.server.createTopic('t', 1)
  await h.timers.until(h.producer.send({ topic: 't', value: 'a' }))
  h.server.faults = { dropAfter: 0.999999999 }
  const doubtful = h.producer.send({ topic: 't', value: 'doubtful' })
  await h.timers.pass(8)
  h.server.faults = {}
  partition!.refuseSequences = 1
  const next = h.producer.send({ topic: 't', value: 'next' })
  await assert.rejects(h.timers.until(doubtful), (error: unknown) => {
    const code = ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    return error instanceof DeliveryError && error.inDoubt && error.code === code
  })
  await h.timers.until(next)
  assert.deepEqual(values(h, 0), ['a', 'doubtful', 'next'])
})

test('a batch that is refused for good, fails alone', async () => {
  const h = start({ batchBytes: 300, lingerMs: 0, inFlight: 5 })
  h.server.createTopic('t', 1)
  await h.timers.until(h.producer.send({ topic: 't', value: 'a' }))
  h.server.partition('t', 0)!.batchBytesMax = 400
  const sent = ['b', 'c'.repeat(500), 'd', 'e'].map((value) =>
    h.producer.send({ topic: 't', value }),
  )
  const results = await h.timers.until(Promise.allSettled(sent))
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
  )
  assert.deepEqual(values(h, 0), ['a', 'b', 'd', 'e'])
})

test('an event that no message can carry, is refused without a word to the server', async () => {
  const h = start({}, { messageBytes: 5000 })
  h.server.createTopic('t', 1)
  const sent = ['x'.repeat(6000), 'ok'].map((value) => h.producer.send({ topic: 't', value }))
  const [large, small] = await h.timers.until(Promise.allSettled(sent))
  assert.ok(large?.status === 'rejected' && large.reason.code === ErrorCode.MESSAGE_TOO_LARGE)
  assert.equal(small?.status, 'fulfilled')
  assert.deepEqual(h.server.violations, [])
})

test('acks 0 resolves when it is sent, and its credits come home', async () => {
  const h = start({ acks: 0, batchBytes: 1000, lingerMs: 0 }, { credits: 4000, creditsMax: 0 })
  h.server.createTopic('t', 1)
  for (let i = 0; i < 50; i++) {
    const place = await h.timers.until(h.producer.send({ topic: 't', value: 'x'.repeat(900) }))
    assert.equal(place.offset, -1)
  }
  await h.timers.pass(100)
  assert.equal(values(h, 0).length, 50)
  assert.deepEqual(h.server.violations, [])
})

test('options that contradict each other, are refused', () => {
  const { link } = harness(new Random(1))
  const wrong: [ProducerOptions, typeof TypeError | typeof RangeError][] = [
    [{ acks: 1, idempotent: true }, TypeError],
    [{ inFlight: 6 }, RangeError],
    [{ batchBytes: 0 }, RangeError],
    [{ compression: 'brotli' as 'gzip' }, TypeError],
  ]
  for (const [options, kind] of wrong) {
    assert.throws(() => new Producer(link, options, () => {}), kind, JSON.stringify(options))
  }
})

test('close sends what there is; afterwards nothing is taken', async () => {
  const h = start({ lingerMs: 60_000 })
  h.server.createTopic('t', 1)
  const sent = h.producer.send({ topic: 't', value: 'a' })
  await h.timers.until(h.producer.close())
  assert.equal((await sent).offset, 0)
  await assert.rejects(h.producer.send({ topic: 't', value: 'b' }), ClosedError)
  assert.throws(() => h.producer.produce({ topic: 't', value: 'b' }), ClosedError)
})

test('close with a signal gives up what the server does not take', async () => {
  const h = start()
  h.server.isDown = true
  const sent = h.producer.send({ topic: 't', value: 'a' })
  sent.catch(() => {})
  const abort = new AbortController()
  const closed = h.producer.close({ signal: abort.signal })
  await h.timers.pass(100)
  abort.abort(new Error('no longer'))
  await assert.rejects(h.timers.until(closed), /no longer/)
  await assert.rejects(sent, ClosedError)
})

test('sendMany resolves in order, or rejects with the first failure', async () => {
  const h = start({ batchBytes: 200 })
  h.server.createTopic('t', 2)
  const records = Array.from({ length: 40 }, (_, i) => {
    return { topic: 't', partition: i % 2, value: `${i}` }
  })
  const places = await h.timers.until(h.producer.sendMany(records))
  assert.deepEqual(
    places.map(({ partition, offset }) => [partition, offset]),
    records.map((_, i) => [i % 2, i >> 1]),
  )
  const wrong = [
    { topic: 't', value: 'a' },
    { topic: 't', value: 'b', timestamp: 0.5 },
  ]
  await assert.rejects(h.timers.until(h.producer.sendMany(wrong)), RangeError)
})
