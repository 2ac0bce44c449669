/**
 * One process's (one shard's) way to the simulated disk: the `Files` that the log gets. Dies with
 * the process: afterwards every call throws, so that no code of a dead process changes the disk.
 */
import { assert } from '../../src/base/assert.ts'
import type { ByteRange, FileId, Files, GatherSource, OpenMode } from '../../src/storage/files.ts'
import { journal } from './journal.ts'
import { DirectoryNode, fault, parts, SimCrash, type SimDisk, split } from './sim-disk.ts'
import { FileNode, type Flight } from './sim-node.ts'

interface OpenFile {
  readonly node: FileNode
  readonly path: string
  readonly isWritable: boolean
}

interface PendingRead {
  readonly node: FileNode
  readonly position: number
  readonly into: ByteRange
  readonly token: number
}

interface PendingFlush {
  readonly file: OpenFile
  readonly token: number
  readonly flight: Flight
}

/** A flush that is polled this often is done: who waits for it in a loop must not wait for ever. */
const POLLS_MAX = 50

export class SimFiles implements Files {
  readonly #disk: SimDisk
  readonly #open = new Map<FileId, OpenFile>()
  #flushes: PendingFlush[] = []
  #reads: PendingRead[] = []
  #polls = 0
  #isDead = false

  constructor(disk: SimDisk) {
    this.#disk = disk
  }

  get openFiles(): number {
    return this.#open.size
  }

  die(): void {
    this.#isDead = true
    this.#open.clear()
    this.#flushes = []
    this.#reads = []
  }

  list(directory: string): string[] {
    this.#call('list')
    const node = this.#disk.directory(directory)
    return node === null ? [] : [...node.entries.keys()]
  }

  exists(path: string): boolean {
    this.#call('exists')
    return this.#disk.file(path) !== null || this.#disk.directory(path) !== null
  }

