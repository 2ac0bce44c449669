/**
 * Row g: how fast old data is read back that is in nobody's page cache, by one consumer of all
 * partitions, from Millrace and from Apache Kafka, each beside a plain sequential reader of the
 * very same files. Starts and stops everything itself; loopback only.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadNative } from '../src/base/native.ts'
import { KafkaAdmin } from '../src/client/kafka-admin.ts'
import { projectFolder, reportPrefix } from './lib/broker.ts'
import { sleep } from './lib/children.ts'
import { installKafka, kafkaVersion } from './lib/kafka-broker.ts'
import {
  buildLimits,
  type FetchLoadResult,
  limitsProgram,
  runFetchLoad,
  runLoad,
} from './lib/limits.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { numberOption } from './lib/number-option.ts'
import { type ProcessSample, sampleProcess, useBetween } from './lib/process-sample.ts'
import { runBenchmark } from './lib/run-benchmark.ts'
import { formatNumber, formatSpread, markdownTable, median, spreadOf } from './lib/statistics.ts'
import { profileFor } from './suite/profile.ts'
import { type RunningTarget, Targets } from './suite/targets.ts'

const USAGE = 'npm run bench -- cold-read [--gb 10] [--rounds 3] [--no-kafka] [--out PREFIX]'

const TOPIC = 'old'
const PARTITIONS = 8
const MEMORY_BYTES = 4 * 2 ** 30
const TIMEOUT_MS = 600_000
/** Of the files, of which the plain reader may find so much in the page cache. */
const CACHED_SHARE_MAX = 0.01
const LABELS = { millrace: 'Millrace', kafka: 'Apache Kafka' } as const

type BrokerName = keyof typeof LABELS

interface Run {
  readonly target: BrokerName
  readonly gbPerSecond: number
  /** Of the plain reader on the same files, right after it. */
  readonly readerGbPerSecond: number
  readonly cpuSecondsPerGb: number
}

interface ReaderResult {
  readonly bytesPerSecond: number
  readonly cachedBytesAtStart: number
}

