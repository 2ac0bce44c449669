import assert from 'node:assert/strict'
import { totalmem } from 'node:os'
import { test } from 'node:test'
import { availableMemory, findHierarchy, smallestLimit } from '../../src/base/cgroup-memory.ts'

test('findHierarchy prefers version 1 with the memory controller, else takes version 2', () => {
  const mixed = '9:name=systemd:/\n4:cpu,memory:/a/b\n0::/\n'
  const mounts = [
    'cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0',
    'cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0',
    'cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0',
  ].join('\n')
  assert.deepEqual(findHierarchy(mixed, mounts), {
    version: 1,
    root: '/sys/fs/cgroup/memory',
    directory: '/sys/fs/cgroup/memory/a/b',
  })
  assert.deepEqual(findHierarchy('0::/user.slice/x:y\n', 'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0'), {
    version: 2,
    root: '/sys/fs/cgroup',
    directory: '/sys/fs/cgroup/user.slice/x:y',
  })
  assert.equal(findHierarchy('0::/\n', 'proc /proc proc rw 0 0'), undefined)
})

test('smallestLimit, a group above has less, takes that', () => {
  const limits: Record<string, string> = {
    '/cg/a/b/memory.max': 'max\n',
    '/cg/a/memory.max': '1000\n',
    '/cg/memory.max': '2000\n',
    '/memory.max': '1\n', // Not of this hierarchy.
  }
  const read = (path: string): string => {
    const text = limits[path]
    if (text === undefined) throw new Error('ENOENT')
    return text
  }
  // A container's own path may not be visible in it: d is not there.
  const hierarchy = { version: 2, root: '/cg', directory: '/cg/a/b/d' } as const
  assert.equal(smallestLimit(hierarchy, read), 1000)
  assert.equal(smallestLimit({ ...hierarchy, directory: '/cg' }, read), 2000)
  assert.equal(smallestLimit({ ...hierarchy, version: 1 }, read), Infinity)
})

test('availableMemory is no more than the machine has', () => {
  assert.ok(availableMemory() > 0 && availableMemory() <= totalmem())
})
