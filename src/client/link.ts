/**
 * Keeps a connection to the server: opens it when somebody needs it, opens the next one when it is
 * lost, later and later while that fails (exponential backoff with jitter). Producers and consumers
 * attach themselves and are told of every connection; whoever has a single question asks `request`.
 */
import type { ServerMessage, ServerMessages } from '../wire/websocket/messages.ts'
import { Connection, type ConnectionOptions, type RequestMessage } from './connection.ts'
import { ClosedError, ConnectionError, type MillraceError } from './errors.ts'
import type { Platform } from './platform.ts'
import {
  abortable,
  type BackoffOptions,
  backoffMs,
  type Deferred,
  deferred,
  withTimeout,
} from './wait.ts'

/** A connection that lived for so long ends the series of failures before it. */
const SETTLED_MS = 10_000

export interface LinkOptions extends ConnectionOptions {
  /** Names the client in its events. */
  readonly clientId?: string | undefined
  readonly reconnect: BackoffOptions
}

/** Somebody who works over whatever connection there is. */
export interface LinkUser {
  connected(connection: Connection): void
  /** What was under way on the connection has failed already, with the same error. */
  disconnected(error: MillraceError): void
}

export interface WaitOptions {
  /** Ends the wait, not what has been sent already. */
  readonly signal?: AbortSignal | undefined
}

export interface AskOptions extends WaitOptions {
  /** A question without effects is asked again when the connection is lost. Default: false. */
  readonly repeat?: boolean
}

export class Link {
  readonly platform: Platform
  readonly #options: LinkOptions
  readonly #users = new Set<LinkUser>()
  #waiting: Deferred<Connection>[] = []
  #current: Connection | null = null
  /** The one that is being opened, or is `#current`. */
  #latest: Connection | null = null
  #openedMs = 0
  #failures = 0
  #cancelRetry: (() => void) | null = null
  #isClosed = false

  constructor(options: LinkOptions, platform: Platform) {
    this.#options = options
    this.platform = platform
  }

  /** The open connection, or null. */
  get connection(): Connection | null {
    return this.#current
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Tells `user` of every connection from now on, the present one at once. */
  attach(user: LinkUser): void {
    this.#users.add(user)
    if (this.#current !== null) user.connected(this.#current)
    else this.#start()
  }

  detach(user: LinkUser): void {
    this.#users.delete(user)
  }

  /** Resolves when there is a connection. Rejects with ClosedError, or what cannot be retried. */
  connect(options: WaitOptions = {}): Promise<Connection> {
    if (this.#isClosed) return Promise.reject(new ClosedError('client'))
    if (this.#current !== null) return Promise.resolve(this.#current)
    const waiter = deferred<Connection>()
    this.#waiting.push(waiter)
    this.#start()
    return abortable(waiter.promise, options.signal)
  }

  /**
   * Asks once there is a connection. Rejects with TimeoutError when that takes longer than the time
   * of a request, with ConnectionError when the connection is lost before the answer.
   */
  request<T extends ServerMessage['type']>(
    message: RequestMessage,
    answer: T,
    options: AskOptions = {},
  ): Promise<ServerMessages[T]> {
    const gaveUp = new AbortController()
    const asked = withTimeout(
      this.#ask(message, answer, { repeat: options.repeat === true, gaveUp: gaveUp.signal }),
      this.platform.timers,
      { delayMs: this.#options.requestTimeoutMs, what: `the request ${message.type}` },
    )
    // What nobody waits for any more must not be done when there is a connection again.
    const result = abortable(asked, options.signal)
    return result.finally(() => gaveUp.abort())
  }

  async #ask<T extends ServerMessage['type']>(
    message: RequestMessage,
    answer: T,
    options: { repeat: boolean; gaveUp: AbortSignal },
  ): Promise<ServerMessages[T]> {
    for (;;) {
      const connection = await this.connect({ signal: options.gaveUp })
      options.gaveUp.throwIfAborted()
      try {
        return await connection.request(message, answer)
      } catch (error) {
        const isLost = error instanceof ConnectionError && !this.#isClosed
        if (!isLost || !options.repeat) throw error
      }
    }
  }

  /** Ends the connection and all waits; nothing opens another. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#cancelRetry?.()
    const error = new ClosedError('client')
    this.#latest?.close(error)
    this.#rejectWaiting(error)
  }

  #start(): void {
    if (this.#latest !== null || this.#cancelRetry !== null || this.#isClosed) return
    this.#latest = new Connection(this.#options, this.platform, {
      opened: (connection) => this.#opened(connection),
      closed: (_, error) => this.#lost(error),
    })
  }

  #opened(connection: Connection): void {
    this.#current = connection
    this.#openedMs = this.platform.timers.monotonicMs()
    const { server, node, cluster } = connection.hello
    const { url, clientId } = this.#options
    const channel = this.platform.events?.connect
    if (channel?.hasSubscribers) channel.publish({ url, clientId, server, node, cluster })
    for (const waiter of this.#waiting.splice(0)) waiter.resolve(connection)
    for (const user of this.#users) {
      if (this.#current === connection) user.connected(connection)
    }
  }

  #lost(error: MillraceError): void {
    const { timers, random, events } = this.platform
    const wasOpen = this.#current !== null
    if (wasOpen && timers.monotonicMs() - this.#openedMs >= SETTLED_MS) this.#failures = 0
    this.#latest = null
    this.#current = null
    if (events?.disconnect.hasSubscribers) {
      const { url, clientId } = this.#options
      events.disconnect.publish({ url, clientId, error })
    }
    if (!error.retriable) this.#rejectWaiting(error)
    if (wasOpen) for (const user of this.#users) user.disconnected(error)
    if (this.#isClosed) return
    const delayMs = backoffMs(this.#failures, this.#options.reconnect, random())
    this.#failures++
    this.#cancelRetry = timers.after(delayMs, () => {
      this.#cancelRetry = null
      if (this.#users.size > 0 || this.#waiting.length > 0) this.#start()
    })
  }

  #rejectWaiting(error: MillraceError): void {
    for (const waiter of this.#waiting.splice(0)) waiter.reject(error)
  }
}
