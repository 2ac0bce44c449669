import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { Controller, type HeartbeatAnswer } from '../../src/metadata/controller.ts'
import { electLeaders } from '../../src/metadata/elect-leaders.ts'
import { MetadataImage } from '../../src/metadata/image.ts'
import { NO_LEADER } from '../../src/metadata/partition-rules.ts'
import type { MetadataRecord } from '../../src/metadata/records.ts'
import {
  DIRECTORIES_MAX,
  ENDPOINTS_MAX,
  type RegisterRequest,
} from '../../src/metadata/register-broker.ts'
import { altered, DIRECTORY, placed, TOPIC, uuidFor } from './cluster-records.ts'

const CLUSTER = uuidFor('C', 1)

/** A controller whose proposals are all taken, and brokers that are as told. */
class Cluster {
  readonly image = new MetadataImage()
  offset = 0
  nowMs = 5000
  controller = this.lead()

  /** Another node leads the quorum. */
  lead(options = {}): Controller {
    const { image, nowMs } = this
    this.controller = new Controller({
      image,
      clusterId: CLUSTER,
      committedOffset: () => this.offset,
      options,
      nowMs,
    })
    return this.controller
  }

  apply(records: readonly MetadataRecord[]): void {
    for (const record of records) this.image.apply(record)
    this.offset += records.length
  }

  register(brokerId: number, more: Partial<RegisterRequest> = {}): ErrorCode {
    const request: RegisterRequest = {
      clusterId: CLUSTER,
      brokerId,
      incarnationId: uuidFor('I', brokerId),
      previousBrokerEpoch: -1,
      host: 'localhost',
      port: 9000,
      endpoints: [{ listener: 'HTTP', host: 'localhost', port: 8080 }],
      rack: null,
      directories: [DIRECTORY(brokerId)],
      ...more,
    }
    const answer = this.controller.register(request, this.nowMs)
    this.apply(answer.records)
    if (answer.errorCode === 0) assert.equal(answer.brokerEpoch, this.epochOf(brokerId))
    return answer.errorCode
  }

  epochOf(brokerId: number): number {
    return this.image.brokers.get(brokerId)?.epoch ?? -1
  }

  heartbeat(
    brokerId: number,
    more: { offset?: number; wantsFence?: boolean; wantsShutdown?: boolean; epoch?: number } = {},
  ): HeartbeatAnswer {
    const request = {
      brokerId,
      brokerEpoch: more.epoch ?? this.epochOf(brokerId),
      metadataOffset: more.offset ?? this.offset,
      wantsFence: more.wantsFence ?? false,
      wantsShutdown: more.wantsShutdown ?? false,
    }
    const answer = this.controller.heartbeat(request, this.nowMs)
    this.apply(answer.records)
    const broker = this.image.brokers.get(brokerId)
    if (answer.errorCode === 0) {
      assert.deepEqual([answer.isFenced, answer.isDraining], [broker?.isFenced, broker?.isDraining])
    }
    return answer
  }

  start(...ids: number[]): this {
    for (const id of ids) {
      assert.equal(this.register(id), ErrorCode.NONE)
      assert.equal(this.heartbeat(id).isFenced, false)
    }
    return this
  }

  /** Lets time pass in ticks, with heartbeats of some. */
  pass(ms: number, ...alive: number[]): void {
    for (const until = this.nowMs + ms; this.nowMs < until; ) {
      this.nowMs = Math.min(until, this.nowMs + 100)
      for (const id of alive) this.heartbeat(id)
      this.apply(this.controller.onTime(this.nowMs))
    }
  }

  create(...replicas: number[][]): this {
    this.apply(placed(...replicas))
    return this
  }

  leader(partition = 0): number {
    return this.image.partitions.leader(this.image.handleOf(TOPIC, partition) as number)
  }
}

