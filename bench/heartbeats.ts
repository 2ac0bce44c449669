/**
 * What consumer groups cost that only stay: many groups of some members each, heartbeating at their
 * default intervals, in both protocols, against Millrace and against Apache Kafka, forth and back,
 * in equal memory cgroups. Starts and stops everything itself; loopback only.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { KafkaConnection } from '../src/client/kafka-connection.ts'
import { ErrorCode } from '../src/errors/error-code.ts'
import { ApiKey } from '../src/wire/kafka/api.ts'
import { projectFolder, reportPrefix, startBroker } from './lib/broker.ts'
import { deleteFolder, deleteGroup, ownFolder, ownGroup, stopProcess } from './lib/children.ts'
import { awaitCoordinator, openConnection } from './lib/coordinator.ts'
import {
  type GroupProtocol,
  type GroupTopic,
  joinGroup,
  SESSION_TIMEOUT_MS,
} from './lib/group-members.ts'
import { type HeartbeatResult, runHeartbeats } from './lib/heartbeat-load.ts'
import { installKafka, kafkaVersion, startKafka } from './lib/kafka-broker.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { MemoryGroup } from './lib/memory-group.ts'
import { numberOption, UsageError } from './lib/number-option.ts'
import {
  memoryOf,
  type ProcessSample,
  type ProcessUse,
  sampleProcess,
  useBetween,
} from './lib/process-sample.ts'
import { runBenchmark } from './lib/run-benchmark.ts'
import { formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE = `npm run bench -- heartbeats [--groups 10000] [--members 10] [--connections 1000]
    [--seconds 20] [--rounds 2] [--protocol classic|consumer|both] [--memory-gb 4|0]
    [--only millrace|kafka] [--node-arg ARG]... [--out PREFIX]

--connections carry the members of all groups, evenly: a multiple of --members`

/** What clients send at by default: Java's, and the broker's answer in KIP-848. */
const INTERVAL_MS: Readonly<Record<GroupProtocol, number>> = { classic: 3000, consumer: 5000 }
const WARM_UP_SECONDS = 6
const TARGETS = ['millrace', 'kafka'] as const
type Target = (typeof TARGETS)[number]

interface Options {
  readonly groups: number
  readonly members: number
  readonly connections: number
  readonly seconds: number
  readonly memoryGb: number
  readonly nodeArgs: readonly string[]
}

interface Run {
  readonly target: Target
  readonly protocol: GroupProtocol
  readonly joinSeconds: number
  readonly joinCpuSeconds: number
  readonly residentBytesBefore: number
  readonly residentBytesAfter: number
  readonly load: HeartbeatResult
  readonly use: ProcessUse
}

/** The same of both. */
const SETTINGS = [
  // A round of a new group waits for no more than its members, who come at once.
  'group.initial.rebalance.delay.ms=100',
  `group.max.session.timeout.ms=${SESSION_TIMEOUT_MS}`,
  `group.consumer.session.timeout.ms=${SESSION_TIMEOUT_MS}`,
  `group.consumer.max.session.timeout.ms=${SESSION_TIMEOUT_MS}`,
]

interface Running {
  readonly port: number
  readonly pid: number
  stop(): Promise<void>
}

async function start(target: Target, parent: string, options: Options): Promise<Running> {
  const { memoryGb, nodeArgs } = options
  const folder = join(parent, `millrace-heartbeats-${process.pid}`)
  mkdirSync(folder)
  ownFolder(folder)
  const name = `millrace-heartbeats-${process.pid}`
  const group = memoryGb === 0 ? undefined : MemoryGroup.create(name, memoryGb * 2 ** 30)
  if (typeof group === 'string') throw new Error(group)
  if (group !== undefined) ownGroup(group)
  const { child, pid, kafkaPort } = await (target === 'kafka'
    ? startKafka({ folder, settings: SETTINGS, group })
    : startBroker({
        dataDir: join(folder, 'data'),
        logFile: join(folder, 'broker.log'),
        shards: 1,
        settings: SETTINGS,
        nodeArgs: ['--max-semi-space-size=64', ...nodeArgs],
        group,
        readyTimeoutMs: 30_000,
      }))
  const stop = async (): Promise<void> => {
    await stopProcess(child)
    deleteFolder(folder)
    if (group !== undefined) await deleteGroup(group)
  }
  return { port: kafkaPort, pid, stop }
}

