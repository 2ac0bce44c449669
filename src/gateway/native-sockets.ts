import { connect as connectByNode, type Socket } from 'node:net'
import { constants } from 'node:os'
import { assert } from '../base/assert.ts'
import type { NativeAddon } from '../base/native.ts'
import type { HubWaker, WakerParts } from '../broker/start-broker.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { Arena } from '../ring/arena.ts'
import { EventfdArm } from '../ring/doorbell.ts'
import { duplicateSocket } from './duplicate-socket.ts'
import { SPILL_BYTES, type StreamHost, type Watched } from './native-events.ts'
import { NativeTransport } from './native-transport.ts'
import type { AcceptHandler, Connect, TransportListener } from './transport.ts'

/**
 * The addon's sockets on main: one epoll instance that Node's loop watches, for listeners, streams
 * and the eventfd through which shards wake main. Decisions are made here; the addon only moves
 * bytes. Bytes are received straight into the ingress arena.
 */
const EVENTS_PER_WAIT = 512
const EVENTFD_ID = 0
const BACKLOG = 1024
/** Connections taken in one go, so that a flood of them leaves time for others. */
const ACCEPTS_PER_EVENT = 64
/** For so long a listener rests when the system has no descriptor or memory for a connection. */
const ACCEPT_REST_MS = 100

export class NativeSockets implements StreamHost {
  readonly addon: NativeAddon
  readonly #poller: number
  readonly #events = new Int32Array(EVENTS_PER_WAIT * 2)
  readonly #watched = new Map<number, Watched>()
  readonly #onAcceptFailed: (errno: number) => void
  #inRound: (round: () => void) => void = (round) => round()
  #arena: Arena | null = null
  #spill = -1
  #nextId = EVENTFD_ID + 1

  /** `onAcceptFailed` learns of each time that a listener has to rest. */
  constructor(addon: NativeAddon, onAcceptFailed: (errno: number) => void) {
    this.addon = addon
    this.#onAcceptFailed = onAcceptFailed
    this.#poller = addon.pollerOpen(() => this.#onReady())
  }

