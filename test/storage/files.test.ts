import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { loadNative } from '../../src/base/native.ts'
import { Random } from '../../src/base/random.ts'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { FileId, Files, OpenMode } from '../../src/storage/files.ts'
import { NativeFiles } from '../../src/storage/native-files.ts'
import { NodeFiles } from '../../src/storage/node-files.ts'
import { seed, seeded } from '../native/support.ts'

/** One disk under test, in a directory of its own. */
interface Disk {
  readonly name: string
  readonly files: Files
  readonly directory: string
}

const root = mkdtempSync(join(tmpdir(), 'millrace-files-'))
after(() => rmSync(root, { recursive: true, force: true }))

const addon = loadNative()
const eventfd = addon === null ? -1 : addon.eventfdCreate()
const ring = addon === null ? null : addon.uringOpen(8, eventfd)
if (addon === null) console.error('WARNING: no addon: only the portable disk is tested')
else if (ring === null) console.error('WARNING: the kernel refuses io_uring: not tested')

let directories = 0

/** Every disk that runs here, each with a fresh directory below `base`. */
function disks(base = root): Disk[] {
  const made: Disk[] = []
  const add = (name: string, files: Files): void => {
    const directory = join(base, `${directories++}-${name}`)
    mkdirSync(directory)
    made.push({ name, files, directory })
  }
  add('node', new NodeFiles())
  if (addon !== null) add('native', new NativeFiles(addon))
  if (addon !== null && ring !== null) add('uring', new NativeFiles(addon, ring))
  return made
}

/** Drains until `count` flushes are reported; [token, errno name or ''] in token order. */
function drain(files: Files, count: number): [number, string][] {
  const reported: [number, string][] = []
  const deadline = Date.now() + 10_000
  while (reported.length < count) {
    files.drainFlushes((token, error) => reported.push([token, causeOf(error)]))
    assert(Date.now() < deadline, `only ${reported.length} of ${count} flushes came back`)
  }
  assert.equal(
    files.drainFlushes(() => {}),
    0,
  )
  return reported.sort((left, right) => left[0] - right[0])
}

function causeOf(error: Error | null): string {
  if (error === null) return ''
  assert(error instanceof BrokerError, String(error))
  assert.equal(error.code, ErrorCode.KAFKA_STORAGE_ERROR)
  return String((error.cause as NodeJS.ErrnoException).code)
}

/** The errno name of what `call` throws, or its value. */
function outcome(call: () => unknown): unknown {
  try {
    return call()
  } catch (error) {
    return causeOf(error as Error)
  }
}

/** A sequence of operations that is the same for every disk: drawn from its own generator. */
class Session {
  readonly #disk: Disk
  readonly #random: Random
  readonly #open: { file: FileId; mode: OpenMode }[] = []
  readonly #memory: Uint8Array
  #token = 0

