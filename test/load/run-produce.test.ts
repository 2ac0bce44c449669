/** Whole runs against brokers that keep their word, and brokers that do not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runProduce } from '../../src/load/run-produce.ts'
import type { ProduceSettings } from '../../src/load/settings.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { FakeKafka, type Lies } from './fake-kafka.ts'

async function run(lies: Lies, changes: Partial<ProduceSettings> = {}) {
  const fake = await FakeKafka.start(3, lies)
  try {
    const settings: ProduceSettings = {
      driver: 'kafka',
      kafka: { host: '127.0.0.1', port: fake.port },
      url: '',
      topic: 'lies',
      topics: 1,
      partitions: null,
      dataDirs: [],
      brokerPids: [],
      warmUpMs: 20,
      durationMs: 200,
      source: 'prebuilt',
      eventBytes: 100,
      batchBytes: 2000,
      lingerMs: 1,
      producers: 2,
      connections: 2,
      inFlight: 2,
      keys: 10,
      compression: 'none',
      acks: -1,
      rate: null,
      payloadFile: null,
      seed: 1,
      pacing: 'sleep',
      deleteTopics: false,
      ...changes,
    }
    const events = { ready: () => {}, measure: () => {} }
    const { signal } = new AbortController()
    return { ...(await runProduce(settings, { signal, events })), firstAsked: fake.firstAsked }
  } finally {
    fake.stop()
  }
}

test('runProduce, an honest broker, is verified, by either source, open and closed', async () => {
  for (const source of ['prebuilt', 'client'] as const) {
    for (const rate of [null, 5000]) {
      const { result, distribution } = await run({}, { source, rate })
      assert.equal(result.problem, null, `${source} ${rate}`)
      assert.equal(result.verified, true)
      assert.equal(result.partitions, 3)
      assert.equal(result.mode, rate === null ? 'closed' : 'open')
      assert.ok(result.events > 0 && result.bytes > result.events * 100)
      assert.ok(result.sourceText.startsWith(source))
      assert.match(result.bytesOnDisk, /cannot be asked/)
      assert.match(distribution, /#\[Max {5}=/)
    }
  }
})

test('runProduce says something on each connection: not every one gets a batch soon', async () => {
  const { firstAsked } = await run({})
  assert.ok(firstAsked.length > 2)
  assert.deepEqual(new Set(firstAsked), new Set([ApiKey.API_VERSIONS]))
})

test('runProduce, compression, of every codec', async () => {
  for (const compression of ['gzip', 'snappy', 'lz4', 'zstd'] as const) {
    for (const source of ['prebuilt', 'client'] as const) {
      const { result } = await run({}, { compression, source, durationMs: 100 })
      assert.equal(result.problem, null, `${source} ${compression}`)
    }
  }
})

test('runProduce, a broker that stores an event twice, is found out', async () => {
  const { result } = await run({ stores: (events, n) => (n === 5 ? events + 1 : events) })
  assert.equal(result.verified, false)
  assert.match(result.problem ?? '', /lies-0-\d: \d+ events were acknowledged.*does somebody else/)
})

test('runProduce, a broker that loses what it acknowledged, is found out', async () => {
  const { result } = await run({ stores: (events, n) => (n === 5 ? events - 1 : events) })
  assert.match(result.problem ?? '', /lies-0-\d: \d+ events were acknowledged, and its end offset/)
})

test('runProduce, a refusal, ends the run and is named', async () => {
  const { result } = await run({ errorCode: (n) => (n === 7 ? 10 : 0) }, { durationMs: 60_000 })
  assert.equal(result.stoppedBy, 'refused')
  assert.match(result.problem ?? '', /the broker refused \d requests?: MESSAGE_TOO_LARGE/)
})

test('runProduce, a lost connection, is named, and its request counts as unanswered', async () => {
  const { result } = await run({ closesAt: 9 })
  assert.equal(result.brokenConnections, 1)
  assert.match(result.problem ?? '', /one connection broke: the broker closed the connection/)
  assert.ok(result.unanswered >= 1)
})

test('runProduce, a topic of another size, is refused with what to do', async () => {
  await assert.rejects(run({}, { partitions: 8 }), /topic lies-0 has 3 partitions, not 8: leave/)
})

test('runProduce, nobody there, says so', async () => {
  const kafka = { host: '127.0.0.1', port: 1 }
  await assert.rejects(run({}, { kafka }), /cannot connect to 127\.0\.0\.1:1: nothing listens/)
})
