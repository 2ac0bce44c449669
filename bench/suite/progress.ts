/** What a person sees while the suite runs: a bar with the time left, and a line for every run. */
import { SingleBar } from 'cli-progress'
import { formatNumber } from '../lib/statistics.ts'
import type { Cell } from './rows.ts'
import type { CellRun } from './run-cell.ts'

/** What a run takes beside its measurement: starting, warming up, deleting. A first guess. */
const OVERHEAD_SECONDS = 6

export class Progress {
  #bar: SingleBar | null = null
  #left: number[] = []
  #measured = 0
  #took = 0
  #lastMs = 0

  /** `seconds`: of every run that will come. */
  begin(seconds: readonly number[]): void {
    this.#left = [...seconds]
    this.#lastMs = performance.now()
    if (!process.stderr.isTTY || seconds.length === 0) return
    this.#bar = new SingleBar({
      format: '{bar} {value}/{total} runs, about {left} left',
      stream: process.stderr,
      clearOnComplete: true,
    })
    this.#bar.start(seconds.length, 0, { left: this.#leftText() })
  }

  say(text: string): void {
    if (this.#bar !== null) process.stderr.write('\r\x1b[K')
    process.stderr.write(`${text}\n`)
    this.#bar?.render()
  }

  done(run: CellRun, cell: Cell): void {
    this.#measured += this.#left.shift() ?? 0
    this.#took += (performance.now() - this.#lastMs) / 1000
    this.#lastMs = performance.now()
    const { load, use } = run
    const parts = [
      `${formatNumber(load.bytesPerSecond / 1e9)} GB/s`,
      `${formatNumber(load.requestsPerSecond)} requests/s`,
      `P99 ${formatNumber(load.latencyMicros.p99 / 1000)} ms`,
      `${formatNumber(use.cpuSeconds / (load.bytes / 1e9))} CPU-s/GB`,
      `${formatNumber((use.cpuSeconds / load.requests) * 1e6)} CPU-µs/request`,
    ]
    if (run.fetch !== null) {
      parts.push(`${formatNumber(run.fetch.bytesPerSecond / 1e9)} GB/s delivered`)
      parts.push(`lag ${formatNumber(run.fetch.lagMsMax)} ms`)
    }
    if (run.problem !== null) parts.push(`DOES NOT COUNT: ${run.problem}`)
    this.say(`  ${cell.name} ${run.round + 1} ${run.target.padEnd(17)} ${parts.join(', ')}`)
    this.#bar?.increment(1, { left: this.#leftText() })
  }

  end(): void {
    this.#bar?.stop()
    this.#bar = null
  }

  #leftText(): string {
    const sum = this.#left.reduce((total, one) => total + one, 0)
    const factor = this.#measured > 0 ? this.#took / this.#measured : 1
    const seconds = this.#measured > 0 ? sum * factor : sum + this.#left.length * OVERHEAD_SECONDS
    return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`
  }
}
