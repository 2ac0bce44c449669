/**
 * Produce over `millrace.v1`: the frame is encoded and masked once, its request id is the slot.
 * What is under way never exceeds the credits that the server gave.
 */
import {
  decodeServerMessage,
  EnvelopeError,
  encodeEnvelope,
} from '../../wire/websocket/envelope.ts'
import {
  type ClientMessage,
  MESSAGE_COST_BYTES,
  type ServerMessage,
  type ServerMessages,
} from '../../wire/websocket/messages.ts'
import { buildRecordBatch } from '../build-batch.ts'
import type {
  LoadRecord,
  PreparedRequest,
  RequestConnection,
  RequestDriver,
  RequestDriverOptions,
  RequestEvents,
} from '../driver.ts'
import { refusalOf } from '../kafka/kafka-requests.ts'
import { LoadError } from '../load-error.ts'
import type { Place } from '../place.ts'
import { maskedFrame, OPCODE_BINARY } from './frames.ts'
import { MessageSocket } from './message-socket.ts'

const ENVELOPE_BYTES_MAX = 1024 * 1024
/** Whoever is short of credits asks again so often: nothing says that the first was heard. */
const ASK_AGAIN_MS = 1000
/** So often, with nothing under way, and the wait for one's turn is all that would be measured. */
const VAIN_ASKS_MAX = 30
/** A frame's head and mask, at most. */
const FRAME_HEAD_BYTES = 14

export interface WebSocketRequestsOptions extends RequestDriverOptions {
  readonly url: string
  readonly inFlight: number
}

export class WebSocketRequests implements RequestDriver {
  readonly #options: WebSocketRequestsOptions

  constructor(options: WebSocketRequestsOptions) {
    this.#options = options
  }

  buildBatch(records: readonly LoadRecord[]): Promise<Uint8Array> {
    return buildRecordBatch(records, this.#options.compression)
  }

  prepare(
    place: number,
    slot: number,
    { bytes, events }: { readonly bytes: Uint8Array; readonly events: number },
  ): PreparedRequest {
    const { topic, partition } = this.#options.places[place] as Place
    const envelope = encodeEnvelope({
      type: 'produce',
      id: slot,
      acks: this.#options.acks,
      partitions: [[topic, partition, bytes.length]],
    })
    const message = maskedFrame(OPCODE_BINARY, Buffer.concat([envelope, bytes]))
    return { place, events, batchBytes: bytes.length, message }
  }

  async open(events: RequestEvents): Promise<RequestConnection> {
    const connection = new ProduceConnection(this.#options, events)
    await connection.connect()
    return connection
  }
}

class ProduceConnection implements RequestConnection {
  readonly #options: WebSocketRequestsOptions
  readonly #events: RequestEvents
  #socket: MessageSocket | null = null
  #limits: ServerMessages['hello']['limits'] | null = null
  /** Bytes that may be sent now. */
  #credits = 0
  /** By slot: what its request cost. */
  readonly #costs: number[] = []
  /** Of the largest request so far: what one more may want. */
  #costMax = 0
  #askedMs = Number.NEGATIVE_INFINITY
  #askTimer: NodeJS.Timeout | null = null
  /** Since the last request went. */
  #vainAsks = 0
  #greeting: { resolve(): void; reject(error: LoadError): void } | null = null

  constructor(options: WebSocketRequestsOptions, events: RequestEvents) {
    this.#options = options
    this.#events = events
  }

  /** Resolves when the server has said hello. Throws LoadError. */
  async connect(): Promise<void> {
    const hello = new Promise<void>((resolve, reject) => {
      this.#greeting = { resolve, reject }
    })
    this.#socket = await MessageSocket.open(this.#options.url, {
      message: (bytes) => this.#receive(bytes),
      broke: (reason) => this.#broke(reason),
    })
    await hello
  }

