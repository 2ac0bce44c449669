/**
 * Is a member of a group over whatever connection there is: joins, and joins again when it was
 * lost; over a connection to the group's coordinator once a broker has said that it is another one.
 * What it is told goes to its owner, which says what it has given back.
 *
 *   away ── connection, the owner is ready ──> joining ──> in ──> away
 *                                                connection lost, or the group has lost it
 */
import { ErrorCode } from '../errors/error-code.ts'
import { PARTITIONS_PER_REQUEST_MAX } from '../wire/websocket/messages.ts'
import type { Connection } from './connection.ts'
import { ConnectionError, errorOfCode, MillraceError, ServerError } from './errors.ts'
import type { GroupPartition, GroupSettings, OffsetToCommit } from './group-options.ts'
import type { Link, LinkUser } from './link.ts'
import { backoffMs } from './wait.ts'

/** Of names and metadata in one request: far below what a server takes of any. */
const COMMIT_CHARS_MAX = 32 * 1024

export interface AssignedPartition extends GroupPartition {
  /** −1: the group has committed nothing. */
  readonly committed: number
}

export interface MembershipEvents {
  assigned(partitions: readonly AssignedPartition[]): void
  /** All that it has is to be given back: `released` says that it is. */
  revoke(): void
  /** It has nothing any more. It joins again when `join` is called. */
  lost(): void
  /** The group does not take it. */
  failed(error: MillraceError): void
  /** Else it says so later, by `join`. */
  mayJoin(): boolean
}

export class GroupMembership implements LinkUser {
  readonly #link: Link
  readonly #settings: GroupSettings
  readonly #events: MembershipEvents
  /** Over which it joins. */
  #at: Link
  #connection: Connection | null = null
  /** Its number on the connection; null: it is no member. */
  #member: number | null = null
  #memberId: string | null = null
  #failures = 0
  #cancelRetry: (() => void) | null = null
  #isClosed = false

  constructor(link: Link, settings: GroupSettings, events: MembershipEvents) {
    this.#link = link
    this.#at = link
    this.#settings = settings
    this.#events = events
  }

  /** As the group calls it; null: it is no member now. */
  get memberId(): string | null {
    return this.#memberId
  }

  start(): void {
    this.#link.attach(this)
  }

  connected(connection: Connection): void {
    this.#connection = connection
    if (this.#events.mayJoin()) this.join()
  }

  disconnected(): void {
    this.#connection = null
    this.#cancelRetry?.()
    this.#cancelRetry = null
    this.#away()
    // Any broker knows who coordinates the group now.
    this.#goTo(this.#link)
  }

  #goTo(link: Link): void {
    if (link === this.#at || this.#isClosed) return
    this.#at.detach(this)
    this.#at = link
    this.#connection = null
    link.attach(this)
  }

  /** Becomes a member, unless it is one or is about to. */
  join(): void {
    const connection = this.#connection
    const isBusy = this.#member !== null || this.#cancelRetry !== null
    if (connection === null || !connection.isOpen || isBusy || this.#isClosed) return
    const { group, topics, sessionTimeoutMs, rebalanceTimeoutMs, clientId } = this.#settings
    const member = connection.openMember({
      assigned: ({ partitions }) => {
        if (this.#member !== member) return
        this.#failures = 0
        this.#events.assigned(
          partitions.map(([topic, partition, committed]) => ({ topic, partition, committed })),
        )
      },
      revoke: () => {
        if (this.#member === member) this.#events.revoke()
      },
      lost: () => {
        if (this.#member === member) this.#away()
      },
    })
    this.#member = member
    const asked = { group, topics: [...topics], sessionTimeoutMs, rebalanceTimeoutMs, clientId }
    connection.request({ type: 'joinGroup', member, ...asked }, 'joinedGroup').then(
      ({ memberId }) => {
        if (this.#member === member) this.#memberId = memberId
      },
      (error: MillraceError) => {
        if (this.#member === member) this.#refused(error, connection)
      },
    )
  }

  #refused(error: MillraceError, connection: Connection): void {
    connection.dropMember(this.#member as number)
    this.#member = null
    if (error instanceof ConnectionError || this.#isClosed) return
    const isLost = error.code === ErrorCode.UNKNOWN_MEMBER_ID
    if (!error.retriable && !isLost) {
      this.#events.failed(error)
      return
    }
    const { timers, random } = this.#link.platform
    this.#cancelRetry = timers.after(
      backoffMs(this.#failures++, this.#settings.retry, random()),
      () => {
        this.#cancelRetry = null
        const elsewhere = this.#coordinatorOf(error)
        if (elsewhere === this.#at) this.join()
        else this.#goTo(elsewhere)
      },
    )
  }

  /** Where to go on after a refusal. */
  #coordinatorOf(error: MillraceError): Link {
    if (error.code !== ErrorCode.NOT_COORDINATOR) return this.#at
    const hint = error instanceof ServerError ? error.leader : null
    if (hint === null) return this.#link
    this.#link.leaders.learnNode(hint)
    return this.#link.leaders.linkOf(hint[0])
  }

  #away(): void {
    if (this.#member === null) return
    this.#member = null
    this.#memberId = null
    this.#events.lost()
  }

  /** What was revoked is given back. */
  released(): void {
    if (this.#member !== null) this.#connection?.released(this.#member)
  }

  /** Resolves when they are stored. Rejects with MillraceError for the first that was refused. */
  async commit(offsets: readonly OffsetToCommit[]): Promise<void> {
    const connection = this.#connection
    const member = this.#member
    if (connection === null || member === null) {
      throw new MillraceError(ErrorCode.UNKNOWN_MEMBER_ID, 'the consumer is in no group now', {
        retriable: false,
      })
    }
    let refused: ServerError | null = null
    for (const part of requestsOf(offsets)) {
      const asked = part.map(({ topic, partition, offset, metadata = null }) => {
        return [topic, partition, offset, metadata] as [string, number, number, string | null]
      })
      const message = { type: 'commitOffsets', member, offsets: asked } as const
      const { errorCodes } = await connection.request(message, 'committed')
      for (const [i, code] of errorCodes.entries()) {
        const error = errorOfCode(code, null)
        if (error === null) continue
        const { topic, partition, offset } = part[i] as OffsetToCommit
        const text = `${topic}-${partition} was not committed at ${offset}: ${error.message}`
        refused ??= new ServerError(code, text, { retriable: error.retriable })
      }
    }
    if (refused !== null) throw refused
  }

  /** Ends it. Resolves when the server knows, or is out of reach. */
  async leave(): Promise<void> {
    this.#isClosed = true
    this.#cancelRetry?.()
    const connection = this.#connection
    const member = this.#member
    this.#member = null
    this.#memberId = null
    this.#at.detach(this)
    if (connection === null || member === null || !connection.isOpen) return
    connection.dropMember(member)
    await connection.request({ type: 'leaveGroup', member }, 'done').catch(() => {})
  }
}

/** In as many requests as it takes for each to be one that the server takes. */
function* requestsOf(offsets: readonly OffsetToCommit[]): Generator<OffsetToCommit[]> {
  let part: OffsetToCommit[] = []
  let chars = 0
  for (const at of offsets) {
    const more = at.topic.length + (at.metadata?.length ?? 0)
    const isFull = part.length === PARTITIONS_PER_REQUEST_MAX || chars + more > COMMIT_CHARS_MAX
    if (isFull && part.length > 0) {
      yield part
      part = []
      chars = 0
    }
    part.push(at)
    chars += more
  }
  yield part
}
