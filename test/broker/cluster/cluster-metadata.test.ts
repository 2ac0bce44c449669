/** The metadata of a broker among several, and changes that go through who leads the quorum. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { ClusterMetadata } from '../../../src/broker/cluster/cluster-metadata.ts'
import type { ProposalAnswer } from '../../../src/broker/cluster/proposal-desk.ts'
import { leaderChangeEntry, recordsEntry } from '../../../src/cluster/quorum-entries.ts'
import { BrokerError } from '../../../src/errors/broker-error.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import type { MetadataImage } from '../../../src/metadata/image.ts'
import { encodeMetadataRecord } from '../../../src/metadata/record-schema.ts'
import type { MetadataRecord } from '../../../src/metadata/records.ts'
import { keyOf, settled } from '../../cluster/fixture.ts'
import { uuidFor } from '../../metadata/cluster-records.ts'

const { INVALID_UPDATE_VERSION, MESSAGE_TOO_LARGE, NONE, NOT_CONTROLLER } = ErrorCode

function topic(name: string): MetadataRecord {
  return { type: 'topic', topicId: uuidFor(name.toUpperCase(), 1), name }
}

interface Asked {
  readonly baseOffset: number
  readonly names: readonly string[]
  readonly answer: (errorCode: ErrorCode, endOffset?: number) => void
}

class Fixture {
  nowMs = 0
  readonly asked: Asked[] = []
  readonly metadata = new ClusterMetadata({
    propose: (baseOffset, records) => this.#propose(baseOffset, records),
    nowMs: () => this.nowMs,
  })
  readonly #t: TestContext

  constructor(t: TestContext) {
    this.#t = t
    t.mock.timers.enable({ apis: ['setTimeout'] })
  }

  get last(): Asked {
    return this.asked.at(-1) as Asked
  }

  /** What the quorum commits next. */
  commit(...records: MetadataRecord[]): void {
    const place = { epoch: 1, baseOffset: this.metadata.appliedOffset }
    this.metadata.apply([recordsEntry(place, records.map(encodeMetadataRecord), 0)])
  }

  /** Creates a topic, or says that it is there. */
  create(name: string): Promise<string> {
    return this.metadata.change((image: MetadataImage) => {
      if (image.topicsByName.has(name)) return { records: [], result: 'it is there' }
      return { records: [topic(name)], result: 'created' }
    })
  }

  async pass(ms: number): Promise<void> {
    await settled()
    this.nowMs += ms
    this.#t.mock.timers.tick(ms)
    await settled()
  }

  #propose(baseOffset: number, records: readonly MetadataRecord[]): Promise<ProposalAnswer> {
    return new Promise((resolve) => {
      const names = records.map((record) => (record as { name: string }).name)
      const answer = (errorCode: ErrorCode, endOffset = -1) => resolve({ errorCode, endOffset })
      this.asked.push({ baseOffset, names, answer })
    })
  }
}

