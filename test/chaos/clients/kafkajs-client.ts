/**
 * A process of kafkajs: idempotent producers, or a consumer in a group of its own; see
 * `client-spec.ts`. A producer sends to one partition at a time and waits for the answer. One whose
 * send has failed is made anew, under another name: its next batch could be taken for a repetition
 * of the one that failed.
 */
import { Kafka, logLevel, type Producer, type RetryOptions } from 'kafkajs'
import { Random } from '../../../src/base/random.ts'
import { parseEvent } from '../cluster.ts'
import { HistoryFile, partitionName, type SeenEvent } from '../history.ts'
import type { ClientSpec } from './client-spec.ts'

const RETRY: RetryOptions = { initialRetryTime: 50, maxRetryTime: 500, retries: 100 }
const FILLER = 'x'.repeat(64)
const REST_MS = 200

const spec = JSON.parse(process.argv[2] ?? '{}') as ClientSpec
const history = new HistoryFile(spec.directory, spec.name)
const random = new Random(spec.seed)
let isStopping = false
let done = 0

const kafka = new Kafka({
  clientId: spec.name,
  brokers: [...spec.bootstrap],
  connectionTimeout: 1000,
  requestTimeout: 3000,
  retry: RETRY,
  logLevel: logLevel.NOTHING,
})
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** One producer, and those that take its place when a send fails. */
async function produce(index: number, random: Random): Promise<void> {
  const pauseMs = (spec.producers * spec.batchMax * 500) / spec.eventsPerSecond
  for (let generation = 0; !isStopping; generation++) {
    const name = `${spec.name}.${index}.${generation}`
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, retry: RETRY })
    try {
      await producer.connect()
      for (let sequence = 0; !isStopping; ) {
        const count = random.between(1, spec.batchMax)
        if (!(await sendBatch(producer, { name, sequence, count, random }))) break
        sequence += count
        await sleep(random.below(2 * pauseMs))
      }
    } catch {
      await sleep(REST_MS) // Nobody is there to connect to.
    }
    await producer.disconnect().catch(() => {})
  }
}

/** False: what became of it is not known. */
async function sendBatch(
  producer: Producer,
  batch: { name: string; sequence: number; count: number; random: Random },
): Promise<boolean> {
  const { name, sequence: first, count, random } = batch
  const { name: topic, partitions } = random.pick(spec.topics)
  const partition = random.below(partitions)
  const of = { producer: name, partition: partitionName(topic, partition) }
  const sequences = Array.from({ length: count }, (_, i) => first + i)
  const messages = sequences.map((sequence) => {
    return { partition, value: `${name}/${sequence} ${FILLER}` }
  })
  history.append({ type: 'invoke', at: Date.now(), ...of, first, count })
  try {
    const [answer] = await producer.send({ topic, messages, acks: -1, timeout: 3000 })
    const base = Number(answer?.baseOffset)
    const events = sequences.map((sequence, i) => [sequence, base + i] as const)
    history.append({ type: 'ok', at: Date.now(), ...of, events })
    done += count
    return true
  } catch (cause) {
    const error = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)
    history.append({ type: 'unknown', at: Date.now(), ...of, sequences, error })
    return false
  }
}

async function consume(): Promise<void> {
  const groupId = spec.name
  const times = { sessionTimeout: 10_000, heartbeatInterval: 1000, maxWaitTimeInMs: 200 }
  const consumer = kafka.consumer({ groupId, retry: RETRY, ...times })
  // Whoever joins anew begins at what was committed.
  let generation = 0
  consumer.on('consumer.group_join', () => {
    generation++
  })
  await consumer.connect()
  await consumer.subscribe({ topics: spec.topics.map(({ name }) => name), fromBeginning: true })
  await consumer.run({
    autoCommitInterval: 1000,
    partitionsConsumedConcurrently: 1,
    eachBatch: async ({ batch }) => {
      const events: SeenEvent[] = batch.messages.map(({ offset, value }) => {
        return [Number(offset), ...parseEvent(value?.toString('latin1') ?? '')]
      })
      const partition = partitionName(batch.topic, batch.partition)
      const reader = `${spec.name}.${generation}`
      history.append({ type: 'read', at: Date.now(), reader, partition, events })
      done += events.length
    },
  })
  while (!isStopping) await sleep(100)
  await Promise.race([consumer.disconnect().catch(() => {}), sleep(5000)])
}

process.stdin.resume()
process.stdin.on('end', () => {
  isStopping = true
})
setInterval(() => process.stdout.write(`${JSON.stringify({ done })}\n`), 1000).unref()
if (spec.role === 'consumer') await consume()
else {
  const all = Array.from({ length: spec.producers }, (_, index) => produce(index, random.split()))
  await Promise.all(all)
}
process.stdout.write(`${JSON.stringify({ done })}\n`, () => process.exit(0))
