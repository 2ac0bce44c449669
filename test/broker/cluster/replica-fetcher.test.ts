/** How a broker fetches from one leader, with a link and shards that the test plays. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { RequestFrame } from '../../../src/broker/request-frame.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import type { FollowRequest } from '../../../src/shard/shard-proxy.ts'
import { ClusterApi } from '../../../src/wire/kafka/api.ts'
import { SECRET } from '../../cluster/fixture.ts'
import { TOPIC } from '../../metadata/cluster-records.ts'

import { batch, FETCH, Fixture, SILENCE_MS, WAIT_MS } from './fetcher-fixture.ts'

describe('ReplicaFetcher, connecting', () => {
  test('shakes hands before it fetches', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    const keys = fixture.link.asked.map(({ apiKey }) => apiKey)
    assert.deepEqual(keys, [ClusterApi.HELLO, ClusterApi.PROVE, FETCH])
    assert.deepEqual(fixture.named, [[0, 5]])
    const { replicaState, sessionId, sessionEpoch, maxBytes, maxWaitMs } = fixture.fetch
    assert.deepEqual({ ...replicaState }, { replicaId: 1, replicaEpoch: 7 })
    assert.deepEqual([sessionId, sessionEpoch, maxBytes, maxWaitMs], [0, 0, 1000, WAIT_MS])
    assert.equal(fixture.arena.extentsInUse, 0)
  })

  const refused: readonly (readonly [string, object])[] = [
    ['does not know the secret', { secret: 'another' }],
    ['is somebody else', { nodeId: 3 }],
    ['refuses', { errorCode: ErrorCode.INCONSISTENT_CLUSTER_ID }],
  ]
  for (const [what, hello] of refused) {
    test(`tells a peer nothing that ${what}, and tries again`, (t) => {
      const fixture = new Fixture(t)
      fixture.add(0)
      fixture.greet(hello)
      assert.equal(fixture.link.isClosed, true)
      assert.deepEqual(fixture.link.asked.length, 1)
      assert.ok(!fixture.logger.text.includes(SECRET))
      fixture.pass(20)
      assert.equal(fixture.links.length, 2)
      fixture.connect()
      assert.equal(fixture.fetches, 1)
    })
  }

  test('tries again when it cannot connect, when nobody answers, and when the proof is not taken', (t) => {
    const fixture = new Fixture(t)
    fixture.address = null
    fixture.add(0)
    assert.equal(fixture.links.length, 0)
    fixture.address = { host: 'leader', port: 1 }
    fixture.pass(20)
    fixture.link.sink.onClosed('refused')
    fixture.pass(40)
    assert.equal(fixture.links.length, 2)
    fixture.pass(SILENCE_MS)
    assert.equal(fixture.link.isClosed, true)
    fixture.pass(80)
    assert.equal(fixture.links.length, 3)
    fixture.greet()
    fixture.answer({ errorCode: ErrorCode.CLUSTER_AUTHORIZATION_FAILED, errorMessage: 'no' })
    fixture.pass(160)
    fixture.connect()
    assert.equal(fixture.fetches, 1)
    assert.equal(fixture.logger.lines.length, 1, 'it does not repeat itself')
  })

  test('begins a new session on a new connection', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.add(1)
    fixture.connect()
    fixture.give({ records: batch(5, 2) })
    fixture.shard.followed({ logEndOffset: 7 })
    fixture.give()
    fixture.link.sink.onClosed('it broke')
    fixture.pass(20)
    fixture.connect()
    assert.deepEqual([fixture.fetch.sessionId, fixture.fetch.sessionEpoch], [0, 0])
    assert.deepEqual(fixture.named, [
      [0, 7],
      [1, 5],
    ])
  })

  test('does nothing once it is stopped', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give({ records: batch(5, 2) })
    fixture.fetcher.stop()
    assert.equal(fixture.link.isClosed, true)
    fixture.shard.followed()
    fixture.pass(60_000)
    assert.equal(fixture.links.length, 1)
    assert.equal(fixture.arena.extentsInUse, 0)
  })
})

describe('ReplicaFetcher, fetching', () => {
  test('hands batches to the shard as they lie, and says how far they have come', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.add(1)
    fixture.connect()
    fixture.give()
    assert.deepEqual([fixture.fetch.sessionId, fixture.fetch.sessionEpoch], [1, 1])
    assert.deepEqual(fixture.named, [], 'the session has them')
    const records = Buffer.concat([batch(5, 2, 2), batch(7, 1, 3)])
    fixture.give({ records, highWatermark: 6, logStartOffset: 1 })
    const { request } = fixture.shard.follows[0] as { request: FollowRequest }
    const { offset, length } = request
    assert.deepEqual(Buffer.from(fixture.arena.bytes.subarray(offset, offset + length)), records)
    assert.deepEqual([request.handle, request.leaderEpoch], [10, 3])
    assert.deepEqual([request.leaderHighWatermark, request.leaderLogStart], [6, 1])
    assert.equal(fixture.arena.extentsInUse, 1, 'the shard has it')
    assert.equal(fixture.fetches, 2, 'what is written in a moment is waited for')
    fixture.shard.followed({ logEndOffset: 8, highWatermark: 6 })
    assert.equal(fixture.arena.extentsInUse, 0)
    assert.deepEqual(fixture.named, [[0, 8]])
    const [asked] = fixture.fetch.topics[0]?.partitions ?? []
    assert.deepEqual([asked?.lastFetchedEpoch, asked?.logStartOffset], [3, 1])
  })

  test('takes a new watermark without records', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give({ highWatermark: 9 })
    assert.equal(fixture.shard.follows[0]?.request.length, 0)
    fixture.shard.followed({ logEndOffset: 5, highWatermark: 5 })
    fixture.give({ highWatermark: 5 })
    assert.equal(fixture.shard.follows.length, 0, 'what it knows already it does not write')
    assert.deepEqual(fixture.named, [], 'its leader goes on from where it was asked')
  })

  test('says where a log begins by now, when its leader has said so', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give({ logStartOffset: 3 })
    fixture.shard.followed({ logEndOffset: 5, highWatermark: 5 })
    assert.deepEqual(fixture.named, [[0, 5]])
    assert.equal(fixture.fetch.topics[0]?.partitions[0]?.logStartOffset, 3)
  })

  test('asks once more for records that came while a watermark was being taken', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give()
    fixture.add(1)
    fixture.give({ highWatermark: 9 })
    fixture.give({ records: batch(5, 2) })
    assert.equal(fixture.shard.follows.length, 1)
    fixture.shard.followed({ logEndOffset: 5, highWatermark: 5 })
    assert.deepEqual(fixture.named, [[0, 5]])
    fixture.give({ records: batch(5, 2) })
    assert.equal(fixture.shard.follows[0]?.request.length, batch(5, 2).length)
  })

  test('does not take what comes for an earlier request for what it has asked since', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give()
    fixture.add(0, { leaderEpoch: 4, logEndOffset: 7 })
    assert.deepEqual(fixture.named, [[0, 7]])
    fixture.give({ records: batch(5, 2) })
    assert.equal(fixture.shard.follows.length, 0)
    fixture.give({ records: batch(7, 1, 4) })
    assert.equal(fixture.shard.follows[0]?.request.leaderEpoch, 4)
  })

  test('leaves out what is still being written, and asks for the others', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.add(1)
    fixture.connect()
    fixture.give()
    fixture.give({ records: batch(5, 2) })
    fixture.pass(20)
    assert.equal(fixture.fetches, 3)
    assert.deepEqual([fixture.named, fixture.forgotten], [[], [0]])
    fixture.shard.followed({ logEndOffset: 7 })
    fixture.give()
    assert.deepEqual([fixture.named, fixture.forgotten], [[[0, 7]], []])
  })

  test('cuts the log where it parts from its leader’s', async (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give({ divergingEpoch: { epoch: 2, endOffset: 4 } })
    assert.deepEqual(fixture.shard.controls[0]?.request, {
      kind: 'truncate',
      handle: 10,
      leaderEpoch: 3,
      end: { epoch: 2, endOffset: 4 },
    })
    await fixture.shard.reply({ logEndOffset: 4, latestEpoch: 2 })
    assert.deepEqual(fixture.named, [[0, 4]])
    assert.equal(fixture.fetch.topics[0]?.partitions[0]?.lastFetchedEpoch, 2)
  })

  test('begins the log anew where the leader’s begins', async (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    const errorCode = ErrorCode.OFFSET_OUT_OF_RANGE
    fixture.give({ errorCode, logStartOffset: 100 })
    const request = { kind: 'restart-at', handle: 10, leaderEpoch: 3, offset: 100 }
    assert.deepEqual(fixture.shard.controls[0]?.request, request)
    await fixture.shard.reply({ logEndOffset: 100, logStartOffset: 100, latestEpoch: -1 })
    assert.deepEqual(fixture.named, [[0, 100]])
    fixture.give({ records: batch(100, 1), logStartOffset: 200 })
    fixture.shard.followed({ errorCode })
    const again = { kind: 'restart-at', handle: 10, leaderEpoch: 3, offset: 200 }
    assert.deepEqual(fixture.shard.controls[0]?.request, again)
  })

  test('lets a partition with an error rest, and not the others', async (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.add(1)
    fixture.connect()
    fixture.give()
    fixture.give({ errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER })
    assert.deepEqual([fixture.named, fixture.forgotten], [[], [0]])
    fixture.pass(50)
    assert.deepEqual(fixture.named, [[0, 5]])
    fixture.give()
    fixture.give({ errorCode: ErrorCode.OFFSET_OUT_OF_RANGE, logStartOffset: -1 })
    assert.deepEqual([fixture.forgotten, fixture.shard.controls], [[0], []])
  })

  test('says at once what is new, while the leader waits with its answer', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give()
    const { fetches } = fixture
    fixture.add(1)
    assert.deepEqual([fixture.fetches, fixture.named], [fetches + 1, [[1, 5]]])
    assert.equal(fixture.fetch.sessionEpoch, 2)
    // One more at most: the leader answers the first of them now.
    fixture.add(2)
    assert.equal(fixture.fetches, fetches + 1)
    fixture.give()
    assert.deepEqual([fixture.fetches, fixture.named], [fetches + 2, [[2, 5]]])
  })

  test('asks for nothing, where the log stands being unknown, until the shard has said so', async (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give({ records: batch(5, 2) })
    fixture.shard.followed({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR, logEndOffset: -1 })
    assert.equal(fixture.shard.controls[0]?.request.kind, 'replica-states')
    const { fetches } = fixture
    // What is asked for counts as had: the old place would be a lie if the log is shorter now.
    fixture.pass(10_000)
    assert.equal(fixture.fetches, fetches)
    await fixture.shard.reply({ logEndOffset: 2 })
    fixture.pass(50)
    assert.deepEqual(fixture.named, [[0, 2]])
  })

  test('goes on after a shard could not say where a log stands', async (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give({ divergingEpoch: { epoch: 2, endOffset: 4 } })
    await fixture.shard.reply({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR, logEndOffset: -1 })
    fixture.pass(50)
    assert.deepEqual(fixture.named, [[0, 5]])
  })

  test('begins a new session when the leader has none', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give()
    fixture.answer({ errorCode: ErrorCode.FETCH_SESSION_ID_NOT_FOUND, sessionId: 0, responses: [] })
    fixture.pass(20)
    assert.deepEqual([fixture.fetch.sessionId, fixture.fetch.sessionEpoch], [0, 0])
    assert.deepEqual(fixture.named, [[0, 5]])
  })

  test('takes a partition out of the session, and forgets what comes for it', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.add(1)
    fixture.connect()
    fixture.give()
    fixture.fetcher.remove({ topicId: TOPIC, partition: 0 })
    fixture.give({ records: batch(5, 2) })
    assert.equal(fixture.shard.follows.length, 0)
    assert.deepEqual(fixture.forgotten, [0])
    assert.equal(fixture.fetcher.partitions, 1)
    assert.equal(fixture.arena.extentsInUse, 0)
  })

  test('follows a partition anew, whatever is under way for it', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.add(0, { leaderEpoch: 4, logEndOffset: 3 })
    fixture.give({ records: batch(5, 2) })
    assert.equal(fixture.shard.follows.length, 0, 'it was asked for in another epoch')
    assert.deepEqual(fixture.named, [[0, 3]])
    assert.equal(fixture.fetch.topics[0]?.partitions[0]?.currentLeaderEpoch, 4)
  })

  test('fetches a partition on that was added anew while a shard wrote for the old one', async (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give({ records: batch(5, 2) })
    fixture.pass(20)
    fixture.add(0, { leaderEpoch: 4 })
    assert.deepEqual(fixture.named, [[0, 5]])
    fixture.shard.followed({ errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER })
    assert.deepEqual(fixture.shard.controls, [], 'that is over')
    fixture.give()
    assert.deepEqual(fixture.forgotten, [])
    fixture.give({ records: batch(5, 1, 4) })
    assert.equal(fixture.shard.follows.length, 1)
  })

  test('does not take for the new partition what came of cutting the old one', async (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give({ divergingEpoch: { epoch: 2, endOffset: 4 } })
    fixture.pass(20)
    fixture.add(0, { leaderEpoch: 4, logEndOffset: 6 })
    await fixture.shard.reply({ errorCode: ErrorCode.FENCED_LEADER_EPOCH })
    fixture.give()
    fixture.give()
    assert.deepEqual([fixture.named, fixture.forgotten], [[], []])
  })

  test('gives up a leader that says nothing, but not one whose answer is long', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    for (let i = 0; i < 5; i++) {
      fixture.link.hasProgress = true
      fixture.pass(WAIT_MS + SILENCE_MS)
      assert.equal(fixture.link.isClosed, false)
    }
    fixture.pass(SILENCE_MS)
    assert.equal(fixture.link.isClosed, true)
    fixture.pass(20)
    assert.equal(fixture.links.length, 2)
  })

  test('gives up a leader whose answers are none', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.answer({ errorCode: 0, sessionId: 1, responses: [] }, 99)
    assert.equal(fixture.link.isClosed, true)
    fixture.pass(20)
    fixture.connect()
    const bytes = new Uint8Array([0, 0, 0])
    const offset = fixture.arena.allocate(bytes.length)
    const generation = fixture.arena.generationOf(offset)
    const frame = new RequestFrame(fixture.arena, { offset, length: bytes.length, generation })
    fixture.link.sink.onFrame(frame)
    frame.release()
    assert.equal(fixture.link.isClosed, true)
    assert.equal(fixture.arena.extentsInUse, 0)
  })

  test('is not misled by records that are none', (t) => {
    const fixture = new Fixture(t)
    fixture.add(0)
    fixture.connect()
    fixture.give({ records: new Uint8Array(200).fill(0xff) })
    assert.equal(fixture.shard.follows.length, 1, 'the shard says what they are')
    fixture.shard.followed({ errorCode: ErrorCode.CORRUPT_MESSAGE, logEndOffset: -1 })
    assert.equal(fixture.shard.controls.length, 1)
    assert.equal(fixture.arena.extentsInUse, 0)
  })
})
