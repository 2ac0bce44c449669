/**
 * The producer of `lane-traffic.test.ts`: allocates extents, fills them, sends them in bursts to
 * random consumers, frees what comes back, and parks when it can do nothing.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../src/base/assert.ts'
import { Random } from '../../src/base/random.ts'
import { Arena } from '../../src/ring/arena.ts'
import { AtomicsParker, Doorbell, PARK_TIMED_OUT, PARK_WOKEN } from '../../src/ring/doorbell.ts'
import { LaneReader, LaneWriter } from '../../src/ring/lane.ts'
import {
  CHECKSUM_AT,
  END,
  EXTENT,
  fillPayload,
  GENERATION_AT,
  INLINE_AT,
  LENGTH_AT,
  OFFSET_AT,
  PARK_MS,
  type ProducerData,
  type ProducerReport,
  SEQUENCE_AT,
} from './traffic.ts'

const EXTENT_BYTES_MAX = 6_000
const INLINE_BYTES_MAX = 200
const BURST_MAX = 12
/**
 * The halted consumer is let go when its lane has refused, and the others have returned, so often.
 */
const REFUSALS_TO_RESUME = 50
const RETURNS_TO_RESUME = 300

const data = workerData as ProducerData
const random = new Random(data.seed)
const arena = new Arena(data.arena, { poison: true })
const writers = data.links.map(({ forth }) => new LaneWriter(forth))
const readers = data.links.map(({ back }) => new LaneReader(back))
const doorbells = data.links.map(({ consumerCell }) => new Doorbell(consumerCell))
const allEmpty = () => readers.every((reader) => reader.isEmpty())
const cell = data.links[0]?.producerCell
assert(cell !== undefined)
const parker = new AtomicsParker(cell, allEmpty)
const halts = new Int32Array(data.halts)

const report: ProducerReport = {
  parks: 0,
  woken: 0,
  sleptOverData: 0,
  refused: writers.map(() => 0),
  exhausted: 0,
  bytesPeak: 0,
  bytesLeft: 0,
  returnedBeforeResume: 0,
}
const sequences = writers.map(() => 0)
/** The first extent sent to the halted consumer: [offset, generation]. */
let firstSent: [number, number] | null = null
let sent = 0
let returned = 0

function send(consumer: number): boolean {
  const writer = writers[consumer] as LaneWriter
  const length = random.between(1, EXTENT_BYTES_MAX)
  const inlineBytes = random.below(INLINE_BYTES_MAX)
  const offset = arena.allocate(length)
  if (offset < 0) {
    report.exhausted++
    return false
  }
  const generation = arena.generationOf(offset)
  const at = writer.claim(EXTENT, INLINE_AT + inlineBytes)
  if (at < 0) {
    arena.free(offset, generation)
    report.refused[consumer] = (report.refused[consumer] as number) + 1
    return false
  }
  const sequence = sequences[consumer] as number
  sequences[consumer] = sequence + 1
  writer.view.setUint32(at + SEQUENCE_AT, sequence, true)
  writer.view.setUint32(at + OFFSET_AT, offset, true)
  writer.view.setUint32(at + LENGTH_AT, length, true)
  writer.view.setUint32(at + GENERATION_AT, generation, true)
  const sum = fillPayload(arena.bytes, offset, offset + length, sequence)
  writer.view.setUint32(at + CHECKSUM_AT, sum, true)
  for (let i = 0; i < inlineBytes; i++) writer.bytes[at + INLINE_AT + i] = sequence + i
  if (consumer === 0) firstSent ??= [offset, generation]
  sent++
  return true
}

function sendBurst(): number {
  const consumer = random.below(writers.length)
  const wanted = Math.min(random.between(1, BURST_MAX), data.messages - sent)
  let count = 0
  while (count < wanted && send(consumer)) count++
  ;(writers[consumer] as LaneWriter).commit()
  if (count > 0) (doorbells[consumer] as Doorbell).ring()
  return count
}

function takeReturns(): number {
  let count = 0
  for (const reader of readers) {
    count += reader.drain(1000, (_type, at) => {
      arena.free(reader.view.getUint32(at, true), reader.view.getUint32(at + 4, true))
    })
  }
  returned += count
  return count
}

function resumeWhenDue(): void {
  if (Atomics.load(halts, 0) === 0) return
  if ((report.refused[0] as number) < REFUSALS_TO_RESUME || returned < RETURNS_TO_RESUME) return
  assert(sent < data.messages)
  report.returnedBeforeResume = returned
  if (data.earlyFree && firstSent !== null) arena.free(...firstSent)
  Atomics.store(halts, 0, 0)
  Atomics.notify(halts, 0)
}

function park(): void {
  report.parks++
  const outcome = parker.park(PARK_MS)
  if (outcome === PARK_WOKEN) report.woken++
  if (outcome === PARK_TIMED_OUT && !allEmpty()) report.sleptOverData++
}

while (returned < data.messages) {
  const progress = takeReturns() + (sent < data.messages ? sendBurst() : 0)
  resumeWhenDue()
  // While somebody stands still the others' lanes have room: another draw will find one.
  if (progress === 0 && Atomics.load(halts, 0) === 0) park()
}
for (const [i, writer] of writers.entries()) {
  assert(writer.claim(END, 0) >= 0)
  writer.commit()
  doorbells[i]?.ring()
}
report.bytesPeak = arena.bytesPeak
report.bytesLeft = arena.bytesInUse
parentPort?.postMessage(report)