  constructor(disk: Disk, random: Random) {
    this.#disk = disk
    this.#random = random
    this.#memory = new Uint8Array(new SharedArrayBuffer(1 << 16))
    for (let i = 0; i < this.#memory.length; i++) this.#memory[i] = random.u32()
  }

  /** One operation; what it answered, comparable between disks. */
  step(): unknown {
    const random = this.#random
    const { files } = this.#disk
    const choice = random.below(12)
    if (choice === 0 || this.#open.length === 0) return this.#openOne()
    const { file, mode } = random.pick(this.#open)
    const position = random.below(60_000)
    if (choice === 1) return this.#closeOne()
    if (choice === 2) return outcome(() => files.truncate(file, position))
    if (choice === 3) return files.size(file)
    if (choice <= 5) return this.#read(file, position)
    if (choice <= 8 && mode !== 'read') return this.#write(file, position)
    if (choice === 9) return this.#names()
    if (choice === 10) return this.#flush(file)
    files.startWriteback(file, position, random.below(10_000), random.below(2) === 0)
    files.dropCached(file, position, random.below(10_000))
    return files.preallocate(file, position)
  }

  closeAll(): void {
    for (const { file } of this.#open) this.#disk.files.close(file)
    this.#open.length = 0
  }

  #path(): string {
    return join(this.#disk.directory, `f${this.#random.below(4)}`)
  }

  #openOne(): unknown {
    const mode = this.#random.pick(['read', 'write', 'create', 'create'] as const)
    const path = this.#path()
    if (this.#open.length === 6) return 'enough'
    return outcome(() => {
      this.#open.push({ file: this.#disk.files.open(path, mode), mode })
      return mode
    })
  }

  #closeOne(): void {
    const [closed] = this.#open.splice(this.#random.below(this.#open.length), 1)
    this.#disk.files.close(closed!.file)
  }

  #read(file: FileId, position: number): unknown {
    const bytes = new Uint8Array(new SharedArrayBuffer(5_000)).fill(0xee)
    const offset = this.#random.below(2_000)
    const length = this.#random.below(3_000)
    const count = this.#disk.files.read(file, position, { bytes, offset, length })
    return [count, Buffer.from(bytes).toString('hex')]
  }

  /** Up to 1,500 pieces, so that one call is not always enough; whole, by looping. */
  #write(file: FileId, position: number): unknown {
    const random = this.#random
    const many = random.chance(0.1)
    const pieces: number[] = []
    let left = 0
    for (let i = 0, count = many ? 1_500 : random.between(1, 8); i < count; i++) {
      const length = random.between(1, many ? 30 : 2_000)
      pieces.push(random.below(this.#memory.length - length), length)
      left += length
    }
    const typed = random.chance(0.5) ? Int32Array.from(pieces) : pieces
    let at = position
    for (;;) {
      const ranges = skip(typed, at - position)
      const source = { bytes: this.#memory, ranges, count: ranges.length / 2 }
      const written = this.#disk.files.write(file, at, source)
      assert(written >= 1 && written <= left)
      at += written
      left -= written
      if (left === 0) return at
    }
  }

  #names(): unknown {
    const { files, directory } = this.#disk
    const [from, to] = [this.#path(), this.#path()]
    if (this.#random.chance(0.3)) files.remove(from)
    const renamed = outcome(() => files.rename(from, to))
    files.syncDirectory(directory)
    return [renamed, files.exists(from), files.list(directory).sort()]
  }

  #flush(file: FileId): unknown {
    const { files } = this.#disk
    if (this.#random.chance(0.3)) return files.flushNow(file)
    const count = this.#random.between(1, 20) // More than the ring takes.
    for (let i = 0; i < count; i++) files.flush(file, this.#token++)
    return drain(files, count)
  }
}

/** `ranges` without their first `bytes` bytes. */
function skip(ranges: ArrayLike<number>, bytes: number): ArrayLike<number> {
  const left: number[] = []
  let passed = 0
  for (let i = 0; i < ranges.length; i += 2) {
    const cut = Math.min(ranges[i + 1]!, Math.max(0, bytes - passed))
    if (cut < ranges[i + 1]!) left.push(ranges[i]! + cut, ranges[i + 1]! - cut)
    passed += ranges[i + 1]!
  }
  return ranges instanceof Int32Array ? Int32Array.from(left) : left
}

function contents(directory: string): [string, string][] {
  return readdirSync(directory)
    .sort()
    .map((name) => [name, readFileSync(join(directory, name)).toString('base64')])
}

test('disks answer alike and leave equal files after the same random operations', () => {
  for (let round = 0; round < 12; round++) {
    seeded('test/storage/files.test.ts', () => {
      const all = disks()
      const sessions = all.map((disk) => new Session(disk, new Random(seed + round)))
      for (let step = 0; step < 150; step++) {
        const [expected, ...others] = sessions.map((session) => session.step())
        for (const [i, other] of others.entries()) {
          assert.deepEqual(other, expected, `round ${round}, step ${step}, ${all[i + 1]!.name}`)
        }
      }
      for (const session of sessions) session.closeAll()
      const [expected, ...others] = all.map((disk) => contents(disk.directory))
      for (const other of others) assert.deepEqual(other, expected)
    })
  }
})

test('disks throw BrokerError with the cause when the world fails', () => {
  for (const { name, files, directory } of disks()) {
    const bytes = new Uint8Array(10)
    const source = { bytes, ranges: Int32Array.of(0, 5, 5, 5), count: 2 }
    const path = join(directory, 'file')
    assert.equal(
      outcome(() => files.open(path, 'write')),
      'ENOENT',
      name,
    )
    files.close(files.open(path, 'create'))
    const readOnly = files.open(path, 'read')
    assert.equal(
      outcome(() => files.write(readOnly, 0, source)),
      'EBADF',
      name,
    )
    assert.throws(() => files.write(readOnly, 0, source), { message: new RegExp(path) }, name)
    files.close(readOnly)
    const full = files.open('/dev/full', 'write')
    assert.equal(
      outcome(() => files.write(full, 0, source)),
      'ENOSPC',
      name,
    )
    files.close(full)
    assert.equal(
      outcome(() => files.list(path)),
      'ENOTDIR',
      name,
    )
  }
})

test('disks report a failed flush once, through drainFlushes', () => {
  for (const { name, files } of disks()) {
    const unsyncable = files.open('/dev/null', 'write')
    files.flush(unsyncable, -7)
    assert.deepEqual(drain(files, 1), [[-7, 'EINVAL']], name)
    assert.equal(
      outcome(() => files.flushNow(unsyncable)),
      'EINVAL',
      name,
    )
    files.close(unsyncable)
  }
})

test('drainFlushes reports a flush of a closed file, and one started by its own handler', () => {
  for (const { name, files, directory } of disks()) {
    const file = files.open(join(directory, 'file'), 'create')
    const other = files.open(join(directory, 'other'), 'create')
    files.flush(file, 1)
    files.close(file)
    const tokens: number[] = []
    const deadline = Date.now() + 10_000
    while (tokens.length < 2 && Date.now() < deadline) {
      files.drainFlushes((token, error) => {
        assert.equal(error, null)
        tokens.push(token)
        if (token === 1) files.flush(other, 2)
      })
    }
    assert.deepEqual(tokens, [1, 2], name)
    files.close(other)
  }
})

test('disks throw no BrokerError for arguments that only a bug can make', () => {
  const isBug = (error: unknown): boolean => !(error instanceof BrokerError)
  for (const { name, files, directory } of disks()) {
    const file = files.open(join(directory, 'file'), 'create')
    const bytes = new Uint8Array(10)
    for (const ranges of [
      [0, 11],
      [10, 1],
      [-1, 2],
    ]) {
      assert.throws(() => files.write(file, 0, { bytes, ranges, count: 1 }), isBug, name)
      const typed = Int32Array.from([0, 1, ...ranges])
      assert.throws(() => files.write(file, 0, { bytes, ranges: typed, count: 2 }), isBug, name)
    }
    assert.throws(() => files.write(file, 0, { bytes, ranges: [0, 1], count: 2 }), isBug, name)
    assert.throws(() => files.write(file, 0, { bytes, ranges: [0, 1], count: 0 }), isBug, name)
    assert.throws(() => files.read(file, 0, { bytes, offset: 5, length: 6 }), isBug, name)
    assert.throws(() => files.flush(file, 2 ** 31), isBug, name)
    assert.equal(files.size(file), 0, name)
    files.close(file)
    assert.throws(() => files.close(file), isBug, name)
  }
})

test('preallocate reserves space without changing the size or the bytes', () => {
  for (const { name, files, directory } of disks()) {
    const file = files.open(join(directory, 'file'), 'create')
    files.preallocate(file, 1 << 20)
    assert.equal(files.size(file), 0, name)
    const bytes = new Uint8Array([1, 2, 3])
    assert.equal(files.write(file, 5, { bytes, ranges: [0, 3], count: 1 }), 3, name)
    files.close(file)
    assert.deepEqual([...readFileSync(join(directory, 'file'))], [0, 0, 0, 0, 0, 1, 2, 3], name)
  }
})

test('directories are made with parents and removed whole, twice without complaint', () => {
  for (const { files, directory } of disks()) {
    const deep = join(directory, 'a', 'b')
    files.makeDirectory(deep)
    files.makeDirectory(deep)
    files.close(files.open(join(deep, 'file'), 'create'))
    files.removeDirectory(join(directory, 'a'))
    files.removeDirectory(join(directory, 'a'))
    assert.deepEqual(files.list(deep), [])
    files.remove(join(directory, 'nothing'))
  }
})

test('write is short, then ENOSPC, when the file system fills up', (t) => {
  const mount = mkdtempSync(join(tmpdir(), 'millrace-full-'))
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=192k', 'tmpfs', mount])
  if (mounted.status !== 0) {
    console.error('WARNING: mounting a tmpfs is not allowed here: a full disk is not tested')
    rmSync(mount, { recursive: true })
    return t.skip('no permission to mount a tmpfs')
  }
  try {
    for (const { name, files, directory } of disks(mount)) {
      const file = files.open(join(directory, 'file'), 'create')
      const bytes = new Uint8Array(1 << 18).fill(7)
      const half = bytes.length / 2
      const source = { bytes, ranges: [0, half, half, half], count: 2 }
      const written = files.write(file, 0, source)
      assert(written > 0 && written < bytes.length, `${name} wrote ${written}`)
      const more = outcome(() => files.write(file, written, { bytes, ranges: [0, 1e5], count: 1 }))
      assert.equal(more, 'ENOSPC', name)
      assert.equal(files.size(file), written, name)
      files.close(file)
      files.removeDirectory(directory)
    }
  } finally {
    spawnSync('umount', [mount])
    rmSync(mount, { recursive: true, force: true })
  }
})
