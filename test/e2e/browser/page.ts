/**
 * The page of the browser test. It runs in Chromium, under a Content-Security-Policy that allows
 * no code made of text; the test calls its actions by name.
 */
import type * as Millrace from '../../../src/browser.ts'
import { keyOf } from './events.ts'

export interface ProduceOrder {
  readonly url: string
  readonly topic: string
  readonly count: number
  readonly compression?: 'none' | 'gzip' | 'zstd'
  /** Events between two pauses of a few milliseconds; without it there are none. */
  readonly burst?: number
}

/** Partition and offset of each event, in the order of their numbers. */
export type Places = [partition: number, offset: number][]

export interface ConsumeOrder {
  readonly url: string
  readonly topic: string
  readonly count: number
  /** As a member of it, which commits what it has read. */
  readonly group?: string
}

/** As they came, of all partitions. */
export type Events = [partition: number, offset: number, key: string | null, value: string][]

/** An error as data: pages hand over no objects. */
export interface Failure {
  readonly name: string
  readonly codeName: string | null
}

export interface Actions {
  produce(order: ProduceOrder): Promise<Places>
  /** How many events of the present `produce` are acknowledged. */
  acknowledged(): number
  consume(order: ConsumeOrder): Promise<Events>
  /** What `produce` fails with, or `consume`. */
  produceFailure(order: ProduceOrder): Promise<Failure>
  consumeFailure(order: ConsumeOrder): Promise<Failure>
  /** Whether a connection is open within `waitMs`. */
  connects(order: { url: string; waitMs: number }): Promise<boolean>
  /** What the policy has refused. */
  violations(): string[]
}

interface PageGlobals {
  actions: Actions
  addEventListener(
    type: 'securitypolicyviolation',
    listener: (event: { violatedDirective: string; blockedURI: string }) => void,
  ): void
}

const globals = globalThis as unknown as PageGlobals
const violations: string[] = []
globals.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
  violations.push(`${violatedDirective}: ${blockedURI}`)
})

const bundle: string = '/millrace.js'
const { createClient } = (await import(bundle)) as typeof Millrace
const text = new TextDecoder()
const pause = (delayMs: number) => new Promise((resolve) => setTimeout(resolve, delayMs))
let acknowledged = 0

async function produce(order: ProduceOrder): Promise<Places> {
  const { url, topic, count, compression = 'none', burst = count } = order
  acknowledged = 0
  const client = createClient({ url })
  const producer = client.producer({ compression })
  const sent: Promise<Millrace.RecordMetadata>[] = []
  for (let number = 0; number < count; number++) {
    const one = producer.send({ topic, key: keyOf(number), value: String(number) })
    one.then(
      () => acknowledged++,
      () => {},
    )
    sent.push(one)
    if (number % burst === burst - 1) await pause(5)
  }
  try {
    const stored = await Promise.all(sent)
    return stored.map(({ partition, offset }) => [partition, offset])
  } finally {
    await client.close().catch(() => {})
  }
}

async function consume({ url, topic, count, group }: ConsumeOrder): Promise<Events> {
  const client = createClient({ url })
  const events: Events = []
  const what = { topics: [topic], from: 'earliest' } as const
  const member = group === undefined ? null : client.consumer({ ...what, group })
  try {
    for await (const record of member ?? client.consumer(what)) {
      const { partition, offset, key, value } = record
      const keyText = key === null ? null : text.decode(key)
      events.push([partition, offset, keyText, text.decode(value ?? new Uint8Array())])
      if (events.length < count) continue
      await member?.commit()
      break
    }
    return events
  } finally {
    await client.close()
  }
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise
  } catch (error) {
    const { name, codeName = null } = error as { name: string; codeName?: string }
    return { name, codeName }
  }
  throw new Error('it did not fail')
}

globals.actions = {
  produce,
  consume,
  acknowledged: () => acknowledged,
  produceFailure: (order) => failureOf(produce(order)),
  consumeFailure: (order) => failureOf(consume(order)),
  async connects({ url, waitMs }) {
    const client = createClient({ url })
    try {
      await client.connect({ signal: AbortSignal.timeout(waitMs) })
      return true
    } catch {
      return false
    } finally {
      await client.close()
    }
  },
  violations: () => violations,
}
