/** Messages of a quorum as bytes, and what no replica says. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { recordsEntry, votersEntry } from '../../src/cluster/quorum-entries.ts'
import { decodeRaftMessage, encodeRaftMessage, inRequests } from '../../src/cluster/raft-codec.ts'
import type { RaftMessage } from '../../src/raft/messages.ts'
import {
  ClusterApi,
  DecodeError,
  decodeRequest,
  decodeRequestHeader,
  encodeRequest,
  Reader,
  type RequestOf,
} from '../../src/wire/kafka/api.ts'
import { keyOf } from './fixture.ts'

type Fields = RequestOf<202>['messages'][number]

const SIZE_BYTES = 4

function fieldsOf(message: RaftMessage): Fields {
  const body = { messages: [encodeRaftMessage(message)] }
  const header = { correlationId: 7, clientId: null }
  const bytes = Buffer.concat(encodeRequest(ClusterApi.RAFT_MESSAGES, 0, header, body))
  const reader = new Reader(bytes.subarray(SIZE_BYTES))
  decodeRequestHeader(reader)
  const { messages } = decodeRequest(ClusterApi.RAFT_MESSAGES, 0, reader)
  // A request's memory is another's soon: what was decoded stands by itself.
  bytes.fill(0xdb)
  assert.equal(messages.length, 1)
  return messages[0] as Fields
}

function roundTrip(message: RaftMessage): void {
  const decoded = decodeRaftMessage(fieldsOf(message))
  assert.deepEqual(plain(decoded), plain(message))
}

/** Without the difference between kinds of byte arrays. */
function plain(message: RaftMessage): unknown {
  return JSON.parse(
    JSON.stringify(message, (_, value: unknown) => {
      return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value
    }),
  )
}

const ends = { from: keyOf(1), to: keyOf(2), epoch: 5 }
const value = new Uint8Array([1, 2, 3])
const first = recordsEntry({ epoch: 4, baseOffset: 10 }, [value, value], 0)
const second = votersEntry({ epoch: 5, baseOffset: 12 }, [keyOf(1), keyOf(3)], 0)
const snapshot = { endOffset: 30, epoch: 2 }

const EXAMPLES: readonly RaftMessage[] = [
  {
    ...ends,
    type: 'vote-request',
    isPreVote: true,
    isTransfer: false,
    lastEpoch: 3,
    endOffset: 9,
  },
  { ...ends, type: 'vote-response', isPreVote: false, isGranted: true, requestEpoch: 5 },
  {
    ...ends,
    type: 'append-request',
    offset: 10,
    previousEpoch: 3,
    entries: [first, second],
    committedOffset: 8,
  },
  { ...ends, type: 'append-response', matchedOffset: -1, hintEpoch: 3, hintOffset: 6 },
  {
    ...ends,
    type: 'snapshot-request',
    snapshot,
    position: 100,
    bytes: value,
    isLast: true,
    voters: [keyOf(1), keyOf(2), keyOf(3)],
  },
  { ...ends, type: 'snapshot-response', snapshot, position: 103, isDone: true },
  { ...ends, type: 'transfer-request' },
  { ...ends, type: 'observe-request', endOffset: 0 },
  { ...ends, type: 'leader-hint', leader: keyOf(3) },
]

describe('a message of the quorum', () => {
  for (const message of EXAMPLES) {
    test(`comes back as it was sent: ${message.type}`, () => roundTrip(message))
  }

  test('comes back as it was sent, whatever its numbers', () => {
    const offset = fc.maxSafeNat()
    const epoch = fc.nat(0x7fff_ffff)
    const id = fc.nat(0x7fff_ffff)
    const message = fc.oneof(
      fc.record({
        type: fc.constant('vote-request' as const),
        isPreVote: fc.boolean(),
        isTransfer: fc.boolean(),
        lastEpoch: epoch,
        endOffset: offset,
      }),
      fc.record({
        type: fc.constant('vote-response' as const),
        isPreVote: fc.boolean(),
        isGranted: fc.boolean(),
        requestEpoch: epoch,
      }),
      fc.record({
        type: fc.constant('append-response' as const),
        matchedOffset: fc.oneof(fc.constant(-1), offset),
        hintEpoch: fc.oneof(fc.constant(-1), epoch),
        hintOffset: fc.oneof(fc.constant(-1), offset),
      }),
      fc.record({
        type: fc.constant('append-request' as const),
        offset,
        previousEpoch: epoch,
        entries: fc.constant([]),
        committedOffset: offset,
      }),
      fc.record({
        type: fc.constant('snapshot-response' as const),
        snapshot: fc.record({ endOffset: fc.integer({ min: 1 }), epoch }),
        position: offset,
        isDone: fc.boolean(),
      }),
      fc.record({ type: fc.constant('observe-request' as const), endOffset: offset }),
    )
    fc.assert(
      fc.property(message, id, epoch, (body, from, at) => {
        const to = keyOf(2)
        roundTrip({ ...body, from: { ...to, id: from }, to, epoch: at })
      }),
    )
  })
})

