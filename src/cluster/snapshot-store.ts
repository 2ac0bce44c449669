/**
 * The snapshots of a replica of the quorum as files of one directory, named as Kafka names them:
 * `<end offset, 20 digits>-<epoch, 10 digits>.checkpoint`. What is being written or received has
 * `.part` behind its name and is removed by the next start; it gets its name once it is durable.
 */
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { assert } from '../base/assert.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { SnapshotId } from '../raft/messages.ts'
import { renameDurably } from './durable-file.ts'
import { attempt, SnapshotWriter } from './snapshot-file.ts'

const NAME = /^(\d{20})-(\d{10})\.checkpoint$/
const PART = '.part'
/** Of one that is being taken: where it ends is not known before. */
const TAKEN = `taken.checkpoint${PART}`
/** Of one that is no whole snapshot; left for whoever wants to know why. */
const DAMAGED = '.damaged'
/** Of what is sent in one message: small enough for `snapshotRetryMs`. */
const PART_BYTES = 512 * 1024

export class SnapshotStore {
  readonly #directory: string
  #receiving: { readonly id: SnapshotId; readonly file: FileHandle; position: number } | null = null

  private constructor(directory: string) {
    this.#directory = directory
  }

  /** Throws BrokerError, as all the others do. */
  static async open(directory: string): Promise<SnapshotStore> {
    await attempt(directory, 'use', async () => {
      await mkdir(directory, { recursive: true })
      for (const name of await readdir(directory)) {
        if (name.endsWith(PART)) await rm(join(directory, name), { force: true })
      }
    })
    return new SnapshotStore(directory)
  }

  /** The newest first. */
  async list(): Promise<SnapshotId[]> {
    const names = await attempt(this.#directory, 'read', () => readdir(this.#directory))
    const ids: SnapshotId[] = []
    for (const name of names.sort().reverse()) {
      const match = NAME.exec(name)
      if (match !== null) ids.push({ endOffset: Number(match[1]), epoch: Number(match[2]) })
    }
    return ids
  }

  pathOf({ endOffset, epoch }: SnapshotId): string {
    const name = `${String(endOffset).padStart(20, '0')}-${String(epoch).padStart(10, '0')}`
    return join(this.#directory, `${name}.checkpoint`)
  }

  // —— taking ——

  create(wallMs: number): Promise<SnapshotWriter> {
    return SnapshotWriter.create(join(this.#directory, TAKEN), wallMs)
  }

  /** What was written, and is durable, has its name from now on. */
  publishTaken(id: SnapshotId): Promise<void> {
    return this.#publish(join(this.#directory, TAKEN), id)
  }

  dropTaken(): Promise<void> {
    const path = join(this.#directory, TAKEN)
    return attempt(path, 'remove', () => rm(path, { force: true }))
  }

  // —— sending and receiving ——

  /** Throws BrokerError, SNAPSHOT_NOT_FOUND where it is gone. */
  async readPart(
    id: SnapshotId,
    position: number,
  ): Promise<{ readonly bytes: Uint8Array; readonly isLast: boolean }> {
    const path = this.pathOf(id)
    let file: FileHandle
    try {
      file = await open(path, 'r')
    } catch (error) {
      const isGone = (error as NodeJS.ErrnoException).code === 'ENOENT'
      const code = isGone ? ErrorCode.SNAPSHOT_NOT_FOUND : ErrorCode.KAFKA_STORAGE_ERROR
      throw new BrokerError(code, `open ${path}`, error)
    }
    try {
      return await attempt(path, 'read', async () => {
        const { size } = await file.stat()
        const length = Math.max(0, Math.min(PART_BYTES, size - position))
        const bytes = new Uint8Array(length)
        const { bytesRead } = await file.read(bytes, 0, length, position)
        if (bytesRead !== length) throw new Error(`it is shorter than ${position + length} bytes`)
        return { bytes, isLast: position + length === size }
      })
    } finally {
      await file.close().catch(() => undefined)
    }
  }

  /** Parts come in order; one at 0 begins anew. The last one makes all of them durable. */
  async storePart(
    id: SnapshotId,
    part: { readonly position: number; readonly bytes: Uint8Array; readonly isLast: boolean },
  ): Promise<void> {
    const path = this.receivedPath(id)
    if (part.position === 0) {
      await this.dropReceived()
      const file = await attempt(path, 'create', () => open(path, 'w'))
      this.#receiving = { id, file, position: 0 }
    }
    const receiving = this.#receiving
    assert(
      receiving !== null &&
        receiving.id.endOffset === id.endOffset &&
        receiving.position === part.position,
      'parts of a snapshot follow each other',
    )
    await attempt(path, 'write', () => receiving.file.writeFile(part.bytes))
    receiving.position += part.bytes.length
    if (!part.isLast) return
    await attempt(path, 'flush', () => receiving.file.sync())
    await receiving.file.close().catch(() => undefined)
    this.#receiving = null
  }

  /** Where it lies until it is published. */
  receivedPath(id: SnapshotId): string {
    return `${this.pathOf(id)}${PART}`
  }

  publishReceived(id: SnapshotId): Promise<void> {
    return this.#publish(this.receivedPath(id), id)
  }

  /** What has been received of a snapshot whose end did not come. */
  async dropReceived(): Promise<void> {
    const receiving = this.#receiving
    if (receiving === null) return
    this.#receiving = null
    await receiving.file.close().catch(() => undefined)
    const path = this.receivedPath(receiving.id)
    await attempt(path, 'remove', () => rm(path, { force: true }))
  }

  // —— keeping ——

  /** Removes all but the newest `count`. */
  async keepNewest(count: number): Promise<void> {
    for (const id of (await this.list()).slice(count)) {
      const path = this.pathOf(id)
      await attempt(path, 'remove', () => rm(path, { force: true }))
    }
  }

  /** It is not among the snapshots any more. */
  setAside(id: SnapshotId): Promise<void> {
    const path = this.pathOf(id)
    return attempt(path, 'rename', () => rename(path, `${path}${DAMAGED}`))
  }

  async #publish(from: string, id: SnapshotId): Promise<void> {
    const to = this.pathOf(id)
    await attempt(to, 'write', () => renameDurably(from, to))
  }
}
