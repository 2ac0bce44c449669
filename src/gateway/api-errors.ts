import { ErrorCode, errorInfo } from '../errors/error-code.ts'
import type { RequestRow } from '../metrics/request-metrics.ts'
import { ApiKey } from '../wire/kafka/api.ts'

/**
 * Finds the error codes of an answer, for the metrics. The answers that are many have a shape of
 * their own here; in the others every field named `errorCode` is looked for.
 */
interface Coded {
  readonly errorCode?: number
}

interface Shapes {
  readonly responses?: readonly {
    readonly partitionResponses?: readonly Coded[]
    readonly partitions?: readonly Coded[]
  }[]
  readonly topics?: readonly (Coded & { readonly partitions?: readonly Coded[] })[]
}

export function countErrors(row: RequestRow, apiKey: number, body: object): void {
  const shape = body as Shapes & Coded
  switch (apiKey) {
    case ApiKey.PRODUCE:
      for (const { partitionResponses = [] } of shape.responses ?? []) {
        for (const partition of partitionResponses) countError(row, partition.errorCode)
      }
      return
    case ApiKey.FETCH:
      countError(row, shape.errorCode)
      for (const { partitions = [] } of shape.responses ?? []) {
        for (const partition of partitions) countError(row, partition.errorCode)
      }
      return
    case ApiKey.METADATA:
      for (const topic of shape.topics ?? []) countError(row, topic.errorCode)
      return
    default:
      countAll(row, body)
  }
}

export function countError(row: RequestRow, code: number | undefined): void {
  if (code !== undefined && code !== ErrorCode.NONE) row.failed(errorInfo(code).name)
}

/** Answers are trees of plain objects and arrays, as deep as their schema. */
function countAll(row: RequestRow, value: unknown): void {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return
  if (Array.isArray(value)) {
    for (const item of value) countAll(row, item)
    return
  }
  for (const [name, field] of Object.entries(value)) {
    if (name === 'errorCode' && typeof field === 'number') countError(row, field)
    else countAll(row, field)
  }
}
