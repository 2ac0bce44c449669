/**
 * What nodes say of themselves while something happens: how late their event loops were, by
 * `/metrics`, and what memory they hold, by /proc. Looked at once a second; of a process that is
 * new, from the first look at it on.
 */
import { sleep } from './children.ts'
import type { ClusterNodeProcess } from './clusters.ts'
import { memoryOf } from './process-sample.ts'

const EVERY_MS = 1000
const FAMILY = 'millrace_event_loop_delay_seconds_bucket'

/** Upper bounds in milliseconds, with how many delays were at most so long; ascending. */
export type Cumulative = readonly (readonly [boundMs: number, count: number])[]

export interface LoopUse {
  /** Delays that were sampled, 50 ms apart. */
  readonly samples: number
  /** Not above these; of buckets, the upper bound. NaN without samples. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  /** By Node's own monitor, which adds its 10 ms. */
  readonly maxMs: number
  readonly residentBytes: number
  /** The shortest election timeout that it had at any look, and the one at the last look. */
  readonly timeoutMs: number
  readonly lastTimeoutMs: number
}

export function parseDelays(metrics: string): Cumulative {
  return [...metrics.matchAll(new RegExp(`^${FAMILY}\\{le="([^"]+)"\\} (\\d+)`, 'gm'))].map(
    ([, bound, count]) => [bound === '+Inf' ? Infinity : Number(bound) * 1000, Number(count)],
  )
}

/** What has come to it; all of `after` when that is less. */
export function delaysBetween(before: Cumulative, after: Cumulative): Cumulative {
  const isSame = before.length === after.length && countOf(before) <= countOf(after)
  if (!isSame) return after
  return after.map(([bound, count], i) => [bound, count - (before[i]?.[1] ?? 0)])
}

export function quantileOf(delays: Cumulative, quantile: number): number {
  const rank = quantile * countOf(delays)
  const bucket = delays.find(([, count]) => count > 0 && count >= rank)
  return bucket?.[0] ?? Number.NaN
}

function countOf(delays: Cumulative): number {
  return delays.at(-1)?.[1] ?? 0
}

interface Seen {
  pid: number
  before: Cumulative
  now: Cumulative
  maxMs: number
  residentBytes: number
  timeoutMs: number
  lastTimeoutMs: number
}

export class LoopWatch {
  readonly #nodes: () => readonly ClusterNodeProcess[]
  readonly #seen = new Map<number, Seen>()
  #isStopped = false
  readonly #loop: Promise<void>

  constructor(nodes: () => readonly ClusterNodeProcess[]) {
    this.#nodes = nodes
    this.#loop = this.#run()
  }

  /** By node id, since the last call. */
  async take(): Promise<Map<number, LoopUse>> {
    await this.#look()
    const uses = new Map<number, LoopUse>()
    for (const [id, seen] of this.#seen) {
      const delays = delaysBetween(seen.before, seen.now)
      uses.set(id, {
        samples: countOf(delays),
        p50Ms: quantileOf(delays, 0.5),
        p99Ms: quantileOf(delays, 0.99),
        p999Ms: quantileOf(delays, 0.999),
        maxMs: seen.maxMs,
        residentBytes: seen.residentBytes,
        timeoutMs: seen.timeoutMs,
        lastTimeoutMs: seen.lastTimeoutMs,
      })
      Object.assign(seen, { before: seen.now, maxMs: 0, residentBytes: 0, timeoutMs: Infinity })
    }
    return uses
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#loop
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      await this.#look()
      await sleep(EVERY_MS)
    }
  }

  async #look(): Promise<void> {
    await Promise.all(this.#nodes().map((node) => this.#lookAt(node)))
  }

  async #lookAt({ id, pid, host, httpPort }: ClusterNodeProcess): Promise<void> {
    try {
      const signal = AbortSignal.timeout(EVERY_MS)
      const text = await (await fetch(`http://${host}:${httpPort}/metrics`, { signal })).text()
      const now = parseDelays(text)
      const known = this.#seen.get(id)
      if (known?.pid !== pid) {
        // What a process was late with until it served for the first time, it was late as nobody.
        const residentBytes = known?.residentBytes ?? 0
        const maxMs = known?.maxMs ?? 0
        const timeouts = { timeoutMs: Infinity, lastTimeoutMs: Infinity }
        this.#seen.set(id, { pid, before: now, now, maxMs, residentBytes, ...timeouts })
        return
      }
      const seen = known
      seen.now = now
      const max = /^nodejs_eventloop_lag_max_seconds\S* (\S+)/m.exec(text)?.[1]
      seen.maxMs = Math.max(seen.maxMs, Number(max ?? 0) * 1000)
      const timeout = /^millrace_quorum_election_timeout_seconds\S* (\S+)/m.exec(text)?.[1]
      seen.lastTimeoutMs = Number(timeout) * 1000
      seen.timeoutMs = Math.min(seen.timeoutMs, seen.lastTimeoutMs)
      seen.residentBytes = Math.max(seen.residentBytes, memoryOf(pid, 'VmRSS'))
    } catch {
      // It is down, or busy.
    }
  }
}
