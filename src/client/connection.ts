/**
 * One WebSocket that speaks `millrace.v1` (`src/wire/websocket/README.md`): requests and answers by
 * id, credits for what is produced, pushes to subscriptions. It ends once, with everything that was
 * under way failed; `link.ts` opens the next one. Never retries anything itself.
 */
import { assert } from '../base/assert.ts'
import { ErrorCode } from '../errors/error-code.ts'
import {
  decodeServerMessage,
  EnvelopeError,
  encodeEnvelope,
  LENGTH_BYTES,
} from '../wire/websocket/envelope.ts'
import {
  type ClientMessage,
  type ClientMessages,
  CloseCode,
  MESSAGE_COST_BYTES,
  type ServerMessage,
  type ServerMessages,
  SUBPROTOCOL,
  VERSION,
} from '../wire/websocket/messages.ts'
import { CreditWindow } from './credit-window.ts'
import { ConnectionError, MillraceError, ServerError } from './errors.ts'
import { type AnswerHandler, PendingRequests } from './pending-requests.ts'
import type { ClientSocket, Platform } from './platform.ts'
import { type CreditWaiter, ProduceTurns } from './produce-turns.ts'

/** A larger envelope is no server's: metadata of a hundred thousand partitions fits. */
const ENVELOPE_BYTES_MAX = 16 * 1024 * 1024
/** A client without enough credits asks again so often: nothing says that the first was heard. */
const ASK_AGAIN_MS = 1000
const ID_MODULO = 2 ** 32

export type Hello = ServerMessages['hello']

/** A request as the caller writes it: the connection numbers it. */
export type RequestMessage = {
  [T in keyof ClientMessages]: ClientMessages[T] extends { id: number }
    ? Omit<ClientMessages[T], 'id'>
    : never
}[keyof ClientMessages]

/** Where pushes of a subscription go. */
export interface SubscriptionSink {
  /** `payload` is memory of the sink's own from now on. */
  pushed(message: ServerMessages['batches'], payload: Uint8Array): void
  ended(message: ServerMessages['ended']): void
}

/** Where what the server says of a group's member goes. */
export interface MemberSink {
  assigned(message: ServerMessages['assigned']): void
  revoke(message: ServerMessages['revoke']): void
  lost(message: ServerMessages['memberLost']): void
}

export interface ConnectionOptions {
  readonly url: string
  /** An answer that takes longer ends the connection: its credits would be lost with it. */
  readonly requestTimeoutMs: number
  /** The window that is asked for when credits are short, bytes. */
  readonly creditWindowBytes: number
  /** False: the server passes on what others lead. Default: true. */
  readonly followLeaders?: boolean
}

export interface ConnectionEvents {
  opened(connection: Connection): void
  /** Once; also when it never opened. */
  closed(connection: Connection, error: MillraceError): void
}

export class Connection {
  readonly #options: ConnectionOptions
  readonly #platform: Platform
  readonly #events: ConnectionEvents
  readonly #socket: ClientSocket
  #hello: Hello | null = null
  #credits = new CreditWindow(0)
  #closed: MillraceError | null = null
  readonly #pending = new PendingRequests()
  /** Requests beyond `limits.requests`. */
  readonly #queued: { message: RequestMessage; handler: AnswerHandler }[] = []
  readonly #turns = new ProduceTurns()
  #askedMs = Number.NEGATIVE_INFINITY
  #asked = 0
  readonly #subscriptions = new Map<number, SubscriptionSink>()
  #nextSubscription = 0
  readonly #members = new Map<number, MemberSink>()
  #nextMember = 0
  #pushBytes = 0
  #receivedMs: number
  #cancelTimer: (() => void) | null = null

