/**
 * The simulated disk: files and directories that know what the process sees (the page cache) and
 * what a power loss would leave, by sector and by directory entry. It outlives processes; a process
 * reaches it through `SimFiles` (sim-files.ts). Everything random comes from the seed.
 *
 *   process kill   the page cache survives; flushes under way may or may not have finished
 *   power loss     durable sectors, plus a random part of the others, torn; sizes and names of
 *                  unsynced changes in any combination (or, per seed, in the order they were made)
 *   failed flush   its sectors count as clean though they never reached the platter (Rebello et
 *   al.,
 *                  ATC 2020), and are gone once the process ends
 */

import type { Random } from '../../src/base/random.ts'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { DiskPlan } from './disk-plan.ts'
import { FileNode } from './sim-node.ts'

/** The machine or the process died in the middle of a call. Nothing in `src` may catch it. */
export class SimCrash extends Error {
  constructor() {
    super('the simulated process died here')
    this.name = 'SimCrash'
  }
}

type NameChange =
  | { readonly kind: 'set'; readonly name: string; readonly node: DirectoryNode | FileNode }
  | { readonly kind: 'delete'; readonly name: string }
  | {
      readonly kind: 'rename'
      readonly from: string
      readonly to: string
      readonly node: DirectoryNode | FileNode
    }

export class DirectoryNode {
  entries = new Map<string, DirectoryNode | FileNode>()
  durable = new Map<string, DirectoryNode | FileNode>()
  /** Changes that no sync covers yet, oldest first. */
  changes: NameChange[] = []

  change(change: NameChange): void {
    apply(this.entries, change)
    this.changes.push(change)
  }

  sync(): void {
    for (const change of this.changes) apply(this.durable, change)
    this.changes = []
  }
}

function apply(names: Map<string, DirectoryNode | FileNode>, change: NameChange): void {
  if (change.kind === 'set') names.set(change.name, change.node)
  else if (change.kind === 'delete') names.delete(change.name)
  else {
    names.delete(change.from)
    names.set(change.to, change.node)
  }
}

export class SimDisk {
  readonly plan: DiskPlan
  readonly random: Random
  readonly root = new DirectoryNode()
  readonly counters: Record<string, number> = {}
  /** Room left; Infinity outside a window of ENOSPC. */
  freeBytes = Infinity
  /** Chance that a flush fails. */
  flushFailChance = 0
  /** Mutating calls until the process dies inside one; Infinity = never. */
  crashIn = Infinity
  /** The wall clock that stamps files. */
  nowMs: () => number = () => 0
  /** Paths whose flush failed in the running process. */
  readonly failedPaths = new Set<string>()
  #trace = 0x811c9dc5
  #nextFile = 3

  constructor(plan: DiskPlan, random: Random) {
    this.plan = plan
    this.random = random
  }

  /** Hash of everything that happened so far. */
  get trace(): number {
    return this.#trace >>> 0
  }

  note(...values: number[]): void {
    for (const value of values) {
      this.#trace = Math.imul(this.#trace ^ (value | 0), 0x01000193)
      this.#trace = Math.imul(this.#trace ^ ((value / 0x1_0000_0000) | 0), 0x01000193)
    }
  }

  count(what: string): void {
    this.counters[what] = (this.counters[what] ?? 0) + 1
  }

  nextFile(): number {
    return this.#nextFile++
  }

  directory(path: string): DirectoryNode | null {
    let node: DirectoryNode = this.root
    for (const name of parts(path)) {
      const next = node.entries.get(name)
      if (!(next instanceof DirectoryNode)) return null
      node = next
    }
    return node
  }

  file(path: string): FileNode | null {
    const { directory, name } = split(path)
    const node = this.directory(directory)?.entries.get(name)
    return node instanceof FileNode ? node : null
  }

  /** The process dies; everything that it wrote stays, also what a failed flush called clean. */
  kill(): void {
    this.count('process kills')
    for (const node of this.#files((directory) => directory.entries)) {
      node.endFlights(this.random)
    }
    this.#afterCrash()
  }

  /** The machine dies. */
  losePower(): void {
    this.count('power losses')
    const keepNames = this.random.pick([0, 0.5, 0.5, 1])
    this.#settleNames(this.root, keepNames)
    for (const node of this.#files((directory) => directory.entries)) {
      node.losePower(this.plan, this.random)
    }
    this.#afterCrash()
  }

  /** The file system commits its journal: what it knows of names outlives the machine. */
  commitNames(directory = this.root): void {
    directory.sync()
    for (const node of directory.entries.values()) {
      if (node instanceof DirectoryNode) this.commitNames(node)
    }
  }

  #afterCrash(): void {
    this.freeBytes = Infinity
    this.flushFailChance = 0
    this.crashIn = Infinity
    this.failedPaths.clear()
  }

  #settleNames(directory: DirectoryNode, keepChance: number): void {
    const { changes } = directory
    let kept = 0
    if (this.plan.orderedNames) {
      const count = this.random.between(0, changes.length)
      for (const change of changes.slice(0, count)) apply(directory.durable, change)
      kept = count
    } else {
      for (const change of changes) {
        if (!this.random.chance(keepChance)) continue
        apply(directory.durable, change)
        kept++
      }
    }
    if (kept < changes.length) this.count('names lost')
    directory.changes = []
    directory.entries = new Map(directory.durable)
    for (const node of directory.entries.values()) {
      if (node instanceof DirectoryNode) this.#settleNames(node, keepChance)
    }
  }

  #files(entriesOf: (directory: DirectoryNode) => Map<string, DirectoryNode | FileNode>) {
    const found = new Set<FileNode>()
    const visit = (directory: DirectoryNode): void => {
      for (const node of entriesOf(directory).values()) {
        if (node instanceof FileNode) found.add(node)
        else visit(node)
      }
    }
    visit(this.root)
    return found
  }
}

export function fault(code: string, action: string): BrokerError {
  const cause = Object.assign(new Error(code), { code })
  return new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, action, cause)
}

export function parts(path: string): string[] {
  return path.split('/').filter((part) => part !== '')
}

export function split(path: string): { directory: string; name: string } {
  const slash = path.lastIndexOf('/')
  return { directory: path.slice(0, slash), name: path.slice(slash + 1) }
}
