/**
 * A WebSocket client that says exactly what a test wants to say: raw frames, whole or in pieces,
 * right or wrong. It answers nothing by itself and never reads while it is paused.
 */
import { createHash, randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'

export const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const

/** What makes a frame that is not an ordinary one. */
export interface FrameOptions {
  /** Default true. */
  readonly fin?: boolean
  /** The three reserved bits, 0 to 7. */
  readonly reserved?: number
  /** Default true. */
  readonly masked?: boolean
  /** What the header says, whatever the payload has. */
  readonly declaredLength?: bigint
  /** The width of the length: by default the smallest. */
  readonly lengthBits?: 7 | 16 | 64
}

/** The bytes of one frame. */
export function encodeFrame(
  opcode: number,
  payload: Uint8Array | string = '',
  options: FrameOptions = {},
): Buffer {
  const { fin = true, reserved = 0, masked = true } = options
  const bytes = Buffer.from(payload as Uint8Array)
  const length = options.declaredLength ?? BigInt(bytes.length)
  const bits = options.lengthBits ?? (length < 126n ? 7 : length < 65_536n ? 16 : 64)
  const head = Buffer.alloc(bits === 7 ? 2 : bits === 16 ? 4 : 10)
  head[0] = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  head[1] = (masked ? 0x80 : 0) | (bits === 7 ? Number(length) : bits === 16 ? 126 : 127)
  if (bits === 16) head.writeUInt16BE(Number(length), 2)
  if (bits === 64) head.writeBigUInt64BE(length, 2)
  if (!masked) return Buffer.concat([head, bytes])
  const mask = randomBytes(4)
  for (let i = 0; i < bytes.length; i++) bytes[i]! ^= mask[i & 3]!
  return Buffer.concat([head, mask, bytes])
}

/** The payload of a close frame. */
export function closePayload(code: number, reason: string | Uint8Array = ''): Buffer {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(code)
  return Buffer.concat([head, Buffer.from(reason as Uint8Array)])
}

/** A frame that came from the server. */
export interface Frame {
  readonly fin: boolean
  readonly opcode: number
  readonly payload: Buffer
}

/** How a connection ended: the server's close frame, if there was one. */
export interface Ending {
  readonly code: number | null
  readonly reason: string
}

export interface UpgradeOptions {
  readonly path?: string
  readonly method?: string
  /** Replaces headers of the upgrade; null leaves one out. */
  readonly headers?: Readonly<Record<string, string | null>>
}

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
const ACCEPTED_KEY = ACCEPT.digest('base64')

/** The request that opens a WebSocket. */
export function upgradeRequest(port: number, options: UpgradeOptions = {}): string {
  const headers: Record<string, string | null> = {
    host: `127.0.0.1:${port}`,
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-version': '13',
    'sec-websocket-key': KEY,
    'sec-websocket-protocol': 'millrace.v1',
    ...options.headers,
  }
  const lines = Object.entries(headers)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${value}`)
  const first = `${options.method ?? 'GET'} ${options.path ?? '/ws'} HTTP/1.1`
  return `${[first, ...lines].join('\r\n')}\r\n\r\n`
}

export class WebSocketClient {
  readonly socket: Socket
  /** Resolves when the connection is gone. */
  readonly ended: Promise<Ending>
  readonly #frames: Frame[] = []
  readonly #waiting: ((frame: Frame | null) => void)[] = []
  #bytes: Buffer = Buffer.alloc(0)
  #close: Ending = { code: null, reason: '' }
  #isEnded = false

  private constructor(socket: Socket, rest: Buffer) {
    this.socket = socket
    this.ended = new Promise((resolve) => {
      socket.on('close', () => {
        this.#isEnded = true
        for (const wake of this.#waiting.splice(0)) wake(null)
        resolve(this.#close)
      })
    })
    this.#receive(rest)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
  }

  /** Connects and upgrades; rejects when the server does not. */
  static open(port: number, options: UpgradeOptions = {}): Promise<WebSocketClient> {
    return WebSocketClient.openWith(port, [upgradeRequest(port, options)])
  }

  /** As `open`, with an upgrade of these pieces, each sent in a packet of its own. */
  static async openWith(
    port: number,
    pieces: readonly string[],
    encoding: 'utf8' | 'latin1' = 'utf8',
  ): Promise<WebSocketClient> {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    socket.on('error', () => {}) // 'close' follows.
    const answer = readHead(socket)
    for (const piece of pieces) {
      socket.write(piece, encoding)
      if (pieces.length > 1) await new Promise(setImmediate)
    }
    const { head, rest } = await answer
    if (!head.startsWith('HTTP/1.1 101 ')) throw new Error(`not upgraded: ${head}${rest}`)
    for (const [name, value] of [
      ['sec-websocket-accept', ACCEPTED_KEY],
      ['sec-websocket-protocol', 'millrace.v1'],
    ]) {
      if (!new RegExp(`^${name}: `, 'im').test(head) || !head.includes(value as string)) {
        throw new Error(`no ${name} ${value} in ${head}`)
      }
    }
    return new WebSocketClient(socket, rest)
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  send(opcode: number, payload?: Uint8Array | string, options?: FrameOptions): void {
    this.write(encodeFrame(opcode, payload, options))
  }

  /** The next frame; null when the connection ended before one came. */
  frame(): Promise<Frame | null> {
    const next = this.#frames.shift()
    if (next !== undefined) return Promise.resolve(next)
    if (this.#isEnded) return Promise.resolve(null)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** The next data message, put together from its fragments; control frames are passed over. */
  async message(): Promise<Buffer | null> {
    const parts: Buffer[] = []
    for (;;) {
      const frame = await this.frame()
      if (frame === null) return null
      if (frame.opcode >= Opcode.CLOSE) continue
      parts.push(frame.payload)
      if (frame.fin) return Buffer.concat(parts)
    }
  }

  /** Hangs up without a close frame. */
  destroy(): void {
    this.socket.destroy()
  }

  #receive(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    for (;;) {
      const frame = this.#takeFrame()
      if (frame === null) return
      if (frame.opcode === Opcode.CLOSE) this.#close = endingOf(frame.payload)
      const wake = this.#waiting.shift()
      if (wake === undefined) this.#frames.push(frame)
      else wake(frame)
    }
  }

  #takeFrame(): Frame | null {
    const bytes = this.#bytes
    if (bytes.length < 2) return null
    const short = bytes[1]! & 0x7f
    const headBytes = short === 126 ? 4 : short === 127 ? 10 : 2
    if (bytes.length < headBytes) return null
    if ((bytes[1]! & 0x80) !== 0) throw new Error('a server must not mask')
    const length =
      short === 126
        ? bytes.readUInt16BE(2)
        : short === 127
          ? Number(bytes.readBigUInt64BE(2))
          : short
    if (bytes.length < headBytes + length) return null
    this.#bytes = bytes.subarray(headBytes + length)
    return {
      fin: (bytes[0]! & 0x80) !== 0,
      opcode: bytes[0]! & 0x0f,
      payload: bytes.subarray(headBytes, headBytes + length),
    }
  }
}

const NONE = Buffer.alloc(0)

function endingOf(payload: Buffer): Ending {
  if (payload.length < 2) return { code: 1005, reason: '' }
  return { code: payload.readUInt16BE(0), reason: payload.toString('utf8', 2) }
}

function readHead(socket: Socket): Promise<{ head: string; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let bytes = NONE
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk])
      const end = bytes.indexOf('\r\n\r\n')
      if (end === -1) return
      socket.off('data', onData)
      socket.off('close', onClose)
      resolve({ head: bytes.toString('latin1', 0, end), rest: bytes.subarray(end + 4) })
    }
    const onClose = (): void => reject(new Error(`closed before an answer: ${bytes}`))
    socket.on('data', onData)
    socket.once('close', onClose)
  })
}
