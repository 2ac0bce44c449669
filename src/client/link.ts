/**
 * Keeps a connection to the server: opens it when somebody needs it, opens the next one when it is
 * lost, later and later while that fails (exponential backoff with jitter). A client's first link
 * takes any of the brokers it knows; those that `leaders` opens go to one broker each. Producers
 * and consumers attach themselves and are told of every connection; whoever has a single question
 * asks `request`.
 */
import type { ServerMessage, ServerMessages } from '../wire/websocket/messages.ts'
import { Connection, type ConnectionOptions, type RequestMessage } from './connection.ts'
import { ClosedError, ConnectionError, type MillraceError } from './errors.ts'
import { Leaders } from './leaders.ts'
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
/** Who waits for a new leader asks at least so often. */
const LEADERS_RETRY_MS_MAX = 1000

export interface LinkOptions extends ConnectionOptions {
  /** Of other brokers of the same cluster: one after another is tried. */
  readonly moreUrls?: readonly string[]
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
  /** The broker at the other end, or that was there last. */
  #node: number | null = null
  /** Which of the URLs is next. */
  #turn = 0
  #url: string
  /** Of all links of a client. */
  readonly leaders: Leaders<Link>
  readonly #isMain: boolean

  /** `leaders`: whoever opens a link to one broker. */
  constructor(options: LinkOptions, platform: Platform, leaders: Leaders<Link> | null = null) {
    this.#options = options
    this.#url = options.url
    this.platform = platform
    this.#isMain = leaders === null
    this.leaders = leaders ?? this.#makeLeaders()
  }

  #makeLeaders(): Leaders<Link> {
    const { platform } = this
    const options = this.#options
    return new Leaders<Link>({
      main: this,
      follows: options.followLeaders !== false,
      mainNode: () => this.#node,
      open: (url) => new Link({ ...options, url, moreUrls: [] }, platform, this.leaders),
      close: (link) => link.close(),
      isOpen: (link) => link.connection !== null,
      ask: (topics, signal) =>
        this.request({ type: 'metadata', topics: [...topics] }, 'metadata', {
          repeat: true,
          signal,
        }),
      timers: platform.timers,
      random: () => platform.random(),
      retry: { minMs: options.reconnect.minMs, maxMs: LEADERS_RETRY_MS_MAX },
    })
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
    if (this.#isMain) this.leaders.close()
    const error = new ClosedError('client')
    this.#latest?.close(error)
    this.#rejectWaiting(error)
  }

  #start(): void {
    if (this.#latest !== null || this.#cancelRetry !== null || this.#isClosed) return
    const urls = this.#urls()
    this.#url = urls[this.#turn % urls.length] as string
    const options = { ...this.#options, url: this.#url }
    this.#latest = new Connection(options, this.platform, {
      opened: (connection) => this.#opened(connection),
      closed: (_, error) => this.#lost(error),
    })
  }

  /** The brokers that will do. */
  #urls(): readonly string[] {
    const { url, moreUrls = [] } = this.#options
    return this.#isMain ? [...new Set([url, ...moreUrls, ...this.leaders.urls])] : [url]
  }

  #opened(connection: Connection): void {
    this.#current = connection
    this.#openedMs = this.platform.timers.monotonicMs()
    const { server, node, cluster } = connection.hello
    this.#node = node
    const url = this.#url
    const { clientId } = this.#options
    const channel = this.platform.events?.connect
    if (channel?.hasSubscribers) channel.publish({ url, clientId, server, node, cluster })
    if (this.#isMain) this.leaders.mainOpened()
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
      const { clientId } = this.#options
      events.disconnect.publish({ url: this.#url, clientId, error })
    }
    if (!error.retriable) this.#rejectWaiting(error)
    if (wasOpen) for (const user of this.#users) user.disconnected(error)
    if (this.#isClosed) return
    this.leaders.lost(this)
    this.#turn++
    // A round of all brokers counts as one try.
    const rounds = Math.floor(this.#failures / this.#urls().length)
    const delayMs = backoffMs(rounds, this.#options.reconnect, random())
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
