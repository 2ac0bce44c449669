/** What Kafka's performance tools print, as numbers. Pure. Null: the tool got no result. */

/** Measures by what they are called in a table. */
export type ToolResult = Readonly<Record<string, number>>

/**
 * "1000000 records sent, 50000.0 records/sec (47.68 MB/sec), 1.5 ms avg latency, 90.00 ms max
 * latency, 1 ms 50th, 3 ms 95th, 7 ms 99th, 20 ms 99.9th." The last such line is the summary.
 */
export function parseProducer(output: string): ToolResult | null {
  const pattern =
    /([\d.]+) records\/sec \(([\d.]+) MB\/sec\), ([\d.]+) ms avg latency, ([\d.]+) ms max latency, (\d+) ms 50th, (\d+) ms 95th, (\d+) ms 99th, (\d+) ms 99\.9th/g
  const last = [...output.matchAll(pattern)].at(-1)
  if (last === undefined) return null
  const [, records, megabytes, mean, , p50, , p99, p999] = last.map(Number)
  return fields({
    'records/s': records,
    'MiB/s': megabytes,
    'mean ms': mean,
    'P50 ms': p50,
    'P99 ms': p99,
    'P99.9 ms': p999,
  })
}

/** A header line, then times, MB, MB/s, records, records/s and more; zero records are no result. */
export function parseConsumer(output: string): ToolResult | null {
  for (const line of output.split('\n').toReversed()) {
    const cells = line.split(', ').map((cell) => cell.trim())
    if (cells.length < 10 || !/^\d{4}-/.test(cells[0] ?? '')) continue
    const numbers = cells.map(Number)
    if (!((numbers[4] ?? 0) > 0)) return null
    return fields({
      'records/s': numbers[5],
      'MiB/s': numbers[3],
      'MiB/s while fetching': numbers[8],
    })
  }
  return null
}

/** "Avg latency: 0.5 ms" and "Percentiles: 50th = 0, 99th = 1, 99.9th = 5". */
export function parseEndToEnd(output: string): ToolResult | null {
  const mean = /Avg latency: ([\d.]+) ms/.exec(output)
  const tail = /50th = (\d+), 99th = (\d+), 99\.9th = (\d+)/.exec(output)
  if (mean === null || tail === null) return null
  const [, p50, p99, p999] = tail.map(Number)
  return fields({ 'mean ms': Number(mean[1]), 'P50 ms': p50, 'P99 ms': p99, 'P99.9 ms': p999 })
}

function fields(given: Record<string, number | undefined>): ToolResult | null {
  const entries = Object.entries(given)
  if (entries.some(([, value]) => value === undefined || !Number.isFinite(value))) return null
  return given as ToolResult
}
