import type { Connection, SubscriptionSink } from '../../client/connection.ts'
import type { ClientMessages, ServerMessages } from '../../wire/websocket/messages.ts'
import type { SessionLink } from './session-link.ts'

/**
 * A subscription of a client that knows this broker only, to a partition of another one: the same
 * subscription there, whose pushes are passed on as they come. The other broker is granted little
 * at a time, and nothing more while the client does not read: memory is bounded by that, and by one
 * larger batch. Runs on main.
 */
type Push = readonly [ServerMessages['batches'], Uint8Array]

/** Granted to the other broker at once, of what the client has granted. */
const WINDOW_BYTES = 256 * 1024
/** So much may wait to be read by the client, of all that it gets. */
const BUFFERED_BYTES_MAX = 4 * 1024 * 1024

export class RelayedSubscription implements SubscriptionSink {
  readonly id: number
  readonly #session: SessionLink
  readonly #connection: Connection
  readonly #onEnded: (subscription: RelayedSubscription) => void
  readonly #number: number
  /** That the client has granted and nobody has used, bytes. */
  #credits: number
  /** Of these, what the other broker has. */
  #outstanding = 0
  /** Pushed on, and not taken by the system yet. */
  #sending = 0
  #waiting: Push[] = []
  #isOver = false

  constructor(
    parts: {
      readonly session: SessionLink
      readonly connection: Connection
      readonly onEnded: (subscription: RelayedSubscription) => void
    },
    message: ClientMessages['subscribe'],
  ) {
    this.id = message.subscription
    this.#session = parts.session
    this.#connection = parts.connection
    this.#onEnded = parts.onEnded
    this.#credits = message.credits
    this.#number = parts.connection.openSubscription(this)
    this.#subscribe(message)
  }

  get credits(): number {
    return this.#credits
  }

  #subscribe({ id, topic, partition, offset, maxBytes }: ClientMessages['subscribe']): void {
    const session = this.#session
    this.#outstanding = Math.min(WINDOW_BYTES, Math.max(0, this.#credits))
    const place = { subscription: this.#number, topic, partition, offset }
    const sizes = {
      credits: this.#outstanding,
      maxBytes: Math.min(maxBytes ?? WINDOW_BYTES, WINDOW_BYTES),
    }
    this.#connection.send(
      { type: 'subscribe', ...place, ...sizes },
      {
        answered: (message) => {
          if (this.#isOver) return
          const said = message as ServerMessages['subscribed']
          session.answer({ ...said, id, subscription: this.id })
        },
        failed: ({ code, message }) => {
          if (this.#isOver) return
          this.close()
          this.#onEnded(this)
          session.fail(id, code, message)
        },
      },
    )
  }

  grant(bytes: number): void {
    this.#credits += bytes
    this.#refill()
  }

  pushed(message: ServerMessages['batches'], payload: Uint8Array): void {
    this.#outstanding -= message.bytes
    this.#waiting.push([message, payload.subarray(0, message.bytes)])
    this.drain()
  }

  ended({ code, name, message, retriable }: ServerMessages['ended']): void {
    this.#isOver = true
    this.#waiting = []
    this.#onEnded(this)
    this.#session.send({ type: 'ended', subscription: this.id, code, name, message, retriable })
  }

  /** Passes on what the client has room for. */
  drain(): void {
    while (this.#waiting.length > 0 && this.#session.peer.bufferedBytes < BUFFERED_BYTES_MAX) {
      const [{ highWatermark, logStartOffset, bytes }, payload] = this.#waiting.shift() as Push
      this.#credits -= bytes
      this.#sending += bytes
      this.#session.send(
        { type: 'batches', subscription: this.id, highWatermark, logStartOffset, bytes },
        [payload],
        () => {
          this.#sending -= bytes
          this.#refill()
        },
      )
    }
  }

  /** Ends it without a word. */
  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#waiting = []
    this.#connection.dropSubscription(this.#number)
    if (!this.#connection.isOpen) return
    const over = { answered: () => {}, failed: () => {} }
    this.#connection.send({ type: 'unsubscribe', subscription: this.#number }, over)
  }

  #refill(): void {
    if (this.#isOver) return
    let held = this.#sending
    for (const [{ bytes }] of this.#waiting) held += bytes
    const free = Math.min(
      this.#credits - this.#outstanding,
      WINDOW_BYTES - this.#outstanding - held,
    )
    const isDry = this.#outstanding <= 0
    if (free <= 0 || (free < WINDOW_BYTES / 4 && !isDry)) return
    this.#outstanding += free
    this.#connection.flow(this.#number, free)
  }
}
