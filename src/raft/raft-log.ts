/**
 * What Raft has to know of its log: where it begins and ends, what of it is durable and what is
 * committed, its epochs, and the newest entries themselves, so that followers that keep up are
 * served from memory. The bytes on disk belong to the shell, which is told what to do with them in
 * order (`StorageOperation`) and says when it is done.
 *
 *   startOffset ≤ committedOffset ≤ endOffset,  startOffset ≤ flushedOffset ≤ endOffset
 */
import { assert } from '../base/assert.ts'
import { bytesOf, type Entry } from './entry.ts'
import { EpochHistory, type EpochStart } from './epoch-history.ts'
import type { SnapshotId } from './messages.ts'

/** In the order of `sequence`; the shell reports the newest one up to which all is durable. */
export type StorageOperation =
  | { readonly type: 'append'; readonly sequence: number; readonly entries: readonly Entry[] }
  /** Everything at and above `offset` goes. */
  | { readonly type: 'truncate'; readonly sequence: number; readonly offset: number }
  /** The whole log goes; it begins anew where the stored snapshot ends. */
  | { readonly type: 'reset'; readonly sequence: number; readonly snapshot: SnapshotId }

/** The log as it is found at the start: all of it is durable. */
export interface StoredLog {
  /** What the log begins with has been taken the place of by this snapshot. */
  readonly snapshot: SnapshotId
  readonly epochs: readonly EpochStart[]
  /** Exclusive. */
  readonly endOffset: number
  /** All there are, in order; left out where nobody has looked. */
  readonly entries?: readonly Pick<Entry, 'endOffset'>[]
}

export class RaftLog {
  readonly #recentBytesMax: number
  #epochs: EpochHistory
  #startOffset: number
  #endOffset: number
  #flushedOffset: number
  #committedOffset: number
  /** The newest entries without a gap, the last of them ending at `endOffset`. */
  #recent: Entry[] = []
  #recentBytes = 0
  #sequence = 0
  /** Where the log ended after each operation that is under way. */
  #pending: { readonly sequence: number; endOffset: number; readonly bytes: number }[] = []
  #unflushedBytes = 0
  /** Not committed, in order. Bytes are counted of those appended since this process began. */
  #open: { readonly endOffset: number; readonly bytes: number }[] = []
  #openBytes = 0
  /** Above it all entries that are not committed are known. */
  #openFrom: number
  #operations: StorageOperation[] = []

  constructor(stored: StoredLog, recentBytesMax: number) {
    const { snapshot, epochs, endOffset } = stored
    assert(endOffset >= snapshot.endOffset, 'the log reaches as far as its snapshot')
    this.#recentBytesMax = recentBytesMax
    this.#epochs = new EpochHistory(snapshot.epoch, epochs)
    this.#startOffset = snapshot.endOffset
    this.#endOffset = endOffset
    this.#flushedOffset = endOffset
    this.#committedOffset = snapshot.endOffset
    const { entries } = stored
    this.#open = (entries ?? []).map((entry) => ({ endOffset: entry.endOffset, bytes: 0 }))
    this.#openFrom = entries === undefined ? endOffset : snapshot.endOffset
  }

  /** Inclusive: what lies below is in the snapshot. */
  get startOffset(): number {
    return this.#startOffset
  }

  /** Exclusive, here and in the other two. */
  get endOffset(): number {
    return this.#endOffset
  }

  get flushedOffset(): number {
    return this.#flushedOffset
  }

  get committedOffset(): number {
    return this.#committedOffset
  }

