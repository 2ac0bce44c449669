import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { LaneReader, LaneWriter } from '../../src/ring/lane.ts'
import {
  allocateLane,
  HEAD_AT,
  type LaneMemory,
  laneCounters,
  payloadBytesMax,
  RECORD_HEADER_BYTES,
  recordBytes,
  TAIL_AT,
} from '../../src/ring/lane-layout.ts'
import { withSeed } from './seed.ts'

const TWO_32 = 2 ** 32

interface Message {
  type: number
  payload: number[]
}

function openLane(capacity: number, initialCounter = 0) {
  const memory = allocateLane(capacity, { initialCounter })
  return { memory, writer: new LaneWriter(memory), reader: new LaneReader(memory) }
}

function put(writer: LaneWriter, message: Message): boolean {
  const at = writer.claim(message.type, message.payload.length)
  if (at < 0) return false
  assert.equal(at % 8, 0)
  for (const [i, byte] of message.payload.entries()) writer.bytes[at + i] = byte
  return true
}

function takeAll(reader: LaneReader, limit = Number.MAX_SAFE_INTEGER): Message[] {
  const messages: Message[] = []
  reader.drain(limit, (type, at, payloadBytes) => {
    messages.push({ type, payload: [...reader.bytes.subarray(at, at + payloadBytes)] })
  })
  return messages
}

function counters(memory: LaneMemory): { tail: number; head: number } {
  const words = laneCounters(memory)
  return { tail: words[TAIL_AT / 4] as number, head: words[HEAD_AT / 4] as number }
}

test('lane, delivers types and payloads in order, when claims are committed', () => {
  const { writer, reader } = openLane(256)
  const sent = [
    { type: 1, payload: [] },
    { type: 0xffff, payload: [1, 2, 3] },
    { type: 7, payload: [4, 5, 6, 7, 8, 9, 10, 11] },
  ]
  for (const message of sent) assert.ok(put(writer, message))
  assert.ok(reader.isEmpty())
  assert.deepEqual(takeAll(reader), [])
  writer.commit()
  assert.ok(!reader.isEmpty())
  assert.deepEqual(takeAll(reader), sent)
  assert.ok(reader.isEmpty())
})

test('lane, behaves like a bounded queue, for any sizes, commits, drains and counter starts', () => {
  const capacity = 256
  const operation = fc.oneof(
    { weight: 6, arbitrary: fc.record({ put: fc.nat(payloadBytesMax(capacity)) }) },
    { weight: 2, arbitrary: fc.constant('commit' as const) },
    { weight: 2, arbitrary: fc.record({ drain: fc.integer({ min: 1, max: 5 }) }) },
  )
  const start = fc.integer({ min: 0, max: 2 * capacity }).map((n) => TWO_32 - 8 * (n + 1))
  const property = fc.property(start, fc.array(operation, { maxLength: 120 }), (initial, steps) => {
    const { writer, reader } = openLane(capacity, initial)
    const expected: Message[] = []
    let claimedBytes = 0 // Since the start, padding included: the model's tail.
    let publishedCount = 0
    let drainedCount = 0
    const ends: number[] = [] // The model's tail after each message.
    for (const [i, step] of steps.entries()) {
      if (step === 'commit') {
        writer.commit()
        publishedCount = expected.length
      } else if ('drain' in step) {
        const messages = takeAll(reader, step.drain)
        const count = Math.min(step.drain, publishedCount - drainedCount)
        assert.deepEqual(messages, expected.slice(drainedCount, drainedCount + count))
        drainedCount += count
      } else {
        const payload = Array.from({ length: step.put }, (_, k) => (i + k) & 0xff)
        const size = recordBytes(step.put)
        const contiguous = capacity - ((initial + claimedBytes) % capacity)
        const needed = size <= contiguous ? size : contiguous + size
        const head = drainedCount === 0 ? 0 : (ends[drainedCount - 1] as number)
        const fits = claimedBytes + needed - head <= capacity
        assert.equal(put(writer, { type: 1 + (i % 9), payload }), fits)
        if (!fits) continue
        claimedBytes += needed
        ends.push(claimedBytes)
        expected.push({ type: 1 + (i % 9), payload })
      }
    }
    writer.commit()
    assert.deepEqual(takeAll(reader), expected.slice(drainedCount))
  })
  return withSeed('ring/lane', (seed) => fc.assert(property, { seed, numRuns: 300 }))
})

test('lane, keeps its contents, when head and tail wrap at 2^32', () => {
  const { memory, writer, reader } = openLane(64, TWO_32 - 64)
  const seen: number[] = []
  for (let i = 0; i < 20; i++) {
    const at = writer.claim(3, 12)
    writer.view.setUint32(at, i, true)
    writer.commit()
    reader.drain(1, (_type, payloadAt) => seen.push(reader.view.getUint32(payloadAt, true)))
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 20 }, (_, i) => i),
  )
  const { tail, head } = counters(memory)
  assert.ok(tail < TWO_32 - 64 && tail > 0, 'the tail wrapped')
  assert.equal(head, tail)
})

test('LaneWriter.claim, accepts the longest payload, when the lane is empty at any index', () => {
  for (let index = 0; index < 256; index += 8) {
    const { writer, reader } = openLane(256, TWO_32 - 256 + index)
    const payload = Array.from({ length: writer.payloadBytesMax }, (_, i) => i & 0xff)
    assert.ok(put(writer, { type: 1, payload }), `at ring index ${index}`)
    writer.commit()
    assert.deepEqual(takeAll(reader), [{ type: 1, payload }])
  }
})

