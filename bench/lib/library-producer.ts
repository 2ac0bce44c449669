/**
 * One producer library at full speed, as a program of its own: prints a line of JSON with what it
 * sent and what CPU time that took this process. `libraries.ts` runs it.
 *
 *   library-producer.js millrace|kafkajs ADDRESS TOPIC EVENTS EVENT_BYTES
 */
import { randomBytes } from 'node:crypto'
import { Kafka, logLevel } from 'kafkajs'
import { createClient } from '../../src/index.ts'

/** Different values, so that nothing can be cached; few, so that making them costs nothing. */
const VALUES = 1000
/** kafkajs has no lingering: what is sent together is a batch. */
const KAFKAJS_CHUNK = 300

const [library = '', address = '', topic = '', events = '', eventBytes = ''] = process.argv.slice(2)
const count = Number(events)
const values = Array.from({ length: VALUES }, () => randomBytes(Number(eventBytes)))

async function millrace(): Promise<void> {
  const client = createClient({ url: address })
  const producer = client.producer({ acks: 'all', lingerMs: 5 })
  for (let i = 0; i < count; i++) {
    const value = values[i % VALUES] as Uint8Array
    if (!producer.produce({ topic, value })) await producer.ready()
  }
  await client.close()
}

/** The same with a promise for each event. */
async function millracePromises(): Promise<void> {
  const client = createClient({ url: address })
  const producer = client.producer({ acks: 'all', lingerMs: 5 })
  const chunk = 10_000
  for (let from = 0; from < count; from += chunk) {
    const sent = Array.from({ length: Math.min(chunk, count - from) }, (_, i) =>
      producer.send({ topic, value: values[i % VALUES] as Uint8Array }),
    )
    await Promise.all(sent)
  }
  await client.close()
}

async function kafkajs(): Promise<void> {
  const kafka = new Kafka({ brokers: [address], logLevel: logLevel.ERROR })
  const producer = kafka.producer({ idempotent: false })
  await producer.connect()
  const underWay: Promise<unknown>[] = []
  for (let from = 0; from < count; from += KAFKAJS_CHUNK) {
    const messages = Array.from({ length: Math.min(KAFKAJS_CHUNK, count - from) }, (_, i) => ({
      value: values[i % VALUES] as Buffer,
    }))
    underWay.push(producer.send({ topic, acks: -1, messages }))
    if (underWay.length === 5) await underWay.shift()
  }
  await Promise.all(underWay)
  await producer.disconnect()
}

const run = { millrace, 'millrace-promises': millracePromises, kafkajs }[library]
if (run === undefined) throw new Error(`no such library: ${library}`)
const before = process.cpuUsage()
const startedMs = performance.now()
await run()
const { user, system } = process.cpuUsage(before)
const seconds = (performance.now() - startedMs) / 1000
process.stdout.write(
  `${JSON.stringify({ library, events: count, seconds, cpuSeconds: (user + system) / 1e6 })}\n`,
)
