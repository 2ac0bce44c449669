/**
 * Control batches: one record that no application sees, whose key says what it is (KIP-98).
 *
 *   key:   version i16 │ type i16
 *   value: version i16 │ coordinatorEpoch i32      (end-transaction markers)
 *
 * A reader must accept longer keys and values of later versions: they only grow at the end.
 */
import { viewOf } from '../base/bytes.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { BatchBuilder } from './batch-builder.ts'
import { RecordError } from './record-error.ts'
import type { BatchRecord } from './record-reader.ts'

/** Types of control records that the log of a partition may hold; others are skipped by readers. */
export const CONTROL_ABORT = 0
export const CONTROL_COMMIT = 1

const KEY_BYTES = 4
const KEY_VERSION = 0
const MARKER_BYTES = 6
const MARKER_VERSION = 0

export interface ControlKey {
  readonly version: number
  /** CONTROL_ABORT, CONTROL_COMMIT, or a type of the metadata quorum. */
  readonly type: number
}

export interface EndTransactionMarker {
  readonly committed: boolean
  /** Epoch of the transaction coordinator that wrote it: older ones are fenced. */
  readonly coordinatorEpoch: number
}

export interface MarkerBatch extends EndTransactionMarker {
  readonly producerId: number
  readonly producerEpoch: number
  readonly timestampMs: number
}

/** One whole batch with one end-transaction marker. */
export function buildMarkerBatch(marker: MarkerBatch): Uint8Array {
  const key = new Uint8Array(KEY_BYTES)
  const keyView = viewOf(key)
  keyView.setInt16(0, KEY_VERSION)
  keyView.setInt16(2, marker.committed ? CONTROL_COMMIT : CONTROL_ABORT)
  const value = new Uint8Array(MARKER_BYTES)
  const valueView = viewOf(value)
  valueView.setInt16(0, MARKER_VERSION)
  valueView.setInt32(2, marker.coordinatorEpoch)
  const builder = new BatchBuilder()
  builder.append(marker.timestampMs, key, value)
  return builder.buildSync({
    producerId: marker.producerId,
    producerEpoch: marker.producerEpoch,
    transactional: true,
    control: true,
  })
}

/** Reads the key of a record of a control batch. Throws RecordError when it is malformed. */
export function decodeControlKey(key: Uint8Array | null): ControlKey {
  if (key === null || key.length < KEY_BYTES) throw malformed('The key of a control record')
  const view = viewOf(key)
  const version = view.getInt16(0)
  if (version < 0) throw malformed('The version of a control record')
  return { version, type: view.getInt16(2) }
}

/**
 * Reads an end-transaction marker; null for a control record of another type. Throws RecordError.
 */
export function decodeMarker(
  record: Pick<BatchRecord, 'key' | 'value'>,
): EndTransactionMarker | null {
  const { type } = decodeControlKey(record.key)
  if (type !== CONTROL_ABORT && type !== CONTROL_COMMIT) return null
  const value = record.value
  if (value === null || value.length < MARKER_BYTES) throw malformed('An end-transaction marker')
  const view = viewOf(value)
  if (view.getInt16(0) < 0) throw malformed('The version of an end-transaction marker')
  return { committed: type === CONTROL_COMMIT, coordinatorEpoch: view.getInt32(2) }
}

function malformed(what: string): RecordError {
  return new RecordError(ErrorCode.CORRUPT_MESSAGE, `${what} is malformed`)
}
