import type { Broker } from '../broker/broker.ts'
import { connectionsMax, descriptorLimit } from '../broker/descriptor-limit.ts'
import { handlersOf } from '../broker/handlers/index.ts'
import type { Handler } from '../broker/request.ts'
import type { Logger } from '../metrics/logger.ts'
import type { Complaints } from './complaints.ts'
import { KafkaConnection } from './kafka-connection.ts'
import { KafkaRows } from './kafka-rows.ts'
import type { ReceiveMemory } from './receive-memory.ts'
import type { AcceptHandler, Transport, TransportListener, TransportOwner } from './transport.ts'

/**
 * All Kafka connections of a broker: accepts them within the limits, resumes them when memory or
 * room comes back, and closes those that are idle or do not take their answers. Runs on main.
 */
export type Listen = (
  host: string,
  port: number,
  onAccept: AcceptHandler,
) => Promise<TransportListener>

const SWEEP_MS = 1000
/** A reason that is no complaint. */
const IDLE = 'idle'
/** A response that has not left for so long, while memory is short, costs its connection. */
const SLOW_READER_MS = 5_000
/** A request that is under way for so long, while others wait for its memory, likewise. */
const SLOW_SENDER_MS = 5_000

export class KafkaListener {
  readonly #broker: Broker
  readonly #complaints: Complaints
  readonly #connections = new Map<number, KafkaConnection>()
  readonly #waiting = new Set<KafkaConnection>()
  readonly #ready: KafkaConnection[] = []
  readonly #byAddress = new Map<string, number>()
  readonly #listeners: TransportListener[] = []
  readonly #handlers: ReadonlyMap<number, Handler>
  readonly #frameBytesMax: number
  readonly #sweep: NodeJS.Timeout
  readonly #memory: ReceiveMemory
  readonly #rows: KafkaRows
  readonly #logger: Logger
  /** Beyond it files could not be opened any more. */
  readonly #connectionsMax = connectionsMax(descriptorLimit()).kafka
  #nextId = 1
  #isOpen = true

