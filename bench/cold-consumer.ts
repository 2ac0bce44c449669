/**
 * What producers feel of a consumer that catches up from data which is not in the page cache: the
 * latency of single events at a fixed rate, beside readers of old data and without them, with reads
 * off the shard's thread (io_uring) and on it (native). Starts and stops everything itself;
 * loopback only.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadNative } from '../src/base/native.ts'
import { projectFolder, type RunningBroker, reportPrefix, startBroker } from './lib/broker.ts'
import { cleanUpAtExit, deleteFolder, ownFolder, sleep, stopProcess } from './lib/children.ts'
import { Fetcher } from './lib/fetcher.ts'
import { buildLimits, type LoadResult, runLoad } from './lib/limits.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { formatNumber, formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE = `node build/bench/cold-consumer.js [--rounds 2] [--seconds 6] [--gb 6] [--rate 3000]
    [--readers 4] [--fetch-bytes 1048576] [--read-mb 150] [--out PREFIX]

--read-mb: what the readers take together, MB/s; more than the cores carry measures only the queue`

const OLD_TOPIC = 'old'
const OLD_PARTITIONS = 4
const READY_MS = 60_000

interface Options {
  readonly rounds: number
  readonly seconds: number
  readonly gb: number
  readonly rate: number
  readonly readers: number
  readonly fetchBytes: number
  /** Bytes a second of all readers together. */
  readonly readRate: number
  readonly out: string
}

interface Target {
  readonly name: string
  readonly tier: 'io_uring' | 'native'
  readonly reads: boolean
}

interface Run {
  readonly target: string
  readonly load: LoadResult
  readonly readGbPerSecond: number
}

const TARGETS: readonly Target[] = [
  { name: 'nobody reads', tier: 'io_uring', reads: false },
  { name: 'reads through io_uring', tier: 'io_uring', reads: true },
  { name: 'reads on the shard', tier: 'native', reads: true },
]

function options(): Options {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '2' },
      seconds: { type: 'string', default: '6' },
      gb: { type: 'string', default: '6' },
      rate: { type: 'string', default: '3000' },
      readers: { type: 'string', default: '4' },
      'fetch-bytes': { type: 'string', default: '1048576' },
      'read-mb': { type: 'string', default: '150' },
      out: { type: 'string', default: reportPrefix('cold-consumer') },
    },
  })
  return {
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    gb: Number(values.gb),
    rate: Number(values.rate),
    readers: Number(values.readers),
    fetchBytes: Number(values['fetch-bytes']),
    readRate: Number(values['read-mb']) * 1e6,
    out: values.out,
  }
}

function start(folder: string, tier: string): Promise<RunningBroker> {
  return startBroker({
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'broker.log'),
    shards: 1,
    settings: [`millrace.native.tier=${tier}`],
    nodeArgs: ['--max-semi-space-size=64'],
    readyTimeoutMs: READY_MS,
  })
}

function load(port: number, args: readonly string[]): Promise<LoadResult> {
  const all = ['--acks', '1', ...args]
  const onMeasure = (): void => {}
  return runLoad({ address: `127.0.0.1:${port}`, args: all, onMeasure, timeoutMs: 300_000 })
}

/** Gives the kernel no reason to keep what was written. */
function forget(folder: string): void {
  const addon = loadNative()
  if (addon === null) throw new Error('needs the addon: npm run build')
  spawnSync('sync', ['-f', folder])
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.log')) continue
    const fd = openSync(join(entry.parentPath, entry.name), 'r')
    addon.fadviseDontNeed(fd, 0, 2 ** 40)
    closeSync(fd)
  }
}

/** Reads one partition from a place of its own until told to stop; returns the bytes. */
async function readOld(port: number, reader: number, at: Options, stop: AbortSignal) {
  const partition = reader % OLD_PARTITIONS
  const fetcher = await Fetcher.open(port)
  const startedMs = performance.now()
  let bytes = 0
  let offset = Math.floor(reader / OLD_PARTITIONS) * 1000
  try {
    while (!stop.aborted) {
      const got = await fetcher.fetch(OLD_TOPIC, { partition, offset, bytesMax: at.fetchBytes })
      if (got.bytes === 0) throw new Error('the old data is used up: more --gb')
      bytes += got.bytes
      offset = got.nextOffset
      const dueMs = startedMs + (bytes / (at.readRate / at.readers)) * 1000
      if (dueMs > performance.now()) await sleep(dueMs - performance.now())
    }
  } finally {
    fetcher.close()
  }
  return bytes
}

