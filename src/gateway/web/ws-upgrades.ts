import { WebSocketServer } from 'ws'
import { startTicking } from './life-signs.ts'
import { NodePeer } from './node-peer.ts'
import type { AcceptedUpgrade, Upgrades } from './upgrades.ts'
import type { WebSocketParts } from './web-server.ts'

/** How long a client may take to answer our close frame. */
const CLOSE_TIMEOUT_MS = 10_000

/** WebSockets on ws. */
export class WsUpgrades implements Upgrades {
  readonly #parts: WebSocketParts
  readonly #webSockets: WebSocketServer
  readonly #peers = new Set<NodePeer>()
  #ticker: NodeJS.Timeout | undefined

  constructor(parts: WebSocketParts) {
    this.#parts = parts
    this.#webSockets = new WebSocketServer(options(parts))
  }

  accept({ message, socket, rest, place }: AcceptedUpgrade): void {
    socket.once('close', () => place.leave())
    this.#webSockets.handleUpgrade(message, socket, rest, (opened) => {
      const peer = new NodePeer(opened, socket, this.#parts)
      this.#peers.add(peer)
      socket.once('close', () => this.#peers.delete(peer))
      peer.open()
    })
  }

  start(): void {
    this.#ticker = startTicking(this.#peers, this.#parts)
  }

  close(): void {
    clearInterval(this.#ticker)
    const peers = [...this.#peers]
    for (const peer of peers) peer.end(1001, 'the broker stops')
    // A turn later, so that what the sockets take at once is sent before they are destroyed.
    setImmediate(() => {
      for (const peer of peers) peer.terminate()
    })
  }
}

function options(parts: WebSocketParts): ConstructorParameters<typeof WebSocketServer>[0] {
  const options = {
    noServer: true,
    maxPayload: parts.messageBytesMax,
    perMessageDeflate: false,
    clientTracking: false,
    autoPong: false,
    closeTimeout: CLOSE_TIMEOUT_MS,
    handleProtocols: () => parts.protocol,
  }
  return options
}
