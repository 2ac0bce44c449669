/**
 * A disk in memory that can misbehave: short writes, an error at the n-th operation, a failing
 * flush, and power loss. Content and names are kept twice, as the process sees them and as they are
 * durable; power loss keeps any mixture of the two that a disk may leave.
 */

import type { Random } from '../../../src/base/random.ts'
import { BrokerError } from '../../../src/errors/broker-error.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import type {
  ByteRange,
  FileId,
  Files,
  GatherSource,
  OpenMode,
} from '../../../src/storage/files.ts'

/** Power loss tears writes at this granularity. */
const SECTOR_BYTES = 16

interface Inode {
  content: Uint8Array
  durable: Uint8Array
  modifiedMs: number
}

interface NameChange {
  readonly directory: string
  readonly apply: (names: Map<string, Inode>) => void
}

export class MemoryFiles implements Files {
  #names = new Map<string, Inode>()
  #durableNames = new Map<string, Inode>()
  /** Changes of names that no sync of their directory covers yet, oldest first. */
  #changes: NameChange[] = []
  readonly #directories = new Set<string>(['/'])
  readonly #open = new Map<FileId, Inode>()
  readonly #finished: { token: number; error: Error | null }[] = []
  #nextFile = 1
  /** Bytes per write call, at most. */
  writeBytesMax = Number.POSITIVE_INFINITY
  /** Called before each operation that changes the disk; may throw through `fault`. */
  onOperation: (kind: string, path: string) => void = () => {}
  readonly counters = { writes: 0, reads: 0, flushes: 0, lists: 0, opens: 0 }

  get openFiles(): number {
    return this.#open.size
  }

  list(directory: string): string[] {
    this.counters.lists++
    const prefix = `${directory}/`
    return [...this.#names.keys()]
      .filter((path) => path.startsWith(prefix) && !path.slice(prefix.length).includes('/'))
      .map((path) => path.slice(prefix.length))
  }

  exists(path: string): boolean {
    return this.#names.has(path) || this.#directories.has(path)
  }

  makeDirectory(path: string): void {
    this.onOperation('makeDirectory', path)
    this.#directories.add(path)
  }

  remove(path: string): void {
    if (!this.#names.has(path)) return
    this.onOperation('remove', path)
    this.#change(directoryOf(path), (names) => names.delete(path))
  }

  removeDirectory(path: string): void {
    for (const name of this.list(path)) this.remove(`${path}/${name}`)
    this.#directories.delete(path)
  }

  rename(from: string, to: string): void {
    this.onOperation('rename', to)
    const inode = this.#names.get(from)
    if (inode === undefined) throw fault('ENOENT', `rename ${from}`)
    this.#change(directoryOf(to), (names) => {
      names.delete(from)
      names.set(to, inode)
    })
  }

