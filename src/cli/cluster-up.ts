/**
 * `millrace cluster up`: a cluster of several brokers on this machine, for development. The brokers
 * are children of this process, and end with it.
 */

import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism } from 'node:os'
import { Command } from 'commander'
import { counted } from './cluster-command.ts'
import {
  bootstrapOf,
  controllersOf,
  type LocalCluster,
  type LocalNode,
  localNodes,
  replicationFactorOf,
  startArguments,
} from './cluster-nodes.ts'
import { NodeProcesses } from './cluster-processes.ts'
import { clusterSecret } from './cluster-secret.ts'
import { CommandError } from './command-error.ts'
import { whole, words } from './kafka-command.ts'
import type { Streams } from './output.ts'

const NODES = 3
const NODES_MAX = 50
const PORT_MAX = 65_535
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const COLOURS = [36, 33, 35, 32, 34, 31] as const

interface UpOptions {
  readonly nodes?: number
  readonly dataDir: string
  readonly kafkaPort: number
  readonly httpPort: number
  readonly clusterPort: number
  readonly shards?: number
  readonly set?: readonly string[]
  readonly restart?: boolean
}

export function upCommand(streams: Streams): Command {
  const port = whole(PORT_MAX - NODES_MAX)
  return new Command('up')
    .description('start a cluster on this machine, for development')
    .option(
      '-n, --nodes <count>',
      'how many brokers (default: 3, or as many as there were before)',
      whole(NODES_MAX),
    )
    .option('-d, --data-dir <dir>', 'where all of them keep their data', 'millrace-cluster')
    .option('--kafka-port <port>', 'of the first broker; the others count up', port, 9092)
    .option('--http-port <port>', 'of the first broker; the others count up', port, 8080)
    .option('--cluster-port <port>', 'between the brokers, in the same way', port, 19_092)
    .option('--shards <count>', 'threads of each that own partitions', whole(256))
    .option('-s, --set <name=value>', 'an option of every broker; may repeat', words)
    .option('--restart', 'start a broker again that has ended')
    .addHelpText(
      'after',
      `
All listen on 127.0.0.1 only. Topics get three replicas unless they say otherwise, so that any one
broker may die: try it with kill -9. The secret by which brokers know each other is made at the first
start and kept in the data directory. Ctrl-C stops all of them; the next start goes on with the data.

Examples:
  $ millrace cluster up
  $ millrace cluster up --nodes 5 --set num.partitions=6
  $ millrace cluster status                 # in another terminal
  $ millrace cluster up --nodes 4           # later: one more, and it is empty
  $ millrace cluster rebalance              # gives it its share`,
    )
    .action(async (options: UpOptions) => {
      await up(options, streams)
    })
}

async function up(options: UpOptions, streams: Streams): Promise<void> {
  const startedMs = performance.now()
  const { secret, path } = clusterSecret(options.dataDir)
  const before = nodesIn(options.dataDir)
  const count = options.nodes ?? Math.max(NODES, before)
  const cluster: LocalCluster = {
    ...options,
    nodes: count,
    nodesKnown: Math.max(count, before),
    shards: options.shards ?? 1,
    set: options.set ?? [],
  }
  const nodes = localNodes(cluster)
  await checkPorts(cluster)
  if (cluster.nodes < before) {
    streams.err(
      `warning: there were ${counted(before, 'broker')} in ${options.dataDir}: what the others ` +
        'have is missing until they are started again',
    )
  }
  if (cluster.nodes > availableParallelism()) {
    streams.err(
      `note: ${counted(cluster.nodes, 'broker')} share ${counted(availableParallelism(), 'core')}`,
    )
  }
  streams.out(`Starting ${counted(nodes.length, 'broker')}; secret in ${path}`)
  const isTerminal = process.stdout.isTTY === true
  const processes = new NodeProcesses({
    environment: { MILLRACE_CLUSTER_SECRET: secret },
    restarts: options.restart === true,
    line: (name, text) => streams.out(`${prefixOf(name, isTerminal)} ${text}`),
    onEnded: (name, how) => {
      const next = options.restart === true ? 'it is started again' : 'the others go on'
      streams.err(`✗ ${name} has ended (${how}); ${next}`)
    },
  })
  const stopping = stopOnSignal(processes, streams)
  processes.start(
    nodes.map((node) => ({
      name: node.name,
      arguments: startArguments(cluster, node, { isPretty: true }),
      readyUrl: `http://127.0.0.1:${node.httpPort}/health/ready`,
    })),
  )
  await untilReady(processes, nodes, stopping)
  if (!stopping.isAsked) {
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
    streams.out(readyText(cluster, { seconds, pids: processes.pids }))
  }
  await processes.ended
  stopping.forget()
  if (!stopping.isAsked) throw new CommandError('every broker has ended: their lines say why')
  streams.out('All brokers have stopped')
}

