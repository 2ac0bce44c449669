import type { Random } from '../../src/base/random.ts'
import {
  decodeAssignment,
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
/** Version 0: the topic, no user data. */
const SUBSCRIPTION = new Uint8Array([0, 0, 0, 0, 0, 1, 0, 1, 0x74, 0xff, 0xff, 0xff, 0xff])

export class GroupClient {
  readonly name: string
  readonly instanceId: string | null
  readonly #world: GroupWorld
  readonly #random: Random
  state: 'out' | 'waiting' | 'joined' | 'stable' = 'out'
  /** Of a leader that has joined: whom it assigns to. */
  #followers: readonly string[] = []
  /** Below the session's time a round may end without a member that is merely slow. */
  readonly #rebalanceMs: number
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
    parts: { world: GroupWorld; random: Random; instanceId: string | null },
  ) {
    this.name = name
    this.#world = parts.world
    this.#random = parts.random
    this.instanceId = parts.instanceId
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
    this.positions.clear() // Eager: whoever joins gives up what it has.
    this.state = 'waiting'
    const request = {
      groupId: GROUP,
      sessionTimeoutMs: SESSION_MS,
      rebalanceTimeoutMs: this.#rebalanceMs,
      memberId: this.memberId,
      groupInstanceId: this.instanceId,
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: SUBSCRIPTION }],
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
          else if (errorCode === ErrorCode.UNKNOWN_MEMBER_ID) this.memberId = ''
          else if (errorCode === ErrorCode.FENCED_INSTANCE_ID) this.crash()
          if (errorCode !== ErrorCode.NONE) return
          this.memberId = answer.memberId
          this.generationId = answer.generationId as number
          const ids = answer.members.map((member) => member.memberId)
          this.#followers = answer.leader === this.memberId && !answer.skipAssignment ? ids : []
          this.state = 'joined' // It asks for its assignment when it acts again.
        }),
      ),
    )
  }

  #sync(members: readonly string[]): void {
    this.state = 'waiting'
    const sentMs = this.#world.nowMs
    const assignments = members.map((memberId, index) => ({
      memberId,
      assignment: encodeAssignment(
        [{ topic: TOPIC, partitions: ALL.filter((i) => i % members.length === index) }],
        SUBSCRIPTION,
      ),
    }))
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
          this.state = 'stable'
          this.leaseEndMs = sentMs + this.#leaseMs
          for (const { topic, partitions } of decodeAssignment(assignment)?.assignedPartitions ??
            []) {
            if (topic === TOPIC) for (const partition of partitions) this.#fetch(partition)
          }
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

  #onError(code: ErrorCode): void {
    this.#lose()
    const isForgotten =
      code === ErrorCode.UNKNOWN_MEMBER_ID || code === ErrorCode.FENCED_INSTANCE_ID
    if (isForgotten) this.memberId = ''
  }
}
