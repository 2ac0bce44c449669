/**
 * Compares the logs of replicas, as they lie on their disks, with what was written: all that lies
 * below a replica's watermark. A file that has not changed since is not looked at again.
 */
import { readInt64, viewOf } from '../../../src/base/bytes.ts'
import { BASE_OFFSET, BATCH_LENGTH, LENGTH_PREFIX_BYTES } from '../../../src/record/batch-layout.ts'
import { identify } from '../batches.ts'
import type { FileNode } from '../sim-node.ts'
import type { ClusterChecker } from './cluster-checker.ts'
import type { SimNode } from './sim-node.ts'

interface Looked {
  readonly version: number
  readonly partition: number
}

export class LogLooks {
  readonly #checker: ClusterChecker
  /** Files of which everything was compared. */
  readonly #whole = new WeakMap<FileNode, Looked>()

  constructor(checker: ClusterChecker) {
    this.#checker = checker
  }

  look(node: SimNode, directory: string, at: { partition: number; highWatermark: number }): void {
    const { partition, highWatermark } = at
    const where = `partition ${partition} of node ${node.id}`
    for (const file of node.logFiles(directory)) {
      const before = this.#whole.get(file)
      if (before?.version === file.version && before.partition === partition) continue
      const content = file.content.subarray(0, file.size)
      const bytes = this.#known(content, partition)
      let isWhole = true
      for (const stored of identify(bytes, this.#checker.batches, where)) {
        if (stored.lastOffset < highWatermark) this.#checker.replicaHas(partition, stored, node.id)
        else isWhole = false
      }
      if (isWhole) this.#whole.set(file, { version: file.version, partition })
    }
  }

  /** Without what nobody needs any more, which was compared when it was new. */
  #known(bytes: Uint8Array, partition: number): Uint8Array {
    const below = this.#checker.forgottenBelow(partition)
    if (below === 0) return bytes
    const view = viewOf(bytes)
    let at = 0
    while (at + BATCH_LENGTH + 4 <= bytes.length && readInt64(view, at + BASE_OFFSET) < below) {
      at += view.getInt32(at + BATCH_LENGTH) + LENGTH_PREFIX_BYTES
    }
    return bytes.subarray(Math.min(at, bytes.length))
  }
}