  /**
   * `memory` is shared with every other door that receives into the ingress arena. `handlers`: what
   * is served to other nodes; null: all that clients may ask for.
   */
  constructor(
    broker: Broker,
    memory: ReceiveMemory,
    complaints: Complaints,
    handlers: ReadonlyMap<number, Handler> | null = null,
  ) {
    this.#broker = broker
    this.#complaints = complaints
    this.#handlers = handlers ?? handlersOf(broker)
    this.#frameBytesMax = handlers === null ? broker.requestBytesMax : broker.clusterRequestBytesMax
    this.#memory = memory
    this.#logger = broker.loggers('kafka')
    this.#rows = new KafkaRows(broker.requests)
    broker.hub.onPumped(() => this.#sendReady())
    memory.onFreed(() => this.#resumeStalled())
    this.#sweep = setInterval(() => this.#closeSlow(), SWEEP_MS)
    this.#sweep.unref()
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  /** Connections since the start. */
  get acceptedCount(): number {
    return this.#nextId - 1
  }

  /** Connections that are not read at the moment. */
  get stalledCount(): number {
    return this.#waiting.size
  }

  async listen(
    listen: Listen,
    at: { name: string; host: string; port: number },
  ): Promise<TransportListener> {
    const listener = await listen(at.host, at.port, (transport) => this.#accept(transport, at.name))
    this.#listeners.push(listener)
    return listener
  }

  /** Lets requests wait, of clients that connect from now on, until `open`. */
  holdBack(): void {
    this.#isOpen = false
  }

  open(): void {
    this.#isOpen = true
    this.#resumeStalled()
  }

  /** Stops accepting and closes every connection. */
  async close(): Promise<void> {
    clearInterval(this.#sweep)
    const closing = this.#listeners.map((listener) => listener.close())
    for (const connection of this.#connections.values()) connection.transport.destroy()
    await Promise.all(closing)
  }

  #accept(transport: Transport, listenerName: string): TransportOwner | null {
    const { config } = this.#broker
    const address = transport.remoteAddress
    const fromAddress = this.#byAddress.get(address) ?? 0
    if (
      this.#connections.size >= Math.min(config.get('max.connections'), this.#connectionsMax) ||
      fromAddress >= config.get('max.connections.per.ip')
    ) {
      this.#complaints.closed(address, 'too many connections', 'too_many_connections')
      return null
    }
    const connection = new KafkaConnection({
      id: this.#nextId++,
      transport,
      broker: this.#broker,
      memory: this.#memory,
      handlers: this.#handlers,
      rows: this.#rows,
      listenerName,
      frameBytesMax: this.#frameBytesMax,
      isOpen: () => this.#isOpen,
      waiting: this.#waiting,
      ready: this.#ready,
      onClosed: (closed) => this.#forget(closed),
      onProtocolError: (closed, reason, kind) => {
        if (reason !== IDLE) this.#complaints.closed(closed.remoteAddress, reason, kind)
      },
    })
    this.#connections.set(connection.id, connection)
    this.#byAddress.set(address, fromAddress + 1)
    this.#logger.debug({ peer: address, id: connection.id }, 'connected')
    return connection
  }

  #forget(connection: KafkaConnection): void {
    if (!this.#connections.delete(connection.id)) return
    const address = connection.remoteAddress
    this.#logger.debug({ peer: address, id: connection.id }, 'disconnected')
    const left = (this.#byAddress.get(address) ?? 1) - 1
    if (left === 0) this.#byAddress.delete(address)
    else this.#byAddress.set(address, left)
    // What it held may be what others wait for, behind whatever door.
    setImmediate(() => this.#memory.freed())
  }

  /** Sending may let a connection go on, so that more responses are ready at its end. */
  #sendReady(): void {
    for (let i = 0; i < this.#ready.length; i++) (this.#ready[i] as KafkaConnection).sendReady()
    this.#ready.length = 0
  }

  #resumeStalled(): void {
    if (this.#waiting.size === 0) return
    for (const connection of [...this.#waiting]) connection.updateReading()
  }

  /** Ends what would otherwise hold memory for ever. */
  #closeSlow(): void {
    const now = this.#broker.clock.monotonicMs()
    const idleMax = this.#broker.config.get('connections.max.idle.ms')
    const firstRequestMax = this.#broker.config.get('millrace.first.request.timeout.ms')
    for (const connection of this.#connections.values()) {
      if (now - connection.sendingSinceMs > SLOW_READER_MS && this.#isAnswerMemoryShort()) {
        connection.close('it does not read its responses and memory is short', 'slow_reader')
      } else if (idleMax >= 0 && now - connection.idleSince(now) > idleMax) {
        connection.close(IDLE)
      } else if (this.#isOpen && now - connection.strangerSinceMs > firstRequestMax) {
        connection.close(`no request in the first ${firstRequestMax} ms`, 'silent')
      } else if (this.#isHoarding(connection, now)) {
        connection.close('it does not finish its request and memory is short', 'slow_sender')
      }
    }
  }

  /** It holds memory that others wait for, and has sent nothing for long though it is read. */
  #isHoarding(connection: KafkaConnection, now: number): boolean {
    const { receiver } = connection
    if (receiver === this.#memory.holder && now - this.#memory.heldSinceMs > SLOW_SENDER_MS) {
      return true
    }
    const isSilent = now - connection.lastActiveMs > SLOW_SENDER_MS
    return this.#memory.holder !== null && receiver.heldBytes > 0 && !receiver.stalled && isSilent
  }

  #isAnswerMemoryShort(): boolean {
    if (this.#broker.metadataRoom.isShort) return true
    return this.#broker.hub.host.proxies.some((proxy) => proxy.lentBytes > proxy.egress.length / 2)
  }
}
