/** The shell around a replica of the quorum: order, durability, and what is handed out. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Entry } from '../../src/raft/entry.ts'
import { keyOf, settled } from './fixture.ts'
import { TestQuorum, type TestReplica } from './quorum-fixture.ts'

function texts(entries: readonly Entry[]): string[] {
  const found: string[] = []
  for (const { bytes } of entries) {
    const text = /<[a-z0-9]+>/.exec(Buffer.from(bytes).toString('latin1'))
    if (text !== null) found.push(text[0])
  }
  return found
}

function others(cluster: TestQuorum, one: TestReplica): TestReplica[] {
  return [...cluster.replicas.values()].filter((replica) => replica !== one)
}

describe('Quorum', () => {
  test('hands out what is committed, everywhere, in order and once', async (t) => {
    const cluster = new TestQuorum(t, 3)
    const leader = await cluster.untilLed()
    for (const text of ['<a>', '<b>', '<c>']) {
      assert.equal(typeof leader.propose(text), 'number')
    }
    await cluster.pass(200)
    for (const { committed, quorum, log } of cluster.replicas.values()) {
      assert.deepEqual(texts(committed), ['<a>', '<b>', '<c>'])
      assert.equal(quorum.appliedOffset, log.endOffset)
    }
    assert.equal(leader.quorum.epochStartOffset, 0)
    const followers = leader.quorum.replicas.map(({ matchedOffset }) => matchedOffset)
    assert.deepEqual(followers, [leader.log.endOffset, leader.log.endOffset])
  })

  test('goes on after a message that cannot be, and says whose it was', async (t) => {
    const cluster = new TestQuorum(t, 3)
    const leader = await cluster.untilLed()
    leader.propose('<a>')
    await cluster.pass(200)
    const [other] = others(cluster, leader) as [TestReplica, TestReplica]
    const ends = { from: keyOf(other.id), to: keyOf(leader.id), epoch: leader.quorum.epoch }
    const hints = { hintEpoch: -1, hintOffset: -1 }
    const matchedOffset = leader.log.endOffset + 7
    leader.quorum.receive([{ ...ends, type: 'append-response', matchedOffset, ...hints }])
    assert.deepEqual(leader.distrusted, [`${other.id}: it has more than its leader`])
    leader.propose('<b>')
    await cluster.pass(200)
    assert.deepEqual(texts(other.committed), ['<a>', '<b>'])
    for (const { failures } of cluster.replicas.values()) assert.deepEqual(failures, [])
  })

  test('begins alone where it is the only voter', async (t) => {
    const cluster = new TestQuorum(t, 1)
    const leader = await cluster.untilLed()
    leader.propose('<a>')
    await cluster.settle()
    assert.deepEqual(texts(leader.committed), ['<a>'])
    assert.equal(leader.saved.epoch, 1)
    assert.deepEqual(leader.saved.votedFor, keyOf(1))
  })

  test('asks for no vote before its own is durable, nor gives one', async (t) => {
    const cluster = new TestQuorum(t, 3)
    for (const replica of cluster.replicas.values()) replica.heldSaves = []
    const seen: string[] = []
    let candidate: TestReplica | undefined
    while (candidate === undefined) {
      await cluster.pass(5)
      candidate = [...cluster.replicas.values()].find(({ heldSaves }) => heldSaves?.length === 1)
    }
    candidate.quorum.receive([])
    assert.equal(candidate.sent.length, 0)
    assert.equal(candidate.quorum.role, 'candidate')
    assert.equal(candidate.saved.epoch, 0)
    candidate.releaseSaves()
    await settled()
    assert.equal(candidate.saved.epoch, 1)
    for (const message of candidate.sent) seen.push(message.type)
    assert.deepEqual(seen, ['vote-request', 'vote-request'])
    await cluster.settle()
    for (const voter of others(cluster, candidate)) {
      assert.equal(voter.heldSaves?.length, 1)
      assert.equal(voter.saved.votedFor, null)
      assert.equal(voter.sent.length, 0)
    }
    assert.equal(candidate.quorum.role, 'candidate')
    for (const voter of others(cluster, candidate)) voter.releaseSaves()
    await cluster.settle()
    assert.equal(candidate.quorum.role, 'leader')
    for (const { saved } of cluster.replicas.values())
      assert.equal(saved.votedFor?.id, candidate.id)
  })

  test('lets what comes wait until its state is durable', async (t) => {
    const cluster = new TestQuorum(t, 3)
    const leader = await cluster.untilLed()
    const [follower] = others(cluster, leader) as [TestReplica]
    const { epoch } = leader.quorum
    follower.heldSaves = []
    const request = {
      type: 'append-request',
      from: keyOf(leader.id),
      to: keyOf(follower.id),
      epoch: epoch + 1,
      offset: 0,
      previousEpoch: 0,
      entries: [],
      committedOffset: 0,
    } as const
    const end = follower.quorum.endOffset
    follower.sent = []
    follower.quorum.receive([request])
    follower.quorum.receive([{ ...request, epoch: epoch + 2 }])
    await settled()
    assert.equal(follower.sent.length, 0)
    assert.equal(follower.quorum.epoch, epoch + 1)
    follower.releaseSaves()
    await settled()
    await settled()
    assert.equal(follower.saved.epoch, epoch + 2)
    assert.equal(follower.quorum.endOffset, end)
    assert.deepEqual(
      follower.sent.map((message) => [message.type, message.epoch]),
      [
        ['append-response', epoch + 1],
        ['append-response', epoch + 2],
      ],
    )
  })

  test('takes no proposal while it steps down', async (t) => {
    const cluster = new TestQuorum(t, 3)
    const leader = await cluster.untilLed()
    await cluster.pass(100)
    const { length } = leader.log.entries
    leader.heldSaves = []
    const [follower] = others(cluster, leader) as [TestReplica]
    const { endOffset, epoch } = follower.quorum
    leader.quorum.receive([
      {
        type: 'vote-request',
        from: keyOf(follower.id),
        to: keyOf(leader.id),
        epoch: epoch + 1,
        isPreVote: false,
        isTransfer: true,
        lastEpoch: epoch,
        endOffset,
      },
    ])
    assert.equal(leader.quorum.isLeader, false)
    assert.equal(leader.propose('<a>'), 'NOT_LEADER')
    assert.equal(leader.quorum.addVoter(keyOf(9)), 'NOT_LEADER')
    assert.equal(leader.quorum.transfer(), 'NOT_LEADER')
    leader.releaseSaves()
    await settled()
    assert.equal(leader.log.entries.length, length)
    assert.equal(leader.saved.epoch, epoch + 1)
  })

  test('hands out nothing of what a leader that was cut off had for itself', async (t) => {
    const cluster = new TestQuorum(t, 3)
    const old = await cluster.untilLed()
    old.propose('<a>')
    await cluster.pass(200)
    cluster.cut.add(old.id)
    old.propose('<lost1>')
    old.propose('<lost2>')
    const leader = await cluster.untilLed()
    assert.notEqual(leader.id, old.id)
    leader.propose('<b>')
    await cluster.pass(1000)
    assert.equal(old.quorum.isLeader, false, 'nobody answers it')
    assert.deepEqual(texts(old.log.entries), ['<a>', '<lost1>', '<lost2>'])
    cluster.cut.clear()
    await cluster.pass(1000)
    assert.equal(old.log.truncations.length, 1)
    for (const { committed, log } of cluster.replicas.values()) {
      assert.deepEqual(texts(committed), ['<a>', '<b>'])
      assert.deepEqual(texts(log.entries), ['<a>', '<b>'])
    }
  })

  test('commits nothing that only its own memory has', async (t) => {
    const cluster = new TestQuorum(t, 3)
    const leader = await cluster.untilLed()
    await cluster.pass(100)
    for (const { log } of cluster.replicas.values()) log.held = []
    leader.propose('<a>')
    await cluster.pass(100)
    assert.deepEqual(texts(leader.log.entries), ['<a>'])
    assert.deepEqual(texts(leader.committed), [])
    for (const { log } of others(cluster, leader)) log.release()
    await cluster.pass(20)
    assert.deepEqual(texts(leader.committed), ['<a>'], 'the majority has it')
    leader.log.release()
    await cluster.pass(20)
    assert.deepEqual(texts(leader.committed), ['<a>'])
  })

  test('hands out after a restart what it finds, once somebody says that it counts', async (t) => {
    const cluster = new TestQuorum(t, 3)
    const leader = await cluster.untilLed()
    leader.propose('<a>')
    leader.propose('<b>')
    await cluster.pass(200)
    const ids = [...cluster.replicas.keys()]
    for (const id of ids) cluster.restart(id)
    for (const { committed, quorum } of cluster.replicas.values()) {
      assert.deepEqual([committed.length, quorum.committedOffset], [0, 0])
      assert.equal(quorum.epoch, 1)
    }
    const next = await cluster.untilLed()
    next.propose('<c>')
    await cluster.pass(200)
    assert.ok(next.quorum.epoch > 1)
    for (const { committed } of cluster.replicas.values()) {
      assert.deepEqual(texts(committed), ['<a>', '<b>', '<c>'])
    }
  })

  test('does nothing once it is closed, though its state is being written', async (t) => {
    const cluster = new TestQuorum(t, 1)
    const replica = cluster.at(1)
    replica.heldSaves = []
    await cluster.pass(10)
    replica.quorum.close()
    replica.releaseSaves()
    await cluster.pass(1000)
    assert.deepEqual([replica.log.entries, replica.sent, replica.committed], [[], [], []])
    assert.equal(replica.propose('<a>'), 'NOT_LEADER')
  })

  test('says so when its log cannot be written', async (t) => {
    const cluster = new TestQuorum(t, 1)
    const leader = await cluster.untilLed()
    await cluster.settle()
    leader.log.failure = new Error('the disk is gone')
    leader.propose('<a>')
    await cluster.settle()
    assert.deepEqual(leader.failures, [leader.log.failure])
    assert.deepEqual(texts(leader.committed), [])
  })

  test('does not say so once it is closed', async (t) => {
    const cluster = new TestQuorum(t, 1)
    const leader = await cluster.untilLed()
    await cluster.settle()
    leader.log.failure = new Error('the disk is gone')
    leader.propose('<a>')
    leader.quorum.close()
    await cluster.settle()
    assert.deepEqual(leader.failures, [])
  })

  test('tells a change of role, epoch or leader, and nothing else', async (t) => {
    const cluster = new TestQuorum(t, 3)
    const leader = await cluster.untilLed()
    await cluster.pass(100)
    const { changes } = leader
    leader.propose('<a>')
    await cluster.pass(500)
    assert.equal(leader.changes, changes)
    leader.quorum.transfer()
    const next = await cluster.untilLed()
    assert.notEqual(next.id, leader.id)
    assert.ok(leader.changes > changes)
  })
})
