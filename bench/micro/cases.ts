/**
 * Every micro-benchmark as a function that does one operation and returns something that shows that
 * it was done. `check` says whether it was: a case that rots fails instead of getting fast.
 */
import { loadNative } from '../../src/base/native.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import {
  type BatchEngine,
  STAMP_BATCH_BYTES_MAX,
  STAMP_TIMESTAMP_MAX,
  STAMP_WORDS,
} from '../../src/record/batch-engine.ts'
import { jsBatchEngine } from '../../src/record/batch-engine-js.ts'
import { nativeBatchEngine } from '../../src/record/batch-engine-native.ts'
import { INFO_RECORDS_COUNT, INFO_WORDS } from '../../src/record/batch-layout.ts'
import { Arena, allocateArena } from '../../src/ring/arena.ts'
import { allocateLane, LaneReader, LaneWriter } from '../../src/ring/lane.ts'
import { OffsetIndex } from '../../src/storage/offset-index.ts'
import { decodeClientMessage, encodeEnvelope } from '../../src/wire/websocket/envelope.ts'
import { codecCases } from './codec-cases.ts'
import type { MicroCase } from './micro-case.ts'

const MESSAGE_BYTES = 28
const MESSAGES = 64
const LANE_BYTES = 64 * 1024
const ARENA_BYTES = 8 * 1024 * 1024

function laneCases(): MicroCase[] {
  const memory = allocateLane(LANE_BYTES)
  const writer = new LaneWriter(memory)
  const reader = new LaneReader(memory)
  let sum = 0
  const handler = (_type: number, at: number): void => {
    sum += reader.view.getUint32(at, true)
  }
  const hand = (count: number): number => {
    sum = 0
    for (let i = 0; i < count; i++) {
      writer.view.setUint32(writer.claim(1, MESSAGE_BYTES), 3, true)
    }
    writer.commit()
    reader.drain(count, handler)
    return sum
  }
  const group = 'lane hand-off, both ends on one thread'
  return [
    { group, name: 'one message', run: () => hand(1), check: (sent) => sent === 3 },
    {
      group,
      name: `${MESSAGES} messages, one commit`,
      run: () => hand(MESSAGES),
      check: (sent) => sent === 3 * MESSAGES,
    },
  ]
}

function arenaCases(): MicroCase[] {
  const arena = new Arena(allocateArena(ARENA_BYTES))
  return [1024, 65_536, 1_048_576].map((bytes) => ({
    group: 'arena: allocate and free',
    name: `${bytes} bytes`,
    run: () => {
      const at = arena.allocate(bytes)
      arena.free(at, arena.generationOf(at))
      return at
    },
    check: (at: unknown) => (at as number) >= 0,
  }))
}

function batchOf(events: number, eventBytes: number): Uint8Array {
  const builder = new BatchBuilder()
  const value = Uint8Array.from({ length: eventBytes }, (_, i) => i * 31)
  for (let i = 0; i < events; i++) builder.append(1_700_000_000_000, null, value)
  return builder.buildSync()
}

function enginesHere(): BatchEngine[] {
  const addon = loadNative()
  return addon === null ? [jsBatchEngine] : [jsBatchEngine, nativeBatchEngine(addon)]
}

function crcCases(): MicroCase[] {
  const bytes = Uint8Array.from({ length: 65_536 }, (_, i) => i * 31)
  const expected = jsBatchEngine.crc32c(bytes, 0, bytes.length)
  return enginesHere().map((engine) => ({
    group: 'CRC-32C of 64 KiB',
    name: engine.name,
    bytes: bytes.length,
    run: () => engine.crc32c(bytes, 0, bytes.length),
    check: (crc: unknown) => crc === expected,
  }))
}

function validationCases(): MicroCase[] {
  const stamp = new Float64Array(STAMP_WORDS)
  stamp[STAMP_BATCH_BYTES_MAX] = 2 ** 30
  stamp[STAMP_TIMESTAMP_MAX] = Number.MAX_SAFE_INTEGER
  const info = new Float64Array(INFO_WORDS * 4)
  const shapes = [
    { name: 'one event of 200 B', batch: batchOf(1, 200), events: 1 },
    { name: '63 events of 1 KiB', batch: batchOf(63, 1024), events: 63 },
  ]
  return shapes.flatMap(({ name, batch, events }) =>
    enginesHere().map((engine) => ({
      group: `batch validation and stamping: ${name}`,
      name: engine.name,
      bytes: batch.length,
      run: () => engine.validateAndStamp(batch, 0, batch.length, stamp, info),
      check: (count: unknown) => count === 1 && info[INFO_RECORDS_COUNT] === events,
    })),
  )
}

function indexCases(): MicroCase[] {
  const entries = 262_144 // A segment of 1 GiB, an entry for each 4 KiB.
  const index = new OffsetIndex(entries)
  for (let i = 0; i < entries; i++) index.append(i * 4, i * 4096)
  let at = 0
  return [
    {
      group: 'index look-up',
      name: `${entries} entries`,
      run: () => {
        at = (at + 104_729) % entries
        return index.find(at * 4 + 1) - at
      },
      check: (difference) => difference === 0,
    },
  ]
}

function envelopeCases(): MicroCase[] {
  const batch = batchOf(1, 200)
  const envelope = {
    type: 'produce',
    id: 7,
    acks: 1,
    partitions: [['a-topic', 3, batch.length]],
  } as const
  const bytes = Buffer.concat([encodeEnvelope(envelope as never), batch])
  const group = 'WebSocket envelope of a produce message'
  return [
    {
      group,
      name: 'encode',
      run: () => encodeEnvelope(envelope as never),
      check: (encoded) => (encoded as Uint8Array).length === bytes.length - batch.length,
    },
    {
      group,
      name: 'decode',
      run: () => decodeClientMessage(bytes, bytes.length).envelope.type,
      check: (type) => type === 'produce',
    },
  ]
}

export function microCases(): MicroCase[] {
  return [
    ...laneCases(),
    ...arenaCases(),
    ...crcCases(),
    ...validationCases(),
    ...indexCases(),
    ...envelopeCases(),
    ...codecCases(),
  ]
}
