/**
 * Kafka's protocol against a real broker process with three shards: connections, Produce, producer
 * ids and epochs. Fetch and ListOffsets stand in `protocol-fetch.test.ts`, administration in
 * `protocol-admin.test.ts`.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { CRC } from '../../src/record/batch-layout.ts'
import { ApiKey, encodeRequest } from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import {
  append,
  appendOk,
  batchOf,
  createTopic,
  fetchBody,
  newProducerId,
  PRODUCE_BY_NAME,
  PRODUCE_LATEST,
  produceBody,
  readPartition,
  values,
} from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

let broker: TestBroker
let client: RawClient

before(async () => {
  broker = await startBroker({ shards: 3 })
  client = await RawClient.open(broker.port)
})

after(async () => {
  client?.close()
  await broker?.stop()
  broker?.cleanUp()
})

describe('ApiVersions', () => {
  test('an unknown version is answered in version 0 with error 35 and the versions', async () => {
    const one = await RawClient.open(broker.port)
    try {
      const header = { correlationId: 7, clientId: 'test' }
      const named = { clientSoftwareName: 'a', clientSoftwareVersion: '1' }
      const bytes = Buffer.concat(encodeRequest(ApiKey.API_VERSIONS, 3, header, named))
      bytes.writeInt16BE(99, 6)
      const frame = await one.sendFrame(7, bytes)
      assert.equal(frame.readInt16BE(4), ErrorCode.UNSUPPORTED_VERSION)
      // Version 0: a plain array of (key, min, max) and nothing after it.
      const count = frame.readInt32BE(6)
      assert.equal(frame.length, 10 + 6 * count)
      const keys = Array.from({ length: count }, (_, i) => frame.readInt16BE(10 + 6 * i))
      assert.ok(keys.includes(ApiKey.API_VERSIONS))
      // The connection is good for the version that was learnt.
      const answer = await one.request(ApiKey.API_VERSIONS, 0, {})
      assert.equal(answer.errorCode, ErrorCode.NONE)
    } finally {
      one.close()
    }
  })

  test('Produce is advertised from version 0, and a Produce of version 2 closes', async () => {
    const answer = await client.request(ApiKey.API_VERSIONS, 4, {
      clientSoftwareName: 'test',
      clientSoftwareVersion: '1.0',
    })
    const produce = answer.apiKeys.find((api) => api.apiKey === ApiKey.PRODUCE)
    assert.deepEqual([produce?.minVersion, produce?.maxVersion], [0, PRODUCE_LATEST])
    const one = await RawClient.open(broker.port)
    const { bytes } = one.encode(ApiKey.PRODUCE, 3, produceBody([]))
    bytes.writeInt16BE(2, 6)
    one.sendBytes(bytes)
    await one.closed
  })

  test('a software name that is none is refused', async () => {
    const answer = await client.request(ApiKey.API_VERSIONS, 3, {
      clientSoftwareName: ' ',
      clientSoftwareVersion: '1.0',
    })
    assert.equal(answer.errorCode, ErrorCode.INVALID_REQUEST)
  })

  test('an unknown API closes the connection and no other', async () => {
    const one = await RawClient.open(broker.port)
    const frame = Buffer.alloc(14)
    frame.writeInt32BE(10, 0)
    frame.writeInt16BE(4711, 4)
    frame.writeInt32BE(1, 8)
    frame.writeInt16BE(-1, 12)
    one.sendBytes(frame)
    await one.closed
    assert.equal((await client.request(ApiKey.API_VERSIONS, 0, {})).errorCode, ErrorCode.NONE)
  })
})

describe('a connection', () => {
  test('answers in the order of requests while a later one is done earlier', async () => {
    await createTopic(client, { name: 'order', partitions: 3 })
    const one = await RawClient.open(broker.port)
    const done: string[] = []
    const note = (what: string) => () => void done.push(what)
    try {
      // The poll waits for data that only the request behind it brings.
      const poll = { topic: 'order', partitions: [{ partition: 0, fetchOffset: 0 }] }
      const waits = fetchBody({ ...poll, maxWaitMs: 50_000 })
      const polled = one.request(ApiKey.FETCH, 12, waits)
      const others = [
        polled.then(note('fetch')),
        one
          .request(
            ApiKey.PRODUCE,
            PRODUCE_BY_NAME,
            produceBody([{ topic: 'order', partition: 0, records: batchOf() }]),
          )
          .then(note('produce')),
        one.request(ApiKey.API_VERSIONS, 0, {}).then(note('versions')),
        one.request(ApiKey.FETCH, 12, fetchBody(poll)).then(note('second fetch')),
      ]
      await Promise.all(others)
      assert.deepEqual(done, ['fetch', 'produce', 'versions', 'second fetch'])
      const { records } = (await polled).responses[0]!.partitions[0]!
      assert.ok((records?.length ?? 0) > 0)
    } finally {
      one.close()
    }
  })

  test('answers more pipelined requests than it works on at a time, all in order', async () => {
    await createTopic(client, { name: 'pipeline', partitions: 3 })
    const one = await RawClient.open(broker.port)
    try {
      const answers = Array.from({ length: 1000 }, (_, i) =>
        append(one, { topic: 'pipeline', partition: i % 3 }, batchOf({ values: [String(i)] })),
      )
      const offsets = (await Promise.all(answers)).map((answer) => answer.baseOffset)
      assert.deepEqual(
        offsets,
        Array.from({ length: 1000 }, (_, i) => Math.floor(i / 3)),
      )
    } finally {
      one.close()
    }
  })

  test('answers whatever stands before and behind Metadata, also what holds memory', async () => {
    await createTopic(client, { name: 'behind', partitions: 2 })
    const END = { partition: 1, fetchOffset: 0 }
    const asks = {
      list: (one: RawClient) => one.request(ApiKey.LIST_GROUPS, 1, {}),
      metadata: (one: RawClient) =>
        one.request(ApiKey.METADATA, 9, { topics: [{ name: 'behind' }] }),
      coordinator: (one: RawClient) => {
        return one.request(ApiKey.FIND_COORDINATOR, 3, { key: 'g', keyType: 0 })
      },
      fetch: (one: RawClient) => {
        return one.request(
          ApiKey.FETCH,
          12,
          fetchBody({ topic: 'behind', maxWaitMs: 20, partitions: [END] }),
        )
      },
      dirs: (one: RawClient) => one.request(ApiKey.DESCRIBE_LOG_DIRS, 1, { topics: null }),
      produce: (one: RawClient) =>
        append(one, { topic: 'behind', partition: 0 }, batchOf({ values: ['a'] })),
    }
    const all = Object.values(asks)
    for (const round of [1, 2]) {
      const one = await RawClient.open(broker.port)
      try {
        const sent = all.flatMap((a) => all.flatMap((b) => [a(one), b(one), asks.metadata(one)]))
        assert.equal((await Promise.all(sent)).length, 108, `round ${round}`)
      } finally {
        one.close()
      }
    }
  })

  test('takes a frame that arrives byte by byte, and one cut anywhere', async () => {
    const one = await RawClient.open(broker.port)
    try {
      const { correlationId, bytes } = one.encode(ApiKey.API_VERSIONS, 0, {})
      for (const byte of bytes.subarray(0, -1)) {
        one.sendBytes(Uint8Array.of(byte))
        await new Promise(setImmediate)
      }
      const frame = await one.sendFrame(correlationId, bytes.subarray(-1))
      assert.equal(frame.readInt16BE(4), ErrorCode.NONE)
    } finally {
      one.close()
    }
  })
})

describe('Produce', () => {
  const topic = 'produce'
  before(() => createTopic(client, { name: topic, partitions: 6 }))

  test('acks 1 and -1 answer the base offset; acks 0 answers nothing and appends', async () => {
    const at = { topic, partition: 0 }
    assert.equal(await appendOk(client, at, batchOf({ values: ['a', 'b'] })), 0)
    const body = produceBody([{ ...at, records: batchOf({ values: ['c'] }) }], 1)
    const answer = await client.request(ApiKey.PRODUCE, PRODUCE_BY_NAME, body)
    assert.equal(answer.responses[0]!.partitionResponses[0]!.baseOffset, 2)
    client.sendOnly(
      ApiKey.PRODUCE,
      PRODUCE_BY_NAME,
      produceBody([{ ...at, records: batchOf({ values: ['d'] }) }], 0),
    )
    // The next answer belongs to the next request, and its batch lies behind.
    assert.equal(await appendOk(client, at, batchOf({ values: ['e'] })), 4)
    assert.deepEqual(await values(client, at), ['a', 'b', 'c', 'd', 'e'])
  })

  test('acks 0 that fails closes the connection, its only way to say so', async () => {
    const one = await RawClient.open(broker.port)
    const unknown = { topic: 'nowhere', partition: 0, records: batchOf() }
    one.sendOnly(ApiKey.PRODUCE, PRODUCE_BY_NAME, produceBody([unknown], 0))
    await one.closed
  })

  test('acks 2 is refused for every partition', async () => {
    const body = produceBody([{ topic, partition: 1, records: batchOf() }], 2)
    const answer = await client.request(ApiKey.PRODUCE, PRODUCE_BY_NAME, body)
    const [only] = answer.responses[0]!.partitionResponses
    assert.equal(only!.errorCode, ErrorCode.INVALID_REQUIRED_ACKS)
  })

  test('each partition of a request that spans shards fails or succeeds alone', async () => {
    const bad = batchOf({ values: ['bad'] })
    bad[CRC] = (bad[CRC] as number) ^ 1
    const notABatch = new Uint8Array(61)
    const good = (value: string) => batchOf({ values: [value] })
    const large = batchOf({ values: [Buffer.alloc(1_100_000)] })
    const body = produceBody([
      { topic, partition: 1, records: good('1') },
      { topic, partition: 2, records: bad },
      { topic, partition: 3, records: large },
      { topic, partition: 4, records: good('4') },
      { topic, partition: 99, records: good('99') },
      { topic, partition: 5, records: notABatch },
      { topic: 'nowhere', partition: 0, records: good('x') },
      { topic, partition: 0, records: null },
    ])
    const answer = await client.request(ApiKey.PRODUCE, PRODUCE_BY_NAME, body)
    const codes = answer.responses.map((one) => [
      one.name,
      one.partitionResponses.map((part) => [part.index, part.errorCode]),
    ])
    assert.deepEqual(codes, [
      [
        topic,
        [
          [1, ErrorCode.NONE],
          [2, ErrorCode.CORRUPT_MESSAGE],
          [3, ErrorCode.MESSAGE_TOO_LARGE],
          [4, ErrorCode.NONE],
          [99, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
          [5, ErrorCode.CORRUPT_MESSAGE],
          [0, ErrorCode.INVALID_RECORD],
        ],
      ],
      ['nowhere', [[0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]]],
    ])
    assert.deepEqual(await values(client, { topic, partition: 1 }), ['1'])
    assert.deepEqual(await values(client, { topic, partition: 2 }), [])
    assert.deepEqual(await values(client, { topic, partition: 4 }), ['4'])
  })

  test('a run of two batches for one partition is refused whole', async () => {
    const at = { topic: 'runs', partition: 0 }
    await createTopic(client, { name: at.topic, partitions: 1 })
    const run = Buffer.concat([batchOf({ values: ['a'] }), batchOf({ values: ['b'] })])
    assert.equal((await append(client, at, run)).errorCode, ErrorCode.INVALID_RECORD)
    assert.deepEqual(await values(client, at), [])
    assert.equal((await append(client, at, batchOf({ values: ['c'] }))).baseOffset, 0)
  })

  test('every byte of a batch that the CRC covers is covered', async () => {
    const good = batchOf({ values: ['flip me'] })
    const codes = await Promise.all(
      Array.from({ length: good.length - CRC }, (_, i) => {
        const flipped = good.slice()
        flipped[CRC + i] = (flipped[CRC + i] as number) ^ (1 << (i % 8))
        return append(client, { topic, partition: 2 }, flipped)
      }),
    )
    assert.deepEqual(
      codes.map((answer) => answer.errorCode).filter((code) => code !== ErrorCode.CORRUPT_MESSAGE),
      [],
    )
    assert.deepEqual(await values(client, { topic, partition: 2 }), [])
  })

  test('the limit of max.message.bytes is inclusive and counts the whole batch', async () => {
    const at = { topic: 'small', partition: 0 }
    const exact = batchOf({ values: [Buffer.alloc(500)] })
    const configs = { 'max.message.bytes': String(exact.length) }
    await createTopic(client, { name: at.topic, partitions: 1, configs })
    assert.equal((await append(client, at, exact)).errorCode, ErrorCode.NONE)
    const larger = batchOf({ values: [Buffer.alloc(501)] })
    assert.equal((await append(client, at, larger)).errorCode, ErrorCode.MESSAGE_TOO_LARGE)
  })

  test('version 13 names topics by id and knows no other', async () => {
    const topicId = await createTopic(client, { name: 'by-id', partitions: 1 })
    const unknownId = 'QUJDREVGR0hJSktMTU5PUA'
    const partitionData = [{ index: 0, records: batchOf() }]
    const answer = await client.request(ApiKey.PRODUCE, PRODUCE_LATEST, {
      acks: -1,
      timeoutMs: 30_000,
      topicData: [
        { topicId, partitionData },
        { topicId: unknownId, partitionData },
      ],
    })
    assert.deepEqual(
      answer.responses.map((one) => [one.topicId, one.partitionResponses[0]!.errorCode]),
      [
        [topicId, ErrorCode.NONE],
        [unknownId, ErrorCode.UNKNOWN_TOPIC_ID],
      ],
    )
  })

  test('every version from 3 to 12 appends', async () => {
    const at = { topic: 'versions', partition: 0 }
    await createTopic(client, { name: at.topic, partitions: 1 })
    for (let version = 3; version <= PRODUCE_BY_NAME; version++) {
      const body = produceBody([{ ...at, records: batchOf({ values: [`v${version}`] }) }])
      const answer = await client.request(ApiKey.PRODUCE, version, body)
      assert.equal(answer.responses[0]!.partitionResponses[0]!.baseOffset, version - 3)
    }
    assert.equal((await readPartition(client, at)).length, PRODUCE_BY_NAME - 2)
  })

  test('LogAppendTime answers the time that the records then have', async () => {
    const at = { topic: 'stamped', partition: 0 }
    const configs = { 'message.timestamp.type': 'LogAppendTime' }
    await createTopic(client, { name: at.topic, partitions: 1, configs })
    const before = Date.now()
    const answer = await append(client, at, batchOf({ values: ['a', 'b'] }))
    assert.ok(answer.logAppendTimeMs >= before - 1000 && answer.logAppendTimeMs <= Date.now())
    const records = await readPartition(client, at)
    assert.deepEqual(
      records.map((record) => record.timestamp),
      [answer.logAppendTimeMs, answer.logAppendTimeMs],
    )
  })

  test('a transactional produce is refused, and so is a transactional batch', async () => {
    const at = { topic, partition: 5 }
    const body = { ...produceBody([{ ...at, records: batchOf() }]), transactionalId: 'tx' }
    const answer = await client.request(ApiKey.PRODUCE, PRODUCE_BY_NAME, body)
    const { errorCode } = answer.responses[0]!.partitionResponses[0]!
    assert.equal(errorCode, ErrorCode.INVALID_TXN_STATE)
    const producerId = await newProducerId(client)
    const spec = { producerId, producerEpoch: 0, baseSequence: 0, transactional: true }
    const second = await append(client, at, batchOf(spec))
    assert.notEqual(second.errorCode, ErrorCode.NONE)
    const control = await append(client, at, batchOf({ control: true }))
    assert.notEqual(control.errorCode, ErrorCode.NONE)
    assert.deepEqual(await values(client, at), [])
  })
})

describe('an idempotent producer', () => {
  const topic = 'idempotent'
  before(() => createTopic(client, { name: topic, partitions: 3 }))

  const sequenced = (producerId: number, baseSequence: number, producerEpoch = 0) =>
    batchOf({ producerId, producerEpoch, baseSequence, values: [`${producerId}/${baseSequence}`] })

  test('a batch sent again is answered with its first offset, five batches back', async () => {
    const at = { topic, partition: 0 }
    const id = await newProducerId(client)
    for (let i = 0; i < 7; i++) assert.equal(await appendOk(client, at, sequenced(id, i)), i)
    for (let i = 6; i >= 2; i--) assert.equal(await appendOk(client, at, sequenced(id, i)), i)
    const old = await append(client, at, sequenced(id, 1))
    assert.equal(old.errorCode, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    assert.equal(await appendOk(client, at, sequenced(id, 7)), 7)
    assert.equal((await values(client, at)).length, 8)
  })

  test('a gap is out of order, and an old epoch is fenced', async () => {
    const at = { topic, partition: 1 }
    const id = await newProducerId(client)
    await appendOk(client, at, sequenced(id, 0))
    const gap = await append(client, at, sequenced(id, 2))
    assert.equal(gap.errorCode, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    await appendOk(client, at, sequenced(id, 0, 1))
    const fenced = await append(client, at, sequenced(id, 1, 0))
    assert.equal(fenced.errorCode, ErrorCode.INVALID_PRODUCER_EPOCH)
    assert.equal((await values(client, at)).length, 2)
  })

  test('duplicates in flight at once are appended once', async () => {
    const at = { topic, partition: 2 }
    const id = await newProducerId(client)
    const answers = await Promise.all(
      [0, 0, 1, 0, 1, 2, 2].map((sequence) => append(client, at, sequenced(id, sequence))),
    )
    assert.deepEqual(
      answers.map((answer) => [answer.errorCode, answer.baseOffset]),
      [0, 0, 1, 0, 1, 2, 2].map((sequence) => [ErrorCode.NONE, sequence]),
    )
    assert.equal((await values(client, at)).length, 3)
  })

  test('InitProducerId gives a fresh id each time; a transactional id is not served yet', async () => {
    const ids = await Promise.all(Array.from({ length: 2500 }, () => newProducerId(client)))
    assert.equal(new Set(ids).size, ids.length)
    const answer = await client.request(ApiKey.INIT_PRODUCER_ID, 4, {
      transactionalId: 'tx',
      transactionTimeoutMs: 1000,
    })
    assert.equal(answer.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE)
  })
})
