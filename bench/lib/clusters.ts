/** Clusters of several brokers on this machine, of Millrace and of Apache Kafka. */
import type { ChildProcess } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Network } from '../../test/chaos/network.ts'
import { freePort } from '../../test/support/ports.ts'
import { startBroker } from './broker.ts'
import { ownGroup, stopProcess } from './children.ts'
import { startKafka } from './kafka-broker.ts'
import { MemoryGroup } from './memory-group.ts'

export interface ClusterOptions {
  readonly nodes: number
  /** Exists; each node has a folder in it. */
  readonly folder: string
  /** `name=value`, for each node. */
  readonly settings: readonly string[]
  /** Of each node; undefined: no bound. */
  readonly memoryBytes?: number | undefined
  /** Each node in a namespace of its own. Default: all on loopback. */
  readonly network?: Network | undefined
}

export interface ClusterNodeProcess {
  readonly id: number
  readonly pid: number
  readonly host: string
  readonly port: number
  /** Millrace's only. */
  readonly httpPort: number
  /** Where the other nodes connect. */
  readonly clusterPort: number
  /** From before the process was made to its first "ready". */
  readonly readyMs: number
  readonly child: ChildProcess
  readonly dataDir: string
}

export interface RunningCluster {
  readonly nodes: readonly ClusterNodeProcess[]
  /** Starts a node again that has ended. */
  restart(id: number): Promise<ClusterNodeProcess>
  stop(): Promise<void>
}

const LOOPBACK = '127.0.0.1'
export const CLUSTER_SECRET = 'the secret of a benchmark'
const READY_TIMEOUT_MS = 120_000

interface Place {
  readonly id: number
  readonly host: string
  readonly runWith: readonly string[]
  readonly port: number
  readonly clusterPort: number
  readonly group: MemoryGroup | undefined
}

type StartNode = (place: Place, folder: string) => Promise<ClusterNodeProcess>

async function startCluster(
  { nodes, folder, memoryBytes, network }: ClusterOptions,
  makeStart: (voters: string) => StartNode,
): Promise<RunningCluster> {
  const places: Place[] = []
  for (let id = 1; id <= nodes; id++) {
    const group = memoryBytes === undefined ? undefined : groupOf(id, memoryBytes)
    const at = { port: await freePort(), clusterPort: await freePort() }
    const host = network === undefined ? LOOPBACK : Network.addressOf(id)
    places.push({ id, host, runWith: network?.inside(id) ?? [], ...at, group })
  }
  const voters = places.map(({ id, host, clusterPort }) => `${id}@${host}:${clusterPort}`).join()
  const startNode = makeStart(voters)
  const running: ClusterNodeProcess[] = []
  const start = async (place: Place): Promise<ClusterNodeProcess> => {
    const own = join(folder, `node-${place.id}`)
    mkdirSync(own, { recursive: true })
    const node = await startNode(place, own)
    running[place.id - 1] = node
    return node
  }
  await Promise.all(places.map(start))
  return {
    nodes: running,
    restart: (id) => start(places[id - 1] as Place),
    stop: async () => {
      await Promise.all(running.map(({ child }) => stopProcess(child)))
      for (const { group } of places) await group?.remove()
    },
  }
}

export function startMillraceCluster(options: ClusterOptions): Promise<RunningCluster> {
  return startCluster(
    options,
    (voters) =>
      async ({ id, host, runWith, port, clusterPort, group }, folder) => {
        const dataDir = join(folder, 'data')
        const broker = await startBroker({
          dataDir,
          logFile: join(folder, 'broker.log'),
          shards: 1,
          settings: [
            `node.id=${id}`,
            `controller.quorum.voters=${voters}`,
            `millrace.cluster.secret=${CLUSTER_SECRET}`,
            ...options.settings,
          ],
          nodeArgs: ['--max-semi-space-size=64'],
          group,
          host,
          runWith,
          kafkaPort: port,
          readyTimeoutMs: READY_TIMEOUT_MS,
        })
        const { child, pid, httpPort, readyMs } = broker
        return { id, pid, host, port, httpPort, clusterPort, readyMs, child, dataDir }
      },
  )
}

/** On loopback only. */
export function startKafkaCluster(options: ClusterOptions): Promise<RunningCluster> {
  return startCluster(options, (voters) => async ({ id, port, clusterPort, group }, folder) => {
    const node = { id, port, controllerPort: clusterPort, voters }
    const { settings } = options
    const startedMs = performance.now()
    const { child, pid, dataDir } = await startKafka({ folder, settings, group, node })
    const readyMs = performance.now() - startedMs
    return { id, pid, host: LOOPBACK, port, httpPort: 0, clusterPort, readyMs, child, dataDir }
  })
}

/** Undefined where there are no cgroups: then all of them go without. */
function groupOf(id: number, bytes: number): MemoryGroup | undefined {
  const made = MemoryGroup.create(`millrace-node-${process.pid}-${id}-${Date.now()}`, bytes)
  if (typeof made === 'string') return undefined
  ownGroup(made)
  return made
}
