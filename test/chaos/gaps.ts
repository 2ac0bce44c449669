/**
 * For how long a partition took no events while a fault lasted and was recovered from: the longest
 * time between two acknowledgements of it, of any producer, as clients saw it. Pure.
 */
import type { FaultKind } from './faults.ts'
import type { HistoryLine } from './history.ts'

export interface FaultSpan {
  readonly kind: FaultKind
  readonly beganMs: number
  readonly endedMs: number
}

/** Of the partition that was worst off in each fault of a kind. */
export interface Gap {
  readonly medianMs: number
  readonly worstMs: number
}

export function gapsOf(
  lines: Iterable<HistoryLine>,
  spans: readonly FaultSpan[],
): Partial<Record<FaultKind, Gap>> {
  const times = new Map<string, number[]>()
  for (const line of lines) {
    if (line.type !== 'ok') continue
    const of = times.get(line.partition) ?? []
    times.set(line.partition, of)
    of.push(line.at)
  }
  const sorted = [...times.values()].map((of) => of.sort((a, b) => a - b))
  const byKind = new Map<FaultKind, number[]>()
  for (const span of spans) {
    const worst = Math.max(0, ...sorted.map((of) => longestGap(of, span)))
    byKind.set(span.kind, [...(byKind.get(span.kind) ?? []), worst])
  }
  return Object.fromEntries([...byKind].map(([kind, gaps]) => [kind, summary(gaps)]))
}

/** Every gap counts that reaches into the span, as a whole. */
function longestGap(times: readonly number[], { beganMs, endedMs }: FaultSpan): number {
  let longest = 0
  for (let index = firstAfter(times, beganMs); index < times.length; index++) {
    const before = times[index - 1]
    const now = times[index] as number
    if (before !== undefined) longest = Math.max(longest, now - before)
    if (now >= endedMs) break
  }
  return longest
}

/** The index of the first time that is later than `ms`. */
function firstAfter(times: readonly number[], ms: number): number {
  let [low, high] = [0, times.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((times[middle] as number) <= ms) low = middle + 1
    else high = middle
  }
  return low
}

function summary(gaps: readonly number[]): Gap {
  const sorted = [...gaps].sort((a, b) => a - b)
  return { medianMs: sorted[sorted.length >> 1] as number, worstMs: sorted.at(-1) as number }
}