async function createTopic(port: number, partitions: number): Promise<GroupTopic> {
  const connection = await openConnection(port)
  const name = 'events'
  const one = { name, numPartitions: partitions, replicationFactor: 1 }
  const topics = [{ ...one, assignments: [], configs: [] }]
  const made = await connection.request(ApiKey.CREATE_TOPICS, () => ({ topics, timeoutMs: 30_000 }))
  connection.close()
  const [topic] = made.topics
  if (topic?.errorCode !== ErrorCode.NONE) {
    throw new Error(`the topic was not made: code ${topic?.errorCode}`)
  }
  return { name, id: topic.topicId, partitions }
}

/** As many groups at a time as the connections have room for: who waits for a round blocks his. */
async function joinAll(
  protocol: GroupProtocol,
  { port, topic, options }: { port: number; topic: GroupTopic; options: Options },
): Promise<Uint8Array[]> {
  const { groups, members } = options
  const connections: KafkaConnection[] = []
  for (let i = 0; i < options.connections; i++) connections.push(await openConnection(port))
  const frames: Uint8Array[][] = []
  const places = options.connections / members
  let next = 0
  const work = async (place: number): Promise<void> => {
    const mine = connections.slice(place * members, (place + 1) * members)
    while (next < groups) {
      const i = next++
      frames[i] = await joinGroup(protocol, { groupId: `group-${i}`, topic, connections: mine })
      if ((i + 1) % 1000 === 0) say(`    ${i + 1} groups`)
    }
  }
  await Promise.all(Array.from({ length: places }, (_, place) => work(place)))
  for (const connection of connections) connection.close()
  return frames.flat()
}

