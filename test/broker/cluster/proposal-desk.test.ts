/** Changes of metadata where the quorum is led. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type ProposalAnswer, ProposalDesk } from '../../../src/broker/cluster/proposal-desk.ts'
import type { Quorum } from '../../../src/cluster/quorum.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { MetadataImage } from '../../../src/metadata/image.ts'
import { encodeMetadataRecord } from '../../../src/metadata/record-schema.ts'
import type { MetadataRecord } from '../../../src/metadata/records.ts'
import type { Entry } from '../../../src/raft/entry.ts'
import type { Refusal } from '../../../src/raft/leader.ts'
import { settled } from '../../cluster/fixture.ts'
import { uuidFor } from '../../metadata/cluster-records.ts'

const {
  INVALID_REQUEST,
  INVALID_UPDATE_VERSION,
  MESSAGE_TOO_LARGE,
  NONE,
  NOT_CONTROLLER,
  REQUEST_TIMED_OUT,
} = ErrorCode

class FakeQuorum {
  isLeader = true
  epoch = 3
  epochStartOffset: number | null = 10
  appliedOffset = 11
  endOffset = 11
  refusal: Refusal | null = null
  readonly entries: Entry[] = []

  propose(make: (place: { epoch: number; baseOffset: number }) => Entry): number | Refusal {
    if (this.refusal !== null) return this.refusal
    const entry = make({ epoch: this.epoch, baseOffset: this.endOffset })
    this.entries.push(entry)
    this.endOffset = entry.endOffset
    return entry.endOffset
  }
}

class Desk {
  readonly quorum = new FakeQuorum()
  readonly image = new MetadataImage()
  readonly refused: string[] = []
  readonly desk = new ProposalDesk({
    quorum: () => this.quorum as unknown as Quorum,
    image: this.image,
    onRefused: (reason) => this.refused.push(reason),
    encode: encodeMetadataRecord,
    wallMs: () => 0,
  })

  async propose(baseOffset: number, ...records: MetadataRecord[]): Promise<ProposalAnswer | null> {
    return answerOf(this.desk.propose(baseOffset, records))
  }

  apply(offset: number): void {
    this.quorum.appliedOffset = offset
    this.desk.settle()
  }
}

/** Null while there is none. */
async function answerOf(asked: Promise<ProposalAnswer>): Promise<ProposalAnswer | null> {
  let answer: ProposalAnswer | null = null
  void asked.then((is) => {
    answer = is
  })
  await settled()
  return answer
}

function topic(n: number): MetadataRecord {
  return { type: 'topic', topicId: uuidFor('T', n), name: `t${n}` }
}

function option(value: string): MetadataRecord {
  return { type: 'broker-config', broker: '', name: 'a', value }
}

