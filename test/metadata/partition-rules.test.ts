import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { type AlterPartition, alterPartition } from '../../src/metadata/alter-partition.ts'
import {
  brokerDraining,
  brokerLost,
  brokerRestartedUnclean,
  brokerReturned,
  inSyncReplicasAltered,
  minInSyncReplicasChanged,
  NO_LEADER,
  newPartition,
  type PartitionContext,
  type PartitionState,
  preferredLeaderElected,
  replicaFailed,
  replicasReassigned,
} from '../../src/metadata/partition-rules.ts'

function withActive(...ids: number[]): PartitionContext {
  return {
    minInSyncReplicas: 2,
    isActive: (id) => ids.includes(id),
    hasDirectory: () => true,
    allowsUncleanElection: false,
  }
}

const ALL = withActive(1, 2, 3)
const FRESH = newPartition([1, 2, 3], ALL) as PartitionState

describe('newPartition', () => {
  test('leads by the first active replica and leaves out those that are not', () => {
    const made = newPartition([1, 2, 3], withActive(2, 3))
    assert.equal(made?.leader, 2)
    assert.deepEqual(made?.inSyncReplicas, [2, 3])
    assert.equal(newPartition([1, 2, 3], withActive()), null)
  })
})

describe('brokerLost', () => {
  test('moves the leader to the next in sync, in a new epoch', () => {
    const after = brokerLost(FRESH, 1, withActive(2, 3))
    assert.deepEqual(
      [after.leader, after.leaderEpoch, after.partitionEpoch, after.inSyncReplicas],
      [2, 1, 1, [2, 3]],
    )
    assert.deepEqual(after.eligibleReplicas, [], 'two are enough')
  })

  test('of a follower keeps leader and epoch', () => {
    const after = brokerLost(FRESH, 3, withActive(1, 2))
    assert.deepEqual([after.leader, after.leaderEpoch, after.partitionEpoch], [1, 0, 1])
  })

  test('below the minimum keeps who left eligible', () => {
    const two = brokerLost(FRESH, 3, withActive(1, 2))
    const one = brokerLost(two, 2, withActive(1))
    assert.deepEqual([one.inSyncReplicas, one.eligibleReplicas], [[1], [2]])
    const none = brokerLost(one, 1, withActive())
    assert.deepEqual([none.inSyncReplicas, none.eligibleReplicas], [[], [1, 2]])
    assert.deepEqual([none.leader, none.leaderEpoch], [NO_LEADER, 1], 'nobody leads: a new epoch')
    const back = brokerReturned(none, withActive(2))
    assert.deepEqual([back.leader, back.inSyncReplicas, back.eligibleReplicas], [2, [2], [1]])
    assert.equal(back.leaderEpoch, 2)
    assert.equal(brokerReturned(none, withActive(3)), none, '3 lacks what 1 and 2 have')
  })

  test('of a broker that is not in sync changes nothing', () => {
    const two = brokerLost(FRESH, 3, withActive(1, 2))
    assert.equal(brokerLost(two, 3, withActive(1, 2)), two)
  })
})

describe('brokerDraining', () => {
  test('moves the leader to others and leaves their ISR', () => {
    const after = brokerDraining(FRESH, 1, withActive(2, 3))
    assert.deepEqual([after.leader, after.leaderEpoch, after.inSyncReplicas], [2, 1, [2, 3]])
    assert.equal(brokerDraining(after, 1, withActive(2, 3)), after)
  })

  test('of a follower leaves the ISR, and is eligible where too few stay', () => {
    const two = brokerLost(FRESH, 3, withActive(1, 2))
    const after = brokerDraining(two, 2, withActive(1))
    assert.deepEqual([after.leader, after.leaderEpoch], [1, 0])
    assert.deepEqual([after.inSyncReplicas, after.eligibleReplicas], [[1], [2]])
  })

  test('of the only one that can lead changes nothing', () => {
    const one = inSyncReplicasAltered(FRESH, [1], ALL)
    assert.equal(brokerDraining(one, 1, withActive(2, 3)), one)
    const two = inSyncReplicasAltered(FRESH, [1, 2], ALL)
    assert.equal(brokerDraining(two, 1, withActive(3)), two, '2 is in sync but not active')
  })
})

describe('replicasReassigned', () => {
  test('keeps the leader while it stays, and moves it when it goes', () => {
    const wider = replicasReassigned(FRESH, [4, 2, 3, 1], withActive(1, 2, 3, 4))
    assert.deepEqual([wider.leader, wider.leaderEpoch, wider.partitionEpoch], [1, 0, 1])
    assert.deepEqual(
      [wider.replicas, wider.inSyncReplicas],
      [
        [4, 2, 3, 1],
        [2, 3, 1],
      ],
    )
    const moved = replicasReassigned(wider, [3, 2], ALL)
    assert.deepEqual([moved.leader, moved.leaderEpoch, moved.partitionEpoch], [3, 1, 2])
    assert.equal(replicasReassigned(moved, [3, 2], ALL).partitionEpoch, 3, 'always a new one')
    assert.throws(() => replicasReassigned(moved, [1, 4], ALL))
  })
})

