import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  ApiKey,
  decodeRequest,
  decodeRequestHeader,
  decodeResponse,
  decodeResponseHeader,
  encodeRequest,
  encodeResponse,
  Reader,
} from '../../src/wire/kafka/api.ts'

/**
 * Whole frames written by hand from the grammar of Kafka's protocol guide, in hexadecimal with a
 * space between fields. They are the anchor that the round trips lack: an error that encoder and
 * decoder share shows up here.
 */
function hex(...lines: string[]): Buffer {
  return Buffer.from(lines.join('').replaceAll(' ', ''), 'hex')
}

const header = { correlationId: 0x01020304, clientId: 'me' }
const records = Buffer.from('abcde')

function readerOf(frame: Buffer): Reader {
  assert.equal(frame.readInt32BE(0), frame.length - 4)
  return new Reader(frame, 4)
}

describe('ApiVersions, golden bytes', () => {
  test('request v0', () => {
    const frame = hex('0000000c', '0012 0000 01020304 0002 6d65')
    assert.deepEqual(Buffer.concat(encodeRequest(ApiKey.API_VERSIONS, 0, header, {})), frame)
    const reader = readerOf(frame)
    assert.deepEqual(decodeRequestHeader(reader), {
      requestApiKey: 18,
      requestApiVersion: 0,
      correlationId: 0x01020304,
      clientId: 'me',
    })
    decodeRequest(ApiKey.API_VERSIONS, 0, reader)
  })

  test('request v3', () => {
    const frame = hex(
      '00000016',
      '0012 0003 01020304 0002 6d65 00', // Header v2: the client id stays classic, then no tags.
      '04 6c6962 04 312e30 00',
    )
    const body = { clientSoftwareName: 'lib', clientSoftwareVersion: '1.0' }
    assert.deepEqual(Buffer.concat(encodeRequest(ApiKey.API_VERSIONS, 3, header, body)), frame)
    const reader = readerOf(frame)
    assert.equal(decodeRequestHeader(reader).clientId, 'me')
    assert.deepEqual(decodeRequest(ApiKey.API_VERSIONS, 3, reader), body)
  })

  test('request header, is read when the version is unknown', () => {
    const frame = hex('00000013', '0012 0063 01020304 ffff 00', 'deadbeef deadbeef')
    const reader = readerOf(frame)
    assert.deepEqual(decodeRequestHeader(reader), {
      requestApiKey: 18,
      requestApiVersion: 0x63,
      correlationId: 0x01020304,
      clientId: null,
    })
    assert.equal(reader.remaining, 8)
  })

  test('response v0, as an unknown version is answered', () => {
    const frame = hex('00000010', '01020304', '0023 00000001 0012 0000 0004')
    const body = { errorCode: 35, apiKeys: [{ apiKey: 18, minVersion: 0, maxVersion: 4 }] }
    const chunks = encodeResponse(ApiKey.API_VERSIONS, 0, 0x01020304, body)
    assert.deepEqual(Buffer.concat(chunks), frame)
  })

  test('response v3, has header v0 and tagged features', () => {
    const frame = hex(
      '00000034',
      '01020304', // Header v0: no tags.
      '0000 03 0000 0000 000d 00 0012 0000 0004 00 00000000',
      '02', // Two tagged fields: finalizedFeaturesEpoch and finalizedFeatures.
      '01 08 0000000000000007',
      '02 0e 02 08 66656174757265 0002 0001 00',
    )
    const body = {
      errorCode: 0,
      apiKeys: [
        { apiKey: 0, minVersion: 0, maxVersion: 13 },
        { apiKey: 18, minVersion: 0, maxVersion: 4 },
      ],
      finalizedFeaturesEpoch: 7,
      finalizedFeatures: [{ name: 'feature', maxVersionLevel: 2, minVersionLevel: 1 }],
    }
    const chunks = encodeResponse(ApiKey.API_VERSIONS, 3, 0x01020304, body)
    assert.deepEqual(Buffer.concat(chunks), frame)
    const reader = readerOf(frame)
    assert.equal(decodeResponseHeader(ApiKey.API_VERSIONS, 3, reader), 0x01020304)
    const decoded = decodeResponse(ApiKey.API_VERSIONS, 3, reader)
    assert.deepEqual(decoded.apiKeys, body.apiKeys)
    assert.deepEqual(decoded.finalizedFeatures, body.finalizedFeatures)
    assert.equal(decoded.finalizedFeaturesEpoch, 7)
    assert.deepEqual(decoded.supportedFeatures, [])
  })
})