describe('Controller, a registration,', () => {
  test('is answered anew with the same epoch, and refused to another process', () => {
    const cluster = new Cluster().start(1)
    const epoch = cluster.epochOf(1)
    assert.equal(cluster.register(1), ErrorCode.NONE)
    assert.equal(cluster.epochOf(1), epoch)
    const other = { incarnationId: uuidFor('J', 1) }
    assert.equal(cluster.register(1, other), ErrorCode.DUPLICATE_BROKER_REGISTRATION)
    cluster.pass(1100)
    assert.equal(cluster.register(1, other), ErrorCode.NONE)
    assert.ok(cluster.epochOf(1) > epoch)
    assert.equal(cluster.register(1), ErrorCode.DUPLICATE_BROKER_REGISTRATION, 'before it is heard')
    assert.equal(cluster.heartbeat(1, { epoch }).errorCode, ErrorCode.STALE_BROKER_EPOCH)
    assert.equal(cluster.heartbeat(9).errorCode, ErrorCode.BROKER_ID_NOT_REGISTERED)
  })

  test('is unclean unless nothing was lost since the one before it', () => {
    for (const isKnown of [true, false]) {
      const cluster = new Cluster().start(1, 2).create([1])
      cluster.pass(1100, 2)
      const previousBrokerEpoch = isKnown ? cluster.epochOf(1) : -1
      cluster.register(1, { incarnationId: uuidFor('J', 1), previousBrokerEpoch })
      const eligible = cluster.image.partitions.eligibleReplicas(1)
      assert.deepEqual(eligible, isKnown ? [1] : [])
    }
  })

  test('is unclean with other log directories than before, whatever it says of the rest', () => {
    const disk = (n: number) => uuidFor('X', n)
    for (const [before, now] of [
      [
        [1, 2],
        [1, 3],
      ], // A disk was replaced.
      [[1, 2], [1]], // One is not there.
      [[1], [1, 2]], // One is there again, with what it had long ago.
    ] as const) {
      const cluster = new Cluster().start(2)
      assert.equal(cluster.register(1, { directories: before.map(disk) }), ErrorCode.NONE)
      cluster.heartbeat(1)
      cluster.create([1])
      cluster.pass(1100, 2)
      const previousBrokerEpoch = cluster.epochOf(1)
      const incarnationId = uuidFor('J', 1)
      const again = { incarnationId, previousBrokerEpoch, directories: now.map(disk) }
      assert.equal(cluster.register(1, again), ErrorCode.NONE)
      assert.deepEqual(cluster.image.partitions.eligibleReplicas(1), [], `${before} to ${now}`)
    }
  })

  test('is not unclean when its log directories come in another order', () => {
    const cluster = new Cluster().start(2)
    const directories = [uuidFor('X', 1), uuidFor('X', 2)]
    assert.equal(cluster.register(1, { directories }), ErrorCode.NONE)
    cluster.heartbeat(1)
    cluster.create([1])
    cluster.pass(1100, 2)
    const previousBrokerEpoch = cluster.epochOf(1)
    const again = { incarnationId: uuidFor('J', 1), previousBrokerEpoch }
    const reversed = [...directories].reverse()
    assert.equal(cluster.register(1, { ...again, directories: reversed }), ErrorCode.NONE)
    assert.deepEqual(cluster.image.partitions.eligibleReplicas(1), [1])
  })

  test('is not unclean when the process before it died without knowing its epoch', () => {
    const cluster = new Cluster().start(1, 2).create([1])
    const previousBrokerEpoch = cluster.epochOf(1)
    for (const letter of ['J', 'K']) {
      cluster.pass(1100, 2)
      cluster.register(1, { incarnationId: uuidFor(letter, 1), previousBrokerEpoch })
      assert.deepEqual(cluster.image.partitions.eligibleReplicas(1), [1])
    }
  })

  test('of a broker on its own that becomes a member, need not wait', () => {
    const cluster = new Cluster()
    cluster.apply([{ type: 'broker-start', brokerId: 1, brokerEpoch: 4, clean: true }])
    cluster.lead()
    assert.equal(cluster.register(1, { previousBrokerEpoch: 4 }), ErrorCode.NONE)
    assert.equal(cluster.epochOf(1), 5)
  })

  const endpoint = { listener: 'A', host: 'h', port: 1 }
  const many = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ ...endpoint, listener: `${i}` }))
  const bad: readonly (readonly [string, Partial<RegisterRequest>])[] = [
    ['too many endpoints', { endpoints: many(ENDPOINTS_MAX + 1) }],
    ['a listener twice', { endpoints: [endpoint, endpoint] }],
    ['no port', { port: 0 }],
    ['no directory', { directories: [] }],
    ['a directory twice', { directories: [DIRECTORY(1), DIRECTORY(1)] }],
    ['a directory of another broker', { directories: [DIRECTORY(2)] }],
    [
      'too many directories',
      { directories: Array.from({ length: DIRECTORIES_MAX + 1 }, (_, i) => uuidFor('X', i)) },
    ],
    ['no incarnation', { incarnationId: 'AAAAAAAAAAAAAAAAAAAAAA' }],
    ['a rack too long', { rack: 'r'.repeat(256) }],
    ['a negative id', { brokerId: -1 }],
  ]
  for (const [name, more] of bad) {
    test(`with ${name} is refused`, () => {
      const cluster = new Cluster().start(2)
      assert.equal(cluster.register(1, more), ErrorCode.INVALID_REGISTRATION)
    })
  }

  test('for another cluster is refused', () => {
    const cluster = new Cluster()
    const clusterId = uuidFor('C', 2)
    assert.equal(cluster.register(1, { clusterId }), ErrorCode.INCONSISTENT_CLUSTER_ID)
  })
})

