import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ZERO_UUID } from '../../src/base/uuid.ts'
import { FetchSessionCache } from '../../src/broker/fetch-session.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { FetchRequest } from '../../src/wire/kafka/schema/01-fetch.ts'

const clock = { now: 0, wallMs: () => 0, monotonicMs: () => clock.now }

function request(parts: {
  sessionId?: number
  sessionEpoch?: number
  fetch?: Record<string, number>
  forget?: string[]
}): FetchRequest {
  const partition = (name: string, fetchOffset: number) => ({
    topic: name.split('-')[0],
    topicId: ZERO_UUID,
    partitions: [
      {
        partition: Number(name.split('-')[1]),
        fetchOffset,
        partitionMaxBytes: 1000,
        currentLeaderEpoch: -1,
      },
    ],
  })
  return {
    sessionId: parts.sessionId ?? 0,
    sessionEpoch: parts.sessionEpoch ?? -1,
    topics: Object.entries(parts.fetch ?? {}).map(([name, offset]) => partition(name, offset)),
    forgottenTopicsData: (parts.forget ?? []).map((name) => ({
      topic: name.split('-')[0],
      topicId: ZERO_UUID,
      partitions: [Number(name.split('-')[1])],
    })),
  } as unknown as FetchRequest
}

test('FetchSessionCache, epoch -1, plans without a session', () => {
  const cache = new FetchSessionCache(10, clock)
  const plan = cache.plan(request({ fetch: { 'a-0': 5 } }), 12)
  assert.equal(plan.sessionId, 0)
  assert.equal(plan.isIncremental, false)
  assert.equal(cache.size, 0)
})

test('FetchSessionCache, incremental requests, keep, change, add and forget partitions', () => {
  const cache = new FetchSessionCache(10, clock)
  const first = cache.plan(request({ sessionEpoch: 0, fetch: { 'a-0': 5, 'a-1': 6 } }), 12)
  assert.notEqual(first.sessionId, 0)
  const next = { sessionId: first.sessionId }
  const same = cache.plan(request({ ...next, sessionEpoch: 1 }), 12)
  assert.deepEqual(
    same.partitions.map((partition) => partition.fetchOffset),
    [5, 6],
  )
  const changed = cache.plan(
    request({ ...next, sessionEpoch: 2, fetch: { 'a-1': 9, 'b-0': 1 }, forget: ['a-0'] }),
    12,
  )
  assert.deepEqual(
    changed.partitions.map((p) => `${p.topic}-${p.partition}@${p.fetchOffset}`),
    ['a-1@9', 'b-0@1'],
  )
  assert.equal(changed.isIncremental, true)
})

test('FetchSessionCache, wrong session, epoch or kind of topic name, answers the code', () => {
  const cache = new FetchSessionCache(10, clock)
  const { sessionId } = cache.plan(request({ sessionEpoch: 0, fetch: { 'a-0': 0 } }), 12)
  const code = (id: number, sessionEpoch: number, version: number) =>
    cache.plan(request({ sessionId: id, sessionEpoch }), version).errorCode
  assert.equal(code(sessionId + 1, 1, 12), ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
  assert.equal(code(sessionId, 7, 12), ErrorCode.INVALID_FETCH_SESSION_EPOCH)
  assert.equal(code(sessionId, 1, 13), ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
  assert.equal(code(sessionId, 1, 12), ErrorCode.NONE)
})

test('FetchSessionCache, full, serves without a session until the oldest one is stale', () => {
  const cache = new FetchSessionCache(1, clock)
  const open = () => cache.plan(request({ sessionEpoch: 0, fetch: { 'a-0': 0 } }), 12).sessionId
  const first = open()
  assert.notEqual(first, 0)
  assert.equal(open(), 0)
  clock.now += 10 * 60 * 1000
  assert.notEqual(open(), 0)
  const evicted = cache.plan(request({ sessionId: first, sessionEpoch: 1 }), 12)
  assert.equal(evicted.errorCode, ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
})

test('FetchSessionCache, too many partitions in all, serves without a session', () => {
  const cache = new FetchSessionCache(10, clock, 4)
  const three = { 'a-0': 0, 'a-1': 0, 'a-2': 0 }
  const open = (fetch: Record<string, number>) =>
    cache.plan(request({ sessionEpoch: 0, fetch }), 12).sessionId
  const first = open(three)
  assert.notEqual(first, 0)
  const refused = cache.plan(request({ sessionEpoch: 0, fetch: three }), 12)
  assert.equal(refused.sessionId, 0)
  assert.equal(refused.partitions.length, 3)
  assert.equal(cache.partitions, 3)
  const second = open({ 'b-0': 0 })
  assert.notEqual(second, 0)
  // A session that grows beyond the bound is served once more and ends.
  const grown = cache.plan(request({ sessionId: second, sessionEpoch: 1, fetch: { 'b-1': 0 } }), 12)
  assert.equal(grown.sessionId, 0)
  assert.equal(grown.partitions.length, 2)
  assert.equal(cache.partitions, 3)
  cache.plan(request({ sessionId: first, sessionEpoch: 1, forget: ['a-0', 'a-1'] }), 12)
  assert.equal(cache.partitions, 1)
  assert.notEqual(open(three), 0, 'what was forgotten is free again')
  // Stale sessions give way to a new one; one beyond the whole bound evicts nobody.
  clock.now += 10 * 60 * 1000
  assert.equal(open({ ...three, 'c-0': 0, 'c-1': 0 }), 0)
  assert.equal(cache.size, 2)
  assert.notEqual(open(three), 0)
  assert.ok(cache.partitions <= 4)
})
