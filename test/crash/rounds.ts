/**
 * Rounds of: load a broker, kill -9 at a random moment, start it again on the same data, compare.
 * The seed decides producers, sizes, targets and how much is acknowledged before the kill, not how
 * threads interleave.
 */
import assert from 'node:assert/strict'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Random } from '../../src/base/random.ts'
import { type BrokerOptions, startBroker, type TestBroker } from '../support/broker.ts'
import { createTopic, listOffset, type TopicSpec } from '../support/kafka.ts'
import { freePort } from '../support/ports.ts'
import { RawClient } from '../support/raw-client.ts'
import { Producer, type Target, verify } from './workload.ts'

export interface RoundsOptions {
  readonly seed: number
  readonly rounds: number
  readonly onRound?: (report: RoundReport) => void
}

export interface RoundReport {
  readonly round: number
  readonly acknowledgedBatches: number
  readonly unansweredBatches: number
  /** In the log, after all rounds so far. */
  readonly records: number
}

/**
 * Small segments, so that kills also meet rolls; a short interval, so that they meet checkpoints.
 */
const TOPICS: readonly TopicSpec[] = [
  { name: 'cached', partitions: 5, configs: { 'internal.segment.bytes': '60000' } },
  {
    name: 'fsynced',
    partitions: 3,
    configs: { 'flush.messages': '1', 'internal.segment.bytes': '200000' },
  },
  { name: 'one', partitions: 1, configs: {} },
]
const FSYNCED = 'fsynced'
const BROKER: BrokerOptions = {
  shards: 3,
  set: { 'log.flush.offset.checkpoint.interval.ms': '100' },
}
const LATEST = -1

export async function crashRounds(options: RoundsOptions): Promise<void> {
  const random = new Random(options.seed)
  const dataDirs = [mkdtempSync(join(tmpdir(), 'millrace-crash-'))]
  const port = await freePort()
  let broker: TestBroker | null = await startBroker({ ...BROKER, dataDirs, port })
  const { cleanUp } = broker
  try {
    const targets = await createTopics(port)
    const producers = makeProducers(random, targets)
    for (let round = 1; round <= options.rounds; round++) {
      const running = producers.map((producer) => producer.run(port))
      const committed = await watchCommitted(port, random.between(20, 400))
      await broker.kill()
      broker = null
      const acknowledged = (await Promise.all(running)).reduce((sum, count) => sum + count, 0)
      const unanswered = producers.reduce((sum, one) => sum + one.unanswered.length, 0)
      broker = await startBroker({ ...BROKER, dataDirs, port })
      await checkCommitted(port, committed)
      await verify(port, targets, producers)
      for (const producer of producers) await producer.settle(port)
      const records = await verify(port, targets, producers)
      options.onRound?.({
        round,
        acknowledgedBatches: acknowledged,
        unansweredBatches: unanswered,
        records,
      })
    }
    await broker.stop()
  } catch (error) {
    process.stderr.write(`--- broker output ---\n${broker?.output() ?? 'killed'}\n---\n`)
    throw error
  } finally {
    await broker?.kill()
    cleanUp()
  }
}

async function createTopics(port: number): Promise<Target[]> {
  const client = await RawClient.open(port)
  try {
    for (const topic of TOPICS) await createTopic(client, topic)
  } finally {
    client.close()
  }
  return TOPICS.flatMap(({ name, partitions }) =>
    Array.from({ length: partitions }, (_, partition) => ({ topic: name, partition })),
  )
}

function makeProducers(random: Random, targets: readonly Target[]): Producer[] {
  // Skewed: every producer writes everywhere, and most of it to one partition of its choice.
  return Array.from({ length: 6 }, (_, i) => {
    const favourite = random.pick(targets)
    return new Producer({
      name: `${i % 2 === 0 ? 'idempotent' : 'plain'}-${i}`,
      isIdempotent: i % 2 === 0,
      targets: [...targets, ...targets.map(() => favourite)],
      random: random.split(),
    })
  })
}

/** Watches what consumers of the fsynced topic may see, for `ms` milliseconds. */
async function watchCommitted(port: number, ms: number): Promise<number[]> {
  const client = await RawClient.open(port)
  const { partitions } = TOPICS.find((topic) => topic.name === FSYNCED)!
  const committed = new Array<number>(partitions).fill(0)
  try {
    const end = performance.now() + ms
    do {
      for (let partition = 0; partition < partitions; partition++) {
        const { offset } = await listOffset(client, { topic: FSYNCED, partition }, LATEST)
        assert.ok(offset >= (committed[partition] as number), 'the high watermark went back')
        committed[partition] = offset
      }
    } while (performance.now() < end)
  } finally {
    client.close()
  }
  return committed
}

/** What a consumer has seen of a topic that is flushed before it is acknowledged never goes. */
async function checkCommitted(port: number, committed: readonly number[]): Promise<void> {
  const client = await RawClient.open(port)
  try {
    for (const [partition, before] of committed.entries()) {
      const { offset } = await listOffset(client, { topic: FSYNCED, partition }, LATEST)
      assert.ok(offset >= before, `${FSYNCED}-${partition}: ${before} before, ${offset} after`)
    }
  } finally {
    client.close()
  }
}