describe('Controller, heartbeats,', () => {
  test('unfence a broker that has caught up with what was there when it was first heard', () => {
    const cluster = new Cluster()
    cluster.register(1)
    const target = cluster.offset
    assert.deepEqual(cluster.heartbeat(1, { offset: target - 1 }).isCaughtUp, false)
    cluster.apply([{ type: 'features', name: 'x', level: 1 }])
    const answer = cluster.heartbeat(1, { offset: target })
    assert.deepEqual([answer.isCaughtUp, answer.isFenced], [true, false])
    assert.ok(cluster.image.isActive(1))
  })

  test('after a fence must have learnt of it', () => {
    const cluster = new Cluster().start(1, 2)
    const before = cluster.offset
    cluster.pass(1100, 2)
    assert.equal(cluster.image.isActive(1), false)
    assert.equal(cluster.heartbeat(1, { offset: before }).isFenced, true)
    assert.equal(cluster.heartbeat(1).isFenced, false)
  })

  test('can ask to be fenced', () => {
    const cluster = new Cluster().start(1)
    assert.equal(cluster.heartbeat(1, { wantsFence: true }).isFenced, true)
    assert.equal(cluster.heartbeat(1, { wantsFence: true }).records.length, 0)
    assert.equal(cluster.heartbeat(1).isFenced, false)
  })
})

describe('Controller, a broker that is silent,', () => {
  test('is fenced when its session is over, and not before', () => {
    const cluster = new Cluster().start(1, 2).create([1, 2])
    cluster.pass(900, 2)
    assert.equal(cluster.leader(), 1)
    cluster.pass(100, 2)
    assert.equal(cluster.leader(), 2)
    assert.equal(cluster.image.isActive(2), true)
  })

  test('is fenced sooner when its connection broke, unless it is heard again', () => {
    const cluster = new Cluster().start(1, 2).create([1, 2])
    cluster.controller.brokerConnectionLost(1, cluster.nowMs)
    cluster.pass(500, 2)
    assert.equal(cluster.leader(), 1)
    cluster.heartbeat(1)
    cluster.pass(900, 2)
    assert.equal(cluster.leader(), 1)
    cluster.heartbeat(1)
    cluster.controller.brokerConnectionLost(1, cluster.nowMs)
    cluster.controller.brokerConnectionLost(9, cluster.nowMs)
    cluster.pass(600, 2)
    assert.equal(cluster.leader(), 2)
  })

  test('that loses its connection late, has time to connect anew', () => {
    const cluster = new Cluster().start(1, 2).create([1, 2])
    cluster.pass(500, 2)
    cluster.controller.brokerConnectionLost(1, cluster.nowMs)
    cluster.pass(300, 2)
    assert.equal(cluster.leader(), 1)
    cluster.pass(100, 2)
    assert.equal(cluster.leader(), 2)
  })

  test('has a whole session under a new controller', () => {
    const cluster = new Cluster().start(1, 2).create([1, 2])
    cluster.pass(900, 2)
    cluster.lead()
    cluster.pass(900, 2)
    assert.equal(cluster.leader(), 1)
    cluster.pass(100, 2)
    assert.equal(cluster.leader(), 2)
  })

  test('that was the controller, was heard as that, and may yet learn who it is now', () => {
    const lost = (heardMs: number, lostMs: number, expectedMs: number): void => {
      const cluster = new Cluster().start(1, 2).create([1, 2])
      cluster.pass(5000, 1, 2)
      cluster.lead()
      cluster.controller.succeeds(1, cluster.nowMs - heardMs, cluster.nowMs - lostMs)
      cluster.pass(expectedMs - 100, 2)
      assert.equal(cluster.leader(), 1, `heard ${heardMs} ms ago, lost ${lostMs} ms ago`)
      cluster.pass(100, 2)
      assert.equal(cluster.leader(), 2, `heard ${heardMs} ms ago, lost ${lostMs} ms ago`)
    }
    lost(200, 150, 400)
    lost(400, 0, 400)
    lost(100, 0, 500)
    lost(9000, 8000, 600)
  })

  test('while the controller itself stood still, is not held guilty', () => {
    const cluster = new Cluster().start(1, 2).create([1, 2])
    cluster.pass(200, 1, 2)
    cluster.nowMs += 60_000
    assert.deepEqual(cluster.controller.onTime(cluster.nowMs), [])
    cluster.pass(300)
    assert.equal(cluster.leader(), 1)
    cluster.pass(300)
    assert.equal(cluster.leader(), NO_LEADER, 'both were silent for long enough')
  })

  test('is waited for no longer than the next deadline', () => {
    const cluster = new Cluster().start(1)
    assert.equal(cluster.controller.nextDeadlineMs(), cluster.nowMs + 200)
    cluster.pass(900)
    assert.equal(cluster.controller.nextDeadlineMs(), cluster.nowMs + 100)
  })
})

