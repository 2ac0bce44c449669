/**
 * What our producer was told of every event that it was given, what our consumer saw, and how both
 * are held against the log as Kafka's protocol shows it.
 */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../../src/base/random.ts'
import {
  type Consumer,
  type ConsumerRecord,
  DeliveryError,
  MillraceError,
  type Producer,
} from '../../src/index.ts'
import type { ProducerPlan, RoundPlan } from './client-plan.ts'

/** `refused`: certainly not stored; `inDoubt`: nobody knows. */
type Fate = 'pending' | 'acknowledged' | 'inDoubt' | 'refused'

interface SentEvent {
  readonly producer: string
  readonly partition: number
  /** From 0 in the order of sending, over all partitions of the producer. */
  readonly number: number
  readonly value: string
  fate: Fate
  /** Where it was said to be; −1: that was not said. */
  offset: number
}

export interface SeenEvent {
  readonly offset: number
  readonly value: string
}

export interface AccountTotals {
  readonly acknowledged: number
  readonly inDoubt: number
  readonly refused: number
  /** In the log at last. */
  readonly stored: number
}

const VALUE_BYTES = [10, 30, 30, 300, 2500]
const text = new TextDecoder()

export class Account {
  readonly #plan: RoundPlan
  readonly #sent = new Map<string, SentEvent>()
  readonly #seen: SeenEvent[][]
  #settled = 0
  /** Called whenever something more is settled or seen. */
  changed: () => void = () => {}

  constructor(plan: RoundPlan) {
    this.#plan = plan
    this.#seen = Array.from({ length: plan.partitions }, () => [])
  }

  get settled(): number {
    return this.#settled
  }

  /** Events seen by the consumer, by partition. */
  get seen(): readonly (readonly SeenEvent[])[] {
    return this.#seen
  }

  /** Sends all events of the plan, closes the producer. Resolves when each event is settled. */
  async produce(of: {
    producer: Producer
    topic: string
    plan: ProducerPlan
    random: Random
  }): Promise<void> {
    const { producer, topic, plan, random } = of
    const outstanding = new Set<Promise<void>>()
    for (let number = 0; number < plan.events; number++) {
      const partition = random.below(this.#plan.partitions)
      const head = `${plan.name}|${partition}|${number}|`
      const event: SentEvent = {
        producer: plan.name,
        partition,
        number,
        value: head.padEnd(random.pick(VALUE_BYTES), '.'),
        fate: 'pending',
        offset: -1,
      }
      this.#sent.set(event.value, event)
      const sent = producer.send({ topic, partition, value: event.value })
      const settled = this.#settle(event, sent).finally(() => outstanding.delete(settled))
      outstanding.add(settled)
      if (outstanding.size >= plan.outstanding) await Promise.race(outstanding)
      if (random.chance(0.02)) await sleep(random.below(4))
    }
    await producer.close()
    await Promise.all(outstanding)
  }

  async #settle(event: SentEvent, sent: ReturnType<Producer['send']>): Promise<void> {
    try {
      const { partition, offset } = await sent
      assert.equal(partition, event.partition)
      event.offset = offset
      event.fate = 'acknowledged'
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error
      // What never left the producer fails with another error than DeliveryError.
      event.fate = error instanceof DeliveryError && error.inDoubt ? 'inDoubt' : 'refused'
      assert.ok(event.producer.startsWith('hasty'), `${nameOf(event)}: ${error.message}`)
    }
    this.#settled++
    this.changed()
  }

  /** Reads until the consumer is closed. */
  async consume(consumer: Consumer, topic: string, random: Random): Promise<void> {
    const { takes, idleChance, pauseChance } = this.#plan.consumer
    const rest = async (partition: number): Promise<void> => {
      if (random.chance(idleChance)) await sleep(random.below(10))
      if (!random.chance(pauseChance)) return
      consumer.pause(topic, partition)
      setTimeout(() => consumer.resume(topic, partition), random.below(100))
    }
    if (takes === 'records') {
      for await (const record of consumer) {
        this.#see(record)
        await rest(record.partition)
      }
      return
    }
    for await (const { partition, records } of consumer.batches()) {
      for (const record of records) {
        assert.equal(record.partition, partition)
        this.#see(record)
      }
      await rest(partition)
    }
  }

  #see({ partition, offset, value }: ConsumerRecord): void {
    const seen = this.#seen[partition] as SeenEvent[]
    // Nothing twice, nothing left out: offsets of a log without deletions are dense.
    assert.equal(offset, seen.length, `the consumer of partition ${partition} jumped`)
    seen.push({ offset, value: value === null ? '' : text.decode(value) })
    this.changed()
  }

  /** `logs`: what each partition holds, read over Kafka's protocol. */
  verify(logs: readonly (readonly SeenEvent[])[]): AccountTotals {
    const places = new Map<string, { partition: number; offset: number }>()
    for (const [partition, log] of logs.entries()) {
      for (const [index, { offset, value }] of log.entries()) {
        assert.equal(offset, index, `partition ${partition} has a hole`)
        const event = this.#sent.get(value)
        assert.ok(event !== undefined, `nobody sent ${value.slice(0, 60)}`)
        assert.equal(event.partition, partition, `${nameOf(event)} is in ${partition}`)
        const first = places.get(value)
        const twice = `${nameOf(event)} (${event.fate}) is at ${first?.offset} and at ${offset}`
        assert.equal(first, undefined, twice)
        places.set(value, { partition, offset })
      }
      assert.deepEqual(this.#seen[partition]?.slice(0, log.length), log, `partition ${partition}`)
    }
    this.#verifyFates(places)
    return this.#totals(places.size)
  }

  #verifyFates(places: ReadonlyMap<string, { partition: number; offset: number }>): void {
    const last = new Map<string, { event: SentEvent; offset: number }>()
    for (const event of this.#sent.values()) {
      const place = places.get(event.value)
      assert.notEqual(event.fate, 'pending', nameOf(event))
      if (event.fate === 'refused') {
        assert.equal(place, undefined, `${nameOf(event)} was refused and is at ${place?.offset}`)
      }
      if (event.fate !== 'acknowledged') continue
      assert.ok(place !== undefined, `${nameOf(event)}, acknowledged at ${event.offset}, is lost`)
      if (event.offset >= 0) assert.equal(event.offset, place.offset, nameOf(event))
      // In the order of sending: the map keeps it.
      const lane = `${event.producer}|${event.partition}`
      const before = last.get(lane)
      if (before !== undefined) {
        const order = `${nameOf(event)} at ${place.offset}, ${nameOf(before.event)} before it at`
        assert.ok(before.offset < place.offset, `${order} ${before.offset}`)
      }
      last.set(lane, { event, offset: place.offset })
    }
  }

  #totals(stored: number): AccountTotals {
    const count = (fate: Fate): number =>
      [...this.#sent.values()].filter((event) => event.fate === fate).length
    return {
      acknowledged: count('acknowledged'),
      inDoubt: count('inDoubt'),
      refused: count('refused'),
      stored,
    }
  }
}

function nameOf({ producer, partition, number }: SentEvent): string {
  return `event ${number} of ${producer} in partition ${partition}`
}