describe('ClusterMetadata', () => {
  test('is what the quorum has committed', (t) => {
    const { metadata } = new Fixture(t)
    const told: number[] = []
    metadata.onApplied((records) => told.push(records.length, metadata.appliedOffset))
    const first = leaderChangeEntry({ epoch: 1, baseOffset: 0 }, 1, [keyOf(1)], 0)
    const values = ['a', 'b'].map((name) => encodeMetadataRecord(topic(name)))
    metadata.apply([first, recordsEntry({ epoch: 1, baseOffset: 1 }, values, 0)])
    assert.deepEqual([...metadata.image.topicsByName.keys()], ['a', 'b'])
    assert.deepEqual(told, [2, 3])
  })

  test('gives a change up that is neither committed nor refused, and takes the next one', async (t) => {
    const fixture = new Fixture(t)
    const late = assert.rejects(fixture.create('l'), { code: ErrorCode.REQUEST_TIMED_OUT })
    const next = fixture.create('n')
    await fixture.pass(9_999)
    assert.deepEqual(fixture.last.names, ['l'])
    await fixture.pass(1)
    await late
    assert.deepEqual(fixture.last.names, ['n'])
    fixture.asked[0]!.answer(NONE, 1)
    fixture.commit(topic('l'))
    fixture.commit(topic('n'))
    fixture.last.answer(NONE, 2)
    assert.equal(await next, 'created')
  })

  test('wakes who waits for an offset, and nobody earlier', async (t) => {
    const fixture = new Fixture(t)
    const woken: number[] = []
    for (const offset of [0, 1, 2]) {
      void fixture.metadata.whenApplied(offset).then(() => woken.push(offset))
    }
    await settled()
    assert.deepEqual(woken, [0])
    fixture.commit(topic('a'))
    await settled()
    assert.deepEqual(woken, [0, 1])
  })

  test('changes when the change is taken and applied here', async (t) => {
    const fixture = new Fixture(t)
    const done = fixture.create('a')
    await settled()
    assert.deepEqual([fixture.last.baseOffset, fixture.last.names], [0, ['a']])
    fixture.last.answer(NONE, 1)
    await settled()
    fixture.commit(topic('a'))
    assert.equal(await done, 'created')
  })

  test('asks nobody when there is nothing to change', async (t) => {
    const fixture = new Fixture(t)
    fixture.commit(topic('a'))
    assert.equal(await fixture.create('a'), 'it is there')
    assert.equal(fixture.asked.length, 0)
  })

  test('decides again, on what came since', async (t) => {
    const fixture = new Fixture(t)
    const done = fixture.create('a')
    await settled()
    fixture.last.answer(INVALID_UPDATE_VERSION, 2)
    await settled()
    fixture.commit(topic('b'))
    await settled()
    assert.equal(fixture.asked.length, 1, 'not before all of it is there')
    fixture.commit(topic('c'))
    await settled()
    assert.equal(fixture.last.baseOffset, 2)
    fixture.last.answer(INVALID_UPDATE_VERSION, 3)
    await settled()
    fixture.commit(topic('a'))
    assert.equal(await done, 'it is there')
  })

  test('asks again when no leader has taken it, and finds what was taken all the same', async (t) => {
    const fixture = new Fixture(t)
    const done = fixture.create('a')
    await settled()
    fixture.last.answer(NOT_CONTROLLER)
    await fixture.pass(25)
    assert.equal(fixture.asked.length, 2)
    fixture.last.answer(NOT_CONTROLLER)
    await settled()
    fixture.commit(topic('a'))
    await fixture.pass(25)
    assert.equal(await done, 'it is there')
    assert.equal(fixture.asked.length, 2)
  })

  test('runs changes one after another', async (t) => {
    const fixture = new Fixture(t)
    const done = [fixture.create('a'), fixture.create('a')]
    await settled()
    assert.equal(fixture.asked.length, 1)
    fixture.commit(topic('a'))
    fixture.last.answer(NONE, 1)
    assert.deepEqual(await Promise.all(done), ['created', 'it is there'])
  })

  test('gives up a change that nobody takes, and goes on with the next', async (t) => {
    const fixture = new Fixture(t)
    const refused = assert.rejects(fixture.create('a'), timedOut)
    const next = fixture.create('b')
    await settled()
    while (fixture.last.names[0] === 'a') {
      fixture.last.answer(NOT_CONTROLLER)
      await fixture.pass(25)
      if (fixture.nowMs > 60_000) assert.fail('it never gives up')
    }
    await refused
    fixture.commit(topic('b'))
    fixture.last.answer(NONE, 1)
    assert.equal(await next, 'created')
  })

  test('gives up to wait for what does not come here', async (t) => {
    const fixture = new Fixture(t)
    const refused = assert.rejects(fixture.create('a'), timedOut)
    await settled()
    fixture.last.answer(NONE, 1)
    await fixture.pass(10_000)
    await refused
  })

  test('gives up at once what is too large', async (t) => {
    const fixture = new Fixture(t)
    const done = fixture.create('a')
    await settled()
    fixture.last.answer(MESSAGE_TOO_LARGE)
    await assert.rejects(done, { code: MESSAGE_TOO_LARGE })
  })
})

function timedOut(error: unknown): boolean {
  return error instanceof BrokerError && error.code === ErrorCode.REQUEST_TIMED_OUT
}
