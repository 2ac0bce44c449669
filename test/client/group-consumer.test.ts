/** Consumers that are members of groups, against the real coordinator in virtual time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import type { ConsumerRecord } from '../../src/client/consumer-options.ts'
import { GroupConsumer } from '../../src/client/group-consumer.ts'
import { GroupMembership } from '../../src/client/group-membership.ts'
import { type GroupConsumerOptions, groupSettings } from '../../src/client/group-options.ts'
import { Link } from '../../src/client/link.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import type { FakePartition } from '../support/fake-log.ts'
import { withSeed } from '../support/seed.ts'
import { type Harness, harness } from './harness.ts'

function append(partition: FakePartition, count: number): void {
  const builder = new BatchBuilder()
  for (let i = 0; i < count; i++) builder.append(1, null, 'x')
  assert.equal(partition.append(builder.buildSync()).code, 0)
}

function start(partitions: number, count: number): Harness {
  const h = harness(new Random(1))
  for (const partition of h.server.createTopic('t', partitions)) append(partition, count)
  return h
}

function consume(h: Harness, options: Partial<GroupConsumerOptions> = {}): GroupConsumer {
  const all = { group: 'g', topics: ['t'], from: 'earliest', sessionTimeoutMs: 6000, ...options }
  return new GroupConsumer(h.link, all as GroupConsumerOptions, () => {})
}

/** A consumer of a client of its own. */
function another(h: Harness, options: Partial<GroupConsumerOptions> = {}): GroupConsumer {
  const connecting = { requestTimeoutMs: 5000, creditWindowBytes: 1000 }
  const reconnect = { minMs: 10, maxMs: 200 }
  const link = new Link({ url: 'ws://fake', ...connecting, reconnect }, h.server.platform)
  return consume({ ...h, link }, options)
}

function committed(h: Harness, partition = 0): number {
  return h.server.groups.coordinator.offsets.get('g', 't', partition)?.offset ?? -1
}

async function take(h: Harness, from: AsyncIterator<ConsumerRecord>, count: number) {
  const got: ConsumerRecord[] = []
  while (got.length < count) got.push((await h.timers.until(from.next())).value)
  return got
}

test('what the application is done with is committed, and the next one begins there', async () => {
  const h = start(1, 10)
  const first = consume(h)
  const got = await take(h, first[Symbol.asyncIterator](), 5)
  assert.deepEqual(
    got.map(({ offset }) => offset),
    [0, 1, 2, 3, 4],
  )
  await h.timers.until(first.close())
  assert.equal(committed(h), 4, 'it may not be done with the fifth')
  const [next] = await take(h, consume(h)[Symbol.asyncIterator](), 1)
  assert.equal(next?.offset, 4)
})

test('what is too much for one request is committed in several', async () => {
  const count = 2500
  const h = start(count, 1)
  let isAssigned = false
  const membership = new GroupMembership(h.link, groupSettings({ group: 'g', topics: ['t'] }), {
    assigned: () => {
      isAssigned = true
    },
    revoke: () => {},
    lost: () => {},
    failed: (error) => assert.fail(error),
    mayJoin: () => true,
  })
  membership.start()
  while (!isAssigned) await h.timers.pass(100)
  const { memberId } = membership
  const at = (partition: number, offset: number) => ({ topic: 't', partition, offset })
  const all = Array.from({ length: count }, (_, i) => at(i, 1))
  await h.timers.until(membership.commit(all))
  for (const partition of [0, 1999, 2000, count - 1]) assert.equal(committed(h, partition), 1)
  // All are asked for, and the first that is refused is told: also metadata that are too long.
  const long = Array.from({ length: 100 }, (_, i) => ({
    ...at(i, 2),
    metadata: 'x'.repeat(30_000),
  }))
  const some = membership.commit([at(count, 2), ...long, at(200, 2)])
  await assert.rejects(h.timers.until(some), /t-2500 was not committed at 2/)
  assert.deepEqual([committed(h, 0), committed(h, 200)], [1, 2])
  assert.equal(membership.memberId, memberId, 'it has not lost its connection')
})

test('what the server would close the connection for is refused at once', () => {
  const h = start(1, 1)
  const topics = Array.from({ length: 2001 }, (_, i) => `t${i}`)
  assert.throws(() => consume(h, { topics }), /takes 2000 topics/)
  assert.throws(() => consume(h, { sessionTimeoutMs: 2 ** 31 }), /sessionTimeoutMs is at most/)
  assert.throws(() => consume(h, { rebalanceTimeoutMs: NaN }), RangeError)
})

