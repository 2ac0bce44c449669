/** The rules of one partition, without sockets: what may be sent when, and with which number. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { viewOf } from '../../src/base/bytes.ts'
import { Random } from '../../src/base/random.ts'
import { ConnectionError, DeliveryError, ServerError } from '../../src/client/errors.ts'
import { PartitionQueue, type QueueRules } from '../../src/client/partition-queue.ts'
import type { ProduceBatch } from '../../src/client/produce-batch.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { batchBaseSequence, batchProducerId } from '../../src/record/batch.ts'
import { FakeServer } from '../support/fake-server.ts'
import { VirtualTimers } from '../support/virtual-timers.ts'

const RETRY_MS = 10
const FIRST = { producerId: 7, producerEpoch: 0 }
const SECOND = { producerId: 8, producerEpoch: 0 }

function start(rules: Partial<QueueRules> = {}) {
  const { platform } = new FakeServer({ timers: new VirtualTimers(), random: new Random(1) })
  const settled: string[] = []
  const names = new Map<ProduceBatch, string>()
  const queue = new PartitionQueue(
    { topic: 't', partition: 0 },
    {
      idempotent: true,
      inFlightMax: 5,
      batchBytes: 1,
      lingerMs: 0,
      deliveryTimeoutMs: 1000,
      compression: 0,
      retry: { minMs: RETRY_MS, maxMs: RETRY_MS },
      ...rules,
    },
    {
      platform,
      events: {
        changed: () => {},
        settled: (batch, error) => {
          const doubt = error instanceof DeliveryError && error.inDoubt ? ', in doubt' : ''
          settled.push(`${names.get(batch)}: ${error === null ? 'stored' : error.codeName}${doubt}`)
        },
      },
    },
  )
  const batches: Record<string, ProduceBatch> = {}
  /** Each is a batch of its own: batches are full at one byte. */
  const add = (...events: string[]) => {
    for (const value of events) {
      const content = { key: null, value }
      const entry = { content, timestamp: 0, resolve: undefined, reject: undefined }
      const batch = queue.append(entry, 100, 0)
      names.set(batch, value)
      batches[value] = batch
    }
  }
  /** Sends what may be sent: `name@sequence` each. */
  const send = (nowMs = 0): string[] => {
    const sent: string[] = []
    for (let batch = queue.peek(nowMs); batch !== null; batch = queue.peek(nowMs)) {
      const view = viewOf(queue.take(batch))
      const id = batchProducerId(view, 0)
      sent.push(`${names.get(batch)}@${id}:${batchBaseSequence(view, 0)}`)
    }
    return sent
  }
  return { queue, settled, batches, add, send }
}

