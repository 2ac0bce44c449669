/**
 * Carries out planned moves, so many partitions at a time, and shows how far they are. What has
 * begun is the cluster's business: it goes on when the command ends.
 */
import {
  type KafkaCluster,
  type Move,
  nameOf,
  type Outcome,
  type PartitionName,
} from '../client/kafka-cluster.ts'
import { counted, some } from './cluster-command.ts'
import { copiesOf, type PlannedMove } from './cluster-plan.ts'
import { CommandError } from './command-error.ts'
import { CountBar } from './count-bar.ts'
import type { Streams } from './output.ts'

const LOOK_MS = 200
/** A change of order costs nothing, but a request should not name everything there is. */
const REQUEST_MOVES_MAX = 500
/** Nothing has moved for so long: say what is waited for. */
const PATIENCE_MS = 15_000

const GOES_ON =
  'What is under way goes on: millrace cluster reassign --status shows it, --cancel takes it back'

export interface MoveOptions {
  /** Partitions that are copied at the same time. */
  readonly atOnce: number
  readonly streams: Streams
}

/** Throws CommandError when a move is refused, undone by somebody, or Ctrl-C has come. */
export async function carryOut(
  cluster: KafkaCluster,
  moves: readonly PlannedMove[],
  { atOnce, streams }: MoveOptions,
): Promise<void> {
  const queue = moves.map(({ topic, partition, to }) => ({ topic, partition, replicas: to }))
  const reorders = new Set(moves.filter((move) => copiesOf(move) === 0).map(nameOf))
  let copying: Move[] = []
  let begun = 0
  await watched(cluster, { label: 'moving', total: moves.length, streams }, async (moving) => {
    copying = copying.filter((move) => moving.has(nameOf(move)))
    while (begun < queue.length && copying.length < atOnce) {
      const room = atOnce - copying.length
      const next = nextOf(queue, begun, { room, isFree: (move) => reorders.has(nameOf(move)) })
      begun += next.length
      refuse(await cluster.reassign(next), begun - next.length)
      copying.push(...next.filter((move) => !reorders.has(nameOf(move))))
    }
    return { done: begun - copying.length, isOver: begun === queue.length && copying.length === 0 }
  })
  await verify(cluster, moves)
}

/** Waits for what somebody has begun before. */
export async function settle(cluster: KafkaCluster, streams: Streams): Promise<void> {
  const total = (await cluster.reassignments()).length
  if (total === 0) return
  streams.err(`${counted(total, 'partition')} on the way already: that comes first`)
  await watched(cluster, { label: 'moving', total, streams }, async (moving) => {
    return { done: Math.max(0, total - moving.size), isOver: moving.size === 0 }
  })
}

/** Preferred leaders lead, where they can. */
export async function leadAsPreferred(
  cluster: KafkaCluster,
  isWanted: (partition: PartitionName & { readonly replicas: readonly number[] }) => boolean,
): Promise<number> {
  const { partitions } = await cluster.describe()
  const others = partitions.filter((one) => {
    const [preferred = -1] = one.replicas
    return one.leader !== preferred && one.inSyncReplicas.includes(preferred) && isWanted(one)
  })
  let elected = 0
  for (let i = 0; i < others.length; i += REQUEST_MOVES_MAX) {
    const outcomes = await cluster.electPreferred(others.slice(i, i + REQUEST_MOVES_MAX))
    elected += outcomes.filter(({ refusal }) => refusal === null).length
  }
  return elected
}

/** Everything that is under way, or only of some topics, goes back to where it was. */
export async function cancel(
  cluster: KafkaCluster,
  isMeant: (partition: PartitionName) => boolean,
): Promise<Outcome[]> {
  const meant = (await cluster.reassignments()).filter(isMeant)
  const moves = meant.map(({ topic, partition }) => ({ topic, partition, replicas: null }))
  return await cluster.reassign(moves)
}

// —— inside ——

type Look = (moving: ReadonlySet<string>) => Promise<{ done: number; isOver: boolean }>

/** Calls `look` with what is under way until it says that it is over; shows how far it is. */
async function watched(
  cluster: KafkaCluster,
  { label, total, streams }: { label: string; total: number; streams: Streams },
  look: Look,
): Promise<void> {
  const line = (text: string): void => streams.err(text)
  const progress = await CountBar.start({ label, unit: 'partitions', line })
  let isStopped = false
  const stop = (): void => {
    isStopped = true
  }
  process.once('SIGINT', stop)
  let best = -1
  let bestMs = performance.now()
  try {
    for (;;) {
      const under = await cluster.reassignments()
      const { done, isOver } = await look(new Set(under.map(nameOf)))
      if (done !== best) bestMs = performance.now()
      best = done
      const isSlow = performance.now() - bestMs > PATIENCE_MS
      progress.update(done, total, isSlow ? await waitedFor(cluster) : '')
      if (isOver) return
      if (isStopped) throw new CommandError(`stopped with ${done} of ${total} done. ${GOES_ON}`)
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  } finally {
    process.off('SIGINT', stop)
    progress.stop()
  }
}

async function waitedFor(cluster: KafkaCluster): Promise<string> {
  const { brokers } = await cluster.describe()
  const fenced = brokers.filter(({ isFenced }) => isFenced).map(({ id }) => id)
  const moving = await cluster.reassignments()
  const targets = [...new Set(moving.flatMap(({ adding }) => adding))]
  const down = targets.filter((id) => fenced.includes(id))
  return down.length > 0
    ? `waiting for broker ${down.join(', ')}, which is fenced`
    : `waiting for ${some(moving.map(nameOf), 3)}`
}

function nextOf(
  queue: readonly Move[],
  from: number,
  { room, isFree }: { readonly room: number; readonly isFree: (move: Move) => boolean },
): Move[] {
  const next: Move[] = []
  let copies = 0
  while (from + next.length < queue.length && next.length < REQUEST_MOVES_MAX) {
    const move = queue[from + next.length] as Move
    if (!isFree(move) && ++copies > room) break
    next.push(move)
  }
  return next
}

function refuse(outcomes: readonly Outcome[], begun: number): void {
  const refused = outcomes.flatMap(({ refusal }) => (refusal === null ? [] : [refusal.message]))
  if (refused.length === 0) return
  const goesOn = begun > 0 || refused.length < outcomes.length ? `. ${GOES_ON}` : ''
  throw new CommandError(`${some(refused, 3)}${goesOn}`)
}

/** Who else cancels or moves the same wins: that is said, not repaired. */
async function verify(cluster: KafkaCluster, moves: readonly PlannedMove[]): Promise<void> {
  const { partitions } = await cluster.describe()
  const now = new Map(partitions.map((one) => [nameOf(one), one.replicas]))
  const others = moves.filter((move) => {
    const replicas = now.get(nameOf(move))
    return replicas !== undefined && replicas.join() !== move.to.join()
  })
  if (others.length === 0) return
  const are = others.length === 1 ? 'is' : 'are'
  throw new CommandError(`${some(others.map(nameOf))} ${are} not where the plan has put them`)
}
