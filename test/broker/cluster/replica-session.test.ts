/** What a follower fetches over one connection, in front of a shard that the test plays. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../../src/base/random.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import {
  READ_MIN_ONE_BATCH,
  READ_NEWS,
  READ_NO_MEMORY,
  READ_THROTTLED,
  READ_TOO_SMALL,
  READ_VERIFY,
  READ_WATCH,
  READ_WATCHING,
} from '../../../src/shard/messages-layout.ts'
import type { ReadOutcome } from '../../../src/shard/shard-proxy.ts'
import { settled } from '../../cluster/fixture.ts'
import {
  type Answer,
  Fixture,
  READ_BYTES_MAX,
  type Read,
  WAIT_MS,
  watching,
} from './session-fixture.ts'

describe('ReplicaSession', () => {
  test('answers with data at once, and reads on where the follower says', async (t) => {
    const fixture = new Fixture(t)
    fixture.fetch([0, 1])
    const { request } = fixture.shard.reads[0] as Read
    assert.deepEqual([request.replicaId, request.replicaEpoch, request.fetchOffset], [2, 7, 5])
    fixture.shard.answer({ offset: 64, length: 100, highWatermark: 9 })
    fixture.shard.watch({ highWatermark: -1, logStartOffset: -1 })
    assert.deepEqual(await fixture.answered(), ['0: error 0, 100 bytes, watermark 9'])
    assert.equal(fixture.sent, 100)
    assert.equal(fixture.shard.lent.size, 0)
    fixture.fetch([0])
    assert.deepEqual(fixture.shard.asked, [10], 'the other one is still watched')
    assert.equal(fixture.shard.watches.size, 1)
  })

  test('has looked at what is asked for once more, also when it was left out between', async (t) => {
    const fixture = new Fixture(t)
    const isVerified = async (...asked: Parameters<Fixture['fetch']>): Promise<boolean> => {
      fixture.fetch(...asked)
      const { request } = fixture.shard.answer({ length: 100 })
      await fixture.answered()
      return (request.flags & READ_VERIFY) !== 0
    }
    assert.equal(await isVerified([0]), false)
    assert.equal(await isVerified([0]), true)
    assert.equal(await isVerified([1], { forget: [0] }), false)
    assert.equal(await isVerified([0], { forget: [1] }), true)
    assert.equal(await isVerified([0], { fetchOffset: 8 }), false)
  })

  test('holds the memory of an answer until it is given back', async (t) => {
    const fixture = new Fixture(t)
    fixture.fetch([0])
    fixture.shard.answer({ length: 100 })
    await settled()
    assert.equal(fixture.shard.lent.size, 1)
    const [answer] = fixture.answers as [Answer]
    answer.release()
    answer.release()
    assert.equal(fixture.shard.lent.size, 0)
  })

  test('is woken by what is written while the request waits', async (t) => {
    const fixture = new Fixture(t)
    const [first] = await watching(fixture, [0, 1])
    fixture.fetch([])
    assert.deepEqual(fixture.shard.asked, [])
    fixture.shard.wake(first as Read)
    assert.deepEqual(fixture.shard.asked, [10])
    fixture.shard.answer({ length: 50 })
    assert.deepEqual(await fixture.answered(), ['0: error 0, 50 bytes, watermark 5'])
  })

  test('reads with the next request what woke it between two', async (t) => {
    const fixture = new Fixture(t)
    const [first] = await watching(fixture, [0, 1])
    fixture.shard.wake(first as Read)
    assert.deepEqual(fixture.shard.asked, [])
    fixture.fetch([])
    assert.deepEqual(fixture.shard.asked, [10])
  })

  test('says nothing after so long, where there is nothing', async (t) => {
    const fixture = new Fixture(t)
    await watching(fixture, [0])
    fixture.fetch([])
    fixture.pass(WAIT_MS - 1)
    assert.ok(await fixture.isOpen())
    fixture.pass(1)
    assert.deepEqual(await fixture.answered(), [])
  })

  test('lets a watermark wait a moment for data, and sends both as one', async (t) => {
    const fixture = new Fixture(t)
    const [first, second] = await watching(fixture, [0, 1])
    fixture.fetch([])
    fixture.shard.wake(first as Read)
    const again = fixture.shard.watch({ highWatermark: 8 })
    assert.ok(await fixture.isOpen())
    fixture.shard.wake(again)
    fixture.shard.answer({ length: 30, highWatermark: 8 })
    assert.deepEqual(await fixture.answered(), ['0: error 0, 30 bytes, watermark 8'])
    fixture.fetch([0])
    fixture.shard.watch({ highWatermark: 8 })
    fixture.shard.wake(second as Read)
    fixture.shard.answer({ flags: READ_NEWS, highWatermark: 6 })
    assert.deepEqual(fixture.shard.asked, [11], 'told of the watermark, it is watched')
    fixture.shard.watch({ highWatermark: 6 })
    assert.ok(await fixture.isOpen())
    fixture.pass(10)
    assert.deepEqual(await fixture.answered(), ['1: error 0, 0 bytes, watermark 6'])
  })

  test('says a watermark again to a follower that names the partition without need', async (t) => {
    const fixture = new Fixture(t)
    const [first] = await watching(fixture, [0])
    fixture.fetch([])
    fixture.shard.wake(first as Read)
    fixture.shard.watch({ highWatermark: 12 })
    fixture.pass(10)
    assert.deepEqual(await fixture.answered(), ['0: error 0, 0 bytes, watermark 12'])
    // It was busy with the partition, and has taken nothing.
    fixture.fetch([0])
    fixture.shard.watch({ highWatermark: 12 })
    fixture.pass(10)
    assert.deepEqual(await fixture.answered(), ['0: error 0, 0 bytes, watermark 12'])
  })

  test('answers at once where the logs part, and with an error', async (t) => {
    const fixture = new Fixture(t)
    fixture.unknown.add(2)
    fixture.fetch([0, 1, 2])
    fixture.shard.answer({ divergingEpoch: 2, divergingEndOffset: 4 })
    fixture.shard.answer({ errorCode: ErrorCode.FENCED_LEADER_EPOCH })
    await settled()
    const parts = fixture.answers[0]?.body.responses?.[0]?.partitions ?? []
    const byIndex = new Map(parts.map((part) => [part.partitionIndex, part]))
    assert.deepEqual(byIndex.get(0)?.divergingEpoch, { epoch: 2, endOffset: 4 })
    assert.equal(byIndex.get(1)?.errorCode, ErrorCode.FENCED_LEADER_EPOCH)
    assert.equal(byIndex.get(2)?.errorCode, ErrorCode.UNKNOWN_TOPIC_ID)
    fixture.answers = []
    fixture.fetch([])
    assert.deepEqual(fixture.shard.asked, [], 'the follower says how it goes on')
  })

  test('reads no more than the request has room for, and the rest with the next', async (t) => {
    const fixture = new Fixture(t)
    fixture.fetch([0, 1, 2, 3])
    const sizes = fixture.shard.reads.map(({ request }) => request.bytesMax)
    assert.deepEqual(sizes, [4000, 4000, 2000])
    for (const length of [4000, 4000, 2000]) fixture.shard.answer({ length })
    assert.equal((await fixture.answered()).length, 3)
    fixture.fetch([0])
    assert.deepEqual(fixture.shard.asked, [13, 10], 'who waited is first')
  })

  test('gives a batch that is larger than the room for it whole, if it is the first', async (t) => {
    const fixture = new Fixture(t)
    fixture.fetch([0, 1])
    const flags = fixture.shard.reads.map(({ request }) => request.flags & READ_MIN_ONE_BATCH)
    assert.deepEqual(flags, [READ_MIN_ONE_BATCH, 0])
    fixture.shard.watch()
    fixture.shard.answer({ flags: READ_TOO_SMALL })
    const [again] = fixture.shard.reads as [Read]
    assert.equal(again.request.flags & READ_MIN_ONE_BATCH, READ_MIN_ONE_BATCH)
    fixture.shard.answer({ length: 20_000 })
    const answer = await fixture.answered()
    assert.ok(answer.includes('1: error 0, 20000 bytes, watermark 5'))
  })

  test('tries again where there was no memory', async (t) => {
    const fixture = new Fixture(t)
    fixture.fetch([0])
    fixture.shard.answer({ flags: READ_NO_MEMORY, highWatermark: -1 })
    assert.deepEqual(fixture.shard.asked, [])
    fixture.pass(2)
    assert.deepEqual(fixture.shard.asked, [10])
    fixture.shard.answer({ flags: READ_NO_MEMORY, highWatermark: -1 })
    fixture.pass(2)
    fixture.shard.answer({ length: 10 })
    assert.deepEqual(await fixture.answered(), ['0: error 0, 10 bytes, watermark 5'])
  })

  test('throws away what is read for what the follower has changed meanwhile', async (t) => {
    const fixture = new Fixture(t)
    fixture.fetch([0, 1])
    fixture.shard.answer({ errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER })
    // One read is under way when the next request comes: the first is answered with what there is.
    fixture.fetch([1])
    assert.deepEqual(await fixture.answered(), ['0: error 6, 0 bytes, watermark 5'])
    fixture.shard.answer({ length: 100 })
    assert.equal(fixture.shard.lent.size, 0)
    fixture.shard.answer({ length: 30 })
    assert.deepEqual(await fixture.answered(), ['1: error 0, 30 bytes, watermark 5'])
  })

  test('watches nothing that is forgotten, though it is being read', async (t) => {
    const fixture = new Fixture(t)
    await watching(fixture, [0, 1])
    fixture.fetch([1], { forget: [0] })
    assert.equal(fixture.session.partitions, 1)
    assert.deepEqual(fixture.shard.asked, [11])
    assert.equal(fixture.shard.watches.size, 0)
    fixture.fetch([], { forget: [1] })
    fixture.shard.watch()
    assert.equal(fixture.session.partitions, 0)
    fixture.assertFree()
  })

  test('begins anew with a request that begins a session', async (t) => {
    const fixture = new Fixture(t)
    await watching(fixture, [0, 1, 2])
    fixture.restart()
    fixture.fetch([1])
    assert.equal(fixture.session.partitions, 1)
    assert.deepEqual(fixture.shard.asked, [11])
    assert.equal(fixture.shard.watches.size, 0)
  })

  test('refuses a request out of turn', async (t) => {
    const fixture = new Fixture(t)
    await watching(fixture, [0])
    fixture.fetch([], { sessionEpoch: 9 })
    await settled()
    assert.equal(fixture.answers[0]?.body.errorCode, ErrorCode.INVALID_FETCH_SESSION_EPOCH)
  })

  test('looks again now and then at what is watched, so that leaders hear of it', async (t) => {
    const fixture = new Fixture(t)
    const many = Array.from({ length: 100 }, (_, i) => i)
    await watching(fixture, many)
    const looked: number[] = []
    for (let round = 0; round < 4; round++) {
      fixture.pass(WAIT_MS)
      fixture.fetch([])
      let count = 0
      for (; fixture.shard.reads.length > 0; count++) fixture.shard.watch()
      looked.push(count)
      fixture.pass(WAIT_MS)
      assert.deepEqual(await fixture.answered(), [])
    }
    assert.deepEqual(looked, [64, 36, 64, 36])
  })

  test('gives everything back when the connection is gone', async (t) => {
    const fixture = new Fixture(t)
    fixture.fetch([0, 1, 2], { minBytes: 1000 })
    fixture.shard.answer({ length: 100 })
    fixture.shard.watch()
    fixture.session.close()
    await settled()
    assert.equal(fixture.answers.length, 1, 'nobody waits for ever')
    fixture.shard.answer({ length: 100 })
    fixture.assertFree()
    fixture.pass(60_000)
    assert.deepEqual(fixture.shard.asked, [])
  })

  test('gives back a watch that is made while the connection goes', async (t) => {
    const fixture = new Fixture(t)
    fixture.fetch([0])
    fixture.session.close()
    fixture.shard.watch()
    fixture.assertFree()
  })

  test('answers in the end whatever a shard says, and keeps nothing', async (t) => {
    const outcomes: Partial<ReadOutcome>[] = [
      { length: 700 },
      { flags: READ_WATCHING },
      { flags: READ_NEWS, highWatermark: 9 },
      { flags: READ_NO_MEMORY },
      { flags: READ_TOO_SMALL },
      { errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER },
      { divergingEpoch: 1, divergingEndOffset: 2 },
    ]
    const fixture = new Fixture(t)
    const random = new Random(7)
    for (let round = 0; round < 200; round++) {
      fixture.fetch(round === 0 ? [0, 1, 2, 3, 4] : [round % 5], {
        forget: round % 7 === 6 ? [3] : [],
      })
      for (let steps = 0; await fixture.isOpen(); steps++) {
        assert.ok(steps < 2000, `round ${round} is not answered`)
        const outcome = outcomes[random.below(outcomes.length)]
        if (fixture.shard.reads.length > 0) fixture.shard.answer(outcome)
        else fixture.pass(1)
      }
      await fixture.answered()
    }
    fixture.session.close()
    while (fixture.shard.reads.length > 0) fixture.shard.answer({ length: 1 })
    fixture.assertFree()
  })
})

/** There is something, for which there was no room, and the follower knows the rest. */
const HELD = { flags: READ_TOO_SMALL, highWatermark: -1, logStartOffset: -1 }

