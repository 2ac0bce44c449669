import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { Command, Option } from 'commander'
import type { Client } from '../client/client.ts'
import type { ConnectOptions } from '../client/kafka-connection.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { urlOption } from './broker-url.ts'
import { connectClient, isThere } from './connect.ts'
import { DemoTopic, type Reassembly } from './demo-topic.ts'
import { sizeOf } from './file-sizes.ts'
import { linesOf } from './lines.ts'
import { formatJson, formatTable, type Streams } from './output.ts'
import { collect, LINE_BYTES_MAX, whole } from './produce.ts'
import { type Counter, Progress, type ProgressLine, sizeText } from './progress.ts'

/**
 * `millrace demo`: streams a file's lines in through the WebSocket door and reads them back through
 * both doors at once, live, and says whether every byte came back, once and in order.
 */
interface DemoOptions {
  readonly url: string
  readonly file?: readonly string[]
  readonly partitions: number
  readonly keep?: boolean
  readonly format: 'table' | 'json'
}

/** A broker of the demo's own, where none runs. */
export interface DemoBroker {
  readonly url: string
  stop(): Promise<void>
}

export type StartDemoBroker = () => Promise<DemoBroker>

const REPEATED_LINES = 200_000

export function demoCommand(streams: Streams, startBroker: StartDemoBroker): Command {
  return new Command('demo')
    .description('stream a file in and out again, live, and check every byte')
    .addOption(urlOption())
    .option('-f, --file <path>', 'whose lines are streamed; may repeat', collect)
    .option('-p, --partitions <count>', 'of the topic that is made for it', whole(1, 1000), 4)
    .option('--keep', 'leave the topic there afterwards')
    .addOption(
      new Option('--format <format>', 'how to print').choices(['table', 'json']).default('table'),
    )
    .addHelpText(
      'after',
      `
Without a broker at the URL the demo starts one of its own, on a temporary directory.
Without a file it streams lines that it makes up.

Examples:
  $ millrace demo
  $ millrace demo --file /var/log/syslog --partitions 8`,
    )
    .action((options: DemoOptions) => demo(options, streams, startBroker))
}

async function demo(
  options: DemoOptions,
  streams: Streams,
  startBroker: StartDemoBroker,
): Promise<void> {
  const isForPeople = options.format === 'table'
  const say = (text: string): void => {
    if (isForPeople) streams.err(text)
  }
  const own = (await isThere(options.url)) ? null : await startBroker()
  const url = own?.url ?? options.url
  say(own === null ? `broker: ${url}` : `broker: ${url} (started for this demo, gone afterwards)`)
  const client = await connectClient(url, 'millrace demo')
  try {
    const name = `demo-${randomBytes(4).toString('hex')}`
    await client.admin().createTopic({ name, partitions: options.partitions })
    say(`topic:  ${name}, ${options.partitions} partitions\n`)
    const outcome = await stream(client, name, options)
    if (options.keep !== true) await client.admin().deleteTopic(name)
    if (isForPeople) streams.out(verdict(outcome))
    else streams.out(formatJson(outcome))
    if (!outcome.ok) {
      throw new BrokerError(ErrorCode.UNKNOWN_SERVER_ERROR, 'read back what was written', null)
    }
  } finally {
    await client.close().catch(() => {})
    await own?.stop()
  }
}

interface Outcome {
  readonly topic: string
  readonly ok: boolean
  readonly events: number
  readonly bytes: number
  readonly seconds: number
  readonly sha256: string
  readonly readers: readonly {
    readonly door: string
    readonly events: number
    readonly sha256: string
    readonly problem: string | null
  }[]
}

async function stream(client: Client, name: string, options: DemoOptions): Promise<Outcome> {
  const files = options.file ?? []
  const bytesTotal = files.length === 0 ? null : await sizeOf(files)
  const topic = new DemoTopic(options.partitions)
  const sent: Counter = { records: 0, bytes: 0 }
  const overWebSocket = topic.reassembly('WebSocket')
  const overKafka = topic.reassembly('Kafka')
  const lines: ProgressLine[] = [
    { name: 'WebSocket producer', counter: sent, bytesTotal },
    { name: 'WebSocket consumer', counter: overWebSocket.counter, bytesTotal },
    { name: 'Kafka consumer', counter: overKafka.counter, bytesTotal },
  ]
  const stop = new AbortController()
  const progress = await Progress.start(lines, options.format === 'table')
  const startedMs = performance.now()
  const sha = createHash('sha256')
  try {
    const readers = [
      readWebSocket(client, name, overWebSocket, options.partitions),
      readKafka(client, name, overKafka, stop.signal),
    ]
    const failed = Promise.all(readers).catch((error: unknown) => error)
    await send(client, name, files, { sent, sha, partitions: options.partitions })
    overWebSocket.expect(sent.records)
    overKafka.expect(sent.records)
    const error = await failed
    if (error instanceof Error) throw error
  } finally {
    stop.abort()
    progress.stop()
  }
  const sha256 = sha.digest('hex')
  const readers = [overWebSocket, overKafka].map((reader) => ({
    door: reader.name,
    events: reader.counter.records,
    sha256: reader.digest(),
    problem: reader.problem,
  }))
  return {
    topic: name,
    ok: readers.every((reader) => reader.sha256 === sha256 && reader.problem === null),
    events: sent.records,
    bytes: sent.bytes,
    seconds: Number(((performance.now() - startedMs) / 1000).toFixed(3)),
    sha256,
    readers,
  }
}

