import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type {
  ConsumerGroupHeartbeatRequest,
  ConsumerGroupHeartbeatResponseInit,
} from '../../src/wire/kafka/schema/68-consumer-group-heartbeat.ts'
import { CONFIG, GroupWorld } from './group-world.ts'

const GROUP = 'g'
const REBALANCE_MS = 1000

type Answer = ConsumerGroupHeartbeatResponseInit

/** A world with one group and the topic t of four partitions; every step is committed at once. */
class Fixture {
  readonly world = new GroupWorld(new Random(1))
  readonly topicId: string

  constructor() {
    this.world.topics.set('t', 4)
    this.topicId = this.world.topics.byName('t')?.id as string
  }

  send(request: Partial<ConsumerGroupHeartbeatRequest>, apiVersion = 1): Answer {
    let answer: Answer | null = null
    const body = {
      groupId: GROUP,
      memberId: 'a',
      memberEpoch: 0,
      instanceId: null,
      rackId: null,
      rebalanceTimeoutMs: -1,
      subscribedTopicNames: null,
      subscribedTopicRegex: null,
      serverAssignor: null,
      topicPartitions: null,
      ...request,
    }
    this.world.step((coordinator) =>
      coordinator.consumerHeartbeat(body, this.world.context('client', apiVersion), (given) => {
        answer = given
      }),
    )
    this.world.commit()
    assert(answer !== null)
    return answer
  }

  join(memberId: string, more: Partial<ConsumerGroupHeartbeatRequest> = {}): Answer {
    return this.send({
      memberId,
      memberEpoch: 0,
      rebalanceTimeoutMs: REBALANCE_MS,
      subscribedTopicNames: ['t'],
      topicPartitions: [],
      ...more,
    })
  }

  /** A heartbeat that reports to have `partitions`, or says nothing about it. */
  beat(memberId: string, memberEpoch: number, partitions?: number[]): Answer {
    const { topicId } = this
    const topicPartitions = partitions === undefined ? null : [{ topicId, partitions }]
    return this.send({ memberId, memberEpoch, topicPartitions })
  }

  commitOffset(memberId: string, generationId: number, partition = 0): ErrorCode {
    let result: ErrorCode = ErrorCode.UNKNOWN_SERVER_ERROR
    const { topicId } = this
    const offset = { topic: 't', topicId, partition, offset: 1, leaderEpoch: -1, metadata: null }
    const member = { groupId: GROUP, generationId, memberId, instanceId: null, apiVersion: 9 }
    this.world.step((coordinator) =>
      coordinator.commit(
        { ...member, retentionMs: -1, offsets: [offset] },
        this.world.now,
        ([code]) => {
          result = code as ErrorCode
        },
      ),
    )
    this.world.commit()
    return result
  }
}

function partitionsOf({ assignment }: Answer): readonly number[] | null {
  if (assignment === null || assignment === undefined) return null
  return assignment.topicPartitions.flatMap(({ partitions }) => partitions)
}

describe('a heartbeat that makes no sense, is refused with what is wrong', () => {
  const cases: readonly (readonly [string, Partial<ConsumerGroupHeartbeatRequest>, RegExp])[] = [
    ['no group', { groupId: '' }, /group id/],
    ['no member id', { memberId: '' }, /member id/],
    ['an empty instance id', { instanceId: '' }, /instance id/],
    ['an empty rack', { rackId: '' }, /rack id/],
    ['no rebalance timeout', { rebalanceTimeoutMs: -1 }, /rebalance timeout/],
    ['no list of partitions', { topicPartitions: null }, /empty list/],
    ['no subscription', { subscribedTopicNames: null }, /regular expression/],
    ['an epoch that is none', { memberEpoch: -3 }, /no member epoch/],
    ['leaving for a while without an instance id', { memberEpoch: -2 }, /instance id/],
  ]
  for (const [name, request, message] of cases) {
    test(name, () => {
      const answer = new Fixture().join('a', request)
      assert.equal(answer.errorCode, ErrorCode.INVALID_REQUEST)
      assert.match(answer.errorMessage as string, message)
    })
  }

  test('an assignor that there is not', () => {
    const answer = new Fixture().join('a', { serverAssignor: 'magic' })
    assert.equal(answer.errorCode, ErrorCode.UNSUPPORTED_ASSIGNOR)
    assert.match(answer.errorMessage as string, /uniform, range/)
  })

  test('a regular expression that is none', () => {
    const answer = new Fixture().join('a', { subscribedTopicRegex: '(' })
    assert.equal(answer.errorCode, ErrorCode.INVALID_REGULAR_EXPRESSION)
  })

  test('one too many', () => {
    const fixture = new Fixture()
    for (let i = 0; i < CONFIG.consumer.maxSize; i++) fixture.join(`m${i}`)
    assert.equal(fixture.join('late').errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED)
    assert.equal(fixture.join('m0').errorCode, ErrorCode.NONE)
  })

  test('of version 0 without a member id, is given one', () => {
    const fixture = new Fixture()
    const joining = { rebalanceTimeoutMs: 1, subscribedTopicNames: ['t'], topicPartitions: [] }
    const { errorCode, memberId } = fixture.send({ ...joining, memberId: '' }, 0)
    assert.equal(errorCode, ErrorCode.NONE)
    assert.notEqual(memberId, '')
  })
})

