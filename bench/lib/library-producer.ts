/**
 * One producer library at full speed, as a program of its own: prints a line of JSON with what it
 * sent and what CPU time that took this process. `libraries.ts` runs it.
 *
 *   library-producer.js millrace|millrace-promises|kafkajs ADDRESS TOPIC EVENTS FILE none|lz4
 *
 * FILE has a value a line: different ones, so that nothing can be cached; few, so that reading them
 * costs nothing.
 */
import { readFileSync } from 'node:fs'
import kafkajsModule from 'kafkajs'
import lz4 from 'lz4-napi'
import { createClient } from '../../src/index.ts'

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajsModule
/** kafkajs has no lingering: what is sent together is a batch. */
const KAFKAJS_CHUNK = 300

const [library = '', address = '', topic = '', events = '', file = '', codec = ''] =
  process.argv.slice(2)
const count = Number(events)
const values = readFileSync(file, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => Buffer.from(line))
const compression = codec === 'lz4' ? 'lz4' : 'none'
// kafkajs has no LZ4 of its own: it gets the library that ours uses.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder: { readonly buffer: Buffer }) => lz4.compressFrameSync(encoder.buffer),
  decompress: async (bytes: Buffer) => lz4.decompressFrameSync(bytes),
})

async function millrace(): Promise<void> {
  const client = createClient({ url: address })
  const producer = client.producer({ acks: 'all', lingerMs: 5, compression })
  for (let i = 0; i < count; i++) {
    const value = values[i % values.length] as Uint8Array
    if (!producer.produce({ topic, value })) await producer.ready()
  }
  await client.close()
}

/** The same with a promise for each event. */
async function millracePromises(): Promise<void> {
  const client = createClient({ url: address })
  const producer = client.producer({ acks: 'all', lingerMs: 5, compression })
  const chunk = 10_000
  for (let from = 0; from < count; from += chunk) {
    const sent = Array.from({ length: Math.min(chunk, count - from) }, (_, i) =>
      producer.send({ topic, value: values[i % values.length] as Uint8Array }),
    )
    await Promise.all(sent)
  }
  await client.close()
}

async function kafkajs(): Promise<void> {
  const kafka = new Kafka({ brokers: [address], logLevel: logLevel.ERROR })
  const producer = kafka.producer({ idempotent: false })
  await producer.connect()
  const type = compression === 'lz4' ? CompressionTypes.LZ4 : CompressionTypes.None
  const underWay: Promise<unknown>[] = []
  for (let from = 0; from < count; from += KAFKAJS_CHUNK) {
    const messages = Array.from({ length: Math.min(KAFKAJS_CHUNK, count - from) }, (_, i) => ({
      value: values[i % values.length] as Buffer,
    }))
    underWay.push(producer.send({ topic, acks: -1, messages, compression: type }))
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
