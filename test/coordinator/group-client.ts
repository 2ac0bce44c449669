import type { Random } from '../../src/base/random.ts'
import {
  type ConsumerAssignment,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
} from '../../src/coordinator/group/consumer-protocol.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { GroupWorld } from './group-world.ts'

/**
 * A consumer as a classic group sees it, without a network: it joins, syncs, sends heartbeats,
 * commits, leaves, or falls silent. What it believes to own is what the test watches.
 */
export const GROUP = 'g'
export const TOPIC = 't'
export const PARTITIONS = 6
const SESSION_MS = 3000
const ALL = Array.from({ length: PARTITIONS }, (_, i) => i)
const VERSION_1 = new Uint8Array([0, 1])

interface Follower {
  readonly memberId: string
  readonly metadata: Uint8Array
}

/** Version 1: the topic t, no user data, and what its member owns, laid out as an assignment's. */
function subscription(owned: readonly number[]): Uint8Array {
  const topics = [0, 0, 0, 1, 0, 1, 0x74, 0xff, 0xff, 0xff, 0xff]
  const assignment = encodeAssignment([{ topic: TOPIC, partitions: [...owned] }], VERSION_1)
  return Uint8Array.from([...VERSION_1, ...topics, ...assignment.subarray(2, -4)])
}

export class GroupClient {
  readonly name: string
  readonly instanceId: string | null
  readonly #world: GroupWorld
  readonly #random: Random
  state: 'out' | 'waiting' | 'joined' | 'stable' = 'out'
  /** Of a leader that has joined: whom it assigns to. */
  #followers: readonly Follower[] = []
  /** Below the session's time a round may end without a member that is merely slow. */
  readonly #rebalanceMs: number
  /** It keeps what it has while it joins, and gives up only what it is not assigned (KIP-429). */
  readonly #isCooperative: boolean
  memberId = ''
  generationId = -1
  /** Partition → next offset to commit, of those that it owns. */
  readonly positions = new Map<number, number>()
  /** Until then nobody else may be given what it owns. */
  leaseEndMs = -Infinity
  /** It does nothing at all. */
  isPaused = false
  /** Goes up when what it waits for will not come any more. */
  #life = 0
  readonly violations: string[] = []

  constructor(
    name: string,
    parts: {
      world: GroupWorld
      random: Random
      instanceId: string | null
      isCooperative?: boolean
    },
  ) {
    this.name = name
    this.#world = parts.world
    this.#random = parts.random
    this.instanceId = parts.instanceId
    this.#isCooperative = parts.isCooperative ?? false
    this.#rebalanceMs = parts.random.pick([1000, 2000, 5000])
  }

  /** A round that begins later does not end sooner without it. */
  get #leaseMs(): number {
    return Math.min(SESSION_MS, this.#rebalanceMs)
  }

  get owned(): number[] {
    return this.#world.nowMs < this.leaseEndMs ? [...this.positions.keys()] : []
  }

  /** Its process dies and is started anew; a static member keeps its instance id. */
  crash(): void {
    this.#lose()
    this.memberId = ''
  }

  /** Who still believes to be this one after another process has taken its place. */
  ghost(): GroupClient {
    const { instanceId } = this
    const parts = { world: this.#world, random: this.#random, instanceId }
    const ghost = new GroupClient(`${this.name}'s ghost`, parts)
    ghost.state = this.state === 'stable' ? 'stable' : 'out'
    ghost.memberId = this.memberId
    ghost.generationId = this.generationId
    for (const [partition, position] of this.positions) ghost.positions.set(partition, position)
    return ghost
  }

  /** Its connection to the coordinator breaks: answers under way are lost. */
  disconnect(): void {
    this.#life++
    if (this.state === 'waiting') this.state = 'out'
  }

  act(): void {
    if (this.isPaused) return
    if (this.state === 'out') this.#join()
    else if (this.state === 'joined') this.#sync(this.#followers)
    else if (this.state === 'stable') this.#heartbeat()
  }

  #lose(): void {
    this.#life++
    this.state = 'out'
    this.positions.clear()
    this.leaseEndMs = -Infinity
  }

