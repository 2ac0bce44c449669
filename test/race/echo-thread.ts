/**
 * The far end of `round-trips.test.ts`: answers every message with its own bytes, parks when there
 * is none, and leaves at an empty message. Reports how its parks ended.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { assert } from '../../src/base/assert.ts'
import { loadNative } from '../../src/base/native.ts'
import {
  AtomicsParker,
  Doorbell,
  EventfdParker,
  PARK_TIMED_OUT,
  type WaitCell,
} from '../../src/ring/doorbell.ts'
import { LaneReader, LaneWriter } from '../../src/ring/lane.ts'
import type { LaneMemory } from '../../src/ring/lane-layout.ts'

export interface EchoData {
  forth: LaneMemory
  back: LaneMemory
  echoCell: WaitCell
  callerCell: WaitCell
  /** Waits in the kernel on this descriptor; null: in `Atomics.wait`. */
  eventfd: number | null
  parkMs: number
}

export interface EchoReport {
  echoed: number
  sleptOverData: number
}

const data = workerData as EchoData
const reader = new LaneReader(data.forth)
const writer = new LaneWriter(data.back)
const doorbell = new Doorbell(data.callerCell)
const parker = openParker()
const report: EchoReport = { echoed: 0, sleptOverData: 0 }
let ended = false

function openParker(): AtomicsParker | EventfdParker {
  const allEmpty = () => reader.isEmpty()
  if (data.eventfd === null) return new AtomicsParker(data.echoCell, allEmpty)
  const native = loadNative()
  assert(native !== null)
  return new EventfdParker(data.echoCell, allEmpty, { fd: data.eventfd, native })
}

while (!ended) {
  const drained = reader.drain(1000, (type, at, payloadBytes) => {
    if (payloadBytes === 0) {
      ended = true
      return
    }
    const to = writer.claim(type, payloadBytes)
    assert(to >= 0)
    reader.bytes.copy(writer.bytes, to, at, at + payloadBytes)
    report.echoed++
  })
  writer.commit()
  if (drained > 0) doorbell.ring()
  else if (parker.park(data.parkMs) === PARK_TIMED_OUT && !reader.isEmpty()) report.sleptOverData++
}
parentPort?.postMessage(report)