describe('Controller, a broker that stops in order,', () => {
  test('gives up what others can lead, and goes when they know', () => {
    const cluster = new Cluster().start(1, 2, 3).create([1, 2, 3], [1], [2, 1])
    const wish = { wantsShutdown: true }
    const asked = cluster.offset
    assert.equal(cluster.heartbeat(1, wish).mayShutDown, false)
    assert.deepEqual([cluster.leader(0), cluster.leader(1)], [2, 1])
    for (const id of [2, 3]) cluster.heartbeat(id, { offset: asked })
    assert.equal(cluster.heartbeat(1, wish).mayShutDown, false, 'others do not know')
    for (const id of [2, 3]) cluster.heartbeat(id)
    assert.equal(cluster.heartbeat(1, wish).mayShutDown, true)
    assert.equal(cluster.leader(1), NO_LEADER)
    assert.equal(cluster.heartbeat(1, wish).mayShutDown, true)
    const previousBrokerEpoch = cluster.epochOf(1)
    const again = { incarnationId: uuidFor('J', 1), previousBrokerEpoch }
    assert.equal(cluster.register(1, again), ErrorCode.NONE, 'its session need not end')
    cluster.heartbeat(1)
    assert.equal(cluster.leader(1), 1)
  })

  test('gives up what others have caught up with meanwhile', () => {
    const cluster = new Cluster().start(1, 2).create([1, 2])
    cluster.apply([altered([1])])
    cluster.heartbeat(1, { wantsShutdown: true })
    assert.equal(cluster.leader(), 1)
    cluster.apply([altered([1, 2])])
    assert.equal(cluster.heartbeat(1, { wantsShutdown: true }).mayShutDown, false)
    assert.equal(cluster.leader(), 2)
  })

  test('is waited for by nobody who is dead', () => {
    const cluster = new Cluster().start(1, 2)
    cluster.heartbeat(1, { wantsShutdown: true })
    assert.equal(cluster.heartbeat(1, { wantsShutdown: true }).mayShutDown, false)
    for (let i = 0; i < 10; i++) {
      cluster.pass(100)
      if (cluster.heartbeat(1, { wantsShutdown: true }).mayShutDown) return
    }
    cluster.pass(100)
    assert.equal(cluster.heartbeat(1, { wantsShutdown: true }).mayShutDown, true)
  })
})

describe('Controller, unregister,', () => {
  test('takes out who has stopped', () => {
    const cluster = new Cluster().start(1, 2)
    const { controller } = cluster
    assert.equal(controller.unregister(9, cluster.nowMs).errorCode, 102)
    assert.equal(controller.unregister(1, cluster.nowMs).errorCode, ErrorCode.INVALID_REQUEST)
    cluster.pass(1100, 2)
    cluster.apply(controller.unregister(1, cluster.nowMs).records)
    assert.deepEqual([...cluster.image.brokers.keys()], [2])
  })
})

