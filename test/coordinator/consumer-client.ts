import type { Random } from '../../src/base/random.ts'
import type { CommitRequest, OffsetToCommit } from '../../src/coordinator/group/group-commits.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { ConsumerGroupHeartbeatResponseInit } from '../../src/wire/kafka/schema/68-consumer-group-heartbeat.ts'
import { CONFIG, type GroupWorld } from './group-world.ts'

/**
 * A consumer as a consumer group (KIP-848) sees it, without a network: it joins, sends heartbeats,
 * gives partitions up and says so, commits, leaves, or falls silent. What it believes to own is
 * what the test watches.
 */
export interface Subscription {
  readonly names: readonly string[]
  readonly regex: string
}

interface Owned {
  readonly topicId: string
  readonly topic: string
  readonly partition: number
  /** Next offset to commit; −1: it does not know yet where to begin. */
  position: number
  isRevoked: boolean
}

export interface ConsumerClientParts {
  readonly group: string
  readonly world: GroupWorld
  readonly random: Random
  readonly instanceId: string | null
  readonly subscription: Subscription
}

export class ConsumerClient {
  readonly name: string
  readonly instanceId: string | null
  readonly #group: string
  readonly #world: GroupWorld
  readonly #random: Random
  readonly #rebalanceMs: number
  #subscription: Subscription
  #lives = 0
  memberId = ''
  memberEpoch = 0
  isJoined = false
  /** A heartbeat is under way. */
  #isWaiting = false
  /** The next heartbeat says everything: an answer may have been lost. */
  #saysAll = true
  /** What it owns was told since that, or what it is to have, changed last. */
  #hasReported = false
  /** By topic id and partition. */
  readonly #owned = new Map<string, Owned>()
  /** What it is to have; added to once all is given up that must be. */
  #assigned: readonly { topicId: string; partition: number }[] = []
  #leaseEndMs = -Infinity
  /** When the first heartbeat was sent that was not answered; Infinity: all were. */
  #unansweredSinceMs = Infinity
  /** Until when it must have given up what it was told to. */
  #revocationEndMs = Infinity
  isPaused = false
  /** Goes up when what it waits for will not come any more. */
  #life = 0
  /** Commits that are sent again, late. */
  readonly #late: CommitRequest[] = []
  readonly violations: string[] = []

  constructor(name: string, parts: ConsumerClientParts) {
    this.name = name
    this.#group = parts.group
    this.#world = parts.world
    this.#random = parts.random
    this.instanceId = parts.instanceId
    this.#subscription = parts.subscription
    this.#rebalanceMs = parts.random.pick([1000, 2000, 5000])
    this.#renew()
  }

  /** As 'topic id/partition'. */
  get owned(): readonly Owned[] {
    const isAlive = this.#world.nowMs < Math.min(this.#leaseEndMs, this.#revocationEndMs)
    return isAlive ? [...this.#owned.values()] : []
  }

  get subscription(): Subscription {
    return this.#subscription
  }

  subscribe(subscription: Subscription): void {
    this.#subscription = subscription
    this.#saysAll = true
  }

  /** Its process dies and is started anew. */
  crash(): void {
    this.#lose()
    this.#renew()
  }

  /** Its connection to the coordinator breaks: answers under way are lost. */
  disconnect(): void {
    this.#life++
    this.#isWaiting = false
    this.#saysAll = true
  }

  #renew(): void {
    this.memberId = `${this.name}-${this.#lives++}`
  }