/** Throws CommandError when a node ends before the cluster is complete: it would never be. */
async function untilReady(
  processes: NodeProcesses,
  nodes: readonly LocalNode[],
  stopping: { readonly isAsked: boolean; forget(): void },
): Promise<void> {
  const failed = await new Promise<string | null>((resolve) => {
    let left = nodes.length
    for (const { name } of nodes) {
      void processes.whenReady(name).then((isReady) => {
        if (!isReady) resolve(name)
        else if (--left === 0) resolve(null)
      })
    }
  })
  if (failed === null || stopping.isAsked) return
  processes.stop()
  await processes.ended
  stopping.forget()
  throw new CommandError(`${failed} did not start; the others have been stopped`)
}

/** A second signal kills. */
function stopOnSignal(processes: NodeProcesses, streams: Streams) {
  const state = { isAsked: false, forget: (): void => {} }
  const onSignal = (): void => {
    if (state.isAsked) {
      processes.stop('SIGKILL')
      return
    }
    state.isAsked = true
    streams.out('Stopping all brokers; once more kills them')
    processes.stop()
  }
  for (const signal of STOP_SIGNALS) process.on(signal, onSignal)
  state.forget = (): void => {
    for (const signal of STOP_SIGNALS) process.off(signal, onSignal)
  }
  return state
}

function nodesIn(dataDir: string): number {
  const ids = readdirSync(dataDir).flatMap((name) => /^node-(\d+)$/.exec(name)?.[1] ?? [])
  return Math.max(0, ...ids.map(Number))
}

/** Throws CommandError, also where something listens: its answers would be taken for ours. */
async function checkPorts(cluster: LocalCluster): Promise<void> {
  const { nodes, kafkaPort, httpPort, clusterPort } = cluster
  const first = [kafkaPort, httpPort, clusterPort].sort((a, b) => a - b)
  if (first.some((port, i) => i > 0 && port - (first[i - 1] as number) < nodes)) {
    throw new CommandError(
      `--kafka-port, --http-port and --cluster-port count up to ${nodes} each: they meet`,
    )
  }
  for (const node of localNodes(cluster)) {
    for (const port of [node.kafkaPort, node.httpPort, node.clusterPort]) {
      if (await isFree(port)) continue
      throw new CommandError(
        `something listens on 127.0.0.1:${port} already: a cluster that runs? ` +
          '--kafka-port, --http-port and --cluster-port name others',
      )
    }
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

function prefixOf(name: string, isTerminal: boolean): string {
  if (!isTerminal) return `${name} │`
  const colour = COLOURS[Number(name.slice(name.indexOf('-') + 1)) % COLOURS.length]
  return `\u001b[${colour}m${name} │\u001b[0m`
}

function readyText(
  cluster: LocalCluster,
  { seconds, pids }: { readonly seconds: string; readonly pids: ReadonlyMap<string, number> },
): string {
  const nodes = localNodes(cluster)
  const [first] = nodes as [LocalNode]
  const bootstrap = first.kafkaPort === 9092 ? '' : ` -b 127.0.0.1:${first.kafkaPort}`
  const url = first.httpPort === 8080 ? '' : ` --url ws://127.0.0.1:${first.httpPort}/ws`
  const factor = replicationFactorOf(cluster)
  return [
    '',
    `✓ The cluster is ready after ${seconds} s: ${counted(cluster.nodes, 'broker')}, ` +
      `${counted(factor, 'replica')} of each new partition`,
    '',
    `  Bootstrap servers  ${bootstrapOf(nodes)}`,
    `  HTTP, WebSocket    ${nodes.map(({ httpPort }) => `127.0.0.1:${httpPort}`).join()}`,
    `  Controllers        ${controllersOf(cluster)}`,
    `  Processes          ${[...pids].map(([name, pid]) => `${name} ${pid}`).join(', ')}`,
    `  Data               ${cluster.dataDir}`,
    '',
    '  In another terminal:',
    `    millrace topic create orders --partitions 6${bootstrap}`,
    `    echo hello | millrace produce orders${url}`,
    `    millrace consume orders --from-beginning${url}`,
    `    millrace cluster status${bootstrap}`,
    '',
    '  Ctrl-C stops all of them.',
    '',
  ].join('\n')
}
