/**
 * One round: a broker process, our producers and a live consumer over a network that harms their
 * connections, kill -9 and restarts; then everything is read over Kafka's protocol and compared.
 * The seed decides what is sent, what is done and after how much progress, not how processes
 * interleave. Used by `client-faults.test.ts` and `scripts/client-crash-rounds.mjs`.
 */
import assert from 'node:assert/strict'
import { Random } from '../../src/base/random.ts'
import { readPartition } from '../../src/client/kafka-reader.ts'
import type { WebEngine } from '../../src/gateway/web/web-server.ts'
import { type Client, createClient } from '../../src/index.ts'
import { type BrokerOptions, startBroker, type TestBroker } from '../support/broker.ts'
import { type FaultKind, FaultProxy } from '../support/fault-proxy.ts'
import { freePort } from '../support/ports.ts'
import { Account, type AccountTotals, type SeenEvent } from './client-account.ts'
import { drawPlan, type RoundPlan, TROUBLES, type Trouble } from './client-plan.ts'

export interface ClientRoundOptions {
  readonly seed: number
  readonly engine: WebEngine
  readonly trouble: Trouble
}

export interface ClientRoundReport extends AccountTotals {
  readonly restarts: number
  readonly connections: number
  readonly faults: Readonly<Record<FaultKind, number>>
}

const TOPIC = 'events'
const ENGINES: readonly WebEngine[] = ['native', 'uws', 'node']
/** A round that has not come so far hangs: nothing in it takes a tenth of this. */
const HANG_MS = 120_000
const CLIENT = { requestTimeoutMs: 500, reconnectMinMs: 5, reconnectMaxMs: 60 }

/** Of the round that a seed stands for: every combination comes up in nine seeds. */
export function roundOptions(seed: number): ClientRoundOptions {
  const engine = ENGINES[Math.floor(seed / 3) % 3] as WebEngine
  return { seed, engine, trouble: TROUBLES[seed % 3] as Trouble }
}

export async function clientRound(options: ClientRoundOptions): Promise<ClientRoundReport> {
  const random = new Random(options.seed)
  const plan = drawPlan(random, options.trouble)
  const round = await Round.start(plan, options.engine, random)
  try {
    return await round.run()
  } catch (error) {
    process.stderr.write(`--- broker output ---\n${round.brokerOutput}\n---\n`)
    process.stderr.write(`${JSON.stringify({ ...options, ...plan }, null, 2)}\n`)
    throw error
  } finally {
    await round.end()
  }
}

/** Everything that a restart must find again. */
type RestartOptions = BrokerOptions & { readonly httpPort: number }

class Round {
  readonly #plan: RoundPlan
  readonly #random: Random
  readonly #brokerOptions: RestartOptions
  readonly #account: Account
  readonly #proxy: FaultProxy | null
  #broker: TestBroker
  readonly #clients: Client[] = []
  readonly #ended = new AbortController()
  #restarts = 0
  #ending: Promise<void> = Promise.resolve()

  private constructor(of: {
    plan: RoundPlan
    random: Random
    options: RestartOptions
    broker: TestBroker
    proxy: FaultProxy | null
  }) {
    this.#plan = of.plan
    this.#random = of.random
    this.#brokerOptions = of.options
    this.#broker = of.broker
    this.#proxy = of.proxy
    this.#account = new Account(of.plan)
  }

  static async start(plan: RoundPlan, engine: string, random: Random): Promise<Round> {
    const httpPort = await freePort()
    const set = {
      'millrace.http.engine': engine,
      'log.flush.offset.checkpoint.interval.ms': '100',
    }
    const options = { shards: plan.shards, set, httpPort }
    const broker = await startBroker(options)
    const { port, dataDirs } = broker
    const { faultsMax } = plan
    const faults = { port: httpPort, random: random.split(), faultsMax }
    const proxy = faultsMax === 0 ? null : await FaultProxy.open(faults)
    return new Round({ plan, random, options: { ...options, port, dataDirs }, broker, proxy })
  }

  get brokerOutput(): string {
    return this.#broker.output()
  }

