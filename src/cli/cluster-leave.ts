/** `millrace cluster drain` and `decommission`: a broker that is to do less, or to go. */
import { Command } from 'commander'
import type { ClusterBroker, ClusterView, KafkaCluster } from '../client/kafka-cluster.ts'
import { nameOf } from '../client/kafka-cluster.ts'
import { clusterOf, counted, nodeId, some, withCluster } from './cluster-command.ts'
import { carryOut, leadAsPreferred, settle } from './cluster-move.ts'
import { planDrain, planVacate } from './cluster-plan.ts'
import { type MovingOptions, move, moving } from './cluster-reassign.ts'
import { CommandError } from './command-error.ts'
import { type Shared, shared, withAdmin } from './kafka-command.ts'
import { formatJson, type Streams } from './output.ts'

const REORDERS_AT_ONCE = 100

export function drainCommand(streams: Streams): Command {
  return shared(new Command('drain'))
    .description('let other brokers lead what a broker leads; it keeps its replicas')
    .argument('<id>', 'the broker', nodeId)
    .addHelpText(
      'after',
      `
Copies nothing: whoever is in sync leads. Partitions of topics that are created later may be led by
it again, and millrace cluster rebalance gives it its share back.

Examples:
  $ millrace cluster drain 2`,
    )
    .action(async (id: number, options: Shared) => {
      await withCluster(options, async (cluster) => {
        const view = await cluster.describe()
        brokerOf(view, id)
        if (options.format !== 'json') await settle(cluster, streams)
        await drain(cluster, id, { options, streams })
      })
    })
}

async function drain(
  cluster: KafkaCluster,
  id: number,
  { options, streams }: { readonly options: Shared; readonly streams: Streams },
): Promise<void> {
  const before = await cluster.describe()
  const active = before.brokers.filter((one) => !one.isFenced).map((one) => one.id)
  const led = before.partitions.filter(({ leader }) => leader === id).length
  const moves = planDrain(
    id,
    before.partitions.map((one) => {
      return { ...one, mayLead: one.inSyncReplicas.filter((other) => active.includes(other)) }
    }),
  )
  if (moves.length > 0) await carryOut(cluster, moves, { atOnce: REORDERS_AT_ONCE, streams })
  await leadAsPreferred(cluster, ({ replicas }) => replicas[0] !== id)
  const after = await cluster.describe()
  const left = after.partitions.filter(({ leader }) => leader === id).map(nameOf)
  const passedOn = led - left.length
  if (options.format === 'json') streams.out(formatJson({ brokerId: id, passedOn, left }))
  else streams.out(`Broker ${id} has passed on ${counted(passedOn, 'partition')}`)
  if (left.length === 0) return
  const why = 'it has their only replica that is in sync'
  throw new CommandError(`broker ${id} still leads ${some(left)}: ${why}`)
}

interface DecommissionOptions extends MovingOptions {
  readonly unregister?: boolean
}

export function decommissionCommand(streams: Streams): Command {
  return moving(new Command('decommission'))
    .description('move everything off a broker, so that it can go')
    .argument('<id>', 'the broker', nodeId)
    .option('--unregister', 'the broker is stopped and empty: it is no member any more')
    .addHelpText(
      'after',
      `
Three steps: move everything off it, stop it, take it out. A broker that is lost for good can be
decommissioned as well: what it had is copied from the others.

Examples:
  $ millrace cluster decommission 3
  $ millrace cluster decommission 3 --unregister     # once it is stopped`,
    )
    .action(async (id: number, options: DecommissionOptions) => {
      await (options.unregister === true
        ? withCluster(options, (cluster) => unregister(cluster, id, { options, streams }))
        : decommission(id, { options, streams }))
    })
}

interface Leaving {
  readonly options: DecommissionOptions
  readonly streams: Streams
}

async function decommission(id: number, { options, streams }: Leaving): Promise<void> {
  await withAdmin(options, async (admin) => {
    const cluster = clusterOf(admin)
    const broker = brokerOf(await cluster.describe(), id)
    if (options.dryRun !== true) await settle(cluster, streams)
    const view = await cluster.describe()
    const others = view.brokers.filter((one) => one.id !== id)
    // One that is away keeps what it has: this is about one broker only.
    const targets = others.map(({ id, rack, isFenced }) => ({ id, rack, takes: !isFenced }))
    const own = view.partitions.filter(({ replicas }) => replicas.includes(id))
    const moves = planVacate(targets, own)
    const isDone = await move(admin, { view, moves, options, streams })
    if (!isDone || options.format === 'json') return
    const { voters } = await cluster.quorum()
    streams.out(nextSteps(broker, { isVoter: voters.some((voter) => voter.id === id) }))
  })
}

function nextSteps({ id, isFenced }: ClusterBroker, { isVoter }: { isVoter: boolean }): string {
  const votes = `let it vote no more:  millrace cluster quorum remove ${id}`
  const steps = [
    ...(isVoter ? [votes] : []),
    ...(isFenced ? [] : ['stop its process (Ctrl-C, or SIGTERM)']),
    `take it out:          millrace cluster decommission ${id} --unregister`,
  ]
  const list = steps.map((step, i) => `  ${i + 1}. ${step}`)
  return [`Broker ${id} has no replica any more. Now`, ...list].join('\n')
}

async function unregister(
  cluster: KafkaCluster,
  id: number,
  { options, streams }: Leaving,
): Promise<void> {
  const view = await cluster.describe()
  const broker = brokerOf(view, id)
  const left = view.partitions.filter(({ replicas }) => replicas.includes(id)).map(nameOf)
  if (left.length > 0) {
    const first = `millrace cluster decommission ${id} moves them off it`
    throw new CommandError(`broker ${id} has replicas of ${some(left)}: ${first}`)
  }
  if (!broker.isFenced) throw new CommandError(`broker ${id} is running: stop it first`)
  const { voters } = await cluster.quorum()
  if (voters.some((voter) => voter.id === id)) {
    const first = `millrace cluster quorum remove ${id}`
    throw new CommandError(`node ${id} votes in the quorum: ${first} comes first`)
  }
  await cluster.unregister(id)
  if (options.format === 'json') streams.out(formatJson({ brokerId: id, unregistered: true }))
  else streams.out(`Broker ${id} is no member any more`)
}

function brokerOf(view: ClusterView, id: number): ClusterBroker {
  const broker = view.brokers.find((one) => one.id === id)
  if (broker === undefined) {
    const hint = `a controller that is no broker goes with millrace cluster quorum remove ${id}`
    throw new CommandError(`there is no broker ${id}; ${hint}`)
  }
  return broker
}