describe('ProposalDesk', () => {
  test('answers once the change is applied here', async () => {
    const { desk, quorum } = new Desk()
    const asked = desk.propose(11, [topic(1), topic(2)])
    quorum.appliedOffset = 12
    desk.settle()
    assert.equal(await answerOf(asked), null)
    quorum.appliedOffset = 13
    desk.settle()
    assert.deepEqual(await asked, { errorCode: NONE, endOffset: 13 })
    assert.deepEqual([quorum.entries[0]?.epoch, quorum.entries[0]?.baseOffset], [3, 11])
  })

  test('takes nothing before what was there is applied, nor from who looked at less', async () => {
    const one = new Desk()
    one.quorum.appliedOffset = 10
    assert.equal(one.desk.isActive, false)
    assert.deepEqual(await one.propose(10, topic(1)), { errorCode: NOT_CONTROLLER, endOffset: -1 })
    one.apply(11)
    const answer = { errorCode: INVALID_UPDATE_VERSION, endOffset: 10 }
    assert.deepEqual(await one.propose(9, topic(1)), answer)
    assert.equal(await one.propose(10, topic(1)), null)
    assert.equal(one.quorum.entries.length, 1)
  })

  test('sends back what rests on something that has changed since', async () => {
    const one = new Desk()
    void one.desk.propose(11, [topic(1)])
    const answer = { errorCode: INVALID_UPDATE_VERSION, endOffset: 12 }
    assert.deepEqual(await one.propose(11, topic(1)), answer)
    assert.equal(await one.propose(11, option('b')), null, 'something else stands')
    assert.deepEqual(await one.propose(12, option('c')), {
      errorCode: INVALID_UPDATE_VERSION,
      endOffset: 13,
    })
    assert.equal(await one.propose(11, topic(2)), null, 'another name stands')
    assert.equal(one.quorum.entries.length, 3)
  })

  test('sends back, of very many new names, also those that it has forgotten', async () => {
    const one = new Desk()
    const many = Array.from({ length: 10_000 }, (_, n) => topic(n))
    void one.desk.propose(11, [topic(10_000)])
    void one.desk.propose(11, many)
    const answer = { errorCode: INVALID_UPDATE_VERSION, endOffset: 12 }
    assert.deepEqual(await one.propose(11, topic(10_000)), answer)
    assert.equal(await one.propose(12, topic(10_001)), null)
  })

  test('tells all that are open when somebody else leads', async () => {
    const { desk, quorum } = new Desk()
    const asked = [desk.propose(11, [topic(1)]), desk.propose(11, [option('b')])]
    quorum.isLeader = false
    quorum.epochStartOffset = null
    // It may have come this far by what another leader has written there.
    quorum.appliedOffset = 20
    desk.settle()
    for (const answer of await Promise.all(asked)) assert.equal(answer.errorCode, NOT_CONTROLLER)
  })

  test('tells them also when this node leads again, in another epoch', async () => {
    const one = new Desk()
    const asked = one.desk.propose(11, [topic(1)])
    Object.assign(one.quorum, { epoch: 5, epochStartOffset: 30, appliedOffset: 31, endOffset: 31 })
    one.desk.settle()
    assert.equal((await asked).errorCode, NOT_CONTROLLER)
    const answer = { errorCode: INVALID_UPDATE_VERSION, endOffset: 30 }
    assert.deepEqual(await one.propose(29, topic(1)), answer)
    assert.equal(await one.propose(31, topic(1)), null)
  })

  test('forgets where changes of an epoch ended that came to nothing', async () => {
    const one = new Desk()
    for (let n = 1; n <= 30; n++) void one.desk.propose(one.quorum.endOffset, [topic(n)])
    Object.assign(one.quorum, { epoch: 4, epochStartOffset: 12, appliedOffset: 13, endOffset: 13 })
    assert.equal(await one.propose(13, topic(1)), null)
  })

  test('says why the quorum takes nothing now', async () => {
    const one = new Desk()
    one.quorum.refusal = 'BUSY'
    assert.equal((await one.propose(11, topic(1)))?.errorCode, REQUEST_TIMED_OUT)
    one.quorum.refusal = 'TRANSFERRING'
    assert.equal((await one.propose(11, topic(1)))?.errorCode, NOT_CONTROLLER)
    one.quorum.refusal = null
    assert.equal(await one.propose(11, topic(1)), null, 'it has left no mark')
  })

  test('refuses what no node could take from the log', async () => {
    const one = new Desk()
    const large = option('x'.repeat(30_000))
    const many = Array.from({ length: 60 }, () => large)
    const answer = { errorCode: MESSAGE_TOO_LARGE, endOffset: -1 }
    assert.deepEqual(await one.propose(11, ...many), answer)
    assert.equal(await one.propose(11, ...many.slice(0, 50)), null)
  })

  test('refuses what would end every node that applies it, and says so', async () => {
    const one = new Desk()
    const unknown: MetadataRecord = { type: 'remove-topic', topicId: uuidFor('T', 1) }
    const answer = { errorCode: INVALID_REQUEST, endOffset: -1 }
    assert.deepEqual(await one.propose(11, unknown), answer)
    assert.match(one.refused.join(), /^remove-topic: the topic is not known$/)
    assert.equal(one.quorum.entries.length, 0)
    assert.equal(await one.propose(11, topic(1)), null, 'it has left no mark')
  })

  test('looks at what others have applied before it, once it has as well', async () => {
    const one = new Desk()
    void one.desk.propose(11, [topic(1)])
    const removed: MetadataRecord = { type: 'remove-topic', topicId: uuidFor('T', 1) }
    const asked = one.desk.propose(12, [removed])
    assert.equal(await answerOf(asked), null)
    assert.equal(one.quorum.entries.length, 1)
    one.image.apply(topic(1))
    one.apply(12)
    await settled()
    assert.deepEqual([one.quorum.entries.length, one.refused], [2, []])
    one.apply(13)
    assert.equal((await asked).errorCode, NONE)
  })

  test('tells who was early that somebody else leads', async () => {
    const one = new Desk()
    void one.desk.propose(11, [topic(1)])
    const asked = one.desk.propose(12, [topic(2)])
    one.quorum.isLeader = false
    one.desk.settle()
    assert.equal((await asked).errorCode, NOT_CONTROLLER)
  })

  test('sends who knows more than its log holds to whoever leads by now', async () => {
    const one = new Desk()
    const answer = { errorCode: NOT_CONTROLLER, endOffset: -1 }
    assert.deepEqual(await one.propose(one.quorum.endOffset + 1, topic(1)), answer)
    assert.deepEqual([one.quorum.entries.length, one.refused], [0, []])
  })

  test('lets no more than so many wait', async () => {
    const one = new Desk()
    void one.desk.propose(11, [topic(0)])
    const waiting = Array.from({ length: 1000 }, (_, n) => one.desk.propose(12, [topic(n + 1)]))
    assert.equal((await one.propose(12, topic(1001)))?.errorCode, REQUEST_TIMED_OUT)
    one.quorum.isLeader = false
    one.desk.settle()
    for (const { errorCode } of await Promise.all(waiting)) assert.equal(errorCode, NOT_CONTROLLER)
  })
})
