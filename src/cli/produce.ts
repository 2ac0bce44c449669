import { createReadStream } from 'node:fs'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { Producer } from '../client/producer.ts'
import type { CompressionName } from '../client/producer-options.ts'
import type { ProducerRecord } from '../client/producer-record.ts'
import { urlOption } from './broker-url.ts'
import { connectClient } from './connect.ts'
import { sizeOf } from './file-sizes.ts'
import { linesOf } from './lines.ts'
import { formatJson, type Streams } from './output.ts'
import { type Counter, Progress, rateText } from './progress.ts'

/** `millrace produce TOPIC`: each line of standard input, or of files, becomes an event. */
export const LINE_BYTES_MAX = 16 * 1024 * 1024

interface ProduceOptions {
  readonly url: string
  readonly file?: readonly string[]
  readonly keySeparator?: string
  readonly partition?: number
  readonly compression: CompressionName
  readonly acks: '0' | '1' | 'all'
  readonly batchBytes: number
  readonly lingerMs: number
  readonly format: 'text' | 'json'
}

export function produceCommand(streams: Streams): Command {
  return new Command('produce')
    .description('send lines as events')
    .argument('<topic>', 'where to; made when it is missing and the broker allows it')
    .addOption(urlOption())
    .option('-f, --file <path>', 'read lines of a file, not of standard input; may repeat', collect)
    .option('-k, --key-separator <text>', 'what stands before it in a line is the key')
    .option('-p, --partition <number>', 'send to this partition only', whole(0, 2 ** 31 - 1))
    .addOption(
      new Option('-c, --compression <codec>', 'how batches are compressed')
        .choices(['none', 'gzip', 'snappy', 'lz4', 'zstd'])
        .default('none'),
    )
    .addOption(
      new Option('--acks <acks>', 'who must have an event before it counts as sent')
        .choices(['0', '1', 'all'])
        .default('all'),
    )
    .option('--batch-bytes <bytes>', 'a full batch', whole(1, 16 * 1024 * 1024), 64 * 1024)
    .option('--linger-ms <ms>', 'how long a batch waits for more', whole(0, 60_000), 5)
    .addOption(
      new Option('--format <format>', 'how to print the result')
        .choices(['text', 'json'])
        .default('text'),
    )
    .addHelpText(
      'after',
      `
Each line is an event's value, byte for byte, without its line end.

Examples:
  $ echo 'hello' | millrace produce greetings
  $ millrace produce logs --file /var/log/syslog --compression zstd
  $ printf 'k1:one\\nk2:two\\n' | millrace produce orders --key-separator :
  $ tail -f app.log | millrace produce app --url ws://broker.example:8080/ws`,
    )
    .action((topic: string, options: ProduceOptions) => produce(topic, options, streams))
}

async function produce(topic: string, options: ProduceOptions, streams: Streams): Promise<void> {
  const files = options.file ?? []
  const bytesTotal = files.length === 0 ? null : await sizeOf(files)
  const client = await connectClient(options.url, 'millrace produce')
  const counter: Counter = { records: 0, bytes: 0 }
  const progress = await Progress.start([{ name: topic, counter, bytesTotal }])
  const startedMs = performance.now()
  try {
    const producer = client.producer({
      acks: options.acks === 'all' ? 'all' : options.acks === '1' ? 1 : 0,
      compression: options.compression,
      batchBytes: options.batchBytes,
      lingerMs: options.lingerMs,
    })
    const rules = { topic, separator: options.keySeparator, partition: options.partition }
    for (const source of files.length === 0 ? [process.stdin] : files.map(openFile)) {
      await sendLines(producer, source, rules, counter)
    }
    await producer.close()
  } finally {
    progress.stop()
    await client.close().catch(() => {})
  }
  const seconds = (performance.now() - startedMs) / 1000
  if (options.format === 'json') {
    streams.out(formatJson({ topic, ...counter, seconds: Number(seconds.toFixed(3)) }))
  } else {
    streams.err(`sent to ${topic}: ${rateText(counter, seconds).replace(/ +/g, ' ').trim()}`)
  }
}

export interface LineRules {
  readonly topic: string
  readonly separator: string | undefined
  readonly partition: number | undefined
}

/** Sends every line of a stream and counts it; what fails is thrown by the producer's `close`. */
async function sendLines(
  producer: Producer,
  source: AsyncIterable<Uint8Array>,
  rules: LineRules,
  counter: Counter,
): Promise<void> {
  const separator = rules.separator === undefined ? null : Buffer.from(rules.separator)
  for await (const lines of linesOf(source, LINE_BYTES_MAX)) {
    for (const line of lines) {
      if (!producer.produce(recordOf(line, separator, rules))) await producer.ready()
      counter.records++
      counter.bytes += line.length + 1
    }
  }
}

/** A line as an event: what stands before the first separator is the key. */
export function recordOf(
  line: Uint8Array,
  separator: Uint8Array | null,
  { topic, partition }: Pick<LineRules, 'topic' | 'partition'>,
): ProducerRecord {
  const where = partition === undefined ? { topic } : { topic, partition }
  const at =
    separator === null
      ? -1
      : Buffer.from(line.buffer, line.byteOffset, line.length).indexOf(separator)
  if (separator === null || at < 0) return { ...where, value: line }
  return { ...where, key: line.subarray(0, at), value: line.subarray(at + separator.length) }
}

function openFile(path: string): AsyncIterable<Uint8Array> {
  return createReadStream(path, { highWaterMark: 256 * 1024 })
}

/** For an option that may repeat. */
export function collect(text: string, previous: readonly string[] = []): string[] {
  return [...previous, text]
}

/** A parser of whole numbers, both bounds inclusive. */
export function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
    if (Number.isNaN(value) || value < min || value > max) {
      throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`)
    }
    return value
  }
}
