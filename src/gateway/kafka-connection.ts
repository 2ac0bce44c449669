import type { Broker } from '../broker/broker.ts'
import { unsupportedApiVersions } from '../broker/handlers/18-api-versions.ts'
import type { Handler, HandlerResult, Reply, RequestContext } from '../broker/request.ts'
import { isForeignFailure, PendingReply, ProtocolViolation } from '../broker/request.ts'
import { RequestFrame } from '../broker/request-frame.ts'
import { SendTurns } from '../broker/send-turns.ts'
import type { RequestRow } from '../metrics/request-metrics.ts'
import {
  ApiKey,
  DecodeError,
  decodeRequest,
  decodeRequestHeader,
  encodeResponse,
  isSupported,
  Reader,
  type RequestHeader,
  type ResponseInit,
  type SupportedApiKey,
} from '../wire/kafka/api.ts'
import { countErrors } from './api-errors.ts'
import type { ComplaintKind } from './complaints.ts'
import { FrameReceiver, type FrameSink } from './frame-receiver.ts'
import type { KafkaRows } from './kafka-rows.ts'
import type { ReceiveMemory } from './receive-memory.ts'
import type { Transport, TransportOwner } from './transport.ts'

/**
 * One client speaking Kafka's protocol: frames in, responses out in the order of the requests,
 * while the requests themselves are worked on concurrently. Runs on main.
 *
 * Reading stops while too many requests are in flight, while too many bytes wait to be sent, while
 * the arena is exhausted, or while a shard's lane is full; each of those ends by itself.
 */
export interface KafkaConnectionParts {
  readonly id: number
  readonly transport: Transport
  readonly broker: Broker
  readonly memory: ReceiveMemory
  readonly handlers: ReadonlyMap<number, Handler>
  readonly rows: KafkaRows
  readonly listenerName: string
  readonly frameBytesMax: number
  /** False while the broker is not ready to serve: requests wait where they are. */
  readonly isOpen: () => boolean
  /**
   * Connections that have stopped reading: the listener tries them again when something came back.
   */
  readonly waiting: Set<KafkaConnection>
  /** Connections with responses to send: the listener calls `sendReady` after each pump. */
  readonly ready: KafkaConnection[]
  readonly onClosed: (connection: KafkaConnection) => void
  readonly onProtocolError: (
    connection: KafkaConnection,
    reason: string,
    kind: ComplaintKind,
  ) => void
}

/** Requests of one connection that are being worked on before its socket is left unread. */
const IN_FLIGHT_MAX = 64
/**
 * Response bytes that may wait, for their turn or for the system, before a connection's socket is
 * left unread.
 */
const QUEUED_BYTES_MAX = 1024 * 1024

/** A response's place in the queue. */
interface Slot {
  readonly row: RequestRow
  /** When the request, or others that arrived with it, was received; monotonic. */
  readonly arrivedMs: number
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
  isReady: boolean
  /** Of a handler that waits for its turn. */
  onFirst: (() => void) | undefined
  /** The encoded response once it is ready; empty when there is nothing to send. */
  chunks: Uint8Array[]
  bytes: number
  release: (() => void) | undefined
}

const reader = new Reader()

export class KafkaConnection implements TransportOwner, FrameSink {
  readonly id: number
  readonly receiver: FrameReceiver
  readonly transport: Transport
  readonly #parts: KafkaConnectionParts
  readonly #slots: Slot[] = []
  readonly #sendTurns = new SendTurns()
  readonly #closeCallbacks = new Set<() => void>()
  #isReadyListed = false
  #isClosed = false
  #isDraining = false
  /** Received bytes are being offered to the receiver. */
  #isOffering = false
  /** Bytes of responses that are ready and wait for an earlier one. */
  #waitingBytes = 0
  /** When the oldest response that has not left was handed to the system, monotonic; 0: none. */
  #sendingSinceMs = 0
  #sendsUnderWay = 0
  #lastActiveMs: number
  /** When the bytes that are being taken arrived, once somebody asked; 0 between rounds. */
  #arrivedMs = 0
  /** When it was accepted, monotonic; Infinity once it has completed a request. */
  #strangerSinceMs: number

