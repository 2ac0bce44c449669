/** What the measurement itself took: time, and CPU time of this process and the broker's. */
import { cpuSecondsOf, ownCpuSeconds } from './process-cpu.ts'

export class Meter {
  /** Empty: nobody said which processes they are. */
  readonly #brokerPids: readonly number[]
  #startedMs = 0
  #own = 0
  #broker = 0
  seconds = 0
  clientCpuSeconds = 0
  /** Of all brokers together; null: nobody said which processes they are. */
  brokerCpuSeconds: number | null = null

  /** Throws LoadError when there is no such process. */
  constructor(brokerPids: readonly number[]) {
    this.#brokerPids = brokerPids
    this.#cpuSeconds()
  }

  start(): void {
    this.#own = ownCpuSeconds()
    this.#broker = this.#cpuSeconds()
    this.#startedMs = performance.now()
  }

  /** Throws LoadError when the broker is gone. */
  stop(): void {
    this.seconds = (performance.now() - this.#startedMs) / 1000
    this.clientCpuSeconds = ownCpuSeconds() - this.#own
    if (this.#brokerPids.length > 0) this.brokerCpuSeconds = this.#cpuSeconds() - this.#broker
  }

  #cpuSeconds(): number {
    return this.#brokerPids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0)
  }
}

/** CPU seconds for 10^9 bytes; null when it is not known, or nothing went. */
export function perGb(cpuSeconds: number | null, bytes: number): number | null {
  if (cpuSeconds === null || bytes === 0) return null
  return round(cpuSeconds / (bytes / 1e9), 4)
}

export function round(value: number, digits = 3): number {
  return Number(value.toFixed(digits))
}