test('without autoCommit only commit() commits, the last event included', async () => {
  const h = start(1, 10)
  const consumer = consume(h, { autoCommit: false })
  const iterator = consumer[Symbol.asyncIterator]()
  await take(h, iterator, 3)
  await h.timers.pass(20_000)
  assert.equal(committed(h), -1)
  await h.timers.until(consumer.commit())
  assert.equal(committed(h), 3)
  await h.timers.until(consumer.commit([{ topic: 't', partition: 0, offset: 1 }]))
  assert.equal(committed(h), 1)
  const foreign = consumer.commit([{ topic: 't', partition: 9, offset: 1 }])
  await assert.rejects(h.timers.until(foreign), { code: ErrorCode.ILLEGAL_GENERATION })
  await h.timers.until(consumer.close())
  await assert.rejects(consumer.commit([{ topic: 't', partition: 0, offset: 2 }]))
})

test('what the application commits itself is not taken back by what is committed unasked', async () => {
  const h = start(1, 10)
  const consumer = consume(h, { autoCommitIntervalMs: 100 })
  const iterator = consumer[Symbol.asyncIterator]()
  await take(h, iterator, 5)
  await h.timers.until(consumer.commit())
  await h.timers.pass(1000)
  assert.equal(committed(h), 5)
  await take(h, iterator, 1)
  await h.timers.until(consumer.commit([{ topic: 't', partition: 0, offset: 6 }]))
  await h.timers.pass(1000)
  assert.equal(committed(h), 6)
  await h.timers.until(consumer.close())
  assert.equal(committed(h), 6)
})

test('where a consumer begins that has read nothing, is committed', async () => {
  const h = start(1, 10)
  const consumer = consume(h, { from: 'latest' })
  await h.timers.pass(1000)
  await h.timers.until(consumer.close())
  assert.equal(committed(h), 10)
})

test('partitions are given back when the application asks for more, and not before', async () => {
  const h = start(2, 10)
  const said: string[] = []
  const listener = (name: string) => ({
    assigned: (all: readonly object[]) => void said.push(`${name} +${all.length}`),
    revoked: (all: readonly object[]) => void said.push(`${name} -${all.length}`),
    lost: (all: readonly object[]) => void said.push(`${name} lost ${all.length}`),
  })
  const first = consume(h, { listener: listener('a') })
  const iterator = first[Symbol.asyncIterator]()
  const [held] = await take(h, iterator, 1)
  const second = another(h, { listener: listener('b') })
  await h.timers.pass(8000)
  assert.deepEqual(said, ['a +2'])
  const next = iterator.next()
  await h.timers.pass(2000)
  assert.deepEqual([said[1], ...said.slice(2).sort()], ['a -2', 'a +1', 'b +1'])
  assert.equal(committed(h, held!.partition), held!.offset + 1)
  await h.timers.until(next)
  await h.timers.until(Promise.all([first.close(), second.close()]))
})

test('an application that keeps the others waiting is put out, and joins when it is back', async () => {
  const h = start(2, 10)
  const lost: number[] = []
  const listener = { lost: (all: readonly object[]) => void lost.push(all.length) }
  const first = consume(h, { rebalanceTimeoutMs: 4000, listener })
  const iterator = first[Symbol.asyncIterator]()
  await take(h, iterator, 1)
  const second = another(h)
  await h.timers.pass(10_000)
  assert.deepEqual([lost, first.assignments(), second.assignments().length], [[2], [], 2])
  const next = iterator.next()
  await h.timers.pass(4000)
  assert.equal(second.assignments().length, 1)
  await h.timers.until(next)
})

test('run: in order within a partition, no more partitions at once than allowed', async () => {
  const h = start(4, 20)
  const consumer = consume(h)
  const seen = new Map<number, number[]>()
  let working = 0
  let most = 0
  const ran = consumer.run({
    concurrency: 3,
    eachRecord: async ({ partition, offset }) => {
      most = Math.max(most, ++working)
      await new Promise<void>((resolve) => h.timers.after(5, resolve))
      seen.set(partition, [...(seen.get(partition) ?? []), offset])
      working--
    },
  })
  await h.timers.pass(5000)
  assert.equal(most, 3)
  const all = Array.from({ length: 20 }, (_, i) => i)
  assert.deepEqual([...seen.values()], [all, all, all, all])
  await h.timers.until(consumer.close())
  await ran
  assert.deepEqual(
    [0, 1, 2, 3].map((partition) => committed(h, partition)),
    [20, 20, 20, 20],
  )
})

