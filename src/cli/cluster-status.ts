/** `millrace cluster status` and `millrace cluster health`: how a cluster is. */
import { Command } from 'commander'
import { AdminError } from '../client/admin-error.ts'
import { type KafkaCluster, nameOf } from '../client/kafka-cluster.ts'
import { ConnectionError } from '../client/kafka-connection.ts'
import { bar, counted, some, withCluster } from './cluster-command.ts'
import { type ClusterState, type Health, healthOf } from './cluster-health.ts'
import { CheckFailed } from './command-error.ts'
import { CountBar } from './count-bar.ts'
import { type Shared, shared, whole } from './kafka-command.ts'
import { type Cell, formatJson, formatTable, type Streams } from './output.ts'

const LOOK_MS = 250
const WAIT_S_MAX = 86_400

export async function stateOf(cluster: KafkaCluster): Promise<ClusterState> {
  const quorum = await cluster.quorum().catch((error: unknown) => {
    // It has died, and the next one is about to be elected.
    if (error instanceof AdminError) return null
    throw error
  })
  const view = await cluster.describe()
  return { quorum, view, reassignments: await cluster.reassignments() }
}

export function statusCommand(streams: Streams): Command {
  return shared(new Command('status'))
    .description('show the brokers, what each of them has, and what is short')
    .action(async (options: Shared) => {
      await withCluster(options, async (cluster) => {
        const state = await stateOf(cluster)
        const health = healthOf(state)
        const isJson = options.format === 'json'
        streams.out(isJson ? formatJson(statusOf(state, health)) : formatStatus(state, health))
      })
    })
}

function statusOf({ view, quorum, reassignments }: ClusterState, health: Health) {
  const { clusterId, topics, partitions } = view
  const offline = partitions.filter(({ leader }) => leader < 0)
  const short = partitions.filter((one) => one.inSyncReplicas.length < one.replicas.length)
  return {
    clusterId,
    controllerId: leaderOf({ view, quorum }),
    controllers: controllersOf({ view, quorum }),
    isHealthy: health.isHealthy,
    brokers: brokersOf(view),
    topics,
    partitions: partitions.length,
    offline: offline.map(nameOf),
    underReplicated: short.map(nameOf),
    reassignments: reassignments.map(nameOf),
  }
}

/** Clients are told of brokers only: where a node leads that is none, of one that passes on. */
function leaderOf({ view, quorum }: Pick<ClusterState, 'view' | 'quorum'>): number {
  return quorum !== null && quorum.leaderId >= 0 ? quorum.leaderId : view.controllerId
}

function controllersOf({ view, quorum }: Pick<ClusterState, 'view' | 'quorum'>) {
  const voters = quorum?.voters ?? []
  return voters.map(({ id }) => ({ id, isBroker: view.brokers.some((one) => one.id === id) }))
}

function brokersOf({ brokers, partitions }: ClusterState['view']) {
  const counts = brokers.map((broker) => ({ ...broker, leaders: 0, replicas: 0, notInSync: 0 }))
  const byId = new Map(counts.map((count) => [count.id, count]))
  for (const { leader, replicas, inSyncReplicas } of partitions) {
    const leads = byId.get(leader)
    if (leads !== undefined) leads.leaders++
    for (const id of replicas) {
      const count = byId.get(id)
      if (count === undefined) continue
      count.replicas++
      if (!inSyncReplicas.includes(id)) count.notInSync++
    }
  }
  return counts
}

function formatStatus(state: ClusterState, health: Health): string {
  const { view, reassignments } = state
  const brokers = brokersOf(view)
  const most = Math.max(0, ...brokers.map(({ replicas }) => replicas))
  const rows = brokers.map((one): Cell[] => [
    one.id,
    `${one.host}:${one.port}`,
    one.rack,
    one.isFenced ? 'fenced' : 'active',
    one.leaders,
    one.replicas,
    bar(one.replicas, most),
    one.notInSync,
  ])
  const head = ['BROKER', 'ADDRESS', 'RACK', 'STATE', 'LEADERS', 'REPLICAS', '', 'NOT IN SYNC']
  const { offline, underReplicated } = statusOf(state, health)
  const moving = reassignments.length > 0
  const leader = leaderOf(state)
  const controllers = controllersOf(state)
  const voters = controllers.map(({ id }) => id)
  const apart = controllers.filter(({ isBroker }) => !isBroker).map(({ id }) => id)
  return [
    `Cluster:    ${view.clusterId ?? '-'}`,
    `Controller: ${leader < 0 ? '(nobody)' : leader}`,
    ...(apart.length > 0
      ? [`Voters:     ${voters.join(', ')} (${apart.join(', ')} only that)`]
      : []),
    `Topics:     ${view.topics}, with ${counted(view.partitions.length, 'partition')}`,
    `In sync:    ${health.replicasInSync} of ${counted(health.replicas, 'replica')}`,
    ...(moving ? [`Moving:     ${some(reassignments.map(nameOf))}`] : []),
    ...(offline.length > 0 ? [`No leader:  ${some(offline)}`] : []),
    ...(underReplicated.length > 0 ? [`Short:      ${some(underReplicated)}`] : []),
    '',
    formatTable(head, rows),
    ...(health.isHealthy ? [] : ['', 'Not all is well: millrace cluster health says what to do']),
  ].join('\n')
}

interface HealthOptions extends Shared {
  readonly wait?: number
}

export function healthCommand(streams: Streams): Command {
  return shared(new Command('health'))
    .description('check that everything is there and in sync, else say what to do')
    .option('-w, --wait <seconds>', 'wait so long until all is well', whole(WAIT_S_MAX))
    .addHelpText(
      'after',
      `
Ends with 0 when a controller leads, more than half of the controllers are there, every partition
has a leader, and every replica is in sync; else with 1.

Examples:
  $ millrace cluster health
  $ millrace cluster health --wait 60 && ./next-step.sh`,
    )
    .action(async (options: HealthOptions) => {
      const health = await (options.wait === undefined
        ? look(options)
        : lookUntilHealthy(options, options.wait, streams))
      if (options.format === 'json') streams.out(formatJson(health))
      else streams.out(formatHealth(health))
      if (!health.isHealthy) throw new CheckFailed('the cluster is not healthy')
    })
}

async function look(options: Shared): Promise<Health> {
  let health: Health | null = null
  await withCluster(options, async (cluster) => {
    health = healthOf(await stateOf(cluster))
  })
  return health as unknown as Health
}

/** Also while nobody answers yet. */
async function lookUntilHealthy(
  options: Shared,
  seconds: number,
  streams: Streams,
): Promise<Health> {
  const deadlineMs = performance.now() + seconds * 1000
  const line = (text: string): void => streams.err(text)
  const progress = await CountBar.start({ label: 'in sync', unit: 'replicas', line })
  try {
    for (;;) {
      const isLast = performance.now() >= deadlineMs
      const health = await look(options).catch((error: unknown) => {
        if (isLast || !(error instanceof ConnectionError)) throw error
        return null
      })
      if (health !== null) {
        const [problem] = health.problems
        progress.update(health.replicasInSync, health.replicas, problem?.what ?? '')
        if (health.isHealthy || isLast) return health
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  } finally {
    progress.stop()
  }
}

function formatHealth({ isHealthy, problems, notes, replicas }: Health): string {
  const lines = isHealthy
    ? [`✓ All is well: ${counted(replicas, 'replica')}, all in sync`]
    : problems.flatMap(({ what, todo }) => [`✗ ${what}`, `  → ${todo}`])
  return [...lines, ...notes.map((note) => `· ${note}`)].join('\n')
}
