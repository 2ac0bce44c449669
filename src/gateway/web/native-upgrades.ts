import { createHash } from 'node:crypto'
import { duplicateSocket } from '../duplicate-socket.ts'
import type { StreamHost } from '../native-events.ts'
import { NativeTransport } from '../native-transport.ts'
import type { ReceiveMemory } from '../receive-memory.ts'
import { startTicking } from './life-signs.ts'
import { NativePeer } from './native-peer.ts'
import { plainAddress } from './plain-address.ts'
import { type Unmask, unmaskWith } from './unmask.ts'
import type { AcceptedUpgrade, Upgrades } from './upgrades.ts'
import type { WebSocketParts } from './web-server.ts'

/** The addon's sockets and the memory that they receive into: the Kafka door's as well. */
export interface NativeReceiving {
  readonly sockets: StreamHost
  readonly memory: ReceiveMemory
}

/** RFC 6455 §1.3. */
const ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const SWEEP_MS = 1000
const NOTHING = (): void => {}

/**
 * WebSockets on the addon's sockets. node:http has read the request and lets go of the socket: a
 * duplicate of its descriptor goes on here, and what Node has of it is destroyed, so that nothing
 * but this reads or writes. Runs on main.
 */
export class NativeUpgrades implements Upgrades {
  readonly #parts: WebSocketParts
  readonly #receiving: NativeReceiving
  readonly #unmask: Unmask
  readonly #peers = new Set<NativePeer>()
  /** Peers that have stopped reading for want of memory. */
  readonly #waiting = new Set<NativePeer>()
  #ticker: NodeJS.Timeout | undefined
  #sweep: NodeJS.Timeout | undefined

  constructor(parts: WebSocketParts, receiving: NativeReceiving) {
    this.#parts = parts
    this.#receiving = receiving
    this.#unmask = unmaskWith(receiving.sockets.addon.unmask)
    receiving.memory.onFreed(() => this.#resumeStalled())
  }

  accept({ message, socket, rest, place }: AcceptedUpgrade): void {
    const { sockets, memory } = this.#receiving
    const address = plainAddress(socket.remoteAddress)
    const own = duplicateSocket(sockets.addon, socket)
    socket.destroy() // Closes Node's descriptor at once; the connection lives on by ours.
    if (own < 0) {
      place.leave()
      return
    }
    const transport = new NativeTransport(sockets, own, address)
    const peer = new NativePeer({
      transport,
      memory,
      unmask: this.#unmask,
      webSocket: this.#parts,
      waiting: this.#waiting,
      onClosed: (closed) => {
        this.#peers.delete(closed)
        place.leave()
        // What it held may be what others wait for, behind whatever door.
        setImmediate(() => memory.freed())
      },
    })
    this.#peers.add(peer)
    transport.start(peer)
    const key = message.headers['sec-websocket-key'] ?? ''
    transport.send([Buffer.from(acceptance(key, this.#parts.protocol), 'latin1')], NOTHING)
    peer.open(rest)
  }

  start(): void {
    this.#ticker = startTicking(this.#peers, this.#parts)
    this.#sweep = setInterval(() => this.#sweepNow(), SWEEP_MS)
    this.#sweep.unref()
  }

  close(): void {
    clearInterval(this.#ticker)
    clearInterval(this.#sweep)
    for (const peer of [...this.#peers]) {
      peer.end(1001, 'the broker stops')
      peer.terminate()
    }
  }

  #resumeStalled(): void {
    if (this.#waiting.size === 0) return
    for (const peer of [...this.#waiting]) peer.updateReading()
  }

  /** Ends those that hold memory which others wait for, and looks whether some came back. */
  #sweepNow(): void {
    const now = performance.now()
    for (const peer of [...this.#peers]) peer.endHoarding(now)
    this.#resumeStalled()
  }
}

function acceptance(key: string, protocol: string): string {
  const accept = createHash('sha1').update(`${key}${ACCEPT_GUID}`).digest('base64')
  return [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${accept}`,
    `Sec-WebSocket-Protocol: ${protocol}`,
    '\r\n',
  ].join('\r\n')
}