describe('ReplicaSession, throttled', () => {
  test('answers with the others, and reads on when the rate allows it', async (t) => {
    const fixture = new Fixture(t)
    const { shard, throttle } = fixture
    throttle.counted.add(10)
    throttle.isOpen = false
    fixture.fetch([0, 1])
    const asked = shard.reads.map(({ request }) => [request.bytesMax, request.flags])
    assert.deepEqual(
      asked[0],
      [0, READ_WATCH | READ_THROTTLED],
      'its leader hears of it all the same',
    )
    shard.answer({ flags: READ_TOO_SMALL })
    shard.answer({ length: 100 })
    const others = await fixture.answered()
    assert.ok(others.includes('1: error 0, 100 bytes, watermark 5'), String(others))
    fixture.fetch([1])
    assert.deepEqual(shard.asked, [11], 'nobody asks for it again meanwhile')
    shard.watch()
    throttle.isOpen = true
    fixture.pass(throttle.waitsMs)
    assert.deepEqual(shard.asked, [10])
    assert.equal(throttle.taken, READ_BYTES_MAX)
    shard.answer({ length: 300 })
    assert.deepEqual(await fixture.answered(), ['0: error 0, 300 bytes, watermark 5'])
    assert.equal(throttle.taken, 300)
    fixture.session.close()
    fixture.assertFree()
  })

  test('lets one through that waits for data, as soon as there is some', async (t) => {
    const fixture = new Fixture(t)
    const { shard, throttle } = fixture
    throttle.counted.add(10)
    throttle.isOpen = false
    const [read] = await watching(fixture, [0])
    fixture.fetch([])
    shard.wake(read as Read)
    assert.deepEqual(shard.asked, [10])
    shard.answer({ flags: READ_TOO_SMALL })
    fixture.pass(WAIT_MS)
    assert.deepEqual(await fixture.answered(), [], 'there is nothing to say')
  })

  test('takes up what counts no more, at the latest a moment after that has changed', async (t) => {
    const fixture = new Fixture(t)
    const { shard, throttle } = fixture
    for (const handle of [10, 11]) throttle.counted.add(handle)
    throttle.isOpen = false
    fixture.fetch([0, 1])
    shard.answer(HELD)
    shard.answer(HELD)
    throttle.counted.delete(11)
    throttle.version++
    fixture.pass(20)
    assert.deepEqual(shard.asked, [11])
    shard.answer({ length: 100 })
    assert.deepEqual(await fixture.answered(), ['1: error 0, 100 bytes, watermark 5'])
  })

  test('takes up at once what has become in sync while it was looked at', async (t) => {
    const fixture = new Fixture(t)
    const { shard, throttle } = fixture
    throttle.counted.add(10)
    throttle.isOpen = false
    fixture.fetch([0])
    throttle.counted.delete(10)
    shard.answer(HELD)
    assert.equal(shard.reads[0]?.request.bytesMax, READ_BYTES_MAX)
    shard.answer({ length: 100 })
    assert.equal((await fixture.answered()).length, 1)
    assert.equal(throttle.taken, 0)
  })

  test('reads one after another, so that none takes more than it may', async (t) => {
    const fixture = new Fixture(t)
    const { shard, throttle } = fixture
    for (const handle of [10, 11, 12]) throttle.counted.add(handle)
    throttle.isOpen = false
    fixture.fetch([0, 1, 2])
    for (let i = 0; i < 3; i++) shard.answer(HELD)
    throttle.take = (bytes) => {
      throttle.taken += bytes
      throttle.isOpen = throttle.taken <= 0
    }
    throttle.isOpen = true
    fixture.pass(throttle.waitsMs)
    assert.deepEqual(shard.asked, [10])
    shard.answer({ length: 100 })
    assert.equal((await fixture.answered()).length, 1)
    throttle.taken = 0
    throttle.isOpen = true
    fixture.fetch([0])
    assert.deepEqual(shard.asked, [10], 'who has moved on has its turn')
    shard.answer({ flags: READ_WATCHING })
    assert.deepEqual(shard.asked, [11])
  })

  test('gives back what a read that comes too late has not copied', async (t) => {
    const fixture = new Fixture(t)
    fixture.throttle.counted.add(10)
    fixture.fetch([0])
    assert.equal(fixture.throttle.taken, READ_BYTES_MAX)
    fixture.session.close()
    fixture.shard.answer({ length: 100 })
    assert.equal(fixture.throttle.taken, 0)
    fixture.assertFree()
  })
})
