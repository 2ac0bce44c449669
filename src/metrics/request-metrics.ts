import { type Exposition, histogramOf, labelText } from './exposition.ts'
import { Histogram } from './histogram.ts'

/**
 * How many requests came through each door, how long they took and what went wrong, by API. The
 * doors look a row up once and keep it. Runs on main.
 */
export type Door = 'kafka' | 'websocket' | 'rest'

/** One API behind one door. */
export class RequestRow {
  readonly door: Door
  readonly api: string
  readonly latency = new Histogram()
  readonly #errors = new Map<string, number>()

  constructor(door: Door, api: string) {
    this.door = door
    this.api = api
  }

  /** `error` is a name of a table, never a peer's text: each one is a series. */
  failed(error: string): void {
    this.#errors.set(error, (this.#errors.get(error) ?? 0) + 1)
  }

  get errors(): ReadonlyMap<string, number> {
    return this.#errors
  }
}

/** Beyond it requests are counted as "other"; the doors' own names are far fewer. */
const ROWS_MAX = 200

export class RequestMetrics {
  readonly #rows = new Map<string, RequestRow>()

  row(door: Door, api: string): RequestRow {
    const key = `${door} ${api}`
    const known = this.#rows.get(key)
    if (known !== undefined) return known
    if (this.#rows.size >= ROWS_MAX && api !== 'other') return this.row(door, 'other')
    const row = new RequestRow(door, api)
    this.#rows.set(key, row)
    return row
  }

  write(exposition: Exposition): void {
    const rows = [...this.#rows.values()].filter(({ latency }) => latency.count > 0)
    exposition.begin('millrace_request_seconds')
    for (const { door, api, latency } of rows) {
      histogramOf(exposition, latency, labelText({ door, api }))
    }
    exposition.begin('millrace_request_errors_total')
    for (const { door, api, errors } of this.#rows.values()) {
      for (const [error, count] of errors) exposition.put(count, labelText({ door, api, error }))
    }
  }
}
