import type { Broker } from '../../broker/broker.ts'
import type { BrokerConfig } from '../../config/broker-config.ts'
import { CloseCode, MESSAGE_COST_BYTES, VERSION } from '../../wire/websocket/messages.ts'
import type { Complaints } from '../complaints.ts'
import type { WebSocketHandler, WebSocketPeer } from '../web/web-server.ts'
import { CreditAccount } from './credit-account.ts'
import { CreditPool, type WindowHolder } from './credit-pool.ts'
import type { OpenLink } from './relays.ts'
import { Session } from './session.ts'
import type { SessionLimits } from './session-link.ts'
import { SubscriptionPlaces } from './subscription-places.ts'

/**
 * All clients that speak `millrace.v1`: greets them, shares and lends credits among them, and takes
 * back what idle ones hold while others wait. Runs on main.
 */
export interface DoorParts {
  readonly broker: Broker
  readonly complaints: Complaints
  /** Named in the hello. */
  readonly software: string
  readonly pingIntervalMs: number
  readonly idleTimeoutMs: number
  /** To other brokers, for clients that know this one only; left out where there are none. */
  readonly openLink?: OpenLink
  /** For tests. */
  readonly subscriptionsTotalMax?: number
}

const REQUESTS_MAX = 512
/** Of those that cost no credits: what is decoded takes several times as much. */
const REQUEST_BYTES_MAX = 1024 * 1024
const SUBSCRIPTIONS_MAX = 10_000
/** Of all clients together: 100 MB. */
const SUBSCRIPTIONS_TOTAL_MAX = 100_000
const PUSH_BYTES_MAX = 256 * 1024 * 1024
/** What a client may send before it has asked for more. */
const FIRST_CREDITS = 4096
/** No client's window takes more than this part of all credits. */
const WINDOW_SHARE = 4
/** So much of all credits is lent only; as much as a window, for no message is larger than that. */
const RESERVE_SHARE = WINDOW_SHARE
/** Beside a batch: an envelope that names it. */
const ENVELOPE_ROOM_BYTES = 64 * 1024
const SWEEP_MS = 1000
/** Credits that were not used for so long are asked back while others wait. */
const IDLE_CREDITS_MS = 2000
/** A loan that has not been paid back by then is asked back while others wait for one. */
const LOAN_MS = 2000
/** A recall that is not answered by then costs the connection. */
const RECALL_PATIENCE_MS = 10_000

export class WebSocketDoor {
  readonly #parts: DoorParts
  readonly #pool: CreditPool
  readonly #windowMax: number
  readonly #sessions = new Set<Session>()
  readonly #sessionOf = new Map<WindowHolder, Session>()
  readonly #waitingForMemory = new Set<Session>()
  readonly #limits: SessionLimits
  readonly #subscriptionPlaces: SubscriptionPlaces
  readonly #sweep: NodeJS.Timeout
  #accepted = 0

