/**
 * Clients that misbehave, against a broker with little memory: those that do not read, those that
 * send faster than is written, those that never finish. Memory stays bounded, others are served
 * meanwhile, and what was acknowledged is there.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import {
  appendOk,
  batchOf,
  createTopic,
  FETCH_BY_NAME,
  fetchBody,
  listOffset,
  PRODUCE_BY_NAME,
  produceBody,
  readPartition,
} from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

const MIB = 1024 * 1024
/** The least that the options allow. */
const INGRESS_BYTES = 16 * MIB
const EGRESS_BYTES = 4 * MIB
const SHARDS = 3
/** What a broker of this size may grow by under any of these attacks: arenas, spills, JS heap. */
const GROWTH_BYTES_MAX = 160 * MIB
const LATEST = -1

let broker: TestBroker
let client: RawClient
let startBytes: number

before(async () => {
  const set = {
    'millrace.arena.ingress.bytes': String(INGRESS_BYTES),
    'millrace.arena.egress.bytes': String(EGRESS_BYTES),
  }
  broker = await startBroker({ shards: SHARDS, set })
  startBytes = residentBytes()
})

beforeEach(async () => {
  client = await RawClient.open(broker.port)
})

afterEach(() => client?.close())

after(async () => {
  await broker?.stop()
  broker?.cleanUp()
})

