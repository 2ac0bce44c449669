/**
 * `millrace cluster reassign` and `rebalance`: other replicas for partitions, as somebody says or
 * as is even; and what is under way.
 */
import { Command, InvalidArgumentError } from 'commander'
import type { KafkaAdmin } from '../client/kafka-admin.ts'
import { type ClusterView, nameOf } from '../client/kafka-cluster.ts'
import { KafkaConfigs } from '../client/kafka-configs.ts'
import { agree, bar, clusterOf, counted, nodeIds, some } from './cluster-command.ts'
import { cancel, carryOut, leadAsPreferred, settle } from './cluster-move.ts'
import { copiesOf, countByBroker, type PlannedMove, planRebalance } from './cluster-plan.ts'
import {
  LIFTED_BY,
  type Limits,
  lift,
  liftWhatIsOver,
  limitsOf,
  type ThrottledCluster,
  throttle,
} from './cluster-throttle.ts'
import { CommandError } from './command-error.ts'
import {
  type Shared,
  shared,
  type TopicPart,
  topicParts,
  whole,
  withAdmin,
} from './kafka-command.ts'
import { type Cell, formatJson, formatTable, type Streams } from './output.ts'

const AT_ONCE = 20
const AT_ONCE_MAX = 10_000
const BYTES_MAX = 1_000_000_000_000
/** More than these are counted, not listed. */
const MOVES_SHOWN_MAX = 20

export interface MovingOptions extends Shared {
  readonly atOnce: number
  readonly throttle?: number
  readonly yes?: boolean
  readonly dryRun?: boolean
}

/** Options of what moves replicas. */
export function moving(command: Command): Command {
  return shared(command)
    .option(
      '--at-once <count>',
      'partitions that are copied at the same time',
      whole(AT_ONCE_MAX),
      AT_ONCE,
    )
    .option('--throttle <bytes>', 'bytes a second that each broker copies at most', bytes)
    .option('--dry-run', 'only show what would move')
    .option('-y, --yes', 'do it without asking')
}

interface ReassignOptions extends MovingOptions {
  readonly topic?: readonly TopicPart[]
  readonly partitions?: readonly number[]
  readonly to?: readonly number[]
  readonly status?: boolean
  readonly cancel?: boolean
  readonly unthrottle?: boolean
  readonly wait: boolean
}

export function reassignCommand(streams: Streams): Command {
  return moving(new Command('reassign'))
    .description('give partitions other replicas; show or cancel what is under way')
    .option('-t, --topic <topic[:partitions]>', 'a topic, or some of it; may repeat', topicParts)
    .option('-p, --partitions <numbers>', 'only these partitions of the topic', numbers)
    .option('--to <ids>', 'the brokers that are to have them, the preferred leader first', nodeIds)
    .option('--no-wait', 'begin all of it and do not wait')
    .option('--status', 'show what is under way')
    .option('--cancel', 'take back what is under way: all of it, or of --topic')
    .option('--unthrottle', 'take off all limits of replication')
    .addHelpText(
      'after',
      `
A partition keeps its old replicas until all new ones are in sync: it can be read and written all
the time, and cancelled until then. The number of replicas may change as well.

--throttle sets Kafka's limits (leader/follower.replication.throttled.…) and takes them off at the
end, as --cancel does. With --no-wait, or after Ctrl-C, they stay: what goes on must not go faster
than was asked for. --status says so, and --unthrottle takes them off.

Examples:
  $ millrace cluster reassign --topic orders:0,1 --to 2,3,4 --yes
  $ millrace cluster reassign --topic orders --to 1,2,3 --dry-run
  $ millrace cluster reassign --status
  $ millrace cluster reassign --cancel --topic orders
  $ millrace cluster rebalance            # spreads everything evenly by itself`,
    )
    .action(async (options: ReassignOptions, command: Command) => {
      const { to, topic: parts = [] } = options
      const isMove = to !== undefined
      const wants = [options.status, options.cancel, options.unthrottle, isMove]
      if (wants.filter((one) => one === true).length !== 1) {
        command.error('error: name one of --to, --status, --cancel and --unthrottle')
      }
      if (isMove && parts.length === 0) command.error('error: name the --topic')
      if (options.partitions !== undefined && parts.length !== 1) {
        command.error('error: --partitions is for one --topic')
      }
      const named = namedBy(parts, options.partitions ?? null)
      await withAdmin(options, async (admin) => {
        const cluster = clusterOf(admin)
        if (options.status === true) await showStatus(admin, { options, streams })
        else if (options.cancel === true) await cancelNamed(admin, { named, options, streams })
        else if (options.unthrottle === true) await unthrottle(admin, { options, streams })
        else {
          const view = await cluster.describe()
          const moves = explicitMoves(view, named as Named, to as readonly number[])
          await move(admin, { view, moves, options, streams })
        }
      })
    })
}