  async run(): Promise<ClientRoundReport> {
    const { partitions, topicConfigs } = this.#plan
    const direct = this.#client(this.#brokerOptions.httpPort)
    const topic = { name: TOPIC, partitions, configs: topicConfigs }
    await direct.admin().createTopic(topic)
    const [info] = await direct.admin().listTopics({ topics: [TOPIC] })
    assert.ok(info !== undefined)

    const harmed = this.#harmedClient()
    const consumer = this.#consumer(this.#plan.isShared ? harmed : this.#harmedClient())
    const consumed = this.#account.consume(consumer, TOPIC, this.#random.split())
    const work = this.#work(harmed)
    // A consumer that fails ends the round at once; a producer that fails, too.
    await this.#untilDone(Promise.race([work, consumed.then(() => work)]), 'producers')

    this.#proxy?.heal()
    const logs = await this.#readLogs(info.topicId)
    await this.#untilDone(Promise.race([this.#caughtUp(logs), consumed]), 'the consumer')
    await consumer.close()
    await consumed
    const totals = this.#account.verify(logs)
    const { connections = 0, done } = this.#proxy ?? {}
    const none = { cut: 0, reset: 0, halfClose: 0, stallCut: 0, stall: 0, crumbs: 0 }
    return { ...totals, restarts: this.#restarts, connections, faults: done ?? none }
  }

  async end(): Promise<void> {
    this.#ended.abort()
    this.#account.changed()
    await this.#ending.catch(() => {}) // It may be starting a broker.
    const signal = AbortSignal.abort(new Error('the round is over'))
    await Promise.allSettled(this.#clients.map((client) => client.close({ signal })))
    await this.#proxy?.close()
    await this.#broker.kill()
    this.#broker.cleanUp()
  }

  #client(port: number): Client {
    const { creditWindowBytes } = this.#plan
    const url = `ws://127.0.0.1:${port}/ws`
    const client = createClient({ url, creditWindowBytes, ...CLIENT })
    this.#clients.push(client)
    return client
  }

  #harmedClient(): Client {
    return this.#client(this.#proxy?.port ?? this.#brokerOptions.httpPort)
  }

  #consumer(client: Client) {
    const { byTopic, bufferBytes } = this.#plan.consumer
    const retry = { retryMinMs: 5, retryMaxMs: 100 }
    const options = { from: 'earliest', bufferBytes, ...retry } as const
    if (byTopic) return client.consumer({ ...options, topics: [TOPIC] })
    const assignments = Array.from({ length: this.#plan.partitions }, (_, partition) => {
      return { topic: TOPIC, partition }
    })
    return client.consumer({ ...options, assignments })
  }

  /** All events are sent and settled while the broker ends and begins as planned. */
  async #work(client: Client): Promise<void> {
    const loads = this.#plan.producers.map(async (plan) => {
      const { compression, batchBytes, lingerMs, inFlight, deliveryTimeoutMs } = plan
      const rules = { compression, batchBytes, lingerMs, inFlight, deliveryTimeoutMs }
      const producer = client.producer({ ...rules, retryMinMs: 5, retryMaxMs: 50 })
      const random = this.#random.split()
      await this.#account.produce({ producer, topic: TOPIC, plan, random })
    })
    this.#ending = this.#endAsPlanned()
    await Promise.all([...loads, this.#ending])
  }

  async #endAsPlanned(): Promise<void> {
    for (const { settled, by } of this.#plan.ends) {
      await this.#until(() => this.#account.settled >= settled)
      if (this.#ended.signal.aborted) return
      if (by === 'kill') await this.#broker.kill()
      else await this.#broker.stop()
      this.#restarts++
      this.#broker = await startBroker(this.#brokerOptions)
    }
  }

  async #readLogs(topicId: string): Promise<SeenEvent[][]> {
    const { port } = this.#broker
    const client = this.#client(this.#brokerOptions.httpPort)
    const options = { host: '127.0.0.1', port, clientId: 'check', timeoutMs: HANG_MS }
    const partitions = Array.from({ length: this.#plan.partitions }, (_, partition) => partition)
    const queries = partitions.map((partition) => ({ topic: TOPIC, partition }))
    const ends = await client.admin().listOffsets(queries)
    return await Promise.all(
      ends.map(async ({ partition, offset: end }) => {
        const place = { topic: TOPIC, topicId, partition, offset: 0 }
        const log: SeenEvent[] = []
        if (end === 0) return log
        for await (const records of readPartition(options, place, this.#ended.signal)) {
          for (const { offset, value } of records) {
            log.push({ offset, value: Buffer.from(value ?? []).toString() })
          }
          if (log.length >= end) break
        }
        return log
      }),
    )
  }

  #caughtUp(logs: readonly (readonly SeenEvent[])[]): Promise<void> {
    const { seen } = this.#account
    return this.#until(() => logs.every((log, index) => (seen[index]?.length ?? 0) >= log.length))
  }

  /** Resolves when the account has come so far, or the round ends. One at a time. */
  #until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition() && !this.#ended.signal.aborted) return
        this.#account.changed = () => {}
        resolve()
      }
      this.#account.changed = look
      look()
    })
  }

  async #untilDone(done: Promise<void>, what: string): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const hung = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${what} hang: ${this.#progress()}`)), HANG_MS)
    })
    try {
      await Promise.race([done, hung])
    } finally {
      clearTimeout(timer)
    }
  }

  #progress(): string {
    const { settled, seen } = this.#account
    const connected = this.#clients.map(({ isConnected }) => isConnected)
    return JSON.stringify({ settled, seen: seen.map(({ length }) => length), connected })
  }
}
