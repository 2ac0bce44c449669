/**
 * A consumer of `lane-traffic.test.ts`: checks order, tags and every byte of what it is sent, in
 * place, returns the extents once a batch, stalls at random, stands still while told to.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../src/base/assert.ts'
import { Random } from '../../src/base/random.ts'
import { ArenaView } from '../../src/ring/arena.ts'
import { AtomicsParker, Doorbell, PARK_TIMED_OUT, PARK_WOKEN } from '../../src/ring/doorbell.ts'
import { LaneReader, LaneWriter } from '../../src/ring/lane.ts'
import {
  CHECKSUM_AT,
  type ConsumerData,
  type ConsumerReport,
  checksum,
  END,
  GENERATION_AT,
  INLINE_AT,
  LENGTH_AT,
  OFFSET_AT,
  PARK_MS,
  RETURN,
  SEQUENCE_AT,
} from './traffic.ts'

const DRAIN_MAX = 20
const STALL_CHANCE = 0.03
const STALL_MS_MAX = 3

const data = workerData as ConsumerData
const random = new Random(data.seed)
const reader = new LaneReader(data.link.forth)
const writer = new LaneWriter(data.link.back)
const doorbell = new Doorbell(data.link.producerCell)
const arena = new ArenaView(data.arena)
const parker = new AtomicsParker(data.link.consumerCell, () => reader.isEmpty())
const halts = new Int32Array(data.halts)
const nobody = new Int32Array(new SharedArrayBuffer(4))

const report: ConsumerReport = { delivered: 0, parks: 0, woken: 0, sleptOverData: 0 }
const returns: { offset: number; generation: number }[] = []
let ended = false

function handle(type: number, at: number, payloadBytes: number): void {
  if (type === END) {
    ended = true
    return
  }
  const sequence = reader.view.getUint32(at + SEQUENCE_AT, true)
  const offset = reader.view.getUint32(at + OFFSET_AT, true)
  const length = reader.view.getUint32(at + LENGTH_AT, true)
  const generation = reader.view.getUint32(at + GENERATION_AT, true)
  assert(sequence === report.delivered, `message ${sequence} instead of ${report.delivered}`)
  if (data.checksTags) arena.check(offset, length, generation)
  const sum = checksum(arena.bytes, offset, offset + length)
  if (data.checksTags) arena.check(offset, length, generation)
  assert(sum === reader.view.getUint32(at + CHECKSUM_AT, true), `checksum of message ${sequence}`)
  for (let i = 0; i < payloadBytes - INLINE_AT; i++) {
    assert(reader.bytes[at + INLINE_AT + i] === ((sequence + i) & 0xff), 'inline bytes')
  }
  report.delivered++
  returns.push({ offset, generation })
}

function giveBack(): void {
  if (returns.length === 0) return
  for (const { offset, generation } of returns) {
    const at = writer.claim(RETURN, 8)
    assert(at >= 0, 'the lane of returns is longer than all that can be under way')
    writer.view.setUint32(at, offset, true)
    writer.view.setUint32(at + 4, generation, true)
  }
  returns.length = 0
  writer.commit()
  doorbell.ring() // After the drain: the head is released, and a producer in want of room finds it.
}

while (!ended) {
  while (Atomics.load(halts, data.index) === 1) Atomics.wait(halts, data.index, 1, 1_000)
  const drained = reader.drain(random.between(1, DRAIN_MAX), handle)
  giveBack()
  if (random.chance(STALL_CHANCE)) Atomics.wait(nobody, 0, 0, random.fraction() * STALL_MS_MAX)
  if (drained > 0 || ended) continue
  report.parks++
  const outcome = parker.park(PARK_MS)
  if (outcome === PARK_WOKEN) report.woken++
  if (outcome === PARK_TIMED_OUT && !reader.isEmpty()) report.sleptOverData++
}
parentPort?.postMessage(report)
