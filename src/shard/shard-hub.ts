import type { WaitAsyncParker } from '../ring/doorbell.ts'
import type { ShardHost } from './shard-host.ts'

/**
 * Main's pump over all shards: hands out answers, publishes requests, and asks to be woken when
 * there is nothing to do. Runs on main, never blocks.
 */
export interface HubWaker {
  /** Asks for one `pump` at the next answer; false when one is there already. */
  arm(): boolean
}

/** Without the addon: `Atomics.waitAsync`. */
export function waitAsyncWaker(parker: WaitAsyncParker, pump: () => void): HubWaker {
  return { arm: () => parker.arm(pump) }
}

/** Rounds of answers handed out before Node's event loop gets its turn. */
const ROUNDS_MAX = 16
const CONGESTION_RETRY_MS = 1
/** Requests of a round of sockets that may wait for its end before their shards hear of them. */
const REQUESTS_PER_FLUSH = 16

export class ShardHub {
  readonly host: ShardHost
  #waker: HubWaker | null = null
  #isScheduled = false
  #isPumping = false
  #retry: NodeJS.Timeout | null = null
  #isInRound = false
  #owedFlushes = 0
  #isFlushAsked = false
  readonly #afterPump: (() => void)[] = []

  constructor(host: ShardHost) {
    this.host = host
  }

  /** Starts pumping. Before it nothing that a shard says is heard. */
  start(waker: HubWaker): void {
    this.#waker = waker
    this.pump()
  }

  /** Answers are being handed out; what `onPumped` registered runs afterwards. */
  get isPumping(): boolean {
    return this.#isPumping
  }

  /** Runs after each pump: for whoever waits for memory or room in a lane. */
  onPumped(callback: () => void): void {
    this.#afterPump.push(callback)
  }

  /** True while a shard's lane has no room: sockets should not be read. */
  get isCongested(): boolean {
    for (const proxy of this.host.proxies) if (proxy.isCongested) return true
    return false
  }

  /** Publishes the requests written since the last call, with one wake a shard at most. */
  flush(): void {
    for (const proxy of this.host.proxies) proxy.flush()
    // Room in a lane rings nobody, and not every request has an answer that would.
    if (this.isCongested) this.#retryLater()
  }

  /**
   * Runs `round`, which serves many sockets, and publishes what it leaves behind. Waking a parked
   * shard costs more than a small request, so those of a round share one wake.
   */
  inRound(round: () => void): void {
    this.#isInRound = true
    try {
      round()
    } finally {
      this.#isInRound = false
      if (this.#owedFlushes > 0) this.#flushOwed()
    }
  }

  /** `flush`, but inside a round soon: for requests whose work is small beside a wake. */
  flushSoon(): void {
    this.#owedFlushes++
    if (!this.#isInRound || this.#owedFlushes >= REQUESTS_PER_FLUSH) this.#flushOwed()
  }

  /**
   * `flush`, once for all that ask while the event loop goes through its sockets: for requests that
   * come one by one from somebody else's sockets.
   */
  flushAfterPoll(): void {
    if (this.#isFlushAsked) return
    this.#isFlushAsked = true
    setImmediate(() => {
      this.#isFlushAsked = false
      this.flush()
    })
  }

  #flushOwed(): void {
    this.#owedFlushes = 0
    this.flush()
  }

  readonly pump = (): void => {
    if (this.#isPumping || this.#waker === null) return
    this.#isPumping = true
    try {
      for (let round = 0; round < ROUNDS_MAX; round++) {
        this.#poll()
        if (this.#waker.arm()) return
      }
      this.#schedule()
    } finally {
      this.#isPumping = false
    }
  }

  #poll(): void {
    for (const proxy of this.host.proxies) proxy.poll()
    for (const callback of this.#afterPump) callback()
    this.flush()
  }

  #retryLater(): void {
    if (this.#retry !== null) return
    this.#retry = setTimeout(() => {
      this.#retry = null
      this.pump()
    }, CONGESTION_RETRY_MS)
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.pump()
    })
  }
}
