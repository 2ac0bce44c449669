/**
 * The network of a simulated cluster, with `node:net` on top: streams, as TCP gives them. What is
 * sent arrives in order or not at all; a lost packet is a delay, a path that is cut a silence, and
 * what was sent into it comes when it is mended, if the connection still stands then. Every ordered
 * pair of hosts is a path of its own.
 *
 *   process dies   its ends are closed by the kernel: the others are told, if the path stands
 *   power loss     nobody is told; whoever sends to it is told once it has power again
 *   reset          both ends break, what was under way arrives in part
 */
import { EventEmitter } from 'node:events'
import type { Random } from '../../../src/base/random.ts'
import type { EventClock } from '../event-clock.ts'

export interface NetworkPlan {
  /** Of packets; each costs a retransmission. */
  readonly loss: number
  readonly delayMsMin: number
  readonly delayMsMax: number
  /** A chunk arrives in pieces. */
  readonly splitChance: number
}

/** Where sockets live. */
export interface NetworkHost {
  readonly id: number
  readonly address: string
  /** False: its packets go nowhere and come from nowhere. */
  readonly isPowered: boolean
  /** Of the process that runs; sockets die with it. */
  readonly life: number
  after(delayMs: number, run: () => void): unknown
}

const CALM_DELAY_MS = 1
const RETRANSMIT_MS = 200
const SYN_RETRY_MS = 1000
/** Beyond so much that has not arrived, `write` has not gone out yet. */
const BUFFER_BYTES = 256 * 1024

export class Network {
  /** No loss, short delays; what is cut stays cut. */
  isCalm = false
  readonly counters: Record<string, number>
  readonly clock: EventClock
  readonly random: Random
  readonly #plan: NetworkPlan
  readonly #hosts = new Map<string, NetworkHost>()
  readonly #listeners = new Map<string, SimServer>()
  /** `from>to` by id of the host. */
  readonly #cut = new Set<string>()
  readonly #sockets = new Set<SimSocket>()

  constructor(
    plan: NetworkPlan,
    clock: EventClock,
    parts: { random: Random; counters: Record<string, number> },
  ) {
    this.#plan = plan
    this.clock = clock
    this.random = parts.random
    this.counters = parts.counters
  }

  add(host: NetworkHost): void {
    this.#hosts.set(host.address, host)
  }

  hostAt(address: string): NetworkHost | undefined {
    return this.#hosts.get(address)
  }

  count(what: string): void {
    this.counters[what] = (this.counters[what] ?? 0) + 1
  }

  // —— paths ——

  isCut(from: number, to: number): boolean {
    return this.#cut.has(`${from}>${to}`)
  }

  cut(from: number, to: number): void {
    if (from !== to) this.#cut.add(`${from}>${to}`)
  }

  cutBoth(a: number, b: number): void {
    this.cut(a, b)
    this.cut(b, a)
  }