  constructor(parts: KafkaConnectionParts) {
    this.id = parts.id
    this.transport = parts.transport
    this.#parts = parts
    this.receiver = new FrameReceiver(parts.memory, this, parts.frameBytesMax)
    this.#lastActiveMs = parts.broker.clock.monotonicMs()
    this.#strangerSinceMs = this.#lastActiveMs
  }

  get remoteAddress(): string {
    return this.transport.remoteAddress
  }

  get listenerName(): string {
    return this.#parts.listenerName
  }

  /** Whose response's memory is lent when: for requests of this connection. */
  get sendTurns(): SendTurns {
    return this.#sendTurns
  }

  /** When bytes last arrived or left, monotonic. */
  get lastActiveMs(): number {
    return this.#lastActiveMs
  }

  /**
   * Since when this connection has been idle (nothing in flight), monotonic; Infinity when busy.
   * Asked from time to time: being busy then counts as activity.
   */
  idleSince(nowMs: number): number {
    if (this.#slots.length === 0 && this.#sendsUnderWay === 0) return this.#lastActiveMs
    this.#lastActiveMs = nowMs
    return Infinity
  }

  /** Since when it is connected without having completed a request; Infinity when it has. */
  get strangerSinceMs(): number {
    return this.#strangerSinceMs
  }

  /** Since when bytes handed to the system have not left, monotonic; Infinity when none. */
  get sendingSinceMs(): number {
    return this.#sendsUnderWay > 0 ? this.#sendingSinceMs : Infinity
  }

  onReceived(): void {
    this.#lastActiveMs = this.#arrivedMs === 0 ? this.#nowMs() : this.#arrivedMs
    this.#arrivedMs = 0
    const { hub } = this.#parts.broker
    if (this.receiver.sendsLargeFrames) hub.flush()
    else hub.flushSoon()
    this.updateReading()
  }

  onFramingError(declaredBytes: number): void {
    const limit = `at most ${this.#parts.frameBytesMax}`
    this.#violate(`a frame of ${declaredBytes} bytes (${limit})`, 'limit')
  }

  onFrame(offset: number, length: number, generation: number): void {
    const frame = new RequestFrame(this.#parts.memory.arena, { offset, length, generation })
    this.#strangerSinceMs = Infinity
    if (!this.#isClosed && !this.#isDraining) {
      try {
        this.#serve(frame)
      } catch (error) {
        this.#fail(error)
      }
    }
    frame.release()
  }

  onClosed(_reason: Error | null): void {
    this.#isClosed = true
    this.#parts.waiting.delete(this)
    this.receiver.close()
    for (const slot of this.#slots) {
      this.#discard(slot)
      slot.onFirst?.()
    }
    this.#slots.length = 0
    for (const callback of [...this.#closeCallbacks]) callback()
    this.#closeCallbacks.clear()
    this.#parts.onClosed(this)
  }

  mayTake(): boolean {
    return (
      this.#parts.isOpen() &&
      this.#slots.length < IN_FLIGHT_MAX &&
      this.#waitingBytes + this.transport.queuedBytes < QUEUED_BYTES_MAX &&
      !this.#parts.broker.hub.isCongested
    )
  }

  /** Memory or room came back: goes on with what was received, then reading, while it may. */
  updateReading(): void {
    if (this.#isClosed || this.#isOffering) return
    this.#isOffering = true
    while (this.transport.hasUntaken && this.#mayGoOn()) this.transport.drainReceived()
    this.#isOffering = false
    this.#arrivedMs = 0
    if (this.#isClosed) return
    if (this.transport.hasUntaken || !this.#mayGoOn()) {
      this.#parts.waiting.add(this)
      this.transport.pause()
    } else {
      this.#parts.waiting.delete(this)
      this.transport.resume()
    }
  }

  #mayGoOn(): boolean {
    return this.mayTake() && (!this.receiver.stalled || this.receiver.retry())
  }

  /** Runs `callback` once when the connection goes. Returns how to take it back. */
  onClose(callback: () => void): () => void {
    this.#closeCallbacks.add(callback)
    return () => this.#closeCallbacks.delete(callback)
  }

  close(reason: string, kind: ComplaintKind = 'protocol'): void {
    if (this.#isClosed) return
    this.#parts.onProtocolError(this, reason, kind)
    this.transport.destroy()
  }

  #serve(frame: RequestFrame): void {
    reader.reset(frame.bytes, frame.offset, frame.offset + frame.length)
    const header = decodeRequestHeader(reader)
    const { requestApiKey: apiKey, requestApiVersion: apiVersion } = header
    if (!isSupported(apiKey, apiVersion)) {
      if (apiKey !== ApiKey.API_VERSIONS) {
        throw new ProtocolViolation(`API key ${apiKey} version ${apiVersion} is not supported`)
      }
      // KIP-511: answered in version 0, with the versions that would have been right.
      const slot = this.#enqueue(header, 0)
      this.#complete(slot, unsupportedApiVersions())
      return
    }
    const handler = this.#parts.handlers.get(apiKey)
    if (handler === undefined) throw new ProtocolViolation(`API key ${apiKey} is not served here`)
    const body = decodeRequest(apiKey, apiVersion, reader)
    const slot = this.#enqueue(header, apiVersion)
    this.#await(slot, handler(body as never, new Context(this, { header, slot, frame })))
  }

  /** Resolves once nothing is before `slot`, or the connection is gone; null: it is so now. */
  whenFirst(slot: Slot): Promise<void> | null {
    if (this.#isClosed || this.#slots[0] === slot) return null
    return new Promise((resolve) => {
      slot.onFirst = resolve
    })
  }

  #enqueue(header: RequestHeader, apiVersion: number): Slot {
    if (this.#arrivedMs === 0) this.#arrivedMs = this.#nowMs()
    const slot: Slot = {
      row: this.#parts.rows.of(header.requestApiKey),
      arrivedMs: this.#arrivedMs,
      apiKey: header.requestApiKey,
      apiVersion,
      correlationId: header.correlationId,
      isReady: false,
      onFirst: undefined,
      chunks: [],
      bytes: 0,
      release: undefined,
    }
    this.#slots.push(slot)
    return slot
  }

  #await(slot: Slot, result: HandlerResult): void {
    if (result instanceof PendingReply) {
      result.whenReady((reply) => this.#complete(slot, reply))
    } else if (result instanceof Promise) {
      void result.then(
        (reply) => this.#complete(slot, reply),
        (error: unknown) => this.#fail(error),
      )
    } else {
      this.#complete(slot, result)
    }
  }

  /**
   * A handler or the bytes of its request failed: that costs the connection. A handler answers
   * every failure that it knows, so anything but a peer's or the world's is our own bug and ends
   * the process.
   */
  #fail(error: unknown): void {
    if (error instanceof DecodeError || error instanceof ProtocolViolation) {
      this.#violate(error.message)
    } else if (isForeignFailure(error)) {
      const fields = { peer: this.remoteAddress, error: error.stack }
      this.#parts.broker.loggers('kafka').error(fields, 'a request failed without an answer')
      this.#violate(error.message)
    } else {
      queueMicrotask(() => {
        throw error
      })
    }
  }

  #complete(slot: Slot, reply: Reply | null): void {
    slot.isReady = true
    slot.release = reply?.release
    if (this.#isClosed) {
      this.#discard(slot)
      return
    }
    if (reply !== null) {
      countErrors(slot.row, slot.apiKey, reply.body)
      slot.chunks = encode(slot, reply.body)
      for (const chunk of slot.chunks) slot.bytes += chunk.length
      this.#waitingBytes += slot.bytes
    }
    if (!this.#parts.broker.hub.isPumping) {
      this.sendReady()
    } else if (!this.#isReadyListed) {
      // Other answers of this pump may be for this connection too: one send for all of them.
      this.#isReadyListed = true
      this.#parts.ready.push(this)
    }
  }

  /** Sends the responses at the head of the queue that are ready, in one go. */
  sendReady(): void {
    this.#isReadyListed = false
    if (this.#slots.length === 0 || !(this.#slots[0] as Slot).isReady) return
    const now = this.#nowMs()
    const first = this.#slots.shift() as Slot
    this.#waitingBytes -= first.bytes
    first.row.latency.observe(now - first.arrivedMs)
    const { chunks } = first
    const releases = first.release === undefined ? [] : [first.release]
    while (this.#slots.length > 0 && (this.#slots[0] as Slot).isReady) {
      const slot = this.#slots.shift() as Slot
      this.#waitingBytes -= slot.bytes
      slot.row.latency.observe(now - slot.arrivedMs)
      for (const chunk of slot.chunks) chunks.push(chunk)
      if (slot.release !== undefined) releases.push(slot.release)
    }
    if (chunks.length > 0) this.#send(chunks, releases)
    this.#slots[0]?.onFirst?.()
    this.updateReading()
  }

  #send(chunks: Uint8Array[], releases: (() => void)[]): void {
    const isFirst = this.#sendsUnderWay++ === 0
    let isSending = true
    this.transport.send(chunks, () => {
      this.#sendsUnderWay--
      // Most leave at once: no need to ask for the time.
      if (!isSending) this.#sendingSinceMs = this.#lastActiveMs = this.#nowMs()
      for (const release of releases) release()
      // Extents go back to their shards now, not with somebody's next request.
      if (releases.length > 0) this.#parts.broker.hub.flush()
      if (!this.#isClosed && !isSending) this.updateReading()
    })
    isSending = false
    if (isFirst && this.#sendsUnderWay > 0) this.#sendingSinceMs = this.#nowMs()
  }

  #nowMs(): number {
    return this.#parts.broker.clock.monotonicMs()
  }

  #discard(slot: Slot): void {
    if (!slot.isReady) return // Its completion comes here later.
    slot.release?.()
    slot.release = undefined
  }

  #violate(reason: string, kind: ComplaintKind = 'protocol'): void {
    this.#isDraining = true
    this.close(reason, kind)
  }
}

/** One request's, without a closure of its own. */
class Context implements RequestContext {
  readonly apiKey: number
  readonly apiVersion: number
  readonly clientId: string | null
  readonly frame: RequestFrame
  readonly #connection: KafkaConnection
  readonly #slot: Slot

  constructor(
    connection: KafkaConnection,
    { header, slot, frame }: { header: RequestHeader; slot: Slot; frame: RequestFrame },
  ) {
    this.#connection = connection
    this.#slot = slot
    this.apiKey = header.requestApiKey
    this.apiVersion = header.requestApiVersion
    this.clientId = header.clientId
    this.frame = frame
  }

  get connectionId(): number {
    return this.#connection.id
  }

  get remoteAddress(): string {
    return this.#connection.remoteAddress
  }

  get listenerName(): string {
    return this.#connection.listenerName
  }

  get sendTurns(): SendTurns {
    return this.#connection.sendTurns
  }

  whenFirst(): Promise<void> | null {
    return this.#connection.whenFirst(this.#slot)
  }

  onClose(callback: () => void): () => void {
    return this.#connection.onClose(callback)
  }

  close(reason: string): void {
    this.#connection.close(reason, 'failed_append')
  }
}

function encode(slot: Slot, body: object): Uint8Array[] {
  return encodeResponse(
    slot.apiKey as SupportedApiKey,
    slot.apiVersion,
    slot.correlationId,
    body as ResponseInit<SupportedApiKey>,
  )
}
