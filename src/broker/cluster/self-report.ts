/**
 * Tells the metadata what a broker knows of itself, in changes that it proposes, until the metadata
 * says all of it: a change at a time, again after a moment where no controller has taken it. Runs
 * on main.
 */
import { BrokerError } from '../../errors/broker-error.ts'
import type { MetadataImage } from '../../metadata/image.ts'
import type { MetadataRecord } from '../../metadata/records.ts'
import type { Logger } from '../../metrics/logger.ts'
import type { MetadataStore } from '../metadata-store.ts'

/** What whoever speaks of the replicas of its own broker needs. */
export interface OwnReplicasParts {
  readonly nodeId: number
  readonly image: MetadataImage
  readonly brokerEpoch: () => number
  readonly change: MetadataStore['change']
  readonly logger: Logger
  readonly onFailure: (error: unknown) => void
}

/** Partitions in one change. */
export const REPORT_MAX = 1000

export interface SelfReportParts<T extends MetadataRecord> {
  /** What the image does not say yet and would take now; a bounded number of records. */
  readonly records: () => readonly T[]
  readonly change: MetadataStore['change']
  readonly onTold: (records: readonly T[]) => void
  readonly onFailure: (error: unknown) => void
}

/** Before it is tried again where no controller has taken it. */
const RETRY_MS = 500

export class SelfReport<T extends MetadataRecord> {
  readonly #parts: SelfReportParts<T>
  #hasBegun = false
  #isStopped = false
  #isReporting = false
  /** Something may have to be told. */
  #isDue = false
  #timer: NodeJS.Timeout | null = null
  /** Whoever waits until there is nothing to tell. */
  #waiting: (() => void)[] = []

  constructor(parts: SelfReportParts<T>) {
    this.#parts = parts
  }

  /** This broker is registered: it may speak for itself. */
  begin(): void {
    this.#hasBegun = true
    this.look()
  }

  /** Something may have to be told. To be followed by `look`. */
  due(): void {
    this.#isDue = true
  }

  /** Tells the metadata what it does not say yet. */
  look(): void {
    if (!this.#hasBegun || this.#isStopped || this.#isReporting) return
    if (!this.#isDue || this.#parts.records().length === 0) {
      this.#isDue = false
      for (const resolve of this.#waiting.splice(0)) resolve()
      return
    }
    this.#isReporting = true
    this.#report().then(
      () => {
        this.#isReporting = false
        this.look()
      },
      (error: unknown) => {
        this.#isReporting = false
        if (!(error instanceof BrokerError)) this.#parts.onFailure(error)
        else this.#timer ??= setTimeout(() => this.#again(), RETRY_MS).unref()
      },
    )
  }

  /** Resolves once the metadata says all that it can be told, or this broker stops. */
  whenTold(): Promise<void> {
    if (this.#isStopped) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      this.look()
    })
  }

  stop(): void {
    this.#isStopped = true
    for (const resolve of this.#waiting.splice(0)) resolve()
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  #again(): void {
    this.#timer = null
    this.look()
  }

  async #report(): Promise<void> {
    const told = await this.#parts.change(() => {
      const records = this.#isStopped ? [] : this.#parts.records()
      return { records, result: records }
    })
    this.#parts.onTold(told)
  }
}
