/**
 * The promise of an idempotent producer, under every fault that a connection and a broker can show:
 * what is acknowledged is stored once, where the answer says, in the order of the calls.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Random } from '../../src/base/random.ts'
import { DeliveryError, MillraceError } from '../../src/client/errors.ts'
import type { RecordMetadata } from '../../src/client/produce-batch.ts'
import { Producer } from '../../src/client/producer.ts'
import type { ProducerOptions } from '../../src/client/producer-options.ts'
import type { Faults } from '../support/fake-world.ts'
import { withSeed } from '../support/seed.ts'
import { type Harness, harness, text } from './harness.ts'

const FILE = 'client/producer-faults'
const ROUNDS = 20
const PARTITIONS = 4
const BUFFER_BYTES = 40_000

interface Sent {
  readonly value: string
  readonly partition: number
  /** Null: it failed. */
  readonly metadata: RecordMetadata | null
  readonly error?: unknown
}

function drawFaults(random: Random): Faults {
  const maybe = (chance: number) => (random.chance(0.5) ? random.fraction() * chance : 0)
  return {
    dropBefore: maybe(0.1),
    dropAfter: maybe(0.1),
    cut: maybe(0.1),
    loseAnswer: maybe(0.03),
    refuse: maybe(0.2),
    doubt: maybe(0.2),
    answerDelayMs: random.pick([0, 20, 500]),
    recall: maybe(0.3),
    keepCredits: maybe(0.3),
    refuseConnection: maybe(0.3),
  }
}

function drawOptions(random: Random): ProducerOptions {
  return {
    batchBytes: random.pick([200, 2000, 16_000]),
    lingerMs: random.pick([0, 5, 50]),
    inFlight: random.between(1, 5),
    bufferBytes: BUFFER_BYTES,
    retryMinMs: 10,
    retryMaxMs: 100,
    deliveryTimeoutMs: 3_600_000,
    compression: random.pick(['none', 'gzip', 'snappy', 'lz4'] as const),
  }
}

/** Sends from several tasks at once, each with pauses, and waits for all. */
async function sendAll(random: Random, { timers }: Harness, producer: Producer): Promise<Sent[]> {
  const sent: Promise<Sent>[] = []
  for (let i = 0; i < 400; i++) {
    const partition = random.below(PARTITIONS)
    const value = `${i}:${'x'.repeat(random.below(random.chance(0.05) ? 20_000 : 200))}`
    const promise = producer.send({ topic: 't', partition, value })
    sent.push(
      promise.then(
        (metadata) => ({ value, partition, metadata }),
        (error: unknown) => ({ value, partition, metadata: null, error }),
      ),
    )
    if (random.chance(0.2)) await timers.pass(random.below(40))
  }
  return timers.until(Promise.all(sent), 3_600_000)
}

/** Events that failed: those not in doubt are certainly not stored, as the error says. */
function checkFailures(h: Harness, sent: readonly Sent[]): void {
  for (const { value, partition, error } of sent) {
    if (error === undefined) continue
    assert.ok(error instanceof MillraceError, String(error))
    if (error instanceof DeliveryError && error.inDoubt) continue
    const records = h.server.partition('t', partition)!.records()
    const found = records.some((record) => text(record.value) === value)
    assert.ok(!found, `stored in spite of: ${error.message}`)
  }
}

function checkLogs(h: Harness, sent: readonly Sent[]): void {
  const order = new Map(sent.map(({ value }, index) => [value, index]))
  for (let number = 0; number < PARTITIONS; number++) {
    const records = h.server.partition('t', number)!.records()
    const stored = records.map((record) => order.get(text(record.value) as string) as number)
    assert.equal(new Set(stored).size, stored.length, 'an event is stored twice')
    // One in doubt may come late, from a connection that was lost.
    const indexes = stored.filter((index) => sent[index]?.metadata !== null)
    assert.deepEqual(
      indexes,
      [...indexes].sort((a, b) => a - b),
      'events are stored in another order',
    )
    for (const { value, partition, metadata } of sent) {
      if (partition !== number || metadata === null) continue
      assert.equal(metadata.partition, number)
      assert.equal(text(records[metadata.offset]?.value ?? null), value, 'it is not where it says')
    }
  }
}

test('a producer that gives up, knows of every event whether it is stored, or that it may be', () =>
  withSeed(FILE, async (random) => {
    for (let round = 0; round < ROUNDS; round++) {
      const h = harness(random, { creditsMax: random.pick([30_000, 1_000_000]) })
      const partitions = h.server.createTopic('t', PARTITIONS)
      h.server.faults = drawFaults(random)
      const deliveryTimeoutMs = random.pick([100, 500, 3000])
      const options = { ...drawOptions(random), deliveryTimeoutMs }
      const producer = new Producer(h.link, options, () => {})
      const disturb = () => {
        // A broker that lost the thread, and one that is away for a while.
        if (random.chance(0.2)) random.pick(partitions).refuseSequences = random.below(3)
        h.server.isDown = random.chance(0.1)
        if (h.server.isDown) h.server.dropAll()
        h.timers.after(200, disturb)
      }
      disturb()
      const sent = await sendAll(random, h, producer)
      await h.timers.pass(10_000)
      checkLogs(h, sent)
      checkFailures(h, sent)
      assert.equal(producer.bufferedBytes, 0)
      assert.deepEqual(h.server.violations, [])
    }
  }))

test('an idempotent producer under faults, stores what it acknowledges once and in order', () =>
  withSeed(FILE, async (random) => {
    for (let round = 0; round < ROUNDS; round++) {
      const h = harness(random, {
        credits: random.pick([0, 2000, 100_000]),
        creditsMax: random.pick([30_000, 1_000_000]),
        requests: random.pick([2, 64]),
      })
      h.server.createTopic('t', PARTITIONS)
      h.server.faults = drawFaults(random)
      const options = drawOptions(random)
      const producer = new Producer(h.link, options, () => {})
      let bytesMax = 0
      const watch = () => {
        const inBatches = producer.bufferedBytes - producer.waitingBytes
        bytesMax = Math.max(bytesMax, inBatches)
        h.timers.after(1, watch)
      }
      watch()
      const context = `round ${round}: ${JSON.stringify({ options, faults: h.server.faults })}`
      try {
        const sent = await sendAll(random, h, producer)
        const failures = sent.filter(({ metadata }) => metadata === null)
        assert.deepEqual(
          failures.map(({ error }) => String(error)),
          [],
        )
        checkLogs(h, sent)
        assert.ok(bytesMax <= BUFFER_BYTES, `${bytesMax} bytes are buffered`)
        assert.equal(producer.bufferedBytes, 0)
        h.server.faults = {}
        await h.timers.until(producer.close())
        h.link.close()
        await h.timers.pass(100)
        assert.deepEqual(h.server.violations, [])
      } catch (error) {
        const reason = error instanceof Error ? error.stack : String(error)
        throw new Error(`${context}\n${reason}`)
      }
    }
  }))
