/**
 * The metadata of a large cluster on three controllers, which are real processes: memory, how late
 * their event loops are, how fast topics are created, how long a lost controller and a lost broker
 * with very many leaders cost, how long a start from a snapshot takes. The brokers that hold the
 * partitions exist in the metadata only: records that were proposed to the quorum. Starts and
 * stops everything itself; loopback only.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { SingleBar } from 'cli-progress'
import { Random } from '../src/base/random.ts'
import { randomUuid, type Uuid } from '../src/base/uuid.ts'
import type { MetadataRecord } from '../src/metadata/records.ts'
import { projectFolder, reportPrefix } from './lib/broker.ts'
import { cleanUpAtExit, deleteFolder, hasEnded, ownFolder, sleep } from './lib/children.ts'
import {
  type ClusterNodeProcess,
  type RunningCluster,
  startMillraceCluster,
} from './lib/clusters.ts'
import { type LoopUse, LoopWatch } from './lib/loop-watch.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { untilMetadataIsTaken } from './lib/metadata-writes.ts'
import { numberOption } from './lib/number-option.ts'
import { ProbeConnections } from './lib/probe-connection.ts'
import { Proposer, QuorumClient, RefusedError } from './lib/quorum-client.ts'
import { formatNumber, formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE = `node build/bench/metadata-scale.js [--topics 1000] [--partitions 100] [--brokers 100]
  [--fill-rate 0] [--fill-batch 10] [--create-seconds 10] [--create-batch 25] [--create-rate 1000]
  [--rounds 3] [--set NAME=VALUE]... [--out PREFIX] [--keep]

Ten million partitions: --topics 100000. Rates are of topics a second; --fill-rate 0 is as many as it
takes.`

const NODES = 3
const REPLICAS = 3
/** Of the brokers that exist in the metadata only. */
const FIRST_BROKER = 1001
/** Nodes that have registered more often than that are no fresh cluster. */
const EPOCHS_MAX = 50
const PROPOSALS_AT_ONCE = 8
const CREATORS = 12
const REQUEST_MS_MAX = 30_000
const POLL_MS = 5
const FORGOTTEN_MS_MAX = 60_000

interface Scale {
  readonly topics: number
  readonly partitions: number
  readonly brokers: number
  /** Topics a second while it is filled; Infinity: as many as it takes. */
  readonly fillRate: number
  readonly topicsPerProposal: number
}

/** By phase and node: what the event loop and memory were like meanwhile. */
interface Phase {
  readonly name: string
  readonly result: string
  readonly nodes: readonly (LoopUse & { readonly id: number })[]
}

class Run {
  readonly cluster: RunningCluster
  readonly scale: Scale
  readonly phases: Phase[] = []
  readonly #watch: LoopWatch
  readonly #random = new Random(1)
  readonly #directories: readonly Uuid[]
  /** The first topic with a partition that the broker to be lost leads: its name and number. */
  #ofLost: { readonly name: string; readonly partition: number } | null = null
  #created = 0
  /** Of the first of the brokers that are records only. */
  #firstEpoch = 0

  constructor(cluster: RunningCluster, scale: Scale) {
    this.cluster = cluster
    this.scale = scale
    this.#directories = Array.from({ length: scale.brokers }, () => randomUuid())
    this.#watch = new LoopWatch(() => cluster.nodes.filter(({ child }) => !hasEnded(child)))
  }

  async phase(name: string, work: () => Promise<string>): Promise<void> {
    await this.#watch.take()
    const result = await work()
    const uses = await this.#watch.take()
    this.phases.push({ name, result, nodes: [...uses].map(([id, use]) => ({ id, ...use })) })
    say(`${name}: ${result}`)
  }

  stop(): Promise<void> {
    return this.#watch.stop()
  }

