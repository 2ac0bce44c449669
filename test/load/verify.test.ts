/** The run's judgement of itself: every way in which a broker may have lied. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type PlaceCheck, problemOf, type RunCheck } from '../../src/load/verify.ts'

const PLACE: PlaceCheck = {
  place: { topic: 'bench-0', partition: 3 },
  endBefore: 100,
  endAfter: 150,
  acknowledgedEvents: 50,
  toldEnd: 150,
  bytesBefore: 1000,
  bytesAfter: 6000,
  acknowledgedBytes: 5000,
  hasLostHead: false,
}

function judge(place: Partial<PlaceCheck>, run: Partial<RunCheck> = {}): string | null {
  return problemOf({
    places: [PLACE, { ...PLACE, ...place }],
    broken: [],
    refusals: new Map(),
    unanswered: 0,
    bytes: 'equal',
    ...run,
  })
}

test('problemOf, has none when all agrees', () => {
  assert.equal(judge({}), null)
  assert.equal(judge({ toldEnd: -1 }), null, 'acks 0 tells no offsets')
  assert.equal(judge({ bytesBefore: null, bytesAfter: null }), null)
  assert.equal(judge({ hasLostHead: true, bytesAfter: 10 }), null, 'retention took the head')
})

test('problemOf, finds events that were acknowledged and are not there', () => {
  const lost = judge({ endAfter: 149 })
  assert.match(lost ?? '', /^bench-0-3: 50 events were acknowledged, .* from 100 to 149, by 49$/)
})

test('problemOf, finds events that nobody here has sent', () => {
  assert.match(judge({ endAfter: 151 }) ?? '', /by 51 \(does somebody else write/)
})

test('problemOf, finds answers that tell other offsets than the log has', () => {
  assert.match(judge({ toldEnd: 200 }) ?? '', /ends at offset 200, the log at 150/)
})

test('problemOf, finds short writes and copies', () => {
  assert.match(judge({ bytesAfter: 5999 }) ?? '', /5000 bytes were acknowledged.* by 4999/)
  assert.match(judge({ bytesAfter: 6001 }) ?? '', /by 5001/)
  assert.equal(judge({ bytesAfter: 9000 }, { bytes: 'at-least' }), null)
  assert.match(judge({ bytesAfter: 5999 }, { bytes: 'at-least' }) ?? '', /by 4999/)
  assert.equal(judge({ bytesAfter: 0 }, { bytes: 'unknown' }), null)
})

test('problemOf, takes no run for good that was refused, cut off or left without answers', () => {
  const refusals = new Map([['MESSAGE_TOO_LARGE: too large', 2]])
  assert.match(judge({}, { refusals }) ?? '', /refused 2 requests: MESSAGE_TOO_LARGE/)
  assert.match(judge({}, { broken: ['closed'] }) ?? '', /one connection broke: closed/)
  assert.match(judge({}, { unanswered: 3 }) ?? '', /3 were sent and never answered/)
})