/** Line n goes to partition n modulo their number: so a reader knows where each one must come. */
async function send(
  client: Client,
  topic: string,
  files: readonly string[],
  to: { sent: Counter; sha: ReturnType<typeof createHash>; partitions: number },
): Promise<void> {
  const producer = client.producer({ lingerMs: 5 })
  const sources = files.length === 0 ? [madeUpLines()] : files.map((path) => createReadStream(path))
  for (const source of sources) {
    for await (const lines of linesOf(source, LINE_BYTES_MAX)) {
      for (const value of lines) {
        const partition = to.sent.records % to.partitions
        const isRoom = producer.produce({ topic, partition, value })
        to.sha.update(value).update('\n')
        to.sent.records++
        to.sent.bytes += value.length + 1
        if (!isRoom) await producer.ready()
      }
    }
  }
  await producer.close()
}

async function readWebSocket(
  client: Client,
  topic: string,
  reassembly: Reassembly,
  partitions: number,
): Promise<void> {
  const assignments = Array.from({ length: partitions }, (_, partition) => {
    return { topic, partition, offset: 0 }
  })
  await using consumer = client.consumer({ assignments })
  const batches = consumer.batches({ signal: reassembly.done })
  try {
    for await (const { partition, records } of batches) {
      for (const { offset, value } of records) reassembly.take(partition, offset, value)
    }
  } catch (error) {
    if (!reassembly.done.aborted) throw error
  }
}

async function readKafka(
  client: Client,
  topic: string,
  reassembly: Reassembly,
  signal: AbortSignal,
): Promise<void> {
  const { readPartition } = await import('../client/kafka-reader.ts')
  const admin = client.admin()
  const [node] = (await admin.describeCluster()).nodes
  const { topicId, partitions } = await admin.describeTopic(topic)
  if (node === undefined) throw new Error('the broker names no Kafka listener')
  const { host, port } = node
  const at: ConnectOptions = { host, port, clientId: 'millrace demo', timeoutMs: 30_000 }
  const stop = AbortSignal.any([signal, reassembly.done])
  await Promise.all(
    partitions.map(async ({ partition }) => {
      for await (const records of readPartition(
        at,
        { topic, topicId, partition, offset: 0 },
        stop,
      )) {
        for (const { offset, value } of records) reassembly.take(partition, offset, value)
      }
    }),
  )
}

function verdict(outcome: Outcome): string {
  const { ok, events, bytes, seconds, sha256, readers } = outcome
  const rows = [
    ['written, WebSocket', events, sizeText(bytes), sha256.slice(0, 16), ''],
    ...readers.map(({ door, events: count, sha256: digest, problem }) => [
      `read, ${door}`,
      count,
      '',
      digest.slice(0, 16),
      problem ?? (digest === sha256 ? '✓ every byte, once, in order' : '✗ other bytes'),
    ]),
  ]
  const summary = ok
    ? `${events.toLocaleString('en-US')} events went in through one door and out through two, in ${seconds} s.`
    : 'What was read is not what was written.'
  return `${formatTable(['', 'EVENTS', 'BYTES', 'SHA-256', ''], rows)}\n\n${summary}`
}

async function* madeUpLines(): AsyncGenerator<Uint8Array> {
  const levels = ['INFO', 'INFO', 'INFO', 'WARN', 'ERROR']
  for (let from = 0; from < REPEATED_LINES; from += 1000) {
    const lines = Array.from({ length: 1000 }, (_, i) => {
      const n = from + i
      const time = new Date(1_700_000_000_000 + n * 7).toISOString()
      return `${time} ${levels[n % 5]} worker-${n % 16} order ${n} is ${n % 3 === 0 ? 'paid' : 'open'}\n`
    })
    yield Buffer.from(lines.join(''))
  }
}
