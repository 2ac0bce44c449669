/**
 * How much memory this process may use by the limits of its cgroup and all groups above it, in both
 * versions of the interface. Reads files of the system, nothing else.
 */
import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { dirname, join } from 'node:path'

export interface Hierarchy {
  readonly version: 1 | 2
  /** Where it is mounted: the topmost group that can be seen. */
  readonly root: string
  /** The group this process is in. A container may not see it: then the nearest above counts. */
  readonly directory: string
}

/**
 * Where memory is controlled, from /proc/self/cgroup and /proc/self/mounts. A version 1 hierarchy
 * that has the memory controller wins, since version 2 then does not have it.
 */
export function findHierarchy(groups: string, mounts: string): Hierarchy | undefined {
  const mountOf = (accept: (type: string, options: string[]) => boolean): string | undefined => {
    for (const line of mounts.split('\n')) {
      const [, at, type, options] = line.split(' ')
      if (at !== undefined && type !== undefined && accept(type, (options ?? '').split(','))) {
        return at
      }
    }
    return undefined
  }
  let unified: string | undefined
  for (const line of groups.split('\n')) {
    const [, controllers, ...path] = line.split(':')
    if (controllers === undefined) continue
    if (controllers.split(',').includes('memory')) {
      const at = mountOf((type, options) => type === 'cgroup' && options.includes('memory'))
      if (at !== undefined) return { version: 1, root: at, directory: join(at, path.join(':')) }
    }
    if (controllers === '' && line.startsWith('0:')) unified = path.join(':')
  }
  const at = mountOf((type) => type === 'cgroup2')
  if (unified === undefined || at === undefined) return undefined
  return { version: 2, root: at, directory: join(at, unified) }
}

/** In bytes: the smallest limit from the group to the root; Infinity when none is set. */
export function smallestLimit(hierarchy: Hierarchy, read: (path: string) => string): number {
  const { root, version } = hierarchy
  const name = version === 1 ? 'memory.limit_in_bytes' : 'memory.max'
  let smallest = Infinity
  for (let at = hierarchy.directory; at.startsWith(root); at = dirname(at)) {
    try {
      const limit = Number(read(join(at, name))) // 'max' is no number.
      if (limit > 0 && limit < smallest) smallest = limit
    } catch {
      // Not visible here, or the root, which has no limit.
    }
    if (at === root) break
  }
  return smallest
}

/** In bytes; of the whole machine where no cgroup says less. */
export function availableMemory(): number {
  const read = (path: string): string => readFileSync(path, 'utf8')
  try {
    const hierarchy = findHierarchy(read('/proc/self/cgroup'), read('/proc/self/mounts'))
    if (hierarchy === undefined) return totalmem()
    return Math.min(totalmem(), smallestLimit(hierarchy, read))
  } catch {
    return totalmem() // Not Linux.
  }
}
