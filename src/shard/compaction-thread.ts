import { randomFillSync } from 'node:crypto'
import { setPriority } from 'node:os'
import { type MessagePort, threadId, workerData } from 'node:worker_threads'
import { systemClock } from '../base/clock.ts'
import { loadNative } from '../base/native.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { jsBatchEngine } from '../record/batch-engine-js.ts'
import { nativeBatchEngine } from '../record/batch-engine-native.ts'
import type { CompactionTools } from '../storage/compaction/compaction-job.ts'
import { compact } from '../storage/compaction/compaction-run.ts'
import { drive } from '../storage/compaction/drive.ts'
import { HASH_WORDS } from '../storage/compaction/key-hash.ts'
import { systemCall, systemCode } from '../storage/file-io.ts'
import { NativeFiles } from '../storage/native-files.ts'
import { NodeFiles } from '../storage/node-files.ts'
import type { CompactionReport } from './compactor.ts'
import {
  JOB_ENDED,
  JOB_RUNNING,
  JOB_WAITING,
  type JobMessage,
  type ReportMessage,
} from './port-compactor.ts'
import type { Tier } from './shard-thread.ts'

/**
 * A thread that compacts logs for the shards, one job after the other. It reads segments that no
 * longer change and writes files that are no part of a log yet; the shard that owns the log does
 * everything else. It has the lowest priority that still gets on: producers come first.
 */
export interface CompactionThreadData {
  /** One a shard. */
  readonly ports: readonly MessagePort[]
  readonly tier: Tier
  readonly mapBytesMax: number
  readonly mapLoadFactor: number
  /** Read and written together; Infinity = as fast as it goes. */
  readonly bytesPerSecondMax: number
}

interface Waiting {
  readonly port: MessagePort
  readonly message: JobMessage
}

/** Linux has a priority for each thread; where it is the process's, it stays as it is. */
const NICE = 10
/** A pause in one piece: so long a shard that stops the job may have to wait. */
const PAUSE_MS_MAX = 20

class CompactionThread {
  readonly #data: CompactionThreadData
  readonly #tools: Omit<CompactionTools, 'secret'>
  readonly #queue: Waiting[] = []
  #isBusy = false
  /** When what was read and written until now should have been, monotonic. */
  #dueMs = 0

  constructor(data: CompactionThreadData) {
    this.#data = data
    const addon = data.tier === 'portable' ? null : loadNative()
    const engine = addon === null ? jsBatchEngine : nativeBatchEngine(addon)
    this.#tools = {
      files: addon === null ? new NodeFiles() : new NativeFiles(addon),
      crc32c: engine.crc32c,
      mapBytesMax: data.mapBytesMax,
      mapLoadFactor: data.mapLoadFactor,
    }
    addon?.setThreadName('compaction')
    for (const port of data.ports) {
      port.on('message', (message: JobMessage) => {
        this.#queue.push({ port, message })
        void this.#work()
      })
    }
  }

  async #work(): Promise<void> {
    if (this.#isBusy) return
    this.#isBusy = true
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      await this.#run(next)
    }
    this.#isBusy = false
  }

  async #run({ port, message: { id, job, state } }: Waiting): Promise<void> {
    if (Atomics.compareExchange(state, 0, JOB_WAITING, JOB_RUNNING) !== JOB_WAITING) return
    const send = (report: CompactionReport): void => {
      port.postMessage({ id, report } satisfies ReportMessage)
    }
    const secret = randomFillSync(new Int32Array(HASH_WORDS))
    this.#dueMs = systemClock.monotonicMs()
    let last: CompactionReport | null = null
    try {
      const summary = await drive(compact(job, { ...this.#tools, secret }), {
        onCompacted: (segment) => send({ kind: 'compacted', segment }),
        onPace: (bytes) => this.#pause(bytes, state),
      })
      if (summary !== null) last = { kind: 'done', summary }
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      last = {
        kind: 'failed',
        errorCode: error.code,
        message: error.message,
        systemCode: systemCode(error),
        systemCall: systemCall(error),
      }
    }
    Atomics.store(state, 0, JOB_ENDED)
    Atomics.notify(state, 0)
    if (last !== null) send(last)
  }

  /** Lets messages in, keeps to the rate; false once the job is to stop. */
  async #pause(bytes: number, state: Int32Array): Promise<boolean> {
    await new Promise(setImmediate)
    this.#dueMs += (bytes / this.#data.bytesPerSecondMax) * 1000
    for (;;) {
      if (Atomics.load(state, 0) !== JOB_RUNNING) return false
      const waitMs = this.#dueMs - systemClock.monotonicMs()
      if (waitMs <= 0) return true
      await new Promise((resolve) => setTimeout(resolve, Math.min(waitMs, PAUSE_MS_MAX)))
    }
  }
}

if (threadId !== 0) {
  if (process.platform === 'linux') {
    try {
      setPriority(NICE)
    } catch {
      // Then it has the priority of the others.
    }
  }
  new CompactionThread(workerData as CompactionThreadData)
}