test('LaneWriter.claim, refuses and overwrites nothing, while the consumer stands still', () => {
  const { memory, writer, reader } = openLane(128, TWO_32 - 80)
  const sent: Message[] = []
  for (let i = 0; put(writer, { type: 2, payload: [i, i, i] }); i++) {
    sent.push({ type: 2, payload: [i, i, i] })
    writer.commit()
  }
  assert.equal(sent.length, 128 / recordBytes(3))
  const before = Buffer.from(writer.bytes)
  for (let i = 0; i < 100; i++) assert.equal(writer.claim(2, i % 57), -1)
  writer.commit()
  assert.deepEqual(Buffer.from(writer.bytes), before)
  assert.deepEqual(takeAll(reader, 1), sent.slice(0, 1))
  assert.ok(put(writer, { type: 9, payload: [9] }), 'one drained record makes room for one')
  assert.equal(writer.claim(2, 0), -1)
  writer.commit()
  assert.deepEqual(takeAll(reader), [...sent.slice(1), { type: 9, payload: [9] }])
  assert.equal(counters(memory).head, counters(memory).tail)
})

test('LaneWriter.claim, refuses without leaving padding, when padding fits and the record not', () => {
  const { writer, reader } = openLane(128)
  assert.ok(put(writer, { type: 1, payload: Array.from({ length: 40 }, () => 1) })) // 48 bytes.
  assert.ok(put(writer, { type: 2, payload: Array.from({ length: 40 }, () => 2) })) // 96 of 128.
  writer.commit()
  assert.equal(writer.claim(3, 40), -1)
  assert.ok(put(writer, { type: 4, payload: Array.from({ length: 24 }, () => 4) })) // To the end.
  writer.commit()
  assert.deepEqual(
    takeAll(reader).map(({ type }) => type),
    [1, 2, 4],
  )
})

test('LaneWriter, stores payloads before one store of the tail, for several claims', (t) => {
  const { memory, writer, reader } = openLane(256)
  const stores: number[] = []
  const real = Atomics.store
  t.mock.method(Atomics, 'store', (words: Uint32Array, index: number, value: number) => {
    stores.push(index)
    assert.equal(writer.view.getUint32(RECORD_HEADER_BYTES, true), 11)
    assert.equal(writer.view.getUint32(16 + RECORD_HEADER_BYTES, true), 22)
    assert.equal(counters(memory).tail, 0)
    return real(words, index, value)
  })
  writer.view.setUint32(writer.claim(1, 4), 11, true)
  writer.view.setUint32(writer.claim(1, 4), 22, true)
  assert.deepEqual(stores, [])
  writer.commit()
  writer.commit() // Nothing new: nothing stored.
  assert.deepEqual(stores, [TAIL_AT / 4])
  t.mock.restoreAll()
  assert.equal(takeAll(reader).length, 2)
})

test('LaneReader.drain, releases the head after the handlers, for any drain', () => {
  const { memory, writer, reader } = openLane(1024)
  for (let i = 0; i < 10; i++) assert.ok(put(writer, { type: 1, payload: [i] }))
  writer.commit()
  const heads: number[] = []
  assert.equal(
    reader.drain(4, () => heads.push(counters(memory).head)),
    4,
  )
  assert.deepEqual(heads, [0, 0, 0, 0])
  assert.equal(counters(memory).head, 4 * 16)
})

test('LaneReader.drain, gives room back before it ends, when a quarter is handled', () => {
  const { writer, reader } = openLane(256)
  while (put(writer, { type: 1, payload: [] }));
  writer.commit()
  const room: boolean[] = []
  reader.drain(32, () => room.push(writer.claim(2, 0) >= 0))
  assert.deepEqual(room.slice(0, 8), Array(8).fill(false))
  assert.ok(room.slice(8).some((claimed) => claimed))
})

test('LaneReader.drain, counts a message as handled, when its handler throws', () => {
  const { writer, reader } = openLane(256)
  for (let i = 1; i <= 3; i++) assert.ok(put(writer, { type: i, payload: [] }))
  writer.commit()
  const failing = () =>
    reader.drain(3, (type) => {
      if (type === 2) throw new Error('planted')
    })
  assert.throws(failing, /planted/)
  assert.deepEqual(takeAll(reader), [{ type: 3, payload: [] }])
})

test('LaneReader.drain, sees only what was published before, when handlers publish more', () => {
  const { writer, reader } = openLane(256)
  const echo = () => {
    writer.claim(1, 0)
    writer.commit()
  }
  echo()
  assert.equal(reader.drain(10, echo), 1)
  assert.equal(reader.drain(10, echo), 1)
})

test('lane, asserts, when it is misused', () => {
  const { writer, reader } = openLane(256)
  assert.throws(() => writer.claim(0, 1), /type/)
  assert.throws(() => writer.claim(0x1_0000, 1), /type/)
  assert.throws(() => writer.claim(1, writer.payloadBytesMax + 1), /length/)
  assert.throws(() => writer.claim(1, -1), /length/)
  assert.throws(() => reader.drain(0, () => {}), /limit/)
  writer.claim(1, 0)
  writer.commit()
  assert.throws(() => reader.drain(1, () => reader.drain(1, () => {})), /own handler/)
  assert.throws(() => allocateLane(100), /power of two/)
  assert.throws(() => allocateLane(32), /capacity/)
})

test('LaneReader.drain, asserts, when the memory is corrupt', () => {
  const { memory, writer, reader } = openLane(256)
  writer.claim(1, 4)
  writer.commit()
  writer.view.setUint32(0, 200, true)
  assert.throws(() => reader.drain(1, () => {}), /record length/)
  laneCounters(memory)[TAIL_AT / 4] = 264
  assert.throws(() => reader.drain(1, () => {}), /ran past/)
})
