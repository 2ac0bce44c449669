/** Bytes on the wire: WebSocket frames, frames in pieces, batches by their headers. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ReceiveBuffer } from '../../src/load/receive-buffer.ts'
import { scanBatches } from '../../src/load/scan-batches.ts'
import { type FrameHead, maskedFrame, readFrame } from '../../src/load/websocket/frames.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'

test('ReceiveBuffer, gives every frame whole and once, however it arrives', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 40_000 }), { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 30_000 }), { minLength: 1, maxLength: 20 }),
      (sizes, pieces) => {
        const frames = sizes.map((size, i) => {
          const frame = Buffer.alloc(4 + size, i + 1)
          frame.writeUInt32BE(size)
          return frame
        })
        const got: Buffer[] = []
        const buffer = new ReceiveBuffer((bytes, start, end) => {
          let at = start
          while (end - at >= 4 && end - at - 4 >= bytes.readUInt32BE(at)) {
            const to = at + 4 + bytes.readUInt32BE(at)
            got.push(Buffer.from(bytes.subarray(at, to)))
            at = to
          }
          return at - start
        })
        const all = Buffer.concat(frames)
        const chunk = Buffer.alloc(30_000)
        for (let at = 0, piece = 0; at < all.length; piece++) {
          const length = Math.min(pieces[piece % pieces.length] as number, all.length - at)
          all.copy(chunk, 0, at, at + length)
          buffer.push(chunk, length)
          chunk.fill(0xee) // The socket's buffer is used again.
          at += length
        }
        assert.deepEqual(Buffer.concat(got), all)
        assert.equal(got.length, frames.length)
      },
    ),
    { numRuns: 60 },
  )
})

test('maskedFrame, has the shortest length, and unmasks to what it was', () => {
  for (const length of [0, 1, 125, 126, 65_535, 65_536, 70_000]) {
    const payload = Buffer.alloc(length, 'abcdefg')
    const frame = maskedFrame(2, payload)
    const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8
    assert.equal(frame.length, 2 + lengthBytes + 4 + length)
    assert.equal(frame[0], 0x82)
    const head: FrameHead = { opcode: 0, isLast: false, start: 0, end: 0 }
    // A frame without a mask is what servers send: its length is read at the same place.
    const plain = Buffer.concat([frame.subarray(0, 2 + lengthBytes), payload])
    assert.ok(readFrame(plain, 0, plain.length, head))
    assert.deepEqual(
      { ...head },
      { opcode: 2, isLast: true, start: 2 + lengthBytes, end: plain.length },
    )
    if (plain.length > 2) assert.equal(readFrame(plain, 0, plain.length - 1, head), false)
    const mask = frame.subarray(2 + lengthBytes, 6 + lengthBytes)
    const body = frame.subarray(6 + lengthBytes).map((byte, i) => byte ^ (mask[i & 3] as number))
    assert.equal(Buffer.compare(body, payload), 0)
  }
})

function batch(baseOffset: number, records: number): Uint8Array {
  const builder = new BatchBuilder()
  for (let i = 0; i < records; i++) builder.append(1, null, Buffer.from(`value ${i}`))
  return builder.buildSync({ baseOffset })
}

test('scanBatches, visits whole batches, leaves one that is cut off', () => {
  const bytes = Buffer.concat([Buffer.alloc(3), batch(10, 5), batch(15, 1), batch(16, 9)])
  const seen: number[][] = []
  const range = { start: 3, end: bytes.length - 1, checkCrc: true }
  assert.equal(
    scanBatches(bytes, range, (base, last) => seen.push([base, last])),
    null,
  )
  assert.deepEqual(seen, [
    [10, 14],
    [15, 15],
  ])
})

test('scanBatches, says what is wrong with a batch', () => {
  const bytes = Buffer.from(batch(10, 5))
  bytes[bytes.length - 1]! ^= 1
  const range = { start: 0, end: bytes.length, checkCrc: true }
  assert.equal(
    scanBatches(bytes, { ...range, checkCrc: false }, () => {}),
    null,
  )
  assert.match(scanBatches(bytes, range, () => {}) ?? '', /offset 10 fails its CRC/)
  bytes[16] = 1
  assert.match(scanBatches(bytes, range, () => {}) ?? '', /magic 1/)
})
