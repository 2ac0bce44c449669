/**
 * The requests of the prebuilt source: a few batches, encoded once, and for each place and slot the
 * whole message around each. Messages are shared by all connections that send to a place.
 */
import { BATCH_HEADER_BYTES } from '../record/batch-layout.ts'
import type { PreparedRequest, RequestDriver } from './driver.ts'
import { LoadError } from './load-error.ts'
import type { Payload } from './payload.ts'

/** What all messages may take together: beyond the caches, so that nothing is warm by accident. */
const MESSAGES_BYTES = 64 * 1024 * 1024
const MESSAGES_BYTES_MAX = 1024 * 1024 * 1024
const VARIANTS_MAX = 16

export interface PrebuiltOptions {
  readonly places: number
  readonly inFlight: number
  readonly batchBytes: number
}

export interface PrebuiltRequests {
  /** By place, slot and variant. */
  readonly requests: readonly (readonly (readonly PreparedRequest[])[])[]
  /** Of the first batch: all have about as many. */
  readonly events: number
  readonly batchBytes: number
}

/** Throws LoadError when the messages would take more memory than is sensible. */
export async function prebuild(
  driver: RequestDriver,
  payload: Payload,
  { places, inFlight, batchBytes }: PrebuiltOptions,
): Promise<PrebuiltRequests> {
  const first = await nextBatch(driver, payload, batchBytes)
  const messages = places * inFlight
  if (messages * first.bytes.length > MESSAGES_BYTES_MAX) {
    throw new LoadError(
      `${messages} prebuilt messages of ${first.bytes.length} bytes are more than a gigabyte: ` +
        'fewer --partitions or --topics, a smaller --batch-bytes or --in-flight',
    )
  }
  const fitting = Math.floor(MESSAGES_BYTES / (messages * first.bytes.length))
  const batches = [first]
  while (batches.length < Math.min(VARIANTS_MAX, fitting)) {
    batches.push(await nextBatch(driver, payload, batchBytes))
  }
  const requests = Array.from({ length: places }, (_, place) => {
    return Array.from({ length: inFlight }, (_, slot) => {
      return batches.map((batch) => driver.prepare(place, slot, batch))
    })
  })
  return { requests, events: first.events, batchBytes: first.bytes.length }
}

async function nextBatch(driver: RequestDriver, payload: Payload, batchBytes: number) {
  const records = payload.fill(batchBytes, BATCH_HEADER_BYTES)
  return { bytes: await driver.buildBatch(records), events: records.length }
}