interface RebalanceOptions extends MovingOptions {
  readonly brokers?: readonly number[]
  readonly wait?: boolean
}

export function rebalanceCommand(streams: Streams): Command {
  return moving(new Command('rebalance'))
    .description('spread replicas and leaders evenly over the brokers, new ones as well')
    .option('--brokers <ids>', 'over these and no others (default: all that are active)', nodeIds)
    .addHelpText(
      'after',
      `
Copies no more than it has to, keeps replicas on different racks, and shows the plan before it does
anything. Ctrl-C stops it; what has begun goes on, and the next rebalance does the rest.

Examples:
  $ millrace cluster rebalance --dry-run
  $ millrace cluster rebalance --yes --at-once 5
  $ millrace cluster rebalance --brokers 1,2,3`,
    )
    .action(async (options: RebalanceOptions) => {
      await withAdmin(options, async (admin) => {
        const cluster = clusterOf(admin)
        if (options.dryRun !== true) await settle(cluster, streams)
        const view = await cluster.describe()
        const moves = planRebalance(brokersFor(view, options.brokers), view.partitions)
        await move(admin, { view, moves, options, streams })
      })
    })
}

/** Throws CommandError where it is not clear that a broker is to lose all it has. */
function brokersFor(view: ClusterView, ids: readonly number[] | undefined) {
  const active = view.brokers.filter(({ isFenced }) => !isFenced)
  if (ids !== undefined) {
    const unknown = ids.filter((id) => !active.some((broker) => broker.id === id))
    if (unknown.length === 0) return active.filter(({ id }) => ids.includes(id))
    throw new CommandError(`broker ${unknown.join(', ')} is not there, or is fenced: start it`)
  }
  const used = new Set(view.partitions.flatMap(({ replicas }) => replicas))
  const down = [...used].filter((id) => !active.some((broker) => broker.id === id))
  if (down.length === 0) return active
  const list = down.sort((a, b) => a - b).join(', ')
  throw new CommandError(
    `broker ${list} has replicas and is not there: start it, or take it out with ` +
      `millrace cluster decommission ${down[0]}; --brokers leaves it out on purpose`,
  )
}

// —— what is meant ——

type Named = ReadonlyMap<string, readonly number[] | null>

function namedBy(parts: readonly TopicPart[], partitions: readonly number[] | null): Named | null {
  if (parts.length === 0) return null
  return new Map(parts.map((part) => [part.topic, partitions ?? part.partitions]))
}

function isNamed(named: Named, topic: string, partition: number): boolean {
  const partitions = named.get(topic)
  return partitions === null || (partitions?.includes(partition) ?? false)
}

/** Throws CommandError for what is not there. */
function explicitMoves(view: ClusterView, named: Named, to: readonly number[]): PlannedMove[] {
  const known = new Set(view.partitions.map(nameOf))
  for (const [topic, partitions] of named) {
    for (const partition of partitions ?? [0]) {
      const name = nameOf({ topic, partition })
      if (!known.has(name)) throw new CommandError(`there is no partition ${name}`)
    }
  }
  const unknown = to.filter((id) => !view.brokers.some((broker) => broker.id === id))
  if (unknown.length > 0) throw new CommandError(`there is no broker ${unknown.join(', ')}`)
  return view.partitions
    .filter(({ topic, partition, replicas }) => {
      return isNamed(named, topic, partition) && replicas.join() !== to.join()
    })
    .map(({ topic, partition, replicas: from }) => ({ topic, partition, from, to }))
}

// —— what is done ——

