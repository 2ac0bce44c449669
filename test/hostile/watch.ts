/**
 * What must hold of a broker process while somebody attacks it: another client is served, memory
 * and the delay of the event loop stay bounded, and the process ends in order.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { TestBroker } from '../support/broker.ts'
import { appendOk, batchOf, createTopic, values } from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

const MIB = 1024 * 1024

export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
}

/** Seconds: the longest that the broker's main thread was held up since it was last asked. */
async function eventLoopDelayMax(broker: TestBroker): Promise<number> {
  const text = await (await fetch(`${broker.httpUrl}/metrics`)).text()
  return Number(/^nodejs_eventloop_lag_max_seconds\s+(\S+)/m.exec(text)?.[1])
}

/** A client that behaves: it produces and reads back all along, and must see everything. */
export class Canary {
  readonly #client: RawClient
  readonly #topic: string
  readonly #done: Promise<void>
  readonly #sent: string[] = []
  #isStopped = false

  private constructor(client: RawClient, topic: string) {
    this.#client = client
    this.#topic = topic
    this.#done = this.#run()
    this.#done.catch(() => {}) // `stop` says it.
  }

  static async start(broker: TestBroker, topic = 'canary'): Promise<Canary> {
    const client = await RawClient.open(broker.port)
    await createTopic(client, { name: topic, partitions: 1 })
    return new Canary(client, topic)
  }

  /** Rounds that were served so far. */
  get rounds(): number {
    return this.#sent.length
  }

  /** Ends it and reads its topic back: every record is there, once, in order. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#done
    assert.deepEqual(await values(this.#client, { topic: this.#topic, partition: 0 }), this.#sent)
    this.#client.close()
  }

  async #run(): Promise<void> {
    const to = { topic: this.#topic, partition: 0 }
    while (!this.#isStopped) {
      const value = `${this.#topic} ${this.#sent.length}`
      const offset = await appendOk(this.#client, to, batchOf({ values: [value] }))
      assert.equal(offset, this.#sent.length)
      this.#sent.push(value)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}

export interface WatchLimits {
  /** What resident memory may rise by at most. */
  readonly growthMiB?: number
  readonly delaySeconds?: number
}

/** Runs `attack` with a canary beside it and checks all of this afterwards. */
export async function underWatch(
  broker: TestBroker,
  attack: () => Promise<void>,
  { growthMiB = 300, delaySeconds = 3 }: WatchLimits = {},
): Promise<void> {
  const canary = await Canary.start(broker, `canary-${Math.random().toString(36).slice(2)}`)
  await eventLoopDelayMax(broker)
  const start = residentBytes(broker.pid)
  let peak = start
  const timer = setInterval(() => {
    peak = Math.max(peak, residentBytes(broker.pid))
  }, 20)
  const roundsBefore = canary.rounds
  try {
    await attack()
  } finally {
    clearInterval(timer)
  }
  peak = Math.max(peak, residentBytes(broker.pid))
  assert.ok(peak - start < growthMiB * MIB, `resident memory rose by ${peak - start} bytes`)
  const delay = await eventLoopDelayMax(broker)
  assert.ok(delay < delaySeconds, `the event loop was held up for ${delay} s`)
  await canary.stop()
  assert.ok(canary.rounds > roundsBefore, 'nobody else was served')
}
