/**
 * The epochs of a log: for each the offset of its first record, both strictly increasing. Answers
 * which epoch the record before an offset has, which is all that Raft's consistency check asks
 * (Raft §5.3).
 */
import { assert } from '../base/assert.ts'

export interface EpochStart {
  readonly epoch: number
  /** Inclusive. */
  readonly startOffset: number
}

export class EpochHistory {
  #starts: EpochStart[]
  /** Epoch of the last record that a snapshot has taken the place of; 0 when there is none. */
  #baseEpoch: number

  constructor(baseEpoch: number, starts: readonly EpochStart[] = []) {
    this.#baseEpoch = baseEpoch
    this.#starts = [...starts]
  }

  get latest(): number {
    return this.#starts.at(-1)?.epoch ?? this.#baseEpoch
  }

  /** Epoch of the last record below `offset`. */
  before(offset: number): number {
    let i = this.#starts.length - 1
    while (i >= 0 && (this.#starts[i] as EpochStart).startOffset >= offset) i--
    return this.#starts[i]?.epoch ?? this.#baseEpoch
  }

  /** Where the records of epochs up to `epoch` end; exclusive. `logEndOffset` is the log's. */
  endOf(epoch: number, logEndOffset: number): number {
    const next = this.#starts.find((start) => start.epoch > epoch)
    return next?.startOffset ?? logEndOffset
  }

  /** A record of `epoch` is appended at `offset`. */
  append(epoch: number, offset: number): void {
    const { latest } = this
    assert(epoch >= latest, 'epochs of a log never decrease')
    if (epoch > latest) this.#starts.push({ epoch, startOffset: offset })
  }

  truncateTo(offset: number): void {
    while ((this.#starts.at(-1)?.startOffset ?? -1) >= offset) this.#starts.pop()
  }

  /** The log begins at `offset` from now on. */
  startAt(offset: number): void {
    this.#baseEpoch = this.before(offset)
    this.#starts = this.#starts.filter(({ startOffset }) => startOffset >= offset)
  }

  starts(): readonly EpochStart[] {
    return this.#starts
  }
}
