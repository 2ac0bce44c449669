/** What the measurement itself took: time, and CPU time of this process and the broker's. */
import { cpuSecondsOf, ownCpuSeconds } from './process-cpu.ts'

export class Meter {
  readonly #brokerPid: number | null
  #startedMs = 0
  #own = 0
  #broker = 0
  seconds = 0
  clientCpuSeconds = 0
  /** Null: nobody said which process it is. */
  brokerCpuSeconds: number | null = null

  /** Throws LoadError when there is no such process. */
  constructor(brokerPid: number | null) {
    this.#brokerPid = brokerPid
    if (brokerPid !== null) cpuSecondsOf(brokerPid)
  }

  start(): void {
    this.#own = ownCpuSeconds()
    if (this.#brokerPid !== null) this.#broker = cpuSecondsOf(this.#brokerPid)
    this.#startedMs = performance.now()
  }

  /** Throws LoadError when the broker is gone. */
  stop(): void {
    this.seconds = (performance.now() - this.#startedMs) / 1000
    this.clientCpuSeconds = ownCpuSeconds() - this.#own
    if (this.#brokerPid !== null) {
      this.brokerCpuSeconds = cpuSecondsOf(this.#brokerPid) - this.#broker
    }
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