async function measure(
  target: Target,
  protocol: GroupProtocol,
  { parent, options }: { parent: string; options: Options },
): Promise<Run> {
  const running = await start(target, parent, options)
  try {
    const { port, pid } = running
    const topic = await createTopic(port, options.members)
    // The topic of offsets is made, and every coordinator is there.
    const warm = await openConnection(port)
    await awaitCoordinator(warm)
    warm.close()
    const residentBytesBefore = memoryOf(pid, 'VmRSS')
    const joinedFrom = sampleProcess(pid)
    const frames = await joinAll(protocol, { port, topic, options })
    const joining = useBetween(joinedFrom, sampleProcess(pid), pid)
    const residentBytesAfter = memoryOf(pid, 'VmRSS')
    let before: ProcessSample | undefined
    let use: ProcessUse | undefined
    const load = await runHeartbeats({
      port,
      connections: options.connections,
      frames,
      intervalMs: INTERVAL_MS[protocol],
      warmUpSeconds: WARM_UP_SECONDS,
      seconds: options.seconds,
      onMeasure: (at) => {
        if (at === 'start') before = sampleProcess(pid)
        else use = useBetween(before!, sampleProcess(pid), pid)
      },
    })
    if (load.errors > 0) throw new Error(`${load.errors} heartbeats were refused`)
    return {
      target,
      protocol,
      joinSeconds: joining.seconds,
      joinCpuSeconds: joining.cpuSeconds,
      residentBytesBefore,
      residentBytesAfter,
      load,
      use: use as ProcessUse,
    }
  } finally {
    await running.stop()
  }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function table(runs: readonly Run[]): string {
  const rows = TARGETS.flatMap((target) =>
    (['classic', 'consumer'] as const).flatMap((protocol) => {
      const mine = runs.filter((run) => run.target === target && run.protocol === protocol)
      if (mine.length === 0) return []
      const spread = (of: (run: Run) => number): string => formatSpread(spreadOf(mine.map(of)))
      const mainOf = (run: Run): number =>
        (run.use.roles.find(({ role }) => role === 'main')?.cpuSeconds ?? 0) / run.use.seconds
      return [
        [
          `${target === 'kafka' ? 'Apache Kafka' : 'Millrace'}, ${protocol}`,
          String(mine.length),
          spread(({ joinSeconds }) => joinSeconds),
          spread(({ load }) => load.offeredPerSecond),
          spread(({ load }) => load.answeredPerSecond),
          spread(({ load }) => load.latencyMs.p50 ?? Number.NaN),
          spread(({ load }) => load.latencyMs.p99 ?? Number.NaN),
          spread(({ load }) => load.latencyMs.max ?? Number.NaN),
          spread(
            ({ load, use }) => (use.cpuSeconds * 1e6) / (load.answeredPerSecond * use.seconds),
          ),
          target === 'kafka' ? '–' : spread(mainOf),
          spread((run) => (run.residentBytesAfter - run.residentBytesBefore) / 2 ** 20),
        ],
      ]
    }),
  )
  return markdownTable(
    [
      '',
      'runs',
      'joining s',
      'offered/s',
      'answered/s',
      'P50 ms',
      'P99 ms',
      'max ms',
      'CPU-µs each',
      'cores of main',
      'memory MiB',
    ],
    rows,
  )
}

async function main(): Promise<void> {
  const text = (standard: string) => ({ type: 'string', default: standard }) as const
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean' },
      groups: text('10000'),
      members: text('10'),
      connections: text('1000'),
      seconds: text('20'),
      rounds: text('2'),
      protocol: text('both'),
      only: { type: 'string' },
      'node-arg': { type: 'string', multiple: true, default: [] },
      'memory-gb': text('4'),
      out: text(reportPrefix('heartbeats')),
    },
  })
  if (values.help === true) {
    process.stdout.write(`${USAGE}\n`)
    return
  }
  const whole = (name: 'groups' | 'members' | 'connections' | 'rounds', high: number): number =>
    numberOption(values[name], name, { low: 1, high, whole: true })
  const options: Options = {
    groups: whole('groups', 1_000_000),
    members: whole('members', 1000),
    connections: whole('connections', 15_000),
    seconds: numberOption(values.seconds, 'seconds', { low: 1, high: 3600 }),
    memoryGb: numberOption(values['memory-gb'], 'memory-gb', { low: 0, high: 10_000 }),
    nodeArgs: values['node-arg'],
  }
  if (options.connections % options.members !== 0) {
    throw new UsageError('--connections must be a multiple of --members')
  }
  const protocols = (['classic', 'consumer'] as const).filter((one) => {
    return values.protocol === 'both' || values.protocol === one
  })
  const targets = TARGETS.filter((one) => values.only === undefined || values.only === one)
  if (protocols.length === 0) throw new UsageError(`--protocol ${values.protocol}: no such one`)
  if (targets.length === 0) throw new UsageError(`--only ${values.only}: no such one`)
  if (targets.includes('kafka')) installKafka()
  const parent = join(projectFolder(), '.cache', 'bench')
  mkdirSync(parent, { recursive: true })
  const machine = describeMachine(parent)
  const runs: Run[] = []
  for (const protocol of protocols) {
    for (let round = 0; round < whole('rounds', 100); round++) {
      for (const target of round % 2 === 0 ? targets : targets.toReversed()) {
        say(`  ${protocol}, round ${round + 1}: ${target}`)
        runs.push(await measure(target, protocol, { parent, options }))
      }
    }
  }
  const report = [
    ...machineLines(machine),
    `- ${options.groups} groups of ${options.members} members on ${options.connections} connections; Apache Kafka ${kafkaVersion()}; median (min–max)`,
    '',
    table(runs),
    '',
  ].join('\n')
  writeFileSync(`${values.out}.md`, report)
  writeFileSync(`${values.out}.json`, `${JSON.stringify({ machine, options, runs })}\n`)
  process.stdout.write(report)
}

await runBenchmark(USAGE, main)
