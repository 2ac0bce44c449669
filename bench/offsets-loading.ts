/**
 * What a restart costs when one partition of `__consumer_offsets` is large: how long until its
 * groups are served, how long others are (those of another partition, producers of single events).
 * Starts and stops everything itself; loopback only.
 */
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { uuidToHex } from '../src/base/uuid.ts'
import type { KafkaConnection } from '../src/client/kafka-connection.ts'
import { ErrorCode } from '../src/errors/error-code.ts'
import { Latency } from '../src/load/latency.ts'
import type { LatencySummary } from '../src/load/latency-summary.ts'
import { BatchBuilder } from '../src/record/batch-builder.ts'
import { ApiKey } from '../src/wire/kafka/api.ts'
import { projectFolder, type RunningBroker, reportPrefix, startBroker } from './lib/broker.ts'
import { deleteFolder, ownFolder, sleep, stopProcess } from './lib/children.ts'
import { awaitCoordinator, openConnection } from './lib/coordinator.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { numberOption } from './lib/number-option.ts'
import { memoryOf } from './lib/process-sample.ts'
import { runBenchmark } from './lib/run-benchmark.ts'
import { formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE = `npm run bench -- offsets-loading [--gb 1] [--groups 100] [--rounds 3] [--partitions 1000]
    [--out PREFIX]

--gb: of commits in one of two partitions of the topic; --groups × --partitions offsets are alive`

const TOPIC = 'events'
const IN_FLIGHT = 8
/** Of single events, one after the other, beside the loading. */
const EVENT_BYTES = 200

interface Options {
  readonly gb: number
  readonly groups: number
  readonly partitions: number
}

interface Round {
  readonly readyMs: number
  /** From "ready" on, until a group of the large partition and one of the other are served. */
  readonly largeMs: number
  readonly otherMs: number
  readonly producing: LatencySummary
  readonly residentBytesMax: number
}

function start(folder: string): Promise<RunningBroker> {
  return startBroker({
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'broker.log'),
    shards: 1,
    // Nothing is compacted away before it is loaded.
    settings: ['offsets.topic.num.partitions=2', 'log.cleaner.enable=false'],
    nodeArgs: ['--max-semi-space-size=64'],
    readyTimeoutMs: 120_000,
  })
}

/** As Java's String.hashCode, by which groups are spread over the topic. */
function partitionOf(groupId: string): number {
  let hash = 0
  for (const char of groupId) hash = (Math.imul(31, hash) + char.charCodeAt(0)) | 0
  return Math.abs(hash) % 2
}

function groupsIn(partition: number, count: number): string[] {
  const found: string[] = []
  for (let i = 0; found.length < count; i++) {
    if (partitionOf(`group-${i}`) === partition) found.push(`group-${i}`)
  }
  return found
}

async function commit(
  connection: KafkaConnection,
  groupId: string,
  { partitions, offset }: { partitions: number; offset: number },
): Promise<void> {
  const list = Array.from({ length: partitions }, (_, partitionIndex) => {
    return { partitionIndex, committedOffset: offset, committedMetadata: null }
  })
  const body = { groupId, topics: [{ name: TOPIC, partitions: list }] }
  for (;;) {
    // By name: topic ids came with v10.
    const { topics } = await connection.request(ApiKey.OFFSET_COMMIT, () => body, 9)
    const codes = new Set(topics.flatMap((one) => one.partitions.map((two) => two.errorCode)))
    codes.delete(ErrorCode.NONE)
    if (codes.size === 0) return
    const [code] = codes
    if (code !== ErrorCode.COORDINATOR_LOAD_IN_PROGRESS) {
      throw new Error(`a commit of ${groupId} failed with code ${code}`)
    }
    await sleep(20)
  }
}

function bytesIn(folder: string): number {
  let bytes = 0
  for (const name of readdirSync(folder)) {
    if (name.endsWith('.log')) bytes += statSync(join(folder, name)).size
  }
  return bytes
}

