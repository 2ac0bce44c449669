import { assert } from '../../base/assert.ts'
import type { Broker } from '../../broker/broker.ts'
import { memberCalls } from '../../broker/member-calls.ts'
import { isForeignFailure } from '../../broker/request.ts'
import type { RequestFrame } from '../../broker/request-frame.ts'
import { SendTurns } from '../../broker/send-turns.ts'
import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import type { RequestRow } from '../../metrics/request-metrics.ts'
import {
  decodeClientMessage,
  EnvelopeError,
  encodeEnvelope,
} from '../../wire/websocket/envelope.ts'
import {
  type ClientMessage,
  CloseCode,
  type LeaderHint,
  MESSAGE_COST_BYTES,
  type ServerMessage,
  type ServerMessages,
} from '../../wire/websocket/messages.ts'
import type { ComplaintKind } from '../complaints.ts'
import type { WebSocketHandler, WebSocketPeer } from '../web/web-server.ts'
import { countErrors } from './answer-errors.ts'
import type { CreditAccount } from './credit-account.ts'
import { fetch } from './fetch.ts'
import { GroupMembers, type GroupMessage } from './group-members.ts'
import { coordinatorHint } from './leaders.ts'
import { Produces } from './produces.ts'
import { type OpenLink, Relays } from './relays.ts'
import { answerRequest } from './requests.ts'
import type { RequestMessage, SessionLimits, SessionLink } from './session-link.ts'
import type { SubscriptionPlaces } from './subscription-places.ts'
import { Subscriptions } from './subscriptions.ts'

/**
 * One client that speaks `millrace.v1`: messages in, answers in any order. What a client may cost
 * is bounded here: credits for what it sends, requests under way, subscriptions, bytes on their way
 * to it. Runs on main.
 */
export interface SessionParts {
  readonly broker: Broker
  readonly peer: WebSocketPeer
  readonly account: CreditAccount
  readonly limits: SessionLimits
  readonly subscriptionPlaces: SubscriptionPlaces
  /** Sessions that wait for memory. */
  readonly waiting: Set<Session>
  readonly onClosed: (session: Session) => void
  /** Credits have come back to the pool. */
  readonly onCreditsFreed: () => void
  /** A client may be first in line for a loan now. */
  readonly onLinedUp: () => void
  /** Null where there are no other brokers. */
  readonly openLink: OpenLink | null
  readonly onViolation: (session: Session, reason: string, kind: ComplaintKind) => void
}

/** From this size on a message is worth waking its shard at once. */
const LARGE_MESSAGE_BYTES = 32 * 1024
const LOAN_RECALLS_MAX = 3

export class Session implements WebSocketHandler, SessionLink {
  readonly broker: Broker
  readonly peer: WebSocketPeer
  readonly account: CreditAccount
  readonly limits: SessionLimits
  readonly subscriptionPlaces: SubscriptionPlaces
  readonly sendTurns = new SendTurns()
  readonly #parts: SessionParts
  readonly #subscriptions: Subscriptions
  readonly #produces: Produces
  readonly #groups: GroupMembers
  readonly #closeCallbacks: (() => void)[] = []
  /** By their id. */
  readonly #requests = new Map<number, RequestUnderWay>()
  #requestBytes = 0
  #relays: Relays | null = null
  #isClosed = false
  /** It has been told that it is closed: what it still sends is not heard. */
  #isEnding = false
  /** The last large answer has been handed over, but is not read yet. */
  #holdsTurn = false
  /** When the client last spent credits or was asked about them, monotonic. */
  #lastSpentMs: number
  /** How often it was asked for the rest of a loan, in vain, while it waits for another one. */
  #loanRecalls = 0
  /** When it was lent credits, or was asked about them since, monotonic. */
  #lentMs = 0
  /** When it was asked to give credits back and has not answered yet; Infinity: never. */
  #recalledMs = Infinity