describe('Controller, alterPartitions,', () => {
  test('takes what fits and says of the rest why not', () => {
    const cluster = new Cluster().start(1, 2).create([1, 2], [2, 1])
    const members = [{ brokerId: 1, brokerEpoch: cluster.epochOf(1) }]
    const proposal = { topicId: TOPIC, partition: 0, leaderEpoch: 0, partitionEpoch: 0, members }
    const request = { brokerId: 1, brokerEpoch: cluster.epochOf(1) }
    const { errorCode, records, results } = cluster.controller.alterPartitions({
      ...request,
      partitions: [
        proposal,
        proposal,
        { ...proposal, partition: 1 },
        { ...proposal, partition: 2 },
        { ...proposal, topicId: CLUSTER },
      ],
    })
    assert.equal(errorCode, ErrorCode.NONE)
    assert.deepEqual(
      results.map((result) => result.errorCode),
      [
        ErrorCode.NONE,
        ErrorCode.INVALID_REQUEST,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_ID,
      ],
    )
    cluster.apply(records)
    assert.deepEqual(cluster.image.partitions.state(1), results[0]?.state)
    assert.deepEqual(cluster.image.partitions.inSyncReplicas(1), [1])
    const stale = cluster.controller.alterPartitions({ ...request, brokerEpoch: 0, partitions: [] })
    assert.equal(stale.errorCode, ErrorCode.STALE_BROKER_EPOCH)
  })

  test('ends a reassignment when the new replicas are in sync', () => {
    const cluster = new Cluster().start(1, 2).create([1])
    cluster.apply([
      {
        type: 'partition-reassigned',
        topicId: TOPIC,
        partition: 0,
        replicas: [2, 1],
        replicaDirectories: [DIRECTORY(2), DIRECTORY(1)],
        addingReplicas: [2],
        removingReplicas: [1],
        ruleVersion: 1,
      },
    ])
    const { records } = cluster.controller.alterPartitions({
      brokerId: 1,
      brokerEpoch: cluster.epochOf(1),
      partitions: [
        {
          topicId: TOPIC,
          partition: 0,
          leaderEpoch: 0,
          partitionEpoch: 1,
          members: [1, 2].map((id) => ({ brokerId: id, brokerEpoch: cluster.epochOf(id) })),
        },
      ],
    })
    cluster.apply(records)
    assert.deepEqual(cluster.image.partitions.replicas(1), [2])
    assert.equal(cluster.leader(), 2)
  })
})

describe('Controller, leaders,', () => {
  test('move to preferred replicas, some at a time', () => {
    const cluster = new Cluster().start(1, 2).create([1, 2], [1, 2], [1, 2], [2, 1])
    cluster.lead({ balanceIntervalMs: 5000, balanceStepMax: 2 })
    cluster.apply([{ type: 'broker-fenced', brokerId: 1, brokerEpoch: 1, ruleVersion: 1 }])
    cluster.heartbeat(1)
    for (const partition of [0, 1, 2]) cluster.apply([altered([1, 2], partition)])
    const leaders = (): number[] => [0, 1, 2, 3].map((partition) => cluster.leader(partition))
    cluster.pass(4900, 1, 2)
    assert.deepEqual(leaders(), [2, 2, 2, 2])
    cluster.pass(100, 1, 2)
    assert.deepEqual(leaders(), [1, 1, 2, 2])
    cluster.pass(900, 1, 2)
    assert.deepEqual(leaders(), [1, 1, 2, 2])
    cluster.pass(100, 1, 2)
    assert.deepEqual(leaders(), [1, 1, 1, 2])
  })

  test('are elected where that is asked for', () => {
    const cluster = new Cluster().start(1, 2).create([1, 2], [2, 1], [1])
    cluster.apply([altered([2], 1), altered([1], 0)])
    cluster.pass(1100, 2)
    cluster.heartbeat(2)
    const named = [0, 1, 2, 7].map((partition) => ({ topicId: TOPIC, partition }))
    const codes = (kind: 'preferred' | 'unclean') => {
      const { records, results } = electLeaders(cluster.image, kind, named)
      return [results.map(({ errorCode }) => errorCode), records.map((one) => one.partitions)]
    }
    const { ELECTION_NOT_NEEDED: no, PREFERRED_LEADER_NOT_AVAILABLE: none } = ErrorCode
    assert.deepEqual(codes('preferred'), [[none, no, none, 3], []])
    const { ELIGIBLE_LEADERS_NOT_AVAILABLE: nobody } = ErrorCode
    assert.deepEqual(codes('unclean'), [[0, no, nobody, 3], [[0]]])
  })
})
