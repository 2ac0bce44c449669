/**
 * A snapshot as a file: record batches, as in the log, whose offsets count from 0.
 *
 *   control batch   header (KIP-630)
 *   batches         values of records, of which nothing is known here
 *   control batch   the voters
 *   control batch   footer: what the snapshot takes the place of, and how long the file is up to it
 *
 * The voters come last because they are those of the end offset, which is known last. Every batch
 * has a checksum, offsets have no gap, and only a whole file ends with a footer that fits: torn and
 * damaged ones are recognised. Whoever reads or writes lets others run meanwhile.
 */
import { type FileHandle, open } from 'node:fs/promises'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { SnapshotId } from '../raft/messages.ts'
import type { ReplicaKey } from '../raft/replica-key.ts'
import { decodeBatchSync, decodeHeader } from '../record/batch.ts'
import { BatchBuilder } from '../record/batch-builder.ts'
import { BATCH_LENGTH, LENGTH_PREFIX_BYTES } from '../record/batch-layout.ts'
import {
  type SnapshotFooter,
  snapshotEnd,
  snapshotFooterEntry,
  snapshotHeaderEntry,
  votersEntry,
} from './quorum-entries.ts'

/** Of the values in a batch: small, since a batch is made and read in one go. */
const BATCH_BYTES = 128 * 1024
const READ_BYTES = 1024 * 1024
const BATCH_BYTES_MAX = 64 * 1024 * 1024
const EPOCH = 0

export class SnapshotWriter {
  readonly #file: FileHandle
  readonly #path: string
  readonly #wallMs: number
  #builder = new BatchBuilder(BATCH_BYTES)
  #builderBytes = 0
  #builderRecords = 0
  #offset = 0
  #queue: Uint8Array[] = []
  #bytes = 0

  private constructor(path: string, file: FileHandle, wallMs: number) {
    this.#path = path
    this.#file = file
    this.#wallMs = wallMs
    const header = snapshotHeaderEntry({ epoch: EPOCH, baseOffset: 0 }, wallMs)
    this.#queue.push(header.bytes)
    this.#offset = header.endOffset
  }

  /** Throws BrokerError, as the other methods do. */
  static async create(path: string, wallMs: number): Promise<SnapshotWriter> {
    return new SnapshotWriter(path, await attempt(path, 'create', () => open(path, 'w')), wallMs)
  }

  /** Takes a value; whether enough wait for `drain`. */
  add(value: Uint8Array): boolean {
    this.#builder.append(this.#wallMs, null, value)
    this.#builderRecords++
    this.#builderBytes += value.length
    if (this.#builderBytes >= BATCH_BYTES) this.#closeBatch()
    return this.#queue.length > 0
  }

  /** Writes what was taken, but for the batch that is not full. */
  async drain(): Promise<void> {
    const chunks = this.#queue
    this.#queue = []
    await attempt(this.#path, 'write', async () => {
      for (const chunk of chunks) {
        await this.#file.writeFile(chunk)
        this.#bytes += chunk.length
      }
    })
  }

