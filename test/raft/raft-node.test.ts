import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import type { Uuid } from '../../src/base/uuid.ts'
import type { QuorumState } from '../../src/raft/effects.ts'
import type { Entry } from '../../src/raft/entry.ts'
import type { RaftMessage } from '../../src/raft/messages.ts'
import { RAFT_DEFAULTS } from '../../src/raft/options.ts'
import { RaftNode } from '../../src/raft/raft-node.ts'
import type { ReplicaKey } from '../../src/raft/replica-key.ts'

/** Nodes that are turned by hand: a disk that is done at once, and messages that wait. */
class Quorum {
  nowMs = 0
  readonly nodes = new Map<number, RaftNode>()
  readonly states = new Map<number, QuorumState>()
  waiting: RaftMessage[] = []
  /** Nodes that nothing reaches and that reach nobody. */
  readonly cut = new Set<number>()
  /** Nodes whose disk is not done with what it was given last. */
  readonly slowDisks = new Set<number>()

  constructor(count: number, voters = count) {
    const keys = Array.from({ length: count }, (_, i) => keyOf(i + 1))
    for (const key of keys) {
      const node = new RaftNode(
        {
          self: key,
          options: RAFT_DEFAULTS,
          random: new Random(key.id),
          quorumState: { epoch: 0, votedFor: null },
          log: { snapshot: { endOffset: 0, epoch: 0 }, epochs: [], endOffset: 0 },
          voters: keys.slice(0, voters),
          voterEntries: [],
          makeVotersEntry: ({ epoch, baseOffset, voters, isLeaderChange }) => ({
            ...entry(epoch, baseOffset),
            voters: isLeaderChange ? null : voters,
          }),
          snapshot: () => null,
        },
        this.nowMs,
      )
      this.nodes.set(key.id, node)
    }
  }

  node(id: number): RaftNode {
    return this.nodes.get(id) as RaftNode
  }

  /** Does what the nodes ask for, and delivers, until nothing is left. */
  settle(): void {
    for (;;) {
      for (const [id, node] of this.nodes) {
        const { quorumState, storage, messages } = node.take()
        if (quorumState !== null) this.states.set(id, quorumState)
        this.waiting.push(...messages)
        const last = this.slowDisks.has(id) ? undefined : storage.at(-1)
        if (last !== undefined) node.onFlushed(last.sequence, this.nowMs)
        if (last !== undefined) this.waiting.push(...node.take().messages)
      }
      const message = this.waiting.shift()
      if (message === undefined) return
      if (this.cut.has(message.from.id) || this.cut.has(message.to.id)) continue
      this.node(message.to.id).onMessage(message, this.nowMs)
    }
  }

  pass(ms: number): void {
    for (const end = this.nowMs + ms; this.nowMs < end; ) {
      this.nowMs += 10
      for (const node of this.nodes.values()) {
        if (this.nowMs >= node.nextDeadlineMs) node.onTime(this.nowMs)
      }
      this.settle()
    }
  }

  get leader(): RaftNode {
    const leaders = [...this.nodes.values()].filter(({ role }) => role === 'leader')
    const newest = leaders.sort((a, b) => b.epoch - a.epoch)[0]
    assert(newest !== undefined, 'somebody leads')
    return newest
  }

  propose(): number {
    const { leader } = this
    const made = entry(leader.epoch, leader.endOffset)
    assert.equal(leader.propose([made], this.nowMs), null)
    this.settle()
    return made.endOffset
  }
}

function keyOf(id: number): ReplicaKey {
  return { id, directoryId: `d${id}` as Uuid }
}

function entry(epoch: number, baseOffset: number): Entry {
  const bytes = new Uint8Array([epoch, baseOffset])
  return { epoch, baseOffset, endOffset: baseOffset + 1, bytes, voters: null }
}

describe('a quorum of one', () => {
  test('leads at once, and commits what is on its disk', () => {
    const quorum = new Quorum(1)
    quorum.pass(10)
    assert.equal(quorum.node(1).role, 'leader')
    assert.equal(quorum.propose(), quorum.node(1).committedOffset)
    assert.deepEqual(quorum.states.get(1), { epoch: 1, votedFor: keyOf(1) })
  })
})

