/**
 * Bits that turn over on a disk, in segments that nobody writes to any more. Of each partition they
 * strike the replica of one node only, where another one is known to have everything, and where
 * nothing is acknowledged that only one has: so there is always a sound one, and the cluster must
 * serve that.
 */
import type { Random } from '../../../src/base/random.ts'
import { journal } from '../journal.ts'
import type { SimCluster } from './sim-cluster.ts'
import type { SimNode } from './sim-node.ts'

interface Flip {
  readonly node: SimNode
  readonly directory: string
  readonly path: string
  readonly position: number
  readonly value: number
}

export class BitFlips {
  readonly #simulation: SimCluster
  /** By partition: whose replica is struck. */
  readonly #victims = new Map<number, number>()
  #flips: Flip[] = []

  constructor(simulation: SimCluster) {
    this.#simulation = simulation
  }

  /** Strikes some replica of the node; false where it has none that may be struck. */
  strike(node: SimNode, random: Random): boolean {
    const found: { index: number; directory: string; name: string }[] = []
    for (const partition of node.partitions()) {
      const index = this.#simulation.indexOf(partition)
      if (index === null || !this.#mayStrike(index, node.id)) continue
      const { directory } = partition
      for (const name of this.#sealed(node, directory)) found.push({ index, directory, name })
    }
    if (found.length === 0) return false
    const { index, directory, name } = random.pick(found)
    const path = `${directory}/${name}`
    const file = node.disk.file(path)
    if (file === null) return false
    const position = random.below(file.size)
    const value = file.flip(position, random.below(8))
    this.#victims.set(index, node.id)
    this.#flips.push({ node, directory, path, position, value })
    journal(() => `a bit of partition ${index} of node ${node.id} turns over: ${name}, ${position}`)
    return true
  }

  get hasStruck(): boolean {
    return this.#victims.size > 0
  }

  /** Whose replica of the partition may not be counted on; −1: nobody's. */
  victimOf(index: number): number {
    return this.#victims.get(index) ?? -1
  }

  /** What was struck is still there. */
  isDamaged(node: SimNode, directory: string): boolean {
    this.#flips = this.#flips.filter(({ node: { disk }, path, position, value }) => {
      const file = disk.file(path)
      return file !== null && position < file.size && file.content[position] === value
    })
    return this.#flips.some((flip) => flip.node === node && flip.directory === directory)
  }

  #mayStrike(index: number, nodeId: number): boolean {
    const victim = this.victimOf(index)
    if (victim >= 0 && victim !== nodeId) return false
    const state = this.#simulation.stateOf(index)
    if (state === null || this.#simulation.minimumOf(index) < 2) return false
    return [...state.inSyncReplicas, ...state.eligibleReplicas].some((id) => id !== nodeId)
  }

  /** Segments that are whole on the disk. */
  #sealed(node: SimNode, directory: string): string[] {
    const names = [...(node.disk.directory(directory)?.entries.keys() ?? [])]
    const logs = names.filter((name) => name.endsWith('.log')).sort()
    return logs.slice(0, -1).filter((name) => {
      const file = node.disk.file(`${directory}/${name}`)
      return file !== null && file.size > 0 && file.isClean
    })
  }
}