  /** Watches the eventfd that shards signal; `pump` runs when one does. */
  waker(parts: WakerParts): HubWaker {
    this.#inRound = parts.inRound
    const fd = this.addon.eventfdCreate()
    const arm = new EventfdArm(parts.mainCell, parts.allEmpty, { fd, native: this.addon })
    this.addon.pollerAdd(this.#poller, fd, EVENTFD_ID, false)
    this.#watched.set(EVENTFD_ID, {
      onEvents: () => {
        arm.acknowledge()
        parts.pump()
      },
    })
    return { arm: () => arm.arm() }
  }

  /** Where received bytes go. Before the first `listen`. */
  useArena(arena: Arena): void {
    this.#arena = arena
    this.#spill = arena.allocate(SPILL_BYTES)
    assert(this.#spill >= 0, 'the ingress arena is too small')
  }

  get arena(): Arena {
    assert(this.#arena !== null)
    return this.#arena
  }

  get spillOffset(): number {
    return this.#spill
  }

  listen(host: string, port: number, onAccept: AcceptHandler): Promise<TransportListener> {
    let fd: number
    try {
      fd = this.addon.tcpListen(host, port, BACKLOG)
    } catch (error) {
      const action = `listen on ${host}:${port}`
      return Promise.reject(new BrokerError(ErrorCode.UNKNOWN_SERVER_ERROR, action, error))
    }
    let rest: NodeJS.Timeout | undefined
    const onEvents = (): void => {
      const errno = this.#accept(fd, onAccept)
      if (!isShortage(errno)) return
      // The connection stays acceptable: without the rest its event would come back at once.
      this.interest(id, fd, { readable: false, writable: false })
      rest = setTimeout(() => {
        this.interest(id, fd, { readable: true, writable: false })
      }, ACCEPT_REST_MS)
      this.#onAcceptFailed(errno)
    }
    const id = this.watch(fd, { onEvents })
    return Promise.resolve({
      host,
      port: this.addon.tcpLocalPort(fd),
      kind: 'native',
      close: () => {
        clearTimeout(rest)
        this.unwatch(id, fd)
        this.addon.closeFd(fd)
        return Promise.resolve()
      },
    })
  }

  /**
   * Node looks the name up and connects; a duplicate of its descriptor goes on here. Node allocates
   * anew whatever it reads: with answers of fetches that was a full collection every 300 ms.
   */
  readonly connect: Connect = (at, onOpened, onRefused) => {
    const socket = connectByNode({ ...at, noDelay: true })
    socket.once('error', onRefused)
    socket.once('connect', () => {
      socket.off('error', onRefused).on('error', () => undefined)
      socket.pause() // Node reads when this is over, unless it is told not to.
      const transport = this.#takeOver(socket)
      if (transport instanceof Error) onRefused(transport)
      else transport.start(onOpened(transport))
    })
    return socket
  }

  watch(fd: number, watched: Watched): number {
    const id = this.#nextId
    this.#nextId = id === 0x7fff_ffff ? EVENTFD_ID + 1 : id + 1
    this.#watched.set(id, watched)
    this.addon.pollerAdd(this.#poller, fd, id, false)
    return id
  }

  interest(id: number, fd: number, wanted: { readable: boolean; writable: boolean }): void {
    this.addon.pollerModify(this.#poller, fd, id, wanted.readable, wanted.writable)
  }

  unwatch(id: number, fd: number): void {
    if (this.#watched.delete(id)) this.addon.pollerRemove(this.#poller, fd)
  }

  /** Ends everything; open streams must have been destroyed. */
  close(): void {
    this.addon.pollerClose(this.#poller)
  }

  #onReady(): void {
    this.#inRound(this.#serveReady)
  }

  readonly #serveReady = (): void => {
    const count = this.addon.pollerWait(this.#poller, this.#events)
    for (let i = 0; i < count; i++) {
      // A handler may have closed a later one of this round: then it is not watched any more.
      this.#watched.get(this.#events[i * 2] as number)?.onEvents(this.#events[i * 2 + 1] as number)
    }
  }

  /** Accepts what is there; returns the errno that ended it, 0 when there may be more. */
  #accept(fd: number, onAccept: AcceptHandler): number {
    for (let i = 0; i < ACCEPTS_PER_EVENT; i++) {
      const accepted = this.addon.tcpAccept(fd)
      if (accepted < 0) return -accepted
      const address = this.#peerAddress(accepted)
      if (address === null) {
        this.addon.closeFd(accepted)
        continue
      }
      const transport = new NativeTransport(this, accepted, address)
      transport.start(onAccept(transport))
    }
    return 0
  }

  /** Ends what Node has of a connection; why it cannot go on here, when the system has no room. */
  #takeOver(socket: Socket): NativeTransport | Error {
    let own = -1
    try {
      own = duplicateSocket(this.addon, socket)
      if (own < 0) return new Error('no descriptor is left for it')
      const address = this.#peerAddress(own)
      if (address !== null) return new NativeTransport(this, own, address)
      this.addon.closeFd(own)
      return new Error('it closed the connection')
    } catch (error) {
      if (own >= 0) this.addon.closeFd(own)
      return error as Error
    } finally {
      socket.destroy()
    }
  }

  /** Without the port, since limits count by address; null when the peer is gone already. */
  #peerAddress(fd: number): string | null {
    try {
      return this.addon.tcpPeerAddress(fd).replace(/:\d+$/, '')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOTCONN') return null
      throw error
    }
  }
}

const { EMFILE, ENFILE, ENOBUFS, ENOMEM } = constants.errno

function isShortage(errno: number): boolean {
  return errno === EMFILE || errno === ENFILE || errno === ENOBUFS || errno === ENOMEM
}