interface Filled {
  readonly offsets: number
  readonly bytes: number
}

/** Commits of partition 0's groups, in turn, until its log is so large; one of partition 1's. */
async function fill(broker: RunningBroker, folder: string, at: Options): Promise<Filled> {
  const connection = await openConnection(broker.kafkaPort)
  const topic = { name: TOPIC, numPartitions: at.partitions, replicationFactor: 1 }
  await connection.request(ApiKey.CREATE_TOPICS, () => ({
    topics: [{ ...topic, assignments: [], configs: [] }],
    timeoutMs: 60_000,
  }))
  await awaitCoordinator(connection)
  await commit(connection, groupsIn(1, 1)[0]!, { partitions: at.partitions, offset: 1 })
  const log = await offsetsFolder(connection, folder)
  const groups = groupsIn(0, at.groups)
  const flying: Promise<void>[] = []
  let commits = 0
  for (; ; commits++) {
    const groupId = groups[commits % groups.length] as string
    const offset = Math.floor(commits / groups.length)
    if (flying.length >= IN_FLIGHT) await flying.shift()
    flying.push(commit(connection, groupId, { partitions: at.partitions, offset }))
    if (commits % 100 === 0 && commits >= groups.length && bytesIn(log) >= at.gb * 1e9) break
  }
  await Promise.all(flying)
  connection.close()
  return { offsets: (commits + 1) * at.partitions, bytes: bytesIn(log) }
}

/** Of partition 0. */
async function offsetsFolder(connection: KafkaConnection, folder: string): Promise<string> {
  const asked = { topics: [{ name: '__consumer_offsets' }] }
  const { topics } = await connection.request(ApiKey.METADATA, () => asked)
  return join(folder, 'data', `${uuidToHex(topics[0]!.topicId)}-0`)
}

async function produceUntil(port: number, isOver: () => boolean): Promise<LatencySummary> {
  const latency = new Latency()
  const connection = await openConnection(port)
  const value = new Uint8Array(EVENT_BYTES)
  const { topics } = await connection.request(ApiKey.METADATA, () => ({
    topics: [{ name: TOPIC }],
  }))
  const topicId = topics[0]!.topicId
  while (!isOver()) {
    const builder = new BatchBuilder()
    builder.append(Date.now(), null, value)
    const partitionData = [{ index: 0, records: builder.buildSync({}) }]
    const topicData = [{ name: TOPIC, topicId, partitionData }]
    const startedMs = performance.now()
    const answer = await connection.request(ApiKey.PRODUCE, () => {
      return { acks: 1, timeoutMs: 60_000, topicData }
    })
    const code = answer.responses[0]?.partitionResponses[0]?.errorCode
    if (code !== ErrorCode.NONE) throw new Error(`an append failed with code ${code}`)
    latency.record(performance.now() - startedMs)
    await sleep(1)
  }
  connection.close()
  return latency.summary()
}

async function untilServed(port: number, groupId: string, partitions: number): Promise<number> {
  const startedMs = performance.now()
  const connection = await openConnection(port)
  const topics = [
    { name: TOPIC, partitionIndexes: Array.from({ length: partitions }, (_, i) => i) },
  ]
  const group = { groupId, memberId: null, memberEpoch: -1, topics }
  const body = { groups: [group], requireStable: false }
  for (;;) {
    const { groups } = await connection.request(ApiKey.OFFSET_FETCH, () => body, 9)
    const [one] = groups
    if (one?.errorCode === ErrorCode.NONE) {
      const missing = one.topics
        .flatMap((topic) => topic.partitions)
        .filter(({ committedOffset }) => committedOffset < 0)
      if (missing.length > 0) throw new Error(`${groupId} has lost ${missing.length} offsets`)
      connection.close()
      return performance.now() - startedMs
    }
    await sleep(5)
  }
}

