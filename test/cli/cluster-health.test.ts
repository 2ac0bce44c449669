/** What `cluster health` says of clusters made up. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ClusterState, healthOf } from '../../src/cli/cluster-health.ts'
import type { QuorumVoter } from '../../src/client/kafka-cluster.ts'

const voter = (id: number, silentMs: number | null = 20): QuorumVoter => {
  return { id, directoryId: `d${id}`, logEndOffset: 10, silentMs }
}

function stateWith(change: {
  readonly fenced?: readonly number[]
  readonly voters?: readonly number[]
  readonly silent?: readonly number[]
  /** Of the fenced ones, those that vote. */
  readonly heard?: readonly number[]
  readonly leader?: number
  readonly inSync?: readonly number[]
  readonly quorumLeader?: number
  readonly adding?: readonly number[]
}): ClusterState {
  const { voters = [1, 2, 3], silent = [], heard = [] } = change
  const isSilent = (id: number): boolean => {
    return silent.includes(id) || (fenced.includes(id) && !heard.includes(id))
  }
  const { fenced = [], leader = 1, inSync = [1, 2, 3], quorumLeader = 1, adding = [] } = change
  const replicas = [1, 2, 3, ...adding]
  return {
    view: {
      clusterId: 'c',
      controllerId: 1,
      brokers: [1, 2, 3, 4].map((id) => {
        return { id, host: 'h', port: id, rack: null, isFenced: fenced.includes(id) }
      }),
      topics: 1,
      partitions: [{ topic: 't', partition: 0, leader, replicas, inSyncReplicas: inSync }],
    },
    quorum: {
      leaderId: quorumLeader,
      leaderEpoch: 1,
      highWatermark: 10,
      voters: voters.map((id) => voter(id, isSilent(id) ? 60_000 : 20)),
      observers: [voter(4)],
    },
    reassignments:
      adding.length === 0 ? [] : [{ topic: 't', partition: 0, replicas, adding, removing: [] }],
  }
}

test('health, all there, is healthy', () => {
  const health = healthOf(stateWith({}))
  assert.deepEqual(health, {
    isHealthy: true,
    problems: [],
    notes: [],
    replicas: 3,
    replicasInSync: 3,
  })
})

test('health, a broker gone, says to start it', () => {
  const { isHealthy, problems, replicasInSync } = healthOf(
    stateWith({ fenced: [3], inSync: [1, 2] }),
  )
  assert.equal(isHealthy, false)
  assert.equal(replicasInSync, 2)
  assert.match(problems[0]!.what, /1 replica on broker 3 not in sync: t-0/)
  assert.match(problems[0]!.todo, /start broker 3/)
})

test('health, a controller that is no broker, is missed when nobody hears it', () => {
  const voters = [1, 7, 8]
  const one = healthOf(stateWith({ voters, silent: [8] }))
  assert.equal(one.isHealthy, true)
  assert.match(one.notes.join(), /node 8 is a controller that is not heard: .*quorum remove/)
  const two = healthOf(stateWith({ voters, silent: [7, 8] }))
  assert.match(two.problems[0]!.what, /2 of 3 controllers are gone/)
  assert.match(two.problems[0]!.todo, /start nodes 7, 8/)
})

test('health, a controller that was a broker before, is there', () => {
  const change = { fenced: [2, 3], inSync: [1], heard: [2, 3] }
  const { problems } = healthOf(stateWith(change))
  assert.doesNotMatch(problems.map(({ what }) => what).join(), /controllers/)
})

test('health, a broker that catches up, says to wait', () => {
  const [problem] = healthOf(stateWith({ inSync: [1, 2] })).problems
  assert.match(problem!.todo, /wait/)
})

test('health, no leader, says which broker has everything', () => {
  const state = stateWith({ fenced: [1, 2], leader: -1, inSync: [2] })
  const { problems } = healthOf(state)
  assert.match(problems[0]!.what, /2 of 3 controllers are gone/)
  assert.match(problems[1]!.what, /1 partition without a leader: t-0/)
  assert.match(problems[1]!.todo, /start node 2/)
})

test('health, nobody leads the quorum, says so first', () => {
  const [problem] = healthOf(stateWith({ quorumLeader: -1, fenced: [2, 3] })).problems
  assert.match(problem!.what, /no controller leads/)
  assert.match(problem!.todo, /start nodes 2, 3/)
})

test('health, the controller does not answer, says that first', () => {
  const [problem] = healthOf({ ...stateWith({ fenced: [3] }), quorum: null }).problems
  assert.match(problem!.what, /controller does not answer/)
})

test('health, a replica that is being added, does not count yet', () => {
  const { isHealthy, notes, replicas } = healthOf(stateWith({ adding: [4] }))
  assert.ok(isHealthy)
  assert.equal(replicas, 3)
  assert.match(notes[0]!, /on the way/)
})

test('health, a fenced broker without replicas, is a note', () => {
  const { isHealthy, notes } = healthOf(stateWith({ fenced: [4] }))
  assert.ok(isHealthy)
  assert.match(notes[0]!, /broker 4 is fenced and has no replica/)
})