async function runOnce(folder: string, target: Target, at: Options): Promise<Run> {
  forget(join(folder, 'data'))
  const broker = await start(folder, target.tier)
  const stop = new AbortController()
  try {
    const readers = target.reads
      ? Array.from({ length: at.readers }, (_, i) => readOld(broker.kafkaPort, i, at, stop.signal))
      : []
    const startedMs = performance.now()
    const args = ['--topic', 'new', '--partitions', '4', '--connections', '16']
    args.push('--events-per-request', '1', '--event-bytes', '200', '--rate', String(at.rate))
    args.push('--warm-up', '0.5', '--duration', String(at.seconds))
    const result = await load(broker.kafkaPort, args)
    stop.abort()
    const bytes = (await Promise.all(readers)).reduce((sum, one) => sum + one, 0)
    const seconds = (performance.now() - startedMs) / 1000
    return { target: target.name, load: result, readGbPerSecond: bytes / 1e9 / seconds }
  } finally {
    stop.abort()
    await stopProcess(broker.child)
  }
}

function table(runs: readonly Run[]): string {
  const rows = TARGETS.map(({ name }) => {
    const mine = runs.filter((run) => run.target === name)
    const spread = (pick: (run: Run) => number): string => formatSpread(spreadOf(mine.map(pick)))
    return [
      name,
      spread((run) => run.readGbPerSecond),
      spread((run) => run.load.latencyMicros.p50),
      spread((run) => run.load.latencyMicros.p99),
      spread((run) => run.load.latencyMicros.p999),
      spread((run) => run.load.latencyMicros.max),
    ]
  })
  return markdownTable(['', 'read GB/s', 'P50 µs', 'P99 µs', 'P99.9 µs', 'max µs'], rows)
}

async function main(): Promise<void> {
  if (process.argv.includes('--help')) {
    process.stdout.write(`${USAGE}\n`)
    return
  }
  cleanUpAtExit()
  const at = options()
  buildLimits()
  const parent = join(projectFolder(), '.cache', 'bench')
  mkdirSync(parent, { recursive: true })
  const folder = join(parent, `millrace-cold-${process.pid}`)
  mkdirSync(folder)
  ownFolder(folder)
  const machine = describeMachine(parent)
  const runs: Run[] = []
  try {
    const filler = await start(folder, 'native')
    process.stderr.write(`writing ${at.gb} GB of old data\n`)
    const args = ['--topic', OLD_TOPIC, '--partitions', String(OLD_PARTITIONS)]
    args.push('--connections', '4', '--request-bytes', '262144', '--warm-up', '0')
    args.push('--duration', '600', '--max-bytes', String(at.gb * 1e9))
    await load(filler.kafkaPort, args)
    await stopProcess(filler.child)
    for (let round = 0; round < at.rounds; round++) {
      for (const target of round % 2 === 0 ? TARGETS : TARGETS.toReversed()) {
        const run = await runOnce(folder, target, at)
        runs.push(run)
        const { p99, p999, max } = run.load.latencyMicros
        process.stderr.write(
          `  ${round + 1}/${at.rounds} ${target.name}: ${formatNumber(run.readGbPerSecond)} GB/s read, ` +
            `P99 ${formatNumber(p99)}, P99.9 ${formatNumber(p999)}, max ${formatNumber(max)} µs\n`,
        )
      }
    }
  } finally {
    deleteFolder(folder)
  }
  const text = [...machineLines(machine), '', table(runs)].join('\n')
  writeFileSync(`${at.out}.json`, `${JSON.stringify({ machine, options: at, runs }, null, 1)}\n`)
  writeFileSync(`${at.out}.md`, `${text}\n`)
  process.stdout.write(`${text}\n`)
}

await main()