export interface MoveRequest {
  readonly view: ClusterView
  readonly moves: readonly PlannedMove[]
  readonly options: MovingOptions & { readonly wait?: boolean }
  readonly streams: Streams
}

/** Shows the plan, asks, carries it out. Returns false for a dry run. */
export async function move(admin: KafkaAdmin, request: MoveRequest): Promise<boolean> {
  const { view, moves, options, streams } = request
  const cluster = clusterOf(admin)
  const copies = moves.reduce((sum, one) => sum + copiesOf(one), 0)
  const isJson = options.format === 'json'
  if (!isJson) streams.out(formatPlan(view, moves, copies))
  let elected = 0
  if (options.dryRun !== true) {
    if (moves.length > 0) {
      if (options.yes !== true) await agree(`Move ${counted(copies, 'replica')}?`)
      await carryOutWith(admin, request)
    }
    if (options.wait !== false) {
      const names = new Set(moves.map(nameOf))
      elected = await leadAsPreferred(
        cluster,
        (one) => moves.length === 0 || names.has(nameOf(one)),
      )
    }
  }
  const done = options.dryRun !== true
  if (isJson) streams.out(formatJson({ moves, copies, elected, done }))
  else if (done && options.wait === false) streams.out('Begun: --status shows how far it is')
  else if (done && moves.length > 0) {
    streams.out(`Moved ${counted(moves.length, 'partition')}, ${counted(copies, 'replica')} copied`)
  }
  return done
}

async function carryOutWith(admin: KafkaAdmin, request: MoveRequest): Promise<void> {
  const { moves, options, streams, view } = request
  const cluster = clusterOf(admin)
  const throttled = throttledBy(admin, view)
  const limits: Limits =
    options.throttle === undefined
      ? { brokers: [], topics: [] }
      : await throttle(throttled, moves, options.throttle)
  const isLimited = limits.brokers.length > 0
  if (options.wait === false) {
    const all = moves.map(({ topic, partition, to }) => ({ topic, partition, replicas: to }))
    const outcomes = await cluster.reassign(all)
    const refused = outcomes.flatMap(({ refusal }) => refusal?.message ?? [])
    if (isLimited) streams.err(`The limit stays: ${LIFTED_BY}`)
    if (refused.length > 0) throw new CommandError(some(refused, 3))
    return
  }
  try {
    await carryOut(cluster, moves, { atOnce: options.atOnce, streams })
  } finally {
    if (isLimited) {
      const left = await liftWhatIsOver(throttled, limits, await cluster.reassignments())
      if (left.brokers.length > 0) streams.err(`What goes on is limited still: ${LIFTED_BY}`)
    }
  }
}

function throttledBy(admin: KafkaAdmin, view: ClusterView): ThrottledCluster {
  const active = view.brokers.filter(({ isFenced }) => !isFenced)
  return {
    brokers: active.map(({ id }) => id),
    configsOf: async (id) => {
      const broker = active.find((one) => one.id === id)
      if (broker === undefined) throw new CommandError(`broker ${id} is not there`)
      return new KafkaConfigs(await admin.brokers.at(broker))
    },
  }
}

/** What moves, and what each broker has before and after, to look at. */
function formatPlan(view: ClusterView, moves: readonly PlannedMove[], copies: number): string {
  if (moves.length === 0) return 'Nothing has to move'
  const to = new Map(moves.map((one) => [nameOf(one), one.to]))
  const before = countByBroker(view.partitions)
  const after = countByBroker(
    view.partitions.map((one) => ({ replicas: to.get(nameOf(one)) ?? one.replicas })),
  )
  const ids = [...new Set([...view.brokers.map(({ id }) => id), ...after.keys()])]
  const most = Math.max(...[...before.values(), ...after.values()].map(({ replicas }) => replicas))
  const none = { replicas: 0, leaders: 0 }
  const rows = ids.map((id): Cell[] => {
    const was = before.get(id) ?? none
    const is = after.get(id) ?? none
    return [
      id,
      `${bar(was.replicas, most)} ${was.replicas}`,
      `${bar(is.replicas, most)} ${is.replicas}`,
      `${was.leaders} → ${is.leaders}`,
    ]
  })
  const shown = moves.slice(0, MOVES_SHOWN_MAX)
  const list = shown.map((one): Cell[] => [nameOf(one), one.from.join(), one.to.join()])
  const more = moves.length - shown.length
  return [
    formatTable(['PARTITION', 'REPLICAS NOW', 'THEN'], list),
    ...(more > 0 ? [`… and ${more} more`] : []),
    '',
    formatTable(['BROKER', 'REPLICAS NOW', 'THEN', 'LEADERS'], rows),
    '',
    `${counted(moves.length, 'partition')} to change, ${counted(copies, 'replica')} to copy`,
  ].join('\n')
}

