import type { Broker } from '../../broker/broker.ts'
import { type Assignment, GroupMember, type GroupMemberHost } from '../../broker/group-member.ts'
import {
  type MemberCalls,
  memberCalls,
  type OffsetOf,
  partitionKey,
} from '../../broker/member-calls.ts'
import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import type { Subscription } from './group-shapes.ts'
import { kafkaError } from './rest-error.ts'

/**
 * Members of groups whose clients come by with requests: what they have, how far they have come,
 * and when they are put out because nobody polls for them. Runs on main.
 */
const MEMBERS_MAX = 10_000
const SESSION_TIMEOUT_MS = 45_000
const REBALANCE_TIMEOUT_MS = 60_000

export interface ReadPlace {
  readonly topic: string
  readonly partition: number
  /** What the group has; −1: nothing. */
  committed: number
  /** The next offset to be given; −1: not known yet. */
  position: number
}

/** `joining`: it has nothing now. `revoking`: what it has is wanted back. */
type State = 'joining' | 'assigned' | 'revoking' | 'lost'

export class RestMember implements GroupMemberHost {
  readonly group: string
  readonly options: Subscription
  readonly #member: GroupMember
  readonly #calls: MemberCalls
  readonly #onOver: (member: RestMember) => void
  readonly #sessionTimeoutMs: number
  #memberId = ''
  #state: State = 'joining'
  #lostCode: ErrorCode = ErrorCode.UNKNOWN_MEMBER_ID
  #generation = -1
  #places: ReadPlace[] = []
  /** Of those that wait for a change. */
  readonly #wake = new Set<() => void>()
  #cancelExpiry: (() => void) | null = null
  /** A poll is under way: nobody else may, and it is not put out. */
  isPolling = false
  /** The client has been told of this generation's partitions. */
  toldGeneration = -1

  constructor(
    calls: MemberCalls,
    asked: { readonly group: string; readonly options: Subscription; readonly clientHost: string },
    onOver: (member: RestMember) => void,
  ) {
    const { group, options, clientHost } = asked
    this.group = group
    this.options = options
    this.#calls = calls
    this.#onOver = onOver
    this.#sessionTimeoutMs = options.sessionTimeoutMs ?? SESSION_TIMEOUT_MS
    const settings = {
      groupId: group,
      topics: [...new Set(options.topics)],
      sessionTimeoutMs: this.#sessionTimeoutMs,
      rebalanceTimeoutMs: options.rebalanceTimeoutMs ?? REBALANCE_TIMEOUT_MS,
      clientId: options.clientId ?? 'rest',
      clientHost,
    }
    this.#member = new GroupMember(calls, settings, this)
    this.#member.start()
    this.touch()
  }

  get memberId(): string {
    return this.#memberId
  }

  get state(): State {
    return this.#state
  }

  get generation(): number {
    return this.#generation
  }

  /** In turn: the first is the one that has waited longest. */
  get places(): readonly ReadPlace[] {
    return this.#places
  }

  onAccepted(memberId: string): void {
    this.#memberId = memberId
    this.#changed()
  }

  onAssigned({ generationId, partitions }: Assignment): void {
    this.#state = 'assigned'
    this.#generation = generationId
    this.#places = partitions.map(({ topic, partition, committedOffset }) => {
      return { topic, partition, committed: committedOffset, position: committedOffset }
    })
    this.#changed()
  }

  onRevoke(): void {
    this.#state = 'revoking'
    this.#changed()
  }

  onLost(code: ErrorCode): void {
    this.#lostCode = code
    this.#over()
  }

  /** Throws RestError once it is lost. */
  check(): void {
    if (this.#state !== 'lost') return
    const { message } = errorInfo(this.#lostCode)
    throw kafkaError(this.#lostCode, message)
  }

  /** Gives back what is wanted back. */
  release(): void {
    if (this.#state !== 'revoking') return
    this.#state = 'joining'
    this.#places = []
    this.#member.released()
  }

  /** The partition has had its turn. */
  moveBack(place: ReadPlace): void {
    const at = this.#places.indexOf(place)
    if (at >= 0) this.#places.push(...this.#places.splice(at, 1))
  }

  /** An error for each of `offsets`, in their order. */
  async commit(offsets: readonly OffsetOf[]): Promise<readonly ErrorCode[]> {
    this.touch()
    const codes = await this.#member.commit(offsets)
    const places = new Map(this.#places.map((place) => [partitionKey(place), place]))
    for (const [i, at] of offsets.entries()) {
      const place = places.get(partitionKey(at))
      if (place !== undefined && codes[i] === ErrorCode.NONE) place.committed = at.offset
    }
    return codes
  }

  /** Commits how far it has come. What is refused is given again, to whoever has it then. */
  async commitPositions(): Promise<void> {
    const offsets = this.#places
      .filter(({ position, committed }) => position > committed)
      .map(({ topic, partition, position }) => {
        return { topic, partition, offset: position, metadata: null }
      })
    if (offsets.length > 0) await this.commit(offsets)
  }

  /** Ends it at once. */
  async leave(): Promise<void> {
    this.#over()
    await this.#member.leave()
  }

  /** Its client is there. */
  touch(): void {
    if (this.#state === 'lost') return
    this.#cancelExpiry?.()
    this.#cancelExpiry = this.#calls.after(this.#sessionTimeoutMs, () => {
      if (this.isPolling) this.touch()
      else void this.leave()
    })
  }

  /** Resolves when something about it has changed, or after `ms`, or when `signal` says so. */
  change(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#wake.delete(done)
        cancel()
        signal.removeEventListener('abort', done)
        resolve()
      }
      const cancel = this.#calls.after(ms, done)
      signal.addEventListener('abort', done, { once: true })
      this.#wake.add(done)
      if (signal.aborted) done()
    })
  }

  #changed(): void {
    for (const wake of [...this.#wake]) wake()
  }

  #over(): void {
    if (this.#state === 'lost') return
    this.#state = 'lost'
    this.#cancelExpiry?.()
    this.#places = []
    this.#onOver(this)
    this.#changed()
  }
}

export class RestMembers {
  readonly #calls: MemberCalls
  readonly #all = new Set<RestMember>()
  readonly #byName = new Map<string, RestMember>()

  constructor(broker: Broker) {
    this.#calls = memberCalls(broker)
  }

  /** Throws RestError when there are too many. */
  add(asked: { group: string; options: Subscription; clientHost: string }): RestMember {
    if (this.#all.size >= MEMBERS_MAX) {
      const message = `There are ${MEMBERS_MAX} members here, as many as are taken`
      throw kafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED, message)
    }
    const member = new RestMember(this.#calls, asked, (over) => {
      this.#all.delete(over)
      this.#byName.delete(nameOf(over.group, over.memberId))
    })
    this.#all.add(member)
    return member
  }

  /** The group has given it its name. */
  enter(member: RestMember): void {
    this.#byName.set(nameOf(member.group, member.memberId), member)
  }

  /** Throws RestError when there is none. */
  find(group: string, memberId: string): RestMember {
    const member = this.#byName.get(nameOf(group, memberId))
    if (member !== undefined) return member
    const message = `The group "${group}" has no member "${memberId}" here`
    throw kafkaError(ErrorCode.UNKNOWN_MEMBER_ID, message)
  }
}

function nameOf(group: string, memberId: string): string {
  return `${memberId}\n${group}`
}