describe('Metadata v1, golden bytes', () => {
  test('request for one topic, and for all', () => {
    const one = hex('00000013', '0003 0001 01020304 0002 6d65', '00000001 0001 74')
    const reader = readerOf(one)
    decodeRequestHeader(reader)
    const { topics } = decodeRequest(ApiKey.METADATA, 1, reader)
    assert.deepEqual(
      topics?.map(({ name }) => name),
      ['t'],
    )
    const all = hex('00000010', '0003 0001 01020304 0002 6d65', 'ffffffff')
    const chunks = encodeRequest(ApiKey.METADATA, 1, header, { topics: null })
    assert.deepEqual(Buffer.concat(chunks), all)
  })

  test('response', () => {
    const frame = hex(
      '00000041',
      '01020304',
      '00000001 00000001 0001 68 00002384 ffff', // Broker 1 at h:9092, no rack.
      '00000001', // Controller.
      '00000001 0000 0001 74 00', // Topic t, not internal.
      '00000001 0000 00000000 00000001 00000001 00000001 00000001 00000001',
    )
    const body = {
      brokers: [{ nodeId: 1, host: 'h', port: 9092 }],
      controllerId: 1,
      topics: [
        {
          errorCode: 0,
          name: 't',
          partitions: [
            { errorCode: 0, partitionIndex: 0, leaderId: 1, replicaNodes: [1], isrNodes: [1] },
          ],
        },
      ],
    }
    const chunks = encodeResponse(ApiKey.METADATA, 1, 0x01020304, body)
    assert.deepEqual(Buffer.concat(chunks), frame)
    const reader = readerOf(frame)
    decodeResponseHeader(ApiKey.METADATA, 1, reader)
    const decoded = decodeResponse(ApiKey.METADATA, 1, reader)
    assert.equal(decoded.brokers[0]?.port, 9092)
    assert.deepEqual(decoded.topics[0]?.partitions[0]?.isrNodes, [1])
  })
})

describe('Produce, golden bytes', () => {
  const body = {
    acks: -1,
    timeoutMs: 30_000,
    topicData: [{ name: 'ab', partitionData: [{ index: 5, records }] }],
  }

  const frames = {
    3: hex(
      '0000002d',
      '0000 0003 01020304 0002 6d65',
      'ffff ffff 00007530',
      '00000001 0002 6162 00000001 00000005 00000005 6162636465',
    ),
    9: hex(
      '00000026',
      '0000 0009 01020304 0002 6d65 00',
      '00 ffff 00007530',
      '02 03 6162 02 00000005 06 6162636465 00 00 00', // Tags of partition, topic and request.
    ),
  }

  for (const version of [3, 9] as const) {
    test(`request v${version}`, () => {
      const frame = frames[version]
      const chunks = encodeRequest(ApiKey.PRODUCE, version, header, body)
      assert.deepEqual(Buffer.concat(chunks), frame)
      assert.ok(chunks.includes(records), 'the records are sent as they lie')
      const reader = readerOf(frame)
      decodeRequestHeader(reader)
      const decoded = decodeRequest(ApiKey.PRODUCE, version, reader)
      assert.equal(decoded.transactionalId, null)
      const partition = decoded.topicData[0]?.partitionData[0]
      const { offset, length } = partition?.records ?? { offset: 0, length: 0 }
      assert.deepEqual(frame.subarray(offset, offset + length), records)
    })
  }

  test('response v3 and v9', () => {
    const response = {
      responses: [
        { name: 'ab', partitionResponses: [{ index: 5, errorCode: 0, baseOffset: 2 ** 32 + 1 }] },
      ],
    }
    const v3 = hex(
      '0000002a 01020304',
      '00000001 0002 6162 00000001 00000005 0000 0000000100000001 ffffffffffffffff 00000000',
    )
    const v9 = hex(
      '00000031 01020304 00', // Response header v1.
      '02 03 6162 02 00000005 0000 0000000100000001 ffffffffffffffff ffffffffffffffff',
      '01 00 00 00 00000000 00', // No record errors, no message, tags; then throttle time, tags.
    )
    for (const [version, frame] of [
      [3, v3],
      [9, v9],
    ] as const) {
      const chunks = encodeResponse(ApiKey.PRODUCE, version, 0x01020304, response)
      assert.deepEqual(Buffer.concat(chunks), frame)
    }
  })
})