  /** Brokers and topics, as records through the quorum. */
  async fill(): Promise<string> {
    const { topics, partitions, fillRate, topicsPerProposal } = this.scale
    const bar = process.stderr.isTTY ? new SingleBar({ stream: process.stderr }) : null
    bar?.start(topics, 0)
    const startedMs = performance.now()
    let next = 0
    const work = async (proposer: Proposer): Promise<void> => {
      while (next < topics) {
        const from = next
        const until = Math.min(topics, from + topicsPerProposal)
        next = until
        const earlyMs = startedMs + (from * 1000) / fillRate - performance.now()
        if (earlyMs > 0) await sleep(earlyMs)
        const records: MetadataRecord[] = []
        for (let i = from; i < until; i++) records.push(...this.#topicRecords(i))
        await proposer.propose(records, async (leader) => {
          const view = await this.#view(leader, nameOf(from))
          return view.topics[0]?.errorCode === 0
        })
        bar?.update(until)
      }
    }
    const proposers = Array.from({ length: PROPOSALS_AT_ONCE }, () => this.#proposer())
    try {
      await this.#register(proposers[0] as Proposer)
      await Promise.all(proposers.map(work))
    } finally {
      bar?.stop()
      for (const proposer of proposers) proposer.close()
    }
    const seconds = (performance.now() - startedMs) / 1000
    const rate = formatNumber((topics * partitions) / seconds)
    return `${formatNumber(topics * partitions)} partitions in ${formatNumber(seconds)} s: ${rate}/s`
  }

  /**
   * Through Kafka's protocol, and every node, for so long; at a rate of topics a second, requests
   * at equal distances and counted from when they should have begun, or as fast as it goes.
   */
  async create(seconds: number, batch: number, rate: number | null): Promise<string> {
    const beginMs = performance.now()
    const untilMs = beginMs + seconds * 1000
    let topics = 0
    let requests = 0
    const latencies: number[] = []
    const work = async (worker: number): Promise<void> => {
      const connections = new ProbeConnections()
      const place = this.cluster.nodes[worker % NODES] as ClusterNodeProcess
      while (performance.now() < untilMs) {
        const connection = await connections.to(place)
        let sentMs = performance.now()
        if (rate !== null) {
          const dueMs = beginMs + (requests++ * batch * 1000) / rate
          if (dueMs > untilMs) break
          await sleep(Math.max(0, dueMs - sentMs))
          sentMs = dueMs
        }
        const body = { topics: this.#newTopics(batch), timeoutMs: REQUEST_MS_MAX }
        const answer = await connection.request(19, body, { timeoutMs: REQUEST_MS_MAX })
        const failed = answer.topics.find(({ errorCode }) => errorCode !== 0)
        if (failed !== undefined) {
          throw new Error(`error ${failed.errorCode}, ${failed.errorMessage}`)
        }
        topics += batch
        latencies.push(performance.now() - sentMs)
      }
      connections.close()
    }
    const startedMs = performance.now()
    await Promise.all(Array.from({ length: CREATORS }, (_, worker) => work(worker)))
    const took = (performance.now() - startedMs) / 1000
    return (
      `${formatNumber(topics / took)} topics/s for ${formatNumber(took)} s, ${batch} a request, ` +
      `a request ${formatSpread(spreadOf(latencies))} ms`
    )
  }

  /** Of all that it leads, until every node tells clients of other leaders. */
  async loseBroker(): Promise<string> {
    const lost = this.#ofLost
    if (lost === null) throw new Error('it leads nothing')
    const client = await this.#quorumClient()
    const fence = { brokerId: FIRST_BROKER, brokerEpoch: this.#firstEpoch, ruleVersion: 1 }
    const startedMs = performance.now()
    const seen = this.cluster.nodes.map((node) => this.#untilLedByAnother(node, lost, startedMs))
    const isTaken = await client.propose([{ type: 'broker-fenced', ...fence }])
    if (!isTaken) throw new Error('another controller was elected meanwhile')
    const committedMs = performance.now() - startedMs
    const ms = await Promise.all(seen)
    client.close()
    const leaders = Math.round((this.scale.topics * this.scale.partitions) / this.scale.brokers)
    return (
      `${formatNumber(leaders)} leaders: committed and applied after ${formatNumber(committedMs)} ms, ` +
      `told by the nodes after ${ms.map(formatNumber).join(', ')} ms`
    )
  }

  /** kill -9 of who leads the quorum, and a start of it. */
  async loseController(rounds: number): Promise<string> {
    const elected: number[] = []
    const written: number[] = []
    const ready: number[] = []
    for (let round = 0; round < rounds; round++) {
      const leader = await this.#leader()
      leader.child.kill('SIGKILL')
      const left = this.cluster.nodes.filter(({ id }) => id !== leader.id)
      const outage = await untilMetadataIsTaken(left, leader.id)
      elected.push(outage.electedMs)
      written.push(outage.writtenMs)
      ready.push((await this.cluster.restart(leader.id)).readyMs)
      await sleep(1000)
    }
    const spread = (values: readonly number[]): string => formatSpread(spreadOf(values))
    return (
      `another after ${spread(elected)} ms, a topic created after ${spread(written)} ms; ` +
      `the killed one served again ${spread(ready)} ms after its start`
    )
  }

  /** A node that follows, killed: it begins with its snapshot, and follows the log from there. */
  async restartFollower(): Promise<string> {
    const leader = await this.#leader()
    const node = this.cluster.nodes.find(({ id }) => id !== leader.id) as ClusterNodeProcess
    node.child.kill('SIGKILL')
    while (!hasEnded(node.child)) await sleep(POLL_MS)
    const { readyMs } = await this.cluster.restart(node.id)
    return `served ${formatNumber(readyMs)} ms after its start`
  }

  // —— inside ——

  /** Patiently: a node may be busy. */
  async #view(node: ClusterNodeProcess, topic: string | null) {
    const deadlineMs = performance.now() + REQUEST_MS_MAX
    for (;;) {
      const connections = new ProbeConnections()
      try {
        const connection = await connections.to(node)
        const topics = topic === null ? [] : [{ name: topic }]
        const body = { topics, allowAutoTopicCreation: false }
        return await connection.request(3, body, { timeoutMs: REQUEST_MS_MAX })
      } catch (error) {
        if (performance.now() > deadlineMs || hasEnded(node.child)) throw error
        await sleep(100)
      } finally {
        connections.close()
      }
    }
  }

  /** All nodes say so. */
  async #leader(): Promise<ClusterNodeProcess> {
    const deadlineMs = performance.now() + FORGOTTEN_MS_MAX
    while (performance.now() < deadlineMs) {
      const views = await Promise.all(this.cluster.nodes.map((node) => this.#view(node, null)))
      const [first, ...others] = views.map(({ controllerId }) => controllerId)
      const leader = this.cluster.nodes.find(({ id }) => id === first)
      if (leader !== undefined && others.every((id) => id === first)) return leader
      await sleep(100)
    }
    throw new Error('nobody leads the quorum')
  }

  async #quorumClient(): Promise<QuorumClient> {
    const leader = await this.#leader()
    const { clusterId } = await this.#view(leader, null)
    return new QuorumClient(leader, clusterId ?? '')
  }

  #proposer(): Proposer {
    return new Proposer(
      () => this.#leader(),
      async (leader) => (await this.#view(leader, null)).clusterId ?? '',
    )
  }

  async #untilLedByAnother(
    node: ClusterNodeProcess,
    { name, partition }: { readonly name: string; readonly partition: number },
    startedMs: number,
  ): Promise<number> {
    const connections = new ProbeConnections()
    const connection = await connections.to(node)
    const body = { topics: [{ name }], allowAutoTopicCreation: false }
    for (;;) {
      const { topics } = await connection.request(3, body, { timeoutMs: REQUEST_MS_MAX })
      const found = topics[0]?.partitions.find((one) => one.partitionIndex === partition)
      if (found !== undefined && found.leaderId !== FIRST_BROKER) break
      await sleep(POLL_MS)
    }
    connections.close()
    return performance.now() - startedMs
  }

  /** Their epochs follow those of the nodes, which have registered at least once each. */
  async #register(proposer: Proposer): Promise<void> {
    for (this.#firstEpoch = NODES + 1; ; this.#firstEpoch++) {
      try {
        await proposer.propose(this.#brokerRecords(), async (leader) => {
          const { brokers } = await this.#view(leader, null)
          return brokers.some(({ nodeId }) => nodeId === FIRST_BROKER)
        })
        return
      } catch (error) {
        if (!(error instanceof RefusedError) || this.#firstEpoch > EPOCHS_MAX) throw error
      }
    }
  }

  #brokerRecords(): MetadataRecord[] {
    return this.#directories.flatMap((directory, i): MetadataRecord[] => {
      const brokerId = FIRST_BROKER + i
      const brokerEpoch = this.#firstEpoch + i
      return [
        {
          type: 'broker-registered',
          ...{ brokerId, brokerEpoch, incarnationId: randomUuid(), host: '127.0.0.1', port: 9 },
          endpoints: [{ listener: 'PLAINTEXT', host: '127.0.0.1', port: 9 }],
          ...{ rack: null, directories: [directory], isUnclean: false, ruleVersion: 1 },
        },
        { type: 'broker-unfenced', brokerId, brokerEpoch, ruleVersion: 1 },
      ]
    })
  }

  /** As Kafka places: leaders in turn, the others beside them, at a distance that the topic has. */
  #topicRecords(index: number): MetadataRecord[] {
    const { brokers, partitions } = this.scale
    const topicId = randomUuid()
    const name = nameOf(index)
    const start = this.#random.below(brokers)
    const shift = 1 + this.#random.below(Math.max(1, brokers - REPLICAS))
    const places = Array.from({ length: partitions }, (_, partition) => {
      const first = (start + partition) % brokers
      if (first === 0) this.#ofLost ??= { name, partition }
      return [first, (first + shift) % brokers, (first + shift + 1) % brokers]
    })
    const replicas = places.map((all) => all.map((place) => FIRST_BROKER + place))
    const replicaDirectories = places.map((all) => {
      return all.map((place) => this.#directories[place] as Uuid)
    })
    const rows = { firstPartition: 0, replicas, replicaDirectories, ruleVersion: 1 }
    return [
      { type: 'topic', topicId, name },
      { type: 'partitions', topicId, ...rows },
    ]
  }

  /** Of one partition, on brokers that exist in the metadata only. */
  #newTopics(count: number) {
    return Array.from({ length: count }, () => {
      const first = this.#random.below(this.scale.brokers)
      const brokerIds = [0, 1, 2].map((n) => FIRST_BROKER + ((first + n) % this.scale.brokers))
      return {
        ...{ name: `created-${++this.#created}`, numPartitions: -1, replicationFactor: -1 },
        ...{ assignments: [{ partitionIndex: 0, brokerIds }], configs: [] },
      }
    })
  }
}

