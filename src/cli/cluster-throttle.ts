/**
 * Bounds how fast replicas are copied, with Kafka's options (KIP-73): a rate of each broker, and
 * the replicas that it counts for. They stay until somebody takes them off, whatever becomes of
 * the command that has set them.
 */
import type { PartitionName } from '../client/kafka-cluster.ts'
import type { ConfigChange, ConfigResource, KafkaConfigs } from '../client/kafka-configs.ts'
import { some } from './cluster-command.ts'
import { copiesOf, type PlannedMove } from './cluster-plan.ts'
import { CommandError } from './command-error.ts'

const RATES = ['leader.replication.throttled.rate', 'follower.replication.throttled.rate'] as const
const REPLICAS = [
  'leader.replication.throttled.replicas',
  'follower.replication.throttled.replicas',
] as const

/** A list that would be longer is `*`: it lies in one record of the metadata. */
const LIST_CHARACTERS_MAX = 16 * 1024
/** Topics that are asked at the same time. */
const TOPICS_AT_ONCE = 50

export type ThrottleConfigs = Pick<KafkaConfigs, 'describe' | 'alter'>

/** A broker's options are asked and set where it is. */
export interface ThrottledCluster {
  /** Brokers that are there. */
  readonly brokers: readonly number[]
  readonly configsOf: (brokerId: number) => Promise<ThrottleConfigs>
}

/** What limits are set on, by name. */
export interface Limits {
  readonly brokers: readonly number[]
  readonly topics: readonly string[]
}

/**
 * Sets a rate on every broker that copies, and lists what it counts for. A broker that is not
 * there copies nothing. Throws CommandError, and leaves nothing set, when it cannot.
 */
export async function throttle(
  cluster: ThrottledCluster,
  moves: readonly PlannedMove[],
  bytesPerSecond: number,
): Promise<Limits> {
  const copies = moves.filter((move) => copiesOf(move) > 0)
  const concerned = new Set(copies.flatMap(({ from, to }) => [...from, ...to]))
  const brokers = cluster.brokers.filter((id) => concerned.has(id))
  const topics = [...new Set(copies.map(({ topic }) => topic))]
  if (brokers.length === 0) return { brokers: [], topics: [] }
  for (const id of brokers) await mustKnowRates(cluster, id)
  try {
    for (const id of brokers) {
      const configs = await cluster.configsOf(id)
      await configs.alter(brokerOf(id), RATES.map(setTo(String(bytesPerSecond))))
    }
    const configs = await cluster.configsOf(brokers[0] as number)
    for (const name of topics) {
      const own = copies.filter(({ topic }) => topic === name)
      const changes = REPLICAS.map((option, i) => setTo(replicasOf(own, i === 0))(option))
      await configs.alter({ type: 'topic', name }, changes)
    }
  } catch (error) {
    await lift(cluster, { brokers, topics }).catch(() => undefined) // The first error says more.
    throw error
  }
  return { brokers, topics }
}

/** Takes limits off, as many as it can; throws CommandError when some remain. */
export async function lift(cluster: ThrottledCluster, limits: Limits): Promise<void> {
  const left: string[] = []
  const off = async (
    what: string,
    at: number,
    run: (configs: ThrottleConfigs) => Promise<void>,
  ) => {
    try {
      await run(await cluster.configsOf(at))
    } catch {
      left.push(what)
    }
  }
  for (const id of limits.brokers) {
    await off(`broker ${id}`, id, (configs) => configs.alter(brokerOf(id), RATES.map(unset)))
  }
  const [asked] = cluster.brokers
  for (const name of limits.topics) {
    const resource = { type: 'topic', name } as const
    await off(name, asked as number, (configs) => configs.alter(resource, REPLICAS.map(unset)))
  }
  if (left.length === 0) return
  throw new CommandError(`replication is still limited at ${some(left)}: ${LIFTED_BY}`)
}

export const LIFTED_BY = 'millrace cluster reassign --unthrottle takes all limits off'

/** Who has set them does not matter. */
export async function limitsOf(
  cluster: ThrottledCluster,
  topics: readonly string[],
): Promise<Limits> {
  const brokers: number[] = []
  for (const id of cluster.brokers) {
    if (await isSet(await cluster.configsOf(id), brokerOf(id), RATES)) brokers.push(id)
  }
  const limited: string[] = []
  const [first] = cluster.brokers
  if (first === undefined) return { brokers, topics: limited }
  const configs = await cluster.configsOf(first)
  for (let i = 0; i < topics.length; i += TOPICS_AT_ONCE) {
    const names = topics.slice(i, i + TOPICS_AT_ONCE)
    const are = names.map((name) => isSet(configs, { type: 'topic', name }, REPLICAS))
    const found = await Promise.all(are)
    limited.push(...names.filter((_, at) => found[at]))
  }
  return { brokers, topics: limited }
}

/**
 * Takes off what was for copies that are not under way any more: rates once there are none at
 * all. Returns what is left, which goes on as it is limited.
 */
export async function liftWhatIsOver(
  cluster: ThrottledCluster,
  limits: Limits,
  underWay: readonly PartitionName[],
): Promise<Limits> {
  const busy = new Set(underWay.map(({ topic }) => topic))
  const brokers = underWay.length > 0 ? [] : limits.brokers
  await lift(cluster, { brokers, topics: limits.topics.filter((topic) => !busy.has(topic)) })
  if (underWay.length === 0) return { brokers: [], topics: [] }
  return { brokers: limits.brokers, topics: limits.topics.filter((topic) => busy.has(topic)) }
}

async function mustKnowRates(cluster: ThrottledCluster, id: number): Promise<void> {
  const configs = await cluster.configsOf(id)
  const known = await configs.describe(brokerOf(id), [...RATES])
  if (known.length === RATES.length) return
  throw new CommandError(
    `--throttle: broker ${id} is of a version that does not limit replication, and nothing was ` +
      'moved. --at-once bounds how many partitions are copied at the same time',
  )
}

async function isSet(
  configs: ThrottleConfigs,
  resource: ConfigResource,
  names: readonly string[],
): Promise<boolean> {
  const values = await configs.describe(resource, names)
  return values.some(({ source }) => source === resource.type)
}

/** PARTITION:BROKER,…: who sends is throttled as a leader, who comes new as a follower. */
function replicasOf(moves: readonly PlannedMove[], isLeader: boolean): string {
  const list = moves
    .flatMap(({ partition, from, to }) => {
      const ids = isLeader ? from : to.filter((id) => !from.includes(id))
      return ids.map((id) => `${partition}:${id}`)
    })
    .join()
  return list.length > LIST_CHARACTERS_MAX ? '*' : list
}

function brokerOf(id: number): ConfigResource {
  return { type: 'broker', name: String(id) }
}

const setTo =
  (value: string) =>
  (name: string): ConfigChange => ({ name, operation: 'set', value })

const unset = (name: string): ConfigChange => ({ name, operation: 'delete', value: null })
