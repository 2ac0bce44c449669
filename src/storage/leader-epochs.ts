/**
 * The leader epochs of a log (KIP-101, KIP-320): for each epoch the offset of its first record,
 * both strictly increasing. Kept in Kafka's `leader-epoch-checkpoint`, a text file:
 *
 *   0                    version
 *   2                    entries
 *   0 0                  epoch startOffset
 *   3 1500
 *
 * The file may lag behind the log only above the recovery point: recovery reads the rest from the
 * batches themselves.
 */
import { assert } from '../base/assert.ts'
import { readWhole, replaceDurably } from './file-io.ts'
import type { Files } from './files.ts'
import type { EpochEnd } from './log-types.ts'
import { joinPath } from './segment-names.ts'

export const LEADER_EPOCH_FILE = 'leader-epoch-checkpoint'
const VERSION = '0'

const UNDEFINED_END: EpochEnd = { epoch: -1, endOffset: -1 }

export interface EpochsMark {
  readonly epochs: readonly number[]
  readonly startOffsets: readonly number[]
}

export class LeaderEpochs {
  #epochs: number[] = []
  #startOffsets: number[] = []
  #isDirty = false
  /** What the file says, null when there is none or it is not known. */
  #saved: string | null = null

  /** −1 when none. */
  get latest(): number {
    return this.#epochs.at(-1) ?? -1
  }

  /** The newest one that starts below `offset`; −1 when none. */
  latestBelow(offset: number): number {
    let i = this.#epochs.length - 1
    while (i >= 0 && (this.#startOffsets[i] as number) >= offset) i--
    return this.#epochs[i] ?? -1
  }

  get count(): number {
    return this.#epochs.length
  }

  /** True when the file does not say yet what this object says. */
  get isDirty(): boolean {
    return this.#isDirty
  }

  entries(): { readonly epoch: number; readonly startOffset: number }[] {
    return this.#epochs.map((epoch, i) => ({ epoch, startOffset: this.#startOffsets[i] as number }))
  }

  /** Notes that `startOffset` is of `epoch`; nothing changes unless the epoch is a newer one. */
  assign(epoch: number, startOffset: number): void {
    if (epoch <= this.latest) return
    // An epoch without a single record leaves no trace.
    this.#dropFrom(startOffset)
    this.#epochs.push(epoch)
    this.#startOffsets.push(startOffset)
    this.#isDirty = true
  }

  /** Forgets what lies at and above `offset`. */
  truncateTo(offset: number): void {
    this.#dropFrom(offset)
  }

  /** Moves the start: epochs wholly below `offset` go, the one that holds it starts there. */
  startAt(offset: number): void {
    let below = 0
    while (below < this.#epochs.length && (this.#startOffsets[below] as number) <= offset) below++
    if (below === 0 || (below === 1 && this.#startOffsets[0] === offset)) return
    this.#epochs.splice(0, below - 1)
    this.#startOffsets.splice(0, below - 1)
    this.#startOffsets[0] = offset
    this.#isDirty = true
  }

  clear(): void {
    if (this.#epochs.length > 0) this.#isDirty = true
    this.#epochs = []
    this.#startOffsets = []
  }

  /** The end of the largest epoch ≤ the one asked for (KIP-320). */
  endOffsetFor(epoch: number, logEndOffset: number): EpochEnd {
    const latest = this.latest
    if (epoch < 0 || latest < 0 || epoch > latest) return UNDEFINED_END
    if (epoch === latest) return { epoch, endOffset: logEndOffset }
    let higher = 0
    while ((this.#epochs[higher] as number) <= epoch) higher++
    const endOffset = this.#startOffsets[higher] as number
    return { epoch: higher === 0 ? epoch : (this.#epochs[higher - 1] as number), endOffset }
  }

  mark(): EpochsMark {
    return {
      epochs: this.#epochs.slice(),
      startOffsets: this.#startOffsets.slice(),
    }
  }

  rollback(mark: EpochsMark): void {
    this.#epochs = mark.epochs.slice()
    this.#startOffsets = mark.startOffsets.slice()
    // What was noted since may have been written.
    this.#isDirty = true
  }

  /** Writes the file durably if it lags behind. Throws BrokerError. */
  write(files: Files, directory: string): void {
    if (!this.#isDirty) return
    const lines = [VERSION, String(this.#epochs.length)]
    for (let i = 0; i < this.#epochs.length; i++) {
      lines.push(`${this.#epochs[i]} ${this.#startOffsets[i]}`)
    }
    const text = `${lines.join('\n')}\n`
    // Recovery forgets epochs and finds them again in the batches: mostly nothing is new.
    if (text !== this.#saved) {
      this.#saved = null
      replaceDurably(files, directory, LEADER_EPOCH_FILE, new TextEncoder().encode(text))
      this.#saved = text
    }
    this.#isDirty = false
  }

  /** Reads the file. False when it is damaged (the epochs are then empty). */
  load(files: Files, directory: string): boolean {
    this.#epochs = []
    this.#startOffsets = []
    this.#isDirty = false
    this.#saved = null
    const bytes = readWhole(files, joinPath(directory, LEADER_EPOCH_FILE))
    if (bytes === null) return true
    const text = new TextDecoder().decode(bytes)
    const lines = text.split('\n')
    const count = Number(lines[1])
    if (lines[0] !== VERSION || !Number.isInteger(count) || count < 0) return false
    if (count > lines.length - 2) return false
    const epochs: number[] = []
    const startOffsets: number[] = []
    for (let i = 0; i < count; i++) {
      const [epoch, offset] = (lines[i + 2] as string).split(' ').map(Number)
      if (!isOffset(epoch) || !isOffset(offset)) return false
      if (
        i > 0 &&
        (epoch <= (epochs[i - 1] as number) || offset <= (startOffsets[i - 1] as number))
      ) {
        return false
      }
      epochs.push(epoch)
      startOffsets.push(offset)
    }
    this.#epochs = epochs
    this.#startOffsets = startOffsets
    this.#saved = text
    return true
  }

  #dropFrom(offset: number): void {
    while (this.#epochs.length > 0 && (this.#startOffsets.at(-1) as number) >= offset) {
      this.#epochs.pop()
      this.#startOffsets.pop()
      this.#isDirty = true
    }
    assert(this.#epochs.length === this.#startOffsets.length)
  }
}

function isOffset(value: number | undefined): value is number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0
}
