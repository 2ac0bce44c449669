/**
 * Requests that are well-formed and mean harm, against a real broker process: it answers or closes,
 * its memory stays bounded, and others are served meanwhile.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import {
  ATTRIBUTES,
  BATCH_HEADER_BYTES,
  BATCH_LENGTH,
  CRC,
  LENGTH_PREFIX_BYTES,
} from '../../src/record/batch-layout.ts'
import { COMPRESSION_GZIP } from '../../src/record/compression.ts'
import { crc32c } from '../../src/record/crc32c.ts'
import { ApiKey, encodeRequest } from '../../src/wire/kafka/api.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { runCommand } from '../support/command.ts'
import {
  append,
  appendOk,
  batchOf,
  createTopic,
  fetchBody,
  listOffset,
  TIMESTAMP_MS,
  values,
} from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

const MIB = 1024 * 1024
const SESSIONLESS_PARTITIONS = 120_000

let broker: TestBroker
let client: RawClient

before(async () => {
  broker = await startBroker({ shards: 3 })
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

/** By how much the broker's memory rises at most while `use` runs. */
async function growthWhile(use: () => Promise<void>): Promise<number> {
  const start = residentBytes()
  let peak = start
  const timer = setInterval(() => {
    peak = Math.max(peak, residentBytes())
  }, 20)
  try {
    await use()
  } finally {
    clearInterval(timer)
  }
  return Math.max(peak, residentBytes()) - start
}

/** A batch with a right CRC and whatever `section` holds where its records should be. */
function forged(section: Uint8Array, attributes: number): Buffer {
  const header = batchOf().subarray(0, BATCH_HEADER_BYTES)
  const batch = Buffer.concat([header, section])
  batch.writeInt32BE(batch.length - LENGTH_PREFIX_BYTES, BATCH_LENGTH)
  batch.writeInt16BE(attributes, ATTRIBUTES)
  batch.writeUInt32BE(crc32c(batch, ATTRIBUTES, batch.length), CRC)
  return batch
}