describe('epochs', () => {
  test('a second member waits until the first has given up its share', () => {
    const fixture = new Fixture()
    const first = fixture.join('a')
    assert.deepEqual(partitionsOf(first), [0, 1, 2, 3])
    const second = fixture.join('b')
    assert.deepEqual([second.memberEpoch, partitionsOf(second)], [2, []])
    const told = fixture.beat('a', 1)
    assert.deepEqual([told.memberEpoch, partitionsOf(told)], [1, [0, 1]])
    assert.equal(partitionsOf(fixture.beat('a', 1)), null, 'nothing is new')
    assert.equal(partitionsOf(fixture.beat('b', 2)), null, 'nothing is free yet')
    const done = fixture.beat('a', 1, [0, 1])
    assert.equal(done.memberEpoch, 2)
    assert.deepEqual(partitionsOf(fixture.beat('b', 2)), [2, 3])
  })

  test('a member that does not give up in time, is removed', () => {
    const fixture = new Fixture()
    fixture.join('a')
    fixture.join('b')
    fixture.beat('a', 1)
    fixture.world.pass(REBALANCE_MS)
    fixture.world.commit()
    assert.equal(fixture.beat('a', 1).errorCode, ErrorCode.UNKNOWN_MEMBER_ID)
    assert.deepEqual(partitionsOf(fixture.beat('b', 2)), [0, 1, 2, 3])
  })

  test('a silent member is removed by the end of its session, also after a restart', () => {
    const fixture = new Fixture()
    const { memberEpoch } = fixture.join('a')
    fixture.world.restart()
    assert.equal(fixture.beat('a', memberEpoch).errorCode, ErrorCode.NONE)
    fixture.world.pass(CONFIG.consumer.timesOf(GROUP).sessionTimeoutMs)
    fixture.world.commit()
    assert.equal(fixture.beat('a', memberEpoch).errorCode, ErrorCode.UNKNOWN_MEMBER_ID)
  })

  test('the epoch before is taken of who has no more than it is to have', () => {
    const fixture = new Fixture()
    fixture.join('a')
    fixture.world.topics.set('t', 5)
    assert.equal(fixture.beat('a', 1).memberEpoch, 2)
    assert.equal(fixture.beat('a', 1).errorCode, ErrorCode.FENCED_MEMBER_EPOCH, 'it says nothing')
    assert.equal(fixture.beat('a', 1, [0, 7]).errorCode, ErrorCode.FENCED_MEMBER_EPOCH)
    const again = fixture.beat('a', 1, [0, 1, 2, 3])
    assert.deepEqual([again.errorCode, again.memberEpoch], [ErrorCode.NONE, 2])
    assert.equal(fixture.beat('a', 3).errorCode, ErrorCode.FENCED_MEMBER_EPOCH)
  })
})

