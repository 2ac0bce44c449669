import type { ByteBudget } from '../base/byte-budget.ts'
import { copyOf } from '../base/bytes.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { decodeBatch, decodeHeader } from '../record/batch.ts'
import { COMPRESSION_NONE } from '../record/compression.ts'
import { RecordError } from '../record/record-error.ts'
import type { BatchRecord } from '../record/record-reader.ts'
import type { Broker } from './broker.ts'
import { type Elsewhere, elsewhere } from './elsewhere.ts'
import { FetchJob } from './fetch-job.ts'
import { FROM_LEADER, fetchTarget } from './fetch-target.ts'
import type { Slices } from './slices.ts'

/**
 * Reads a partition event by event, for clients that cannot read batches: fetches, copies, inflates
 * and hands each event out. Batches that only mark transactions are skipped. Runs on main.
 *
 * No memory of a shard is held while anybody waits. What looking inside costs is bounded: one
 * request at a time does it, others are let through in between, and a compressed batch that is
 * larger inside than a bound is refused.
 */
export type Event = BatchRecord

export interface EventsAsked {
  readonly handle: number
  readonly offset: number
  /** Of batches that are read at once; the first one comes whole, however large. */
  readonly bytesMax: number
  /** How long to wait when there is nothing. */
  readonly waitMs: number
  /** Ends the wait: nobody reads the answer any more. Null where nobody says so. */
  readonly signal: AbortSignal | null
  /** For what is read and waits to be looked into. */
  readonly memory: ByteBudget
  /** Where looking inside takes its turns. */
  readonly slices: Slices
}

export interface EventsRead {
  /** NONE, or what went wrong at `nextOffset`. */
  readonly errorCode: number
  /** What went wrong, when the code alone does not say it; else null. */
  readonly errorMessage: string | null
  /** Where to go on: behind the last event that was handed out, or further. */
  readonly nextOffset: number
  readonly highWatermark: number
  readonly logStartOffset: number
}

/** A compressed batch that is larger inside is not looked into. */
export const INFLATED_BYTES_MAX = 16 * 1024 * 1024
/** Bytes of events between two looks at the clock. */
const BYTES_PER_LOOK = 64 * 1024
/** What a record costs besides its value. */
const RECORD_BYTES = 64

/**
 * Calls `take` for each event from `offset` on, in order, until it returns false or what was read
 * is used up; what an event consists of is valid during the call. Resolves without an event when
 * there was none in time; with THROTTLING_QUOTA_EXCEEDED when the memory is in use.
 */
export async function readEvents(
  broker: Broker,
  asked: EventsAsked,
  take: (event: Event) => boolean,
): Promise<EventsRead> {
  const deadlineMs = broker.clock.monotonicMs() + asked.waitMs
  let offset = asked.offset
  for (;;) {
    const waitMs = Math.max(0, deadlineMs - broker.clock.monotonicMs())
    const fetched = await fetchCopy(broker, { ...asked, offset, waitMs })
    const { bytes, ...said } = fetched
    if (bytes === null) return { ...said, errorMessage: null, nextOffset: offset }
    const { slices, memory } = asked
    const outcome = await slices
      .run(() => handOut({ bytes, offset, slices }, take))
      .finally(() => memory.give(bytes.length))
    // Markers of transactions alone: nobody has got anything yet.
    const goesOn = !outcome.hasEvents && outcome.errorCode === ErrorCode.NONE
    if (goesOn && outcome.nextOffset > offset && asked.signal?.aborted !== true) {
      offset = outcome.nextOffset
      continue
    }
    const { errorCode, errorMessage, nextOffset } = outcome
    return { ...said, errorCode, errorMessage, nextOffset }
  }
}

interface Fetched {
  /** Null when there is nothing. */
  readonly bytes: Uint8Array | null
  readonly errorCode: number
  readonly highWatermark: number
  readonly logStartOffset: number
}

