/**
 * A connection that exchanges Kafka's frames, for load: frames are handed on where they lie. Only
 * who asked knows what an answer is.
 */
import { type Address, LoadSocket } from '../load-socket.ts'
import { ReceiveBuffer } from '../receive-buffer.ts'

/** Bytes [start, end) of `bytes` are one response, correlation id first, until `answer` returns. */
export interface FrameEvents {
  answer(bytes: Buffer, start: number, end: number): void
  broke(reason: string): void
}

export interface FrameLimits {
  /** A longer response is none. */
  readonly responseBytesMax: number
  readonly receiveBytes?: number
}

const SIZE_BYTES = 4
const RESPONSE_BYTES_MIN = 4

export class KafkaFrames {
  #socket: LoadSocket | null = null
  readonly #events: FrameEvents
  readonly #limits: FrameLimits
  readonly #received = new ReceiveBuffer((bytes, start, end) => this.#take(bytes, start, end))

  private constructor(events: FrameEvents, limits: FrameLimits) {
    this.#events = events
    this.#limits = limits
  }

  /** Throws LoadError when nobody is there. */
  static async open(
    address: Address,
    events: FrameEvents,
    limits: FrameLimits,
  ): Promise<KafkaFrames> {
    const frames = new KafkaFrames(events, limits)
    const { receiveBytes } = limits
    frames.#socket = await LoadSocket.open(
      { ...address, ...(receiveBytes === undefined ? {} : { receiveBytes }) },
      {
        received: (bytes, length) => frames.#received.push(bytes, length),
        ended: (reason) => events.broke(reason),
      },
    )
    return frames
  }

  /** Sends a whole request, which must not change until it is sent. */
  write(request: Uint8Array, onSent?: () => void): void {
    this.#socket?.write(request, onSent)
  }

  close(): void {
    this.#socket?.close()
    this.#socket = null
  }

  #take(bytes: Buffer, start: number, end: number): number {
    let at = start
    while (end - at >= SIZE_BYTES && this.#socket !== null) {
      const size = bytes.readInt32BE(at)
      if (size < RESPONSE_BYTES_MIN || size > this.#limits.responseBytesMax) {
        this.close()
        this.#events.broke(`it sent a frame of ${size} bytes: is it a Kafka broker?`)
        break
      }
      if (end - at < SIZE_BYTES + size) break
      this.#events.answer(bytes, at + SIZE_BYTES, at + SIZE_BYTES + size)
      at += SIZE_BYTES + size
    }
    return at - start
  }
}