  makeDirectory(path: string): void {
    if (this.#disk.directory(path) !== null) return
    this.#change('makeDirectory', path)
    let node = this.#disk.root
    for (const name of parts(path)) {
      let next = node.entries.get(name)
      if (next === undefined) {
        this.#spend(0, `make directory ${path}`)
        next = new DirectoryNode()
        node.change({ kind: 'set', name, node: next })
      }
      assert(next instanceof DirectoryNode)
      node = next
    }
  }

  remove(path: string): void {
    const { directory, name } = split(path)
    const parent = this.#disk.directory(directory)
    const node = parent?.entries.get(name)
    if (parent === null || !(node instanceof FileNode)) return
    this.#change('remove', path)
    parent.change({ kind: 'delete', name })
    this.#disk.freeBytes += node.size
  }

  removeDirectory(path: string): void {
    const node = this.#disk.directory(path)
    if (node === null) return
    for (const [name, child] of [...node.entries]) {
      if (child instanceof FileNode) this.remove(`${path}/${name}`)
      else this.removeDirectory(`${path}/${name}`)
    }
    this.#change('removeDirectory', path)
    const { directory, name } = split(path)
    this.#disk.directory(directory)?.change({ kind: 'delete', name })
  }

  rename(from: string, to: string): void {
    this.#change('rename', to)
    const source = split(from)
    const target = split(to)
    assert(source.directory === target.directory)
    const parent = this.#disk.directory(source.directory)
    const node = parent?.entries.get(source.name)
    if (parent === null || node === undefined) throw fault('ENOENT', `rename ${from}`)
    parent.change({ kind: 'rename', from: source.name, to: target.name, node })
  }

  syncDirectory(path: string): void {
    this.#change('syncDirectory', path)
    const node = this.#disk.directory(path)
    if (node === null) throw fault('ENOENT', `sync directory ${path}`)
    if (this.#fails()) throw fault('EIO', `sync directory ${path}`)
    node.sync()
  }

  open(path: string, mode: OpenMode): FileId {
    this.#call('open')
    let node = this.#disk.file(path)
    if (node === null) {
      const { directory, name } = split(path)
      const parent = this.#disk.directory(directory)
      if (mode !== 'create' || parent === null) throw fault('ENOENT', `open ${path}`)
      this.#change('create', path)
      this.#spend(0, `create ${path}`)
      node = new FileNode(this.#disk.plan.sectorBytes)
      node.modifiedMs = this.#disk.nowMs()
      parent.change({ kind: 'set', name, node })
    }
    const file = this.#disk.nextFile()
    this.#open.set(file, { node, path, isWritable: mode !== 'read' })
    return file
  }

  close(file: FileId): void {
    this.#call('close')
    assert(this.#open.delete(file), 'closing a file that is not open')
  }

  size(file: FileId): number {
    this.#call('size')
    return this.#file(file).node.size
  }

  modifiedMs(file: FileId): number {
    this.#call('modifiedMs')
    return this.#file(file).node.modifiedMs
  }

  truncate(file: FileId, bytes: number): void {
    const { node, path, isWritable } = this.#file(file)
    assert(isWritable && bytes >= 0)
    this.#change('truncate', `${path} to ${bytes}`)
    this.#disk.freeBytes += Math.max(0, node.size - bytes)
    node.truncate(bytes)
    node.modifiedMs = this.#disk.nowMs()
    this.#disk.note(bytes)
  }

  read(file: FileId, position: number, into: ByteRange): number {
    this.#call('read')
    return readNode(this.#file(file).node, position, into)
  }

  startRead(file: FileId, position: number, into: ByteRange, token: number): boolean {
    this.#call('startRead')
    const { node } = this.#file(file)
    if (!this.#disk.random.chance(this.#disk.plan.readLaterChance)) return false
    this.#reads.push({ node, position, into, token })
    return true
  }

  /** Late, in any order, now and then short or failed; the bytes are those of the last moment. */
  drainReads(handler: (token: number, count: number) => void): number {
    this.#call('drainReads')
    const { random } = this.#disk
    const done = this.#reads.filter(() => random.chance(0.3))
    this.#reads = this.#reads.filter((read) => !done.includes(read))
    if (random.chance(0.5)) done.reverse()
    for (const { node, position, into, token } of done) {
      const isWhole = !random.chance(0.05)
      const length = isWhole ? into.length : random.below(into.length)
      if (!isWhole) this.#disk.count('short reads')
      const count = random.chance(0.02) ? -5 : readNode(node, position, { ...into, length })
      this.#disk.count('reads off the thread')
      handler(token, count)
    }
    return done.length
  }

  write(file: FileId, position: number, source: GatherSource): number {
    const { node, path, isWritable } = this.#file(file)
    assert(isWritable && source.count >= 1)
    const disk = this.#disk
    const bytes = gather(source)
    assert(bytes.length > 0, 'a write of nothing')
    let count = bytes.length
    if (disk.random.chance(disk.plan.shortWriteChance)) {
      count = disk.random.between(1, count)
      if (count < bytes.length) disk.count('short writes')
    }
    const growth = position + count - node.size
    if (growth > disk.freeBytes) {
      count -= growth - disk.freeBytes
      if (count <= 0) {
        disk.count('ENOSPC')
        throw fault('ENOSPC', `write ${path}`)
      }
    }
    disk.freeBytes -= Math.max(0, position + count - node.size)
    // Dying inside the call, some of it is written.
    if (this.#isLastCall()) node.write(position, bytes.subarray(0, disk.random.below(count)))
    this.#change('write', `${path} [${position}, ${position + count})`)
    disk.note(position, count)
    node.write(position, bytes.subarray(0, count))
    node.modifiedMs = disk.nowMs()
    if (disk.random.chance(disk.plan.writebackChance)) node.writeBack(disk.random)
    return count
  }

  flush(file: FileId, token: number): void {
    const open = this.#file(file)
    this.#change('flush', open.path)
    this.#flushes.push({ file: open, token, flight: open.node.startFlight() })
  }

  drainFlushes(handler: (token: number, error: Error | null) => void): number {
    this.#call('drainFlushes')
    if (this.#flushes.length === 0) return 0
    const disk = this.#disk
    this.#polls++
    const isLate = this.#polls >= POLLS_MAX
    const done: { token: number; error: Error | null }[] = []
    this.#flushes = this.#flushes.filter(({ file, token, flight }) => {
      if (!isLate && !disk.random.chance(disk.plan.flushDoneChance)) return true
      if (this.#fails()) {
        file.node.drop(flight, disk.random)
        disk.failedPaths.add(file.path)
        done.push({ token, error: fault('EIO', `flush ${file.path}`) })
      } else {
        file.node.land(flight)
        done.push({ token, error: null })
      }
      return false
    })
    if (this.#flushes.length === 0) this.#polls = 0
    for (const { token, error } of done) handler(token, error)
    return done.length
  }

  flushNow(file: FileId): void {
    const { node, path } = this.#file(file)
    this.#change('flushNow', path)
    if (this.#fails()) {
      node.drop(node.startFlight(), this.#disk.random)
      this.#disk.failedPaths.add(path)
      throw fault('EIO', `flush ${path}`)
    }
    node.flushNow()
  }

  startWriteback(file: FileId): boolean {
    this.#file(file).node.writeBack(this.#disk.random)
    return true
  }

  dropCached(file: FileId): void {
    this.#file(file).node.evictLost()
  }

  preallocate(): void {}

  #file(file: FileId): OpenFile {
    if (this.#isDead) throw new SimCrash()
    const open = this.#open.get(file)
    assert(open !== undefined, `file ${file} is not open`)
    return open
  }

  #call(kind: string): void {
    if (this.#isDead) throw new SimCrash()
    this.#disk.note(kind.charCodeAt(0), kind.length)
  }

  /** A call that changes the disk: the process may die in it. */
  #change(kind: string, path: string): void {
    this.#call(kind)
    journal(() => `    ${kind} ${path}`)
    this.#disk.crashIn--
    if (this.#disk.crashIn > 0) return
    this.#disk.count('crashes inside a call')
    this.#isDead = true
    throw new SimCrash()
  }

  #isLastCall(): boolean {
    return this.#disk.crashIn <= 1
  }

  /** Room for a new name. */
  #spend(bytes: number, action: string): void {
    if (this.#disk.freeBytes > bytes || this.#disk.random.chance(0.5)) return
    this.#disk.count('ENOSPC')
    throw fault('ENOSPC', action)
  }

  #fails(): boolean {
    if (!this.#disk.random.chance(this.#disk.flushFailChance)) return false
    this.#disk.count('failed flushes')
    return true
  }
}

function readNode(node: FileNode, position: number, into: ByteRange): number {
  assert(position >= 0 && into.length >= 0 && into.offset + into.length <= into.bytes.length)
  const count = Math.max(0, Math.min(into.length, node.size - position))
  into.bytes.set(node.content.subarray(position, position + count), into.offset)
  return count
}

function gather(source: GatherSource): Uint8Array {
  let total = 0
  for (let i = 0; i < source.count; i++) total += source.ranges[2 * i + 1] as number
  const bytes = new Uint8Array(total)
  let at = 0
  for (let i = 0; i < source.count; i++) {
    const from = source.ranges[2 * i] as number
    const length = source.ranges[2 * i + 1] as number
    assert(from >= 0 && length >= 0 && from + length <= source.bytes.length)
    bytes.set(source.bytes.subarray(from, from + length), at)
    at += length
  }
  return bytes
}