interface AskedOfMoves {
  readonly options: ReassignOptions
  readonly streams: Streams
}

async function showStatus(admin: KafkaAdmin, { options, streams }: AskedOfMoves): Promise<void> {
  const cluster = clusterOf(admin)
  const under = await cluster.reassignments()
  const view = await cluster.describe()
  const inSync = new Map(view.partitions.map((one) => [nameOf(one), one.inSyncReplicas]))
  const list = under.map((one) => {
    const arrived = one.adding.filter((id) => inSync.get(nameOf(one))?.includes(id) ?? false)
    return { ...one, arrived }
  })
  if (options.format === 'json') {
    streams.out(formatJson(list))
    return
  }
  if (list.length === 0) streams.out('Nothing is under way')
  else {
    const rows = list.map((one): Cell[] => [
      nameOf(one),
      one.adding.join() || null,
      one.removing.join() || null,
      `${bar(one.arrived.length, one.adding.length)} ${one.arrived.length} of ${one.adding.length}`,
    ])
    streams.out(formatTable(['PARTITION', 'COMING', 'GOING', 'IN SYNC'], rows))
  }
  const { brokers } = await limitsOf(throttledBy(admin, view), [])
  if (brokers.length === 0) return
  streams.out(`Replication is limited at broker ${some(brokers.map(String))}: ${LIFTED_BY}`)
}

async function cancelNamed(
  admin: KafkaAdmin,
  { named, options, streams }: AskedOfMoves & { readonly named: Named | null },
): Promise<void> {
  const cluster = clusterOf(admin)
  const outcomes = await cancel(cluster, ({ topic, partition }) => {
    return named === null || isNamed(named, topic, partition)
  })
  const refused = outcomes.flatMap(({ refusal }) => refusal?.message ?? [])
  if (refused.length > 0) throw new CommandError(some(refused, 3))
  const throttled = throttledBy(admin, await cluster.describe())
  const limits = await limitsOf(throttled, [...new Set(outcomes.map(({ topic }) => topic))])
  const left = await liftWhatIsOver(throttled, limits, await cluster.reassignments())
  const cancelled = outcomes.map(nameOf)
  if (options.format === 'json') streams.out(formatJson({ cancelled }))
  else if (cancelled.length === 0) streams.out('Nothing is under way')
  else streams.out(`Cancelled: ${some(cancelled)}`)
  if (left.brokers.length > 0) streams.err(`What goes on is limited still: ${LIFTED_BY}`)
}

async function unthrottle(admin: KafkaAdmin, { options, streams }: AskedOfMoves): Promise<void> {
  const view = await clusterOf(admin).describe()
  const throttled = throttledBy(admin, view)
  const topics = new Set(view.partitions.map(({ topic }) => topic))
  const limits = await limitsOf(throttled, [...topics])
  await lift(throttled, limits)
  const { brokers } = limits
  if (options.format === 'json') streams.out(formatJson(limits))
  else if (brokers.length + limits.topics.length === 0) streams.out('Nothing is limited')
  else {
    const where = `${counted(brokers.length, 'broker')}, ${counted(limits.topics.length, 'topic')}`
    streams.out(`Taken off: the limits of ${where}`)
  }
}

function bytes(text: string): number {
  const value = /^\d{1,13}$/.test(text) ? Number(text) : 0
  if (value < 1 || value > BYTES_MAX) throw new InvalidArgumentError('Expected bytes a second.')
  return value
}

function numbers(text: string): number[] {
  if (!/^\d{1,9}(,\d{1,9})*$/.test(text)) {
    throw new InvalidArgumentError('Expected numbers of partitions, such as 0,1.')
  }
  return text.split(',').map(Number)
}
