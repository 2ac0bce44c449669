/** A leader's account of its followers: for whom it waits, whom it proposes. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PartitionLeader } from '../../src/replication/partition-leader.ts'

const LAG_MS_MAX = 30_000

/** 1 leads, 2 is in sync with it, 3 comes; the log ends at 100. */
function leading(): PartitionLeader {
  return new PartitionLeader({
    brokerId: 1,
    leaderEpoch: 0,
    partitionEpoch: 0,
    replicas: [1, 2, 3],
    inSyncReplicas: [1, 2],
    logEndOffset: 0,
    countedOffset: 0,
    highWatermark: 0,
    options: { lagMsMax: LAG_MS_MAX, minInSyncReplicas: 1 },
    isEligible: () => true,
    nowMs: 0,
  })
}

/** 3 has had all there was at 0 ms; since then the others have 10 more. */
function nearlyCaughtUp(leader: PartitionLeader, isThrottled: boolean): void {
  const fetch = { brokerEpoch: 1, logStartOffset: 0 }
  leader.appended(100, 100, 0)
  leader.fetched(3, { ...fetch, fetchOffset: 50, isThrottled, nowMs: 0 })
  leader.appended(110, 110, 1)
  leader.fetched(2, { ...fetch, fetchOffset: 110, nowMs: 1 })
  leader.fetched(3, { ...fetch, fetchOffset: 100, isThrottled, nowMs: 1 })
  leader.appended(120, 120, 2)
  leader.fetched(2, { ...fetch, fetchOffset: 120, nowMs: 2 })
}

describe('PartitionLeader, a follower that is about to join', () => {
  test('is waited for as long as it may lag', () => {
    const leader = leading()
    nearlyCaughtUp(leader, false)
    assert.equal(leader.highWatermark, 110)
    leader.onTime(LAG_MS_MAX)
    assert.equal(leader.highWatermark, 110)
    leader.onTime(LAG_MS_MAX + 1)
    assert.equal(leader.highWatermark, 120)
  })

  test('is waited for a moment when a throttle holds it back', () => {
    const leader = leading()
    nearlyCaughtUp(leader, true)
    assert.equal(leader.highWatermark, 110)
    leader.appended(130, 130, 400)
    assert.equal(leader.highWatermark, 110)
    leader.appended(140, 140, 501)
    assert.equal(leader.highWatermark, 120)
  })
})

test('takeProposal, names the registration that had all, when it is asked again', () => {
  const leader = new PartitionLeader({
    brokerId: 1,
    leaderEpoch: 1,
    partitionEpoch: 5,
    replicas: [1, 2],
    inSyncReplicas: [1],
    logEndOffset: 10,
    countedOffset: 10,
    highWatermark: 10,
    options: { lagMsMax: 1000, minInSyncReplicas: 1 },
    isEligible: () => true,
    nowMs: 0,
  })
  leader.fetched(2, { brokerEpoch: 100, fetchOffset: 10, logStartOffset: 0, nowMs: 1 })
  const asked = {
    members: [
      { brokerId: 1, brokerEpoch: -1 },
      { brokerId: 2, brokerEpoch: 100 },
    ],
    partitionEpoch: 5,
  }
  assert.deepEqual(leader.takeProposal(), asked)
  // The request is lost, and the follower comes back with less than it had.
  leader.fetched(2, { brokerEpoch: 101, fetchOffset: 4, logStartOffset: 0, nowMs: 2 })
  leader.proposalFailed()
  assert.deepEqual(leader.takeProposal(), asked)
})
