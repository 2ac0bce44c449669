import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import { assert } from '../base/assert.ts'
import type { CompactionJob } from '../storage/compaction/compaction-job.ts'
import type { CompactionReport, Compactor } from './compactor.ts'

/**
 * A shard's side of the threads that compact: a port for jobs and reports, and one word of shared
 * memory a job, so that a shard can stop it without waiting for messages.
 */
export const JOB_WAITING = 0
export const JOB_RUNNING = 1
/** The shard wants it to end. */
export const JOB_STOPPING = 2
export const JOB_ENDED = 3

export interface JobMessage {
  readonly id: number
  readonly job: CompactionJob
  /** One word: JOB_WAITING … JOB_ENDED. */
  readonly state: Int32Array
}

export interface ReportMessage {
  readonly id: number
  readonly report: CompactionReport
}

/** A running job looks at its word every few milliseconds, except while the disk flushes. */
const STOP_WAIT_MS = 1000

export class PortCompactor implements Compactor {
  readonly #port: MessagePort
  readonly #onStart: () => void
  #id = 0
  #state: Int32Array | null = null

  /** `onStart`: a job was sent, so the thread behind the port is wanted. */
  constructor(port: MessagePort, onStart: () => void) {
    this.#port = port
    this.#onStart = onStart
  }

  start(job: CompactionJob): void {
    assert(this.#state === null)
    this.#id++
    this.#state = new Int32Array(new SharedArrayBuffer(4))
    const message: JobMessage = { id: this.#id, job, state: this.#state }
    this.#port.postMessage(message)
    this.#onStart()
  }

  drain(handler: (report: CompactionReport) => void): number {
    let count = 0
    while (this.#state !== null) {
      const received = receiveMessageOnPort(this.#port)
      if (received === undefined) break
      const { id, report } = received.message as ReportMessage
      if (id !== this.#id) continue // Of a job that was stopped.
      if (report.kind !== 'compacted') this.#state = null
      handler(report)
      count++
    }
    return count
  }

  stop(): void {
    const state = this.#state
    if (state === null) return
    this.#state = null
    if (Atomics.compareExchange(state, 0, JOB_WAITING, JOB_ENDED) === JOB_WAITING) return
    if (Atomics.compareExchange(state, 0, JOB_RUNNING, JOB_STOPPING) !== JOB_RUNNING) return
    while (Atomics.load(state, 0) !== JOB_ENDED) Atomics.wait(state, 0, JOB_STOPPING, STOP_WAIT_MS)
  }
}
