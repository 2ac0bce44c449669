/**
 * Members that the broker plays, against the real coordinator: nobody has a partition twice, and
 * everything is somebody's once it is quiet, through members that come, go, crash and are slow, and
 * through coordinators that begin anew.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Random } from '../../src/base/random.ts'
import {
  type Assignment,
  GroupMember,
  type GroupMemberOptions,
} from '../../src/broker/group-member.ts'
import type { MemberCalls } from '../../src/broker/member-calls.ts'
import { encodeAssignment } from '../../src/coordinator/group/consumer-protocol-writer.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { FakeGroups } from '../support/fake-groups.ts'
import { withSeed } from '../support/seed.ts'
import { VirtualTimers } from '../support/virtual-timers.ts'

const GROUP = 'g'

class World extends FakeGroups {
  declare readonly timers: VirtualTimers

  constructor() {
    super(new VirtualTimers())
    this.counts.set('t', 6)
  }
}

/** A client of the member: has what it was assigned until it gives it back. */
class Client {
  readonly member: GroupMember
  readonly cut = { isCut: false }
  has = new Set<string>()
  committed = new Map<string, number>()
  generations: number[] = []
  lost: ErrorCode | null = null
  memberId = ''
  readonly #world: World

  constructor(world: World, releaseMs: () => number, options: Partial<GroupMemberOptions> = {}) {
    this.#world = world
    const given = {
      groupId: GROUP,
      topics: ['t'],
      sessionTimeoutMs: 3000,
      rebalanceTimeoutMs: 5000,
      clientId: 'c',
      clientHost: '/h',
      ...options,
    }
    this.member = new GroupMember(world.calls(this.cut), given, {
      onAccepted: (memberId) => {
        this.memberId = memberId
      },
      onAssigned: (assignment) => this.#assigned(assignment),
      onRevoke: () => {
        world.timers.after(releaseMs(), () => {
          if (this.cut.isCut || this.member.isOver) return
          this.has = new Set()
          this.member.released()
        })
      },
      onLost: (code) => {
        this.lost = code
        this.has = new Set()
      },
    })
    this.member.start()
  }

  /** Cut off: the others take it for dead, and what it does no longer counts. */
  get isGone(): boolean {
    return this.cut.isCut
  }

  #assigned({ generationId, partitions }: Assignment): void {
    assert.equal(this.has.size, 0, 'it has given everything back before')
    this.generations.push(generationId)
    this.has = new Set(partitions.map(({ topic, partition }) => `${topic}-${partition}`))
    for (const { topic, partition, committedOffset } of partitions) {
      const key = `${topic}-${partition}`
      const durable = this.#world.coordinator.offsets.get(GROUP, topic, partition)?.offset ?? -1
      assert.equal(committedOffset, durable, key)
    }
  }
}

function assertNobodyShares(clients: readonly Client[]): void {
  const owners = new Map<string, Client>()
  for (const client of clients) {
    if (client.isGone) continue
    for (const key of client.has) {
      assert(!owners.has(key), `${key} has two owners`)
      owners.set(key, client)
    }
  }
}

function ownedCount(clients: readonly Client[]): number {
  return clients.reduce((sum, { has, isGone }) => sum + (isGone ? 0 : has.size), 0)
}

test('members share the partitions, and what they have committed is where the next begins', async () => {
  const world = new World()
  const first = new Client(world, () => 0)
  await world.timers.pass(500)
  assert.equal(first.has.size, 6)
  const offsets = [{ topic: 't', partition: 3, offset: 42, metadata: null }]
  assert.deepEqual(await first.member.commit(offsets), [ErrorCode.NONE])
  const second = new Client(world, () => 0)
  await world.timers.pass(5000)
  assert.deepEqual([first.has.size, second.has.size], [3, 3])
  const [ofOther] = await first.member.commit([{ ...offsets[0]!, partition: 5 }])
  const [ofOwn] = await second.member.commit([{ ...offsets[0]!, partition: 5 }])
  assert.deepEqual([ofOther, ofOwn].sort(), [ErrorCode.NONE, ErrorCode.ILLEGAL_GENERATION].sort())
  await first.member.leave()
  await world.timers.pass(5000)
  assert.equal(second.has.size, 6)
})

test('a member that does not give back in time is lost, and is told', async () => {
  const world = new World()
  const slow = new Client(world, () => 1_000_000)
  await world.timers.pass(500)
  const other = new Client(world, () => 0)
  await world.timers.pass(3000)
  assert.equal(other.has.size, 0, 'not before the slow one is out')
  await world.timers.pass(5000)
  assert.equal(slow.lost, ErrorCode.UNKNOWN_MEMBER_ID)
  assert.equal(other.has.size, 6)
})

test('the leader notices a topic that grows, comes or goes', async () => {
  const world = new World()
  const client = new Client(world, () => 0, { topics: ['t', 'later'] })
  await world.timers.pass(500)
  world.counts.set('t', 8)
  await world.timers.pass(5000)
  assert.equal(client.has.size, 8)
  world.counts.set('later', 2)
  await world.timers.pass(5000)
  assert.equal(client.has.size, 10)
  world.counts.delete('t')
  await world.timers.pass(5000)
  assert.deepEqual([...client.has], ['later-0', 'later-1'])
})

