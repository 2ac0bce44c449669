/**
 * An actor of `doorbell-schedules.test.ts`: a producer or the consumer of one wait cell, correct or
 * with a planted bug in the order of its steps.
 */
import { workerData } from 'node:worker_threads'
import { AtomicsParker, Doorbell, PARK_TIMED_OUT, type WaitCell } from '../../src/ring/doorbell.ts'
import { LaneReader, LaneWriter } from '../../src/ring/lane.ts'
import type { LaneMemory } from '../../src/ring/lane-layout.ts'
import { Actor } from './schedule.ts'

export type Bug = 'none' | 'ring-before-commit' | 'park-without-look' | 'look-before-park'

/** Indexes of the counters that actors report in `report`, an Int32Array of 8. */
export const DELIVERED = 0
export const SLEPT_OVER_DATA = 1
export const OUT_OF_ORDER = 2
export const PARKS = 3
export const WAKES = 4

export interface ActorData {
  gate: SharedArrayBuffer
  index: number
  role: 'producer' | 'consumer'
  bug: Bug
  cell: WaitCell
  /** The producer's own lane, or all lanes of the consumer. */
  lanes: LaneMemory[]
  /** Messages that each producer sends in a run. */
  messages: number
  report: SharedArrayBuffer
}

function runProducer(data: ActorData, actor: Actor): never {
  const writer = new LaneWriter(data.lanes[0] as LaneMemory)
  const doorbell = new Doorbell(data.cell)
  const report = new Int32Array(data.report)
  let sequence = 0
  return actor.serve(() => {
    const wakesBefore = doorbell.wakes
    for (let i = 0; i < data.messages; i++) {
      writer.view.setUint32(writer.claim(1, 4), sequence++, true)
      if (data.bug === 'ring-before-commit') {
        doorbell.ring()
        writer.commit()
      } else {
        writer.commit()
        doorbell.ring()
      }
    }
    report[WAKES] = (report[WAKES] as number) + doorbell.wakes - wakesBefore
  })
}

function runConsumer(data: ActorData, actor: Actor): never {
  const readers = data.lanes.map((memory) => new LaneReader(memory))
  const report = new Int32Array(data.report)
  const allEmpty = () => readers.every((reader) => reader.isEmpty())
  const parker = new AtomicsParker(data.cell, data.bug === 'none' ? allEmpty : () => true)
  const expected = readers.map(() => 0)
  const add = (counter: number, count: number) => {
    report[counter] = (report[counter] as number) + count
  }
  return actor.serve(() => {
    let delivered = 0
    while (delivered < data.messages * readers.length) {
      for (const [lane, reader] of readers.entries()) {
        delivered += reader.drain(100, (_type, at) => {
          const inOrder = reader.view.getUint32(at, true) === expected[lane]
          if (!inOrder) add(OUT_OF_ORDER, 1)
          expected[lane] = (expected[lane] as number) + 1
        })
      }
      if (delivered === data.messages * readers.length) break
      if (data.bug === 'look-before-park' && !allEmpty()) continue
      add(PARKS, 1)
      if (parker.park(1) === PARK_TIMED_OUT && !allEmpty()) add(SLEPT_OVER_DATA, 1)
    }
    add(DELIVERED, delivered)
  })
}

const data = workerData as ActorData
const actor = new Actor(data.gate, data.index)
if (data.role === 'producer') runProducer(data, actor)
else runConsumer(data, actor)