  #lose(): void {
    this.disconnect()
    this.isJoined = false
    this.memberEpoch = 0
    this.#owned.clear()
    this.#assigned = []
    this.#leaseEndMs = -Infinity
    this.#revocationEndMs = Infinity
    this.#unansweredSinceMs = Infinity
  }

  act(): void {
    if (this.isPaused) return
    if (this.#isWaiting) {
      if (this.#random.chance(0.1)) this.disconnect()
      return
    }
    if (this.isJoined) this.#reconcile()
    this.#heartbeat()
  }

  /** Gives up what it must, one after another, then takes what is new. */
  #reconcile(): void {
    const assigned = new Set(this.#assigned.map(keyOf))
    for (const [key, each] of this.#owned) {
      if (assigned.has(key)) continue
      if (this.#random.chance(0.3)) return // It takes its time.
      each.isRevoked = true
      this.#owned.delete(key)
      this.#hasReported = false
    }
    for (const at of this.#assigned) {
      if (this.#owned.has(keyOf(at))) continue
      const topic = this.#world.topics.byId(at.topicId)?.name
      if (topic === undefined) continue
      const owned = { ...at, topic, position: -1, isRevoked: false }
      this.#owned.set(keyOf(at), owned)
      this.#hasReported = false
    }
    for (const each of this.#owned.values()) if (each.position < 0) this.#fetch(each)
  }

  #heartbeat(): void {
    const sentMs = this.#world.nowMs
    const isFull = !this.isJoined || this.#saysAll || this.#random.chance(0.1)
    const { names, regex } = this.#subscription
    const request = {
      groupId: this.#group,
      memberId: this.memberId,
      memberEpoch: this.memberEpoch,
      instanceId: this.instanceId,
      rackId: null,
      rebalanceTimeoutMs: isFull ? this.#rebalanceMs : -1,
      subscribedTopicNames: isFull ? names : null,
      subscribedTopicRegex: isFull ? regex : null,
      serverAssignor: null,
      topicPartitions: isFull || !this.#hasReported ? this.#report() : null,
    }
    const hasRevoked = request.topicPartitions !== null && !this.#mustRevoke
    this.#isWaiting = true
    this.#unansweredSinceMs = Math.min(this.#unansweredSinceMs, sentMs)
    this.#saysAll = false
    this.#hasReported = true
    this.#world.step((coordinator) =>
      coordinator.consumerHeartbeat(
        request,
        this.#world.context(this.name, 1),
        this.#hear((answer) => {
          this.#isWaiting = false
          this.#onAnswer(answer, { sentMs, hasRevoked })
        }),
      ),
    )
  }

  get #mustRevoke(): boolean {
    const kept = new Set(this.#assigned.map(keyOf))
    return [...this.#owned.keys()].some((key) => !kept.has(key))
  }

  #onAnswer(
    answer: ConsumerGroupHeartbeatResponseInit,
    { sentMs, hasRevoked }: { readonly sentMs: number; readonly hasRevoked: boolean },
  ): void {
    if (answer.errorCode !== ErrorCode.NONE) {
      this.#onError(answer.errorCode)
      return
    }
    if (this.isJoined && answer.memberEpoch < this.memberEpoch) {
      this.violations.push(`${this.name}: ${this.memberEpoch} went back to ${answer.memberEpoch}`)
    }
    this.isJoined = true
    this.memberEpoch = answer.memberEpoch
    this.#leaseEndMs =
      sentMs + Math.min(CONFIG.consumer.timesOf(this.#group).sessionTimeoutMs, this.#rebalanceMs)
    // An answer that was lost may have told it before.
    const toldMs = this.#unansweredSinceMs
    this.#unansweredSinceMs = Infinity
    // It is only given up when the coordinator has heard of it.
    if (hasRevoked) this.#revocationEndMs = Infinity
    const assignment = answer.assignment ?? null
    if (assignment === null) return
    const before = this.#assigned.map(keyOf).sort()
    this.#assigned = assignment.topicPartitions.flatMap(({ topicId, partitions }) =>
      partitions.map((partition) => ({ topicId, partition })),
    )
    // What is new is to be confirmed, also when it owns that already: it may have been told of more
    // before, which it never took, and which the coordinator waits for. So does Java's.
    if (before.join() !== this.#assigned.map(keyOf).sort().join()) this.#hasReported = false
    if (!this.#mustRevoke) return
    this.#revocationEndMs = Math.min(this.#revocationEndMs, toldMs + this.#rebalanceMs)
  }

  #report(): { topicId: string; partitions: number[] }[] {
    const byTopic = new Map<string, number[]>()
    for (const { topicId, partition } of this.#owned.values()) {
      byTopic.set(topicId, [...(byTopic.get(topicId) ?? []), partition])
    }
    return [...byTopic].map(([topicId, partitions]) => ({ topicId, partitions }))
  }

  #onError(code: number): void {
    const isLost =
      code === ErrorCode.UNKNOWN_MEMBER_ID ||
      code === ErrorCode.FENCED_MEMBER_EPOCH ||
      code === ErrorCode.FENCED_INSTANCE_ID
    if (isLost) this.#lose()
    else if (code === ErrorCode.UNRELEASED_INSTANCE_ID) this.#saysAll = true
    else this.violations.push(`${this.name}: a heartbeat got ${code}`)
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

  #fetch(owned: Owned): void {
    const { memberId, memberEpoch } = this
    this.#world.step((coordinator) =>
      coordinator.fetch(
        (offsets) => {
          const refusal = coordinator.fetchRefusal(this.#group, memberId, memberEpoch)
          const { topic, partition } = owned
          const offset = offsets.get(this.#group, topic, partition)?.offset ?? 0
          return refusal === ErrorCode.NONE ? offset : -1
        },
        this.#hear((offset) => {
          if (owned.position < 0) owned.position = offset
        }),
      ),
    )
  }

  /** Also of what it has lost without knowing. */
  commit(): void {
    if (this.isPaused || !this.isJoined || this.#owned.size === 0) return
    this.#commitLate()
    const owned = this.#random.pick([...this.#owned.values()])
    const { topic, topicId, partition } = owned
    if (owned.position < 0 || this.#world.topics.byName(topic)?.id !== topicId) return
    const next = owned.position + this.#random.between(1, 5)
    owned.position = next
    const offset = { topic, topicId, partition, offset: next, leaderEpoch: -1, metadata: '' }
    const request = {
      groupId: this.#group,
      generationId: this.memberEpoch,
      memberId: this.memberId,
      instanceId: this.instanceId,
      retentionMs: -1,
      apiVersion: 9,
      offsets: [offset],
    }
    if (this.#random.chance(0.3)) this.#late.push(request)
    this.#world.step((coordinator) =>
      coordinator.commit(
        request,
        this.#world.now,
        this.#hear(([code]) => {
          if (code === ErrorCode.UNKNOWN_MEMBER_ID) this.#lose()
          if (code !== ErrorCode.NONE) return
          const isThere = this.#world.topics.byName(topic)?.id === topicId
          if (isThere && this.#world.durableOffset(partition, topic) < next) {
            this.violations.push(`${this.name}: ${next} was acknowledged and is not in the log`)
          }
        }),
      ),
    )
  }

  /** A repeated commit of an epoch that is over, of what it has given up since, as all know. */
  #commitLate(): void {
    if (this.#revocationEndMs !== Infinity || this.#mustRevoke) return
    const at = this.#late.findIndex(
      ({ memberId, generationId, offsets: [offset] }) =>
        memberId === this.memberId &&
        generationId < this.memberEpoch &&
        !this.#owned.has(keyOf(offset as OffsetToCommit)) &&
        this.#world.topics.byId((offset as OffsetToCommit).topicId) !== undefined,
    )
    const [request] = at < 0 ? [] : this.#late.splice(at, 1)
    if (request === undefined) return
    this.#world.step((coordinator) => coordinator.commit(request, this.#world.now, () => undefined))
  }

  /** A static member leaves for a while, and comes back under another id. */
  leave(isForGood = this.instanceId === null): void {
    if (this.isPaused || !this.isJoined) return
    const request = {
      groupId: this.#group,
      memberId: this.memberId,
      memberEpoch: isForGood ? -1 : -2,
      instanceId: this.instanceId,
      rackId: null,
      rebalanceTimeoutMs: -1,
      subscribedTopicNames: null,
      subscribedTopicRegex: null,
      serverAssignor: null,
      topicPartitions: null,
    }
    this.#world.step((coordinator) =>
      coordinator.consumerHeartbeat(request, this.#world.context(this.name, 1), () => undefined),
    )
    this.crash()
  }
}

function keyOf({ topicId, partition }: { topicId: string; partition: number }): string {
  return `${topicId}/${partition}`
}
