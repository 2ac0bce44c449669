/**
 * One small event a request, acknowledged, through brokers of other kinds: what a request costs
 * Millrace, Apache Kafka, Redis Streams and NATS JetStream. One client in JavaScript for all of
 * them, which writes the same bytes again and again and counts answers; memory cgroups of one size.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { projectFolder, reportPrefix } from './lib/broker.ts'
import { sleep } from './lib/children.ts'
import { installKafka, kafkaVersion } from './lib/kafka-broker.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { numberOption } from './lib/number-option.ts'
import { kafkaDialect, natsDialect, redisDialect } from './lib/peer-dialects.ts'
import { AnswerLoad } from './lib/peer-load.ts'
import { type Peer, startKafkaPeer, startMillracePeer, startNats, startRedis } from './lib/peers.ts'
import { type ProcessUse, sampleProcess, useBetween } from './lib/process-sample.ts'
import { runBenchmark } from './lib/run-benchmark.ts'
import { formatNumber, formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE =
  'npm run bench -- other-peers [--rounds 3] [--seconds 8] [--connections 32] [--event-bytes 200] [--out PREFIX]'

const TARGETS = [
  { name: 'Millrace', start: startMillracePeer, dialect: kafkaDialect, isJvm: false },
  { name: 'Apache Kafka', start: startKafkaPeer, dialect: kafkaDialect, isJvm: true },
  { name: 'Redis Streams', start: startRedis, dialect: redisDialect, isJvm: false },
  { name: 'NATS JetStream', start: startNats, dialect: natsDialect, isJvm: false },
] as const

interface Run {
  readonly target: string
  readonly round: number
  readonly seconds: number
  readonly requests: number
  readonly p50: number
  readonly p99: number
  readonly use: ProcessUse
}

/** Of each program, page cache included. */
const MEMORY_BYTES = 4 * 2 ** 30
const WARM_UP_SECONDS = 4
/** Until a JVM has compiled what it runs. */
const JVM_WARM_UP_SECONDS = 15

async function runOnce(
  target: (typeof TARGETS)[number],
  at: { round: number; seconds: number; connections: number; eventBytes: number; parent: string },
): Promise<Run> {
  let peer: Peer | undefined
  try {
    peer = await target.start(at.parent, MEMORY_BYTES)
    const load = new AnswerLoad(peer.port, target.dialect(at.eventBytes), at.connections)
    await load.start()
    await sleep((target.isJvm ? JVM_WARM_UP_SECONDS : WARM_UP_SECONDS) * 1000)
    load.reset()
    const before = sampleProcess(peer.pid)
    const startedMs = performance.now()
    await sleep(at.seconds * 1000)
    const use = useBetween(before, sampleProcess(peer.pid), peer.pid)
    const seconds = (performance.now() - startedMs) / 1000
    const { requests, latencies } = load.stop()
    const sorted = Float64Array.from(latencies).sort()
    const quantile = (q: number) => sorted[Math.floor(q * (sorted.length - 1))] ?? Number.NaN
    const run = { target: target.name, round: at.round, seconds, requests, use }
    return { ...run, p50: quantile(0.5), p99: quantile(0.99) }
  } finally {
    await peer?.stop()
  }
}

function table(runs: readonly Run[]): string {
  const rows = TARGETS.map(({ name }) => {
    const mine = runs.filter((run) => run.target === name)
    const spread = (of: (run: Run) => number) => formatSpread(spreadOf(mine.map(of)))
    return [
      name,
      spread((run) => run.requests / run.seconds),
      spread((run) => run.p50),
      spread((run) => run.p99),
      spread((run) => (run.use.cpuSeconds / run.requests) * 1e6),
      spread((run) => run.use.writtenBytes / run.requests),
      spread((run) => run.use.machine.stealSeconds),
    ]
  })
  const head = ['', 'requests/s', 'P50 µs', 'P99 µs', 'CPU-µs/request', 'bytes written/request']
  return markdownTable([...head, 'steal s'], rows)
}

async function main(): Promise<void> {
  const text = (standard: string) => ({ type: 'string', default: standard }) as const
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean' },
      rounds: text('3'),
      seconds: text('8'),
      connections: text('32'),
      'event-bytes': text('200'),
      out: text(reportPrefix('other-peers')),
    },
  })
  if (values.help === true) {
    process.stdout.write(`${USAGE}\n`)
    return
  }
  const whole = { low: 1, high: 10_000, whole: true }
  const rounds = numberOption(values.rounds, 'rounds', whole)
  const seconds = numberOption(values.seconds, 'seconds', { low: 0.5, high: 3600 })
  const connections = numberOption(values.connections, 'connections', whole)
  const eventBytes = numberOption(values['event-bytes'], 'event-bytes', { ...whole, high: 1e6 })
  installKafka()
  const parent = join(projectFolder(), '.cache', 'bench')
  mkdirSync(parent, { recursive: true })
  const machine = describeMachine(parent)
  const runs: Run[] = []
  for (let round = 0; round < rounds; round++) {
    for (const target of round % 2 === 0 ? TARGETS : TARGETS.toReversed()) {
      const run = await runOnce(target, {
        round,
        seconds,
        connections,
        eventBytes,
        parent,
      })
      runs.push(run)
      const perRequest = formatNumber((run.use.cpuSeconds / run.requests) * 1e6)
      const rate = formatNumber(run.requests / run.seconds)
      process.stderr.write(`  ${round + 1} ${run.target}: ${rate}/s, ${perRequest} CPU-µs each\n`)
    }
  }
  const report = [
    ...machineLines(machine),
    `- ${values.connections} connections, one request of one ${values['event-bytes']} B event in flight each, ${values.seconds} s after ${WARM_UP_SECONDS} s (Kafka: ${JVM_WARM_UP_SECONDS} s), ${values.rounds} rounds forth and back; cgroup ${formatNumber(MEMORY_BYTES / 2 ** 30)} GiB each`,
    `- Apache Kafka ${kafkaVersion()}: acks=1, page cache. Millrace: the same. Redis: XADD, appendonly, appendfsync everysec. NATS: JetStream file storage, one replica, its default of a sync every two minutes`,
    '',
    table(runs),
    '',
  ].join('\n')
  writeFileSync(`${values.out}.md`, report)
  writeFileSync(`${values.out}.json`, `${JSON.stringify({ machine, options: values, runs })}\n`)
  process.stdout.write(report)
}

await runBenchmark(USAGE, main)
