/**
 * The entry to the library: one client is one connection to the server, which its producers,
 * consumers and admin share, and one more to each broker of a cluster that leads what they need.
 * The platform is an argument (`src/index.ts` brings Node's).
 */
import { Admin } from './admin.ts'
import { Consumer } from './consumer.ts'
import type { ConsumerOptions } from './consumer-options.ts'
import { ClosedError } from './errors.ts'
import { GroupConsumer } from './group-consumer.ts'
import type { GroupConsumerOptions } from './group-options.ts'
import { Link, type WaitOptions } from './link.ts'
import type { Platform } from './platform.ts'
import { Producer } from './producer.ts'
import { type ProducerOptions, positive } from './producer-options.ts'

export interface ClientOptions {
  /**
   * Such as `ws://127.0.0.1:8080/ws`, or `wss:` behind a proxy that does TLS. Several, in a list or
   * with commas between them, for brokers of one cluster: any of them will do to begin with.
   */
  readonly url: string | readonly string[]
  /**
   * False for a client that reaches the brokers at one address only, such as a proxy's: whichever
   * broker is there passes on what others lead. Default: true.
   */
  readonly followLeaders?: boolean
  /** Names this client in its diagnostics events; the protocol has no place for it. */
  readonly clientId?: string
  /** How long an answer may take before the connection is given up. Default: 30000. */
  readonly requestTimeoutMs?: number
  /** What producers may have under way, bytes, as far as the server has it. Default: 4 MiB. */
  readonly creditWindowBytes?: number
  /** How long until the next try to connect; doubles, with jitter. Default: 100 to 10000. */
  readonly reconnectMinMs?: number
  readonly reconnectMaxMs?: number
}

/** Made by `createClient`. Connects when it is first used, and again whenever that is lost. */
export class Client implements AsyncDisposable {
  readonly #link: Link
  readonly #open = new Set<Producer | Consumer | GroupConsumer>()
  #closing: Promise<void> | null = null

  /** Throws TypeError or RangeError for wrong options. */
  constructor(options: ClientOptions, platform: Platform) {
    const [url, ...moreUrls] = urlsOf(options.url)
    const minMs = positive('reconnectMinMs', options.reconnectMinMs ?? 100)
    this.#link = new Link(
      {
        url,
        moreUrls,
        followLeaders: options.followLeaders ?? true,
        clientId: options.clientId,
        requestTimeoutMs: positive('requestTimeoutMs', options.requestTimeoutMs ?? 30_000),
        creditWindowBytes: positive(
          'creditWindowBytes',
          options.creditWindowBytes ?? 4 * 1024 * 1024,
        ),
        reconnect: { minMs, maxMs: Math.max(minMs, options.reconnectMaxMs ?? 10_000) },
      },
      platform,
    )
  }

  /** Whether there is a connection now. */
  get isConnected(): boolean {
    return this.#link.connection !== null
  }

  /** Resolves when there is a connection: for those who want to know early. */
  async connect(options: WaitOptions = {}): Promise<void> {
    await this.#link.connect(options)
  }

  /** Throws TypeError or RangeError for wrong options, ClosedError. */
  producer(options: ProducerOptions = {}): Producer {
    this.#checkOpen()
    const producer: Producer = new Producer(this.#link, options, () => this.#open.delete(producer))
    this.#open.add(producer)
    return producer
  }

  /**
   * With a `group` a member of it, else by assignment. Throws TypeError or RangeError for wrong
   * options, ClosedError.
   */
  consumer(options: GroupConsumerOptions): GroupConsumer
  consumer(options: ConsumerOptions): Consumer
  consumer(options: ConsumerOptions | GroupConsumerOptions): Consumer | GroupConsumer {
    this.#checkOpen()
    if ('group' in options) {
      const member: GroupConsumer = new GroupConsumer(this.#link, options, () => {
        this.#open.delete(member)
      })
      this.#open.add(member)
      return member
    }
    const consumer: Consumer = new Consumer(this.#link, options, () => this.#open.delete(consumer))
    this.#open.add(consumer)
    return consumer
  }

  admin(): Admin {
    return new Admin(this.#link)
  }

  /**
   * Closes producers, which send what they have, and consumers, then the connection. The signal
   * ends the wait for the server: what is not stored by then fails. Rejects with the first failure
   * of an event that nobody waited for; the client is closed all the same.
   */
  close(options: WaitOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(options: WaitOptions): Promise<void> {
    const ended = await Promise.allSettled([...this.#open].map((one) => one.close(options)))
    this.#link.close()
    for (const result of ended) if (result.status === 'rejected') throw result.reason
  }

  #checkOpen(): void {
    if (this.#closing !== null) throw new ClosedError('client')
  }
}

function urlsOf(given: string | readonly string[]): [string, ...string[]] {
  const urls = (typeof given === 'string' ? given.split(',') : given).map((one) => one.trim())
  for (const url of urls) {
    const { protocol } = new URL(url)
    if (protocol !== 'ws:' && protocol !== 'wss:') {
      throw new TypeError(`a url begins with ws: or wss:, not ${protocol}`)
    }
  }
  const [first, ...others] = urls
  if (first === undefined) throw new TypeError('a client needs a url')
  return [first, ...others]
}
