/**
 * Inflicts one fault after the other, as the seed has it, and writes down when each began, ended
 * and was recovered from: when every partition had all its replicas in sync again.
 */
import { appendFileSync } from 'node:fs'
import type { Random } from '../../src/base/random.ts'
import type { Cluster } from './cluster.ts'
import { drawFaults, type Fault, type FaultKind, inflict, sleep } from './faults.ts'

export interface NemesisOptions {
  readonly cluster: Cluster
  readonly random: Random
  readonly kinds: readonly FaultKind[]
  /** Where each fault is written down, a line of JSON each. */
  readonly journal: string
  readonly onFault: (done: FaultReport) => void
}

export interface FaultReport extends Fault {
  readonly index: number
  readonly began: string
  /** Until it was healed, nodes that had to be started served. */
  readonly healedMs: number
  /** From then until everything was in sync. */
  readonly recoveredMs: number
}

export type FaultCounts = Partial<Record<FaultKind, number>>

/** After a fault is healed nothing in recovering takes a tenth of this. */
export const RECOVERY_MS_MAX = 60_000
const PAUSE_MS_MAX = 600

export class Nemesis {
  readonly counts: FaultCounts = {}
  readonly #options: NemesisOptions
  #struck = 0

  constructor(options: NemesisOptions) {
    this.#options = options
  }

  get struck(): number {
    return this.#struck
  }

  /** Until `isOver` says so, which is asked before every fault. Throws what does not recover. */
  async run(isOver: (struck: number) => boolean): Promise<void> {
    const { cluster, random, kinds, onFault } = this.#options
    const faults = drawFaults(random, kinds, cluster.nodes.length)
    while (!isOver(this.#struck)) {
      const fault = faults.next().value
      this.#struck++
      const report = await this.#one(fault)
      this.counts[fault.kind] = (this.counts[fault.kind] ?? 0) + 1
      onFault(report)
      await sleep(random.below(PAUSE_MS_MAX))
    }
  }

  async #one(fault: Fault): Promise<FaultReport> {
    const { cluster, journal } = this.#options
    const began = new Date()
    const index = this.#struck
    const write = (line: object): void => appendFileSync(journal, `${JSON.stringify(line)}\n`)
    write({ index, began, ...fault })
    try {
      await inflict(cluster, fault)
      const healedMs = Date.now() - began.getTime()
      await this.#revive()
      const missing = await cluster.whenInSync(RECOVERY_MS_MAX)
      const recoveredMs = Date.now() - began.getTime() - healedMs
      write({ index, healedMs, recoveredMs, missing })
      return { ...fault, index, began: began.toISOString(), healedMs, recoveredMs }
    } catch (error) {
      const { message } = error as Error
      write({ index, failed: message })
      throw new Error(`fault ${index}, ${JSON.stringify(fault)}: ${message}`, { cause: error })
    }
  }

  /** A broker that has ended by itself is a finding already; the run goes on with it. */
  async #revive(): Promise<void> {
    for (const node of this.#options.cluster.nodes) {
      if (node.isRunning) continue
      node.start()
      await node.whenReady()
    }
  }
}
