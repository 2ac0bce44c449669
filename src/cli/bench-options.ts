/** The options of `millrace bench …`, and what they make of the command line. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { parseEndpoint } from '../config/listeners.ts'
import type { DriverName, ProduceSettings, SourceName, TargetSettings } from '../load/settings.ts'
import { collect, whole } from './produce.ts'

export type BenchFormat = 'table' | 'json' | 'ndjson'

/** What all three commands know. */
export interface TargetOptions {
  readonly driver: DriverName
  readonly kafka: { readonly host: string; readonly port: number }
  readonly url?: string
  readonly topic: string
  readonly topics: number
  readonly partitions?: number
  readonly dataDir?: readonly string[]
  readonly brokerPid?: readonly number[]
  readonly warmUp: number
  readonly duration: number
  readonly hdr?: string
  readonly format: BenchFormat
  readonly quiet?: boolean
}

export interface LoadOptions extends TargetOptions {
  readonly source: SourceName
  readonly eventBytes: number
  readonly batchBytes: number
  readonly lingerMs: number
  readonly producers?: number
  readonly connections?: number
  readonly inFlight?: number
  readonly keys: number
  readonly compression: ProduceSettings['compression']
  readonly acks: '0' | '1' | 'all'
  readonly rate: number | 'max'
  readonly payloadFile?: string
  readonly seed: number
  readonly pacing: 'auto' | 'sleep' | 'spin'
  readonly deleteTopics?: boolean
}

const PID_MAX = 2 ** 31 - 1

function pids(text: string, previous: readonly number[] = []): number[] {
  return [...previous, whole(1, PID_MAX)(text)]
}

const BYTES_MAX = 64 * 1024 * 1024
const CONNECTIONS_MAX = 10_000
const SECONDS_MAX = 86_400
const RATE_MAX = 100_000_000
const LIBRARY_IN_FLIGHT = 5

const URL_DEFAULTS = { kafka: '', ws: 'ws://127.0.0.1:8080/ws', rest: 'http://127.0.0.1:8080' }

export function targetOptions(
  command: Command,
  { drivers, warmUp }: { readonly drivers: readonly DriverName[]; readonly warmUp: number },
): Command {
  return command
    .addOption(
      new Option('-d, --driver <driver>', 'the door: kafka, over TCP; ws; or rest')
        .choices(drivers)
        .default('kafka'),
    )
    .addOption(
      new Option('--kafka <host:port>', 'the broker, for the driver kafka')
        .default({ host: '127.0.0.1', port: 9092 }, '127.0.0.1:9092')
        .argParser(endpoint),
    )
    .addOption(
      new Option('-u, --url <url>', 'the broker, for the others (ws://127.0.0.1:8080/ws)').env(
        'MILLRACE_URL',
      ),
    )
    .option('-t, --topic <name>', 'topics are called NAME-0, NAME-1, …', topicName, 'bench')
    .option('--topics <count>', 'how many', whole(1, 1000), 1)
    .option('-p, --partitions <count>', 'of each (8 where it is new)', whole(1, 100_000))
    .option('--warm-up <seconds>', 'load that is not measured', seconds(0), warmUp)
    .option('--duration <seconds>', 'how long is measured', seconds(0.05), 10)
    .option('--data-dir <path>', "the broker's directory here, to count bytes; may repeat", collect)
    .option('--broker-pid <pid>', "the broker's process here, for its CPU; may repeat", pids)
    .addOption(
      new Option('--format <format>', 'how to print the result; ndjson adds a line at each end')
        .choices(['table', 'json', 'ndjson'])
        .default('table'),
    )
    .option('-q, --quiet', 'no progress on standard error')
}

