import { once } from 'node:events'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { Client } from '../client/client.ts'
import type { Assignment, ConsumerRecord, StartOffset } from '../client/consumer-options.ts'
import { urlOption } from './broker-url.ts'
import { connectClient } from './connect.ts'
import { whole } from './produce.ts'
import { type Print, printerOf, TEMPLATE_HELP, TemplateError } from './record-format.ts'

/** `millrace consume TOPIC`: prints events as they come. */
interface ConsumeOptions {
  readonly url: string
  readonly fromBeginning?: boolean
  readonly offset?: StartOffset
  readonly partition?: readonly number[]
  readonly max?: number
  readonly exit?: boolean
  readonly format: Print
}

const OFFSET_MAX = Number.MAX_SAFE_INTEGER

export function consumeCommand(): Command {
  return new Command('consume')
    .description('print the events of a topic, and those that come')
    .argument('<topic>', 'what to read')
    .addOption(urlOption())
    .option('-b, --from-beginning', 'begin with the oldest event')
    .option('-o, --offset <offset>', 'begin there: a number, earliest or latest', startOffset)
    .option('-p, --partition <number>', 'only this partition; may repeat', partition)
    .option('-n, --max <count>', 'stop after so many events', whole(1, OFFSET_MAX))
    .option('-e, --exit', 'stop at what is the end now, do not wait for more')
    .addOption(
      new Option('--format <format>', 'text, json, or a template')
        .default(printerOf('text'), 'text')
        .argParser(printer),
    )
    .addHelpText(
      'after',
      `
Without an offset only events that come from now on are printed.
A template's parts:
  ${TEMPLATE_HELP}

Examples:
  $ millrace consume orders --from-beginning --max 10
  $ millrace consume orders --offset 4711 --partition 0 --format json
  $ millrace consume orders -b -e --format '%p/%o %k=%v\\n'`,
    )
    .action((topic: string, options: ConsumeOptions) => consume(topic, options))
}

async function consume(topic: string, options: ConsumeOptions): Promise<void> {
  const client = await connectClient(options.url, 'millrace consume')
  const stop = new AbortController()
  // A reader that goes away (head) ends the command, as it ends every other one.
  const onBrokenPipe = (): void => stop.abort()
  process.stdout.on('error', onBrokenPipe)
  process.once('SIGINT', onBrokenPipe)
  try {
    const start = options.offset ?? (options.fromBeginning === true ? 'earliest' : 'latest')
    const partitions = options.partition ?? (await partitionsOf(client, topic))
    const ends = options.exit === true ? await endsOf(client, topic, partitions) : null
    await print(client, { topic, partitions, start, ends, signal: stop.signal }, options)
  } catch (error) {
    if (!stop.signal.aborted) throw error
  } finally {
    process.off('SIGINT', onBrokenPipe)
    process.stdout.off('error', onBrokenPipe)
    await client.close().catch(() => {})
  }
}

interface Reading {
  readonly topic: string
  readonly partitions: readonly number[]
  readonly start: StartOffset
  /** Where each partition ends now, exclusive; null: it is read for ever. */
  readonly ends: Map<number, number> | null
  readonly signal: AbortSignal
}

async function print(
  client: Client,
  { topic, partitions, start, ends, signal }: Reading,
  options: ConsumeOptions,
): Promise<void> {
  const open = new Set(partitions)
  if (ends !== null) await dropEmpty(client, { topic, start, ends }, open)
  if (open.size === 0) return
  const assignments = [...open].map((number): Assignment => {
    return { topic, partition: number, offset: start }
  })
  await using consumer = client.consumer({ assignments, signal })
  let left = options.max ?? Infinity
  for await (const { partition: number, records } of consumer.batches()) {
    const end = ends?.get(number) ?? Infinity
    const wanted = records.filter((record) => record.offset < end).slice(0, left)
    await write(wanted, options.format)
    left -= wanted.length
    if ((records.at(-1)?.offset ?? -1) + 1 >= end) open.delete(number)
    if (left <= 0 || open.size === 0 || signal.aborted) return
  }
}

async function write(records: readonly ConsumerRecord[], format: Print): Promise<void> {
  if (records.length === 0) return
  const isRoom = process.stdout.write(Buffer.concat(records.map(format)))
  if (!isRoom) await once(process.stdout, 'drain')
}

async function partitionsOf(client: Client, topic: string): Promise<number[]> {
  const { partitions } = await client.admin().describeTopic(topic)
  return partitions.map(({ partition: number }) => number)
}

async function endsOf(
  client: Client,
  topic: string,
  partitions: readonly number[],
): Promise<Map<number, number>> {
  return offsetsAt(client, { topic, partitions, at: 'latest' })
}

async function offsetsAt(
  client: Client,
  {
    topic,
    partitions,
    at,
  }: { topic: string; partitions: readonly number[]; at: 'earliest' | 'latest' },
): Promise<Map<number, number>> {
  const asked = partitions.map((number) => ({ topic, partition: number, at }))
  const found = await client.admin().listOffsets(asked)
  return new Map(found.map(({ partition: number, offset }) => [number, offset ?? 0]))
}

/** Partitions that have nothing between the start and their end would never say that they end. */
async function dropEmpty(
  client: Client,
  { topic, start, ends }: { topic: string; start: StartOffset; ends: Map<number, number> },
  open: Set<number>,
): Promise<void> {
  const starts = await offsetsAt(client, { topic, partitions: [...open], at: 'earliest' })
  for (const [number, end] of ends) {
    const first = starts.get(number) ?? 0
    const from =
      start === 'latest' ? end : typeof start === 'number' ? Math.max(start, first) : first
    if (from >= end) open.delete(number)
  }
}

function startOffset(text: string): StartOffset {
  if (text === 'earliest' || text === 'latest') return text
  return whole(0, OFFSET_MAX)(text)
}

function partition(text: string, previous: readonly number[] = []): number[] {
  return [...previous, whole(0, 2 ** 31 - 1)(text)]
}

function printer(text: string): Print {
  try {
    return printerOf(text)
  } catch (error) {
    if (error instanceof TemplateError) throw new InvalidArgumentError(error.message)
    throw error
  }
}
