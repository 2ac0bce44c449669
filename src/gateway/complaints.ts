import type { Logger } from '../metrics/logger.ts'

/** What peers do wrong, in the log: a bounded number of lines a second, whoever they are. */
const PER_SECOND = 5

export class Complaints {
  readonly #logger: Logger
  readonly #nowMs: () => number
  #windowMs = -Infinity
  #count = 0

  constructor(logger: Logger, nowMs: () => number) {
    this.#logger = logger
    this.#nowMs = nowMs
  }

  /** A connection was closed for `reason`, which names what the peer did. */
  closed(peer: string, reason: string): void {
    const now = this.#nowMs()
    if (now - this.#windowMs >= 1000) {
      this.#windowMs = now
      this.#count = 0
    }
    if (this.#count++ < PER_SECOND) this.#logger.warn({ peer }, `closed a connection: ${reason}`)
  }
}