  mend(from: number, to: number): void {
    if (!this.#cut.delete(`${from}>${to}`)) return
    for (const socket of this.#sockets) {
      if (socket.host.id === from && socket.peerId === to) socket.retransmit()
    }
  }

  mendAll(isKept: (from: number, to: number) => boolean = () => false): void {
    for (const path of [...this.#cut]) {
      const [from, to] = path.split('>').map(Number) as [number, number]
      if (!isKept(from, to)) this.mend(from, to)
    }
  }

  /** One packet's time from one host to another. */
  delay(): number {
    const { loss, delayMsMin, delayMsMax } = this.#plan
    if (this.isCalm) return this.random.fraction() * CALM_DELAY_MS
    let delay = delayMsMin + this.random.fraction() * (delayMsMax - delayMsMin)
    while (this.random.chance(loss)) {
      this.count('packets lost')
      delay += RETRANSMIT_MS
    }
    return delay
  }

  splits(): boolean {
    return !this.isCalm && this.random.chance(this.#plan.splitChance)
  }

  // —— connections ——

  listen(server: SimServer, address: string, port: number): boolean {
    const at = `${address}:${port}`
    if (this.#listeners.has(at)) return false
    this.#listeners.set(at, server)
    return true
  }

  unlisten(address: string, port: number): void {
    this.#listeners.delete(`${address}:${port}`)
  }

  connect(from: NetworkHost, { host: address, port }: { host: string; port: number }): SimSocket {
    const socket = new SimSocket(this, from, { address, port })
    this.#sockets.add(socket)
    this.#knock(socket, address, port)
    return socket
  }

  #knock(socket: SimSocket, address: string, port: number): void {
    const { host: from } = socket
    const to = this.hostAt(address)
    const again = (): void => {
      this.clock.after(SYN_RETRY_MS, () => {
        if (!socket.isOver) this.#knock(socket, address, port)
      })
    }
    if (to === undefined || this.isCut(from.id, to.id)) {
      again()
      return
    }
    this.clock.after(this.delay(), () => {
      if (socket.isOver) return
      if (!to.isPowered || this.isCut(to.id, from.id)) {
        again()
        return
      }
      const server = this.#listeners.get(`${address}:${port}`)
      if (server === undefined || server.life !== to.life) {
        this.clock.after(this.delay(), () => socket.fail('ECONNREFUSED'))
        return
      }
      const other = new SimSocket(this, to, { address: from.address, port: 0 })
      this.#sockets.add(other)
      socket.pair(other)
      server.accept(other)
      other.transmit({ kind: 'opened' })
    })
  }

  get hasCuts(): boolean {
    return this.#cut.size > 0
  }

  socketsOf(host: NetworkHost): number {
    let count = 0
    for (const socket of this.#sockets) if (socket.host === host) count++
    return count
  }

  forget(socket: SimSocket): void {
    this.#sockets.delete(socket)
  }

  // —— faults ——

  /** Some connection breaks. */
  resetOne(): void {
    const open = [...this.#sockets].filter((socket) => socket.isOpen)
    if (open.length === 0) return
    this.count('connections reset')
    this.random.pick(open).reset()
  }

  /** The process is gone. `isSilent`: so is the machine. */
  hostDied(host: NetworkHost, isSilent: boolean): void {
    for (const [at, server] of [...this.#listeners]) {
      if (server.host === host) this.#listeners.delete(at)
    }
    for (const socket of [...this.#sockets]) {
      if (socket.host === host) socket.abandon(isSilent)
    }
  }
}

type Packet =
  | { readonly kind: 'opened' }
  | { readonly kind: 'data'; readonly bytes: Buffer }
  | { readonly kind: 'end' }
  | { readonly kind: 'reset' }

/** As much of `net.Socket` as the shells use. */
export class SimSocket extends EventEmitter {
  readonly host: NetworkHost
  readonly remoteAddress: string
  readonly remotePort: number
  destroyed = false
  /** The process that had it is gone, and nobody was told. */
  isAbandoned = false
  readonly #life: number
  readonly #network: Network
  #peer: SimSocket | null = null
  #isOpen = false
  #isPaused = false
  #corked: Uint8Array[] | null = null
  #callbacks: (() => void)[] = []
  /** Arrived, and not read. */
  #unread: Buffer[] = []
  #hasEnded = false
  /** On their way, in order; those that a cut path holds as well. */
  readonly #underWay: { readonly packet: Packet; state: 'held' | 'sent' | 'arrived' }[] = []
  #underWayBytes = 0
  #arrivesMs = 0

  constructor(network: Network, host: NetworkHost, at: { address: string; port: number }) {
    super()
    this.#network = network
    this.host = host
    this.#life = host.life
    this.remoteAddress = at.address
    this.remotePort = at.port
  }

  get isOpen(): boolean {
    return this.#isOpen && !this.destroyed && !this.isAbandoned
  }

  /** Nothing will come of it any more. */
  get isOver(): boolean {
    return this.destroyed || this.isAbandoned || this.#life !== this.host.life
  }

  get peerId(): number {
    return this.#peer?.host.id ?? -1
  }

  get writable(): boolean {
    return !this.destroyed && !this.#hasEnded
  }

  get writableLength(): number {
    return this.#underWayBytes
  }

  pair(other: SimSocket): void {
    this.#peer = other
    other.#peer = this
    other.#isOpen = true
  }

  // —— as net.Socket ——

  write(data: Uint8Array | string, callback?: () => void): boolean {
    if (this.destroyed || this.#hasEnded) return false
    const bytes = typeof data === 'string' ? Buffer.from(data) : data
    if (callback !== undefined) this.#callbacks.push(callback)
    if (this.#corked !== null) this.#corked.push(bytes)
    else this.#sendAll([bytes])
    return true
  }

  cork(): void {
    this.#corked ??= []
  }

  uncork(): void {
    const corked = this.#corked
    this.#corked = null
    if (corked !== null && corked.length > 0) this.#sendAll(corked)
  }

  pause(): this {
    this.#isPaused = true
    return this
  }

  resume(): this {
    if (!this.#isPaused) return this
    this.#isPaused = false
    this.#soon(() => this.#read())
    return this
  }

  setNoDelay(): this {
    return this
  }

  end(): this {
    if (this.destroyed || this.#hasEnded) return this
    this.#hasEnded = true
    if (this.#peer !== null) this.transmit({ kind: 'end' })
    else this.destroy()
    return this
  }

  destroy(error?: Error): this {
    if (this.destroyed) return this
    const wasEnded = this.#hasEnded
    this.#close(error ?? null)
    if (this.#peer !== null && !wasEnded) this.transmit({ kind: 'end' })
    return this
  }

  // —— what the network does to it ——

  transmit(packet: Packet): void {
    this.#underWay.push({ packet, state: 'held' })
    if (packet.kind === 'data') this.#underWayBytes += packet.bytes.length
    this.retransmit()
  }

  /** Sends what is held, if the path stands. */
  retransmit(): void {
    const peer = this.#peer
    const network = this.#network
    if (peer === null || network.isCut(this.host.id, peer.host.id)) return
    for (const one of this.#underWay) {
      if (one.state !== 'held') continue
      one.state = 'sent'
      this.#arrivesMs = Math.max(this.#arrivesMs, network.clock.nowMs + network.delay())
      network.clock.after(this.#arrivesMs - network.clock.nowMs, () => this.#arrive(one, peer))
    }
  }

  #arrive(one: { readonly packet: Packet; state: string }, peer: SimSocket): void {
    if (one.state !== 'sent') return // The connection was reset.
    one.state = 'arrived'
    while (this.#underWay[0]?.state === 'arrived') {
      const packet = this.#underWay.shift()?.packet
      if (packet?.kind === 'data') this.#underWayBytes -= packet.bytes.length
    }
    this.#forgetIfDone()
    if (!peer.host.isPowered) return
    if (peer.isAbandoned || peer.#life !== peer.host.life) {
      // There is a machine that knows nothing of this connection.
      if (!this.isOver) this.#network.clock.after(this.#network.delay(), () => this.#resetBy(peer))
      return
    }
    peer.host.after(0, () => peer.#take(one.packet))
    if (this.#callbacks.length > 0 && !this.isOver) {
      this.host.after(0, () => this.#settleWrites())
    }
  }

  #resetBy(peer: SimSocket): void {
    if (this.isOver || this.#network.isCut(peer.host.id, this.host.id)) return
    this.host.after(0, () => this.#take({ kind: 'reset' }))
  }

  /** In a moment of this socket's host. */
  #take(packet: Packet): void {
    if (this.isOver) return
    switch (packet.kind) {
      case 'opened':
        this.#isOpen = true
        this.emit('connect')
        return
      case 'data':
        this.#unread.push(...this.#inPieces(packet.bytes))
        this.#read()
        return
      case 'end':
        this.emit('end')
        if (!this.#hasEnded) {
          this.#hasEnded = true
          this.transmit({ kind: 'end' })
        }
        this.#close(null)
        return
      case 'reset':
        this.fail('ECONNRESET')
    }
  }

  #inPieces(bytes: Buffer): Buffer[] {
    if (bytes.length < 2 || !this.#network.splits()) return [bytes]
    const at = this.#network.random.between(1, bytes.length - 1)
    return [bytes.subarray(0, at), bytes.subarray(at)]
  }

  #read(): void {
    while (!this.#isPaused && !this.isOver && this.#unread.length > 0) {
      this.emit('data', this.#unread.shift())
    }
  }

  fail(code: string): void {
    if (this.isOver) return
    this.host.after(0, () => {
      if (this.isOver) return
      this.#close(Object.assign(new Error(`the network: ${code}`), { code }))
    })
  }

  /** Both ends break; of what was under way a part arrives, in front of the error. */
  reset(): void {
    const peer = this.#peer
    if (peer === null) return
    for (const end of [this, peer]) {
      const other = end === this ? peer : this
      const first = end.#underWay.find(({ state }) => state === 'sent')
      for (const one of end.#underWay) one.state = 'arrived'
      end.#underWay.length = 0
      end.#underWayBytes = 0
      if (first?.packet.kind === 'data' && !other.isOver && other.host.isPowered) {
        const { bytes } = first.packet
        const part = bytes.subarray(0, this.#network.random.below(bytes.length))
        if (part.length > 0) other.host.after(0, () => other.#take({ kind: 'data', bytes: part }))
      }
    }
    this.fail('ECONNRESET')
    peer.fail('ECONNRESET')
  }

  /** What the kernel still sends is sent. */
  #forgetIfDone(): void {
    const isGone = this.destroyed || this.isAbandoned
    if (isGone && this.#underWay.length === 0) this.#network.forget(this)
  }

  /** Its process is gone. */
  abandon(isSilent: boolean): void {
    if (this.destroyed || this.isAbandoned) return
    if (!isSilent && this.#peer !== null) this.transmit({ kind: 'reset' })
    this.isAbandoned = true
    this.#forgetIfDone()
  }

  // —— inside ——

  #soon(run: () => void): void {
    this.host.after(0, () => {
      if (!this.isOver) run()
    })
  }

  #sendAll(chunks: Uint8Array[]): void {
    const bytes = Buffer.concat(chunks)
    if (bytes.length > 0) this.transmit({ kind: 'data', bytes })
    if (this.#callbacks.length > 0 && this.#underWayBytes <= BUFFER_BYTES) {
      queueMicrotask(() => this.#settleWrites())
    }
  }

  #settleWrites(): void {
    if (this.#corked !== null) return
    for (const callback of this.#callbacks.splice(0)) callback()
  }

  #close(error: Error | null): void {
    this.destroyed = true
    this.#isOpen = false
    this.#forgetIfDone()
    this.#unread = []
    // As node:net does it: later than the call, the error first.
    this.host.after(0, () => {
      if (error !== null) this.emit('error', error)
      this.emit('close', error !== null)
    })
  }
}

/** As much of `net.Server`. */
export class SimServer extends EventEmitter {
  readonly host: NetworkHost
  readonly life: number
  readonly #network: Network
  readonly #onConnection: (socket: SimSocket) => void
  #at: { readonly host: string; readonly port: number } | null = null

  constructor(network: Network, host: NetworkHost, onConnection: (socket: SimSocket) => void) {
    super()
    this.#network = network
    this.host = host
    this.life = host.life
    this.#onConnection = onConnection
  }

  listen(at: { host: string; port: number }, onListening: () => void): this {
    const isFree = this.#network.listen(this, at.host, at.port)
    this.#at = at
    this.host.after(0, () => {
      if (isFree) onListening()
      else this.emit('error', Object.assign(new Error('EADDRINUSE'), { code: 'EADDRINUSE' }))
    })
    return this
  }

  address(): { port: number } | null {
    return this.#at
  }

  accept(socket: SimSocket): void {
    socket.pause()
    this.host.after(0, () => this.#onConnection(socket))
  }

  close(onClosed?: () => void): this {
    if (this.#at !== null) this.#network.unlisten(this.#at.host, this.#at.port)
    if (onClosed !== undefined) this.host.after(0, onClosed)
    return this
  }
}

/** `node:net` of one host. */
export interface HostNetwork {
  connect(at: { host: string; port: number }): SimSocket
  createServer(onConnection: (socket: SimSocket) => void): SimServer
}

export function networkOf(network: Network, host: NetworkHost): HostNetwork {
  return {
    connect: (at) => network.connect(host, at),
    createServer: (onConnection) => new SimServer(network, host, onConnection),
  }
}
