/** Leaders and followers of a partition: roles, watermarks, acknowledgements, fetches. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  APPEND_ALL,
  READ_FROM_FOLLOWER,
  READ_MIN_ONE_BATCH,
  READ_NEWS,
  READ_THROTTLED,
  READ_TO_LOG_END,
  READ_WATCH,
  READ_WATCHING,
} from '../../src/shard/messages-layout.ts'
import type { AppendOutcome, AppendRequest, ReadOutcome } from '../../src/shard/shard-proxy.ts'
import { batch, offsetsIn } from '../storage/support/fixture.ts'
import { LAG_MS_MAX, type ReplicaBroker, ReplicaCluster, stateIn } from './replica-cluster.ts'

const ALL = { flags: APPEND_ALL }

function codeOf(broker: ReplicaBroker, index: number): number | null {
  return outcomeOf(broker, index)?.errorCode ?? null
}

function outcomeOf(broker: ReplicaBroker, index: number): AppendOutcome | undefined {
  return broker.shard.of('appended').find((one) => one.index === index)?.outcome
}

function append(
  broker: ReplicaBroker,
  leaderEpoch: number,
  request: Partial<AppendRequest> = {},
): number {
  return broker.shard.append(0, batch({ records: 2 }), { leaderEpoch, ...request })
}

function readOf(broker: ReplicaBroker, index: number): ReadOutcome {
  const read = broker.shard.of('read').find((one) => one.index === index)
  assert(read !== undefined)
  return read.outcome
}

async function ends(cluster: ReplicaCluster): Promise<number[][]> {
  const states = await Promise.all(cluster.brokers.map((broker) => broker.state()))
  return states.map(({ logEndOffset, highWatermark }) => [logEndOffset, highWatermark])
}

describe('acknowledgements of a leader', () => {
  test('with acks=all wait for all in sync, with acks=1 for nobody', async () => {
    const cluster = await ReplicaCluster.open(3)
    const [leader, , slow] = cluster.brokers as [ReplicaBroker, ReplicaBroker, ReplicaBroker]
    slow.isCutOff = true
    await cluster.elect(1, 4)
    const all = append(leader, 4, ALL)
    const one = append(leader, 4)
    await cluster.rest()
    assert.equal(codeOf(leader, one), ErrorCode.NONE)
    assert.equal(codeOf(leader, all), null, 'a member of the ISR has not got it')
    assert.equal(leader.shard.ingress.bytesInUse, 0, 'the memory is free all the same')
    assert.deepEqual((await ends(cluster)).slice(0, 2), [
      [4, 0],
      [4, 0],
    ])
    slow.isCutOff = false
    await slow.follow(1, 4)
    await cluster.rest()
    assert.deepEqual(outcomeOf(leader, all), {
      errorCode: ErrorCode.NONE,
      baseOffset: 0,
      logStartOffset: 0,
      appendTimeMs: -1,
    })
    assert.deepEqual(
      await ends(cluster),
      [1, 2, 3].map(() => [4, 4]),
    )
  })

  test('do not wait for a throttled follower, also when nothing else happens', async () => {
    const cluster = await ReplicaCluster.open(2)
    const [leader] = cluster.brokers as [ReplicaBroker]
    await cluster.elect(1, 4, { inSyncReplicas: [1], minInSyncReplicas: 1 })
    const { shard } = leader
    const brokers = [1, 2].map((id) => [id, 100] as const)
    await shard.control({ kind: 'set-brokers', self: 1, lagMsMax: 30_000, brokers })
    const held = {
      replicaId: 2,
      replicaEpoch: 100,
      currentLeaderEpoch: 4,
      flags: READ_WATCH | READ_THROTTLED,
      bytesMax: 0,
    }
    append(leader, 4)
    append(leader, 4)
    shard.settle()
    // It has half of that: all that there was when it asked before. Then its turn is over.
    shard.replicaRead(0, { ...held, bytesMax: 1 })
    append(leader, 4)
    shard.settle()
    shard.replicaRead(0, { ...held, fetchOffset: 4, lastFetchedEpoch: 4 })
    shard.settle()
    const all = append(leader, 4, ALL)
    shard.settle()
    assert.equal(codeOf(leader, all), null, 'it is about to join')
    assert.ok(shard.shard.nextDeadlineMs <= shard.clock.ms + 501)
    shard.clock.ms += 501
    shard.settle()
    assert.equal(codeOf(leader, all), ErrorCode.NONE)
  })

  test('with acks=all are refused below the minimum; nothing else is', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 1, { inSyncReplicas: [1], minInSyncReplicas: 2 })
    const leader = cluster.of(1)
    const all = append(leader, 1, ALL)
    const one = append(leader, 1)
    leader.shard.settle()
    assert.equal(codeOf(leader, all), ErrorCode.NOT_ENOUGH_REPLICAS)
    assert.equal(codeOf(leader, one), ErrorCode.NONE)
    assert.deepEqual((await ends(cluster))[0], [2, 0], 'the watermark is frozen')
    await cluster.elect(1, 1, { partitionEpoch: 9, minInSyncReplicas: 2 })
    const again = append(leader, 1, ALL)
    await cluster.rest()
    assert.equal(codeOf(leader, again), ErrorCode.NONE)
  })

  test('wait for the flush where the topic asks for one, in leader and follower', async () => {
    const cluster = await ReplicaCluster.open(2, { flushMessages: 1 })
    await cluster.elect(1, 1)
    const [leader, follower] = cluster.brokers as [ReplicaBroker, ReplicaBroker]
    const seen: (number | null)[][] = []
    const watch = (broker: ReplicaBroker, index: () => number): void => {
      broker.shard.files.onOperation = (kind) => {
        if (kind === 'flush') seen.push([broker.id, codeOf(leader, index())])
      }
    }
    let one = -1
    let all = -1
    watch(leader, () => one)
    watch(follower, () => all)
    one = append(leader, 1)
    all = append(leader, 1, ALL)
    await cluster.rest()
    assert.deepEqual(
      seen.filter(([id]) => id === 1)[0],
      [1, null],
      'acks=1 before the flush of its leader',
    )
    assert.ok(seen.some(([id]) => id === 2))
    for (const [id, code] of seen) if (id === 2) assert.equal(code, null)
    assert.deepEqual([codeOf(leader, one), codeOf(leader, all)], [ErrorCode.NONE, ErrorCode.NONE])
  })

  test('are NOT_LEADER_OR_FOLLOWER in another epoch, and for whom the leadership ends', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 5)
    const leader = cluster.of(1)
    cluster.of(2).isCutOff = true
    const old = append(leader, 4, ALL)
    const early = append(leader, 6)
    const waiting = append(leader, 5, ALL)
    leader.shard.settle()
    assert.deepEqual(
      [old, early, waiting].map((index) => codeOf(leader, index)),
      [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NOT_LEADER_OR_FOLLOWER, null],
    )
    await leader.follow(2, 6)
    const late = append(leader, 6)
    leader.shard.settle()
    assert.equal(codeOf(leader, waiting), ErrorCode.NOT_LEADER_OR_FOLLOWER)
    assert.equal(codeOf(leader, late), ErrorCode.NOT_LEADER_OR_FOLLOWER)
  })

  test('go on waiting when the leader leads on in another epoch', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 5)
    const leader = cluster.of(1)
    cluster.of(2).isCutOff = true
    const waiting = append(leader, 5, ALL)
    leader.shard.settle()
    cluster.of(2).isCutOff = false
    await cluster.elect(1, 6)
    await cluster.rest()
    assert.equal(codeOf(leader, waiting), ErrorCode.NONE)
  })

  test('come when the others are gone for good', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 5)
    const leader = cluster.of(1)
    cluster.of(2).isCutOff = true
    const waiting = append(leader, 5, ALL)
    leader.shard.settle()
    await leader.lead({
      leaderEpoch: 5,
      partitionEpoch: 8,
      replicas: [1],
      inSyncReplicas: [1],
      minInSyncReplicas: 1,
    })
    leader.shard.settle()
    assert.equal(codeOf(leader, waiting), ErrorCode.NONE)
    const more = append(leader, 0)
    leader.shard.settle()
    assert.equal(codeOf(leader, more), ErrorCode.FENCED_LEADER_EPOCH, 'as the log itself says')
    const alone = append(leader, 5, ALL)
    leader.shard.settle()
    assert.equal(codeOf(leader, alone), ErrorCode.NONE)
    assert.equal((await leader.state()).highWatermark, 4)
  })
})

describe('a fetch of a follower', () => {
  test('is judged by its epoch, offset and broker', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 5)
    const leader = cluster.of(1)
    append(leader, 5)
    leader.shard.settle()
    const ask = (fetch: Parameters<typeof leader.shard.replicaRead>[1]): ReadOutcome => {
      const { index } = leader.shard.replicaRead(0, { currentLeaderEpoch: 5, ...fetch })
      leader.shard.settle()
      return readOf(leader, index)
    }
    assert.equal(ask({ currentLeaderEpoch: 4 }).errorCode, ErrorCode.FENCED_LEADER_EPOCH)
    assert.equal(ask({ currentLeaderEpoch: 6 }).errorCode, ErrorCode.UNKNOWN_LEADER_EPOCH)
    assert.equal(ask({ fetchOffset: 3 }).errorCode, ErrorCode.OFFSET_OUT_OF_RANGE)
    assert.equal(ask({ replicaId: 7 }).errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    const parted = ask({ fetchOffset: 2, lastFetchedEpoch: 4 })
    assert.equal(parted.errorCode, ErrorCode.NONE)
    assert.deepEqual([parted.divergingEpoch, parted.divergingEndOffset], [4, 0])
    assert.equal(parted.length, 0)
    const good = ask({})
    assert.equal(good.divergingEpoch, -1)
    assert.ok(good.length > 0)
    await leader.follow(2, 6)
    assert.equal(
      ask({ currentLeaderEpoch: 6 }).errorCode,
      ErrorCode.NOT_LEADER_OR_FOLLOWER,
      'it follows',
    )
    const { index } = leader.shard.replicaRead(9, {})
    leader.shard.settle()
    assert.equal(readOf(leader, index).errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER)
  })

  test('at the log end wakes for data and for a new watermark, once each', async () => {
    const cluster = await ReplicaCluster.open(3)
    await cluster.elect(1, 1)
    const [leader, second, third] = cluster.brokers as [ReplicaBroker, ReplicaBroker, ReplicaBroker]
    append(leader, 1)
    await cluster.rest()
    assert.deepEqual(
      await ends(cluster),
      [1, 2, 3].map(() => [2, 2]),
      'everybody knows the watermark without anything more to fetch',
    )
    const before = second.fetches + third.fetches
    await cluster.rest()
    assert.equal(second.fetches + third.fetches, before, 'nobody asks in circles')
    for (let i = 0; i < 10; i++) append(leader, 1)
    await cluster.rest()
    const perRound = second.fetches + third.fetches - before
    assert.ok(perRound <= 8, `${perRound} fetches for one round of appends`)
  })

  test('that is taken back waits no more', async () => {
    const cluster = await ReplicaCluster.open(2)
    cluster.of(2).isCutOff = true
    await cluster.elect(1, 1)
    const leader = cluster.of(1)
    const { shard } = leader
    const first = shard.replicaRead(0, { currentLeaderEpoch: 1 })
    shard.settle()
    assert.equal(readOf(leader, first.index).flags, READ_NEWS, 'a watermark, even if it is 0')
    const { index, token } = shard.replicaRead(0, { currentLeaderEpoch: 1 })
    shard.settle()
    assert.equal(readOf(leader, index).flags, READ_WATCHING)
    shard.proxy.unwatch(token)
    append(leader, 1)
    shard.settle()
    assert.deepEqual(shard.of('wake'), [])
    assert.equal(shard.proxy.inFlight, 0)
  })

  test('of a registration before the current one does not count', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 1)
    const leader = cluster.of(1)
    const all = append(leader, 1, ALL)
    leader.shard.settle()
    const ask = (replicaEpoch: number, fetchOffset: number): void => {
      const fetch = { currentLeaderEpoch: 1, replicaEpoch, fetchOffset, flags: 0 }
      leader.shard.replicaRead(0, fetch)
      leader.shard.settle()
    }
    ask(101, 0)
    ask(100, 2)
    assert.equal(codeOf(leader, all), null)
    ask(101, 2)
    assert.equal(codeOf(leader, all), ErrorCode.NONE)
  })
})

describe('the in-sync replicas', () => {
  test('lose who lags and get back who has caught up, as the controller confirms', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 1)
    const [leader, follower] = cluster.brokers as [ReplicaBroker, ReplicaBroker]
    await cluster.rest()
    assert.deepEqual(cluster.proposalsOf(1), [])
    follower.isCutOff = true
    const all = append(leader, 1, ALL)
    await cluster.rest()
    cluster.wait(LAG_MS_MAX + 1)
    await cluster.rest()
    const own = { brokerId: 1, brokerEpoch: -1 }
    const shrink = { handle: 0, leaderEpoch: 1, partitionEpoch: 1, members: [own] }
    assert.deepEqual(cluster.proposalsOf(1), [shrink])
    assert.equal(codeOf(leader, all), null, 'it may still be in the set that the controller knows')
    cluster.wait(LAG_MS_MAX + 1)
    await cluster.rest()
    assert.deepEqual(cluster.proposalsOf(1), [], 'it is asked once')
    const lost = { kind: 'alter-answer', handle: 0, leaderEpoch: 1, partitionEpoch: 1 } as const
    await leader.shard.control({ ...lost, errorCode: ErrorCode.REQUEST_TIMED_OUT })
    assert.deepEqual(
      cluster.proposalsOf(1),
      [shrink],
      'and again when nobody knows what came of it',
    )
    await leader.shard.control({ ...lost, leaderEpoch: 0, errorCode: ErrorCode.REQUEST_TIMED_OUT })
    assert.deepEqual(cluster.proposalsOf(1), [], 'of another epoch')
    const partition = { leaderEpoch: 1, replicas: [1, 2], minInSyncReplicas: 1 }
    await leader.lead({ ...partition, partitionEpoch: 2, inSyncReplicas: [1] })
    leader.shard.settle()
    assert.equal(codeOf(leader, all), ErrorCode.NONE)
    const stats = await leader.shard.control({ kind: 'stats' })
    assert(stats.kind === 'stats')
    const { ledPartitions, underReplicatedPartitions } = stats.stats
    assert.deepEqual([ledPartitions, underReplicatedPartitions], [1, 1])

    follower.isCutOff = false
    await cluster.rest()
    const members = [own, { brokerId: 2, brokerEpoch: 100 }]
    assert.deepEqual(cluster.proposalsOf(1), [
      { handle: 0, leaderEpoch: 1, partitionEpoch: 2, members },
    ])
    follower.isCutOff = true
    const held = append(leader, 1, ALL)
    await cluster.rest()
    assert.equal(codeOf(leader, held), null, 'who is proposed holds the watermark back')
    const refused = { ...lost, partitionEpoch: 2, errorCode: ErrorCode.INELIGIBLE_REPLICA }
    await leader.shard.control(refused)
    // It keeps pace as far as anybody knows, until it has lagged for long enough.
    cluster.wait(LAG_MS_MAX + 1)
    await cluster.rest()
    assert.equal(codeOf(leader, held), ErrorCode.NONE)
  })

  test('do not wait for whom the brokers do not name any more', async () => {
    const cluster = await ReplicaCluster.open(3)
    await cluster.elect(1, 1, { inSyncReplicas: [1, 2] })
    const [leader, , third] = cluster.brokers as [ReplicaBroker, ReplicaBroker, ReplicaBroker]
    // Caught up and about to join, when its registration ends.
    await cluster.rest()
    third.isCutOff = true
    const refused = { kind: 'alter-answer', handle: 0, leaderEpoch: 1, partitionEpoch: 1 } as const
    await leader.shard.control({ ...refused, errorCode: ErrorCode.INELIGIBLE_REPLICA })
    const all = append(leader, 1, ALL)
    await cluster.rest()
    assert.equal(codeOf(leader, all), null)
    third.brokerEpoch = 200
    await leader.tellBrokers()
    await cluster.rest()
    assert.equal(codeOf(leader, all), ErrorCode.NONE)
  })
})

describe('roles', () => {
  test('of an older epoch are refused, and unknown partitions', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 5)
    const { shard } = cluster.of(1)
    const partition = {
      partitionEpoch: 9,
      replicas: [1, 2],
      inSyncReplicas: [1],
      minInSyncReplicas: 1,
    }
    const reply = await shard.control({
      kind: 'lead',
      partitions: [
        { handle: 0, leaderEpoch: 4, ...partition },
        { handle: 7, leaderEpoch: 4, ...partition },
        { handle: 0, leaderEpoch: 6, ...partition, inSyncReplicas: [2] },
      ],
    })
    assert(reply.kind === 'replicas')
    assert.deepEqual(
      reply.states.map(({ handle, errorCode }) => [handle, errorCode]),
      [
        [0, ErrorCode.FENCED_LEADER_EPOCH],
        [7, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
        [0, ErrorCode.INVALID_REQUEST],
      ],
    )
    const follow = { kind: 'follow', partitions: [{ handle: 0, leaderEpoch: 4 }] } as const
    assert.equal(stateIn(await shard.control(follow)).errorCode, ErrorCode.FENCED_LEADER_EPOCH)
    const end = { epoch: 0, endOffset: 0 }
    const truncate = { kind: 'truncate', handle: 0, end } as const
    const onLeader = await shard.control({ ...truncate, leaderEpoch: 5 })
    assert(onLeader.kind === 'failed')
    assert.equal(onLeader.errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    const follower = cluster.of(2).shard
    for (const [leaderEpoch, code] of [
      [4, ErrorCode.FENCED_LEADER_EPOCH],
      [6, ErrorCode.UNKNOWN_LEADER_EPOCH],
    ] as const) {
      const answer = await follower.control({ ...truncate, leaderEpoch })
      assert.equal(answer.kind === 'failed' && answer.errorCode, code)
      const index = follower.follow(0, new Uint8Array(0), { leaderEpoch })
      follower.settle()
      const { outcome } = follower.of('followed').find((one) => one.index === index)!
      assert.equal(outcome.errorCode, code)
    }
    const to = await follower.control({ kind: 'truncate-to', handle: 0, offset: 0 })
    assert.equal(to.kind === 'failed' && to.errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    const index = shard.follow(0, batch(), { leaderEpoch: 5 })
    shard.settle()
    assert.equal(
      shard.of('followed').find((one) => one.index === index)!.outcome.errorCode,
      ErrorCode.NOT_LEADER_OR_FOLLOWER,
    )
  })

  test('decide who may read: consumers up to the watermark, from a follower if they say so', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 1)
    const [leader, follower] = cluster.brokers as [ReplicaBroker, ReplicaBroker]
    append(leader, 1)
    await cluster.rest()
    leader.isCutOff = true // Its watermark does not reach the follower any more.
    append(leader, 1)
    leader.shard.settle()
    const read = (from: ReplicaBroker, fetchOffset: number, flags: number): ReadOutcome => {
      const { index } = from.shard.read(0, fetchOffset, READ_MIN_ONE_BATCH | flags)
      from.shard.settle()
      return readOf(from, index)
    }
    assert.equal(read(follower, 0, 0).errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    const allowed = read(follower, 0, READ_FROM_FOLLOWER)
    assert.deepEqual([allowed.errorCode, allowed.highWatermark], [ErrorCode.NONE, 2])
    assert.ok(allowed.length > 0)
    assert.ok(read(follower, 0, READ_TO_LOG_END).length > 0)
    const ahead = read(follower, 5, READ_FROM_FOLLOWER)
    assert.equal(ahead.errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER, 'who leads knows more')
    // Between watermark and end there is nothing yet, which is no error.
    const between = read(leader, 3, 0)
    assert.deepEqual([between.errorCode, between.length], [ErrorCode.NONE, 0])
    assert.equal(read(leader, 5, 0).errorCode, ErrorCode.OFFSET_OUT_OF_RANGE)
    assert.ok(read(leader, 2, READ_TO_LOG_END).length > 0)
    const { index } = leader.shard.read(0, 2, READ_WATCH)
    leader.shard.settle()
    assert.equal(readOf(leader, index).flags, READ_WATCHING)
    assert.deepEqual(
      leader.shard.of('wake').filter((one) => one.index === index),
      [],
    )
    leader.isCutOff = false
    await cluster.rest()
    assert.equal(leader.shard.of('wake').filter((one) => one.index === index).length, 1)
  })

  test('come and go with replicas: alone, with another, alone', async () => {
    const cluster = await ReplicaCluster.open(2)
    const [first, second] = cluster.brokers as [ReplicaBroker, ReplicaBroker]
    const alone = { replicas: [1], inSyncReplicas: [1], minInSyncReplicas: 1 }
    await first.lead({ leaderEpoch: 1, partitionEpoch: 1, ...alone })
    const before = append(first, 1, ALL)
    first.shard.settle()
    assert.equal(codeOf(first, before), ErrorCode.NONE)
    assert.deepEqual((await ends(cluster))[0], [2, 2])
    await cluster.elect(1, 2, { inSyncReplicas: [1] })
    await cluster.rest()
    assert.deepEqual(await ends(cluster), [
      [2, 2],
      [2, 2],
    ])
    const [proposal] = cluster.proposalsOf(1)
    assert.equal(proposal!.members.length, 2)
    second.isCutOff = true
    await first.lead({ leaderEpoch: 2, partitionEpoch: 9, ...alone })
    const after = append(first, 2, ALL)
    first.shard.settle()
    assert.equal(codeOf(first, after), ErrorCode.NONE)
    const { index } = first.shard.replicaRead(0, { currentLeaderEpoch: 2 })
    first.shard.settle()
    assert.equal(readOf(first, index).errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER)
  })
})

describe('a log start', () => {
  test('is taken over from the leader', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 1)
    const [leader, follower] = cluster.brokers as [ReplicaBroker, ReplicaBroker]
    for (let i = 0; i < 5; i++) append(leader, 1)
    await cluster.rest()
    await leader.shard.control({ kind: 'delete-records', handle: 0, beforeOffset: 5 })
    append(leader, 1)
    await cluster.rest()
    const { logStartOffset, logEndOffset } = await follower.state()
    assert.deepEqual([logStartOffset, logEndOffset], [5, 12])
  })

  test('past the follower, inside a batch: it starts anew with that batch', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 1)
    const [leader, follower] = cluster.brokers as [ReplicaBroker, ReplicaBroker]
    append(leader, 1)
    await cluster.rest()
    follower.isCutOff = true
    await leader.lead({
      leaderEpoch: 1,
      partitionEpoch: 2,
      replicas: [1, 2],
      inSyncReplicas: [1],
      minInSyncReplicas: 1,
    })
    for (let i = 0; i < 3; i++) {
      leader.shard.append(0, batch({ records: 10 }), { leaderEpoch: 1 })
    }
    cluster.wait(LAG_MS_MAX + 1)
    await cluster.rest()
    const cut = await leader.shard.control({
      kind: 'delete-records',
      handle: 0,
      beforeOffset: 17,
    })
    assert.equal(cut.kind, 'offsets')
    follower.isCutOff = false
    await cluster.rest()
    assert.ok(cluster.counts.get('restart-at')! > 0)
    const { logStartOffset, logEndOffset, highWatermark } = await follower.state()
    assert.deepEqual([logStartOffset, logEndOffset, highWatermark], [17, 32, 32])
    const { index } = follower.shard.read(0, 17, READ_FROM_FOLLOWER | READ_MIN_ONE_BATCH)
    follower.shard.settle()
    const { offset, length } = readOf(follower, index)
    const bytes = follower.shard.proxy.egress.subarray(offset, offset + length)
    assert.deepEqual(
      offsetsIn(bytes).map(({ base }) => base),
      [12, 22],
    )
  })
})

describe('a follower that is killed', () => {
  test('comes back with the watermark of its checkpoint, and learns the rest', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 1)
    const [leader, follower] = cluster.brokers as [ReplicaBroker, ReplicaBroker]
    for (let i = 0; i < 5; i++) append(leader, 1)
    await cluster.rest()
    await follower.shard.control({ kind: 'checkpoint' })
    for (let i = 0; i < 5; i++) append(leader, 1)
    await cluster.rest()
    assert.deepEqual((await ends(cluster))[1], [20, 20])
    await follower.restart({})
    const { highWatermark, logEndOffset } = await follower.state()
    assert.deepEqual([highWatermark, logEndOffset], [10, 20])
    await leader.tellBrokers()
    await follower.follow(1, 1)
    await cluster.rest()
    assert.deepEqual((await ends(cluster))[1], [20, 20])
  })

  test('without a checkpoint knows no watermark', async () => {
    const cluster = await ReplicaCluster.open(2)
    await cluster.elect(1, 1)
    append(cluster.of(1), 1)
    await cluster.rest()
    await cluster.of(2).restart({})
    assert.equal((await cluster.of(2).state()).highWatermark, 0)
  })
})
