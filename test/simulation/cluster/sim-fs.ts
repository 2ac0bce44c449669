/**
 * `node:fs` of a simulated host, as far as the shells use it: small files beside the logs, on the
 * same simulated disk. What is asynchronous takes a moment; what the process does not live to see
 * never answers.
 */
import { BrokerError } from '../../../src/errors/broker-error.ts'
import type { FileId } from '../../../src/storage/files.ts'
import { SimCrash, type SimDisk } from '../sim-disk.ts'
import { SimFiles } from '../sim-files.ts'

export interface FilesOwner {
  readonly disk: SimDisk
  /** Resolves in a moment, if the process is still there. */
  pause(): Promise<void>
  bootId(): string
  /** It died in the middle of a call. */
  onCrash(): void
}

const FLAG = { create: 'w', read: 'r' } as const
/** Small, so that what is reserved of it is. */
const DISK_BLOCKS = 4096
const BLOCK_BYTES = 512

/** Larger than the system's. */
export const FIRST_DESCRIPTOR = 1_000_000_000

export class HostFiles {
  /** For main, of one process. */
  readonly files: SimFiles
  readonly #owner: FilesOwner
  /** Descriptors of directories, which the disk has no files for. */
  readonly #directories = new Map<number, string>()
  readonly #opened = new Map<number, FileId>()
  #nextDescriptor = FIRST_DESCRIPTOR

  constructor(owner: FilesOwner) {
    this.#owner = owner
    this.files = new SimFiles(owner.disk)
  }

  // —— at once ——

  exists(path: string): boolean {
    return this.#try(() => this.files.exists(path))
  }

  readText(path: string): string {
    if (path.endsWith('boot_id')) return `${this.#owner.bootId()}\n`
    if (path.startsWith('/proc/')) return ''
    return this.#try(() => Buffer.from(this.#readAll(path)).toString('utf8'))
  }

  writeText(path: string, text: string): null {
    this.#try(() => {
      const file = this.files.open(path, 'create')
      try {
        this.files.truncate(file, 0)
        this.#write(file, 0, Buffer.from(text))
        this.files.flushNow(file)
      } finally {
        this.files.close(file)
      }
    })
    return null
  }

  remove(path: string): null {
    this.#try(() => this.files.remove(path))
    return null
  }

  statfs(): object {
    return {
      bsize: BLOCK_BYTES,
      blocks: DISK_BLOCKS,
      bfree: DISK_BLOCKS,
      bavail: this.#owner.disk.freeBytes < 4096 ? 0 : DISK_BLOCKS,
    }
  }

  openSync(path: string): number {
    const descriptor = this.#nextDescriptor++
    this.#try(() => {
      if (this.#owner.disk.directory(path) !== null) this.#directories.set(descriptor, path)
      else this.#opened.set(descriptor, this.files.open(path, 'create'))
    })
    return descriptor
  }

  closeSync(descriptor: number): null {
    const file = this.#opened.get(descriptor)
    this.#opened.delete(descriptor)
    this.#directories.delete(descriptor)
    if (file !== undefined) this.#try(() => this.files.close(file))
    return null
  }

  fsyncSync(descriptor: number): null {
    this.#try(() => {
      const path = this.#directories.get(descriptor)
      if (path !== undefined) this.files.syncDirectory(path)
      else this.files.flushNow(this.#opened.get(descriptor) as FileId)
    })
    return null
  }

  writeSync(descriptor: number, text: string): number {
    const bytes = Buffer.from(text)
    this.#try(() => this.#write(this.#opened.get(descriptor) as FileId, 0, bytes))
    return bytes.length
  }

  // —— with promises ——

  readonly later = {
    open: async (path: string, flag: 'r' | 'w'): Promise<SimHandle> => {
      await this.#owner.pause()
      return this.#settle(() => {
        if (this.#owner.disk.directory(path) !== null) return new SimHandle(this, path, null)
        const file = this.files.open(path, flag === FLAG.read ? 'read' : 'create')
        if (flag === FLAG.create) this.files.truncate(file, 0)
        return new SimHandle(this, path, file)
      })
    },
    readFile: async (path: string): Promise<string> => {
      await this.#owner.pause()
      return this.#settle(() => Buffer.from(this.#readAll(path)).toString('utf8'))
    },
    rename: async (from: string, to: string): Promise<void> => {
      await this.#owner.pause()
      return this.#settle(() => this.files.rename(from, to))
    },
    mkdir: async (path: string): Promise<void> => {
      await this.#owner.pause()
      return this.#settle(() => this.files.makeDirectory(path))
    },
    readdir: async (path: string): Promise<string[]> => {
      await this.#owner.pause()
      return this.#settle(() => this.files.list(path))
    },
    rm: async (path: string): Promise<void> => {
      await this.#owner.pause()
      return this.#settle(() => this.files.remove(path))
    },
  }

  // —— for handles ——

  async onFile<T>(run: (files: SimFiles) => T): Promise<T> {
    await this.#owner.pause()
    return this.#settle(() => run(this.files))
  }

  write(file: FileId, position: number, bytes: Uint8Array): void {
    this.#write(file, position, bytes)
  }

  // —— inside ——

  #readAll(path: string): Uint8Array {
    const file = this.files.open(path, 'read')
    try {
      const bytes = new Uint8Array(this.files.size(file))
      this.files.read(file, 0, { bytes, offset: 0, length: bytes.length })
      return bytes
    } finally {
      this.files.close(file)
    }
  }

  /** Writes all of it, as Node does. */
  #write(file: FileId, position: number, bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.length) {
      const ranges = [at, bytes.length - at]
      at += this.files.write(file, position + at, { bytes, ranges, count: 1 } as never)
    }
  }

  #settle<T>(run: () => T): T | Promise<T> {
    try {
      return this.#try(run)
    } catch (error) {
      if (error instanceof SimCrash) return new Promise(() => undefined)
      throw error
    }
  }

  /** What Node would throw. */
  #try<T>(run: () => T): T {
    try {
      return run()
    } catch (error) {
      if (error instanceof SimCrash) this.#owner.onCrash()
      if (error instanceof BrokerError && error.cause !== undefined) throw error.cause
      throw error
    }
  }
}

/** A `FileHandle`; of a directory where `file` is null. */
class SimHandle {
  readonly #owner: HostFiles
  readonly #path: string
  readonly #file: FileId | null
  #position = 0

  constructor(owner: HostFiles, path: string, file: FileId | null) {
    this.#owner = owner
    this.#path = path
    this.#file = file
  }

  writeFile(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data
    return this.#owner.onFile(() => {
      this.#owner.write(this.#file as FileId, this.#position, bytes)
      this.#position += bytes.length
    })
  }

  sync(): Promise<void> {
    return this.#owner.onFile((files) => {
      if (this.#file === null) files.syncDirectory(this.#path)
      else files.flushNow(this.#file)
    })
  }

  stat(): Promise<{ size: number }> {
    return this.#owner.onFile((files) => ({ size: files.size(this.#file as FileId) }))
  }

  read(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ bytesRead: number }> {
    return this.#owner.onFile((files) => {
      const at = position ?? this.#position
      const bytesRead = files.read(this.#file as FileId, at, { bytes, offset, length })
      if (position === null) this.#position += bytesRead
      return { bytesRead }
    })
  }

  close(): Promise<void> {
    return this.#owner.onFile((files) => {
      if (this.#file !== null) files.close(this.#file)
    })
  }
}
