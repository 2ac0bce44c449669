import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeBatchSync } from '../../src/record/batch.ts'
import {
  buildMarkerBatch,
  CONTROL_ABORT,
  CONTROL_COMMIT,
  decodeControlKey,
  decodeMarker,
} from '../../src/record/control-batch.ts'
import { RecordError } from '../../src/record/record-error.ts'

for (const committed of [true, false]) {
  test(`decodeMarker reads a ${committed ? 'commit' : 'abort'} that buildMarkerBatch wrote`, () => {
    const bytes = buildMarkerBatch({
      committed,
      coordinatorEpoch: 42,
      producerId: 1000,
      producerEpoch: 3,
      timestampMs: 5,
    })
    const { header, ...rest } = decodeBatchSync(bytes, 0, { recordsBytesMax: 1000 })
    assert.ok(header.isControl && header.isTransactional)
    assert.deepEqual([header.producerId, header.producerEpoch, header.baseSequence], [1000, 3, -1])
    const [record] = [...rest]
    assert.ok(record)
    const type = committed ? CONTROL_COMMIT : CONTROL_ABORT
    assert.deepEqual(decodeControlKey(record.key), { version: 0, type })
    assert.deepEqual(decodeMarker(record), { committed, coordinatorEpoch: 42 })
    assert.equal(Buffer.from(record.key ?? []).toString('hex'), `0000000${committed ? 1 : 0}`)
    assert.equal(Buffer.from(record.value ?? []).toString('hex'), '00000000002a')
  })
}

test('decodeMarker takes longer fields of later versions', () => {
  const key = Buffer.from('000100010203', 'hex')
  const value = Buffer.from('00010000002affff', 'hex')
  assert.deepEqual(decodeMarker({ key, value }), { committed: true, coordinatorEpoch: 42 })
})

test('decodeMarker returns null for other control records', () => {
  assert.equal(decodeMarker({ key: Buffer.from('00000002', 'hex'), value: null }), null)
})

test('decodeMarker refuses malformed keys and values', () => {
  const commit = Buffer.from('00000001', 'hex')
  const refused: [Buffer | null, Buffer | null][] = [
    [null, null],
    [Buffer.from('0000', 'hex'), null],
    [Buffer.from('ffff0001', 'hex'), null],
    [commit, null],
    [commit, Buffer.from('0000000000', 'hex')],
    [commit, Buffer.from('ffff00000001', 'hex')],
  ]
  for (const [key, value] of refused) {
    assert.throws(() => decodeMarker({ key, value }), RecordError)
  }
})
