import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { ZERO_UUID } from '../../src/base/uuid.ts'
import {
  encodeAssignmentIn,
  encodeSubscriptionIn,
} from '../../src/coordinator/group/consumer-protocol.ts'
import {
  GROUP_BYTES_MAX,
  GROUPS_MAX,
  INSTANCE_ID_CHARS_MAX,
  MEMBER_BYTES_MAX,
} from '../../src/coordinator/group/group-limits.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { JoinGroupResponseInit } from '../../src/wire/kafka/schema/11-join-group.ts'
import type { SyncGroupResponseInit } from '../../src/wire/kafka/schema/14-sync-group.ts'
import { CONFIG, GroupWorld } from './group-world.ts'

const GROUP = 'g'
const SESSION_MS = 2000

interface JoinOptions {
  readonly clientId?: string
  readonly groupId?: string
  readonly metadata?: Uint8Array
  readonly memberId?: string
  readonly instanceId?: string
  readonly protocols?: readonly string[]
  readonly apiVersion?: number
}

/** A world with one group; every step is committed at once. */
class Fixture {
  readonly world = new GroupWorld(new Random(1))

  join(options: JoinOptions = {}): { answer: JoinGroupResponseInit | null } {
    const result: { answer: JoinGroupResponseInit | null } = { answer: null }
    const request = {
      groupId: options.groupId ?? GROUP,
      sessionTimeoutMs: SESSION_MS,
      rebalanceTimeoutMs: 5000,
      memberId: options.memberId ?? '',
      groupInstanceId: options.instanceId ?? null,
      protocolType: 'consumer',
      protocols: (options.protocols ?? ['range']).map((name) => ({
        name,
        metadata: options.metadata ?? new Uint8Array([1]),
      })),
      reason: null,
    }
    const context = this.world.context(options.clientId ?? 'client', options.apiVersion ?? 9)
    this.world.step((coordinator) =>
      coordinator.join(request, context, (answer) => {
        result.answer = answer
      }),
    )
    this.world.commit()
    return result
  }

  sync(
    of: JoinGroupResponseInit,
    parts: readonly string[] = [],
    assignment: Uint8Array = new Uint8Array([0]),
  ): SyncGroupResponseInit | null {
    let result: SyncGroupResponseInit | null = null
    const request = {
      groupId: GROUP,
      generationId: of.generationId as number,
      memberId: of.memberId,
      groupInstanceId: null,
      protocolType: null,
      protocolName: null,
      assignments: parts.map((memberId) => ({ memberId, assignment })),
    }
    this.world.step((coordinator) =>
      coordinator.sync(request, this.world.now, (answer) => {
        result = answer
      }),
    )
    this.world.commit()
    return result
  }

  heartbeat(of: JoinGroupResponseInit, instanceId: string | null = null): ErrorCode {
    let result: ErrorCode = ErrorCode.UNKNOWN_SERVER_ERROR
    const request = {
      groupId: GROUP,
      generationId: of.generationId as number,
      memberId: of.memberId,
      groupInstanceId: instanceId,
    }
    this.world.step((coordinator) =>
      coordinator.heartbeat(request, this.world.now, (code) => {
        result = code
      }),
    )
    this.world.commit()
    return result
  }

  commitOffset(
    offset: number,
    parts: { groupId?: string; memberId?: string; generationId?: number; apiVersion?: number } = {},
  ): ErrorCode {
    let result: ErrorCode = ErrorCode.UNKNOWN_SERVER_ERROR
    const request = {
      groupId: parts.groupId ?? GROUP,
      generationId: parts.generationId ?? -1,
      memberId: parts.memberId ?? '',
      instanceId: null,
      retentionMs: -1,
      apiVersion: parts.apiVersion ?? 8,
      offsets: [
        {
          topic: 't',
          topicId: ZERO_UUID,
          partition: 0,
          offset,
          leaderEpoch: -1,
          metadata: null,
        },
      ],
    }
    this.world.step((coordinator) =>
      coordinator.commit(request, this.world.now, ([code]) => {
        result = code as ErrorCode
      }),
    )
    this.world.commit()
    return result
  }

  pass(ms: number): void {
    this.world.pass(ms)
    this.world.commit()
  }

  /** One member, alone and settled. */
  settled(options: JoinOptions = {}): JoinGroupResponseInit {
    const joining = this.join({ apiVersion: 3, ...options })
    this.pass(CONFIG.initialRebalanceDelayMs)
    assert(joining.answer !== null)
    assert.equal(this.sync(joining.answer, [joining.answer.memberId])?.errorCode, ErrorCode.NONE)
    return joining.answer
  }
}

