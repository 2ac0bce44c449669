/** The simulated disk itself: a simulation on a disk that is too kind proves nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { systemCode } from '../../src/storage/file-io.ts'
import type { FileId } from '../../src/storage/files.ts'
import type { DiskPlan } from './disk-plan.ts'
import { SimCrash, SimDisk } from './sim-disk.ts'
import { SimFiles } from './sim-files.ts'

const KIND: DiskPlan = {
  sectorBytes: 16,
  shortWriteChance: 0,
  flushDoneChance: 1,
  readLaterChance: 0,
  writebackChance: 0,
  orderedNames: false,
  garbage: false,
}
const SEEDS = 60

function newDisk(seed: number, plan: Partial<DiskPlan> = {}): SimDisk {
  return new SimDisk({ ...KIND, ...plan }, new Random(seed))
}

function write(files: SimFiles, file: FileId, position: number, text: string): number {
  const bytes = new TextEncoder().encode(text)
  return files.write(file, position, { bytes, ranges: [0, bytes.length], count: 1 })
}

/** The content of a file, or null. */
function contentOf(disk: SimDisk, path: string): string | null {
  const node = disk.file(path)
  return node === null ? null : new TextDecoder().decode(node.content.subarray(0, node.size))
}

/** A file of 64 durable bytes with a durable name, open. */
function durableFile(files: SimFiles): FileId {
  files.makeDirectory('/d')
  files.syncDirectory('/')
  const file = files.open('/d/a', 'create')
  write(files, file, 0, 'a'.repeat(64))
  files.flushNow(file)
  files.syncDirectory('/d')
  return file
}

test('SimDisk.losePower, keeps what was flushed and named, for every seed', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const disk = newDisk(seed)
    durableFile(new SimFiles(disk))
    disk.losePower()
    assert.equal(contentOf(disk, '/d/a'), 'a'.repeat(64))
  }
})

test('SimDisk.losePower, leaves every mixture, of what was not flushed', () => {
  const sizes = new Set<number>()
  const mixtures = new Set<string>()
  let lostNames = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const disk = newDisk(seed)
    const files = new SimFiles(disk)
    write(files, durableFile(files), 0, 'b'.repeat(128))
    files.open('/d/new', 'create')
    disk.losePower()
    const content = contentOf(disk, '/d/a') as string
    assert.match(content, /^[ab\0]*$/)
    assert(!content.slice(0, 64).includes('\0'), 'durable bytes never become holes')
    sizes.add(content.length)
    mixtures.add(content)
    if (disk.file('/d/new') === null) lostNames++
  }
  assert(sizes.size > 3 && mixtures.size > 10)
  assert(lostNames > 0 && lostNames < SEEDS)
})

test('SimDisk.kill, keeps everything written, though nothing was flushed', () => {
  const disk = newDisk(1)
  const files = new SimFiles(disk)
  files.makeDirectory('/d')
  write(files, files.open('/d/a', 'create'), 0, 'written')
  files.die()
  disk.kill()
  assert.equal(contentOf(disk, '/d/a'), 'written')
  assert.throws(() => files.exists('/d/a'), SimCrash)
})

test('SimFiles.flush, loses its sectors at the next power loss, when it failed', () => {
  let lost = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const disk = newDisk(seed)
    const files = new SimFiles(disk)
    const file = durableFile(files)
    write(files, file, 0, 'b'.repeat(64))
    disk.flushFailChance = 1
    const errors: (Error | null)[] = []
    files.flush(file, 7)
    files.drainFlushes((_token, error) => errors.push(error))
    assert.equal(systemCode(errors[0]), 'EIO')
    disk.flushFailChance = 0
    // The kernel calls the pages clean: a second flush succeeds and writes nothing.
    files.flushNow(file)
    assert.equal(contentOf(disk, '/d/a'), 'b'.repeat(64))
    disk.losePower()
    if (contentOf(disk, '/d/a') !== 'b'.repeat(64)) lost++
  }
  assert(lost > SEEDS / 2)
})

test('SimFiles.write, takes what fits and then refuses, when the disk is full', () => {
  const disk = newDisk(1)
  const files = new SimFiles(disk)
  const file = durableFile(files)
  disk.freeBytes = 3
  assert.equal(write(files, file, 64, 'cccccc'), 3)
  assert.throws(
    () => write(files, file, 67, 'ccc'),
    (error) => systemCode(error) === 'ENOSPC',
  )
  // Overwriting needs no room.
  assert.equal(write(files, file, 0, 'dddd'), 4)
})

test('SimFiles.write, takes at least one byte, when it is short', () => {
  const disk = newDisk(3, { shortWriteChance: 1 })
  const files = new SimFiles(disk)
  const file = durableFile(files)
  const counts = new Set<number>()
  for (let i = 0; i < 100; i++) counts.add(write(files, file, 0, 'eeee'))
  assert.deepEqual([...counts].sort(), [1, 2, 3, 4])
})
