/** What a replica of the quorum must not forget. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import {
  QUORUM_STATE_FILE,
  readQuorumState,
  writeQuorumState,
} from '../../src/cluster/quorum-state-file.ts'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { SmallDisk, whyNoSmallDisks } from '../support/small-disk.ts'
import { keyOf } from './fixture.ts'

const STATE = { epoch: 7, votedFor: keyOf(2), firstVoters: [keyOf(1), keyOf(2), keyOf(3)] }
const withReserve = (work: () => Promise<void>): Promise<void> => work()
const PATIENT = { withReserve, onNoRoom: () => undefined, isOver: () => false }

describe('the state of a replica of the quorum', () => {
  let directory = ''
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'millrace-quorum-'))
  })
  after(() => rm(directory, { recursive: true, force: true }))

  test('is none before it was written', async () => {
    assert.equal(await readQuorumState(directory), null)
  })

  test('is read as it was written, and replaced as a whole', async () => {
    await writeQuorumState(directory, STATE, PATIENT)
    assert.deepEqual(await readQuorumState(directory), STATE)
    const next = { epoch: 8, votedFor: null, firstVoters: [] }
    await writeQuorumState(directory, next, PATIENT)
    assert.deepEqual(await readQuorumState(directory), next)
    assert.deepEqual(await readdir(directory), [QUORUM_STATE_FILE])
  })

  const noDisk = whyNoSmallDisks()
  test('waits for room on a full disk', { skip: noDisk ?? false }, async () => {
    const disk = SmallDisk.memory(1024 * 1024)
    try {
      disk.fillUp()
      const written = writeQuorumState(disk.path, STATE, PATIENT)
      // It fails at once, where it does not wait.
      await Promise.race([written, new Promise((resolve) => setTimeout(resolve, 100))])
      disk.freeUp()
      await written
      assert.deepEqual(await readQuorumState(disk.path), STATE)
    } finally {
      disk.remove()
    }
  })

  test('has room that was put by for it', { skip: noDisk ?? false }, async () => {
    const disk = SmallDisk.memory(1024 * 1024)
    try {
      disk.fillUp()
      const borrow = (work: () => Promise<void>): Promise<void> => {
        disk.freeUp()
        return work()
      }
      const wait = { withReserve: borrow, onNoRoom: () => assert.fail(), isOver: () => false }
      await writeQuorumState(disk.path, STATE, wait)
      assert.deepEqual(await readQuorumState(disk.path), STATE)
    } finally {
      disk.remove()
    }
  })

  test('does not wait for it once the node stops', { skip: noDisk ?? false }, async () => {
    const disk = SmallDisk.memory(1024 * 1024)
    try {
      disk.fillUp()
      const wait = { withReserve, onNoRoom: () => disk.freeUp(), isOver: () => true }
      await assert.rejects(writeQuorumState(disk.path, STATE, wait), BrokerError)
      assert.equal(await readQuorumState(disk.path), null)
    } finally {
      disk.remove()
    }
  })

  const good = { version: 1, ...STATE }
  const damaged: readonly (readonly [string, unknown])[] = [
    ['nothing', ''],
    ['half of it', JSON.stringify(good).slice(0, 40)],
    ['null', 'null'],
    ['a number', '7'],
    ['another version', { ...good, version: 2 }],
    ['no epoch', { ...good, epoch: undefined }],
    ['a negative epoch', { ...good, epoch: -1 }],
    ['an epoch that is no number', { ...good, epoch: '7' }],
    ['no word about the vote', { ...good, votedFor: undefined }],
    ['a vote for no directory', { ...good, votedFor: { id: 2 } }],
    ['voters that are no list', { ...good, firstVoters: null }],
    ['a voter that is none', { ...good, firstVoters: [keyOf(1), null] }],
  ]
  for (const [what, content] of damaged) {
    test(`is refused where the file has ${what}: a new one could vote twice`, async () => {
      const text = typeof content === 'string' ? content : JSON.stringify(content)
      await writeFile(join(directory, QUORUM_STATE_FILE), text)
      await assert.rejects(readQuorumState(directory), BrokerError)
    })
  }

  test('cannot be written where there is no directory', async () => {
    await assert.rejects(writeQuorumState(join(directory, 'none'), STATE, PATIENT), BrokerError)
  })
})