async function fetchCopy(broker: Broker, asked: EventsAsked): Promise<Fetched> {
  const { handle, offset: fetchOffset, waitMs, signal } = asked
  const bytesMax = Math.min(asked.bytesMax, broker.readBytesMax)
  const leader = elsewhere(broker, handle)
  if (leader !== null) return fetchElsewhere(leader, { ...asked, bytesMax })
  const job = new FetchJob(
    [fetchTarget(broker, handle, { ...FROM_LEADER, fetchOffset, bytesMax })],
    { bytesMin: 1, bytesMax, waitMsMax: waitMs },
    () => broker.clock.monotonicMs(),
  )
  const cancel = (): void => job.cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  if (signal?.aborted === true) cancel()
  const done = job.run()
  broker.hub.flushAfterPoll()
  await done
  signal?.removeEventListener('abort', cancel)
  const [result] = job.results
  const { records, errorCode, highWatermark, logStartOffset } = result!
  const isTaken = records === null || asked.memory.tryTake(records.length)
  const bytes = records === null || !isTaken ? null : copyOf(records, 0, records.length)
  job.release()
  broker.hub.flushAfterPoll()
  return {
    bytes,
    errorCode: isTaken ? errorCode : ErrorCode.THROTTLING_QUOTA_EXCEEDED,
    highWatermark,
    logStartOffset,
  }
}

async function fetchElsewhere(leader: Elsewhere, asked: EventsAsked): Promise<Fetched> {
  const { handle, offset, bytesMax, waitMs, signal, memory } = asked
  const got = await leader.fetch(handle, { offset, bytesMax, waitMs, signal })
  const { records, errorCode, highWatermark, logStartOffset } = got
  const isTaken = records === null || memory.tryTake(records.length)
  return {
    bytes: isTaken ? records : null,
    errorCode: isTaken ? errorCode : ErrorCode.THROTTLING_QUOTA_EXCEEDED,
    highWatermark,
    logStartOffset,
  }
}

interface HandedOut {
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly nextOffset: number
  readonly hasEvents: boolean
}

type Take = (event: Event) => boolean

interface Batches {
  readonly bytes: Uint8Array
  readonly offset: number
  readonly slices: Slices
}

/** Hands out the events of whole batches from `offset` on. */
async function handOut(batches: Batches, take: Take): Promise<HandedOut> {
  const { bytes, offset } = batches
  const place: Place = { nextOffset: offset, hasEvents: false, isWanted: true }
  try {
    for (let at = 0; at < bytes.length && place.isWanted; ) {
      const header = decodeHeader(bytes, at)
      const end = header.baseOffset + header.lastOffsetDelta + 1
      if (!header.isControl && end > place.nextOffset) {
        const isPlain = header.compression === COMPRESSION_NONE
        const recordsBytesMax = isPlain ? bytes.length : INFLATED_BYTES_MAX
        await handOutBatch(batches, { at, recordsBytesMax, place, take })
      }
      if (place.isWanted) place.nextOffset = Math.max(place.nextOffset, end)
      at += header.bytes
    }
  } catch (error) {
    // A batch with a right CRC may still hold anything.
    if (!(error instanceof RecordError)) throw error
    const { code, message } = error
    // What was good before it is an answer; the next request begins here and is told.
    return place.hasEvents
      ? { errorCode: ErrorCode.NONE, errorMessage: null, ...place }
      : { errorCode: code, errorMessage: message, ...place }
  }
  return { errorCode: ErrorCode.NONE, errorMessage: null, ...place }
}

interface Place {
  nextOffset: number
  hasEvents: boolean
  isWanted: boolean
}

async function handOutBatch(
  { bytes, slices }: Batches,
  batch: { at: number; recordsBytesMax: number; place: Place; take: Take },
): Promise<void> {
  const { at, recordsBytesMax, place, take } = batch
  let unseen = 0
  for (const event of await decodeBatch(bytes, at, { recordsBytesMax, verifyCrc: false })) {
    unseen += RECORD_BYTES + (event.value?.length ?? 0)
    if (unseen > BYTES_PER_LOOK) {
      unseen = 0
      await slices.breathe()
    }
    if (event.offset < place.nextOffset) continue
    place.hasEvents = true
    place.isWanted = take(event)
    place.nextOffset = event.offset + 1
    if (!place.isWanted) return
  }
}
