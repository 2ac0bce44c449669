import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import { type BrokerOptions, startBroker, type TestBroker } from './broker.ts'
import { freePort } from './ports.ts'
import { RawClient } from './raw-client.ts'

/** Several real broker processes that are one cluster, each a controller as well. */
export interface TestCluster {
  /** By node id; of a node that is down, what it was. */
  readonly brokers: ReadonlyMap<number, TestBroker>
  /** Of all of them. */
  readonly bootstrap: string
  /** As `--controllers` takes it. */
  readonly controllers: string
  /** Starts a node again that has ended, on what it has left. */
  restart(id: number): Promise<TestBroker>
  output(): string
  stop(): Promise<void>
}

const SEEN_MS_MAX = 30_000
const METADATA_VERSION = 9

export const CLUSTER_SECRET = 'the secret of a test'

export interface ClusterOptions extends BrokerOptions {
  /** Default: 3. */
  readonly nodes?: number
  /** Of the first node; default: 1. */
  readonly firstId?: number
  /** Fixed Kafka ports, in the order of the nodes. */
  readonly ports?: readonly number[]
  /** Log directories of one node beside the one that each has; whoever made them removes them. */
  readonly directoriesOf?: (id: number) => readonly string[]
  /** Options of one node, beside those of all. */
  readonly setOf?: (node: {
    readonly id: number
    readonly port: number
  }) => Readonly<Record<string, string>>
}

export async function startCluster(options: ClusterOptions = {}): Promise<TestCluster> {
  const firstId = options.firstId ?? 1
  const ids = Array.from({ length: options.nodes ?? 3 }, (_, i) => firstId + i)
  const places = await Promise.all(
    ids.map(async (id, i) => ({
      id,
      dataDirs: [mkdtempSync(join(tmpdir(), `millrace-test-n${id}-`))],
      port: options.ports?.[i] ?? (await freePort()),
      httpPort: await freePort(),
      clusterPort: await freePort(),
    })),
  )
  const controllers = places.map(({ id, clusterPort }) => `${id}@127.0.0.1:${clusterPort}`).join()
  const brokers = new Map<number, TestBroker>()
  const start = async (id: number): Promise<TestBroker> => {
    const { dataDirs, port, httpPort } = places[id - firstId] as (typeof places)[number]
    const broker = await startBroker({
      shards: 1,
      ...options,
      dataDirs,
      port,
      httpPort,
      set: {
        'node.id': String(id),
        'controller.quorum.voters': controllers,
        ...options.set,
        'log.dirs': [...dataDirs, ...(options.directoriesOf?.(id) ?? [])].join(),
        ...options.setOf?.({ id, port }),
      },
      environment: { MILLRACE_CLUSTER_SECRET: CLUSTER_SECRET, ...options.environment },
    })
    brokers.set(id, broker)
    return broker
  }
  const output = (): string =>
    [...brokers].map(([id, broker]) => `--- node ${id} ---\n${broker.output()}`).join('\n')
  const stop = async (): Promise<void> => {
    await Promise.all([...brokers.values()].map((broker) => broker.stop()))
    for (const broker of brokers.values()) broker.cleanUp()
  }
  const started = await Promise.allSettled(ids.map(start))
  await Promise.allSettled(
    [...brokers.values()].map((broker) => untilAllAreSeen(broker, ids.length)),
  )
  const failed = started.find((one) => one.status === 'rejected')
  if (failed !== undefined) {
    await stop()
    throw failed.reason
  }
  return {
    brokers,
    controllers,
    bootstrap: places.map(({ port }) => `127.0.0.1:${port}`).join(),
    restart: start,
    output,
    stop,
  }
}

/** Ready is who may lead; what it knows of the others comes a moment later. */
async function untilAllAreSeen({ port }: TestBroker, count: number): Promise<void> {
  const client = await RawClient.open(port)
  try {
    const deadline = Date.now() + SEEN_MS_MAX
    while (Date.now() < deadline) {
      const { brokers } = await client.request(ApiKey.METADATA, METADATA_VERSION, { topics: [] })
      if (brokers.length === count) return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  } finally {
    client.close()
  }
}

/** Runs `use` with a cluster that is stopped and removed afterwards; a failure shows its output. */
export async function withCluster(
  options: ClusterOptions,
  use: (cluster: TestCluster) => Promise<void>,
): Promise<void> {
  const cluster = await startCluster(options)
  try {
    await use(cluster)
  } catch (error) {
    process.stderr.write(`${cluster.output()}\n---\n`)
    throw error
  } finally {
    await cluster.stop()
  }
}
