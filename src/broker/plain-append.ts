import { ErrorCode } from '../errors/error-code.ts'
import type { Arena } from '../ring/arena.ts'
import { type AppendedBatch, AppendJob } from './append-job.ts'
import type { Broker } from './broker.ts'
import type { PlainPlan } from './plain-records.ts'
import { RequestFrame } from './request-frame.ts'

/**
 * From a plan to appends: the batches of plain records are copied into an extent of the ingress
 * arena and go to their shards from there. Shared by the doors that take records. Runs on main.
 */

/** What became of one record. */
export interface RecordOutcome {
  readonly partition: number
  /** −1 on an error. */
  readonly offset: number
  readonly errorCode: number
  /** When the broker stamped it; −1 with CreateTime. */
  readonly appendTimeMs: number
}

/**
 * An extent with the chunks one after the other, held once for the caller; null while the arena has
 * none of that size.
 */
export function placeChunks(arena: Arena, chunks: readonly Uint8Array[]): RequestFrame | null {
  let length = 0
  for (const chunk of chunks) length += chunk.length
  const offset = arena.allocate(length)
  if (offset < 0) return null
  let at = offset
  for (const chunk of chunks) {
    arena.bytes.set(chunk, at)
    at += chunk.length
  }
  return new RequestFrame(arena, { offset, length, generation: arena.generationOf(offset) })
}

/** A plan without its bytes, which need not be kept until the answer. */
export interface PlanOutline {
  readonly batches: readonly {
    readonly partition: number
    readonly handle: number
    readonly length: number
  }[]
  readonly places: Int32Array
}

export function outlineOf({ batches, places }: PlainPlan): PlanOutline {
  return {
    batches: batches.map(({ partition, handle, bytes }) => ({
      partition,
      handle,
      length: bytes.length,
    })),
    places,
  }
}

/** Appends the plan's batches, which lie in `frame` one after the other from `first` on. */
export function appendPlan(
  broker: Broker,
  { batches }: PlanOutline,
  at: { readonly frame: RequestFrame; readonly first: number },
  onDone: (results: readonly AppendedBatch[]) => void,
): void {
  const job = new AppendJob(broker, at.frame)
  let offset = at.first
  for (const { handle, length } of batches) {
    job.append(handle, { offset, length })
    offset += length
  }
  job.start(() => onDone(job.results))
}

/** For each record of the plan, in its order, what became of it. */
export function recordOutcomes(
  { batches, places }: PlanOutline,
  results: readonly AppendedBatch[],
): RecordOutcome[] {
  const outcomes: RecordOutcome[] = []
  for (let i = 0; i < places.length; i += 2) {
    const batch = places[i] as number
    const { errorCode, baseOffset, appendTimeMs } = results[batch] as AppendedBatch
    const { partition } = batches[batch] as PlanOutline['batches'][number]
    const isKept = errorCode === ErrorCode.NONE
    const offset = isKept ? baseOffset + (places[i + 1] as number) : -1
    outcomes.push({ partition, offset, errorCode, appendTimeMs })
  }
  return outcomes
}
