/** Entries of the quorum's log as batches, and back. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  entriesOf,
  leaderChangeEntry,
  metadataValues,
  recordsEntry,
  votersEntry,
} from '../../src/cluster/quorum-entries.ts'
import { decodeHeader } from '../../src/record/batch.ts'
import { RecordError } from '../../src/record/record-error.ts'
import { keyOf } from './fixture.ts'

const VOTERS = [keyOf(1), keyOf(2), keyOf(3)]
const BYTES_MAX = 1024
const values = [1, 2, 3].map((n) => new Uint8Array(n).fill(n))
const records = recordsEntry({ epoch: 3, baseOffset: 40 }, values, 1234)
const change = leaderChangeEntry({ epoch: 4, baseOffset: 43 }, 2, VOTERS, 1234)
const voters = votersEntry({ epoch: 4, baseOffset: 44 }, VOTERS.slice(1), 1234)

describe('an entry of the quorum', () => {
  test('lies where it says, in the epoch that it says', () => {
    for (const entry of [records, change, voters]) {
      const { baseOffset, lastOffsetDelta, leaderEpoch } = decodeHeader(entry.bytes, 0)
      const said = [baseOffset, baseOffset + lastOffsetDelta + 1, leaderEpoch]
      assert.deepEqual(said, [entry.baseOffset, entry.endOffset, entry.epoch])
    }
    assert.deepEqual([records.baseOffset, records.endOffset], [40, 43])
  })

  test('is read back from a log, with memory of its own', () => {
    const log = Buffer.concat([records.bytes, change.bytes, voters.bytes])
    const found = entriesOf(log)
    log.fill(0)
    assert.deepEqual(
      found,
      [records, change, voters].map((entry) => ({ ...entry, bytes: Uint8Array.from(entry.bytes) })),
    )
    assert.deepEqual(
      found.map((entry) => entry.voters),
      [null, null, VOTERS.slice(1)],
    )
  })

  test('holds metadata, or speaks of the quorum', () => {
    assert.deepEqual(
      metadataValues(records, BYTES_MAX).map((one) => Uint8Array.from(one)),
      values,
    )
    assert.deepEqual(metadataValues(change, BYTES_MAX), [])
    assert.deepEqual(metadataValues(voters, BYTES_MAX), [])
  })

  test('of a leader that begins changes no voters', () => {
    assert.equal(change.voters, null)
  })
})

describe('entriesOf', () => {
  test('finds nothing in nothing', () => {
    assert.deepEqual(entriesOf(new Uint8Array(0)), [])
  })

  test('refuses a log that is damaged or cut off', () => {
    const cut = Buffer.concat([records.bytes, change.bytes.subarray(0, 30)])
    assert.throws(() => entriesOf(cut), RecordError)
    const damaged = Buffer.from(records.bytes)
    damaged[damaged.length - 1]! ^= 0xff
    assert.throws(() => entriesOf(damaged), RecordError)
  })
})