  constructor(parts: DoorParts) {
    this.#parts = parts
    this.#windowMax = windowMax(parts.broker.config)
    this.#pool = new CreditPool({
      bytesTotal: creditsTotal(parts.broker.config),
      reserveBytes: Math.floor(creditsTotal(parts.broker.config) / RESERVE_SHARE),
      messageCostMax: messageBytesMax(parts.broker.config) + MESSAGE_COST_BYTES,
    })
    this.#limits = {
      envelopeBytes: messageBytesMax(parts.broker.config),
      requests: REQUESTS_MAX,
      requestBytes: REQUEST_BYTES_MAX,
      subscriptions: SUBSCRIPTIONS_MAX,
      pushBytes: PUSH_BYTES_MAX,
    }
    const total = parts.subscriptionsTotalMax ?? SUBSCRIPTIONS_TOTAL_MAX
    this.#subscriptionPlaces = new SubscriptionPlaces(total)
    parts.broker.hub.onPumped(() => this.#resume())
    this.#sweep = setInterval(() => this.#sweepNow(), SWEEP_MS)
    this.#sweep.unref()
  }

  get connectionCount(): number {
    return this.#sessions.size
  }

  /** Clients since the start. */
  get acceptedCount(): number {
    return this.#accepted
  }

  get subscriptionCount(): number {
    return this.#sum((session) => session.subscriptionCount)
  }

  get requestCount(): number {
    return this.#sum((session) => session.requestCount)
  }

  /** Clients whose messages wait for memory. */
  get waitingCount(): number {
    return this.#waitingForMemory.size
  }

  get creditsMax(): number {
    return this.#pool.bytesTotal
  }

  #sum(count: (session: Session) => number): number {
    let sum = 0
    for (const session of this.#sessions) sum += count(session)
    return sum
  }

  /** Bytes of credits that clients hold or have under way. */
  get creditsGranted(): number {
    return this.#pool.bytesTotal - this.#pool.bytesFree
  }

  accept(peer: WebSocketPeer): WebSocketHandler {
    const { broker, complaints } = this.#parts
    this.#accepted++
    const session = new Session({
      broker,
      peer,
      account: new CreditAccount(this.#pool, this.#windowMax),
      limits: this.#limits,
      subscriptionPlaces: this.#subscriptionPlaces,
      waiting: this.#waitingForMemory,
      openLink: this.#parts.openLink ?? null,
      onClosed: (closed) => {
        this.#sessions.delete(closed)
        this.#sessionOf.delete(closed.account)
        this.#growWindows()
      },
      onCreditsFreed: () => this.#growWindows(),
      onLinedUp: () => this.#lend(),
      onViolation: (closed, reason, kind) => {
        complaints.closed(closed.peer.remoteAddress, reason, kind)
      },
    })
    this.#sessions.add(session)
    this.#sessionOf.set(session.account, session)
    session.send({
      type: 'hello',
      versions: [VERSION, VERSION],
      server: this.#parts.software,
      node: broker.nodeId,
      cluster: broker.clusterId,
      limits: {
        messageBytes: messageBytesMax(broker.config),
        batchBytes: Math.min(broker.config.get('message.max.bytes'), batchBytesMax(broker.config)),
        ...this.#limits,
      },
      credits: session.account.begin(FIRST_CREDITS),
      pingIntervalMs: this.#parts.pingIntervalMs,
      idleTimeoutMs: this.#parts.idleTimeoutMs,
    })
    return session
  }

  close(): void {
    clearInterval(this.#sweep)
  }

  #resume(): void {
    for (const session of this.#waitingForMemory) {
      if (!session.resume()) return
      this.#waitingForMemory.delete(session)
    }
  }

  /** Gives what the pool has to those who asked for more: first who has less than his share. */
  #growWindows(): void {
    if (this.#pool.sharedFree > 0) {
      for (const account of this.#pool.short) this.#sessionOf.get(account)?.growWindow()
      for (const session of this.#sessions) {
        if (this.#pool.sharedFree === 0) break
        if (session.account.isWaiting) session.growWindow()
      }
    }
    this.#lend()
  }

  /** Gives those who wait longest enough for one message, as far as the reserve goes. */
  #lend(): void {
    for (;;) {
      const first = this.#pool.firstInLine
      if (first === null || this.#sessionOf.get(first)?.lend() !== true) return
    }
  }

  #sweepNow(): void {
    this.#recall()
    if (this.#waitingForMemory.size === 0) return
    // A Kafka connection that ends within a request frees its memory without a shard's answer.
    this.#resume()
    this.#parts.broker.hub.flush()
  }

  /** Asks idle credits back when somebody has less than his share; old loans when one waits. */
  #recall(): void {
    const now = this.#parts.broker.clock.monotonicMs()
    for (const session of [...this.#sessions]) {
      if (now - session.recalledMs < RECALL_PATIENCE_MS || session.recalledMs === Infinity) continue
      session.violate(CloseCode.TOO_SLOW, 'it does not give credits back')
    }
    this.#growWindows()
    const someoneWaits = this.#pool.firstInLine !== null
    if (!this.#pool.isShort && !someoneWaits) return
    for (const session of this.#sessions) {
      const { inHand, borrowed } = session.account
      const isIdle = now - session.lastSpentMs > IDLE_CREDITS_MS
      const isLate = someoneWaits && now - session.lentMs > LOAN_MS
      const spare = isIdle ? inHand - FIRST_CREDITS : isLate ? Math.min(inHand, borrowed) : 0
      if (spare > 0 && session.recalledMs === Infinity) session.recall(spare)
    }
  }
}

/** An eighth of the ingress arena: what lies in extents may take twice its size. */
function creditsTotal(config: BrokerConfig): number {
  return Math.floor(config.get('millrace.arena.ingress.bytes') / 8)
}

function windowMax(config: BrokerConfig): number {
  return Math.floor(creditsTotal(config) / WINDOW_SHARE)
}

/**
 * The largest message: one batch of the largest size and its envelope, but no more than a client
 * can have credits for. The server collects that much of a message before anybody has looked at it.
 */
export function messageBytesMax(config: BrokerConfig): number {
  const wanted = batchBytesMax(config) + ENVELOPE_ROOM_BYTES
  return Math.min(wanted, windowMax(config) - MESSAGE_COST_BYTES)
}

/** As at the start: how much of a message is collected is settled when the port opens. */
function batchBytesMax(config: BrokerConfig): number {
  return Number(config.startText('message.max.bytes'))
}
