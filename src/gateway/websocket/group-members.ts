import { GroupMember } from '../../broker/group-member.ts'
import type { MemberCalls } from '../../broker/member-calls.ts'
import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import type { ClientMessages, LeaderHint } from '../../wire/websocket/messages.ts'
import type { SessionLink } from './session-link.ts'
import type { SubscriptionPlaces } from './subscription-places.ts'

/**
 * What one client is a member of: joins, commits and leaves for it, and says what it has. Reading
 * is by subscriptions of its own; who closes the connection has left at once. Runs on main.
 */
/** What it needs of a session. */
export interface MembersLink extends Pick<SessionLink, 'send' | 'answer' | 'fail' | 'redirect'> {
  readonly remoteAddress: string
  /** Each member takes one, as a subscription does. */
  readonly subscriptionPlaces: Pick<SubscriptionPlaces, 'take' | 'leave'>
}

export type GroupMessage = ClientMessages['joinGroup' | 'commitOffsets' | 'leaveGroup']

const SESSION_TIMEOUT_MS = 45_000
const REBALANCE_TIMEOUT_MS = 60_000
const MEMBERS_MAX = 100

export class GroupMembers {
  readonly #session: MembersLink
  readonly #makeCalls: () => MemberCalls
  readonly #coordinator: (code: number, group: string) => LeaderHint | undefined
  readonly #members = new Map<number, Membership>()
  #calls: MemberCalls | null = null

  constructor(
    session: MembersLink,
    makeCalls: () => MemberCalls,
    coordinator: (code: number, group: string) => LeaderHint | undefined = () => undefined,
  ) {
    this.#session = session
    this.#makeCalls = makeCalls
    this.#coordinator = coordinator
  }

  serve(message: GroupMessage): void {
    switch (message.type) {
      case 'joinGroup':
        this.#join(message)
        return
      case 'commitOffsets':
        this.#commit(message)
        return
      case 'leaveGroup':
        this.#leave(message)
    }
  }

  /** Unknown ones are fine: they may have been lost meanwhile. */
  released(member: number): void {
    this.#members.get(member)?.member.released()
  }

  close(): void {
    for (const [number, { member }] of this.#members) {
      this.#forget(number)
      void member.leave()
    }
  }

  #join(message: ClientMessages['joinGroup']): void {
    const session = this.#session
    const { id, member: number, group, topics } = message
    if (this.#members.has(number)) {
      session.fail(id, ErrorCode.INVALID_REQUEST, `Member ${number} exists already`)
      return
    }
    if (this.#members.size >= MEMBERS_MAX) {
      const reason = `A connection has at most ${MEMBERS_MAX} members: open another one`
      session.fail(id, ErrorCode.INVALID_REQUEST, reason)
      return
    }
    if (!session.subscriptionPlaces.take()) {
      session.fail(id, ErrorCode.THROTTLING_QUOTA_EXCEEDED, 'The broker has too many: try later')
      return
    }
    this.#calls ??= this.#makeCalls()
    const member = new GroupMember(
      this.#calls,
      {
        groupId: group,
        topics: [...new Set(topics)],
        sessionTimeoutMs: message.sessionTimeoutMs ?? SESSION_TIMEOUT_MS,
        rebalanceTimeoutMs: message.rebalanceTimeoutMs ?? REBALANCE_TIMEOUT_MS,
        clientId: message.clientId ?? 'millrace',
        clientHost: `/${session.remoteAddress}`,
      },
      {
        onAccepted: (memberId) => {
          membership.joinId = null
          session.answer({ type: 'joinedGroup', id, member: number, memberId })
        },
        onAssigned: ({ generationId, partitions }) =>
          session.send({
            type: 'assigned',
            member: number,
            generation: generationId,
            partitions: partitions.map((at) => [at.topic, at.partition, at.committedOffset]),
          }),
        onRevoke: (partitions, withinMs) =>
          session.send({
            type: 'revoke',
            member: number,
            withinMs,
            partitions: partitions.map(({ topic, partition }) => [topic, partition]),
          }),
        onLost: (code) => {
          this.#forget(number)
          const { name, message, retriable } = errorInfo(code)
          if (membership.joinId !== null) session.redirect(id, code, this.#coordinator(code, group))
          else session.send({ type: 'memberLost', member: number, code, name, message, retriable })
        },
      },
    )
    const membership: Membership = { member, joinId: id }
    this.#members.set(number, membership)
    member.start()
  }

  #forget(number: number): void {
    if (this.#members.delete(number)) this.#session.subscriptionPlaces.leave()
  }

  #commit({ id, member: number, offsets }: ClientMessages['commitOffsets']): void {
    const session = this.#session
    const membership = this.#members.get(number)
    if (membership === undefined) {
      session.fail(id, ErrorCode.UNKNOWN_MEMBER_ID)
      return
    }
    const wanted = offsets.map(([topic, partition, offset, metadata]) => {
      return { topic, partition, offset, metadata }
    })
    void membership.member.commit(wanted).then((errorCodes) => {
      session.answer({ type: 'committed', id, errorCodes: [...errorCodes] })
    })
  }

  #leave({ id, member: number }: ClientMessages['leaveGroup']): void {
    const session = this.#session
    const membership = this.#members.get(number)
    this.#forget(number)
    if (membership === undefined) {
      session.answer({ type: 'done', id })
      return
    }
    const { joinId, member } = membership
    if (joinId !== null) {
      session.fail(joinId, ErrorCode.UNKNOWN_MEMBER_ID, 'The member has left meanwhile')
    }
    void member.leave().then(() => session.answer({ type: 'done', id }))
  }
}

interface Membership {
  readonly member: GroupMember
  /** Of the request to join, until it is answered. */
  joinId: number | null
}