describe('JoinGroup', () => {
  test('a new dynamic member from version 4 on, is told its id first (KIP-394)', () => {
    const fixture = new Fixture()
    const refused = fixture.join()
    assert.equal(refused.answer?.errorCode, ErrorCode.MEMBER_ID_REQUIRED)
    const joining = fixture.join({ memberId: refused.answer?.memberId as string })
    assert.equal(joining.answer, null)
    fixture.pass(CONFIG.initialRebalanceDelayMs)
    assert.equal((joining.answer as JoinGroupResponseInit | null)?.generationId, 1)
  })

  test('an id that is not used in time, is forgotten and holds nobody up', () => {
    const fixture = new Fixture()
    const first = fixture.settled()
    const abandoned = fixture.join()
    const again = fixture.join({ memberId: first.memberId })
    assert.equal(again.answer, null, 'the round waits for whoever was given an id')
    fixture.pass(SESSION_MS)
    assert.equal((again.answer as JoinGroupResponseInit | null)?.generationId, 2)
    const late = fixture.join({ memberId: abandoned.answer?.memberId as string })
    assert.equal(late.answer?.errorCode, ErrorCode.UNKNOWN_MEMBER_ID)
  })

  test('two at once in an empty group, share the first round', () => {
    const fixture = new Fixture()
    const joining = [fixture.join({ apiVersion: 3 }), fixture.join({ apiVersion: 3 })]
    fixture.pass(CONFIG.initialRebalanceDelayMs * 2)
    const answers = joining.map(({ answer }) => answer as JoinGroupResponseInit | null)
    assert.deepEqual(
      answers.map((answer) => answer?.generationId),
      [1, 1],
    )
    assert.deepEqual(answers.map((answer) => answer?.members.length).sort(), [0, 2])
  })

  test('no protocol in common, is INCONSISTENT_GROUP_PROTOCOL', () => {
    const fixture = new Fixture()
    fixture.settled({ protocols: ['range'] })
    const { answer } = fixture.join({ protocols: ['sticky'] })
    assert.equal(answer?.errorCode, ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
  })

  test('a session outside the bounds, is INVALID_SESSION_TIMEOUT', () => {
    const { world } = new Fixture()
    let code: number | null = null
    const request = {
      groupId: GROUP,
      sessionTimeoutMs: CONFIG.sessionTimeoutMsMax + 1,
      rebalanceTimeoutMs: 5000,
      memberId: '',
      groupInstanceId: null,
      protocolType: 'consumer',
      protocols: [],
      reason: null,
    }
    world.step((coordinator) =>
      coordinator.join(request, world.context('c'), ({ errorCode }) => {
        code = errorCode
      }),
    )
    world.commit()
    assert.equal(code, ErrorCode.INVALID_SESSION_TIMEOUT)
  })

  test('a full group, refuses one more', () => {
    const fixture = new Fixture()
    for (let i = 0; i < CONFIG.groupMaxSize; i++) fixture.join({ apiVersion: 3 })
    const { answer } = fixture.join({ apiVersion: 3 })
    assert.equal(answer?.errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED)
  })

  test('a static member that comes back, keeps its assignment without a round (KIP-345)', () => {
    const fixture = new Fixture()
    const first = fixture.settled({ instanceId: 'i' })
    const back = fixture.join({ instanceId: 'i', apiVersion: 5 }).answer
    assert.equal(back?.generationId, first.generationId)
    assert.notEqual(back?.memberId, first.memberId)
    assert.equal(back?.leader, first.memberId, 'it does not assign anew')
    assert.deepEqual(fixture.sync(back as JoinGroupResponseInit)?.assignment, new Uint8Array([0]))
    assert.equal(fixture.heartbeat(first, 'i'), ErrorCode.FENCED_INSTANCE_ID)
    assert.equal(fixture.heartbeat(back as JoinGroupResponseInit, 'i'), ErrorCode.NONE)
  })

  test('a static member that owed partitions when it died, comes back into a round', () => {
    const fixture = new Fixture()
    const ownedPartitions = [{ topic: 't', partitions: [0, 1] }]
    const metadata = encodeSubscriptionIn(1, { topics: ['t'], ownedPartitions })
    const joining = fixture.join({ instanceId: 'i', metadata, apiVersion: 5 })
    fixture.pass(CONFIG.initialRebalanceDelayMs)
    const first = joining.answer as JoinGroupResponseInit
    const kept = encodeAssignmentIn(1, [{ topic: 't', partitions: [0] }])
    assert.equal(fixture.sync(first, [first.memberId], kept)?.errorCode, ErrorCode.NONE)
    const again = fixture.join({ instanceId: 'i', metadata, apiVersion: 5 }).answer
    assert.equal(again?.generationId, (first.generationId as number) + 1)
    assert.equal(again?.leader, again?.memberId, 'it assigns anew')
  })

  test('a static leader of version 9 that comes back, is told to skip the assignment', () => {
    const fixture = new Fixture()
    fixture.settled({ instanceId: 'i' })
    const back = fixture.join({ instanceId: 'i', apiVersion: 9 }).answer
    assert.equal(back?.skipAssignment, true)
    assert.equal(back?.leader, back?.memberId)
    assert.equal(back?.members.length, 1)
  })
})

describe('what does not fit', () => {
  test('a client with a very long name, is given an id that every version can carry', () => {
    const fixture = new Fixture()
    const clientId = `${'x'.repeat(248)}${'\u{1f600}'.repeat(8000)}`
    const { answer } = fixture.join({ clientId })
    assert.equal(answer?.errorCode, ErrorCode.MEMBER_ID_REQUIRED)
    const memberId = answer?.memberId as string
    assert(memberId.length < 300)
    assert.equal(Buffer.from(memberId).toString(), memberId, 'what comes back is the same')
    const joining = fixture.join({ clientId, memberId })
    fixture.pass(CONFIG.initialRebalanceDelayMs)
    const settled = joining.answer as JoinGroupResponseInit | null
    assert.equal(settled?.errorCode, ErrorCode.NONE)
    assert.equal(fixture.sync(settled, [memberId])?.errorCode, ErrorCode.NONE)
    fixture.world.restart()
    assert.equal(fixture.world.coordinator.groups.get(GROUP)?.members.size, 1)
  })

  test('an instance id that is longer than any, is INVALID_REQUEST', () => {
    const { answer } = new Fixture().join({ instanceId: 'i'.repeat(INSTANCE_ID_CHARS_MAX + 1) })
    assert.equal(answer?.errorCode, ErrorCode.INVALID_REQUEST)
  })

  test('members whose metadata is more than a record holds, are GROUP_MAX_SIZE_REACHED', () => {
    const fixture = new Fixture()
    const metadata = new Uint8Array(MEMBER_BYTES_MAX - 100)
    const codes: (number | undefined)[] = []
    for (let i = 0; i < 5; i++) {
      codes.push(fixture.join({ metadata, apiVersion: 3 }).answer?.errorCode)
    }
    assert.deepEqual(codes.slice(0, 3), [undefined, undefined, undefined])
    assert.equal(codes[4], ErrorCode.GROUP_MAX_SIZE_REACHED)
    const alone = new Fixture().join({ metadata: new Uint8Array(MEMBER_BYTES_MAX) })
    assert.equal(alone.answer?.errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED)
  })

  test('an assignment that is more than a record holds, is refused, the group goes on', () => {
    const fixture = new Fixture()
    const joining = fixture.join({ apiVersion: 3 })
    fixture.pass(CONFIG.initialRebalanceDelayMs)
    const leader = joining.answer as JoinGroupResponseInit
    const large = fixture.sync(leader, [leader.memberId], new Uint8Array(GROUP_BYTES_MAX))
    assert.equal(large?.errorCode, ErrorCode.RECORD_LIST_TOO_LARGE)
    assert.equal(fixture.sync(leader, [leader.memberId])?.errorCode, ErrorCode.NONE)
  })

  test('groups that nobody gets into, are not kept, and there are not too many', () => {
    const fixture = new Fixture()
    fixture.join({ metadata: new Uint8Array(MEMBER_BYTES_MAX), groupId: 'refused' })
    assert.equal(fixture.world.coordinator.groups.size, 0)
    for (let i = 0; i < GROUPS_MAX; i++) fixture.join({ groupId: `g${i}` })
    const { answer } = fixture.join({ groupId: 'one more' })
    assert.equal(answer?.errorCode, ErrorCode.POLICY_VIOLATION)
    assert.equal(fixture.commitOffset(1), ErrorCode.POLICY_VIOLATION)
    fixture.pass(SESSION_MS)
    assert.equal(fixture.world.coordinator.groups.size, 0, 'ids that were not used in time')
    assert.deepEqual(fixture.world.log, [])
  })
})

describe('Heartbeat', () => {
  test('a member that is silent for its session, is removed and others are told', () => {
    const fixture = new Fixture()
    const first = fixture.settled()
    const joining = fixture.join({ apiVersion: 3 })
    assert.equal(fixture.heartbeat(first), ErrorCode.REBALANCE_IN_PROGRESS)
    fixture.pass(SESSION_MS)
    const second = joining.answer as JoinGroupResponseInit | null
    assert.equal(second?.members.length, 1)
    assert.equal(fixture.heartbeat(first), ErrorCode.UNKNOWN_MEMBER_ID)
    assert.equal(
      fixture.heartbeat({ ...(second as JoinGroupResponseInit), generationId: 1 }),
      ErrorCode.ILLEGAL_GENERATION,
    )
  })

  test('a member that never fetches its assignment, is removed when the round is over', () => {
    const fixture = new Fixture()
    const joining = fixture.join({ apiVersion: 3 })
    fixture.pass(CONFIG.initialRebalanceDelayMs)
    const only = joining.answer as JoinGroupResponseInit
    for (let i = 0; i < 4; i++) {
      fixture.pass(1300)
      fixture.heartbeat(only)
    }
    assert.equal(fixture.heartbeat(only), ErrorCode.UNKNOWN_MEMBER_ID)
  })
})

describe('offsets', () => {
  test('of a group that has members, are committed by members of this generation only', () => {
    const fixture = new Fixture()
    assert.equal(fixture.commitOffset(1), ErrorCode.NONE)
    assert.equal(fixture.commitOffset(1, { generationId: 1 }), ErrorCode.UNKNOWN_MEMBER_ID)
    // A consumer of the new protocol that has chosen its id and assigns itself.
    assert.equal(fixture.commitOffset(1, { memberId: 'its-own' }), ErrorCode.NONE)
    const { memberId, generationId } = fixture.settled()
    assert.equal(fixture.commitOffset(2), ErrorCode.UNKNOWN_MEMBER_ID)
    assert.equal(
      fixture.commitOffset(2, { memberId, generationId: 0 }),
      ErrorCode.ILLEGAL_GENERATION,
    )
    assert.equal(
      fixture.commitOffset(2, { memberId, generationId: generationId as number }),
      ErrorCode.NONE,
    )
    assert.equal(fixture.world.durableOffset(0), 2)
  })

  test('of a group that does not exist, are committed by who is in no generation', () => {
    const code = (apiVersion: number): ErrorCode =>
      new Fixture().commitOffset(1, { generationId: 1, apiVersion })
    assert.equal(code(8), ErrorCode.ILLEGAL_GENERATION)
    assert.equal(code(9), ErrorCode.GROUP_ID_NOT_FOUND)
    const long = (chars: number): ErrorCode =>
      new Fixture().commitOffset(1, { groupId: 'g'.repeat(chars) })
    assert.equal(long(1000), ErrorCode.NONE)
    assert.equal(long(1001), ErrorCode.INVALID_GROUP_ID)
    assert.equal(new Fixture().commitOffset(1, { memberId: 'its-own' }), ErrorCode.NONE)
  })

  test('of an empty group, expire after their retention; of a live one never', () => {
    const fixture = new Fixture()
    const { memberId, generationId } = fixture.settled()
    fixture.commitOffset(7, { memberId, generationId: generationId as number })
    const { world } = fixture
    const expire = (): void => {
      world.step((coordinator) => coordinator.expire(world.now))
      world.commit()
    }
    for (let ms = 0; ms < 2 * CONFIG.offsetsRetentionMs; ms += SESSION_MS / 2) {
      world.pass(SESSION_MS / 2)
      fixture.heartbeat({
        memberId,
        generationId: generationId as number,
        leader: '',
        members: [],
        errorCode: 0,
        protocolName: '',
      })
    }
    expire()
    assert.equal(world.coordinator.offsets.count, 1)
    fixture.pass(SESSION_MS + 1)
    assert.equal(world.coordinator.groups.get(GROUP)?.state, 'Empty')
    fixture.pass(CONFIG.offsetsRetentionMs - 1000)
    expire()
    assert.equal(world.coordinator.offsets.count, 1)
    fixture.pass(1000)
    expire()
    assert.equal(world.coordinator.offsets.count, 0)
    assert.equal(world.coordinator.groups.size, 0)
    world.restart()
    assert.equal(world.coordinator.groups.size, 0, 'the log says so too')
  })

  test('of a topic that is gone when the log is read again, are forgotten', () => {
    const lone = new Fixture()
    lone.world.topics.set('t', 1)
    assert.equal(lone.commitOffset(3), ErrorCode.NONE)
    lone.world.restart()
    assert.equal(lone.world.coordinator.offsets.count, 1)
    lone.world.topics.delete('t')
    lone.world.restart()
    assert.equal(lone.world.coordinator.offsets.count, 0)
  })

  test('a group that has members, is not deleted', () => {
    const fixture = new Fixture()
    fixture.settled()
    const codes: ErrorCode[] = []
    const remove = (): void => {
      fixture.world.step((coordinator) =>
        coordinator.deleteGroup(GROUP, fixture.world.now, (code) => codes.push(code)),
      )
      fixture.world.commit()
    }
    remove()
    fixture.pass(SESSION_MS)
    remove()
    remove()
    assert.deepEqual(codes, [
      ErrorCode.NON_EMPTY_GROUP,
      ErrorCode.NONE,
      ErrorCode.GROUP_ID_NOT_FOUND,
    ])
  })
})
