/**
 * Lanes, arena and doorbells together on four real threads: a producer and three consumers, every
 * counter passing its wrap, poisoned frees, random sizes, bursts and stalls.
 */
import assert from 'node:assert/strict'
import { extname } from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { Random } from '../../src/base/random.ts'
import { allocateArena, arenaGenerations } from '../../src/ring/arena-layout.ts'
import { allocateWaitCell } from '../../src/ring/doorbell.ts'
import { allocateLane, HEAD_AT, laneCounters, TAIL_AT } from '../../src/ring/lane-layout.ts'
import { withSeed } from '../ring/seed.ts'
import type {
  ConsumerData,
  ConsumerReport,
  Link,
  ParkReport,
  ProducerData,
  ProducerReport,
} from './traffic.ts'

const CONSUMERS = 3
const TWO_32 = 2 ** 32
const LANE_BYTES = 2048
/** Room for a return of every message that a full lane of the shortest can hold, twice. */
const BACK_BYTES = 8192

interface Options {
  seed: number
  messages: number
  arenaBytes: number
  /** The first consumer stands still until its lane has refused often. */
  halted?: boolean
  earlyFree?: boolean
  checksTags?: boolean
}

interface Outcome {
  links: Link[]
  producer: ProducerReport
  consumers: ConsumerReport[]
}

/** Runs the traffic to its end; rejects with the first error of any thread. */
async function runTraffic(options: Options): Promise<Outcome> {
  const random = new Random(options.seed)
  const producerCell = allocateWaitCell()
  const nearWrap = () => ({ initialCounter: TWO_32 - 8 * random.between(1, 2000) })
  const links: Link[] = Array.from({ length: CONSUMERS }, () => ({
    forth: allocateLane(LANE_BYTES, nearWrap()),
    back: allocateLane(BACK_BYTES, nearWrap()),
    consumerCell: allocateWaitCell(),
    producerCell,
  }))
  const arena = allocateArena(options.arenaBytes)
  arenaGenerations(arena).fill(TWO_32 - 3)
  const halts = new SharedArrayBuffer(4 * CONSUMERS)
  if (options.halted) new Int32Array(halts)[0] = 1

  const shared = { arena, halts }
  const producerData: ProducerData = {
    ...shared,
    seed: random.u32(),
    links,
    messages: options.messages,
    earlyFree: options.earlyFree ?? false,
  }
  const consumers = links.map((link, index): ConsumerData => {
    const checksTags = options.checksTags ?? true
    return { ...shared, seed: random.u32(), index, link, checksTags }
  })
  const workers = [
    start('traffic-producer-thread', producerData),
    ...consumers.map((data) => start('traffic-consumer-thread', data)),
  ]
  try {
    const [producer, ...rest] = await Promise.all(workers.map(reportOf))
    return { links, producer: producer as ProducerReport, consumers: rest as ConsumerReport[] }
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
}

function start(name: string, workerData: ProducerData | ConsumerData): Worker {
  return new Worker(new URL(`./${name}${extname(import.meta.url)}`, import.meta.url), {
    workerData,
  })
}

function reportOf(worker: Worker): Promise<ParkReport> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`a thread left with ${code} before its report`)))
  })
}

function assertAllDelivered({ producer, consumers }: Outcome, messages: number): void {
  const delivered = consumers.reduce((sum, consumer) => sum + consumer.delivered, 0)
  assert.equal(delivered, messages)
  assert.equal(producer.bytesLeft, 0, 'every extent came back')
  for (const { sleptOverData } of [producer, ...consumers]) assert.equal(sleptOverData, 0)
}

test('lanes, deliver every byte in order, to three consumers that stall at random', () =>
  withSeed('race/lane-traffic', async (seed) => {
    const messages = 12_000
    const outcome = await runTraffic({ seed, messages, arenaBytes: 128 * 1024 })
    assertAllDelivered(outcome, messages)
    assert.ok(outcome.producer.bytesPeak <= 128 * 1024)
    for (const { forth, back } of outcome.links) {
      for (const lane of [forth, back]) {
        const counters = laneCounters(lane)
        assert.ok((counters[TAIL_AT / 4] as number) < TWO_32 / 2, 'the tail wrapped')
        assert.equal(counters[HEAD_AT / 4], counters[TAIL_AT / 4])
      }
    }
    assert.ok(
      outcome.consumers.some(({ woken }) => woken > 0),
      'somebody parked and was woken',
    )
  }))

test('lane, refuses and loses nothing, while one of three consumers stands still', () =>
  withSeed('race/lane-traffic', async (seed) => {
    const messages = 6_000
    const arenaBytes = 4 << 20 // More than three full lanes can pin.
    const outcome = await runTraffic({ seed, messages, arenaBytes, halted: true })
    assertAllDelivered(outcome, messages)
    const { refused, returnedBeforeResume } = outcome.producer
    assert.ok((refused[0] as number) >= 50, 'the lane of the one that stood still refused')
    assert.ok(returnedBeforeResume >= 300, 'the others went on')
    assert.ok(outcome.consumers.every(({ delivered }) => delivered > 0))
  }))

test('tags, find a planted early free, when an extent is freed before it is returned', () =>
  withSeed('race/lane-traffic', async (seed) => {
    const planted = { messages: 6_000, arenaBytes: 4 << 20, halted: true, earlyFree: true }
    await assert.rejects(runTraffic({ seed, ...planted }), /extent (freed|of another generation)/)
  }))

test('poison, finds a planted early free, when nobody looks at the tags', () =>
  withSeed('race/lane-traffic', async (seed) => {
    const planted = { messages: 6_000, arenaBytes: 4 << 20, halted: true, earlyFree: true }
    await assert.rejects(
      runTraffic({ seed, ...planted, checksTags: false }),
      /checksum of message 0/,
    )
  }))
