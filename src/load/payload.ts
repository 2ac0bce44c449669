/**
 * What events are made of: values of equal size from random bytes or from a file, keys from a set
 * of a given size. All of it is made before the run; an event costs two look-ups.
 */
import { randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'
import { Random } from '../base/random.ts'
import { recordBytesMax } from '../record/batch-writer.ts'
import type { LoadRecord } from './driver.ts'
import { LoadError } from './load-error.ts'

/** Of a file no more is read. */
const POOL_BYTES_MAX = 64 * 1024 * 1024
const RANDOM_POOL_BYTES = 4 * 1024 * 1024
const VALUES_MAX = 65_536

export interface PayloadOptions {
  readonly eventBytes: number
  /** Different keys; 0: events have none. */
  readonly keys: number
  /** Null: random bytes. */
  readonly file: string | null
  readonly seed: number
}

export class Payload {
  readonly #values: readonly Uint8Array[]
  readonly #keys: readonly Uint8Array[]
  readonly #random: Random
  #next = 0

  private constructor(values: readonly Uint8Array[], keys: readonly Uint8Array[], seed: number) {
    this.#values = values
    this.#keys = keys
    this.#random = new Random(seed)
  }

  /** Throws LoadError when the file cannot be read or is too small for one event. */
  static async load(options: PayloadOptions): Promise<Payload> {
    const { eventBytes, file, keys, seed } = options
    const pool = file === null ? randomPool(eventBytes) : await readStart(file)
    if (pool.length < eventBytes) {
      throw new LoadError(
        `${file} has ${pool.length} bytes: too few for one event of ${eventBytes} (--event-bytes)`,
      )
    }
    const count = eventBytes === 0 ? 1 : Math.min(VALUES_MAX, Math.floor(pool.length / eventBytes))
    const values = Array.from({ length: count }, (_, i) => {
      return pool.subarray(i * eventBytes, (i + 1) * eventBytes)
    })
    const names = Array.from({ length: keys }, (_, i) => Buffer.from(`key-${i}`))
    return new Payload(values, names, seed)
  }

  /** The next event: values one behind the other, round and round; a key by chance. */
  next(): LoadRecord {
    const value = this.#values[this.#next] as Uint8Array
    this.#next = (this.#next + 1) % this.#values.length
    const key = this.#keys.length === 0 ? null : (this.#random.pick(this.#keys) as Uint8Array)
    return { key, value }
  }

  /** As many events as fit a batch of `batchBytes` before compression; at least one. */
  fill(batchBytes: number, headerBytes: number): LoadRecord[] {
    const records: LoadRecord[] = []
    for (let bytes = headerBytes; ; ) {
      const record = this.next()
      bytes += recordBytesMax(record)
      if (records.length > 0 && bytes > batchBytes) return records
      records.push(record)
    }
  }
}

function randomPool(eventBytes: number): Uint8Array {
  return randomBytes(Math.max(eventBytes, Math.min(RANDOM_POOL_BYTES, eventBytes * VALUES_MAX)))
}

async function readStart(path: string): Promise<Uint8Array> {
  try {
    const file = await open(path)
    try {
      const { size } = await file.stat()
      const bytes = Buffer.alloc(Math.min(size, POOL_BYTES_MAX))
      let filled = 0
      while (filled < bytes.length) {
        const { bytesRead } = await file.read(bytes, filled, bytes.length - filled)
        if (bytesRead === 0) break
        filled += bytesRead
      }
      return bytes.subarray(0, filled)
    } finally {
      await file.close()
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new LoadError(`cannot read the payload file: ${reason}`, error)
  }
}