  syncDirectory(path: string): void {
    this.onOperation('syncDirectory', path)
    const rest: NameChange[] = []
    for (const change of this.#changes) {
      if (change.directory === path) change.apply(this.#durableNames)
      else rest.push(change)
    }
    this.#changes = rest
  }

  open(path: string, mode: OpenMode): FileId {
    let inode = this.#names.get(path)
    if (inode === undefined) {
      if (mode !== 'create') throw fault('ENOENT', `open ${path}`)
      if (!this.#directories.has(directoryOf(path))) throw fault('ENOENT', `create ${path}`)
      this.onOperation('create', path)
      const created = newInode(new Uint8Array(0), this.nowMs)
      this.#change(directoryOf(path), (names) => names.set(path, created))
      inode = created
    }
    this.counters.opens++
    const file = this.#nextFile++
    this.#open.set(file, inode)
    return file
  }

  close(file: FileId): void {
    if (!this.#open.delete(file)) throw new Error(`file ${file} is not open`)
  }

  size(file: FileId): number {
    return this.#inode(file).content.length
  }

  /** What the disk's own clock says; files remember when they were last written. */
  nowMs = 0

  modifiedMs(file: FileId): number {
    return this.#inode(file).modifiedMs
  }

  truncate(file: FileId, bytes: number): void {
    const inode = this.#inode(file)
    inode.modifiedMs = this.nowMs
    this.onOperation('truncate', this.#pathOf(inode))
    const content = new Uint8Array(bytes)
    content.set(inode.content.subarray(0, bytes))
    inode.content = content
  }

  read(file: FileId, position: number, into: ByteRange): number {
    return this.#readInode(this.#inode(file), position, into)
  }

  #readInode({ content }: Inode, position: number, into: ByteRange): number {
    this.counters.reads++
    const count = Math.max(0, Math.min(into.length, content.length - position))
    into.bytes.set(content.subarray(position, position + count), into.offset)
    return count
  }

  write(file: FileId, position: number, source: GatherSource): number {
    const inode = this.#inode(file)
    inode.modifiedMs = this.nowMs
    this.counters.writes++
    this.onOperation('write', this.#pathOf(inode))
    const pieces: Uint8Array[] = []
    let room = this.writeBytesMax
    for (let i = 0; i < source.count && room > 0; i++) {
      const from = source.ranges[i * 2] as number
      const length = Math.min(source.ranges[i * 2 + 1] as number, room)
      pieces.push(source.bytes.subarray(from, from + length))
      room -= length
    }
    const count = pieces.reduce((sum, piece) => sum + piece.length, 0)
    if (inode.content.length < position + count) {
      const grown = new Uint8Array(position + count)
      grown.set(inode.content)
      inode.content = grown
    }
    let at = position
    for (const piece of pieces) {
      inode.content.set(piece, at)
      at += piece.length
    }
    return count
  }

  flush(file: FileId, token: number): void {
    let error: Error | null = null
    try {
      this.flushNow(file)
    } catch (failure) {
      error = failure as Error
    }
    this.#finished.push({ token, error })
  }

  /** Reads off the thread, when a test wants them: started ones wait for `drainReads`. */
  readsLater = false
  readonly #started: { read: () => number; token: number }[] = []

  startRead(file: FileId, position: number, into: ByteRange, token: number): boolean {
    if (!this.readsLater) return false
    const inode = this.#inode(file) // The file may be closed before the bytes are there.
    this.#started.push({ read: () => this.#readInode(inode, position, into), token })
    return true
  }

  drainReads(handler: (token: number, count: number) => void): number {
    const started = this.#started.splice(0)
    for (const { read, token } of started) handler(token, read())
    return started.length
  }

  drainFlushes(handler: (token: number, error: Error | null) => void): number {
    const finished = this.#finished.splice(0)
    for (const { token, error } of finished) handler(token, error)
    return finished.length
  }

  flushNow(file: FileId): void {
    const inode = this.#inode(file)
    this.counters.flushes++
    this.onOperation('flush', this.#pathOf(inode))
    inode.durable = inode.content.slice()
  }

  startWriteback(): boolean {
    return true
  }
  dropCached(): void {}

  preallocate(): void {}

  // —— what tests do to it ——

  /** The process dies; what it wrote stays. Open files are closed. */
  kill(): void {
    this.#open.clear()
    this.#finished.length = 0
    this.onOperation = () => {}
    this.writeBytesMax = Number.POSITIVE_INFINITY
  }

  /** The machine dies: names go back to some moment since their last sync, unflushed bytes tear. */
  losePower(random: Random): void {
    this.kill()
    const kept = new Map<string, number>()
    const seen = new Map<string, number>()
    for (const { directory } of this.#changes) {
      seen.set(directory, (seen.get(directory) ?? 0) + 1)
    }
    for (const [directory, count] of seen) kept.set(directory, random.between(0, count))
    for (const change of this.#changes) {
      const left = kept.get(change.directory) as number
      if (left === 0) continue
      kept.set(change.directory, left - 1)
      change.apply(this.#durableNames)
    }
    this.#changes = []
    this.#names = new Map(this.#durableNames)
    for (const inode of new Set(this.#names.values())) {
      inode.content = tear(inode, random)
      inode.durable = inode.content.slice()
    }
  }

  contentOf(path: string): Uint8Array {
    const inode = this.#names.get(path)
    if (inode === undefined) throw new Error(`${path} does not exist`)
    return inode.content.slice()
  }

  /** Replaces a file's content behind everybody's back, durably. */
  tamper(path: string, content: Uint8Array): void {
    let inode = this.#names.get(path)
    if (inode === undefined) {
      inode = newInode(content, this.nowMs)
      this.#directories.add(directoryOf(path))
      this.#names.set(path, inode)
      this.#durableNames.set(path, inode)
    }
    inode.content = content.slice()
    inode.durable = content.slice()
  }

  /** An independent disk with the same content, all of it durable. */
  clone(): MemoryFiles {
    const copy = new MemoryFiles()
    for (const directory of this.#directories) copy.#directories.add(directory)
    for (const [path, inode] of this.#names) copy.tamper(path, inode.content)
    return copy
  }

  paths(): string[] {
    return [...this.#names.keys()].sort()
  }

  #change(directory: string, apply: (names: Map<string, Inode>) => void): void {
    apply(this.#names)
    this.#changes.push({ directory, apply })
  }

  #inode(file: FileId): Inode {
    const inode = this.#open.get(file)
    if (inode === undefined) throw new Error(`file ${file} is not open`)
    return inode
  }

  #pathOf(inode: Inode): string {
    for (const [path, other] of this.#names) if (other === inode) return path
    return '(removed)'
  }
}

function newInode(content: Uint8Array, modifiedMs: number): Inode {
  return { content, durable: content, modifiedMs }
}

export function fault(code: string, action: string): BrokerError {
  const cause = Object.assign(new Error(code), { code })
  return new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, action, cause)
}

/** Any length between the durable and the written one, each sector old or new. */
function tear(inode: Inode, random: Random): Uint8Array {
  const { content, durable } = inode
  if (content.length === durable.length && content.every((byte, i) => byte === durable[i])) {
    return content
  }
  const shorter = Math.min(content.length, durable.length)
  const longer = Math.max(content.length, durable.length)
  const choice = random.below(3)
  const bytes =
    choice === 0 ? durable.length : choice === 1 ? content.length : random.between(shorter, longer)
  const torn = new Uint8Array(bytes)
  const keepsNew = random.pick([0, 0.1, 0.5, 0.9, 1])
  for (let at = 0; at < bytes; at += SECTOR_BYTES) {
    const source = random.chance(keepsNew) ? content : durable
    torn.set(source.subarray(at, Math.min(at + SECTOR_BYTES, bytes)), at)
  }
  return torn
}

function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}
