/**
 * What the compaction of a large partition takes (time, memory, bytes), and what producers of
 * another topic feel of it: the latency of single events at a fixed rate without it and beside it.
 * Starts and stops everything itself; loopback only.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Random } from '../src/base/random.ts'
import type { Uuid } from '../src/base/uuid.ts'
import { KafkaConnection } from '../src/client/kafka-connection.ts'
import { BatchBuilder } from '../src/record/batch-builder.ts'
import { ApiKey } from '../src/wire/kafka/api-key.ts'
import { projectFolder, type RunningBroker, reportPrefix, startBroker } from './lib/broker.ts'
import { cleanUpAtExit, deleteFolder, ownFolder, sleep, stopProcess } from './lib/children.ts'
import { buildLimits, type LoadResult, runLoad } from './lib/limits.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { formatNumber, formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE = `node build/bench/compaction.js [--gb 10] [--keys 1000000] [--value-bytes 1000]
    [--batch-bytes 500000] [--rate 3000] [--seconds 6] [--rounds 3] [--segment-mb 256]
    [--set name=value …] [--out PREFIX]

--rounds: measurements without compaction; beside it there are as many as it lasts`

const TOPIC = 'compacted'
const READY_MS = 60_000
const IN_FLIGHT = 4
const SAMPLE_MS = 100

interface Options {
  readonly gb: number
  readonly keys: number
  readonly valueBytes: number
  readonly batchBytes: number
  readonly rate: number
  readonly seconds: number
  readonly rounds: number
  readonly segmentMb: number
  readonly set: readonly string[]
  readonly out: string
}

function options(): Options {
  const { values } = parseArgs({
    options: {
      gb: { type: 'string', default: '10' },
      keys: { type: 'string', default: '1000000' },
      'value-bytes': { type: 'string', default: '1000' },
      'batch-bytes': { type: 'string', default: '500000' },
      rate: { type: 'string', default: '3000' },
      seconds: { type: 'string', default: '6' },
      rounds: { type: 'string', default: '3' },
      'segment-mb': { type: 'string', default: '256' },
      set: { type: 'string', multiple: true, default: [] },
      out: { type: 'string', default: reportPrefix('compaction') },
    },
  })
  return {
    gb: Number(values.gb),
    keys: Number(values.keys),
    valueBytes: Number(values['value-bytes']),
    batchBytes: Number(values['batch-bytes']),
    rate: Number(values.rate),
    seconds: Number(values.seconds),
    rounds: Number(values.rounds),
    segmentMb: Number(values['segment-mb']),
    set: values.set,
    out: values.out,
  }
}

async function ask(broker: RunningBroker, method: string, path: string, body: unknown) {
  const answer = await fetch(`http://127.0.0.1:${broker.httpPort}${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${method} ${path}: ${text}`)
  return JSON.parse(text) as { topicId: Uuid }
}

/** Random keys, so that each segment holds the last record of some. Returns the records. */
async function fill(broker: RunningBroker, topicId: Uuid, at: Options): Promise<number> {
  const connection = await KafkaConnection.open({
    host: '127.0.0.1',
    port: broker.kafkaPort,
    clientId: 'bench',
    timeoutMs: 60_000,
  })
  const random = new Random(1)
  const value = random.bytes(at.valueBytes)
  const perBatch = Math.max(1, Math.floor(at.batchBytes / (at.valueBytes + 24)))
  const batches = Math.ceil((at.gb * 1e9) / (perBatch * (at.valueBytes + 24)))
  const flying: Promise<void>[] = []
  for (let i = 0; i < batches; i++) {
    const builder = new BatchBuilder()
    const now = Date.now()
    for (let j = 0; j < perBatch; j++) builder.append(now, `key-${random.below(at.keys)}`, value)
    if (flying.length >= IN_FLIGHT) await flying.shift()
    flying.push(send(connection, topicId, builder.buildSync({})))
  }
  await Promise.all(flying)
  connection.close()
  return batches * perBatch
}

async function send(
  connection: KafkaConnection,
  topicId: Uuid,
  records: Uint8Array,
): Promise<void> {
  const partitionData = [{ index: 0, records }]
  const topicData = [{ name: TOPIC, topicId, partitionData }]
  const body = { acks: 1, timeoutMs: 60_000, topicData }
  const answer = await connection.request(ApiKey.PRODUCE, () => body)
  const code = answer.responses[0]?.partitionResponses[0]?.errorCode
  if (code !== 0) throw new Error(`an append failed with code ${code}`)
}

function load(broker: RunningBroker, at: Options): Promise<LoadResult> {
  const args = ['--acks', '1', '--topic', 'new', '--partitions', '4', '--connections', '16']
  args.push('--events-per-request', '1', '--event-bytes', '200', '--rate', String(at.rate))
  args.push('--warm-up', '0.5', '--duration', String(at.seconds))
  const address = `127.0.0.1:${broker.kafkaPort}`
  return runLoad({ address, args, onMeasure: () => {}, timeoutMs: 300_000 })
}