function nameOf(topic: number): string {
  return `topic-${topic}`
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function phaseTable(phases: readonly Phase[]): string {
  const rows = phases.flatMap(({ name, nodes }) => {
    // A node that has just come back has no samples.
    const worst = (pick: (use: LoopUse) => number): string => {
      return formatNumber(Math.max(...nodes.map(pick).filter((value) => !Number.isNaN(value))))
    }
    const least = (pick: (use: LoopUse) => number): string => {
      const known = nodes.map(pick).filter(Number.isFinite)
      return known.length === 0 ? '–' : formatNumber(Math.min(...known))
    }
    return [
      [
        name,
        worst(({ p50Ms }) => p50Ms),
        worst(({ p99Ms }) => p99Ms),
        worst(({ p999Ms }) => p999Ms),
        worst(({ maxMs }) => maxMs),
        // Of a follower: the leader waits for nobody, and hears nobody late.
        worst(({ timeoutMs }) => (Number.isFinite(timeoutMs) ? timeoutMs : Number.NaN)),
        least(({ lastTimeoutMs }) => lastTimeoutMs),
        worst(({ residentBytes }) => residentBytes / 2 ** 20),
      ],
    ]
  })
  const head = [
    'worst of three nodes',
    'P50 ≤ ms',
    'P99 ≤ ms',
    'P99.9 ≤ ms',
    'max ms',
    'timeout ≥ ms',
    'at the end ms',
    'MiB',
  ]
  return markdownTable(head, rows)
}

async function main(): Promise<void> {
  const text = (standard: string) => ({ type: 'string', default: standard }) as const
  const { values } = parseArgs({
    options: {
      topics: text('1000'),
      partitions: text('100'),
      brokers: text('100'),
      'fill-rate': text('0'),
      'fill-batch': text('10'),
      'create-seconds': text('10'),
      'create-batch': text('25'),
      'create-rate': text('1000'),
      rounds: text('3'),
      set: { type: 'string', multiple: true },
      out: text(reportPrefix('metadata-scale')),
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean' },
    },
  })
  if (values.help) {
    say(USAGE)
    return
  }
  cleanUpAtExit()
  const folder = join(projectFolder(), '.cache', 'bench', `metadata-scale-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  if (!values.keep) ownFolder(folder)
  const machine = describeMachine(folder)
  const scale = {
    topics: Number(values.topics),
    partitions: Number(values.partitions),
    brokers: Number(values.brokers),
    fillRate: numberOption(values['fill-rate'], 'fill-rate', { low: 0, high: 1e6 }) || Infinity,
    topicsPerProposal: numberOption(values['fill-batch'], 'fill-batch', {
      low: 1,
      high: 1000,
      whole: true,
    }),
  }
  // Nobody beats for the brokers that exist in the metadata only.
  const settings = ['broker.session.timeout.ms=1000000000', ...(values.set ?? [])]
  const cluster = await startMillraceCluster({ nodes: NODES, folder, settings })
  const run = new Run(cluster, scale)
  await run.phase('filled', () => run.fill())
  await run.phase('at rest', async () => {
    await sleep(5000)
    return '5 s'
  })
  const seconds = Number(values['create-seconds'])
  const batch = Number(values['create-batch'])
  await run.phase('topics created', () => run.create(seconds, batch, null))
  const rate = Number(values['create-rate'])
  await run.phase(`${rate} topics/s`, () => run.create(seconds, batch, rate))
  await run.phase('broker lost', () => run.loseBroker())
  await run.phase('controller killed', () => run.loseController(Number(values.rounds)))
  await run.phase('node restarted', () => run.restartFollower())
  await run.stop()
  // In order, they would wait for brokers that are not there.
  for (const { child } of cluster.nodes) child.kill('SIGKILL')
  await cluster.stop()
  if (!values.keep) deleteFolder(folder)
  const lines = run.phases.map(({ name, result }) => `- ${name}: ${result}`)
  const head = [...machineLines(machine), '', ...lines, '', 'How late event loops were:']
  const report = [...head, '', phaseTable(run.phases)].join('\n')
  process.stdout.write(`${report}\n`)
  const all = { machine, options: { ...values, out: undefined }, phases: run.phases }
  writeFileSync(`${values.out}.json`, `${JSON.stringify(all, null, 1)}\n`)
  writeFileSync(`${values.out}.md`, `${report}\n`)
}

await main()