export function loadOptions(command: Command): Command {
  return command
    .addOption(
      new Option('-s, --source <source>', 'who makes batches: see below')
        .choices(['prebuilt', 'client'])
        .default('prebuilt'),
    )
    .addOption(
      new Option('--rate <events/s>', 'on a fixed schedule (open loop), or as many as go')
        .default('max')
        .argParser(rate),
    )
    .option('--event-bytes <bytes>', "an event's value", whole(0, BYTES_MAX), 1024)
    .option('--batch-bytes <bytes>', 'a full batch', whole(1, BYTES_MAX), 65_536)
    .option('--linger-ms <ms>', 'client: how long a batch waits', whole(0, 60_000), 5)
    .option('--producers <count>', 'client: each with batches of its own', count)
    .option('-c, --connections <count>', 'prebuilt: 8; client: one each', count)
    .option('--in-flight <count>', 'unanswered requests: 1, client 5', whole(1, 1000))
    .option('--keys <count>', 'different keys; 0: none', whole(0, 1_000_000), 0)
    .addOption(
      new Option('--compression <codec>', 'of batches')
        .choices(['none', 'gzip', 'snappy', 'lz4', 'zstd'])
        .default('none'),
    )
    .addOption(
      new Option('--acks <acks>', 'who must have an event before it is answered')
        .choices(['0', '1', 'all'])
        .default('all'),
    )
    .option('--hdr <file>', 'write the latencies as HdrHistogram text')
    .option('--payload-file <path>', 'values are pieces of it, not random bytes')
    .option('--seed <number>', 'of the choice of keys', whole(0, 2 ** 53 - 1), 1)
    .addOption(
      new Option('--pacing <how>', 'to wait for the next event: timers (1 ms), or a busy core')
        .choices(['auto', 'sleep', 'spin'])
        .default('auto'),
    )
    .option('--delete-topics', 'at the end')
}

export function targetSettings(options: TargetOptions): TargetSettings {
  const { driver, kafka, topic, topics, warmUp, duration } = options
  return {
    ...{ driver, kafka, topic, topics },
    url: urlFor(driver, options.url) ?? URL_DEFAULTS[driver],
    partitions: options.partitions ?? null,
    dataDirs: options.dataDir ?? [],
    brokerPids: options.brokerPid ?? [],
    warmUpMs: warmUp * 1000,
    durationMs: duration * 1000,
  }
}

export function produceSettings(
  options: LoadOptions,
  machinePacing: ProduceSettings['pacing'],
): ProduceSettings {
  const { source, eventBytes, batchBytes, lingerMs, keys, compression, acks } = options
  const isClient = source === 'client'
  const connections = options.connections ?? (isClient ? (options.producers ?? 1) : 8)
  return {
    ...targetSettings(options),
    ...{ source, eventBytes, batchBytes, lingerMs, keys, compression, connections },
    producers: options.producers ?? connections,
    inFlight: options.inFlight ?? (isClient ? LIBRARY_IN_FLIGHT : 1),
    acks: acks === 'all' ? -1 : acks === '1' ? 1 : 0,
    rate: options.rate === 'max' ? null : options.rate,
    payloadFile: options.payloadFile ?? null,
    seed: options.seed,
    pacing: options.pacing === 'auto' ? machinePacing : options.pacing,
    deleteTopics: options.deleteTopics === true,
  }
}

/** What is wrong with the URL for this driver; null: nothing. */
export function urlProblem({ driver, url }: TargetOptions): string | null {
  if (urlFor(driver, url) !== null) return null
  return `--url ${url}: for --driver ${driver} such as ${URL_DEFAULTS[driver]}`
}

/** MILLRACE_URL may name the WebSocket door: for REST it is the same host and port. */
function urlFor(driver: DriverName, text: string | undefined): string | null {
  if (text === undefined || driver === 'kafka') return URL_DEFAULTS[driver]
  const url = URL.canParse(text) ? new URL(text) : null
  const wanted = driver === 'ws' ? ['ws:', 'wss:'] : ['http:', 'https:']
  if (url !== null && wanted.includes(url.protocol)) return text
  return driver === 'rest' && url?.protocol === 'ws:' ? `http://${url.host}` : null
}

function endpoint(text: string): { host: string; port: number } {
  const parsed = parseEndpoint(text)
  if (parsed === null || parsed.port === 0) {
    throw new InvalidArgumentError('Expected HOST:PORT, for example 127.0.0.1:9092.')
  }
  return parsed
}

function topicName(text: string): string {
  if (/^[a-zA-Z0-9._-]{1,200}$/.test(text)) return text
  throw new InvalidArgumentError('Expected at most 200 letters, digits, dots, dashes, underscores.')
}

const count = whole(1, CONNECTIONS_MAX)

function seconds(min: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,6}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN
    if (Number.isNaN(value) || value < min || value > SECONDS_MAX) {
      throw new InvalidArgumentError(`Expected seconds from ${min} to ${SECONDS_MAX}.`)
    }
    return value
  }
}

function rate(text: string): number | 'max' {
  if (text === 'max') return text
  const value = /^\d{1,9}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(value) || value <= 0 || value > RATE_MAX) {
    throw new InvalidArgumentError(`Expected events a second, up to ${RATE_MAX}, or max.`)
  }
  return value
}
