/** Compaction as a shard does it: when it looks, what waits for it, what it survives. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import type { CompactionReport, Compactor } from '../../src/shard/compactor.ts'
import type { CompactionJob } from '../../src/storage/compaction/compaction-job.ts'
import type { LogOptions } from '../../src/storage/log.ts'
import { SimCompactor } from '../simulation/sim-compactor.ts'
import { SEED, START_MS } from '../storage/support/fixture.ts'
import { fault, MemoryFiles } from '../storage/support/memory-files.ts'
import { ShardFixture } from './fixture.ts'

const OPTIONS: Partial<LogOptions> = {
  isCompacted: true,
  segmentBytes: 300,
  minCleanableDirtyRatio: 0.4,
  fileDeleteDelayMs: 0,
}

function keyed(key: string, value: string): Uint8Array {
  const builder = new BatchBuilder()
  builder.append(START_MS, key, value)
  return builder.buildSync({})
}

function fill(shard: ShardFixture, handle: number, count: number): void {
  for (let i = 0; i < count; i++) {
    shard.append(handle, keyed(`k${i % 3}`, `v${i}`))
    shard.settle()
  }
}

function pass(shard: ShardFixture, seconds = 1): void {
  for (let i = 0; i < 60; i++) {
    shard.clock.ms += (seconds * 1000) / 60
    shard.settle()
    shard.turn()
  }
  shard.settle()
}

function compacting(): ShardFixture {
  const files = new MemoryFiles()
  return new ShardFixture({ files, compactor: new SimCompactor(files, new Random(SEED)) })
}

/** Holds a job until a test lets it go. */
class HeldCompactor implements Compactor {
  job: CompactionJob | null = null
  stops = 0
  readonly reports: CompactionReport[] = []
  start(job: CompactionJob): void {
    this.job = job
  }
  drain(handler: (report: CompactionReport) => void): number {
    const reports = this.reports.splice(0)
    for (const report of reports) handler(report)
    return reports.length
  }
  stop(): void {
    this.stops++
    this.job = null
  }
}

describe('a shard with a compactor', () => {
  test('compacts what is due, and looks at nothing else', async () => {
    const shard = compacting()
    await shard.open(2, OPTIONS)
    await shard.open(0)
    fill(shard, 0, 40)
    pass(shard, 3)
    const { counters } = shard.shard.state
    assert.equal(counters.compactions, 1)
    assert(counters.compactedRecords > 30)
    assert(counters.compactedBytesOut < counters.compactedBytesIn / 4)
    const event = shard.events.find(({ kind }) => kind === 'compaction')
    assert(event !== undefined && event.kind === 'compaction')
    assert.equal(event.recordsDropped, counters.compactedRecords)
    pass(shard, 5)
    assert.equal(counters.compactions, 1, 'nothing new, nothing to do')
    fill(shard, 0, 40)
    pass(shard, 3)
    assert.equal(counters.compactions, 2)
    const names = shard.files.paths().filter((path) => /cleaned|swap|deleted/.test(path))
    assert.deepEqual(names, [])
  })

  test('stops a job before its partition is deleted, and before it closes', async () => {
    for (const how of ['delete', 'shutdown'] as const) {
      const compactor = new HeldCompactor()
      const shard = new ShardFixture({ compactor })
      await shard.open(1, OPTIONS)
      fill(shard, 0, 20)
      pass(shard, 2)
      assert(compactor.job !== null)
      const reply = await shard.control(
        how === 'delete' ? { kind: 'delete', handle: 0 } : { kind: 'shutdown' },
      )
      assert(reply.kind === 'ok' || reply.kind === 'closed')
      assert.equal(compactor.stops, 1)
    }
  })

  test('a job that fails stops no other, and a damaged log is not tried again', async () => {
    const compactor = new HeldCompactor()
    const shard = new ShardFixture({ compactor })
    await shard.open(2, OPTIONS)
    fill(shard, 0, 20)
    fill(shard, 1, 20)
    pass(shard, 2)
    const first = compactor.job?.directory
    const failure = { kind: 'failed', message: 'Cannot compact', systemCall: '' } as const
    compactor.reports.push({ ...failure, errorCode: 2, systemCode: '' })
    pass(shard, 2)
    assert(compactor.job !== null)
    assert.notEqual(compactor.job.directory, first)
    compactor.reports.push({ ...failure, errorCode: 56, systemCode: 'ENOSPC' })
    compactor.job = null
    pass(shard, 10)
    assert.equal(compactor.job, null)
    pass(shard, 70)
    const again = compactor.job as CompactionJob | null
    assert(again !== null && again.directory !== first)
    assert.equal(shard.shard.state.isFailed('/data'), false)
  })

  test('whose end cannot be written is not done all over again at once', async () => {
    const files = new MemoryFiles()
    const compactor = new SimCompactor(files, new Random(SEED))
    const shard = new ShardFixture({ files, compactor })
    await shard.open(1, OPTIONS)
    fill(shard, 0, 40)
    files.onOperation = (_kind, path) => {
      if (path.includes('cleaner-offset')) throw fault('ENOSPC', path)
    }
    pass(shard, 30)
    assert.equal(compactor.jobs, 1)
    files.onOperation = () => {}
    pass(shard, 60)
    pass(shard, 3)
    assert.equal(compactor.jobs, 2)
    assert.equal(shard.shard.state.isFailed('/data'), false)
  })

  test('sleeps between two passes, even without a backoff', async () => {
    const compactor = new HeldCompactor()
    const shard = new ShardFixture({ compactor, compactionIntervalMs: 0 })
    await shard.open(1)
    shard.clock.ms += 10_000
    for (let i = 0; i < 20; i++) shard.turn()
    assert.equal(shard.turn(), 0)
    assert(shard.shard.nextDeadlineMs > shard.clock.ms)
  })
})