  mayTake(bytes: number): boolean {
    const cost = bytes + MESSAGE_COST_BYTES
    this.#costMax = Math.max(this.#costMax, cost)
    if (cost <= this.#credits) return true
    this.#askForCredits(bytes)
    return false
  }

  send(slot: number, request: PreparedRequest): void {
    const { acks } = this.#options
    // The frame's head is no part of the message: the cost is a few bytes less than said.
    const cost = messageBytes(request.message.length) + MESSAGE_COST_BYTES
    this.#credits -= cost
    this.#costs[slot] = cost
    this.#vainAsks = 0
    if (acks !== 0) this.#socket?.write(request.message)
    else this.#socket?.write(request.message, () => this.#events.answered(slot, -1, null))
  }

  close(): void {
    if (this.#askTimer !== null) clearTimeout(this.#askTimer)
    this.#askTimer = null
    this.#socket?.close()
    this.#socket = null
  }

  #broke(reason: string): void {
    this.close()
    const greeting = this.#greeting
    this.#greeting = null
    if (greeting === null) this.#events.broke(reason)
    else greeting.reject(new LoadError(reason))
  }

  #askForCredits(bytes: number): void {
    const limit = this.#limits?.messageBytes ?? Infinity
    if (bytes - FRAME_HEAD_BYTES > limit) {
      const text = `this broker takes messages of ${limit} bytes: a smaller --batch-bytes`
      this.close()
      queueMicrotask(() => this.#events.broke(text))
      return
    }
    // Also when it has just asked: what comes then may still be too little.
    if (this.#askTimer !== null) return
    const nowMs = performance.now()
    if (nowMs - this.#askedMs >= ASK_AGAIN_MS) {
      this.#askedMs = nowMs
      this.#say({ type: 'requestCredits', bytes: this.#costMax * this.#options.inFlight })
    }
    this.#askTimer = setTimeout(() => this.#askedInVain(), ASK_AGAIN_MS)
  }

  /**
   * A server shares its memory among all: with very many who want much, one's turn may be further
   * away than a measurement is worth.
   */
  #askedInVain(): void {
    this.#askTimer = null
    this.#vainAsks++
    const isWaiting = this.#costs.some((cost) => cost > 0)
    if (isWaiting || this.#vainAsks < VAIN_ASKS_MAX) {
      this.#events.room()
      return
    }
    this.#broke(
      `this broker gives each connection ${this.#credits} bytes of credits and a request needs ` +
        `${this.#costMax}: fewer --connections, or a smaller --batch-bytes`,
    )
  }

  #say(message: ClientMessage): void {
    this.#socket?.write(maskedFrame(OPCODE_BINARY, encodeEnvelope(message)))
  }

  #receive(bytes: Buffer): void {
    let message: ServerMessage
    try {
      message = decodeServerMessage(bytes, ENVELOPE_BYTES_MAX).envelope
    } catch (error) {
      if (!(error instanceof EnvelopeError)) throw error
      this.#broke(error.message)
      return
    }
    switch (message.type) {
      case 'hello':
        this.#limits = message.limits
        this.#credits = message.credits
        this.#greeting?.resolve()
        this.#greeting = null
        return
      case 'credits':
        this.#grant(message.bytes)
        return
      case 'recall':
        this.#giveBack(message.bytes)
        return
      case 'produced':
        this.#produced(message)
        return
      case 'error':
        if (message.id === null) this.#broke(`${message.name}: ${message.message}`)
        else
          this.#answered(message.id, message.kept ?? 0, -1, `${message.name}: ${message.message}`)
        return
      default:
        this.#broke(`it sent a ${message.type} that nobody asked for`)
    }
  }

  #produced(message: ServerMessages['produced']): void {
    const [code = -1, baseOffset = -1, , , text = null] = message.partitions[0] ?? []
    const refusal = code === 0 ? null : text === null ? refusalOf(code) : `${code}: ${text}`
    this.#answered(message.id, message.kept ?? 0, baseOffset, refusal)
  }

  #answered(slot: number, kept: number, baseOffset: number, refusal: string | null): void {
    this.#credits += (this.#costs[slot] ?? 0) - kept
    if (kept > 0) this.#askedMs = -Infinity // The server has forgotten what was asked for.
    this.#costs[slot] = 0
    this.#events.answered(slot, baseOffset, refusal)
  }

  #grant(bytes: number): void {
    this.#credits += bytes
    if (this.#askTimer !== null) clearTimeout(this.#askTimer)
    this.#askTimer = null
    this.#events.room()
  }

  /** Others wait: what is beyond the next request goes back; all, if it is too little for it. */
  #giveBack(bytes: number): void {
    const needed = this.#credits < this.#costMax ? 0 : this.#costMax
    const spare = Math.min(bytes, this.#credits - needed)
    this.#credits -= spare
    this.#say({ type: 'yieldCredits', bytes: spare })
  }
}

/** The length of the message in a masked frame of one piece. */
function messageBytes(frameBytes: number): number {
  const small = frameBytes - 6
  if (small < 126) return small
  const middle = frameBytes - 8
  return middle < 0x1_0000 ? middle : frameBytes - FRAME_HEAD_BYTES
}
