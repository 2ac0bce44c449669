/**
 * The library's platform in browsers: the WebSocket, CompressionStream and performance of the page.
 * gzip is all the compression that browsers have; batches of other codecs are refused with
 * UNSUPPORTED_COMPRESSION_TYPE. No `node:` module behind this file.
 */
import { systemClock } from '../base/clock.ts'
import { ErrorCode } from '../errors/error-code.ts'
import {
  COMPRESSION_GZIP,
  COMPRESSION_NAMES,
  COMPRESSION_NONE,
  type CompressionCode,
} from '../record/compression-code.ts'
import { crc32cByTables } from '../record/crc32c-tables.ts'
import { RecordError } from '../record/record-error.ts'
import { MillraceError } from './errors.ts'
import type { ClientSocket, Platform, SocketEvents } from './platform.ts'

/** What is used of a browser's WebSocket. */
interface PageSocket {
  binaryType: string
  onopen: (() => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  send(data: Uint8Array): void
  close(code: number, reason: string): void
}

/** What is used of (De)CompressionStream. */
interface ByteTransform {
  readonly readable: {
    getReader(): {
      read(): Promise<{ done: boolean; value?: Uint8Array }>
      cancel(): Promise<void>
    }
  }
  readonly writable: {
    getWriter(): { write(bytes: Uint8Array): Promise<void>; close(): Promise<void> }
  }
}

interface Page {
  readonly WebSocket: new (url: string, protocol: string) => PageSocket
  /** Browsers before 2023 have neither. */
  readonly CompressionStream?: new (
    format: 'gzip',
  ) => ByteTransform
  readonly DecompressionStream?: new (format: 'gzip') => ByteTransform
  setTimeout(callback: () => void, delayMs: number): unknown
  clearTimeout(timer: unknown): void
}

/** A longer delay would be none at all; whoever is called early looks at the time again. */
const DELAY_MAX_MS = 0x7fff_ffff

const page = globalThis as unknown as Page

export const browserPlatform: Platform = {
  openSocket,
  timers: {
    ...systemClock,
    after(delayMs, callback) {
      const timer = page.setTimeout(callback, Math.min(delayMs, DELAY_MAX_MS))
      return () => page.clearTimeout(timer)
    },
  },
  random: Math.random,
  crc32c: crc32cByTables,
  compress(code, bytes) {
    if (code === COMPRESSION_NONE) return bytes
    const { CompressionStream } = page
    if (code !== COMPRESSION_GZIP || CompressionStream === undefined) throw unsupported(code)
    return pipe(new CompressionStream('gzip'), bytes, Number.POSITIVE_INFINITY)
  },
  decompress(code, bytes, bytesMax) {
    if (code === COMPRESSION_NONE) return bytes
    const { DecompressionStream } = page
    if (code !== COMPRESSION_GZIP || DecompressionStream === undefined) throw unsupported(code)
    return pipe(new DecompressionStream('gzip'), bytes, bytesMax)
  },
  events: null,
}

function openSocket(url: string, protocol: string, events: SocketEvents): ClientSocket {
  const socket = new page.WebSocket(url, protocol)
  socket.binaryType = 'arraybuffer'
  socket.onopen = () => events.opened()
  socket.onmessage = ({ data }) =>
    events.message(data instanceof ArrayBuffer ? new Uint8Array(data) : null)
  socket.onclose = ({ code, reason }) => events.closed(code, reason)
  return {
    send: (pieces) => socket.send(joined(pieces)),
    // Pages may send 1000 and their own range only.
    close: (code, reason) => socket.close(code >= 3000 ? code : 1000, reason),
  }
}

/** Reads no more than `bytesMax` out of the transform, whatever the input claims to hold. */
async function pipe(
  transform: ByteTransform,
  bytes: Uint8Array,
  bytesMax: number,
): Promise<Uint8Array> {
  const writer = transform.writable.getWriter()
  // Malformed input rejects these too; the reader says so.
  writer.write(bytes).catch(() => {})
  writer.close().catch(() => {})
  const reader = transform.readable.getReader()
  const pieces: Uint8Array[] = []
  let size = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done || value === undefined) return joined(pieces)
      size += value.length
      if (size > bytesMax) break
      pieces.push(value)
    }
  } catch (error) {
    throw new RecordError(ErrorCode.CORRUPT_MESSAGE, 'The gzip data is corrupt', error)
  }
  await reader.cancel()
  const message = `The data exceeds ${bytesMax} bytes once decompressed`
  throw new RecordError(ErrorCode.MESSAGE_TOO_LARGE, message)
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0] as Uint8Array
  const whole = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

function unsupported(code: CompressionCode): MillraceError {
  const message = `${COMPRESSION_NAMES[code]} is not available in this browser`
  return new MillraceError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, message)
}
