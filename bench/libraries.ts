/**
 * Events per CPU-second of producer libraries, each against the same broker: ours over WebSocket,
 * kafkajs and Java's over Kafka's protocol. Starts and stops everything itself; loopback only.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Random } from '../src/base/random.ts'
import { KafkaAdmin } from '../src/client/kafka-admin.ts'
import type { WebEngine } from '../src/gateway/web/web-server.ts'
import { projectFolder, type RunningBroker, reportPrefix, startBroker } from './lib/broker.ts'
import { deleteFolder, ownFolder, sleep, stopProcess } from './lib/children.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { numberOption, UsageError } from './lib/number-option.ts'
import { sampleProcess, useBetween } from './lib/process-sample.ts'
import { runBenchmark } from './lib/run-benchmark.ts'
import { formatNumber, formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE = `npm run bench -- libraries [--rounds 3] [--events 2000000] [--event-bytes 200]
    [--compression none|lz4] [--out PREFIX]

values are lines of text such as services log, which LZ4 makes about a third of`

const TOPIC = 'libraries'
const PARTITIONS = 3
/** A run so small that it shows what starting costs. */
const START_EVENTS = 1000
/** Of values. */
const LINES = 1000

interface Load {
  readonly events: number
  /** A value a line. */
  readonly file: string
  readonly compression: string
}

interface Result {
  readonly library: string
  readonly events: number
  readonly seconds: number
  readonly cpuSeconds: number
}

interface Library {
  readonly name: string
  /** Of the broker's web server. */
  readonly engine: WebEngine
  readonly run: (broker: RunningBroker, load: Load) => Result
}

const LIBRARIES: readonly Library[] = [
  {
    name: 'Millrace, produce()',
    engine: 'native',
    run: inNode('millrace', (b) => `ws://127.0.0.1:${b.httpPort}/ws`),
  },
  {
    name: 'Millrace, send(), a promise each',
    engine: 'native',
    run: inNode('millrace-promises', (b) => `ws://127.0.0.1:${b.httpPort}/ws`),
  },
  {
    name: 'Millrace, produce(), broker on node:http + ws',
    engine: 'node',
    run: inNode('millrace', (b) => `ws://127.0.0.1:${b.httpPort}/ws`),
  },
  {
    name: 'kafkajs 2.2.4',
    engine: 'uws',
    run: inNode('kafkajs', (b) => `127.0.0.1:${b.kafkaPort}`),
  },
  { name: 'Java kafka-clients 4.3.0', engine: 'uws', run: inJava },
]

function inNode(library: string, address: (broker: RunningBroker) => string): Library['run'] {
  return (broker, { events, file, compression }) => {
    const program = join(projectFolder(), 'build', 'bench', 'lib', 'library-producer.js')
    const args = [program, library, address(broker), TOPIC, String(events), file, compression]
    const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
    return JSON.parse(stdout) as Result
  }
}

function javaTools(): string {
  return join(projectFolder(), '.cache', 'java', 'tools-lib')
}

/** Kafka's own ProducerPerformance; CPU time of the whole JVM, its start taken off. */
function inJava(broker: RunningBroker, load: Load): Result {
  const { events } = load
  const whole = javaRun(broker, load)
  const start = javaRun(broker, { ...load, events: START_EVENTS })
  return {
    library: 'java',
    events: events - START_EVENTS,
    seconds: whole.seconds - start.seconds,
    cpuSeconds: whole.cpuSeconds - start.cpuSeconds,
  }
}

function javaRun(broker: RunningBroker, { events, file, compression }: Load) {
  const command = [
    'TIMEFORMAT="%R %U %S"; time java -Xmx512m',
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
    `-cp '${javaTools()}/*' org.apache.kafka.tools.ProducerPerformance`,
    `--topic ${TOPIC} --num-records ${events} --payload-file '${file}' --throughput -1`,
    `--producer-props bootstrap.servers=127.0.0.1:${broker.kafkaPort} acks=all`,
    `batch.size=65536 linger.ms=5 compression.type=${compression}`,
  ].join(' ')
  const { stderr, stdout, status } = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
  const times = stderr.trim().split('\n').at(-1)?.split(' ').map(Number) ?? []
  if (status !== 0 || times.length !== 3) throw new Error(`${stdout}\n${stderr}`)
  const [seconds = 0, user = 0, system = 0] = times
  return { seconds, cpuSeconds: user + system }
}

/** Lines as services log them: the same words in other orders, numbers that differ. */
function writeValues(file: string, eventBytes: number): void {
  const random = new Random(1)
  const words = 'request response user session order payment timeout retry cache shard'.split(' ')
  const lines = Array.from({ length: LINES }, () => {
    let line = `{"at":${1_700_000_000_000 + random.below(1e9)},"level":"info"`
    while (line.length < eventBytes) {
      line += `,"${words[random.below(words.length)]}":"${random.below(1e9).toString(36)}"`
    }
    return line.slice(0, eventBytes)
  })
  writeFileSync(file, `${lines.join('\n')}\n`)
}

