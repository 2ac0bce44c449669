/** A replica among peers that are not in order: nothing that they say ends it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import type { Uuid } from '../../src/base/uuid.ts'
import type { Entry } from '../../src/raft/entry.ts'
import type { MessageBody, RaftMessage, SnapshotId } from '../../src/raft/messages.ts'
import { RAFT_DEFAULTS } from '../../src/raft/options.ts'
import { PeerError } from '../../src/raft/peer-error.ts'
import { RaftNode } from '../../src/raft/raft-node.ts'
import type { ReplicaKey } from '../../src/raft/replica-key.ts'
import { withSeed } from '../support/seed.ts'

const SELF = keyOf(1)
const VOTERS = [SELF, keyOf(2), keyOf(3)]

function keyOf(id: number): ReplicaKey {
  return { id, directoryId: `d${id}` as Uuid }
}

function entryAt(epoch: number, baseOffset: number, records = 1): Entry {
  const bytes = new Uint8Array(10 * records)
  return { epoch, baseOffset, endOffset: baseOffset + records, bytes, voters: null }
}

/** One replica, its disk, and what its peers say as the test has them. */
class Replica {
  nowMs = 0
  readonly node: RaftNode
  /** As on its disk. */
  entries: Entry[] = []
  snapshot: SnapshotId | null = null
  refused: string[] = []

  constructor(random: Random) {
    this.node = new RaftNode(
      {
        self: SELF,
        options: { ...RAFT_DEFAULTS, recentBytesMax: 100 },
        random,
        quorumState: { epoch: 0, votedFor: null },
        log: { snapshot: { endOffset: 0, epoch: 0 }, epochs: [], endOffset: 0, entries: [] },
        voters: VOTERS,
        voterEntries: [],
        makeVotersEntry: ({ epoch, baseOffset, voters, isLeaderChange }) => ({
          ...entryAt(epoch, baseOffset),
          voters: isLeaderChange ? null : voters,
        }),
        snapshot: () => this.snapshot,
      },
      this.nowMs,
    )
  }

  get endOffset(): number {
    return this.entries.at(-1)?.endOffset ?? this.snapshot?.endOffset ?? 0
  }

  hear(from: number, epoch: number, body: MessageBody): void {
    const message = { ...body, from: keyOf(from), to: SELF, epoch } as RaftMessage
    try {
      this.node.onMessage(message, this.nowMs)
    } catch (error) {
      if (!(error instanceof PeerError)) throw error
      this.refused.push(error.message)
    }
    this.carryOut()
  }

  pass(ms: number): void {
    this.nowMs += ms
    if (this.nowMs >= this.node.nextDeadlineMs) this.node.onTime(this.nowMs)
    this.carryOut()
  }

  /** It leads, by the votes of 2. */
  lead(): void {
    this.pass(1000)
    const { epoch } = this.node
    const vote = { type: 'vote-response', isGranted: true } as const
    this.hear(2, epoch, { ...vote, isPreVote: true, requestEpoch: epoch })
    this.hear(2, epoch + 1, { ...vote, isPreVote: false, requestEpoch: epoch + 1 })
    assert.equal(this.node.role, 'leader')
  }

  carryOut(): void {
    for (let effects = this.node.take(); ; effects = this.node.take()) {
      let sequence = -1
      for (const operation of effects.storage) {
        ;({ sequence } = operation)
        if (operation.type === 'append') {
          for (const entry of operation.entries) {
            assert.equal(entry.baseOffset, this.endOffset, 'appends are in order')
            this.entries.push(entry)
          }
        } else if (operation.type === 'truncate') {
          this.entries = this.entries.filter(({ endOffset }) => endOffset <= operation.offset)
          assert.equal(this.endOffset, operation.offset, 'a log is cut between entries')
        } else {
          this.entries = []
          this.snapshot = operation.snapshot
        }
      }
      if (sequence >= 0) this.node.onFlushed(sequence, this.nowMs)
      for (const { to, epoch, offset } of effects.loads) {
        const found = this.entries.filter(({ endOffset }) => endOffset > offset)
        this.node.onLoaded(to, epoch, found.slice(0, 3), this.nowMs)
      }
      for (const part of effects.snapshotStores) this.node.onSnapshotStored(part)
      const isDone = sequence < 0 && effects.loads.length === 0
      if (isDone && effects.snapshotStores.length === 0) break
    }
    const { committedOffset } = this.node
    const isPlace = this.entries.some(({ endOffset }) => endOffset === committedOffset)
    const isStart = committedOffset === (this.snapshot?.endOffset ?? 0)
    assert.ok(isPlace || isStart, 'a commit ends where an entry does')
  }
}