/** The sum over the shards. */
async function metric(broker: RunningBroker, name: string): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${broker.httpPort}/metrics`)
  let sum = 0
  for (const line of (await answer.text()).split('\n')) {
    if (line.startsWith(`${name}{`)) sum += Number(line.slice(line.lastIndexOf(' ') + 1))
  }
  return sum
}

/** Resident bytes that are the process's own: without the pages of files that it has mapped. */
function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kilobytes = /^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]
  const shared = /^RssShmem:\s+(\d+) kB$/m.exec(status)?.[1]
  return (Number(kilobytes ?? 0) + Number(shared ?? 0)) * 1024
}

interface Compaction {
  readonly seconds: number
  readonly readBytes: number
  readonly writtenBytes: number
  readonly droppedRecords: number
  readonly residentBytesBefore: number
  readonly residentBytesMax: number
}

/** Lets the partition become due, and measures producers until it is compacted. */
async function compactBesideLoad(
  broker: RunningBroker,
  at: Options,
): Promise<{ compaction: Compaction; loads: LoadResult[] }> {
  const residentBytesBefore = residentBytes(broker.pid)
  let residentBytesMax = residentBytesBefore
  const sampler = setInterval(() => {
    residentBytesMax = Math.max(residentBytesMax, residentBytes(broker.pid))
  }, SAMPLE_MS)
  try {
    await ask(broker, 'PATCH', `/topics/${TOPIC}`, {
      configs: { 'min.cleanable.dirty.ratio': '0.01' },
    })
    const loads: LoadResult[] = []
    do loads.push(await load(broker, at))
    while ((await metric(broker, 'millrace_shard_compactions_total')) === 0)
    const of = (name: string): Promise<number> => metric(broker, `millrace_shard_${name}_total`)
    const compaction = {
      seconds: await of('compaction_seconds'),
      readBytes: await of('compaction_read_bytes'),
      writtenBytes: await of('compaction_written_bytes'),
      droppedRecords: await of('compacted_records'),
      residentBytesBefore,
      residentBytesMax,
    }
    return { compaction, loads }
  } finally {
    clearInterval(sampler)
  }
}

function loadTable(without: readonly LoadResult[], beside: readonly LoadResult[]): string {
  const row = (name: string, runs: readonly LoadResult[]): string[] => {
    const spread = (pick: (run: LoadResult) => number): string =>
      formatSpread(spreadOf(runs.map(pick)))
    return [
      name,
      String(runs.length),
      spread((run) => run.latencyMicros.p50),
      spread((run) => run.latencyMicros.p99),
      spread((run) => run.latencyMicros.p999),
      spread((run) => run.latencyMicros.max),
    ]
  }
  const head = ['producers', 'runs', 'P50 µs', 'P99 µs', 'P99.9 µs', 'max µs']
  return markdownTable(head, [row('nothing else', without), row('beside compaction', beside)])
}

function compactionTable(one: Compaction, records: number): string {
  const mib = (bytes: number): string => formatNumber(bytes / 2 ** 20)
  return markdownTable(
    ['records', 'dropped', 'seconds', 'read GB', 'written GB', 'memory before MiB', 'at most MiB'],
    [
      [
        formatNumber(records),
        formatNumber(one.droppedRecords),
        formatNumber(one.seconds),
        formatNumber(one.readBytes / 1e9),
        formatNumber(one.writtenBytes / 1e9),
        mib(one.residentBytesBefore),
        mib(one.residentBytesMax),
      ],
    ],
  )
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
  const folder = join(parent, `millrace-compaction-${process.pid}`)
  mkdirSync(folder)
  ownFolder(folder)
  const machine = describeMachine(parent)
  let text: string
  try {
    const broker = await startBroker({
      dataDir: join(folder, 'data'),
      logFile: join(folder, 'broker.log'),
      shards: 1,
      settings: ['log.cleaner.backoff.ms=500', ...at.set],
      nodeArgs: ['--max-semi-space-size=64'],
      readyTimeoutMs: READY_MS,
    })
    try {
      const { topicId } = await ask(broker, 'POST', '/topics', {
        name: TOPIC,
        partitions: 1,
        configs: {
          'cleanup.policy': 'compact',
          'segment.bytes': String(at.segmentMb * 2 ** 20),
          // Never above it: it becomes due when the measurement wants it.
          'min.cleanable.dirty.ratio': '1',
        },
      })
      process.stderr.write(`writing ${at.gb} GB of ${at.keys} keys\n`)
      const records = await fill(broker, topicId, at)
      await sleep(2000) // The last segments are flushed.
      const without: LoadResult[] = []
      for (let round = 0; round < at.rounds; round++) without.push(await load(broker, at))
      process.stderr.write('compacting\n')
      const { compaction, loads } = await compactBesideLoad(broker, at)
      text = [
        ...machineLines(machine),
        '',
        compactionTable(compaction, records),
        '',
        loadTable(without, loads),
      ].join('\n')
      const { out, ...options } = at
      const all = { machine, options, compaction, without, beside: loads }
      writeFileSync(`${out}.json`, `${JSON.stringify(all, null, 1)}\n`)
    } finally {
      await stopProcess(broker.child)
    }
  } finally {
    deleteFolder(folder)
  }
  writeFileSync(`${at.out}.md`, `${text}\n`)
  process.stdout.write(`${text}\n`)
}

await main()
