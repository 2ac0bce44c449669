/** The quorum's log on a shard whose disk is full. */
import assert from 'node:assert/strict'
import { describe, mock, test } from 'node:test'
import { MetadataLog } from '../../../src/broker/cluster/metadata-log.ts'
import { METADATA_HANDLE } from '../../../src/broker/metadata-store.ts'
import { entriesOf } from '../../../src/cluster/quorum-entries.ts'
import type { Entry } from '../../../src/raft/entry.ts'
import { ShardFixture } from '../../shard/fixture.ts'
import { append, Bench, batch, readAll } from '../../storage/support/fixture.ts'
import { fault } from '../../storage/support/memory-files.ts'

const NEEDS_ROOM = new Set(['write', 'create', 'makeDirectory', 'rename'])
const RETRY_MS = 200

/** Of two records each, from `first` on. */
function entries(first: number, count: number, epoch: number): readonly Entry[] {
  const log = new Bench().open()
  if (first > 0) log.truncateFullyAndStartAt(first)
  for (let i = 0; i < count; i++) append(log, batch({ records: 2, fill: epoch }), epoch)
  return entriesOf(readAll(log, first))
}

async function opened() {
  const shard = new ShardFixture()
  await shard.openAs(METADATA_HANDLE, { role: 'raw', flushMessages: 1 })
  const log = new MetadataLog({ shard: shard.proxy, arena: shard.ingress })
  let isFull = false
  shard.files.onOperation = (kind) => {
    if (isFull && NEEDS_ROOM.has(kind)) throw fault('ENOSPC', kind)
  }
  const setFull = (now: boolean): void => {
    isFull = now
  }
  return { shard, log, setFull }
}

/** Until nothing goes on without time. */
async function settled(shard: ShardFixture): Promise<void> {
  for (let i = 0; i < 20; i++) {
    shard.settle()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

async function read(shard: ShardFixture, log: MetadataLog, offset: number): Promise<number[][]> {
  const reading = log.read(offset)
  await settled(shard)
  return (await reading).map(({ baseOffset, epoch }) => [baseOffset, epoch])
}

describe('the metadata log on a full disk', () => {
  test('is cut once there is room, and until then does not show what is to go', async (t) => {
    mock.timers.enable({ apis: ['setTimeout'] })
    t.after(() => mock.timers.reset())
    const { shard, log, setFull } = await opened()
    const done: string[] = []
    void log.append(entries(0, 4, 1))
    await settled(shard)
    setFull(true)
    void log.truncate(4).then(() => done.push('cut'))
    void log.append(entries(4, 1, 2)).then(() => done.push('appended'))
    await settled(shard)
    const old = [
      [0, 1],
      [2, 1],
    ]
    assert.deepEqual(await read(shard, log, 0), old)
    assert.deepEqual(await read(shard, log, 4), [])
    mock.timers.tick(RETRY_MS)
    await settled(shard)
    assert.deepEqual(done, [])
    setFull(false)
    mock.timers.tick(RETRY_MS)
    await settled(shard)
    assert.deepEqual(done, ['cut', 'appended'])
    assert.deepEqual(await read(shard, log, 0), [...old, [4, 2]])
    assert.deepEqual(
      shard.events.filter(({ kind }) => kind === 'directory-failed'),
      [],
    )
  })

  test('begins anew once there is room, and shows nothing until then', async (t) => {
    mock.timers.enable({ apis: ['setTimeout'] })
    t.after(() => mock.timers.reset())
    const { shard, log, setFull } = await opened()
    void log.append(entries(0, 4, 1))
    await settled(shard)
    setFull(true)
    void log.reset(100)
    await settled(shard)
    assert.deepEqual(await read(shard, log, 0), [])
    setFull(false)
    mock.timers.tick(RETRY_MS)
    await settled(shard)
    void log.append(entries(100, 1, 5))
    await settled(shard)
    assert.deepEqual(await read(shard, log, 100), [[100, 5]])
  })
})