  /** A callback for an answer that is dropped when the client has moved on. */
  #hear<T>(handle: (answer: T) => void): (answer: T) => void {
    const life = this.#life
    return (answer) => {
      if (life === this.#life && !this.isPaused) handle(answer)
      // A paused client reads its answers later: it is as if they were lost, and it asks again.
      else if (life === this.#life) this.disconnect()
    }
  }

  #join(): void {
    if (!this.#isCooperative) this.positions.clear()
    this.state = 'waiting'
    const request = {
      groupId: GROUP,
      sessionTimeoutMs: SESSION_MS,
      rebalanceTimeoutMs: this.#rebalanceMs,
      memberId: this.memberId,
      groupInstanceId: this.instanceId,
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: subscription([...this.positions.keys()]) }],
      reason: null,
    }
    this.#world.step((coordinator) =>
      coordinator.join(
        request,
        this.#world.context(this.name, this.#random.pick([3, 5, 9])),
        this.#hear((answer) => {
          this.state = 'out'
          const { errorCode } = answer
          if (errorCode === ErrorCode.MEMBER_ID_REQUIRED) this.memberId = answer.memberId
          else if (errorCode === ErrorCode.UNKNOWN_MEMBER_ID) this.crash()
          else if (errorCode === ErrorCode.FENCED_INSTANCE_ID) this.crash()
          if (errorCode !== ErrorCode.NONE) return
          this.memberId = answer.memberId
          this.generationId = answer.generationId as number
          const isLeader = answer.leader === this.memberId && !answer.skipAssignment
          this.#followers = isLeader ? answer.members : []
          this.state = 'joined' // It asks for its assignment when it acts again.
        }),
      ),
    )
  }

  #sync(members: readonly Follower[]): void {
    this.state = 'waiting'
    const sentMs = this.#world.nowMs
    // What somebody has must be given up before another one gets it, in the next round.
    const owners = new Map(
      members.flatMap(({ memberId, metadata }) =>
        ownedBy(metadata).map((i) => [i, memberId] as const),
      ),
    )
    const assignments = members.map(({ memberId }, index) => {
      const mayHave = (i: number): boolean => (owners.get(i) ?? memberId) === memberId
      const partitions = ALL.filter((i) => i % members.length === index && mayHave(i))
      return { memberId, assignment: encodeAssignment([{ topic: TOPIC, partitions }], VERSION_1) }
    })
    const request = {
      groupId: GROUP,
      generationId: this.generationId,
      memberId: this.memberId,
      groupInstanceId: this.instanceId,
      protocolType: null,
      protocolName: null,
      assignments,
    }
    this.#world.step((coordinator) =>
      coordinator.sync(
        request,
        this.#world.now,
        this.#hear(({ errorCode, assignment }) => {
          this.state = 'out'
          if (errorCode !== ErrorCode.NONE) {
            this.#onError(errorCode as ErrorCode)
            return
          }
          this.leaseEndMs = sentMs + this.#leaseMs
          const assigned = partitionsOf(decodeAssignment(assignment)?.assignedPartitions)
          this.state = this.#revokeAllBut(assigned) ? 'out' : 'stable'
          for (const each of assigned) if (!this.positions.has(each)) this.#fetch(each)
        }),
      ),
    )
  }

  #fetch(partition: number): void {
    this.positions.set(partition, -1)
    this.#world.step((coordinator) =>
      coordinator.fetch(
        (offsets) => offsets.get(GROUP, TOPIC, partition)?.offset ?? 0,
        this.#hear((offset) => {
          if (this.positions.has(partition)) this.positions.set(partition, offset)
        }),
      ),
    )
  }

  #heartbeat(): void {
    const sentMs = this.#world.nowMs
    const request = {
      groupId: GROUP,
      generationId: this.generationId,
      memberId: this.memberId,
      groupInstanceId: this.instanceId,
    }
    this.#world.step((coordinator) =>
      coordinator.heartbeat(
        request,
        this.#world.now,
        this.#hear((code) => {
          if (this.state !== 'stable') return
          if (code === ErrorCode.NONE) this.leaseEndMs = sentMs + this.#leaseMs
          else this.#onError(code)
        }),
      ),
    )
  }

  commit(): void {
    if (this.isPaused || this.state !== 'stable' || this.positions.size === 0) return
    const partition = this.#random.pick([...this.positions.keys()])
    const position = this.positions.get(partition) as number
    if (position < 0) return // It does not know yet where to begin.
    const next = position + this.#random.between(1, 5)
    this.positions.set(partition, next)
    this.#world.step((coordinator) =>
      coordinator.commit(
        {
          groupId: GROUP,
          generationId: this.generationId,
          memberId: this.memberId,
          instanceId: this.instanceId,
          retentionMs: -1,
          offsets: [
            {
              topic: TOPIC,
              topicId: 'AAAAAAAAAAAAAAAAAAAAAA',
              partition,
              offset: next,
              leaderEpoch: -1,
              metadata: '',
            },
          ],
        },
        this.#world.now,
        this.#hear(([code]) => {
          if (code === ErrorCode.NONE) {
            if (this.#world.durableOffset(partition) < next) {
              this.violations.push(`${this.name}: ${next} was acknowledged and is not in the log`)
            }
          } else if (this.state === 'stable') {
            this.#onError(code as ErrorCode)
          }
        }),
      ),
    )
  }

  leave(): void {
    if (this.isPaused || this.memberId === '') return
    const { memberId, instanceId } = this
    this.#world.step((coordinator) =>
      coordinator.leave(
        { groupId: GROUP, members: [{ memberId, instanceId }] },
        this.#world.now,
        () => undefined,
      ),
    )
    this.crash()
  }

  /** True when there was something to give up: it joins again to say so. */
  #revokeAllBut(partitions: readonly number[]): boolean {
    const revoked = [...this.positions.keys()].filter((each) => !partitions.includes(each))
    for (const partition of revoked) this.positions.delete(partition)
    return revoked.length > 0
  }

  #onError(code: ErrorCode): void {
    if (this.#isCooperative && code === ErrorCode.REBALANCE_IN_PROGRESS) {
      this.state = 'out'
      return
    }
    this.#lose()
    const isForgotten =
      code === ErrorCode.UNKNOWN_MEMBER_ID || code === ErrorCode.FENCED_INSTANCE_ID
    if (isForgotten) this.memberId = ''
  }
}

function ownedBy(metadata: Uint8Array): number[] {
  return partitionsOf(decodeSubscription(metadata)?.ownedPartitions)
}

function partitionsOf(list: ConsumerAssignment['assignedPartitions'] | undefined): number[] {
  return (list ?? []).flatMap(({ topic, partitions }) => (topic === TOPIC ? partitions : []))
}