async function createTopic(broker: RunningBroker): Promise<void> {
  const at = { host: '127.0.0.1', port: broker.kafkaPort, clientId: 'libraries', timeoutMs: 10_000 }
  const admin = await KafkaAdmin.connect(at)
  const topic = { name: TOPIC, partitions: PARTITIONS, replicationFactor: null, configs: new Map() }
  await admin.createTopic(topic, { validateOnly: false })
  const described = await admin.describeTopic(TOPIC)
  if (described.partitionList.length !== PARTITIONS) throw new Error('the topic is not there')
  admin.close()
}

/** Every event that was sent is in the log. */
async function verify(broker: RunningBroker, events: number): Promise<void> {
  const at = { host: '127.0.0.1', port: broker.kafkaPort, clientId: 'libraries', timeoutMs: 10_000 }
  const admin = await KafkaAdmin.connect(at)
  const { partitionList } = await admin.describeTopic(TOPIC)
  admin.close()
  const stored = partitionList.reduce((sum, one) => sum + (one.highWatermark ?? 0), 0)
  if (stored !== events) throw new Error(`${events} events were sent, ${stored} are stored`)
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean' },
      rounds: { type: 'string', default: '3' },
      events: { type: 'string', default: '2000000' },
      'event-bytes': { type: 'string', default: '200' },
      compression: { type: 'string', default: 'none' },
      out: { type: 'string', default: reportPrefix('libraries') },
    },
  })
  if (values.help === true) {
    process.stdout.write(`${USAGE}\n`)
    return
  }
  const rounds = numberOption(values.rounds, 'rounds', { low: 1, high: 100, whole: true })
  const events = numberOption(values.events, 'events', {
    low: START_EVENTS,
    high: 1e9,
    whole: true,
  })
  const size = { low: 50, high: 1_000_000, whole: true }
  const eventBytes = numberOption(values['event-bytes'], 'event-bytes', size)
  const { compression } = values
  if (!['none', 'lz4'].includes(compression)) {
    throw new UsageError(`--compression ${compression}: none or lz4`)
  }
  const parent = join(projectFolder(), '.cache', 'bench')
  mkdirSync(parent, { recursive: true })
  const machine = describeMachine(parent)
  const libraries = LIBRARIES.filter(({ run }) => run !== inJava || existsSync(javaTools()))
  const results: (Result & { readonly name: string; readonly brokerCpuSeconds: number })[] = []
  for (let round = 0; round < rounds; round++) {
    for (const { name, engine, run } of round % 2 === 0 ? libraries : libraries.toReversed()) {
      const folder = join(parent, `millrace-libraries-${process.pid}-${Date.now()}`)
      mkdirSync(folder)
      ownFolder(folder)
      const file = join(folder, 'values.txt')
      writeValues(file, eventBytes)
      const broker = await startBroker({
        dataDir: join(folder, 'data'),
        logFile: join(folder, 'broker.log'),
        shards: 1,
        settings: [`millrace.http.engine=${engine}`],
        nodeArgs: ['--max-semi-space-size=64'],
        readyTimeoutMs: 30_000,
      })
      try {
        await createTopic(broker)
        const before = sampleProcess(broker.pid)
        const result = run(broker, { events, file, compression })
        const use = useBetween(before, sampleProcess(broker.pid), broker.pid)
        const brokerCpuSeconds = use.cpuSeconds
        const extra = run === inJava ? 2 * START_EVENTS : 0
        await verify(broker, result.events + extra)
        results.push({ ...result, name, brokerCpuSeconds })
        const perCpu = formatNumber(result.events / result.cpuSeconds)
        process.stderr.write(`  ${round + 1}/${rounds} ${name}: ${perCpu} events/CPU-s\n`)
      } finally {
        await stopProcess(broker.child)
        deleteFolder(folder)
        await sleep(500)
      }
    }
  }
  const rows = libraries.map(({ name }) => {
    const mine = results.filter((result) => result.name === name)
    const spread = (pick: (result: (typeof results)[number]) => number): string =>
      formatSpread(spreadOf(mine.map(pick)))
    return [
      name,
      spread((result) => result.events / result.cpuSeconds),
      spread((result) => result.events / result.seconds),
      spread((result) => (result.cpuSeconds / result.events) * 1e6),
      spread((result) => (result.brokerCpuSeconds / result.events) * 1e6),
      spread((result) => result.brokerCpuSeconds / ((result.events * eventBytes) / 1e9)),
    ]
  })
  const head = [
    '',
    'events/CPU-s',
    'events/s',
    'CPU-µs/event',
    'broker CPU-µs/event',
    'broker CPU-s/GB of values',
  ]
  const text = [...machineLines(machine), '', markdownTable(head, rows)].join('\n')
  writeFileSync(
    `${values.out}.json`,
    `${JSON.stringify({ machine, options: values, results }, null, 1)}\n`,
  )
  writeFileSync(`${values.out}.md`, `${text}\n`)
  process.stdout.write(`${text}\n`)
}

await runBenchmark(USAGE, main)