describe('static members', () => {
  const instanceId = 'i'

  test('away for a while, come back to what they had without a rebalance', () => {
    const fixture = new Fixture()
    const { memberEpoch } = fixture.join('a', { instanceId })
    assert.equal(fixture.join('b', { instanceId }).errorCode, ErrorCode.UNRELEASED_INSTANCE_ID)
    assert.equal(fixture.send({ memberEpoch: -2, instanceId }).memberEpoch, -2)
    const back = fixture.join('b', { instanceId })
    assert.deepEqual([back.memberEpoch, partitionsOf(back)], [memberEpoch, [0, 1, 2, 3]])
    const ghost = fixture.send({ memberId: 'a', memberEpoch, instanceId })
    assert.equal(ghost.errorCode, ErrorCode.FENCED_INSTANCE_ID)
  })

  test('that do not come back, are removed by the end of their session', () => {
    const fixture = new Fixture()
    fixture.join('a', { instanceId })
    fixture.send({ memberEpoch: -2, instanceId })
    fixture.world.pass(CONFIG.consumer.timesOf(GROUP).sessionTimeoutMs)
    fixture.world.commit()
    const group = fixture.world.coordinator.groups.get(GROUP)
    assert.equal(group?.state, 'Empty')
  })
})

describe('offsets', () => {
  test('are committed by members, also of an epoch since which they have the partition', () => {
    const fixture = new Fixture()
    fixture.join('a')
    fixture.world.topics.set('t', 6)
    assert.equal(fixture.beat('a', 1).memberEpoch, 2)
    assert.equal(fixture.commitOffset('a', 2), ErrorCode.NONE)
    assert.equal(fixture.commitOffset('a', 1), ErrorCode.NONE, 'it has had it since')
    assert.equal(fixture.commitOffset('a', 1, 5), ErrorCode.STALE_MEMBER_EPOCH)
    assert.equal(fixture.commitOffset('a', 3), ErrorCode.STALE_MEMBER_EPOCH)
    assert.equal(fixture.commitOffset('x', 1), ErrorCode.UNKNOWN_MEMBER_ID)
    assert.equal(fixture.commitOffset('', -1), ErrorCode.UNKNOWN_MEMBER_ID, 'it is not empty')
    fixture.send({ memberEpoch: -1 })
    assert.equal(fixture.commitOffset('', -1), ErrorCode.NONE)
  })

  test('are told to members of this epoch, and to whoever is none', () => {
    const fixture = new Fixture()
    fixture.join('a')
    const { coordinator } = fixture.world
    assert.equal(coordinator.fetchRefusal(GROUP, 'a', 1), ErrorCode.NONE)
    assert.equal(coordinator.fetchRefusal(GROUP, 'a', 2), ErrorCode.STALE_MEMBER_EPOCH)
    assert.equal(coordinator.fetchRefusal(GROUP, 'x', 1), ErrorCode.UNKNOWN_MEMBER_ID)
    assert.equal(coordinator.fetchRefusal(GROUP, null, -1), ErrorCode.NONE)
  })
})

describe('subscriptions', () => {
  test('by regular expression, match whole names and follow the topics', () => {
    const fixture = new Fixture()
    const joining = { subscribedTopicNames: null, subscribedTopicRegex: 't.?' }
    assert.equal(partitionsOf(fixture.join('a', joining))?.length, 4)
    fixture.world.topics.set('t2', 1)
    fixture.world.topics.set('t22', 1)
    fixture.world.topics.set('xt', 1)
    assert.equal(partitionsOf(fixture.beat('a', 1))?.length, 5)
    fixture.world.topics.delete('t2')
    assert.equal(partitionsOf(fixture.beat('a', 2))?.length, 4)
  })

  test('a restart, is no change of what there is', () => {
    const fixture = new Fixture()
    const { memberEpoch } = fixture.join('a')
    fixture.world.restart()
    assert.equal(fixture.beat('a', memberEpoch, [0, 1, 2, 3]).memberEpoch, memberEpoch)
    const group = fixture.world.coordinator.groups.get(GROUP)
    assert.equal(group?.type === 'consumer' && group.groupEpoch, memberEpoch)
  })
})

test('a group that is deleted, leaves nothing in the log', () => {
  const fixture = new Fixture()
  fixture.join('a', { subscribedTopicRegex: 't.*' })
  fixture.commitOffset('a', 1)
  fixture.send({ memberEpoch: -1 })
  const { world } = fixture
  let code: ErrorCode | null = null
  world.step((coordinator) =>
    coordinator.deleteGroup(GROUP, world.now, (given) => {
      code = given
    }),
  )
  world.commit()
  assert.equal(code, ErrorCode.NONE)
  const left = new Map(world.log.map(({ key, value }) => [Buffer.from(key).toString('hex'), value]))
  assert.deepEqual(new Set(left.values()), new Set([null]))
  world.restart()
  assert.equal(world.coordinator.groups.size, 0)
})
