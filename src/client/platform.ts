/**
 * What the library needs of the world, as arguments: sockets, time, chance, checksum, compression,
 * somebody who listens to events. `platform-node.ts` and `platform-browser.ts` are the two real
 * ones, tests have a third with a clock of its own. Nothing else in this folder names a platform.
 */
import type { Clock } from '../base/clock.ts'
import type { Crc32c } from '../record/batch-header.ts'
import type { CompressionCode } from '../record/compression-code.ts'

/** An open or opening WebSocket. */
export interface ClientSocket {
  /** Sends one binary message, `pieces` one behind the other. They may be changed afterwards. */
  send(pieces: readonly Uint8Array[]): void
  /** Begins to close; `closed` follows, unless it has been called already. */
  close(code: number, reason: string): void
}

export interface SocketEvents {
  opened(): void
  /** A binary message in memory that nobody else uses; null: a text message. */
  message(bytes: Uint8Array | null): void
  /** Exactly once, also when it never opened. Nothing follows. */
  closed(code: number, reason: string): void
}

/** Begins to connect. Throws SyntaxError for a URL that is none; reports all else by events. */
export type SocketFactory = (url: string, protocol: string, events: SocketEvents) => ClientSocket

export interface Timers extends Clock {
  /** Calls back once, after `delayMs` at least; the result takes it back. */
  after(delayMs: number, callback: () => void): () => void
}

/** A channel of `node:diagnostics_channel`, as much as is used of it. */
export interface EventChannel {
  readonly hasSubscribers: boolean
  publish(message: unknown): void
}

export interface ClientEvents {
  /** `{ url, clientId, server, node, cluster }` */
  readonly connect: EventChannel
  /** `{ url, clientId, error }`: it was lost, or did not open. */
  readonly disconnect: EventChannel
  /** A produce request was answered: `{ partitions, bytes, durationMs, failed }`. */
  readonly produce: EventChannel
  /** `{ error }`: what the library works around, and nobody else is told. */
  readonly error: EventChannel
}

export interface Platform {
  readonly openSocket: SocketFactory
  readonly timers: Timers
  /** In [0, 1): jitter and the choice of a first partition. */
  random(): number
  readonly crc32c: Crc32c
  /** May throw MillraceError: UNSUPPORTED_COMPRESSION_TYPE. */
  compress(code: CompressionCode, bytes: Uint8Array): Uint8Array | Promise<Uint8Array>
  /** May throw RecordError; `bytesMax` is inclusive. */
  decompress(
    code: CompressionCode,
    bytes: Uint8Array,
    bytesMax: number,
  ): Uint8Array | Promise<Uint8Array>
  /** Null where nobody can listen. */
  readonly events: ClientEvents | null
}