describe('inRequests', () => {
  const append = (bytes: number): RaftMessage => {
    const entry = {
      epoch: 5,
      baseOffset: 0,
      endOffset: 1,
      bytes: new Uint8Array(bytes),
      voters: null,
    }
    const place = { offset: 0, previousEpoch: 0, committedOffset: 0 }
    return { ...ends, type: 'append-request', ...place, entries: [entry] }
  }
  const sizes = (messages: RaftMessage[]): number[] =>
    inRequests(messages).map((request) => request.length)

  test('keeps small messages together and the order of all', () => {
    const messages = [...EXAMPLES, append(700_000), append(700_000), ...EXAMPLES, append(600_000)]
    const requests = inRequests(messages)
    assert.deepEqual(requests.flat(), messages)
    assert.equal(requests.length, 3)
    assert.deepEqual(inRequests([]), [])
  })

  test('makes no request that a broker with little memory could not receive', () => {
    const many = Array.from({ length: 16 }, () => append(1024 * 1024))
    assert.deepEqual(sizes(many), new Array(16).fill(1))
    assert.deepEqual(sizes([append(10), append(5_000_000), append(10)]), [1, 1, 1])
  })
})

describe('decodeRaftMessage', () => {
  const byType = (type: RaftMessage['type']): Fields =>
    fieldsOf(EXAMPLES.find((message) => message.type === type) as RaftMessage)
  const append = byType('append-request')
  const [one, two] = append.entries as [Fields['entries'][number], Fields['entries'][number]]
  const entriesOf = (...entries: Fields['entries']): Fields => ({ ...append, entries })
  const damaged = Uint8Array.from(one.bytes)
  damaged[damaged.length - 1]! ^= 1
  const many = Array.from({ length: 65 }, (_, id) => keyOf(id))

  const refused: readonly (readonly [string, Fields])[] = [
    ['an unknown type', { ...append, type: 9 }],
    ['a negative type', { ...append, type: -1 }],
    ['a negative epoch', { ...append, epoch: -1 }],
    ['a vote for a log that ends nowhere', { ...byType('vote-request'), offset: -1 }],
    ['a vote for a log of no epoch', { ...byType('vote-request'), otherEpoch: -1 }],
    ['entries without a place', { ...append, offset: -1 }],
    ['a negative commit', { ...append, otherOffset: -1 }],
    ['entries before whom nothing is known', { ...append, otherEpoch: -1 }],
    ['entries elsewhere than they say', { ...append, offset: 11 }],
    ['entries with a gap', entriesOf(one, { ...two, baseOffset: 13, endOffset: 14 })],
    ['entries in the wrong order', entriesOf(two, one)],
    ['an entry of nothing', entriesOf({ ...one, endOffset: one.baseOffset })],
    ['an entry above the epoch of its sender', { ...append, epoch: 4 }],
    ['epochs that fall', { ...append, otherEpoch: 5 }],
    ['an entry of fewer records than it says', entriesOf({ ...one, endOffset: 13 })],
    ['an entry whose bytes are of another epoch', entriesOf({ ...one, epoch: 5 })],
    ['an entry that is damaged', entriesOf({ ...one, bytes: damaged })],
    ['an entry that is cut off', entriesOf({ ...one, bytes: one.bytes.subarray(0, 20) })],
    ['an entry without bytes', entriesOf({ ...one, bytes: new Uint8Array(0) })],
    [
      'an entry with more than its batch',
      entriesOf({ ...one, bytes: Buffer.concat([one.bytes, value]) }),
    ],
    ['voters that are nobody', entriesOf(one, { ...two, voters: [] })],
    ['a voter twice', entriesOf(one, { ...two, voters: [keyOf(1), keyOf(1)] })],
    ['too many voters', entriesOf(one, { ...two, voters: many })],
    [
      'a part of a snapshot of nothing',
      { ...byType('snapshot-request'), snapshot: { endOffset: 0, epoch: 0 } },
    ],
    ['a part before the beginning', { ...byType('snapshot-request'), offset: -1 }],
    [
      'a snapshot of an epoch to come',
      { ...byType('snapshot-request'), snapshot: { endOffset: 30, epoch: 6 } },
    ],
    ['a snapshot of a quorum of nobody', { ...byType('snapshot-request'), voters: [] }],
    ['an answer before the beginning', { ...byType('snapshot-response'), offset: -1 }],
    [
      'an answer about no snapshot',
      { ...byType('snapshot-response'), snapshot: { endOffset: -1, epoch: -1 } },
    ],
    ['an observer without an end', { ...byType('observe-request'), offset: -1 }],
    ['a hint at nobody', { ...byType('leader-hint'), voters: [] }],
  ]
  for (const [what, fields] of refused) {
    test(`refuses ${what}`, () => {
      assert.throws(() => decodeRaftMessage(fields), DecodeError)
    })
  }

  test('refuses with a DecodeError, or takes, whatever the fields are', () => {
    const number = fc.oneof(fc.integer({ min: -2, max: 10 }), fc.maxSafeInteger())
    const changes = fc.record(
      {
        type: fc.integer({ min: -128, max: 127 }),
        epoch: number,
        flags: fc.integer({ min: -128, max: 127 }),
        otherEpoch: number,
        offset: number,
        otherOffset: number,
        snapshot: fc.record({ endOffset: number, epoch: number }),
        voters: fc.array(fc.nat(3).map(keyOf), { maxLength: 3 }),
        entries: fc.subarray([one, two]),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(changes, (changed) => {
        try {
          decodeRaftMessage({ ...append, ...changed })
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error))
        }
      }),
      { numRuns: 1000 },
    )
  })
})
