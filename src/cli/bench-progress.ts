/** A line a second while a benchmark runs, on standard error: what went since the last one. */
import { sizeText } from './progress.ts'

export interface BenchSnapshot {
  readonly phase: string
  /** Since the run began. */
  readonly events: number
  readonly bytes: number
  /** Of the last second; null: nothing was measured in it. */
  readonly p50Ms: number | null
  readonly p99Ms: number | null
  /** More to say, such as how far consumers are behind. */
  readonly more?: string
}

const EVERY_MS = 1000

export class BenchProgress {
  readonly #take: () => BenchSnapshot
  readonly #write: (line: string) => void
  readonly #startedMs = performance.now()
  #atMs = this.#startedMs
  #events = 0
  #bytes = 0
  readonly #timer: NodeJS.Timeout

  constructor(take: () => BenchSnapshot, write: (line: string) => void) {
    this.#take = take
    this.#write = write
    this.#timer = setInterval(() => this.#line(), EVERY_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #line(): void {
    const nowMs = performance.now()
    const { phase, events, bytes, p50Ms, p99Ms, more } = this.#take()
    const seconds = (nowMs - this.#atMs) / 1000
    const eventRate = Math.round((events - this.#events) / seconds).toLocaleString('en-US')
    const byteRate = sizeText((bytes - this.#bytes) / seconds)
    const parts = [
      `${Math.round((nowMs - this.#startedMs) / 1000)} s`.padStart(6),
      phase.padEnd(8),
      `${eventRate} events/s`.padStart(20),
      `${byteRate}/s`.padStart(11),
      `p50 ${msText(p50Ms)}`.padEnd(13),
      `p99 ${msText(p99Ms)}`,
      ...(more === undefined ? [] : [more]),
    ]
    this.#write(parts.join('  '))
    this.#atMs = nowMs
    this.#events = events
    this.#bytes = bytes
  }
}

/** Milliseconds as people read them. */
export function msText(ms: number | null): string {
  if (ms === null) return '-'
  return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : Math.round(ms)} ms`
}