describe('brokerRestartedUnclean', () => {
  test('of the only one in sync leads in a new epoch, once it is active', () => {
    const alone = newPartition([1], withActive(1)) as PartitionState
    const after = brokerRestartedUnclean(alone, 1, withActive())
    assert.deepEqual([after.leader, after.lastKnownLeader, after.leaderEpoch], [NO_LEADER, 1, 1])
    const back = brokerReturned(after, withActive(1))
    assert.deepEqual([back.leader, back.leaderEpoch, back.inSyncReplicas], [1, 2, [1]])
  })

  test('of a leader that is active again at once makes a new epoch all the same', () => {
    const alone = newPartition([1], withActive(1)) as PartitionState
    const after = brokerRestartedUnclean(alone, 1, withActive(1))
    assert.deepEqual([after.leader, after.leaderEpoch], [1, 1])
  })

  test('takes the broker out of both sets', () => {
    const two = brokerLost(FRESH, 3, withActive(1, 2))
    const one = brokerLost(two, 2, withActive(1))
    const after = brokerRestartedUnclean(one, 2, withActive(1))
    assert.deepEqual([after.inSyncReplicas, after.eligibleReplicas], [[1], []])
    assert.equal(brokerRestartedUnclean(after, 2, withActive(1)), after)
  })
})

describe('minInSyncReplicasChanged', () => {
  const context = (minInSyncReplicas: number) => ({ ...withActive(1), minInSyncReplicas })
  const one = brokerLost(brokerLost(FRESH, 3, withActive(1, 2)), 2, withActive(1))

  test('empties the eligible replicas where enough are in sync now', () => {
    assert.deepEqual(one.eligibleReplicas, [2])
    const after = minInSyncReplicasChanged(one, context(1))
    assert.deepEqual([after.eligibleReplicas, after.partitionEpoch], [[], one.partitionEpoch + 1])
    assert.equal(minInSyncReplicasChanged(after, context(2)), after)
    assert.equal(minInSyncReplicasChanged(one, context(3)), one)
  })

  test('keeps who is eligible while too few are in sync for the new one as well', () => {
    const strict = { ...withActive(1), minInSyncReplicas: 3 }
    const two = brokerLost(FRESH, 2, { ...withActive(1, 3), minInSyncReplicas: 3 })
    const left = brokerLost(two, 3, strict)
    assert.deepEqual([left.inSyncReplicas, left.eligibleReplicas], [[1], [2, 3]])
    assert.equal(minInSyncReplicasChanged(left, context(2)), left)
  })

  test('without a leader changes nothing: nobody moves a watermark', () => {
    const none = brokerLost(one, 1, withActive())
    assert.equal(minInSyncReplicasChanged(none, context(1)), none)
    const alone = { ...withActive(2), minInSyncReplicas: 1 }
    assert.deepEqual(brokerReturned(none, alone).eligibleReplicas, [], 'one is enough now')
  })
})

describe('preferredLeaderElected', () => {
  test('moves the leader only to a first replica that is in sync and active', () => {
    const moved = brokerLost(FRESH, 1, withActive(2, 3))
    assert.equal(preferredLeaderElected(moved, ALL), moved, 'it is not in sync')
    const joined = inSyncReplicasAltered(moved, [2, 3, 1], ALL)
    assert.equal(preferredLeaderElected(joined, withActive(2, 3)), joined, 'it is not active')
    const after = preferredLeaderElected(joined, ALL)
    assert.deepEqual([after.leader, after.leaderEpoch], [1, 2])
    assert.equal(preferredLeaderElected(after, ALL), after)
  })
})

describe('an unclean election', () => {
  test('happens only where it is allowed', () => {
    const two = brokerLost(FRESH, 3, withActive(1, 2))
    const one = brokerLost(two, 2, withActive(1))
    const none = brokerLost(one, 1, withActive(3))
    assert.equal(none.leader, NO_LEADER)
    const context = { ...withActive(3), allowsUncleanElection: true }
    const after = brokerReturned(none, context)
    assert.deepEqual([after.leader, after.inSyncReplicas], [3, [3]])
  })
})

