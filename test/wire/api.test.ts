import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  ApiKey,
  apiName,
  DecodeError,
  decodeRequest,
  decodeRequestHeader,
  encodeRequest,
  encodeResponse,
  isSupported,
  Reader,
  SUPPORTED_APIS,
} from '../../src/wire/kafka/api.ts'
import { checkFrameSize, readFrameSize } from '../../src/wire/kafka/framing.ts'

test('SUPPORTED_APIS, has the version ranges of Kafka 4.3', () => {
  const table = SUPPORTED_APIS.map((api) => {
    return `${api.name} ${api.advertisedMin} ${api.minVersion}-${api.maxVersion}`
  })
  assert.deepEqual(table, [
    'PRODUCE 0 3-13',
    'FETCH 4 4-18',
    'LIST_OFFSETS 1 1-11',
    'METADATA 0 0-13',
    'OFFSET_COMMIT 2 2-10',
    'OFFSET_FETCH 1 1-10',
    'FIND_COORDINATOR 0 0-6',
    'JOIN_GROUP 0 0-9',
    'HEARTBEAT 0 0-4',
    'LEAVE_GROUP 0 0-5',
    'SYNC_GROUP 0 0-5',
    'DESCRIBE_GROUPS 0 0-6',
    'LIST_GROUPS 0 0-5',
    'API_VERSIONS 0 0-4',
    'CREATE_TOPICS 2 2-7',
    'DELETE_TOPICS 1 1-6',
    'DELETE_RECORDS 0 0-2',
    'INIT_PRODUCER_ID 0 0-5',
    'OFFSET_FOR_LEADER_EPOCH 2 2-4',
    'DESCRIBE_CONFIGS 1 1-4',
    'ALTER_CONFIGS 0 0-2',
    'DESCRIBE_LOG_DIRS 1 1-5',
    'CREATE_PARTITIONS 0 0-3',
    'DELETE_GROUPS 0 0-2',
    'ELECT_LEADERS 0 0-2',
    'INCREMENTAL_ALTER_CONFIGS 0 0-1',
    'ALTER_PARTITION_REASSIGNMENTS 0 0-1',
    'LIST_PARTITION_REASSIGNMENTS 0 0-0',
    'OFFSET_DELETE 0 0-0',
    'DESCRIBE_QUORUM 0 0-2',
    'DESCRIBE_CLUSTER 0 0-2',
    'UNREGISTER_BROKER 0 0-0',
    'CONSUMER_GROUP_HEARTBEAT 0 0-1',
    'CONSUMER_GROUP_DESCRIBE 0 0-1',
    'LIST_CONFIG_RESOURCES 0 0-1',
    'DESCRIBE_TOPIC_PARTITIONS 0 0-0',
    'ADD_RAFT_VOTER 0 0-0',
    'REMOVE_RAFT_VOTER 0 0-0',
  ])
})

test('ApiKey, is dense from 0 to 92 so that names are found by index', () => {
  const keys = Object.entries(ApiKey)
  assert.equal(keys.length, 93)
  for (const [name, key] of keys) assert.equal(apiName(key), name)
  assert.equal(apiName(93), '93')
  assert.equal(apiName(-1), '-1')
})

test('isSupported, refuses what is advertised but not decodable, unknown or unstable', () => {
  assert.equal(isSupported(ApiKey.PRODUCE, 2), false)
  assert.equal(isSupported(ApiKey.PRODUCE, 3), true)
  assert.equal(isSupported(ApiKey.PRODUCE, 13), true)
  assert.equal(isSupported(ApiKey.PRODUCE, 14), false)
  assert.equal(isSupported(ApiKey.INIT_PRODUCER_ID, 6), false)
  assert.equal(isSupported(ApiKey.SASL_HANDSHAKE, 0), false)
  assert.equal(isSupported(-1, 0), false)
})

describe('decodeRequestHeader', () => {
  test('reads no client id of an unknown API', () => {
    const reader = new Reader(Buffer.from('7fff000100000009ffff', 'hex'))
    const header = decodeRequestHeader(reader)
    assert.deepEqual(
      [header.requestApiKey, header.requestApiVersion, header.correlationId, header.clientId],
      [0x7fff, 1, 9, null],
    )
  })

  test('refuses a header that is cut off', () => {
    const frame = Buffer.concat(
      encodeRequest(ApiKey.METADATA, 9, { correlationId: 1, clientId: 'c' }, { topics: null }),
    )
    for (let end = 4; end < 4 + 12; end++) {
      assert.throws(() => decodeRequestHeader(new Reader(frame, 4, end)), DecodeError)
    }
  })
})

describe('encode, a value that the version does not carry', () => {
  const header = { correlationId: 1, clientId: null }

  test('is refused in a request', () => {
    const body = { transactionalId: null, transactionTimeoutMs: 1, producerId: 5 }
    assert.throws(
      () => encodeRequest(ApiKey.INIT_PRODUCER_ID, 2, header, body),
      /producerId cannot be sent in version 2/,
    )
    encodeRequest(ApiKey.INIT_PRODUCER_ID, 2, header, { ...body, producerId: -1 })
    encodeRequest(ApiKey.INIT_PRODUCER_ID, 3, header, body)
  })

  test('is dropped from a response', () => {
    const body = { results: [], throttleTimeMs: 0 }
    encodeResponse(ApiKey.DESCRIBE_CONFIGS, 1, 1, body)
    const partitions = [
      { partitionIndex: 0, errorCode: 0, highWatermark: 0, preferredReadReplica: 3 },
    ]
    const responses = [
      {
        topic: 't',
        partitions: partitions.map((p) => ({ ...p, records: null, abortedTransactions: null })),
      },
    ]
    encodeResponse(ApiKey.FETCH, 4, 1, { responses })
  })

  test('null where it is not allowed, is refused', () => {
    const topics = [{ name: null }]
    assert.throws(
      () => encodeRequest(ApiKey.METADATA, 9, header, { topics }),
      /topics.name must not be null in version 9/,
    )
  })

  test('a version that does not exist, is a RangeError', () => {
    assert.throws(() => encodeRequest(ApiKey.METADATA, 14, header, { topics: null }), RangeError)
    assert.throws(() => encodeRequest(ApiKey.METADATA, 1.5, header, { topics: null }), RangeError)
  })
})

test('decodeRequest, bytes behind the body, reads it', () => {
  // What librdkafka 2.15 sends for all topics in v13: null as four bytes, then two flags, no tags.
  const body = new Reader(Buffer.of(0, 0, 0, 0, 1, 1, 0))
  assert.deepEqual(decodeRequest(ApiKey.METADATA, 13, body).topics, null)
})

describe('frame size', () => {
  test('is refused when negative, too small or too large', () => {
    for (const size of [-1, -0x8000_0000, 0, 7, 101, 0x7fff_ffff]) {
      assert.throws(() => checkFrameSize(size, 100), DecodeError)
    }
    assert.equal(checkFrameSize(8, 100), 8)
    assert.equal(checkFrameSize(100, 100), 100)
    assert.equal(checkFrameSize(0, 100, 0), 0)
  })

  test('is a signed big-endian integer', () => {
    assert.equal(readFrameSize(Buffer.of(9, 0, 0, 1, 2), 1, 1000), 258)
    assert.throws(() => readFrameSize(Buffer.of(0xff, 0xff, 0xff, 0xff), 0, 1000), /size -1/)
  })
})