  /** The file is whole, durable and closed. Returns its length. */
  async finish(snapshot: SnapshotId, voters: readonly ReplicaKey[]): Promise<number> {
    this.#closeBatch()
    const place = { epoch: EPOCH, baseOffset: this.#offset }
    const entry = votersEntry(place, voters, this.#wallMs)
    this.#queue.push(entry.bytes)
    await this.drain()
    const footer = { ...snapshot, bytes: this.#bytes }
    const at = { epoch: EPOCH, baseOffset: entry.endOffset }
    this.#queue.push(snapshotFooterEntry(at, footer, this.#wallMs).bytes)
    await this.drain()
    await attempt(this.#path, 'flush', () => this.#file.sync())
    await this.close()
    return this.#bytes
  }

  async close(): Promise<void> {
    await this.#file.close().catch(() => undefined)
  }

  #closeBatch(): void {
    if (this.#builderRecords === 0) return
    this.#queue.push(this.#builder.buildSync({ baseOffset: this.#offset, leaderEpoch: EPOCH }))
    this.#offset += this.#builderRecords
    this.#builderRecords = 0
    this.#builderBytes = 0
    this.#builder = new BatchBuilder(BATCH_BYTES)
  }
}

export interface ReadSnapshot {
  readonly voters: readonly ReplicaKey[]
  /** Of the file. */
  readonly bytes: number
}

/**
 * Hands out the values of the snapshot that the file at `path` is to hold; `breathe` is waited for
 * between them. Throws BrokerError where the file cannot be read, is not whole, or is another one,
 * and what `onValue` throws.
 */
export async function readSnapshotFile(
  path: string,
  snapshot: SnapshotId,
  reading: {
    readonly onValue: (value: Uint8Array) => void
    readonly breathe: () => Promise<void> | null
  },
): Promise<ReadSnapshot> {
  const file = await attempt(path, 'open', () => open(path, 'r'))
  let position = 0
  let offset = 0
  let voters: readonly ReplicaKey[] | null = null
  let footer: SnapshotFooter | null = null
  try {
    for await (const batch of batchesOf(file, path)) {
      if (footer !== null) throw damaged(path, 'something follows its footer')
      const header = check(path, () => decodeHeader(batch, 0))
      if (header.baseOffset !== offset) throw damaged(path, `offset ${offset} is missing`)
      offset += header.lastOffsetDelta + 1
      if (header.isControl) {
        const end = check(path, () => snapshotEnd(batch))
        voters = end.voters ?? voters
        footer = end.footer
        if (footer !== null && footer.bytes !== position) throw damaged(path, 'a part is missing')
      } else {
        const options = { recordsBytesMax: BATCH_BYTES_MAX, verifyCrc: false }
        for (const { value } of check(path, () => decodeBatchSync(batch, 0, options))) {
          if (value === null) throw damaged(path, 'a record has no value')
          reading.onValue(value)
          const pause = reading.breathe()
          if (pause !== null) await pause
        }
      }
      position += batch.length
    }
  } finally {
    await file.close().catch(() => undefined)
  }
  if (footer === null || voters === null) throw damaged(path, 'its end is missing')
  if (footer.endOffset !== snapshot.endOffset || footer.epoch !== snapshot.epoch) {
    throw damaged(path, 'it is that of another place of the log')
  }
  return { voters, bytes: position }
}

/** Whole batches, one after the other; each is valid until the next one. */
async function* batchesOf(file: FileHandle, path: string): AsyncGenerator<Uint8Array> {
  let buffer = Buffer.allocUnsafeSlow(READ_BYTES)
  let from = 0
  let to = 0
  for (;;) {
    const left = to - from
    let wanted = LENGTH_PREFIX_BYTES
    if (left >= LENGTH_PREFIX_BYTES) {
      wanted = buffer.readInt32BE(from + BATCH_LENGTH) + LENGTH_PREFIX_BYTES
      if (wanted <= LENGTH_PREFIX_BYTES || wanted > BATCH_BYTES_MAX) {
        throw damaged(path, `a batch has ${wanted} bytes`)
      }
      if (left >= wanted) {
        yield buffer.subarray(from, from + wanted)
        from += wanted
        continue
      }
    }
    const next = wanted > buffer.length ? Buffer.allocUnsafeSlow(wanted + READ_BYTES) : buffer
    buffer.copy(next, 0, from, to)
    buffer = next
    from = 0
    to = left
    const { bytesRead } = await attempt(path, 'read', () =>
      file.read(buffer, to, buffer.length - to, null),
    )
    if (bytesRead === 0) {
      if (left === 0) return
      throw damaged(path, 'it ends within a batch')
    }
    to += bytesRead
  }
}

function check<T>(path: string, run: () => T): T {
  try {
    return run()
  } catch (error) {
    throw damaged(path, error instanceof Error ? error.message : String(error))
  }
}

function damaged(path: string, why: string): BrokerError {
  return new BrokerError(ErrorCode.CORRUPT_MESSAGE, `use ${path}: it is no whole snapshot: ${why}`)
}

export async function attempt<T>(path: string, what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, `${what} ${path}`, error)
  }
}
