/** What is said of many latencies. Pure, without the histogram's library. */

const MICROS_PER_MS = 1000

/** Milliseconds; null where nothing was recorded. */
export interface LatencySummary {
  readonly count: number
  readonly min: number | null
  readonly mean: number | null
  readonly p50: number | null
  readonly p90: number | null
  readonly p99: number | null
  readonly p999: number | null
  readonly p9999: number | null
  readonly max: number | null
}

/** The same in microseconds, for programs that count in them. */
export function inMicros(summary: LatencySummary): Record<keyof LatencySummary, number | null> {
  const { count, ...times } = summary
  const micros = Object.entries(times).map(([name, ms]) => {
    return [name, ms === null ? null : Math.round(ms * MICROS_PER_MS)]
  })
  return { count, ...Object.fromEntries(micros) }
}
