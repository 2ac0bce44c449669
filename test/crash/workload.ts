/**
 * Producers that load a broker until it dies, and the account of what they were promised. Every
 * payload says who wrote it, to which partition, as which number, so that what is read back can be
 * compared by content. Used by `kill.test.ts` and `scripts/crash-rounds.mjs`.
 */
import assert from 'node:assert/strict'
import type { Random } from '../../src/base/random.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import {
  batchOf,
  newProducerId,
  PRODUCE_BY_NAME,
  produceBody,
  readPartition,
  TIMESTAMP_MS,
} from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

export interface Target {
  readonly topic: string
  readonly partition: number
}

/** A batch of consecutive numbers of one producer in one partition. */
interface Batch {
  readonly producer: string
  readonly target: Target
  /** First number; also the base sequence of an idempotent producer. */
  readonly first: number
  readonly count: number
  readonly valueBytes: number
  /** −1 until acknowledged. */
  baseOffset: number
}

/** Requests that a producer has under way at a time; Kafka's limit for idempotent ones. */
const IN_FLIGHT_MAX = 5
/** Values of different sizes, most of them small. */
const VALUE_BYTES = [20, 20, 20, 300, 4000]

export class Producer {
  readonly name: string
  readonly isIdempotent: boolean
  readonly acknowledged: Batch[] = []
  /** Sent and not answered, oldest first: may be in the log or not. */
  readonly unanswered: Batch[] = []
  readonly #targets: readonly Target[]
  readonly #random: Random
  readonly #next = new Map<string, number>()
  #producerId = -1

  constructor(of: {
    name: string
    isIdempotent: boolean
    targets: readonly Target[]
    random: Random
  }) {
    this.name = of.name
    this.isIdempotent = of.isIdempotent
    this.#targets = of.targets
    this.#random = of.random
  }

  /**
   * Appends until the connection breaks; returns how many batches were acknowledged. An idempotent
   * producer begins with what the last broker left unanswered, in the same order and with the same
   * sequence numbers; a plain one gives those up.
   */
  async run(port: number): Promise<number> {
    const client = await RawClient.open(port)
    const before = this.acknowledged.length
    try {
      if (this.isIdempotent && this.#producerId < 0) {
        this.#producerId = await newProducerId(client)
      }
      await this.#retry(client)
      const lanes = Array.from({ length: IN_FLIGHT_MAX }, () => this.#load(client))
      await Promise.all(lanes)
    } catch (error) {
      if (!client.isClosed) throw error
    } finally {
      client.close()
    }
    return this.acknowledged.length - before
  }

  /** Brings the unanswered batches of an idempotent producer in, once each. */
  async settle(port: number): Promise<void> {
    const client = await RawClient.open(port)
    try {
      await this.#retry(client)
    } finally {
      client.close()
    }
  }

  async #retry(client: RawClient): Promise<void> {
    if (!this.isIdempotent) {
      this.unanswered.length = 0
      return
    }
    // Pipelined, as a client would: order within a partition is kept by the connection.
    await Promise.all([...this.unanswered].map((batch) => this.#send(client, batch)))
    assert.equal(this.unanswered.length, 0)
  }

  async #load(client: RawClient): Promise<void> {
    while (!client.isClosed) {
      const target = this.#random.pick(this.#targets)
      const key = `${target.topic}/${target.partition}`
      const first = this.#next.get(key) ?? 0
      const count = this.#random.between(1, 5)
      this.#next.set(key, first + count)
      const batch: Batch = {
        producer: this.name,
        target,
        first,
        count,
        valueBytes: this.#random.pick(VALUE_BYTES),
        baseOffset: -1,
      }
      this.unanswered.push(batch)
      await this.#send(client, batch)
    }
  }

  async #send(client: RawClient, batch: Batch): Promise<void> {
    const records = batchOf({
      values: Array.from({ length: batch.count }, (_, i) => payload(batch, batch.first + i)),
      timestamp: TIMESTAMP_MS + batch.first,
      ...(this.isIdempotent
        ? { producerId: this.#producerId, producerEpoch: 0, baseSequence: batch.first }
        : {}),
    })
    const body = produceBody([{ ...batch.target, records }])
    const answer = await client.request(ApiKey.PRODUCE, PRODUCE_BY_NAME, body)
    const { errorCode, baseOffset } = answer.responses[0]!.partitionResponses[0]!
    assert.equal(errorCode, ErrorCode.NONE, describe(batch))
    batch.baseOffset = baseOffset
    this.unanswered.splice(this.unanswered.indexOf(batch), 1)
    this.acknowledged.push(batch)
  }
}

function payload(batch: Batch, number: number): string {
  const head = `${batch.producer}|${batch.target.topic}|${batch.target.partition}|${number}|`
  return head.padEnd(batch.valueBytes, '.')
}

function describe(batch: Batch): string {
  const { producer, target, first, count } = batch
  return `${producer}: ${first}+${count} of ${target.topic}-${target.partition}`
}

/**
 * Reads everything and holds it against the account: what was acknowledged is at its offset, whole
 * and by content; what was not is there once or, only for plain producers, not at all; offsets are
 * dense; each producer's numbers ascend. Returns the records read.
 */
export async function verify(
  port: number,
  targets: readonly Target[],
  producers: readonly Producer[],
): Promise<number> {
  const client = await RawClient.open(port)
  let count = 0
  try {
    for (const target of targets) count += await verifyPartition(client, target, producers)
  } finally {
    client.close()
  }
  return count
}

async function verifyPartition(
  client: RawClient,
  target: Target,
  producers: readonly Producer[],
): Promise<number> {
  const where = `${target.topic}-${target.partition}`
  const read = await readPartition(client, target) // Fails on a hole in the offsets.
  const seen = new Map<string, number[]>()
  for (const { value } of read) {
    const [name, topic, partition, number] = value.split('|') as [string, string, string, string]
    assert.deepEqual([topic, Number(partition)], [target.topic, target.partition], where)
    const numbers = seen.get(name) ?? []
    seen.set(name, numbers)
    numbers.push(Number(number))
  }
  const isHere = (batch: Batch) =>
    batch.target.topic === target.topic && batch.target.partition === target.partition
  for (const producer of producers) {
    for (const batch of producer.acknowledged.filter(isHere)) {
      for (let i = 0; i < batch.count; i++) {
        const record = read[batch.baseOffset + i]
        const expected = payload(batch, batch.first + i)
        assert.equal(record?.value, expected, `${describe(batch)} at ${batch.baseOffset}`)
        assert.equal(record?.timestamp, TIMESTAMP_MS + batch.first)
      }
    }
    const numbers = seen.get(producer.name) ?? []
    for (let i = 1; i < numbers.length; i++) {
      const [a, b] = [numbers[i - 1] as number, numbers[i] as number]
      assert.ok(a < b, `${where}: ${producer.name} wrote ${b} after ${a}`)
      if (producer.isIdempotent) assert.equal(b, a + 1, `${where}: a gap of ${producer.name}`)
    }
    if (producer.isIdempotent && numbers.length > 0) assert.equal(numbers[0], 0, where)
  }
  return read.length
}
