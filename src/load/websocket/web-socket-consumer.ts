/** Reads partitions over `millrace.v1`: one subscription each, pushed as far as credits go. */
import {
  decodeServerMessage,
  EnvelopeError,
  encodeEnvelope,
} from '../../wire/websocket/envelope.ts'
import type { ClientMessage, ServerMessage, ServerMessages } from '../../wire/websocket/messages.ts'
import type { ConsumerLane, ConsumerOptions, ConsumerSink } from '../consumer-lane.ts'
import type { Place } from '../place.ts'
import { scanBatches } from '../scan-batches.ts'
import { maskedFrame, OPCODE_BINARY } from './frames.ts'
import { MessageSocket } from './message-socket.ts'

const ENVELOPE_BYTES_MAX = 1024 * 1024
const RECEIVE_BYTES = 256 * 1024
/** Pushes of a partition that may be on their way. */
const PUSHES_AHEAD = 2

export class WebSocketConsumer implements ConsumerLane {
  readonly #options: ConsumerOptions
  readonly #sink: ConsumerSink
  #socket: MessageSocket | null = null
  #hello: ServerMessages['hello'] | null = null
  #isStarted = false
  /** Credits to produce: nobody needs them here. */
  #unused = 0

  private constructor(options: ConsumerOptions, sink: ConsumerSink) {
    this.#options = options
    this.#sink = sink
  }

  /** Connects. Throws LoadError. */
  static async open(
    url: string,
    options: ConsumerOptions,
    sink: ConsumerSink,
  ): Promise<WebSocketConsumer> {
    const consumer = new WebSocketConsumer(options, sink)
    consumer.#socket = await MessageSocket.open(
      url,
      {
        message: (bytes) => consumer.#receive(bytes),
        broke: (reason) => consumer.#broke(reason),
      },
      RECEIVE_BYTES,
    )
    return consumer
  }

  /** Subscribes, at the latest when the server has said hello. */
  start(): void {
    this.#isStarted = true
    if (this.#hello !== null) this.#subscribe(this.#hello)
  }

  close(): void {
    this.#socket?.close()
    this.#socket = null
  }

  #broke(reason: string): void {
    this.close()
    this.#sink.broke(reason)
  }

  #say(message: ClientMessage): void {
    this.#socket?.write(maskedFrame(OPCODE_BINARY, encodeEnvelope(message)))
  }

  /** The number of a subscription is the index of its place. */
  #subscribe({ limits }: ServerMessages['hello']): void {
    const { mine, places, from, fetchBytes } = this.#options
    if (mine.length > limits.subscriptions || mine.length * 2 > limits.pushBytes) {
      const text = `one connection has ${limits.subscriptions} subscriptions at most`
      this.#broke(`${text}: more --consumers, or fewer partitions`)
      return
    }
    const share = Math.floor(limits.pushBytes / mine.length)
    const credits = Math.min(PUSHES_AHEAD * fetchBytes, share)
    for (const index of mine) {
      const { topic, partition } = places[index] as Place
      const offset = from[index] as number
      const maxBytes = Math.min(fetchBytes, credits)
      const what = { topic, partition, offset, credits, maxBytes }
      this.#say({ type: 'subscribe', id: index, subscription: index, ...what })
    }
  }

  #receive(bytes: Buffer): void {
    let message: ServerMessage
    let payloadStart: number
    try {
      const decoded = decodeServerMessage(bytes, ENVELOPE_BYTES_MAX)
      message = decoded.envelope
      payloadStart = decoded.payloadStart
    } catch (error) {
      if (!(error instanceof EnvelopeError)) throw error
      this.#broke(error.message)
      return
    }
    switch (message.type) {
      case 'batches':
        this.#take(message, bytes, payloadStart)
        return
      case 'subscribed':
        this.#sink.highWatermark(message.subscription, message.highWatermark)
        return
      case 'hello':
        this.#hello = message
        this.#unused = message.credits
        if (this.#isStarted) this.#subscribe(message)
        return
      case 'ended':
        this.#sink.wrong(message.subscription, `${message.name}: ${message.message}`)
        return
      case 'error':
        if (message.id === null) this.#broke(`${message.name}: ${message.message}`)
        else this.#sink.wrong(message.id, `${message.name}: ${message.message}`)
        return
      case 'credits':
        this.#unused += message.bytes
        return
      case 'recall':
        this.#giveBack(message.bytes)
        return
      default:
        this.#broke(`it sent a ${message.type} that nobody asked for`)
    }
  }

  #giveBack(asked: number): void {
    const bytes = Math.min(asked, this.#unused)
    this.#unused -= bytes
    this.#say({ type: 'yieldCredits', bytes })
  }

  #take(message: ServerMessages['batches'], bytes: Buffer, start: number): void {
    const { subscription: index, highWatermark } = message
    this.#sink.highWatermark(index, highWatermark)
    const range = { start, end: start + message.bytes, checkCrc: this.#options.checkCrc }
    const problem = scanBatches(bytes, range, (baseOffset, lastOffset, size) => {
      this.#sink.arrived(index, { baseOffset, lastOffset, bytes: size })
    })
    if (problem !== null) {
      this.close()
      this.#sink.wrong(index, problem)
      return
    }
    this.#say({ type: 'flow', subscription: index, credits: message.bytes })
  }
}
