import { type AppendedBatch, refusedBatch } from '../../broker/append-job.ts'
import type { Broker } from '../../broker/broker.ts'
import { elsewhere } from '../../broker/elsewhere.ts'
import {
  appendPlan,
  outlineOf,
  type PlanOutline,
  placeChunks,
  type RecordOutcome,
  recordOutcomes,
} from '../../broker/plain-append.ts'
import type { PlainPlan } from '../../broker/plain-records.ts'
import type { RequestFrame } from '../../broker/request-frame.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { WebRequest } from '../web/web-server.ts'
import { kafkaError, type RestError } from './rest-error.ts'

/**
 * Appends of plain records for requests that wait for their answer. Where the ingress arena has no
 * extent now they wait here, in order, for a while; how much waits is bounded by the memory of all
 * bodies, which a request holds until it is answered. Batches that other brokers lead go to them.
 * Runs on main.
 */
const PATIENCE_MS = 10_000
const ACKS_ALL = -1
/** Not all memory comes back with a shard's answer. */
const SWEEP_MS = 500

interface Waiting {
  readonly bytes: Uint8Array
  readonly outline: PlanOutline
  readonly deadlineMs: number
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal
  resolve(results: readonly AppendedBatch[]): void
  reject(error: RestError): void
}

export class AppendQueue {
  readonly #broker: Broker
  #waiting: Waiting[] = []
  #sweep: NodeJS.Timeout | null = null

  constructor(broker: Broker) {
    this.#broker = broker
    broker.hub.onPumped(() => this.#resume())
  }

  /** Resolves when every batch is answered. Rejects with RestError when memory stays short. */
  async append(plan: PlainPlan, request: Pick<WebRequest, 'signal'>): Promise<RecordOutcome[]> {
    const outline = outlineOf(plan)
    const leaders = plan.batches.map(({ handle }) => elsewhere(this.#broker, handle))
    if (leaders.every((leader) => leader === null)) {
      return recordOutcomes(outline, await this.#appendHere(plan, request))
    }
    const own = plan.batches.filter((_, i) => leaders[i] === null)
    const here = own.length === 0 ? [] : this.#appendHere({ ...plan, batches: own }, request)
    const there = plan.batches.map(async ({ handle, bytes }, i) => {
      const leader = leaders[i] ?? null
      if (leader === null) return null
      return { ...refusedBatch(0, handle), ...(await leader.append(handle, bytes, ACKS_ALL)) }
    })
    const [results, others] = await Promise.all([here, Promise.all(there)])
    let next = 0
    const all = others.map((other) => other ?? (results[next++] as AppendedBatch))
    return recordOutcomes(outline, all)
  }

  #appendHere(
    plan: PlainPlan,
    request: Pick<WebRequest, 'signal'>,
  ): Promise<readonly AppendedBatch[]> {
    const outline = outlineOf(plan)
    const chunks = plan.batches.map(({ bytes }) => bytes)
    const { arena, clock } = this.#broker
    const frame = this.#waiting.length === 0 ? placeChunks(arena, chunks) : null
    return new Promise((resolve, reject) => {
      if (frame !== null) {
        this.#start(frame, outline, resolve)
        return
      }
      const bytes = chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks)
      const deadlineMs = clock.monotonicMs() + PATIENCE_MS
      // A signal is made when it is asked for, and costs as much as a small request.
      const { signal } = request
      this.#waiting.push({ bytes, outline, deadlineMs, signal, resolve, reject })
      this.#sweep ??= setInterval(() => this.#sweepNow(), SWEEP_MS).unref()
    })
  }

  #start(
    frame: RequestFrame,
    outline: PlanOutline,
    resolve: (results: readonly AppendedBatch[]) => void,
  ): void {
    appendPlan(this.#broker, outline, { frame, first: frame.offset }, resolve)
    frame.release()
    this.#broker.hub.flushAfterPoll()
  }

  /** Memory may have come back. */
  #resume(): void {
    while (this.#waiting.length > 0) {
      const { bytes, outline, resolve } = this.#waiting[0] as Waiting
      const frame = placeChunks(this.#broker.arena, [bytes])
      if (frame === null) return
      this.#waiting.shift()
      this.#start(frame, outline, resolve)
    }
  }

  /** Gives up those that have waited long enough or that nobody waits for. */
  #sweepNow(): void {
    const now = this.#broker.clock.monotonicMs()
    this.#waiting = this.#waiting.filter(({ deadlineMs, signal, reject }) => {
      if (now < deadlineMs && !signal.aborted) return true
      const message = 'The memory for requests is in use: nothing was stored. Try again in a second'
      reject(kafkaError(ErrorCode.REQUEST_TIMED_OUT, message))
      return false
    })
    this.#resume()
    if (this.#waiting.length > 0 || this.#sweep === null) return
    clearInterval(this.#sweep)
    this.#sweep = null
  }
}
