/**
 * A memory cgroup of a fixed size for one process, so that two programs are measured with the same
 * room for their page cache. It is made below the group that this process is in (or below one that
 * the user names), never beside it: limits from above stay in force. Both versions of the interface
 * work; version 2 needs a parent that delegates the memory controller.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findHierarchy, type Hierarchy } from '../../src/base/cgroup-memory.ts'

export class MemoryGroup {
  readonly bytes: number
  readonly version: 1 | 2
  readonly #directory: string

  private constructor(directory: string, version: 1 | 2, bytes: number) {
    this.#directory = directory
    this.version = version
    this.bytes = bytes
  }

  /** A new group, or why there is none. */
  static create(name: string, bytes: number, parent?: string): MemoryGroup | string {
    let hierarchy: Hierarchy | undefined
    try {
      hierarchy = findHierarchy(
        readFileSync('/proc/self/cgroup', 'utf8'),
        readFileSync('/proc/self/mounts', 'utf8'),
      )
    } catch {
      return 'this system has no /proc/self/cgroup'
    }
    if (parent !== undefined) {
      const version = existsSync(join(parent, 'memory.limit_in_bytes')) ? 1 : 2
      hierarchy = { version, root: parent, directory: parent }
    }
    if (hierarchy === undefined) return 'no cgroup hierarchy that controls memory is mounted'
    const directory = join(hierarchy.directory, name)
    const limit = hierarchy.version === 1 ? 'memory.limit_in_bytes' : 'memory.max'
    try {
      mkdirSync(directory)
    } catch (error) {
      return `cannot make a memory cgroup: ${error instanceof Error ? error.message : error}`
    }
    try {
      if (!existsSync(join(directory, limit))) {
        throw new Error(`${hierarchy.directory} does not delegate the memory controller`)
      }
      writeFileSync(join(directory, limit), String(bytes))
    } catch (error) {
      rmdirSync(directory)
      return `cannot bound a memory cgroup: ${error instanceof Error ? error.message : error}`
    }
    return new MemoryGroup(directory, hierarchy.version, bytes)
  }

  /** Where a process writes its number to join. */
  get membersFile(): string {
    return join(this.#directory, 'cgroup.procs')
  }

  /** The most memory, page cache included, that the group has held. NaN where it is not kept. */
  peakBytes(): number {
    const name = this.version === 1 ? 'memory.max_usage_in_bytes' : 'memory.peak'
    try {
      return Number(readFileSync(join(this.#directory, name), 'utf8'))
    } catch {
      return Number.NaN
    }
  }

  /** Removes the group, whose processes must have ended. */
  async remove(): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        rmdirSync(this.#directory)
        return
      } catch (error) {
        // An ended process may be counted for a moment longer.
        if (attempt === 100) throw error
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  }

  /** The same when this process ends and can wait only by standing still, half a second at most. */
  removeNow(): void {
    const never = new Int32Array(new SharedArrayBuffer(4))
    for (let attempt = 0; attempt < 50; attempt++) {
      try {
        rmdirSync(this.#directory)
        return
      } catch {
        Atomics.wait(never, 0, 0, 10) // The killed process is not gone yet.
      }
    }
  }
}

/** Why memory cgroups cannot be made here, found out by making one; null when they can. */
export function whyNoMemoryGroups(parent: string | undefined): string | null {
  const group = MemoryGroup.create(`millrace-bench-${process.pid}-probe`, 64 * 2 ** 20, parent)
  if (typeof group === 'string') return group
  group.removeNow()
  return null
}