const MATCHED = { type: 'append-response', hintEpoch: -1, hintOffset: -1 } as const

describe('a leader, a peer that', () => {
  test('has more than there is, is refused and not counted', () => {
    const one = new Replica(new Random(1))
    one.lead()
    const { epoch, endOffset } = one.node
    one.hear(2, epoch, { ...MATCHED, matchedOffset: endOffset + 1 })
    assert.deepEqual(one.refused, ['it has more than its leader'])
    assert.equal(one.node.committedOffset, 0)
    one.hear(2, epoch, { ...MATCHED, matchedOffset: endOffset })
    assert.equal(one.node.committedOffset, endOffset)
  })

  test('has a part of an entry, is refused', () => {
    const one = new Replica(new Random(1))
    one.lead()
    const { epoch, endOffset } = one.node
    one.node.propose([entryAt(epoch, endOffset, 4)], one.nowMs)
    one.carryOut()
    one.hear(2, epoch, { ...MATCHED, matchedOffset: endOffset + 2 })
    assert.deepEqual(one.refused, ['it has a part of an entry'])
  })

  test('leads as well, is refused', () => {
    const one = new Replica(new Random(1))
    one.lead()
    const request = { type: 'append-request', offset: 0, previousEpoch: 0, entries: [] } as const
    one.hear(3, one.node.epoch, { ...request, committedOffset: 0 })
    assert.match(one.refused.join(), /^it leads epoch 1, which another one leads$/)
    assert.equal(one.node.role, 'leader')
  })
})

describe('a follower, a leader that', () => {
  /** 2 leads epoch 3 and has sent entries of two records each. */
  function led(): Replica {
    const one = new Replica(new Random(1))
    const entries = [entryAt(3, 0, 2), entryAt(3, 2, 2), entryAt(3, 4, 2)]
    const request = { type: 'append-request', offset: 0, previousEpoch: 0 } as const
    one.hear(2, 3, { ...request, entries, committedOffset: 2 })
    assert.deepEqual([one.refused, one.node.committedOffset], [[], 2])
    return one
  }

  test('takes back what it has sent, is refused', () => {
    const one = led()
    const request = { type: 'append-request', offset: 2, previousEpoch: 3 } as const
    // Of its own epoch it cannot be other entries; these end elsewhere.
    one.hear(2, 3, { ...request, entries: [entryAt(3, 2, 9)], committedOffset: 2 })
    assert.deepEqual(one.refused, ['it takes back what it has sent'])
    assert.equal(one.node.endOffset, 6)
  })

  test('comes next and cuts an entry, is refused', () => {
    const one = led()
    const request = { type: 'append-request', offset: 3, previousEpoch: 3 } as const
    one.hear(3, 4, { ...request, entries: [entryAt(4, 3)], committedOffset: 2 })
    assert.deepEqual(one.refused, ['it cuts an entry'])
    one.hear(3, 4, { ...request, offset: 2, entries: [entryAt(4, 2)], committedOffset: 2 })
    assert.equal(one.node.endOffset, 3)
  })

  test('commits a part of an entry, is refused', () => {
    const one = led()
    const request = { type: 'append-request', offset: 6, previousEpoch: 3, entries: [] } as const
    one.hear(2, 3, { ...request, committedOffset: 5 })
    assert.deepEqual(one.refused, ['it has committed a part of an entry'])
    assert.equal(one.node.committedOffset, 2)
  })

  test('is another one in the same epoch, is refused', () => {
    const one = led()
    const request = { type: 'append-request', offset: 6, previousEpoch: 3, entries: [] } as const
    one.hear(3, 3, { ...request, committedOffset: 6 })
    assert.match(one.refused.join(), /^it leads epoch 3/)
    assert.equal(one.node.leader?.id, 2)
  })
})