describe('ListOffsets by time', () => {
  test('a batch with garbage inside is CORRUPT_MESSAGE, and the connection lives', async () => {
    await createTopic(client, { name: 'garbage', partitions: 2 })
    const forgeries = [
      forged(Buffer.from('no gzip'), COMPRESSION_GZIP),
      forged(Buffer.alloc(30, 0xff), 0),
    ]
    for (const [partition, records] of forgeries.entries()) {
      const to = { topic: 'garbage', partition }
      await appendOk(client, to, records)
      assert.equal((await listOffset(client, to, 0)).errorCode, ErrorCode.CORRUPT_MESSAGE)
      assert.equal((await listOffset(client, to, -1)).offset, 1)
    }
  })

  test('a batch that is too large inside is answered by its start, in bounded memory', async () => {
    const count = 20
    await createTopic(client, { name: 'bomb', partitions: count })
    const builder = new BatchBuilder()
    builder.append(TIMESTAMP_MS, null, Buffer.from('first'))
    builder.append(TIMESTAMP_MS + 1000, null, Buffer.alloc(40 * MIB))
    const plain = Buffer.from(builder.buildSync())
    const section = gzipSync(plain.subarray(BATCH_HEADER_BYTES))
    const bomb = Buffer.concat([plain.subarray(0, BATCH_HEADER_BYTES), section])
    bomb.writeInt32BE(bomb.length - LENGTH_PREFIX_BYTES, BATCH_LENGTH)
    bomb.writeInt16BE(COMPRESSION_GZIP, ATTRIBUTES)
    bomb.writeUInt32BE(crc32c(bomb, ATTRIBUTES, bomb.length), CRC)
    for (let i = 0; i < count; i++) await appendOk(client, { topic: 'bomb', partition: i }, bomb)
    const partitions = Array.from({ length: count }, (_, partitionIndex) => ({
      partitionIndex,
      timestamp: TIMESTAMP_MS + 500,
    }))
    const growth = await growthWhile(async () => {
      const answers = await Promise.all(
        Array.from({ length: 5 }, () =>
          client.request(ApiKey.LIST_OFFSETS, 8, {
            replicaId: -1,
            isolationLevel: 0,
            topics: [{ name: 'bomb', partitions }],
          }),
        ),
      )
      for (const answer of answers) {
        for (const { errorCode, offset, timestamp } of answer.topics[0]!.partitions) {
          assert.deepEqual([errorCode, offset, timestamp], [0, 0, TIMESTAMP_MS + 1000])
        }
      }
    })
    assert.ok(growth < 300 * MIB, `resident memory rose by ${growth} bytes`)
  })

  test('a partition named twice is INVALID_REQUEST, and the others are answered', async () => {
    await createTopic(client, { name: 'twice', partitions: 2 })
    const named = (...indexes: number[]) => ({
      name: 'twice',
      partitions: indexes.map((partitionIndex) => ({ partitionIndex, timestamp: -1 })),
    })
    const answer = await client.request(ApiKey.LIST_OFFSETS, 8, {
      replicaId: -1,
      isolationLevel: 0,
      topics: [named(0, 1), named(0)],
    })
    assert.deepEqual(
      answer.topics.map((topic) => topic.partitions.map((partition) => partition.errorCode)),
      [[ErrorCode.INVALID_REQUEST, ErrorCode.NONE], [ErrorCode.INVALID_REQUEST]],
    )
  })

  test('a special timestamp in a version before it is UNSUPPORTED_VERSION', async () => {
    await createTopic(client, { name: 'versions', partitions: 1 })
    const code = async (timestamp: number, version: number) => {
      const answer = await client.request(ApiKey.LIST_OFFSETS, version, {
        replicaId: -1,
        isolationLevel: 0,
        topics: [{ name: 'versions', partitions: [{ partitionIndex: 0, timestamp }] }],
      })
      return answer.topics[0]!.partitions[0]!.errorCode
    }
    const firsts = [
      [-3, 7],
      [-4, 8],
      [-5, 9],
    ] as const
    for (const [timestamp, version] of firsts) {
      assert.equal(await code(timestamp, version), ErrorCode.NONE)
      assert.equal(await code(timestamp, version - 1), ErrorCode.UNSUPPORTED_VERSION)
    }
    assert.equal(await code(-7, 10), ErrorCode.UNSUPPORTED_VERSION)
  })
})

describe('strings', () => {
  test('a compact string above 32,767 bytes closes, others are served', async () => {
    const body = { includeSynonyms: false, includeDocumentation: false }
    const resources = [
      { resourceType: 2, resourceName: 'n'.repeat(0x7fff), configurationKeys: null },
    ]
    const answer = await client.request(ApiKey.DESCRIBE_CONFIGS, 4, { ...body, resources })
    assert.notEqual(answer.results[0]!.errorCode, ErrorCode.NONE)
    // One byte more, spliced in: the encoder refuses to say it.
    const { bytes } = client.encode(ApiKey.DESCRIBE_CONFIGS, 4, { ...body, resources })
    const at = bytes.indexOf('nnnn')
    const size = Buffer.of(0x81, 0x80, 0x02)
    const longer = Buffer.concat([
      bytes.subarray(0, at - 3),
      size,
      Buffer.from('n'),
      bytes.subarray(at),
    ])
    longer.writeInt32BE(longer.length - 4, 0)
    client.sendBytes(longer)
    await client.closed
    const other = await RawClient.open(broker.port)
    await other.request(ApiKey.API_VERSIONS, 0, {})
    other.close()
  })

  test('an error message that quotes a long value is answered', async () => {
    const answer = await client.request(ApiKey.CREATE_TOPICS, 7, {
      topics: [
        {
          name: 'quoted',
          numPartitions: 1,
          replicationFactor: 1,
          assignments: [],
          configs: [{ name: 'retention.ms', value: 'é'.repeat(0x7fff >> 1) }],
        },
      ],
      timeoutMs: 1000,
      validateOnly: false,
    })
    assert.equal(answer.topics[0]!.errorCode, ErrorCode.INVALID_CONFIG)
  })
})