  /** Of entries that were appended and are not committed, or not flushed here: the larger one. */
  get openBytes(): number {
    return Math.max(this.#openBytes, this.#unflushedBytes)
  }

  get lastEpoch(): number {
    return this.#epochs.before(this.#endOffset)
  }

  /** The epoch of the last record below `offset`, which lies in the log or at its start. */
  epochBefore(offset: number): number {
    assert(offset >= this.#startOffset && offset <= this.#endOffset)
    return this.#epochs.before(offset)
  }

  /** Where the records of epochs up to `epoch` end; never below the start. */
  endOfEpoch(epoch: number): number {
    return Math.max(this.#epochs.endOf(epoch, this.#endOffset), this.#startOffset)
  }

  /**
   * False when the log has an entry across `offset`, as far as is known: of what is committed and
   * not in memory nobody knows.
   */
  isBoundary(offset: number): boolean {
    const first = this.#recent[0]
    if (offset === this.#endOffset || offset === this.#committedOffset) return true
    if (first !== undefined && offset >= first.baseOffset) {
      return this.#recent[this.#indexFrom(offset)]?.baseOffset === offset
    }
    if (offset < this.#committedOffset || offset <= this.#openFrom) return true
    let low = 0
    let high = this.#open.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#open[middle] as { endOffset: number }).endOffset < offset) low = middle + 1
      else high = middle
    }
    return this.#open[low]?.endOffset === offset
  }

  /** Entries that follow each other, the first of which begins at the log's end. */
  append(entries: readonly Entry[]): void {
    for (const entry of entries) {
      assert(entry.baseOffset === this.#endOffset && entry.endOffset > entry.baseOffset)
      this.#epochs.append(entry.epoch, entry.baseOffset)
      this.#endOffset = entry.endOffset
      this.#recent.push(entry)
      this.#recentBytes += entry.bytes.length
      this.#open.push({ endOffset: entry.endOffset, bytes: entry.bytes.length })
      this.#openBytes += entry.bytes.length
    }
    this.#evict()
    this.#operate({ type: 'append', sequence: ++this.#sequence, entries })
  }

  /** What is committed stays: nobody may ask for more. */
  truncateTo(offset: number): void {
    assert(offset >= this.#committedOffset, 'a committed record is never truncated')
    this.#epochs.truncateTo(offset)
    while ((this.#recent.at(-1)?.endOffset ?? 0) > offset) {
      this.#recentBytes -= this.#recent.pop()?.bytes.length ?? 0
    }
    while ((this.#open.at(-1)?.endOffset ?? 0) > offset) {
      this.#openBytes -= this.#open.pop()?.bytes ?? 0
    }
    this.#endOffset = offset
    this.#openFrom = Math.min(this.#openFrom, offset)
    this.#flushedOffset = Math.min(this.#flushedOffset, offset)
    for (const each of this.#pending) each.endOffset = Math.min(each.endOffset, offset)
    this.#operate({ type: 'truncate', sequence: ++this.#sequence, offset })
  }

  /** A snapshot that is stored takes the place of everything. */
  resetTo(snapshot: SnapshotId): void {
    assert(snapshot.endOffset > this.#committedOffset, 'a snapshot brings something new')
    this.#epochs = new EpochHistory(snapshot.epoch)
    this.#recent = []
    this.#recentBytes = 0
    this.#open = []
    this.#openFrom = snapshot.endOffset
    this.#openBytes = 0
    this.#pending = []
    this.#unflushedBytes = 0
    this.#startOffset = snapshot.endOffset
    this.#endOffset = snapshot.endOffset
    this.#committedOffset = snapshot.endOffset
    this.#flushedOffset = snapshot.endOffset
    this.#operate({ type: 'reset', sequence: ++this.#sequence, snapshot })
  }

  /** A snapshot of our own has taken the place of what lies below `offset`. */
  startAt(offset: number): void {
    assert(offset <= this.#committedOffset, 'a snapshot holds what is committed')
    if (offset <= this.#startOffset) return
    this.#epochs.startAt(offset)
    this.#startOffset = offset
  }

  commit(offset: number): void {
    assert(offset >= this.#committedOffset && offset <= this.#endOffset)
    this.#committedOffset = offset
    let done = 0
    while (done < this.#open.length && this.#open[done]!.endOffset <= offset) {
      this.#openBytes -= this.#open[done++]!.bytes
    }
    this.#open.splice(0, done)
  }

  /** Everything up to the operation `sequence` is durable. */
  flushed(sequence: number): void {
    let done = 0
    while (done < this.#pending.length && this.#pending[done]!.sequence <= sequence) done++
    if (done === 0) return
    const { endOffset } = this.#pending[done - 1]!
    for (const { bytes } of this.#pending.splice(0, done)) this.#unflushedBytes -= bytes
    this.#flushedOffset = Math.max(this.#flushedOffset, endOffset)
  }

  /**
   * Entries from `offset` on, at least one and no more than `bytesMax` otherwise; null when they
   * are not in memory any more. Empty at the log's end.
   */
  recent(offset: number, bytesMax: number): readonly Entry[] | null {
    if (offset === this.#endOffset) return []
    const first = this.#recent[0]
    if (first === undefined || offset < first.baseOffset) return null
    const from = this.#indexOf(offset)
    const entries: Entry[] = []
    let bytes = 0
    for (let i = from; i < this.#recent.length; i++) {
      const entry = this.#recent[i] as Entry
      bytes += entry.bytes.length
      if (entries.length > 0 && bytes > bytesMax) break
      entries.push(entry)
    }
    return entries
  }

  takeOperations(): readonly StorageOperation[] {
    const operations = this.#operations
    this.#operations = []
    return operations
  }

  /** Of the entry that begins at `offset`: only there is a log ever cut or read from. */
  #indexOf(offset: number): number {
    const index = this.#indexFrom(offset)
    assert(
      this.#recent[index]?.baseOffset === offset,
      'an entry begins at every offset that is asked',
    )
    return index
  }

  /** Of the first entry that begins at `offset` or above; of the last one when none does. */
  #indexFrom(offset: number): number {
    let low = 0
    let high = this.#recent.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#recent[middle] as Entry).baseOffset < offset) low = middle + 1
      else high = middle
    }
    return low
  }

  #evict(): void {
    let count = 0
    while (this.#recentBytes > this.#recentBytesMax && count < this.#recent.length) {
      this.#recentBytes -= (this.#recent[count++] as Entry).bytes.length
    }
    if (count > 0) this.#recent.splice(0, count)
  }

  #operate(operation: StorageOperation): void {
    const { sequence } = operation
    const bytes = operation.type === 'append' ? bytesOf(operation.entries) : 0
    this.#operations.push(operation)
    this.#pending.push({ sequence, endOffset: this.#endOffset, bytes })
    this.#unflushedBytes += bytes
  }
}
