import type { RequestMetrics, RequestRow } from '../metrics/request-metrics.ts'
import { apiName } from '../wire/kafka/api-key.ts'

/** The rows of Kafka's APIs in the request metrics, by key: a look-up costs an index. */
export class KafkaRows {
  readonly #metrics: RequestMetrics
  readonly #rows: RequestRow[] = []

  constructor(metrics: RequestMetrics) {
    this.#metrics = metrics
  }

  of(apiKey: number): RequestRow {
    const known = this.#rows[apiKey]
    if (known !== undefined) return known
    const row = this.#metrics.row('kafka', apiName(apiKey).toLowerCase())
    this.#rows[apiKey] = row
    return row
  }
}