test('Metadata, thousands of requests for a large cluster in one packet, in bounded memory', async () => {
  await createTopic(client, { name: 'large', partitions: 5000 })
  const header = { correlationId: 1, clientId: null }
  const one = Buffer.concat(encodeRequest(ApiKey.METADATA, 1, header, { topics: null }))
  const flood = await RawClient.open(broker.port)
  flood.socket.pause()
  const growth = await growthWhile(async () => {
    flood.sendBytes(Buffer.concat(Array.from({ length: 3000 }, () => one)))
    for (let i = 0; i < 15; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      await client.request(ApiKey.API_VERSIONS, 0, {})
    }
  })
  flood.close()
  assert.ok(growth < 200 * MIB, `resident memory rose by ${growth} bytes`)
})

test('Metadata, a topic asked for twice, is described once', async () => {
  await createTopic(client, { name: 'once', partitions: 1 })
  const topics = Array.from({ length: 1000 }, () => ({ name: 'once' }))
  const answer = await client.request(ApiKey.METADATA, 12, { topics })
  assert.deepEqual(
    answer.topics.map((topic) => topic.name),
    ['once'],
  )
})

test('Fetch, sessions with more partitions than all may have, are served without one', async () => {
  const partitions = Array.from({ length: SESSIONLESS_PARTITIONS }, (_, partition) => ({
    partition,
    fetchOffset: 0,
  }))
  const open = () =>
    client.request(ApiKey.FETCH, 12, fetchBody({ topic: 'none', partitions, sessionEpoch: 0 }))
  const first = await open()
  assert.notEqual(first.sessionId, 0)
  assert.equal((await open()).sessionId, 0)
  const close = { sessionId: first.sessionId, sessionEpoch: -1, partitions: [] }
  await client.request(ApiKey.FETCH, 12, fetchBody(close))
  const again = await open()
  assert.notEqual(again.sessionId, 0)
  await client.request(ApiKey.FETCH, 12, fetchBody({ ...close, sessionId: again.sessionId }))
})

test('Fetch, more bytes wanted than may come, is answered at once with what may', async () => {
  await createTopic(client, { name: 'least', partitions: 1 })
  const to = { topic: 'least', partition: 0 }
  for (let i = 0; i < 3; i++) await appendOk(client, to, batchOf({ values: [Buffer.alloc(1000)] }))
  const wanted = [
    { minBytes: 100_000, maxBytes: 1500 },
    { minBytes: 100_000, partitionMaxBytes: 1500 },
  ]
  for (const { minBytes, maxBytes = MIB, partitionMaxBytes = MIB } of wanted) {
    const body = fetchBody({
      topic: 'least',
      partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes }],
      minBytes,
      maxBytes,
      maxWaitMs: 50_000,
    })
    const startMs = performance.now()
    const answer = await client.request(ApiKey.FETCH, 12, body)
    assert.ok(answer.responses[0]!.partitions[0]!.records!.length > 1000)
    assert.ok(performance.now() - startMs < 25_000, 'it did not wait for its end')
  }
})

test('start, a data directory that cannot be made, fails and says so', async () => {
  const { code, output } = await runCommand([
    ...['start', '--kafka', '127.0.0.1:0', '--http', 'off', '--data-dir', '/proc/millrace/data'],
  ])
  assert.equal(code, 1, output)
  assert.match(output, /Cannot create directory \/proc\/millrace/)
})

test('the broker has served all of this without ending', async () => {
  await createTopic(client, { name: 'end', partitions: 1 })
  const to = { topic: 'end', partition: 0 }
  assert.equal((await append(client, to, batchOf({ values: ['end'] }))).errorCode, ErrorCode.NONE)
  assert.deepEqual(await values(client, to), ['end'])
})