const code = (value: number) => new ServerError(value, 'refused')
const GAP = code(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
const AGAIN = code(ErrorCode.NOT_LEADER_OR_FOLLOWER)

test('one batch goes alone until it is acknowledged, then up to five', () => {
  const { queue, batches, add, send } = start()
  add('a', 'b', 'c', 'd', 'e', 'f', 'g')
  assert.deepEqual(send(), [], 'without a producer id')
  assert.ok(queue.wantsIdentity)
  queue.identify(FIRST)
  assert.deepEqual(send(), ['a@7:0'])
  queue.stored(batches.a!, 0, -1)
  assert.deepEqual(send(), ['b@7:1', 'c@7:2', 'd@7:3', 'e@7:4', 'f@7:5'])
  // The broker knows the last five only: g would push b out of its memory.
  queue.stored(batches.c!, 2, -1)
  assert.deepEqual(send(), [])
  queue.stored(batches.b!, 1, -1)
  assert.deepEqual(send(), ['g@7:6'])
})

test('sequences wrap from 2^31 - 1 to 0', () => {
  const { queue, batches, add, send } = start()
  add('a', 'b', 'c')
  queue.identify(FIRST, 2 ** 31 - 2)
  assert.deepEqual(send(), ['a@7:2147483646'])
  queue.stored(batches.a!, 0, -1)
  assert.deepEqual(send(), ['b@7:2147483647', 'c@7:0'])
})

test('what was refused for now, is sent again alone and in order, with its own number', () => {
  const { queue, settled, batches, add, send } = start()
  add('a', 'b', 'c', 'd')
  queue.identify(FIRST)
  send()
  queue.stored(batches.a!, 0, -1)
  assert.deepEqual(send(), ['b@7:1', 'c@7:2', 'd@7:3'])
  queue.refused(batches.c!, GAP, 0) // The echo of b, which comes first.
  queue.refused(batches.b!, AGAIN, 0)
  assert.deepEqual(send(RETRY_MS), [], 'd is still in flight')
  queue.refused(batches.d!, GAP, 0)
  assert.deepEqual(send(1), [], 'too early')
  add('e')
  assert.deepEqual(send(RETRY_MS), ['b@7:1'])
  queue.stored(batches.b!, 1, -1)
  assert.deepEqual(send(RETRY_MS), ['c@7:2'])
  queue.stored(batches.c!, 2, -1)
  assert.deepEqual(send(RETRY_MS), ['d@7:3'])
  queue.stored(batches.d!, 3, -1)
  assert.deepEqual(send(RETRY_MS), ['e@7:4'])
  assert.equal(settled.join(), 'a: stored,b: stored,c: stored,d: stored')
})

test('a retry is the very same bytes', () => {
  const { queue, batches, add } = start()
  add('a')
  queue.identify(FIRST)
  const first = new Uint8Array(queue.take(queue.peek(0)!))
  queue.lost(batches.a!)
  assert.deepEqual(new Uint8Array(queue.take(queue.peek(0)!)), first)
})

test('a gap with nothing in doubt, begins again under a new producer id', () => {
  const { queue, settled, batches, add, send } = start()
  add('a', 'b', 'c')
  queue.identify(FIRST)
  send()
  queue.stored(batches.a!, 0, -1)
  send()
  queue.refused(batches.b!, GAP, 0)
  queue.refused(batches.c!, GAP, 0)
  assert.deepEqual(send(RETRY_MS), [])
  assert.ok(queue.wantsIdentity && queue.identity === FIRST)
  queue.identify(SECOND)
  assert.deepEqual(send(RETRY_MS), ['b@8:0'])
  queue.stored(batches.b!, 1, -1)
  assert.deepEqual(send(RETRY_MS), ['c@8:1'])
  assert.equal(settled.join(), 'a: stored,b: stored')
})

test('a gap with a batch in doubt, fails that batch and says so', () => {
  const { queue, settled, batches, add, send } = start()
  add('a', 'b', 'c')
  queue.identify(FIRST)
  send()
  queue.stored(batches.a!, 0, -1)
  send()
  queue.lost(batches.b!)
  queue.lost(batches.c!)
  add('d')
  assert.deepEqual(send(), ['b@7:1'])
  queue.refused(batches.b!, GAP, 0)
  assert.deepEqual(send(RETRY_MS), [])
  assert.equal(
    settled.join('; '),
    'a: stored; b: OUT_OF_ORDER_SEQUENCE_NUMBER, in doubt; ' +
      'c: OUT_OF_ORDER_SEQUENCE_NUMBER, in doubt',
  )
  queue.identify(SECOND)
  assert.deepEqual(send(RETRY_MS), ['d@8:0'])
})

test('a batch that was overtaken, is not stored behind its successor', () => {
  const { queue, settled, batches, add, send } = start()
  add('a', 'b', 'c')
  queue.identify(FIRST)
  send()
  queue.stored(batches.a!, 0, -1)
  send()
  queue.refused(batches.b!, AGAIN, 0)
  queue.stored(batches.c!, 1, -1) // A broker that had forgotten the producer.
  assert.deepEqual(send(RETRY_MS), ['b@7:1'])
  queue.refused(batches.b!, GAP, RETRY_MS)
  assert.equal(settled.join(), 'a: stored,c: stored,b: OUT_OF_ORDER_SEQUENCE_NUMBER')
})

test('a duplicate is a batch that is stored', () => {
  const { queue, settled, batches, add, send } = start()
  add('a')
  queue.identify(FIRST)
  send()
  queue.lost(batches.a!)
  send()
  queue.refused(batches.a!, code(ErrorCode.DUPLICATE_SEQUENCE_NUMBER), 0)
  assert.deepEqual(settled, ['a: stored'])
})

test('what is past its time, fails; in doubt when an answer is missing', () => {
  const { queue, settled, batches, add, send } = start()
  add('a', 'b')
  queue.identify(FIRST)
  send()
  queue.expire(999)
  assert.deepEqual(settled, [])
  queue.expire(1000)
  assert.deepEqual(settled, ['a: REQUEST_TIMED_OUT, in doubt', 'b: REQUEST_TIMED_OUT'])
  queue.stored(batches.a!, 0, -1) // Too late: nobody hears it.
  assert.equal(settled.length, 2)
  assert.ok(queue.isEmpty)
})

test('without idempotence nothing is numbered and everything is sent at once', () => {
  const { queue, batches, add, send } = start({ idempotent: false, inFlightMax: 2 })
  add('a', 'b', 'c')
  assert.deepEqual(send(), ['a@-1:-1', 'b@-1:-1'])
  assert.ok(!queue.wantsIdentity)
  queue.refused(batches.a!, AGAIN, 0)
  queue.lost(batches.b!)
  assert.deepEqual(send(RETRY_MS), ['a@-1:-1'])
  queue.refused(batches.a!, code(ErrorCode.MESSAGE_TOO_LARGE), 0)
  assert.deepEqual(send(RETRY_MS), ['b@-1:-1'])
  assert.ok(new ConnectionError('x').retriable)
})