  constructor(parts: SessionParts) {
    this.#parts = parts
    this.broker = parts.broker
    this.peer = parts.peer
    this.account = parts.account
    this.limits = parts.limits
    this.subscriptionPlaces = parts.subscriptionPlaces
    this.#subscriptions = new Subscriptions(this)
    this.#produces = new Produces(this)
    this.#groups = new GroupMembers(
      this,
      () => memberCalls(this.broker),
      (code, group) => coordinatorHint(this.broker, code, group),
    )
    this.#lastSpentMs = parts.broker.clock.monotonicMs()
  }

  get remoteAddress(): string {
    return this.peer.remoteAddress
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get relays(): Relays | null {
    return this.#relays
  }

  get subscriptionCount(): number {
    return this.#subscriptions.count + (this.#relays?.count ?? 0)
  }

  get requestCount(): number {
    return this.#requests.size
  }

  get lastSpentMs(): number {
    return this.#lastSpentMs
  }

  get lentMs(): number {
    return this.#lentMs
  }

  get recalledMs(): number {
    return this.#recalledMs
  }

  onMessage(bytes: Uint8Array, frame: RequestFrame | null): void {
    if (this.#isClosed || this.#isEnding) return
    try {
      const { envelope, payloadStart } = decodeClientMessage(bytes, this.limits.envelopeBytes)
      this.#serve(envelope, { bytes, frame }, payloadStart)
    } catch (error) {
      if (!(error instanceof EnvelopeError)) throw error
      this.violate(CloseCode.MALFORMED, error.message)
    }
    if (bytes.length >= LARGE_MESSAGE_BYTES) this.broker.hub.flush()
    else this.broker.hub.flushSoon()
  }

  onDrain(): void {
    this.#leaveTurn()
    this.#relays?.resume()
    this.#subscriptions.resume()
    this.broker.hub.flush()
  }

  onClose(): void {
    this.#isClosed = true
    this.#parts.waiting.delete(this)
    this.#relays?.close()
    this.#subscriptions.close()
    this.#produces.close()
    this.#groups.close()
    this.account.close()
    this.#leaveTurn() // Nothing is buffered any more: those who wait for a turn see the end.
    for (const callback of this.#closeCallbacks.splice(0)) callback()
    this.broker.hub.flush()
    this.#parts.onClosed(this)
  }

  /** Memory came back: goes on with what waits for it. True when nothing waits any more. */
  resume(): boolean {
    this.#produces.resume()
    return !this.#produces.isWaiting
  }

  waitForMemory(): void {
    this.#parts.waiting.add(this)
  }

  /** Asks for unused credits; `yieldCredits` is the answer. */
  recall(bytes: number): void {
    this.#recalledMs = this.broker.clock.monotonicMs()
    this.send({ type: 'recall', bytes })
  }

  whenClosed(callback: () => void): () => void {
    this.#closeCallbacks.push(callback)
    return () => {
      const at = this.#closeCallbacks.indexOf(callback)
      if (at >= 0) this.#closeCallbacks.splice(at, 1)
    }
  }

  endTurn(): void {
    this.#holdsTurn = true
    this.#leaveTurn()
  }

  #leaveTurn(): void {
    if (!this.#holdsTurn || this.peer.bufferedBytes > TURN_BUFFERED_BYTES) return
    this.#holdsTurn = false
    this.sendTurns.leave()
  }

  // —— what its parts use: see SessionLink ——

  send(message: ServerMessage, payload: readonly Uint8Array[] = [], onSent?: () => void): void {
    if (this.#isClosed) onSent?.()
    else this.peer.send([encodeEnvelope(message), ...payload], onSent)
  }

  answer(
    message: ServerMessage & { readonly id: number | null },
    payload: readonly Uint8Array[] = [],
    onSent?: () => void,
  ): void {
    countErrors(this.#end(message.id), message)
    this.send(message, payload, onSent)
  }

  fail(id: number, code: number, message?: string | null, kept = 0): void {
    const error = errorMessage(id, code, message)
    this.answer(kept === 0 ? error : { ...error, kept })
  }

  redirect(id: number, code: number, leader: LeaderHint | undefined): void {
    const error = errorMessage(id, code, null)
    this.answer(leader === undefined ? error : { ...error, leader })
  }

  failUnexpectedly(id: number, error: unknown): void {
    if (!isForeignFailure(error)) {
      queueMicrotask(() => {
        throw error
      })
      return
    }
    this.fail(id, error.code, error.message)
  }

  violate(code: CloseCode, reason: string): void {
    if (this.#isClosed || this.#isEnding) return
    this.#isEnding = true
    this.#parts.onViolation(this, reason, COMPLAINTS.get(code) ?? 'protocol')
    this.send(errorMessage(null, ErrorCode.INVALID_REQUEST, reason))
    if (!this.#isClosed) this.peer.end(code, reason.slice(0, CLOSE_REASON_MAX))
  }

  #serve(message: ClientMessage, { bytes, frame }: Arrived, payloadStart: number): void {
    switch (message.type) {
      case 'produce':
      case 'produceRecords': {
        const cost = bytes.length + MESSAGE_COST_BYTES
        if (!this.#begin(message, 0)) return
        if (!this.account.spend(cost)) {
          this.violate(CloseCode.LIMIT_EXCEEDED, `a message of ${cost} bytes without credits`)
          return
        }
        this.#lastSpentMs = this.broker.clock.monotonicMs()
        this.#produces.produce(message, { payload: bytes.subarray(payloadStart), frame, cost })
        return
      }
      case 'hello':
        this.#greeted(message.followLeaders !== false)
        return
      case 'requestCredits':
        this.#grant(this.account.want(message.bytes))
        this.#linedUp()
        return
      case 'yieldCredits':
        this.#recalledMs = Infinity
        this.#lastSpentMs = this.broker.clock.monotonicMs() // Not asked again at once.
        this.#lentMs = this.#lastSpentMs
        this.account.yield(message.bytes)
        this.#parts.onCreditsFreed()
        this.#linedUp()
        return
      case 'flow':
        if (this.#relays?.hasSubscription(message.subscription)) {
          this.#relays.grant(message.subscription, message.credits)
          return
        }
        this.#subscriptions.grant(message.subscription, message.credits)
        return
      case 'released':
        if (this.#relays?.hasMember(message.member)) this.#relays.released(message.member)
        else this.#groups.released(message.member)
        return
      default:
        break
    }
    if (payloadStart < bytes.length) {
      this.violate(CloseCode.MALFORMED, `${message.type} has no payload`)
    } else if (this.#begin(message, bytes.length)) {
      this.#request(message)
    }
  }

  #request(message: RequestMessage): void {
    switch (message.type) {
      case 'subscribe':
        this.#subscriptions.subscribe(message)
        return
      case 'unsubscribe':
        this.#relays?.unsubscribe(message.subscription)
        this.#subscriptions.unsubscribe(message.subscription)
        this.answer({ type: 'done', id: message.id })
        return
      case 'fetch':
        fetch(this, message)
        return
      case 'joinGroup':
      case 'commitOffsets':
      case 'leaveGroup':
        this.#serveGroup(message)
        return
      default:
        answerRequest(this, message)
    }
  }

  /** The client has said what it can do. */
  #greeted(followsLeaders: boolean): void {
    const { openLink } = this.#parts
    if (!followsLeaders && openLink !== null) this.#relays ??= new Relays(this, openLink)
  }

  #serveGroup(message: GroupMessage): void {
    const relays = this.#relays
    if (relays === null) {
      this.#groups.serve(message)
    } else if (message.type !== 'joinGroup') {
      if (relays.hasMember(message.member)) relays.serve(message)
      else this.#groups.serve(message)
    } else {
      const { groups } = this.broker
      void groups.prepare().then(() => {
        const node = groups.coordinatorOf(message.group)
        if (this.#isClosed) return
        if (node < 0 || node === this.broker.nodeId) this.#groups.serve(message)
        else relays.join(message, node)
      })
    }
  }

  /** What the pool has now for a client that had asked for more. */
  growWindow(): void {
    this.#grant(this.account.grow())
  }

  /** It may be in line now. */
  #linedUp(): void {
    this.#parts.onLinedUp()
    const { isInLine, borrowed } = this.account
    if (!isInLine || borrowed === 0) {
      this.#loanRecalls = 0
    } else if (this.#recalledMs === Infinity) {
      // An answer may have crossed other messages: only who refuses again and again is closed.
      if (this.#loanRecalls++ < LOAN_RECALLS_MAX) this.recall(borrowed)
      else this.violate(CloseCode.TOO_SLOW, 'it waits and does not give its last loan back')
    }
  }

  /** Lends it what it lacks for one message, if it is its turn; false: not now. */
  lend(): boolean {
    const lent = this.account.borrow()
    if (lent === 0) return false
    this.#lentMs = this.broker.clock.monotonicMs()
    this.#lastSpentMs = this.#lentMs // It could not spend before.
    this.#grant(lent)
    return true
  }

  #grant(bytes: number): void {
    if (bytes > 0) this.send({ type: 'credits', bytes })
  }

  /**
   * A request of `bytes` is under way, which credits have paid for or have not. False, and the
   * connection ends, when that is more than a client may have.
   */
  #begin({ id, type }: { id: number; type: string }, bytes: number): boolean {
    const { requests, requestBytes } = this.limits
    if (this.#requests.has(id)) {
      this.violate(CloseCode.MALFORMED, `request ${id} is under way already`)
      return false
    }
    if (this.#requests.size >= requests || this.#requestBytes + bytes > requestBytes) {
      const reason = `more than ${requests} requests, or ${requestBytes} bytes of them, under way`
      this.violate(CloseCode.LIMIT_EXCEEDED, reason)
      return false
    }
    const arrivedMs = this.broker.clock.monotonicMs()
    this.#requests.set(id, { type, bytes, arrivedMs })
    this.#requestBytes += bytes
    return true
  }

  #end(id: number | null): RequestRow {
    const request = id === null ? undefined : this.#requests.get(id)
    assert(id !== null && request !== undefined, 'an answer to a request that is not under way')
    this.#requests.delete(id)
    this.#requestBytes -= request.bytes
    const row = this.broker.requests.row('websocket', request.type)
    row.latency.observe(this.broker.clock.monotonicMs() - request.arrivedMs)
    return row
  }

  endCost(cost: number): number {
    const kept = this.account.restore(cost)
    if (kept > 0) this.#parts.onCreditsFreed()
    else this.#linedUp()
    return kept
  }

  endSilently(id: number): void {
    this.#end(id)
  }
}

const COMPLAINTS: ReadonlyMap<CloseCode, ComplaintKind> = new Map([
  [CloseCode.LIMIT_EXCEEDED, 'limit'],
  [CloseCode.TOO_SLOW, 'slow_sender'],
])

interface RequestUnderWay {
  readonly type: string
  /** What it counts for; 0 for those that credits have paid for. */
  readonly bytes: number
  readonly arrivedMs: number
}

/** A message as the web server hands it over. */
interface Arrived {
  readonly bytes: Uint8Array
  readonly frame: RequestFrame | null
}

/** So much of a large answer may be unread when the next one is begun. */
const TURN_BUFFERED_BYTES = 1024 * 1024
/** A close frame holds 125 bytes, two of them the code; a reason may quote what is not ASCII. */
const CLOSE_REASON_MAX = 40

function errorMessage(
  id: number | null,
  code: number,
  message: string | null | undefined,
): ServerMessages['error'] {
  const info = errorInfo(code)
  const { name, retriable } = info
  return { type: 'error', id, code, name, message: message ?? info.message, retriable }
}