describe('a quorum of three', () => {
  test('elects one, which commits for all', () => {
    const quorum = new Quorum(3)
    quorum.pass(1000)
    const end = quorum.propose()
    quorum.pass(200)
    for (const node of quorum.nodes.values()) {
      assert.deepEqual([node.committedOffset, node.leader?.id], [end, quorum.leader.self.id])
    }
  })

  test('tells what is committed without waiting for a heartbeat, also who answered last', () => {
    const quorum = new Quorum(3)
    quorum.pass(1000)
    quorum.pass(200)
    const end = quorum.propose()
    for (const node of quorum.nodes.values()) assert.equal(node.committedOffset, end)
  })

  test('tells one whose disk is still writing', () => {
    const quorum = new Quorum(3)
    quorum.pass(1000)
    quorum.pass(200)
    const slow = [...quorum.nodes.values()].find((node) => node !== quorum.leader) as RaftNode
    quorum.slowDisks.add(slow.self.id)
    const end = quorum.propose()
    assert.equal(slow.committedOffset, end)
    const { matchedOffset } = [...quorum.leader.replicas].find(
      ({ key }) => key.id === slow.self.id,
    ) as { matchedOffset: number }
    assert(matchedOffset < end, 'it does not count as durable there')
  })

  test('replaces a leader that is gone, and commits nothing without a majority', () => {
    const quorum = new Quorum(3)
    quorum.pass(1000)
    const old = quorum.leader
    quorum.cut.add(old.self.id)
    const lost = old.endOffset
    old.propose([entry(old.epoch, lost)], quorum.nowMs)
    quorum.pass(1500)
    assert.equal(old.role === 'leader', false, 'it has given up')
    assert(old.committedOffset <= lost)
    const { leader } = quorum
    assert(leader.epoch > 1 && leader !== old)
    quorum.propose()
    quorum.cut.clear()
    quorum.pass(1000)
    assert.equal(old.committedOffset, quorum.leader.committedOffset)
    assert.equal(old.epochBefore(lost + 1), quorum.leader.epochBefore(lost + 1), 'it was cut')
  })

  test('elects sooner where the connections of a dead leader broke', () => {
    const quorum = new Quorum(3)
    quorum.pass(1000)
    const old = quorum.leader
    quorum.cut.add(old.self.id)
    const others = [...quorum.nodes.values()].filter((node) => node !== old)
    for (const node of others) node.onConnectionLost(old.self.id, quorum.nowMs)
    const { electionTimeoutMsMin, heartbeatMs } = RAFT_DEFAULTS
    const deadlines = others.map(({ nextDeadlineMs }) => nextDeadlineMs - quorum.nowMs)
    assert(
      deadlines.every((ms) => ms >= 2 * heartbeatMs),
      `${deadlines}`,
    )
    const first = Math.ceil(Math.min(...deadlines) / 10) * 10
    assert(
      first < electionTimeoutMsMin,
      'whoever is first still remembers that it heard the old one',
    )
    quorum.pass(first)
    assert.notEqual(quorum.leader, old)
  })

  test('keeps a leader whose connection broke and that lives, also where others do not', () => {
    const quorum = new Quorum(3)
    quorum.pass(1000)
    const { leader, nowMs } = quorum
    const { epoch } = leader
    const [doubting] = [...quorum.nodes.values()].filter((node) => node !== leader)
    assert(doubting !== undefined)
    for (let i = 0; i < 20; i++) {
      doubting.onConnectionLost(leader.self.id, quorum.nowMs)
      doubting.onConnectionLost(doubting.self.id, quorum.nowMs)
      quorum.pass(50)
    }
    assert.equal(quorum.nowMs, nowMs + 1000)
    // It hears the leader no more: without the other one it becomes nothing.
    quorum.cut.add(leader.self.id)
    doubting.onConnectionLost(leader.self.id, quorum.nowMs)
    quorum.cut.delete(leader.self.id)
    const deaf = quorum.nowMs
    while (quorum.nowMs < deaf + 250) {
      quorum.nowMs += 10
      if (quorum.nowMs >= doubting.nextDeadlineMs) doubting.onTime(quorum.nowMs)
      quorum.settle()
    }
    assert.deepEqual([quorum.leader, leader.epoch], [leader, epoch])
  })

  test('keeps its leader and epoch when one that heard nobody comes back', () => {
    const quorum = new Quorum(3)
    quorum.pass(1000)
    const { leader } = quorum
    const away = [...quorum.nodes.values()].find((node) => node !== leader) as RaftNode
    quorum.cut.add(away.self.id)
    quorum.pass(5000)
    const { epoch } = leader
    assert.equal(away.epoch, epoch, 'asking beforehand costs no epoch')
    quorum.cut.clear()
    quorum.pass(1000)
    assert.deepEqual([quorum.leader, leader.epoch], [leader, epoch])
    assert.equal(away.leader?.id, leader.self.id)
  })

  test('hands over without waiting for a timeout', () => {
    const quorum = new Quorum(3)
    quorum.pass(1000)
    const old = quorum.leader
    const to = [...quorum.nodes.values()].find((node) => node !== old) as RaftNode
    assert.equal(old.transfer(to.self, quorum.nowMs), null)
    assert.equal(old.propose([entry(old.epoch, old.endOffset)], quorum.nowMs), 'TRANSFERRING')
    quorum.settle()
    assert.equal(quorum.leader, to)
    assert.equal(old.transfer(null, quorum.nowMs), 'NOT_LEADER')
  })
})