  constructor(options: ConnectionOptions, platform: Platform, events: ConnectionEvents) {
    this.#options = options
    this.#platform = platform
    this.#events = events
    this.#receivedMs = platform.timers.monotonicMs()
    this.#socket = platform.openSocket(options.url, SUBPROTOCOL, {
      opened: () => {},
      message: (bytes) => this.#receive(bytes),
      closed: (code, reason) => this.#end(closeError(code, reason)),
    })
    // The hello has as much time as an answer.
    this.#arm()
  }

  /** What the server said of itself. Only once it is open. */
  get hello(): Hello {
    assert(this.#hello !== null, 'the connection is not open')
    return this.#hello
  }

  get isOpen(): boolean {
    return this.#hello !== null && this.#closed === null
  }

  /** Ends it; everything under way fails with `error`. */
  close(error: MillraceError = new ConnectionError('the connection was closed')): void {
    if (this.#closed !== null) return
    this.#socket.close(1000, '')
    this.#end(error)
  }

  /** Sends a request, now or when fewer are under way. */
  send(message: RequestMessage, handler: AnswerHandler): void {
    if (this.#closed !== null) {
      handler.failed(this.#closed)
      return
    }
    this.#queued.push({ message, handler })
    this.#sendQueued()
  }

  #sendQueued(): void {
    while (this.isOpen && this.#queued.length > 0 && this.#hasRequest()) {
      const { message, handler } = this.#queued.shift()!
      const id = this.#pending.takeId()
      const head = encodeEnvelope({ ...message, id } as ClientMessage)
      const { envelopeBytes } = this.hello.limits
      if (head.length - LENGTH_BYTES > envelopeBytes) {
        // The server would end the connection, and everybody's requests with it.
        const text = `a ${message.type} of ${head.length} bytes; at most ${envelopeBytes} are read`
        handler.failed(new MillraceError(ErrorCode.MESSAGE_TOO_LARGE, text, { retriable: false }))
        continue
      }
      this.#note(id, handler, 0)
      this.#socket.send([head])
    }
  }

  /** The same as a promise. Rejects with MillraceError. */
  request<T extends ServerMessage['type']>(
    message: RequestMessage,
    answer: T,
  ): Promise<ServerMessages[T]> {
    return new Promise((resolve, reject) => {
      this.send(message, {
        answered: (got) => {
          if (got.type === answer) resolve(got as unknown as ServerMessages[T])
          else reject(this.#fail(`a ${got.type} where ${answer} was to come`))
        },
        failed: reject,
      })
    })
  }

  // —— produce ——

  /**
   * Whether `waiter` may now send a produce of `bytes`, envelope and payload together. If not it is
   * called back in its turn, when there may be room.
   */
  mayProduce(waiter: CreditWaiter, bytes: number): boolean {
    if (!this.isOpen) return false
    const isFirst = this.#turns.isFirst(waiter)
    const cost = bytes + MESSAGE_COST_BYTES
    if (isFirst && cost <= this.#credits.inHand && this.#hasRequest()) return true
    this.#turns.refuse(waiter)
    if (isFirst && cost > this.#credits.inHand) this.#askForCredits(cost)
    return false
  }

  /** The largest message with records that the connection may ever take as it stands, bytes. */
  get produceBytesMax(): number {
    return Math.min(this.#credits.window - MESSAGE_COST_BYTES, this.hello.limits.messageBytes)
  }

  /** Bytes that a produce may still take, once `mayProduce` has said yes. */
  get produceBytesLeft(): number {
    return Math.min(this.#credits.inHand - MESSAGE_COST_BYTES, this.hello.limits.messageBytes)
  }

  /**
   * Sends what `mayProduce` allowed. With `acks` 0 the handler hears nothing. The pieces may be
   * changed afterwards.
   */
  produce(
    message: Pick<ClientMessages['produce'], 'acks' | 'partitions'>,
    batches: readonly Uint8Array[],
    handler: AnswerHandler,
  ): void {
    assert(this.isOpen)
    const id = this.#pending.takeId()
    const head = encodeEnvelope({ type: 'produce', id, ...message })
    let size = head.length
    for (const batch of batches) size += batch.length
    const cost = size + MESSAGE_COST_BYTES
    this.#credits.spend(cost, message.acks !== 0)
    if (message.acks !== 0) this.#note(id, handler, cost)
    this.#socket.send([head, ...batches])
  }

  /** `waiter` wants nothing any more. */
  forget(waiter: CreditWaiter): void {
    this.#turns.forget(waiter)
  }

  // —— subscriptions ——

  /** Credits that subscriptions may still be given, bytes. */
  get pushBytesLeft(): number {
    return this.hello.limits.pushBytes - this.#pushBytes
  }

  /** Sets `bytes` of push credits aside (negative: gives them back). */
  reservePush(bytes: number): void {
    this.#pushBytes += bytes
  }

  /** A number for a new subscription, whose pushes go to `sink`. */
  openSubscription(sink: SubscriptionSink): number {
    const subscription = this.#nextSubscription
    this.#nextSubscription = (this.#nextSubscription + 1) % ID_MODULO
    this.#subscriptions.set(subscription, sink)
    return subscription
  }

  /** Pushes that still come are dropped. */
  dropSubscription(subscription: number): void {
    this.#subscriptions.delete(subscription)
  }

  get hasSubscriptionLeft(): boolean {
    return this.#subscriptions.size < this.hello.limits.subscriptions
  }

  /** Grants a subscription more bytes. */
  flow(subscription: number, credits: number): void {
    if (this.isOpen) this.#write({ type: 'flow', subscription, credits })
  }

  // —— members of groups ——

  /** A number for a new member of a group; what is said of it goes to `sink`. */
  openMember(sink: MemberSink): number {
    const member = this.#nextMember
    this.#nextMember = (this.#nextMember + 1) % ID_MODULO
    this.#members.set(member, sink)
    return member
  }

  /** What is still said of it is dropped. */
  dropMember(member: number): void {
    this.#members.delete(member)
  }

  /** Says that a member has given back what it was asked for. */
  released(member: number): void {
    if (this.isOpen) this.#write({ type: 'released', member })
  }

  // —— receiving ——

  #receive(bytes: Uint8Array | null): void {
    if (this.#closed !== null) return
    this.#receivedMs = this.#platform.timers.monotonicMs()
    if (bytes === null) {
      this.#fail('a text message', CloseCode.UNSUPPORTED_DATA)
      return
    }
    let message: ServerMessage
    let payload: Uint8Array
    try {
      const decoded = decodeServerMessage(bytes, ENVELOPE_BYTES_MAX)
      message = decoded.envelope
      payload = bytes.subarray(decoded.payloadStart)
    } catch (error) {
      if (!(error instanceof EnvelopeError)) throw error
      this.#fail(error.message)
      return
    }
    if (this.#hello === null) this.#greet(message)
    else this.#dispatch(message, payload)
  }

  #greet(message: ServerMessage): void {
    if (message.type === 'error') {
      this.#refuse(message)
      return
    }
    if (message.type !== 'hello') {
      this.#fail(`a ${message.type} before hello`)
      return
    }
    const [lowest, highest] = message.versions
    if (lowest > VERSION || highest < VERSION) {
      const text = `the server speaks versions ${lowest} to ${highest}, this client ${VERSION}`
      this.#socket.close(1000, '')
      this.#end(new MillraceError(ErrorCode.UNSUPPORTED_VERSION, text))
      return
    }
    this.#hello = message
    this.#credits = new CreditWindow(message.credits)
    this.#arm()
    if (this.#options.followLeaders === false) this.#write({ type: 'hello', followLeaders: false })
    this.#events.opened(this)
  }

  #dispatch(message: ServerMessage, payload: Uint8Array): void {
    switch (message.type) {
      case 'credits':
        this.#credits.grant(message.bytes)
        this.#roomAgain()
        return
      case 'recall':
        this.#recall(message.bytes)
        return
      case 'batches':
        if (message.bytes > payload.length) {
          this.#fail(`batches of ${message.bytes} bytes in a payload of ${payload.length}`)
          return
        }
        this.#subscriptions.get(message.subscription)?.pushed(message, payload)
        return
      case 'ended': {
        const sink = this.#subscriptions.get(message.subscription)
        this.#subscriptions.delete(message.subscription)
        sink?.ended(message)
        return
      }
      case 'assigned':
        this.#members.get(message.member)?.assigned(message)
        return
      case 'revoke':
        this.#members.get(message.member)?.revoke(message)
        return
      case 'memberLost': {
        const sink = this.#members.get(message.member)
        this.#members.delete(message.member)
        sink?.lost(message)
        return
      }
      case 'hello':
        this.#fail('a second hello')
        return
      case 'error':
        if (message.id === null) this.#refuse(message)
        else this.#answer(message.id, message, payload)
        return
      default:
        this.#answer(message.id, message, payload)
    }
  }

  #answer(id: number, message: ServerMessage, payload: Uint8Array): void {
    const pending = this.#pending.take(id)
    if (pending === undefined) {
      this.#fail(`an answer to a request ${id} that was not made`)
      return
    }
    const kept = 'kept' in message ? (message.kept ?? 0) : 0
    this.#credits.restore(pending.cost, kept)
    if (kept > 0) this.#asked = 0 // The server has forgotten what was asked for.
    if (message.type === 'error') pending.handler.failed(serverError(message))
    else pending.handler.answered(message, payload)
    this.#roomAgain()
  }

  /** An `error` that names no request stands before the end of the connection. */
  #refuse(message: ServerMessages['error']): void {
    this.#socket.close(1000, '')
    const cause = serverError(message)
    this.#end(new ConnectionError(`the server ended the connection: ${message.message}`, cause))
  }

  #recall(bytes: number): void {
    // Also who waits gives: too little for a message is of no use, and the place in line stays.
    const given = this.#credits.yieldUpTo(bytes)
    this.#write({ type: 'yieldCredits', bytes: given })
    if (given === 0) return
    this.#asked = 0 // Whoever waits asks again at once.
    this.#turns.wake()
  }

  /** Lets those go on who waited. */
  #roomAgain(): void {
    this.#sendQueued()
    this.#turns.wake()
  }

  #hasRequest(): boolean {
    return this.#pending.count < this.hello.limits.requests
  }

  #askForCredits(cost: number): void {
    const nowMs = this.#platform.timers.monotonicMs()
    const out = this.#credits.window - this.#credits.inHand
    const bytes = Math.max(this.#options.creditWindowBytes, cost)
    // Enough is on its way home.
    if (out > 0 && this.#credits.window >= bytes) return
    if (bytes <= this.#asked && nowMs < this.#askedMs + ASK_AGAIN_MS) return
    this.#asked = bytes
    this.#askedMs = nowMs
    this.#write({ type: 'requestCredits', bytes })
    this.#arm()
  }

  // —— requests ——

  #note(id: number, handler: AnswerHandler, cost: number): void {
    const deadlineMs = this.#platform.timers.monotonicMs() + this.#options.requestTimeoutMs
    this.#pending.add(id, { handler, deadlineMs, cost })
  }

  #write(message: ClientMessage): void {
    this.#socket.send([encodeEnvelope(message)])
  }

  // —— time ——

  /** One timer a connection: it looks at what is oldest and sleeps until that is too old. */
  #arm(): void {
    this.#cancelTimer?.()
    const nowMs = this.#platform.timers.monotonicMs()
    const delayMs = Math.max(1, Math.ceil(this.#nextLookMs() - nowMs))
    this.#cancelTimer = this.#platform.timers.after(delayMs, () => this.#look())
  }

  #nextLookMs(): number {
    const nowMs = this.#platform.timers.monotonicMs()
    if (this.#hello === null) return this.#receivedMs + this.#options.requestTimeoutMs
    let lookMs = Math.min(nowMs + this.#options.requestTimeoutMs, this.#pending.deadlineMs)
    const pingMs = this.hello.pingIntervalMs
    if (pingMs > 0) lookMs = Math.min(lookMs, Math.max(this.#receivedMs, nowMs - pingMs) + pingMs)
    if (this.#turns.hasWaiters) lookMs = Math.min(lookMs, nowMs + ASK_AGAIN_MS)
    return lookMs
  }

  #look(): void {
    const nowMs = this.#platform.timers.monotonicMs()
    const waitedMs = this.#hello === null ? nowMs - this.#receivedMs : 0
    if (waitedMs >= this.#options.requestTimeoutMs) {
      this.#fail('no hello in time')
      return
    }
    if (this.#pending.deadlineMs <= nowMs) {
      this.#fail(`no answer within ${this.#options.requestTimeoutMs} ms`)
      return
    }
    // A server that is silent for longer than it pings may be gone: its answer, or none, tells.
    const pingMs = this.#hello?.pingIntervalMs ?? 0
    if (pingMs > 0 && nowMs - this.#receivedMs >= pingMs && this.#pending.count === 0) {
      this.send({ type: 'ping' }, { answered: () => {}, failed: () => {} })
    }
    this.#roomAgain()
    if (this.#closed === null) this.#arm()
  }

  // —— the end ——

  /** The connection is of no use any more. Returns the error that it ends with. */
  #fail(reason: string, code: number = CloseCode.MALFORMED): MillraceError {
    const error = new ConnectionError(`the connection failed: ${reason}`)
    this.#socket.close(code, '')
    this.#end(error)
    return error
  }

  #end(error: MillraceError): void {
    if (this.#closed !== null) return
    this.#closed = error
    this.#cancelTimer?.()
    this.#cancelTimer = null
    this.#turns.clear()
    this.#subscriptions.clear()
    const pending = this.#pending.takeAll()
    const queued = this.#queued.splice(0)
    for (const { handler } of pending) handler.failed(error)
    for (const { handler } of queued) handler.failed(error)
    this.#events.closed(this, error)
  }
}

function serverError(message: ServerMessages['error']): ServerError {
  return new ServerError(message.code, message.message, {
    retriable: message.retriable,
    codeName: message.name,
    leader: message.leader,
  })
}

function closeError(code: number, reason: string): ConnectionError {
  const detail = reason === '' ? '' : `: ${reason}`
  return new ConnectionError(`the connection ended with code ${code}${detail}`)
}
