/**
 * A reader over Kafka's protocol that knows one request: Fetch version 12 of one partition. The
 * bytes are looked at only as far as the next offset needs.
 */
import { connect, type Socket } from 'node:net'
import {
  ApiKey,
  decodeResponse,
  decodeResponseHeader,
  encodeRequest,
  Reader,
} from '../../src/wire/kafka/api.ts'

const VERSION = 12
const LENGTH_BYTES = 4
const BATCH_LENGTH = 8
const LAST_OFFSET_DELTA = 23
const BATCH_PREFIX_BYTES = 12

export interface Fetched {
  readonly bytes: number
  /** Behind the last whole batch. */
  readonly nextOffset: number
}

export class Fetcher {
  readonly #socket: Socket
  #chunks: Buffer[] = []
  #bytes = 0
  #resolve: ((frame: Buffer) => void) | null = null
  #reject: ((error: Error) => void) | null = null

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('close', () => this.#reject?.(new Error('the broker closed the connection')))
    socket.on('error', (error) => this.#reject?.(error))
  }

  static open(port: number): Promise<Fetcher> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => resolve(new Fetcher(socket)))
    })
  }

  async fetch(topic: string, at: { partition: number; offset: number; bytesMax: number }) {
    const frame = await this.#exchange(topic, at)
    const reader = new Reader(frame)
    decodeResponseHeader(ApiKey.FETCH, VERSION, reader)
    const part = decodeResponse(ApiKey.FETCH, VERSION, reader).responses[0]?.partitions[0]
    if (part === undefined || part.errorCode !== 0) throw new Error(`error ${part?.errorCode}`)
    let nextOffset = at.offset
    const { offset, length } = part.records ?? { offset: 0, length: 0 }
    for (let batch = offset; batch < offset + length; ) {
      nextOffset =
        Number(frame.readBigInt64BE(batch)) + frame.readInt32BE(batch + LAST_OFFSET_DELTA) + 1
      batch += frame.readInt32BE(batch + BATCH_LENGTH) + BATCH_PREFIX_BYTES
    }
    return { bytes: length, nextOffset } satisfies Fetched
  }

  close(): void {
    this.#socket.destroy()
  }

  #exchange(
    topic: string,
    { partition, offset, bytesMax }: { partition: number; offset: number; bytesMax: number },
  ): Promise<Buffer> {
    const header = { correlationId: 1, clientId: 'fetcher' }
    const chunks = encodeRequest(ApiKey.FETCH, VERSION, header, {
      maxWaitMs: 100,
      minBytes: 1,
      maxBytes: bytesMax,
      topics: [
        { topic, partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: bytesMax }] },
      ],
    })
    this.#socket.write(Buffer.concat(chunks))
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  #onData(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    const first = this.#chunks[0] as Buffer
    if (first.length < LENGTH_BYTES || this.#bytes < first.readInt32BE(0) + LENGTH_BYTES) return
    const frame = Buffer.concat(this.#chunks)
    this.#chunks = []
    this.#bytes = 0
    this.#resolve?.(frame.subarray(LENGTH_BYTES))
  }
}
