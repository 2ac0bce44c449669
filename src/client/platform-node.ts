/**
 * The library's platform in Node: `ws` for WebSockets (Node 20 has no client of its own), this
 * project's checksum and compression, `node:diagnostics_channel`.
 */
import { channel } from 'node:diagnostics_channel'
import { WebSocket } from 'ws'
import { systemClock } from '../base/clock.ts'
import {
  COMPRESSION_ZSTD,
  compress,
  compressSync,
  decompress,
  decompressSync,
} from '../record/compression.ts'
import { crc32c } from '../record/crc32c.ts'
import type { ClientSocket, Platform, SocketEvents } from './platform.ts'

/** A message that is larger fails the connection: no server sends such. */
const MESSAGE_BYTES_MAX = 256 * 1024 * 1024
/** How long a server may take to answer the end of a connection: the program lives as long. */
const CLOSE_MS_MAX = 2000

/** A longer delay would be none at all; whoever is called early looks at the time again. */
const DELAY_MAX_MS = 0x7fff_ffff

export const nodePlatform: Platform = {
  openSocket,
  timers: {
    ...systemClock,
    after(delayMs, callback) {
      const timer = setTimeout(callback, Math.min(delayMs, DELAY_MAX_MS))
      return () => clearTimeout(timer)
    },
  },
  random: Math.random,
  crc32c,
  compress: (code, bytes) =>
    code === COMPRESSION_ZSTD ? compress(code, bytes) : compressSync(code, bytes),
  decompress: (code, bytes, bytesMax) =>
    code === COMPRESSION_ZSTD
      ? decompress(code, bytes, bytesMax).then(plainBytes)
      : plainBytes(decompressSync(code, bytes, bytesMax)),
  events: {
    connect: channel('millrace:client:connect'),
    disconnect: channel('millrace:client:disconnect'),
    produce: channel('millrace:client:produce'),
    error: channel('millrace:client:error'),
  },
}

function openSocket(url: string, protocol: string, events: SocketEvents): ClientSocket {
  const options = {
    perMessageDeflate: false,
    maxPayload: MESSAGE_BYTES_MAX,
    closeTimeout: CLOSE_MS_MAX, // Newer than the types of `ws`.
  }
  const socket = new WebSocket(url, protocol, options)
  let failure = ''
  socket.on('open', () => events.opened())
  socket.on('message', (data, isBinary) => events.message(isBinary ? plainBytes(data) : null))
  // `close` follows every error.
  socket.on('error', (error) => {
    failure = error.message
  })
  socket.on('close', (code, reason) => events.closed(code, reason.toString() || failure))
  return {
    // One frame: a server may then receive it whole into one piece of memory.
    send: (pieces) => socket.send(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)),
    close: (code, reason) => socket.close(code, reason),
  }
}

/** The library's users get plain Uint8Arrays, whose methods mean the same in browsers. */
function plainBytes(data: Uint8Array | ArrayBuffer | Buffer[]): Uint8Array {
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  const whole = Array.isArray(data) ? Buffer.concat(data) : data
  return new Uint8Array(whole.buffer, whole.byteOffset, whole.byteLength)
}