test('run: what the function fails with ends it, and is not committed', async () => {
  const h = start(1, 10)
  const consumer = consume(h)
  const ran = consumer.run({
    eachRecord: ({ offset }) => {
      if (offset === 6) throw new Error('six')
    },
  })
  await assert.rejects(h.timers.until(ran), /six/)
  assert.equal(committed(h), 6)
})

test('paused partitions give nothing; a seek is committed', async () => {
  const h = start(2, 10)
  const consumer = consume(h, { listener: { assigned: () => consumer.pause('t', 1) } })
  const iterator = consumer[Symbol.asyncIterator]()
  const got = await take(h, iterator, 10)
  assert(got.every(({ partition }) => partition === 0))
  consumer.seek('t', 0, 5)
  const [again] = await take(h, iterator, 1)
  assert.equal(again?.offset, 5)
  consumer.resume('t', 1)
  const rest = await take(h, iterator, 14)
  assert.equal(rest.filter(({ partition }) => partition === 1).length, 10)
  await h.timers.until(consumer.commit())
  assert.deepEqual([committed(h, 0), committed(h, 1)].sort(), [10, 10])
})

test('what the group refuses is said in the loop', async () => {
  const h = start(1, 1)
  const iterator = consume(h, { sessionTimeoutMs: 1 })[Symbol.asyncIterator]()
  await assert.rejects(h.timers.until(iterator.next()), { code: ErrorCode.INVALID_SESSION_TIMEOUT })
})

for (let i = 0; i < 20; i++) {
  test(`through lost connections every event is processed, in order, history ${i}`, () =>
    withSeed('group-consumer', history))
}

const PARTITIONS = 5

async function history(random: Random): Promise<void> {
  const h = harness(random.split())
  const logs = h.server.createTopic('t', PARTITIONS)
  h.server.faults = { answerDelayMs: 50, dropPush: 0.01 }
  const seen = new Set<string>()
  /** Of one partition at a time, in one member. */
  const working = new Set<string>()
  const members: { consumer: GroupConsumer; done: Promise<void> }[] = []
  let name = 0

  const process = async (who: number, { partition, offset }: ConsumerRecord): Promise<void> => {
    const key = `${who}:${partition}`
    assert(!working.has(key), 'a partition is worked on twice')
    working.add(key)
    if (random.chance(0.2)) {
      await new Promise<void>((resolve) => h.timers.after(random.below(300), resolve))
    }
    working.delete(key)
    seen.add(`${partition}-${offset}`)
  }
  const join = (): void => {
    const who = name++
    const consumer = another(h, { autoCommitIntervalMs: 100, rebalanceTimeoutMs: 4000 })
    const iterate = async (): Promise<void> => {
      for await (const record of consumer) await process(who, record)
    }
    const done = random.chance(0.5)
      ? iterate()
      : consumer.run({ concurrency: 3, eachRecord: (record) => process(who, record) })
    members.push({ consumer, done })
  }
  const leave = async (): Promise<void> => {
    const [{ consumer, done }] = members.splice(random.below(members.length), 1) as never as [
      (typeof members)[number],
    ]
    await h.timers.until(consumer.close())
    await h.timers.until(done)
  }

  let best = Array.from({ length: PARTITIONS }, () => -1)
  for (let round = 0; round < 25; round++) {
    append(logs[random.below(PARTITIONS)]!, 1 + random.below(20))
    h.server.appended()
    const choice = random.below(8)
    if (members.length === 0 || (choice < 2 && members.length < 4)) join()
    else if (choice === 2) await leave()
    else if (choice === 3) random.pick([...h.server.connections])?.end(1006, 'lost')
    else if (choice === 4) h.server.dropAll()
    else if (choice === 5 && !h.server.groups.isLoading) h.server.groups.restart(random.below(1500))
    await h.timers.pass(random.below(1500))
    const now = best.map((_, partition) => committed(h, partition))
    for (const [partition, offset] of now.entries()) {
      assert(offset >= best[partition]!, `partition ${partition} went back to ${offset}`)
    }
    best = now
  }
  h.server.faults = {}
  if (members.length === 0) join()
  await h.timers.pass(60_000)
  for (const [partition, log] of logs.entries()) {
    for (let offset = 0; offset < log.logEndOffset; offset++) {
      assert(seen.has(`${partition}-${offset}`), `${partition}-${offset} was not processed`)
    }
    assert.equal(committed(h, partition), log.logEndOffset, `of partition ${partition}`)
  }
  while (members.length > 0) await leave()
  assert.deepEqual(h.server.violations, [])
}
