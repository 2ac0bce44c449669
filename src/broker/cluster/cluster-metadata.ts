/**
 * The metadata of a broker among several: the image of what the quorum has committed, and changes
 * that go through whoever leads it. Runs on main.
 *
 * A change is decided here, on this broker's image, and taken by the leader if what it rests on has
 * not changed since (`record-scopes.ts`); else it is decided again. So the rules of topics and
 * options are where they are for a broker that is alone.
 */

import { metadataValues } from '../../cluster/quorum-entries.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { MetadataImage } from '../../metadata/image.ts'
import { decodeMetadataRecord } from '../../metadata/record-schema.ts'
import type { MetadataRecord } from '../../metadata/records.ts'
import type { Entry } from '../../raft/entry.ts'
import { type Decision, METADATA_BATCH_BYTES_MAX, type MetadataStore } from '../metadata-store.ts'
import { Turns } from '../turns.ts'
import type { ProposalAnswer } from './proposal-desk.ts'

/** A change that nobody has taken for so long is given up. */
const CHANGE_TIMEOUT_MS = 10_000
/** Before a change is tried again that no leader has taken. */
const RETRY_MS = 25
const NOTHING: readonly MetadataRecord[] = []

export interface ClusterMetadataParts {
  /** To the leader of the quorum, wherever it is. Never rejects. */
  readonly propose: (
    baseOffset: number,
    records: readonly MetadataRecord[],
  ) => Promise<ProposalAnswer>
  readonly nowMs: () => number
  /** What the log begins with; an empty one at 0 if left out. */
  readonly image?: MetadataImage
  readonly appliedOffset?: number
}

export class ClusterMetadata implements MetadataStore {
  readonly image: MetadataImage
  readonly #parts: ClusterMetadataParts
  readonly #turns = new Turns()
  #appliedOffset: number
  #appliedBytes = 0
  #waiting: { readonly offset: number; readonly resolve: () => void }[] = []
  readonly #appliedCallbacks: ((records: readonly MetadataRecord[]) => void)[] = []

  constructor(parts: ClusterMetadataParts) {
    this.#parts = parts
    this.image = parts.image ?? new MetadataImage()
    this.#appliedOffset = parts.appliedOffset ?? 0
  }

  /** The image is what the log says below it; exclusive. */
  get appliedOffset(): number {
    return this.#appliedOffset
  }

  /** Of entries with records, since this process began. */
  get appliedBytes(): number {
    return this.#appliedBytes
  }

  /**
   * `callback` runs after records have been applied, or the image was replaced, before anybody who
   * waits for that. What has become different is among the image's changes.
   */
  onApplied(callback: (records: readonly MetadataRecord[]) => void): void {
    this.#appliedCallbacks.push(callback)
  }

  /** Entries that the quorum has committed, in order. */
  apply(entries: readonly Entry[]): void {
    const applied: MetadataRecord[] = []
    for (const entry of entries) {
      const before = applied.length
      for (const value of metadataValues(entry, METADATA_BATCH_BYTES_MAX)) {
        const record = decodeMetadataRecord(value)
        this.image.apply(record)
        applied.push(record)
      }
      if (applied.length > before) this.#appliedBytes += entry.bytes.length
      this.#appliedOffset = entry.endOffset
    }
    for (const callback of this.#appliedCallbacks) callback(applied)
    this.#wake()
  }

  /** The image has become that of a snapshot; anything may be different. */
  replaced(endOffset: number): void {
    this.#appliedOffset = endOffset
    for (const callback of this.#appliedCallbacks) callback(NOTHING)
    this.#wake()
  }

  whenApplied(offset: number): Promise<void> {
    if (this.#appliedOffset >= offset) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push({ offset, resolve }))
  }

  /** As `whenApplied`; rejects with BrokerError (REQUEST_TIMED_OUT) when that takes longer. */
  async appliedWithin(offset: number, ms: number): Promise<void> {
    if (this.#appliedOffset >= offset) return
    await within(this.whenApplied(offset), ms, 'this broker is behind the metadata')
  }

  change<T>(decide: (image: MetadataImage) => Decision<T>): Promise<T> {
    return this.#turns.run(() => this.#change(decide))
  }

  async #change<T>(decide: (image: MetadataImage) => Decision<T>): Promise<T> {
    const deadlineMs = this.#parts.nowMs() + CHANGE_TIMEOUT_MS
    for (;;) {
      const { records, result, onApplied } = decide(this.image)
      if (records.length === 0) {
        onApplied?.()
        return result
      }
      // Also where this node leads: the others may hear it, and have no room for what it sends.
      const answer = await within(
        this.#parts.propose(this.#appliedOffset, records),
        deadlineMs - this.#parts.nowMs(),
        'too few controllers have written it down',
      )
      if (answer.errorCode === ErrorCode.NONE) {
        await this.appliedWithin(answer.endOffset, deadlineMs - this.#parts.nowMs())
        onApplied?.()
        return result
      }
      if (answer.errorCode === ErrorCode.INVALID_UPDATE_VERSION) {
        await this.appliedWithin(answer.endOffset, deadlineMs - this.#parts.nowMs())
      } else if (answer.errorCode === ErrorCode.MESSAGE_TOO_LARGE) {
        const action = 'change metadata: it is too much for one change; ask for less at a time'
        throw new BrokerError(ErrorCode.MESSAGE_TOO_LARGE, action)
      } else if (answer.errorCode === ErrorCode.INVALID_REQUEST) {
        const action = 'change metadata: the controller has found that it does not fit; see its log'
        throw new BrokerError(ErrorCode.INVALID_REQUEST, action)
      } else {
        if (this.#parts.nowMs() > deadlineMs) throw timedOut('no controller has taken the change')
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
      }
    }
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const one of waiting) {
      if (one.offset <= this.#appliedOffset) one.resolve()
      else this.#waiting.push(one)
    }
  }
}

/** Rejects with a BrokerError (REQUEST_TIMED_OUT) when `asked` takes longer. */
async function within<T>(asked: Promise<T>, ms: number, why: string): Promise<T> {
  let timer: NodeJS.Timeout | null = null
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(timedOut(why)), Math.max(0, ms))
  })
  try {
    return await Promise.race([asked, late])
  } finally {
    if (timer !== null) clearTimeout(timer)
  }
}

function timedOut(why: string): BrokerError {
  return new BrokerError(ErrorCode.REQUEST_TIMED_OUT, `change metadata: ${why}`)
}