test('what cannot be is refused, and a member that leaves at once leaves nothing', async () => {
  const world = new World()
  const refused = new Client(world, () => 0, { sessionTimeoutMs: 10 })
  await world.timers.pass(500)
  assert.equal(refused.lost, ErrorCode.INVALID_SESSION_TIMEOUT)
  const gone = new Client(world, () => 0)
  await gone.member.leave()
  await world.timers.pass(10_000)
  assert.equal(gone.has.size, 0)
  assert.equal(world.coordinator.groups.get(GROUP)?.members.size ?? 0, 0)
  assert.equal(pendingJoins(world), 0)
})

test('a leader that assigns what is not there, or twice, gives only what there is', async () => {
  const world = new World()
  const calls = world.calls({ isCut: false })
  const given: Assignment[] = []
  const asked: number[] = []
  const host = {
    onAccepted: () => {},
    onAssigned: (assignment: Assignment) => given.push(assignment),
    onRevoke: () => {},
    onLost: () => {},
  }
  const assigned = [-1, 2, 2, 6, 0].map((partition) => ({ topic: 't', partition }))
  const assignment = encodeAssignment([...assigned, { topic: 'no', partition: 0 }])
  const foreign: MemberCalls = {
    ...calls,
    sync: async (request) => ({ ...(await calls.sync(request)), assignment }),
    committed: (group, partitions) => {
      asked.push(...partitions.map(({ partition }) => partition))
      return calls.committed(group, partitions)
    },
  }
  const options = {
    groupId: GROUP,
    topics: ['t'],
    sessionTimeoutMs: 3000,
    rebalanceTimeoutMs: 5000,
    clientId: 'c',
    clientHost: '/h',
  }
  const member = new GroupMember(foreign, options, host)
  member.start()
  await world.timers.pass(500)
  const partitions = given[0]?.partitions.map(({ partition }) => partition)
  assert.deepEqual(
    [partitions, asked],
    [
      [2, 0],
      [2, 0],
    ],
  )
  const commits = [2, 0, 2, 1, -1].map((partition, offset) => {
    return { topic: 't', partition, offset, metadata: null }
  })
  const { NONE, ILLEGAL_GENERATION: OTHERS } = ErrorCode
  assert.deepEqual(await member.commit(commits), [NONE, NONE, NONE, OTHERS, OTHERS])
  assert.equal(world.coordinator.offsets.get(GROUP, 't', 2)?.offset, 2)
})

test('however short a time it is given to give back, its heartbeats are few', async () => {
  const world = new World()
  const calls = world.calls({ isCut: false })
  let heartbeats = 0
  let withinMs = -1
  const counted: MemberCalls = {
    ...calls,
    heartbeat: (request) => {
      heartbeats++
      return calls.heartbeat(request)
    },
  }
  const options = {
    groupId: GROUP,
    topics: ['t'],
    sessionTimeoutMs: 3000,
    rebalanceTimeoutMs: 0,
    clientId: 'c',
    clientHost: '/h',
  }
  const host = {
    onAccepted: () => {},
    onAssigned: () => {},
    onRevoke: (_: unknown, ms: number) => {
      withinMs = ms
    },
    onLost: () => {},
  }
  new GroupMember(counted, options, host).start()
  await world.timers.pass(10_000)
  assert.ok(heartbeats > 0 && heartbeats <= 200, `${heartbeats} in 10 s`)
  world.counts.set('t', 7)
  await world.timers.pass(1000)
  assert.equal(withinMs, 0)
})

function pendingJoins(world: World): number {
  const group = world.coordinator.groups.get(GROUP)
  return group?.type === 'classic' ? group.pendingJoins.size : 0
}

for (let i = 0; i < 40; i++) {
  test(`nobody has a partition twice, history ${i}`, () => withSeed('group-member', history))
}

async function history(random: Random): Promise<void> {
  const world = new World()
  const clients: Client[] = []
  const isHere = (client: Client): boolean => !client.cut.isCut && !client.member.isOver
  for (let round = 0; round < 40; round++) {
    const here = clients.filter(isHere)
    const choice = random.below(10)
    if (choice < 3 || here.length === 0) {
      clients.push(new Client(world, () => random.below(random.chance(0.05) ? 20_000 : 800)))
    } else if (choice === 3) {
      const leaving = random.pick(here)
      leaving.has = new Set()
      void leaving.member.leave()
    } else if (choice === 4) random.pick(here).cut.isCut = true
    else if (choice === 5) world.counts.set('t', Math.min(20, world.counts.get('t')! + 1))
    else if (choice === 6 && !world.isLoading) world.restart(random.below(5000))
    else if (choice === 7) {
      const [client] = here
      const [key] = client!.has
      if (key !== undefined) {
        const partition = Number(key.slice(2))
        const offset = (world.coordinator.offsets.get(GROUP, 't', partition)?.offset ?? 0) + 1
        void client!.member.commit([{ topic: 't', partition, offset, metadata: null }])
      }
    }
    const pass = random.below(3000)
    for (let ms = 0; ms < pass; ms += 100) {
      await world.timers.pass(100)
      assertNobodyShares(clients)
    }
  }
  await world.timers.pass(5000)
  const last = new Client(world, () => 0)
  clients.push(last)
  await world.timers.pass(60_000)
  assertNobodyShares(clients)
  assert.equal(ownedCount(clients), world.counts.get('t'))
}
