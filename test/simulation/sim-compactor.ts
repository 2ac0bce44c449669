/**
 * Compacts on the shard's own thread, a few steps at a turn: whatever a thread of its own would do
 * meanwhile happens between them.
 */
import type { Random } from '../../src/base/random.ts'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { jsBatchEngine } from '../../src/record/batch-engine-js.ts'
import type { CompactionReport, Compactor } from '../../src/shard/compactor.ts'
import type {
  CompactionJob,
  CompactionStep,
  CompactionSteps,
} from '../../src/storage/compaction/compaction-job.ts'
import { compact } from '../../src/storage/compaction/compaction-run.ts'
import { advance } from '../../src/storage/compaction/drive.ts'
import { HASH_WORDS } from '../../src/storage/compaction/key-hash.ts'
import { systemCall, systemCode } from '../../src/storage/file-io.ts'
import type { Files } from '../../src/storage/files.ts'

export class SimCompactor implements Compactor {
  readonly #files: Files
  readonly #random: Random
  #steps: CompactionSteps | null = null
  #step: CompactionStep | null = null
  /** Jobs begun. */
  jobs = 0

  constructor(files: Files, random: Random) {
    this.#files = files
    this.#random = random
  }

  start(job: CompactionJob): void {
    this.jobs++
    this.#step = null
    this.#steps = compact(job, {
      files: this.#files,
      crc32c: jsBatchEngine.crc32c,
      mapBytesMax: this.#random.pick([24 * 40, 1 << 20]),
      mapLoadFactor: 0.9,
      secret: Int32Array.from({ length: HASH_WORDS }, () => this.#random.u32()),
    })
  }

  drain(handler: (report: CompactionReport) => void): number {
    const count = this.#random.below(3)
    for (let i = 0; i < count && this.#steps !== null; i++) this.#advance(this.#steps, handler)
    return count
  }

  stop(): void {
    this.#steps?.return(undefined as never)
    this.#steps = null
  }

  #advance(steps: CompactionSteps, handler: (report: CompactionReport) => void): void {
    let next: ReturnType<typeof advance>
    try {
      next = advance(steps, this.#step)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      this.#steps = null
      handler({
        kind: 'failed',
        errorCode: error.code,
        message: error.message,
        systemCode: systemCode(error),
        systemCall: systemCall(error),
      })
      return
    }
    if (next.done === true) {
      this.#steps = null
      handler({ kind: 'done', summary: next.value })
      return
    }
    this.#step = next.value
    if (next.value.kind === 'compacted') handler({ kind: 'compacted', segment: next.value.segment })
  }
}