async function restart(folder: string, at: Options): Promise<Round> {
  const broker = await start(folder)
  try {
    let residentBytesMax = 0
    const sampler = setInterval(() => {
      residentBytesMax = Math.max(residentBytesMax, memoryOf(broker.pid, 'VmRSS'))
    }, 50)
    let isOver = false
    const producing = produceUntil(broker.kafkaPort, () => isOver)
    const { kafkaPort: port } = broker
    const [largeMs, otherMs] = await Promise.all([
      untilServed(port, groupsIn(0, 1)[0]!, at.partitions),
      untilServed(port, groupsIn(1, 1)[0]!, at.partitions),
    ])
    isOver = true
    clearInterval(sampler)
    const { readyMs } = broker
    return { readyMs, largeMs, otherMs, producing: await producing, residentBytesMax }
  } finally {
    await stopProcess(broker.child)
  }
}

function table(rounds: readonly Round[]): string {
  const row = (name: string, of: (round: Round) => number | null): string[] => {
    return [name, formatSpread(spreadOf(rounds.map((round) => of(round) ?? Number.NaN)))]
  }
  return markdownTable(
    ['a restart', ''],
    [
      row('start to ready, ms', ({ readyMs }) => readyMs),
      row('from then until a group of the large partition is served, ms', (one) => one.largeMs),
      row('until a group of the other partition is, ms', ({ otherMs }) => otherMs),
      row('a single event meanwhile, P50 ms', ({ producing }) => producing.p50),
      row('P99 ms', ({ producing }) => producing.p99),
      row('max ms', ({ producing }) => producing.max),
      row('memory at most, MiB', ({ residentBytesMax }) => residentBytesMax / 2 ** 20),
    ],
  )
}

async function main(): Promise<void> {
  const text = (standard: string) => ({ type: 'string', default: standard }) as const
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean' },
      gb: text('1'),
      groups: text('100'),
      partitions: text('1000'),
      rounds: text('3'),
      out: text(reportPrefix('offsets-loading')),
    },
  })
  if (values.help === true) {
    process.stdout.write(`${USAGE}\n`)
    return
  }
  const at: Options = {
    gb: numberOption(values.gb, 'gb', { low: 0.001, high: 1000 }),
    groups: numberOption(values.groups, 'groups', { low: 1, high: 100_000, whole: true }),
    partitions: numberOption(values.partitions, 'partitions', {
      low: 1,
      high: 10_000,
      whole: true,
    }),
  }
  const count = numberOption(values.rounds, 'rounds', { low: 1, high: 100, whole: true })
  const parent = join(projectFolder(), '.cache', 'bench')
  mkdirSync(parent, { recursive: true })
  const folder = join(parent, `millrace-offsets-${process.pid}`)
  mkdirSync(folder)
  ownFolder(folder)
  const machine = describeMachine(parent)
  const rounds: Round[] = []
  let filled: Filled
  try {
    const broker = await start(folder)
    try {
      process.stderr.write(`committing ${at.gb} GB\n`)
      filled = await fill(broker, folder, at)
    } finally {
      await stopProcess(broker.child)
    }
    for (let i = 0; i < count; i++) {
      process.stderr.write(`restart ${i + 1} of ${count}\n`)
      rounds.push(await restart(folder, at))
    }
  } finally {
    deleteFolder(folder)
  }
  const report = [
    ...machineLines(machine),
    `- ${filled.offsets.toLocaleString('en-US')} committed offsets, ${(filled.bytes / 1e9).toFixed(2)} GB, of ${at.groups} groups; ${count} restarts; median (min–max)`,
    '',
    table(rounds),
    '',
  ].join('\n')
  writeFileSync(`${values.out}.md`, report)
  writeFileSync(`${values.out}.json`, `${JSON.stringify({ machine, options: at, rounds })}\n`)
  process.stdout.write(report)
}

await runBenchmark(USAGE, main)
