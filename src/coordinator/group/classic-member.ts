import type { JoinGroupResponseInit } from '../../wire/kafka/schema/11-join-group.ts'
import type { SyncGroupResponseInit } from '../../wire/kafka/schema/14-sync-group.ts'
import { CHAR_BYTES_MAX, CLIENT_ID_CHARS_MAX, MEMBER_OVERHEAD_BYTES } from './group-limits.ts'

/** An assignor that a member can take part in, and what it tells the one who assigns. */
export interface MemberProtocol {
  readonly name: string
  readonly metadata: Uint8Array
}

export type JoinReply = (response: JoinGroupResponseInit) => void
export type SyncReply = (response: SyncGroupResponseInit) => void

/**
 * A member of a classic group. Times are monotonic, in milliseconds. Pure data; the group and its
 * protocol change it.
 */
export class ClassicMember {
  readonly memberId: string
  /** Of a static member (KIP-345), else null. */
  readonly instanceId: string | null
  clientId: string
  clientHost: string
  rebalanceTimeoutMs: number
  sessionTimeoutMs: number
  /** In the order of the member's preference. */
  protocols: readonly MemberProtocol[]
  assignment: Uint8Array = new Uint8Array(0)
  /** It has joined in this round and waits for its end. */
  awaitingJoin: JoinReply | null = null
  /** It has asked for its assignment and waits for the leader's. */
  awaitingSync: SyncReply | null = null
  /** Since it joined for the first time it has not been answered: its client may be gone. */
  isNew = false
  /** When it is taken for dead. */
  deadlineMs = Infinity

  constructor(parts: {
    memberId: string
    instanceId: string | null
    clientId: string
    clientHost: string
    rebalanceTimeoutMs: number
    sessionTimeoutMs: number
    protocols: readonly MemberProtocol[]
  }) {
    this.memberId = parts.memberId
    this.instanceId = parts.instanceId
    this.clientId = parts.clientId
    this.clientHost = parts.clientHost
    this.rebalanceTimeoutMs = parts.rebalanceTimeoutMs
    this.sessionTimeoutMs = parts.sessionTimeoutMs
    this.protocols = parts.protocols
  }

  /** Waits for an answer, so that it cannot send heartbeats. */
  get isWaiting(): boolean {
    return this.awaitingJoin !== null || this.awaitingSync !== null
  }

  /** About what it takes of its group's record, whichever of its protocols is chosen. */
  get bytes(): number {
    const ids = this.memberId.length + (this.instanceId?.length ?? 0) + this.clientId.length
    const text = CHAR_BYTES_MAX * (ids + this.clientHost.length)
    return MEMBER_OVERHEAD_BYTES + text + bytesOfProtocols(this.protocols) + this.assignment.length
  }

  /** What it says of itself under the protocol `name`; empty when it does not know it. */
  metadataOf(name: string): Uint8Array {
    return this.protocols.find((protocol) => protocol.name === name)?.metadata ?? EMPTY
  }

  /** True when it would join with just what it joined with before. */
  matches(protocols: readonly MemberProtocol[]): boolean {
    return (
      protocols.length === this.protocols.length &&
      protocols.every(({ name, metadata }, i) => {
        const own = this.protocols[i] as MemberProtocol
        return own.name === name && equalBytes(own.metadata, metadata)
      })
    )
  }
}

/** A member's id: what its client calls itself, as far as that fits, and what makes it unique. */
export function newMemberId(name: string, unique: string): string {
  const cut = name.slice(0, CLIENT_ID_CHARS_MAX)
  // Half a pair of UTF-16 would come back as another character.
  return `${/[\ud800-\udbff]$/.test(cut) ? cut.slice(0, -1) : cut}-${unique}`
}

/** Of all: which one will be chosen is not known yet. */
export function bytesOfProtocols(protocols: readonly MemberProtocol[]): number {
  let bytes = 0
  for (const { name, metadata } of protocols) bytes += name.length + metadata.length
  return bytes
}

const EMPTY = new Uint8Array(0)

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
