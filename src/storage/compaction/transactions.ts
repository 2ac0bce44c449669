/**
 * What compaction must know of transactions: how each ended, since the records of an aborted one
 * supersede nothing and go at once, and which markers still have data before them. Markers are
 * found by their headers, so that no index of aborted transactions is needed; a log that never had
 * a transaction pays nothing.
 */
import type { BatchHeader } from '../../record/batch-header.ts'

export type TransactionEnd = 'committed' | 'aborted' | 'open'

interface Markers {
  readonly offsets: number[]
  readonly committed: boolean[]
}

export class Transactions {
  readonly #markers = new Map<number, Markers>()
  /** Producers with a batch of data since their last marker. */
  readonly #withData = new Set<number>()

  /** In offset order. */
  addMarker(producerId: number, offset: number, isCommit: boolean): void {
    const markers = this.#markers.get(producerId) ?? { offsets: [], committed: [] }
    this.#markers.set(producerId, markers)
    markers.offsets.push(offset)
    markers.committed.push(isCommit)
  }

  /** How the transaction ended that has a batch of the producer at `offset`. */
  endOf(producerId: number, offset: number): TransactionEnd {
    const markers = this.#markers.get(producerId)
    if (markers === undefined) return 'open'
    let low = 0
    let high = markers.offsets.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((markers.offsets[middle] as number) > offset) high = middle
      else low = middle + 1
    }
    if (low === markers.offsets.length) return 'open'
    return markers.committed[low] ? 'committed' : 'aborted'
  }

  /** The pass that filters goes by a batch of data. */
  passData(header: BatchHeader): void {
    if (header.isTransactional) this.#withData.add(header.producerId)
  }

  /** It goes by a marker: true when no data of its transaction is there any more. */
  passMarker(header: BatchHeader): boolean {
    return !this.#withData.delete(header.producerId)
  }
}