describe('alterPartition', () => {
  const context = { ...ALL, brokerEpochOf: (id: number) => (id <= 3 ? id * 10 : -1) }
  const request: AlterPartition = {
    brokerId: 1,
    brokerEpoch: 10,
    leaderEpoch: 0,
    partitionEpoch: 0,
    members: [
      { brokerId: 1, brokerEpoch: 10 },
      { brokerId: 2, brokerEpoch: 20 },
    ],
  }

  test('takes what fits', () => {
    const after = alterPartition(FRESH, request, context)
    assert(typeof after !== 'number')
    assert.deepEqual(
      [after.inSyncReplicas, after.leaderEpoch, after.partitionEpoch],
      [[1, 2], 0, 1],
    )
  })

  const cases: readonly (readonly [string, Partial<AlterPartition>, ErrorCode])[] = [
    ['of an old registration', { brokerEpoch: 9 }, ErrorCode.STALE_BROKER_EPOCH],
    ['of a broker that does not lead', { brokerId: 2, brokerEpoch: 20 }, 6],
    ['of an epoch to come', { leaderEpoch: 1 }, ErrorCode.NOT_LEADER_OR_FOLLOWER],
    ['of an older state', { partitionEpoch: -1 }, ErrorCode.INVALID_UPDATE_VERSION],
    ['without the leader', { members: request.members.slice(1) }, ErrorCode.INVALID_REQUEST],
    [
      'with somebody who is no replica',
      { members: [...request.members, { brokerId: 4, brokerEpoch: 40 }] },
      ErrorCode.INVALID_REQUEST,
    ],
    [
      'with a member that was registered anew',
      { members: [request.members[0]!, { brokerId: 2, brokerEpoch: 19 }] },
      ErrorCode.INELIGIBLE_REPLICA,
    ],
  ]
  for (const [name, change, code] of cases) {
    test(`refuses a proposal ${name}`, () => {
      assert.equal(alterPartition(FRESH, { ...request, ...change }, context), code)
    })
  }

  test('refuses an epoch that is over, and a member that is not active', () => {
    const moved = preferredLeaderElected(
      inSyncReplicasAltered(brokerLost(FRESH, 1, withActive(2, 3)), [1, 2, 3], ALL),
      ALL,
    )
    assert.equal(moved.leader, 1)
    assert.equal(alterPartition(moved, request, context), ErrorCode.FENCED_LEADER_EPOCH)
    const fenced = { ...context, ...withActive(1, 3) }
    assert.equal(alterPartition(FRESH, request, fenced), ErrorCode.INELIGIBLE_REPLICA)
  })

  test('lets a member stay that the leader has not heard, but not join', () => {
    const members = [request.members[0]!, { brokerId: 2, brokerEpoch: -1 }]
    assert(typeof alterPartition(FRESH, { ...request, members }, context) !== 'number')
    const without = inSyncReplicasAltered(FRESH, [1, 3], ALL)
    assert.equal(
      alterPartition(without, { ...request, partitionEpoch: 1, members }, context),
      ErrorCode.INELIGIBLE_REPLICA,
    )
  })
})

describe('replicaFailed', () => {
  test('of a leader that others can stand in for moves the leader, and forgets the replica', () => {
    const after = replicaFailed(FRESH, 1, ALL)
    assert.deepEqual([after.leader, after.leaderEpoch, after.inSyncReplicas], [2, 1, [2, 3]])
    const two = inSyncReplicasAltered(FRESH, [1, 2], ALL)
    const one = replicaFailed(two, 1, ALL)
    assert.deepEqual([one.leader, one.inSyncReplicas, one.eligibleReplicas], [2, [2], []])
  })

  test('of a follower keeps the leader, in a new epoch: its fetches count no more', () => {
    const after = replicaFailed(FRESH, 3, ALL)
    assert.deepEqual([after.leader, after.leaderEpoch, after.inSyncReplicas], [1, 1, [1, 2]])
    const again = replicaFailed(after, 3, ALL)
    assert.deepEqual([again.leader, again.leaderEpoch, again.inSyncReplicas], [1, 2, [1, 2]])
  })

  test('leads by one that is eligible where nobody else is in sync', () => {
    const two = brokerLost(FRESH, 3, withActive(1, 2))
    const one = brokerLost(two, 2, withActive(1))
    const after = replicaFailed(one, 1, withActive(1, 2))
    assert.deepEqual([after.leader, after.inSyncReplicas, after.eligibleReplicas], [2, [2], []])
  })

  test('changes nothing while those that have everything are away', () => {
    const one = brokerLost(brokerLost(FRESH, 3, withActive(1, 2)), 2, withActive(1))
    const context = { ...withActive(1, 3), allowsUncleanElection: true }
    assert.equal(replicaFailed(one, 1, context), one)
  })

  test('changes nothing where nobody else is known to have everything', () => {
    const alone = inSyncReplicasAltered({ ...FRESH, replicas: [1, 2] }, [1], {
      ...ALL,
      minInSyncReplicas: 1,
    })
    assert.equal(replicaFailed(alone, 1, ALL), alone)
  })
})
