/**
 * A quorum's messages to and from the fields of `RaftMessagesRequest`. What comes from the network
 * is checked here once: what the Raft core asserts about a message holds for every one that this
 * lets through.
 */
import { unreachable } from '../base/assert.ts'
import { bytesOf, type Entry } from '../raft/entry.ts'
import type { RaftMessage, SnapshotId } from '../raft/messages.ts'
import type { ReplicaKey } from '../raft/replica-key.ts'
import { decodeHeader } from '../record/batch.ts'
import { RecordError } from '../record/record-error.ts'
import { DecodeError, type RequestInit, type RequestOf } from '../wire/kafka/api.ts'

type Encoded = RequestInit<202>['messages'][number]
type Decoded = RequestOf<202>['messages'][number]

const TYPES = [
  'vote-request',
  'vote-response',
  'append-request',
  'append-response',
  'snapshot-request',
  'snapshot-response',
  'transfer-request',
  'observe-request',
  'leader-hint',
] as const satisfies readonly RaftMessage['type'][]

const PRE_VOTE = 1
const GRANTED = 2
const TRANSFER = 2
const LAST = 1

/** Voters of a quorum; more is a mistake or an attack. */
const VOTERS_MAX = 64

/** In one request, save for a single message with more: any broker has memory for so much. */
const REQUEST_BYTES_MAX = 1024 * 1024

/** What goes to one replica, in order, as requests that it can receive. */
export function inRequests(messages: readonly RaftMessage[]): RaftMessage[][] {
  const requests: RaftMessage[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const message of messages) {
    const more = payloadBytes(message)
    if (bytes + more > REQUEST_BYTES_MAX) {
      requests.push([])
      bytes = 0
    }
    bytes += more
    requests.at(-1)?.push(message)
  }
  return requests
}

function payloadBytes(message: RaftMessage): number {
  if (message.type === 'append-request') return bytesOf(message.entries)
  return message.type === 'snapshot-request' ? message.bytes.length : 0
}

/**
 * The two of which there are many are written out: spread, here and below, they took V8's slow path
 * and a twelfth of the time of a simulated cluster at rest.
 */
export function encodeRaftMessage(message: RaftMessage): Encoded {
  const { from, to, epoch } = message
  const type = TYPES.indexOf(message.type)
  const envelope = { type, from, to, epoch }
  switch (message.type) {
    case 'vote-request':
      return {
        ...envelope,
        flags: (message.isPreVote ? PRE_VOTE : 0) | (message.isTransfer ? TRANSFER : 0),
        otherEpoch: message.lastEpoch,
        offset: message.endOffset,
      }
    case 'vote-response':
      return {
        ...envelope,
        flags: (message.isPreVote ? PRE_VOTE : 0) | (message.isGranted ? GRANTED : 0),
        otherEpoch: message.requestEpoch,
      }
    case 'append-request':
      return {
        type,
        from,
        to,
        epoch,
        otherEpoch: message.previousEpoch,
        offset: message.offset,
        otherOffset: message.committedOffset,
        entries: message.entries,
      }
    case 'append-response':
      return {
        type,
        from,
        to,
        epoch,
        otherEpoch: message.hintEpoch,
        offset: message.matchedOffset,
        otherOffset: message.hintOffset,
      }
    case 'snapshot-request': {
      const { snapshot, position, bytes, voters, isLast } = message
      return { ...envelope, flags: isLast ? LAST : 0, offset: position, snapshot, bytes, voters }
    }
    case 'snapshot-response': {
      const { snapshot, position, isDone } = message
      return { ...envelope, flags: isDone ? LAST : 0, offset: position, snapshot }
    }
    case 'transfer-request':
      return envelope
    case 'observe-request':
      return { ...envelope, offset: message.endOffset }
    case 'leader-hint':
      return { ...envelope, voters: [message.leader] }
    default:
      return unreachable(message)
  }
}

