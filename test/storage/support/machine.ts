/**
 * A machine with one log directory, whose name is durable, on the simulator's disk: names that are
 * not synced survive a power loss in any combination, and a crash can strike inside any call.
 */
import assert from 'node:assert/strict'
import { Random } from '../../../src/base/random.ts'
import { jsBatchEngine } from '../../../src/record/batch-engine-js.ts'
import { DeletedFiles } from '../../../src/storage/deleted-files.ts'
import {
  DEFAULT_LOG_OPTIONS,
  type LogHint,
  type LogOptions,
  PartitionLog,
} from '../../../src/storage/log.ts'
import { SimDisk } from '../../simulation/sim-disk.ts'
import { SimFiles } from '../../simulation/sim-files.ts'
import { DIRECTORY, ManualClock } from './fixture.ts'

const FLUSH_TOKEN = 1

export class Machine {
  readonly disk: SimDisk
  readonly clock = new ManualClock()
  files: SimFiles

  constructor(seed: number) {
    const plan = {
      sectorBytes: 16,
      shortWriteChance: 0,
      flushDoneChance: 1,
      readLaterChance: 0,
      writebackChance: 0,
      orderedNames: false,
      garbage: false,
    }
    this.disk = new SimDisk(plan, new Random(seed))
    this.disk.nowMs = () => this.clock.wallMs()
    this.files = new SimFiles(this.disk)
    this.files.makeDirectory('/data')
    this.files.syncDirectory('/')
  }

  open(hint: LogHint | null, changed: Partial<LogOptions> = {}): PartitionLog {
    const context = {
      files: this.files,
      deletedFiles: new DeletedFiles(this.files, this.clock),
      clock: this.clock,
      engine: jsBatchEngine,
      onWarning: () => {},
    }
    const options = { ...DEFAULT_LOG_OPTIONS, ...changed }
    return PartitionLog.open(context, { directory: DIRECTORY, options, hint })
  }

  flush(log: PartitionLog): void {
    log.startFlush(FLUSH_TOKEN)
    this.files.drainFlushes((token, error) => log.onFlushed(token, error))
    assert.equal(log.flushing, false)
  }

  kill(): void {
    this.files.die()
    this.disk.kill()
    this.files = new SimFiles(this.disk)
  }

  losePower(): void {
    this.files.die()
    this.disk.losePower()
    this.files = new SimFiles(this.disk)
  }
}
