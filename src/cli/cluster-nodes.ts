/**
 * The nodes of a local cluster: where each one listens and keeps its data, and the command line
 * that starts it. Pure.
 */
import { join } from 'node:path'

export interface LocalNode {
  readonly id: number
  readonly name: string
  readonly kafkaPort: number
  readonly httpPort: number
  readonly clusterPort: number
  readonly dataDir: string
}

export interface LocalCluster {
  readonly nodes: number
  /** Those that there have ever been: who votes must not depend on who is started this time. */
  readonly nodesKnown: number
  readonly dataDir: string
  /** Of the first node; the others count up. */
  readonly kafkaPort: number
  readonly httpPort: number
  readonly clusterPort: number
  /** Threads that own partitions, of each node. */
  readonly shards: number
  /** name=value, for every node; these win. */
  readonly set: readonly string[]
}

/** Three votes survive one loss; more would only make every change wait for more disks. */
const CONTROLLERS = 3
const REPLICAS = 3
const HOST = '127.0.0.1'

export function localNodes(cluster: LocalCluster): LocalNode[] {
  return nodesOf(cluster, cluster.nodes)
}

function nodesOf(cluster: LocalCluster, count: number): LocalNode[] {
  return Array.from({ length: count }, (_, i) => ({
    id: i + 1,
    name: `node-${i + 1}`,
    kafkaPort: cluster.kafkaPort + i,
    httpPort: cluster.httpPort + i,
    clusterPort: cluster.clusterPort + i,
    dataDir: join(cluster.dataDir, `node-${i + 1}`),
  }))
}

/** Two of two would both have to be there always: then one is enough. */
export function controllersOf(cluster: LocalCluster): string {
  const voters = nodesOf(cluster, cluster.nodesKnown >= CONTROLLERS ? CONTROLLERS : 1)
  return voters.map(({ id, clusterPort }) => `${id}@${HOST}:${clusterPort}`).join()
}

export function replicationFactorOf({ nodes }: Pick<LocalCluster, 'nodes'>): number {
  return Math.min(REPLICAS, nodes)
}

/** What follows `millrace`. The secret is not in it: it is for the environment. */
export function startArguments(
  cluster: LocalCluster,
  node: LocalNode,
  { isPretty }: { readonly isPretty: boolean },
): string[] {
  const set = [
    `default.replication.factor=${replicationFactorOf(cluster)}`,
    ...(isPretty ? ['millrace.log.format=pretty'] : []),
    ...cluster.set,
  ]
  return [
    'start',
    '--node-id',
    String(node.id),
    '--controllers',
    controllersOf(cluster),
    '--cluster',
    `${HOST}:${node.clusterPort}`,
    '--kafka',
    `${HOST}:${node.kafkaPort}`,
    '--http',
    `${HOST}:${node.httpPort}`,
    '--data-dir',
    node.dataDir,
    '--shards',
    String(cluster.shards),
    ...set.flatMap((one) => ['--set', one]),
  ]
}

export function bootstrapOf(nodes: readonly LocalNode[]): string {
  return nodes.map(({ kafkaPort }) => `${HOST}:${kafkaPort}`).join()
}
