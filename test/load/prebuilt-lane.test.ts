/** A lane of prebuilt requests: slots, turns, refusals, answers that nobody asked for. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LaneSink, PreparedRequest, Stored } from '../../src/load/driver.ts'
import { PrebuiltLane } from '../../src/load/prebuilt-lane.ts'

class Sink implements LaneSink {
  readonly stored: Stored[] = []
  readonly said: string[] = []
  readonly samples: number[] = []
  rooms = 0
  room(): void {
    this.rooms++
  }
  sample(intendedMs: number): void {
    this.samples.push(intendedMs)
  }
  unanswered(intendedMs: number): void {
    this.said.push(`unanswered ${intendedMs}`)
  }
  acknowledged(stored: Stored): void {
    this.stored.push(stored)
  }
  refused(what: string): void {
    this.said.push(`refused ${what}`)
  }
  broke(lane: number, reason: string): void {
    this.said.push(`broke ${lane} ${reason}`)
  }
}

function request(place: number): PreparedRequest {
  return { place, events: 3, batchBytes: 50, message: new Uint8Array(70) }
}

function lane(inFlight: number) {
  const sink = new Sink()
  const sent: { slot: number; place: number }[] = []
  const requests = Array.from({ length: inFlight }, () => [request(0), request(1)])
  const made = new PrebuiltLane({ index: 0, inFlight, requests }, sink)
  let isClosed = false
  made.attach({
    mayTake: (bytes) => bytes === 70,
    send: (slot, { place }) => sent.push({ slot, place }),
    close: () => {
      isClosed = true
    },
  })
  return { made, sink, sent, isClosed: () => isClosed }
}

test('PrebuiltLane, offer, takes as many as may be in flight, places in turn', () => {
  const { made, sink, sent } = lane(2)
  assert.ok(made.offer(10, 11))
  assert.ok(made.offer(20, 21))
  assert.equal(made.offer(30, 31), false)
  assert.deepEqual(
    sent.map(({ place }) => place),
    [0, 1],
  )
  assert.equal(new Set(sent.map(({ slot }) => slot)).size, 2)
  assert.equal(made.pending, 2)
  const second = sent[1] as { slot: number }
  made.answered(second.slot, 6, null)
  assert.deepEqual(sink.stored, [{ place: 1, events: 3, bytes: 50, baseOffset: 6 }])
  assert.deepEqual([sink.samples, sink.rooms, made.pending], [[20], 1, 1])
  assert.ok(made.offer(30, 31), 'the slot is free again')
  assert.equal(sent[2]?.slot, second.slot)
})

test('PrebuiltLane, a refusal, is told and not counted', () => {
  const { made, sink, sent } = lane(1)
  made.offer(10, 10)
  made.answered(sent[0]?.slot ?? -1, -1, 'NOT_LEADER: …')
  assert.deepEqual([sink.said, sink.stored, sink.samples], [['refused NOT_LEADER: …'], [], []])
})

test('PrebuiltLane, an answer that nobody waits for, ends the connection', () => {
  for (const slot of [0, 7, -1]) {
    const { made, sink, isClosed } = lane(1)
    made.answered(slot, 0, null)
    assert.match(sink.said[0] ?? '', /^broke 0 it answered a request that was not made/)
    assert.ok(isClosed())
    assert.equal(made.offer(1, 1), false)
  }
})

test('PrebuiltLane, abandoned, tells of what has no answer', () => {
  const { made, sink, isClosed } = lane(2)
  made.offer(10, 10)
  made.offer(20, 20)
  made.abandon(99)
  assert.deepEqual(sink.said.sort(), ['unanswered 10', 'unanswered 20'])
  assert.ok(isClosed())
  assert.equal(made.pending, 0)
})