function residentBytes(): number {
  const status = readFileSync(`/proc/${broker.pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
}

function assertMemory(): void {
  const grown = residentBytes() - startBytes
  assert.ok(grown < GROWTH_BYTES_MAX, `resident memory has grown by ${grown} bytes`)
}

/** One append and one read of it, by a client that behaves. */
async function assertServed(topic: string): Promise<void> {
  const offset = await appendOk(client, { topic, partition: 1 }, batchOf({ values: ['served'] }))
  const read = await readPartition(client, { topic, partition: 1 }, offset)
  assert.equal(read[0]?.value, 'served')
}

const openMany = (count: number): Promise<RawClient[]> =>
  Promise.all(Array.from({ length: count }, () => RawClient.open(broker.port)))

function closeAll(clients: readonly RawClient[]): void {
  for (const one of clients) one.close()
}

/** Starts an exchange that may end with its connection; nobody waits for it. */
function ignore(answer: Promise<unknown>): void {
  answer.catch(() => {})
}

describe('a consumer that pipelines fetches and never reads', () => {
  test('costs bounded memory and nobody else their data', async () => {
    const topic = 'unread'
    await createTopic(client, { name: topic, partitions: 3 })
    for (let i = 0; i < 40; i++) {
      const batch = batchOf({ values: [Buffer.alloc(200_000, i)] })
      await appendOk(client, { topic, partition: i % 3 }, batch)
    }
    const readers = await openMany(3)
    try {
      const body = fetchBody({
        topic,
        partitions: [0, 1, 2].map((partition) => ({ partition, fetchOffset: 0 })),
        maxBytes: 8 * MIB,
      })
      for (const reader of readers) {
        reader.socket.pause()
        for (let i = 0; i < 100; i++) ignore(reader.request(ApiKey.FETCH, FETCH_BY_NAME, body))
      }
      for (let i = 0; i < 20; i++) {
        await assertServed(topic)
        assertMemory()
      }
    } finally {
      closeAll(readers)
    }
    // What they held came back.
    assert.equal((await readPartition(client, { topic, partition: 0 })).length, 14)
  })

  test('is closed when there are so many of them that no memory is left', async () => {
    const topic = 'unread-by-many'
    await createTopic(client, { name: topic, partitions: 3 })
    for (let i = 0; i < 30; i++) {
      await appendOk(
        client,
        { topic, partition: i % 3 },
        batchOf({ values: [Buffer.alloc(90_000)] }),
      )
    }
    const readers = await openMany(60)
    try {
      const partitions = [0, 1, 2].map((partition) => ({ partition, fetchOffset: 0 }))
      for (const reader of readers) {
        reader.socket.pause()
        const body = fetchBody({ topic, partitions })
        for (let i = 0; i < 20; i++) ignore(reader.request(ApiKey.FETCH, FETCH_BY_NAME, body))
      }
      await assertServed(topic)
      assertMemory()
    } finally {
      closeAll(readers)
    }
    await assertServed(topic)
  })

  test('gets every answer in order once it reads', async () => {
    const topic = 'late'
    await createTopic(client, { name: topic, partitions: 3 })
    await appendOk(client, { topic, partition: 0 }, batchOf({ values: [Buffer.alloc(100_000)] }))
    const reader = await RawClient.open(broker.port)
    try {
      reader.socket.pause()
      const spec = { topic, partitions: [{ partition: 0, fetchOffset: 0 }] }
      const answers = Array.from({ length: 200 }, () =>
        reader.request(ApiKey.FETCH, FETCH_BY_NAME, fetchBody(spec)),
      )
      await assertServed(topic)
      reader.socket.resume()
      for (const answer of await Promise.all(answers)) {
        assert.equal(answer.responses[0]!.partitions[0]!.errorCode, ErrorCode.NONE)
        assert.ok((answer.responses[0]!.partitions[0]!.records?.length ?? 0) > 100_000)
      }
    } finally {
      reader.close()
    }
  })
})

describe('producers that send more than fits', () => {
  test('are slowed down: memory is bounded, all is acknowledged and there', async () => {
    const topic = 'flood'
    await createTopic(client, { name: topic, partitions: 6 })
    const clients = await openMany(32)
    const bytes = 200_000
    const perClient = 12
    try {
      const appended = clients.flatMap((one, c) =>
        Array.from({ length: perClient }, async (_, i) => {
          // Skewed: half of it goes to one partition.
          const at = { topic, partition: i % 2 === 0 ? 5 : (c + i) % 6 }
          const records = batchOf({ values: [`${c}/${i}/`.padEnd(bytes, 'x')] })
          const body = produceBody([{ ...at, records }])
          const answer = await one.request(ApiKey.PRODUCE, PRODUCE_BY_NAME, body)
          const { errorCode, baseOffset } = answer.responses[0]!.partitionResponses[0]!
          assert.equal(errorCode, ErrorCode.NONE)
          return { ...at, baseOffset, head: `${c}/${i}/` }
        }),
      )
      const all = await Promise.all(appended)
      assertMemory()
      assert.equal(all.length, 32 * perClient)
      for (let partition = 0; partition < 6; partition++) {
        const read = await readPartition(client, { topic, partition })
        const expected = all.filter((one) => one.partition === partition)
        assert.equal(read.length, expected.length)
        for (const { baseOffset, head } of expected) {
          assert.ok(read[baseOffset]?.value.startsWith(head))
        }
      }
    } finally {
      closeAll(clients)
    }
  })

  test('with large requests on many connections all come through in the end', async () => {
    const topic = 'large'
    await createTopic(client, { name: topic, partitions: 3 })
    const clients = await openMany(40)
    try {
      // Together they are more than twice the arena: they take turns.
      const records = batchOf({ values: [Buffer.alloc(1_000_000)] })
      const answers = clients.map((one, i) =>
        one.request(
          ApiKey.PRODUCE,
          PRODUCE_BY_NAME,
          produceBody([{ topic, partition: i % 3, records }]),
        ),
      )
      for (const answer of await Promise.all(answers)) {
        const { errorCode } = answer.responses[0]!.partitionResponses[0]!
        assert.equal(errorCode, ErrorCode.NONE)
      }
      let written = 0
      for (let partition = 0; partition < 3; partition++) {
        written += (await listOffset(client, { topic, partition }, LATEST)).offset
      }
      assert.equal(written, clients.length)
      await assertServed(topic)
      assertMemory()
    } finally {
      closeAll(clients)
    }
  })
})

describe('connections that never finish a frame', () => {
  test('hold little, and others are served meanwhile', async () => {
    const topic = 'loris'
    await createTopic(client, { name: topic, partitions: 3 })
    const slow = await openMany(200)
    try {
      const prefix = Buffer.alloc(12)
      prefix.writeInt32BE(MIB, 0) // Declares more than all of them could have.
      for (const one of slow) one.sendBytes(prefix)
      for (let i = 0; i < 20; i++) {
        for (const one of slow) one.sendBytes(Buffer.of(i))
        await assertServed(topic)
      }
      assertMemory()
      assert.equal(slow.filter((one) => one.isClosed).length, 0)
    } finally {
      closeAll(slow)
    }
  })

  test('that fill the memory give way, one after the other, and the rest go on', async () => {
    const topic = 'hoard'
    await createTopic(client, { name: topic, partitions: 3 })
    const hoarders = await openMany(20)
    try {
      const half = Buffer.alloc(900_000)
      half.writeInt32BE(2_000_000, 0)
      for (const one of hoarders) one.sendBytes(half)
      await assertServed(topic)
      assertMemory()
    } finally {
      closeAll(hoarders)
    }
  })
})

describe('a declared length', () => {
  for (const [name, declared] of [
    ['beyond the limit', 0x7fff_ffff],
    ['that is negative', -1],
    ['of zero', 0],
  ] as const) {
    test(`${name} closes the connection, with a reason in the log`, async () => {
      const prefix = Buffer.alloc(4)
      prefix.writeInt32BE(declared, 0)
      const reason = `closed a connection: a frame of ${declared} bytes`
      // Complaints about peers are limited to a few a second: a later one is heard.
      for (let i = 0; i < 20 && !broker.output().includes(reason); i++) {
        const one = await RawClient.open(broker.port)
        one.sendBytes(prefix)
        await one.closed
        await new Promise((resolve) => setTimeout(resolve, 250))
      }
      assert.ok(broker.output().includes(reason))
    })
  }

  test('of an array inside a request, larger than the request, closes the connection', async () => {
    const one = await RawClient.open(broker.port)
    const body = produceBody([{ topic: 'x', partition: 0, records: batchOf() }])
    const { bytes } = one.encode(ApiKey.PRODUCE, 3, body)
    // Size 4, header 2+2+4+2+"test", transactionalId 2, acks 2, timeout 4: then the topics.
    bytes.writeInt32BE(0x7fff_ffff, 4 + 14 + 8)
    one.sendBytes(bytes)
    await one.closed
    assert.equal((await client.request(ApiKey.API_VERSIONS, 0, {})).errorCode, ErrorCode.NONE)
    assertMemory()
  })
})
