import type { Connection } from '../../client/connection.ts'
import type { Link, LinkUser } from '../../client/link.ts'
import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import { type ClientMessages, CloseCode } from '../../wire/websocket/messages.ts'
import type { GroupMessage } from './group-members.ts'
import { RelayedSubscription } from './relayed-subscription.ts'
import type { SessionLink } from './session-link.ts'

/**
 * What a client that knows this broker only has at others: subscriptions at leaders, memberships at
 * coordinators. Connections of its own to each, so that what it has there ends with it. When one is
 * lost the client is told as if the leader had moved: it asks again, and is passed on to whoever
 * leads then. Runs on main.
 */
export type OpenLink = (node: number) => Link | null

/** For a connection that is not there. */
const CONNECT_MS = 5000

interface RelayedMember {
  readonly connection: Connection
  /** Its number there. */
  readonly number: number
}

export class Relays {
  readonly #session: SessionLink
  readonly #openLink: OpenLink
  readonly #links = new Map<number, Link>()
  readonly #subscriptions = new Map<number, { connection: Connection; one: RelayedSubscription }>()
  readonly #members = new Map<number, RelayedMember>()
  /** Numbers that are being opened. */
  readonly #opening = new Set<number>()
  #isClosed = false

  constructor(session: SessionLink, openLink: OpenLink) {
    this.#session = session
    this.#openLink = openLink
  }

  get count(): number {
    return this.#subscriptions.size + this.#opening.size
  }

  hasSubscription(id: number): boolean {
    return this.#subscriptions.has(id) || this.#opening.has(id)
  }

  hasMember(member: number): boolean {
    return this.#members.has(member)
  }

  close(): void {
    this.#isClosed = true
    for (const link of this.#links.values()) link.close()
    for (let left = this.#subscriptions.size + this.#members.size; left > 0; left--) this.#leave()
    this.#subscriptions.clear()
    this.#members.clear()
  }

  // —— subscriptions ——

  subscribe(message: ClientMessages['subscribe'], node: number): void {
    const session = this.#session
    const { id, subscription } = message
    if (!session.subscriptionPlaces.take()) {
      session.fail(id, ErrorCode.THROTTLING_QUOTA_EXCEEDED)
      return
    }
    this.#opening.add(subscription)
    void this.#connect(node).then((connection) => {
      const isWanted = this.#opening.delete(subscription)
      if (this.#isClosed || connection === null || !isWanted) {
        this.#leave()
        if (!this.#isClosed) session.fail(id, ErrorCode.LEADER_NOT_AVAILABLE)
        return
      }
      const one = new RelayedSubscription(
        {
          session,
          connection,
          onEnded: () => {
            if (this.#subscriptions.delete(subscription)) this.#leave()
          },
        },
        message,
      )
      this.#subscriptions.set(subscription, { connection, one })
      this.#checkCredits()
    })
  }

  unsubscribe(id: number): void {
    this.#opening.delete(id)
    const found = this.#subscriptions.get(id)
    if (found === undefined) return
    this.#subscriptions.delete(id)
    this.#leave()
    found.one.close()
  }

  grant(id: number, bytes: number): void {
    const found = this.#subscriptions.get(id)
    if (found === undefined) return
    found.one.grant(bytes)
    this.#checkCredits()
  }

  #checkCredits(): void {
    const { pushBytes } = this.#session.limits
    let credits = 0
    for (const { one } of this.#subscriptions.values()) credits += one.credits
    if (credits <= pushBytes) return
    const reason = `more than ${pushBytes} bytes of credits for pushes`
    this.#session.violate(CloseCode.LIMIT_EXCEEDED, reason)
  }

  /** The client takes bytes again. */
  resume(): void {
    for (const { one } of this.#subscriptions.values()) one.drain()
  }

  // —— members of groups ——

  join(message: ClientMessages['joinGroup'], node: number): void {
    const session = this.#session
    const { id, member } = message
    if (!session.subscriptionPlaces.take()) {
      session.fail(id, ErrorCode.THROTTLING_QUOTA_EXCEEDED)
      return
    }
    void this.#connect(node).then((connection) => {
      if (this.#isClosed || connection === null || this.#members.has(member)) {
        this.#leave()
        if (!this.#isClosed) session.fail(id, ErrorCode.COORDINATOR_NOT_AVAILABLE)
        return
      }
      const number = connection.openMember({
        assigned: (said) => session.send({ ...said, member }),
        revoke: (said) => session.send({ ...said, member }),
        lost: (said) => {
          this.#forget(member)
          session.send({ ...said, member })
        },
      })
      this.#members.set(member, { connection, number })
      connection.send(
        { ...message, member: number },
        {
          answered: (said) => {
            if (said.type === 'joinedGroup') session.answer({ ...said, id, member })
          },
          failed: ({ code, message }) => {
            connection.dropMember(number)
            this.#forget(member)
            session.fail(id, code, message)
          },
        },
      )
    })
  }

  released(member: number): void {
    const found = this.#members.get(member)
    found?.connection.released(found.number)
  }

  /** Of a member that is here. */
  serve(message: Exclude<GroupMessage, { type: 'joinGroup' }>): void {
    const session = this.#session
    const { id, member } = message
    const { connection, number } = this.#members.get(member) as RelayedMember
    const isLeaving = message.type === 'leaveGroup'
    if (isLeaving) {
      connection.dropMember(number)
      this.#forget(member)
    }
    connection.send(
      { ...message, member: number },
      {
        answered: (said) => {
          if (said.type === 'done' || said.type === 'committed') session.answer({ ...said, id })
        },
        failed: ({ code, message: text }) => {
          if (isLeaving) session.answer({ type: 'done', id })
          else session.fail(id, code, text)
        },
      },
    )
  }

  // —— inside ——

  /** Null when the broker cannot be reached. */
  async #connect(node: number): Promise<Connection | null> {
    let link = this.#links.get(node)
    if (link === undefined) {
      const opened = this.#openLink(node)
      if (opened === null) return null
      link = opened
      this.#links.set(node, link)
      link.attach(this.#userOf(node))
    }
    try {
      return await link.connect({ signal: AbortSignal.timeout(CONNECT_MS) })
    } catch {
      // The next one who needs it may find the broker elsewhere.
      this.#drop(node)
      return null
    }
  }

  #userOf(node: number): LinkUser {
    let current: Connection | null = null
    return {
      connected: (connection) => {
        current = connection
      },
      disconnected: () => {
        this.#drop(node)
        if (current !== null) this.#lost(current)
      },
    }
  }

  #drop(node: number): void {
    const link = this.#links.get(node)
    this.#links.delete(node)
    // Not while it says that it is lost.
    queueMicrotask(() => link?.close())
  }

  #lost(connection: Connection): void {
    if (this.#isClosed) return
    const session = this.#session
    for (const [id, { connection: over, one }] of [...this.#subscriptions]) {
      if (over !== connection) continue
      one.ended({ type: 'ended', subscription: id, ...said(ErrorCode.NOT_LEADER_OR_FOLLOWER) })
    }
    for (const [member, { connection: over }] of [...this.#members]) {
      if (over !== connection) continue
      this.#forget(member)
      session.send({ type: 'memberLost', member, ...said(ErrorCode.NOT_COORDINATOR) })
    }
  }

  #forget(member: number): void {
    if (this.#members.delete(member)) this.#leave()
  }

  #leave(): void {
    this.#session.subscriptionPlaces.leave()
  }
}

function said(code: ErrorCode) {
  const { name, message, retriable } = errorInfo(code)
  return { code, name, message, retriable }
}