test('a replica, whatever its peers say, goes on', () =>
  withSeed('raft/wrong-peer', (random) => {
    let refused = 0
    const roles = new Set<string>()
    for (let run = 0; run < 150; run++) {
      const one = new Replica(random)
      for (let step = 0; step < 60; step++) {
        if (random.chance(0.15)) one.pass(random.below(600))
        else if (random.chance(0.1) && one.node.role !== 'leader') one.pass(1000)
        else if (random.chance(0.1)) {
          const { epoch, endOffset } = one.node
          one.node.propose([entryAt(epoch, endOffset, 1 + random.below(3))], one.nowMs)
          one.carryOut()
        } else {
          const epoch = Math.max(0, one.node.epoch + random.pick([-1, 0, 0, 0, 0, 0, 1]))
          one.hear(2 + random.below(2), epoch, anything(random, one, epoch))
        }
        roles.add(one.node.role)
      }
      refused += one.refused.length
    }
    assert.ok(refused > 50, `${refused} were refused`)
    assert.ok(roles.has('leader') && roles.has('follower'), [...roles].join())
  }))

/** What decodes, around the end of the replica's log. */
function anything(random: Random, one: Replica, epoch: number): MessageBody {
  const offset = Math.max(0, one.endOffset + random.below(8) - 6)
  const boundary = one.entries.length > 0 ? random.pick(one.entries).endOffset : 0
  const place = random.chance(0.5) ? boundary : offset
  const previousEpoch = random.chance(0.7) ? lastEpochBefore(one, place) : random.below(epoch + 1)
  switch (random.below(9)) {
    case 0:
      return {
        type: 'vote-request',
        isPreVote: random.chance(0.5),
        isTransfer: random.chance(0.2),
        lastEpoch: epoch,
        endOffset: offset,
      }
    case 1:
    case 2:
      return {
        type: 'vote-response',
        isPreVote: random.chance(0.5),
        isGranted: random.chance(0.9),
        requestEpoch: one.node.epoch,
      }
    case 3:
    case 4: {
      const entries: Entry[] = []
      let at = place
      let last = Math.min(previousEpoch, epoch)
      for (let i = random.below(4); i > 0; i--) {
        last += random.below(epoch - last + 1)
        const made = entryAt(last, at, 1 + random.below(3))
        const voters = random.chance(0.1) ? VOTERS.slice(0, 2 + random.below(2)) : null
        entries.push({ ...made, voters })
        at = made.endOffset
      }
      const committedOffset = Math.max(0, at - random.below(5))
      return {
        type: 'append-request',
        offset: place,
        previousEpoch: Math.min(previousEpoch, epoch),
        entries,
        committedOffset,
      }
    }
    case 5:
      return {
        type: 'append-response',
        matchedOffset: random.chance(0.3) ? -1 : place + random.below(2),
        hintEpoch: random.below(epoch + 1) - 1,
        hintOffset: offset - 1,
      }
    case 6: {
      const snapshot = { endOffset: Math.max(1, offset), epoch: random.below(epoch + 1) }
      return {
        type: 'snapshot-request',
        snapshot,
        position: random.chance(0.7) ? 0 : random.below(20),
        bytes: new Uint8Array(5),
        isLast: random.chance(0.5),
        voters: VOTERS,
      }
    }
    case 7: {
      const snapshot = one.snapshot ?? { endOffset: 1, epoch: 0 }
      return {
        type: 'snapshot-response',
        snapshot,
        position: random.below(20),
        isDone: random.chance(0.5),
      }
    }
    default:
      return random.chance(0.5)
        ? { type: 'observe-request', endOffset: offset }
        : random.chance(0.5)
          ? { type: 'transfer-request' }
          : { type: 'leader-hint', leader: keyOf(1 + random.below(3)) }
  }
}

function lastEpochBefore(one: Replica, offset: number): number {
  const before = one.entries.filter(({ baseOffset }) => baseOffset < offset)
  return before.at(-1)?.epoch ?? one.snapshot?.epoch ?? 0
}
