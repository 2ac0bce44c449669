import type { RequestRow } from '../../metrics/request-metrics.ts'
import type { ServerMessage } from '../../wire/websocket/messages.ts'
import { countError } from '../api-errors.ts'

/** Finds the error codes of an answer, for the metrics: one for each partition or record. */
export function countErrors(row: RequestRow, message: ServerMessage): void {
  switch (message.type) {
    case 'error':
      countError(row, message.code)
      return
    case 'produced':
    case 'fetched':
    case 'offsets':
      for (const [errorCode] of message.partitions) countError(row, errorCode)
      return
    case 'producedRecords':
      for (const [, , errorCode] of message.records) countError(row, errorCode)
      return
    case 'committed':
      for (const errorCode of message.errorCodes) countError(row, errorCode)
      return
    case 'metadata':
      for (const { errorCode } of message.topics) countError(row, errorCode)
      return
    default:
      return
  }
}