/** Throws DecodeError for what no replica says. */
export function decodeRaftMessage(fields: Decoded): RaftMessage {
  const type = TYPES[fields.type]
  const { from, to, epoch, flags } = fields
  check(type !== undefined, `message type ${fields.type}`)
  check(epoch >= 0, `epoch ${epoch}`)
  const caller = keyOf(from)
  const receiver = keyOf(to)
  const envelope = { from: caller, to: receiver, epoch }
  const { offset, otherOffset, otherEpoch } = fields
  const isFirstSet = (flags & 1) !== 0
  const isSecondSet = (flags & 2) !== 0
  switch (type) {
    case 'vote-request':
      check(otherEpoch >= 0 && offset >= 0, 'the end of a log')
      return {
        ...envelope,
        type,
        isPreVote: isFirstSet,
        isTransfer: isSecondSet,
        lastEpoch: otherEpoch,
        endOffset: offset,
      }
    case 'vote-response': {
      const requestEpoch = otherEpoch
      return { ...envelope, type, isPreVote: isFirstSet, isGranted: isSecondSet, requestEpoch }
    }
    case 'append-request': {
      check(otherEpoch >= 0 && offset >= 0 && otherOffset >= 0, 'the place of entries')
      const entries = entriesOf(fields, offset)
      return {
        type,
        from: caller,
        to: receiver,
        epoch,
        offset,
        previousEpoch: otherEpoch,
        entries,
        committedOffset: otherOffset,
      }
    }
    case 'append-response':
      return {
        type,
        from: caller,
        to: receiver,
        epoch,
        matchedOffset: offset,
        hintEpoch: otherEpoch,
        hintOffset: otherOffset,
      }
    case 'snapshot-request':
      check(offset >= 0, 'the position of a part')
      // A log has no records of epochs to come, nor has what takes the place of one.
      check(fields.snapshot.epoch <= epoch, `a snapshot of epoch ${fields.snapshot.epoch}`)
      check(fields.voters.length > 0, 'a quorum of nobody')
      return {
        ...envelope,
        type,
        snapshot: snapshotOf(fields.snapshot),
        position: offset,
        bytes: fields.bytes,
        isLast: isFirstSet,
        voters: votersOf(fields.voters),
      }
    case 'snapshot-response': {
      check(offset >= 0, 'the position of a part')
      const snapshot = snapshotOf(fields.snapshot)
      return { ...envelope, type, snapshot, position: offset, isDone: isFirstSet }
    }
    case 'transfer-request':
      return { ...envelope, type }
    case 'observe-request':
      check(offset >= 0, 'the end of a log')
      return { ...envelope, type, endOffset: offset }
    case 'leader-hint': {
      const [leader] = votersOf(fields.voters)
      check(leader !== undefined, 'a hint without a leader')
      return { ...envelope, type, leader }
    }
    default:
      return unreachable(type)
  }
}

/** In order, without a gap, of epochs that do not fall and are not above the sender's. */
function entriesOf({ entries, epoch, otherEpoch }: Decoded, offset: number): Entry[] {
  let at = offset
  let last = otherEpoch
  return entries.map((entry) => {
    const { baseOffset, endOffset, bytes, voters } = entry
    check(baseOffset === at && endOffset > at, 'entries that do not follow each other')
    check(entry.epoch >= last && entry.epoch <= epoch, `an entry of epoch ${entry.epoch}`)
    check(isBatchOf(entry), 'an entry whose bytes are not what it says')
    check(voters?.length !== 0, 'a quorum of nobody')
    at = endOffset
    last = entry.epoch
    const set = voters === null ? null : votersOf(voters)
    return { epoch: entry.epoch, baseOffset, endOffset, bytes, voters: set }
  })
}

/** The log is read from its bytes again: what they say, and what Raft decides on, is the same. */
function isBatchOf({ epoch, baseOffset, endOffset, bytes }: Decoded['entries'][number]): boolean {
  try {
    const header = decodeHeader(bytes, 0)
    const { leaderEpoch, lastOffsetDelta } = header
    const isInPlace = header.baseOffset === baseOffset && leaderEpoch === epoch
    return (
      isInPlace && baseOffset + lastOffsetDelta + 1 === endOffset && header.bytes === bytes.length
    )
  } catch (error) {
    if (error instanceof RecordError) return false
    throw error
  }
}

function votersOf(voters: readonly ReplicaKey[]): ReplicaKey[] {
  check(voters.length <= VOTERS_MAX, `${voters.length} voters`)
  check(new Set(voters.map(({ id }) => id)).size === voters.length, 'a voter that is there twice')
  return voters.map(keyOf)
}

function keyOf({ id, directoryId }: ReplicaKey): ReplicaKey {
  return { id, directoryId }
}

function snapshotOf({ endOffset, epoch }: SnapshotId): SnapshotId {
  check(endOffset > 0 && epoch >= 0, 'the place of a snapshot')
  return { endOffset, epoch }
}

function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new DecodeError(`it has ${what}`, 'a message of the quorum')
}