describe('one replica', () => {
  const [me, other] = [keyOf(1), keyOf(2)]

  function replica(epoch: number): RaftNode {
    return new RaftNode(
      {
        self: me,
        options: RAFT_DEFAULTS,
        random: new Random(1),
        quorumState: { epoch, votedFor: null },
        log: { snapshot: { endOffset: 0, epoch: 0 }, epochs: [], endOffset: 0 },
        voters: [me, other],
        voterEntries: [],
        makeVotersEntry: ({ epoch, baseOffset }) => entry(epoch, baseOffset),
        snapshot: () => null,
      },
      0,
    )
  }

  test('takes the pre-vote of one that has not heard of its epoch', () => {
    const node = replica(5)
    node.onTime(1000)
    assert.equal(node.role, 'pre-candidate')
    node.onMessage(
      {
        type: 'vote-response',
        from: other,
        to: me,
        epoch: 3,
        isPreVote: true,
        isGranted: true,
        requestEpoch: 5,
      },
      1001,
    )
    assert.deepEqual([node.role, node.epoch], ['candidate', 6])
  })

  test('keeps what came while a snapshot was being stored, and reaches further', () => {
    const node = replica(1)
    const entries = Array.from({ length: 8 }, (_, i) => entry(1, i))
    const envelope = { from: other, to: me, epoch: 1 }
    const append = (from: number, to: number): void =>
      node.onMessage(
        {
          ...envelope,
          type: 'append-request',
          offset: from,
          previousEpoch: from === 0 ? 0 : 1,
          entries: entries.slice(from, to),
          committedOffset: 0,
        },
        0,
      )
    append(0, 4)
    const part = {
      ...envelope,
      snapshot: { endOffset: 5, epoch: 1 },
      position: 0,
      bytes: new Uint8Array(3),
      isLast: true,
      voters: [me, other],
    }
    node.onMessage({ ...part, type: 'snapshot-request' }, 0)
    append(4, 8)
    const sequence = node.take().storage.at(-1)?.sequence as number
    node.onFlushed(sequence, 0)
    const answers = node.take().messages.filter(({ type }) => type === 'append-response')
    const last = answers.at(-1)
    assert(last?.type === 'append-response')
    assert.equal(last.matchedOffset, 8, 'the leader counts on it')
    node.onSnapshotStored({ ...part, leader: other })
    assert.deepEqual([node.endOffset, node.flushedOffset, node.startOffset], [8, 8, 0])
    assert.equal(node.take().storage.length, 0)
  })

  test('refuses proposals while too much is open', () => {
    const quorum = new Quorum(3)
    quorum.pass(1000)
    const { leader } = quorum
    for (const { id } of leader.voters.replicas) if (id !== leader.self.id) quorum.cut.add(id)
    const bytes = new Uint8Array(RAFT_DEFAULTS.openBytesMax)
    const large = (): Entry => ({ ...entry(leader.epoch, leader.endOffset), bytes })
    assert.equal(leader.propose([large()], quorum.nowMs), null)
    assert.equal(leader.propose([large()], quorum.nowMs), null, 'the last one may go over')
    assert.equal(leader.propose([large()], quorum.nowMs), 'BUSY')
  })
})

describe('voters', () => {
  test('are added once they have followed, and one at a time', () => {
    const quorum = new Quorum(4, 3)
    quorum.pass(100)
    quorum.pass(1000)
    const { leader } = quorum
    quorum.pass(1000)
    assert.equal(leader.addVoter(keyOf(9), quorum.nowMs), 'NOT_CAUGHT_UP')
    const twin = { ...keyOf(3), directoryId: 'another' as Uuid }
    assert.equal(leader.addVoter(twin, quorum.nowMs), 'NOT_CAUGHT_UP')
    assert.equal(leader.addVoter(keyOf(4), quorum.nowMs), null)
    assert.equal(leader.removeVoter(keyOf(4), quorum.nowMs), 'CHANGE_IN_PROGRESS')
    quorum.settle()
    assert.equal(leader.voters.size, 4)
    assert.equal(leader.addVoter(keyOf(4), quorum.nowMs), null, 'it is one')
    quorum.pass(200)
    assert(quorum.node(4).isVoter)
  })

  test('are taken out, a leader after it has committed that', () => {
    const quorum = new Quorum(3)
    quorum.pass(1000)
    const old = quorum.leader
    assert.equal(old.removeVoter(keyOf(9), quorum.nowMs), 'UNKNOWN_REPLICA')
    assert.equal(old.removeVoter(old.self, quorum.nowMs), null)
    quorum.settle()
    assert.equal(old.role, 'follower')
    quorum.pass(1500)
    assert(quorum.leader !== old)
    assert.equal(quorum.leader.voters.size, 2)
    assert.equal(old.isVoter, false)
  })

  test('do not become none', () => {
    const quorum = new Quorum(1)
    quorum.pass(10)
    assert.equal(quorum.leader.removeVoter(keyOf(1), quorum.nowMs), 'LAST_VOTER')
  })
})
