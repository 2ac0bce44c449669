/**
 * What is wrong in a cluster and what would help, in words. Pure.
 *
 * Healthy is a cluster in which somebody leads the quorum, a majority of its voters is there, every
 * partition has a leader, and every replica is in sync. Replicas that are just being added do not
 * count: they are on their way.
 */
import {
  type ClusterPartition,
  type ClusterView,
  nameOf,
  type QuorumView,
  type Reassignment,
} from '../client/kafka-cluster.ts'
import { counted, some } from './cluster-command.ts'

export interface Problem {
  readonly what: string
  readonly todo: string
}

export interface Health {
  readonly isHealthy: boolean
  readonly problems: readonly Problem[]
  /** What is worth knowing and no problem. */
  readonly notes: readonly string[]
  readonly replicas: number
  readonly replicasInSync: number
}

export interface ClusterState {
  readonly view: ClusterView
  /** Null: whoever led it does not answer. */
  readonly quorum: QuorumView | null
  readonly reassignments: readonly Reassignment[]
}

/** A voter answers its leader many times a second. */
const SILENT_MS_MAX = 3000
/** The same of one whose broker is not heard either. */
const FENCED_SILENT_MS_MAX = 1000

export function healthOf({ view, quorum, reassignments }: ClusterState): Health {
  const adding = new Map(reassignments.map((one) => [nameOf(one), one.adding]))
  const fenced = view.brokers.filter(({ isFenced }) => isFenced).map(({ id }) => id)
  const isThere = (id: number): boolean =>
    view.brokers.some((broker) => broker.id === id && !broker.isFenced)
  const lagging = new Map<string, { partition: ClusterPartition; missing: number[] }>()
  let replicas = 0
  let missingReplicas = 0
  for (const partition of view.partitions) {
    const expected = partition.replicas.filter((id) => {
      return !(adding.get(nameOf(partition))?.includes(id) ?? false)
    })
    const missing = expected.filter((id) => !partition.inSyncReplicas.includes(id))
    replicas += expected.length
    missingReplicas += missing.length
    if (missing.length > 0) lagging.set(nameOf(partition), { partition, missing })
  }
  const gone = (quorum?.voters ?? [])
    .filter(({ id, silentMs }) => {
      // One that is heard is there, whatever has become of the broker that it was.
      if (silentMs === null) return fenced.includes(id)
      return silentMs > (fenced.includes(id) ? FENCED_SILENT_MS_MAX : SILENT_MS_MAX)
    })
    .map(({ id }) => id)
  const problems = [
    ...quorumProblems(quorum, gone),
    ...leaderProblems(view.partitions, isThere),
    ...replicaProblems([...lagging.values()], isThere),
  ]
  const notes: string[] = []
  const silent = gone.filter((id) => !view.brokers.some((broker) => broker.id === id))
  if (silent.length > 0) {
    const is = silent.length === 1 ? 'is a controller that is' : 'are controllers that are'
    notes.push(`${nodes(silent)} ${is} not heard: start it, or millrace cluster quorum remove it`)
  }
  const idle = fenced.filter((id) => !view.partitions.some((one) => one.replicas.includes(id)))
  for (const id of idle) {
    notes.push(
      `broker ${id} is fenced and has no replica: start it, or take it out with ` +
        `millrace cluster decommission ${id} --unregister`,
    )
  }
  if (reassignments.length > 0) {
    notes.push(`${counted(reassignments.length, 'partition')} on the way to other brokers`)
  }
  return {
    isHealthy: problems.length === 0,
    problems,
    notes,
    replicas,
    replicasInSync: replicas - missingReplicas,
  }
}

function quorumProblems(quorum: QuorumView | null, gone: readonly number[]): Problem[] {
  if (quorum === null) {
    const todo = 'wait a moment for another one to be elected; more than half have to be there'
    return [{ what: 'the controller does not answer', todo }]
  }
  const voters = quorum.voters.map(({ id }) => id)
  const start = gone.length === 0 ? 'look at their logs' : `start ${nodes(gone)}`
  if (quorum.leaderId < 0) {
    const what = `no controller leads: nothing can be changed (voters ${voters.join(', ')})`
    return [{ what, todo: `more than half of the voters have to be there: ${start}` }]
  }
  if (2 * (voters.length - gone.length) > voters.length) return []
  const what = `${gone.length} of ${counted(voters.length, 'controller')} are gone`
  return [{ what, todo: start }]
}

function leaderProblems(
  partitions: readonly ClusterPartition[],
  isThere: (id: number) => boolean,
): Problem[] {
  const leaderless = partitions.filter(({ leader }) => leader < 0)
  if (leaderless.length === 0) return []
  const what = `${counted(leaderless.length, 'partition')} without a leader: ${names(leaderless)}`
  const lastInSync = [...new Set(leaderless.flatMap(({ inSyncReplicas }) => inSyncReplicas))]
  const down = lastInSync.filter((id) => !isThere(id)).sort((a, b) => a - b)
  const todo =
    down.length === 0
      ? 'wait: their replicas are there and a leader is about to be elected'
      : `start ${nodes(down)}: nobody else has everything that was acknowledged`
  return [{ what, todo }]
}

function replicaProblems(
  lagging: readonly { readonly partition: ClusterPartition; readonly missing: number[] }[],
  isThere: (id: number) => boolean,
): Problem[] {
  const byBroker = new Map<number, ClusterPartition[]>()
  for (const { partition, missing } of lagging) {
    for (const id of missing) {
      const list = byBroker.get(id) ?? []
      byBroker.set(id, list)
      list.push(partition)
    }
  }
  const sorted = [...byBroker].sort(([a], [b]) => a - b)
  return sorted.map(([id, partitions]) => {
    const count = counted(partitions.length, 'replica')
    const what = `${count} on broker ${id} not in sync: ${names(partitions)}`
    const todo = isThere(id)
      ? 'wait while it catches up (--wait SECONDS); if that takes long, look at its log and disk'
      : `start broker ${id}, or give it up with millrace cluster decommission ${id}`
    return { what, todo }
  })
}

function nodes(ids: readonly number[]): string {
  return ids.length === 1 ? `node ${ids[0]}` : `nodes ${ids.join(', ')}`
}

function names(partitions: readonly ClusterPartition[]): string {
  return some(partitions.map(nameOf))
}