function logFiles(target: RunningTarget): string[] {
  return readdirSync(target.dataDir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.log'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !file.includes('__'))
    .sort()
}

/** Gives the kernel no reason to keep what was written. */
function forget(files: readonly string[], parent: string): void {
  const addon = loadNative()
  if (addon === null) throw new Error('needs the addon: npm run build')
  spawnSync('sync', ['-f', parent])
  for (const file of files) {
    const fd = openSync(file, 'r')
    addon.fadviseDontNeed(fd, 0, 2 ** 40)
    closeSync(fd)
  }
}

async function fill(target: RunningTarget, gb: number): Promise<void> {
  const address = `127.0.0.1:${target.port}`
  const at = { host: '127.0.0.1', port: target.port, clientId: 'cold-read', timeoutMs: 30_000 }
  const admin = await KafkaAdmin.connect(at)
  await admin.createTopic({
    name: TOPIC,
    partitions: PARTITIONS,
    replicationFactor: 1,
    configs: new Map(),
  })
  admin.close()
  const args = ['--topic', TOPIC, '--partitions', String(PARTITIONS), '--connections', '8']
  args.push('--request-bytes', '65536', '--warm-up', '0', '--duration', '600')
  args.push('--max-bytes', String(gb * 1e9))
  const { problem } = await runLoad({ address, args, onMeasure: () => {}, timeoutMs: TIMEOUT_MS })
  if (problem !== null) throw new Error(problem)
}

async function readAll(target: RunningTarget): Promise<{ load: FetchLoadResult; cpu: number }> {
  const samples: ProcessSample[] = []
  const args = ['--topic', TOPIC, '--partitions', String(PARTITIONS), '--until-end']
  args.push('--duration', '500')
  const load = await runFetchLoad({
    address: `127.0.0.1:${target.port}`,
    args,
    onMeasure: () => samples.push(sampleProcess(target.pid)),
    timeoutMs: TIMEOUT_MS,
  })
  if (load.problem !== null) throw new Error(load.problem)
  const [before, after] = samples
  if (before === undefined || after === undefined) throw new Error('the reading ended too early')
  return { load, cpu: useBetween(before, after, target.pid).cpuSeconds }
}

function readPlainly(files: readonly string[]): ReaderResult {
  const args = ['--files', files.join(',')]
  const { status, stdout } = spawnSync(limitsProgram('sequential-reader'), args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error('the sequential reader failed')
  const lines = stdout.trim().split('\n')
  return JSON.parse(lines.at(-1) as string) as ReaderResult
}

async function runOnce(target: RunningTarget, parent: string): Promise<Run> {
  const files = logFiles(target)
  forget(files, parent)
  const { load, cpu } = await readAll(target)
  const reader = readPlainly(files)
  if (reader.cachedBytesAtStart > CACHED_SHARE_MAX * load.bytes) {
    throw new Error(`${reader.cachedBytesAtStart} bytes were still in the page cache`)
  }
  return {
    target: target.name as BrokerName,
    gbPerSecond: load.bytesPerSecond / 1e9,
    readerGbPerSecond: reader.bytesPerSecond / 1e9,
    cpuSecondsPerGb: cpu / (load.bytes / 1e9),
  }
}

function table(runs: readonly Run[], names: readonly BrokerName[]): string {
  const rows = names.map((name) => {
    const mine = runs.filter(({ target }) => target === name)
    const spread = (pick: (run: Run) => number) => formatSpread(spreadOf(mine.map(pick)))
    const ratio = median(mine.map((run) => run.gbPerSecond / run.readerGbPerSecond))
    return [
      LABELS[name],
      spread((run) => run.gbPerSecond),
      spread((run) => run.readerGbPerSecond),
      formatNumber(ratio),
      spread((run) => run.cpuSecondsPerGb),
    ]
  })
  return markdownTable(
    ['', 'GB/s', 'a plain reader, GB/s', '÷ the reader', 'broker CPU-s/GB'],
    rows,
  )
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      gb: { type: 'string', default: '10' },
      rounds: { type: 'string', default: '3' },
      'no-kafka': { type: 'boolean', default: false },
      out: { type: 'string', default: reportPrefix('cold-read') },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(`${USAGE}\n`)
    return
  }
  const gb = numberOption(values.gb, 'gb', { low: 0.1, high: 1000 })
  const rounds = numberOption(values.rounds, 'rounds', { low: 1, high: 100, whole: true })
  buildLimits()
  const names: BrokerName[] = values['no-kafka'] ? ['millrace'] : ['millrace', 'kafka']
  if (!values['no-kafka']) installKafka()
  const dataParent = join(projectFolder(), '.cache', 'bench')
  mkdirSync(dataParent, { recursive: true })
  const machine = describeMachine(dataParent)
  const { shards, kafkaThreads } = profileFor(machine.cores)
  const targets = new Targets({
    memoryBytes: MEMORY_BYTES,
    cgroupParent: undefined,
    dataParent,
    shards,
    settings: [],
    nodeArgs: [],
    main: undefined,
    beforeMain: undefined,
    cpus: undefined,
    kafkaThreads,
  })
  const runs: Run[] = []
  try {
    for (const name of names) {
      process.stderr.write(`writing ${gb} GB through ${LABELS[name]}\n`)
      await fill(await targets.get(name, PARTITIONS), gb)
    }
    for (let round = 0; round < rounds; round++) {
      for (const name of round % 2 === 0 ? names : names.toReversed()) {
        const run = await runOnce(await targets.get(name, PARTITIONS), dataParent)
        runs.push(run)
        const { gbPerSecond, readerGbPerSecond } = run
        process.stderr.write(
          `round ${round + 1} of ${rounds}, ${LABELS[name]}: ${formatNumber(gbPerSecond)} GB/s; a plain reader ${formatNumber(readerGbPerSecond)}\n`,
        )
        await sleep(500)
      }
    }
  } finally {
    await targets.stopAll()
  }
  const kafka = values['no-kafka'] ? null : kafkaVersion()
  const text = `${machineLines(machine).join('\n')}\n\n${table(runs, names)}\n`
  writeFileSync(`${values.out}.md`, text)
  writeFileSync(`${values.out}.json`, `${JSON.stringify({ machine, kafka, gb, runs })}\n`)
  process.stdout.write(text)
}

await runBenchmark(USAGE, main)
