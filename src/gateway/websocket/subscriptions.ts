import { type Push, Subscription, type SubscriptionHost } from '../../broker/subscription.ts'
import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import {
  type ClientMessages,
  CloseCode,
  OFFSET_EARLIEST,
  OFFSET_LATEST,
} from '../../wire/websocket/messages.ts'
import { leaderHint } from './leaders.ts'
import { PushBudget } from './push-budget.ts'
import type { SessionLink } from './session-link.ts'

/**
 * The subscriptions of one client, and the pushes that it gets. A client that does not read fills
 * its connection's budget and then gets nothing more: it slows nobody else. Runs on main.
 */
const PUSH_BYTES_DEFAULT = 1024 * 1024
/** On their way to one client: in its send buffer, and in reads under way. */
const BUFFERED_BYTES_MAX = 4 * 1024 * 1024

export class Subscriptions implements SubscriptionHost {
  readonly #session: SessionLink
  readonly #all = new Map<number, Subscription>()
  readonly #budget: PushBudget
  /** Of all subscriptions together. */
  #credits = 0

  constructor(session: SessionLink) {
    this.#session = session
    this.#budget = new PushBudget(BUFFERED_BYTES_MAX, () => session.peer.bufferedBytes)
  }

  subscribe(message: ClientMessages['subscribe']): void {
    const session = this.#session
    const { id, subscription, topic, partition } = message
    if (this.#all.has(subscription) || session.relays?.hasSubscription(subscription)) {
      session.fail(id, ErrorCode.INVALID_REQUEST, `Subscription ${subscription} exists already`)
      return
    }
    if (this.#all.size + (session.relays?.count ?? 0) >= session.limits.subscriptions) {
      const reason = `more than ${session.limits.subscriptions} subscriptions`
      session.violate(CloseCode.LIMIT_EXCEEDED, reason)
      return
    }
    const known = session.broker.topicByName(topic)
    const handle = known?.handles[partition]
    if (known === undefined || handle === undefined) {
      session.fail(id, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
      return
    }
    if (!session.broker.leads(handle)) {
      const node = session.broker.currentLeader(handle)?.leaderId ?? -1
      if (session.relays !== null && node >= 0) {
        session.relays.subscribe(message, node)
        return
      }
      const code = ErrorCode.NOT_LEADER_OR_FOLLOWER
      session.redirect(id, code, leaderHint(session.broker, code, handle))
      return
    }
    if (!session.subscriptionPlaces.take()) {
      const reason =
        `The broker has ${session.subscriptionPlaces.max} subscriptions, as many as it takes: ` +
        'end some, or try again later'
      session.fail(id, ErrorCode.THROTTLING_QUOTA_EXCEEDED, reason)
      return
    }
    // The number is taken at once: the next message may name it.
    const reserved = new Subscription(
      this,
      { id: subscription, shard: session.broker.shardOf(handle), handle },
      {
        bytesMax: this.#pushBytes(message.maxBytes),
        batchBytesMax: session.broker.topicConfig(known).maxMessageBytes,
      },
    )
    this.#all.set(subscription, reserved)
    this.#grantTo(reserved, message.credits)
    session.broker.control(handle, { kind: 'offsets', handle }).then(
      (offsets) => {
        if (this.#all.get(subscription) !== reserved) {
          session.fail(id, ErrorCode.INVALID_REQUEST, 'The subscription was ended meanwhile')
          return
        }
        if (offsets.kind !== 'offsets') {
          this.#forget(reserved)
          const code = offsets.kind === 'failed' ? offsets.errorCode : -1
          session.redirect(id, code, leaderHint(session.broker, code, handle))
          return
        }
        const { logStartOffset, logEndOffset, highWatermark } = offsets
        let { offset } = message
        if (offset === OFFSET_LATEST) offset = highWatermark
        if (offset === OFFSET_EARLIEST) offset = logStartOffset
        // A new leader may have more than it knows to be committed: what its predecessor gave away.
        if (offset < logStartOffset || offset > logEndOffset) {
          this.#forget(reserved)
          session.fail(
            id,
            ErrorCode.OFFSET_OUT_OF_RANGE,
            `Offset ${offset} is not between ${logStartOffset} and ${logEndOffset}`,
          )
          return
        }
        session.answer({
          type: 'subscribed',
          id,
          subscription,
          offset,
          logStartOffset,
          highWatermark,
        })
        reserved.begin(offset)
        session.broker.hub.flush()
      },
      (error: unknown) => session.failUnexpectedly(id, error),
    )
  }

  get count(): number {
    return this.#all.size
  }

  unsubscribe(id: number): void {
    const subscription = this.#all.get(id)
    if (subscription !== undefined) this.#forget(subscription)
  }

  /** Unknown ones are fine: they may have ended meanwhile. */
  grant(id: number, bytes: number): void {
    const subscription = this.#all.get(id)
    if (subscription !== undefined) this.#grantTo(subscription, bytes)
  }

  /** The client takes bytes again. */
  resume(): void {
    this.#budget.resume()
  }

  close(): void {
    for (const subscription of [...this.#all.values()]) this.#forget(subscription)
  }

  reserve(subscription: Subscription, bytes: number): boolean {
    return this.#budget.reserve(subscription, bytes)
  }

  unused(bytes: number): void {
    this.#budget.free(bytes)
    this.#budget.resume()
  }

  pushed(subscription: Subscription, push: Push, release: () => void): void {
    const { records, highWatermark, logStartOffset } = push
    const { id } = subscription
    this.#credits -= records.length
    this.#session.send(
      { type: 'batches', subscription: id, highWatermark, logStartOffset, bytes: records.length },
      [records],
      () => {
        release()
        this.#session.broker.hub.flush()
      },
    )
    // From here on it counts as buffered, as far as the system has not taken it.
    this.#budget.free(push.reserved)
    subscription.pump()
    this.#budget.resume()
  }

  onEnded(subscription: Subscription, code: number): void {
    this.#forget(subscription)
    const { name, message, retriable } = errorInfo(code)
    const { id, handle } = subscription
    const leader = leaderHint(this.#session.broker, code, handle)
    const told = leader === undefined ? {} : { leader }
    this.#session.send({ type: 'ended', subscription: id, code, name, message, retriable, ...told })
  }

  #grantTo(subscription: Subscription, bytes: number): void {
    this.#credits += bytes
    if (this.#credits > this.#session.limits.pushBytes) {
      const reason = `more than ${this.#session.limits.pushBytes} bytes of credits for pushes`
      this.#session.violate(CloseCode.LIMIT_EXCEEDED, reason)
      return
    }
    subscription.grant(bytes)
  }

  #pushBytes(asked: number | undefined): number {
    const wanted = asked ?? PUSH_BYTES_DEFAULT
    return Math.min(wanted, this.#session.broker.readBytesMax, BUFFERED_BYTES_MAX)
  }

  #forget(subscription: Subscription): void {
    subscription.close()
    this.#budget.forget(subscription)
    if (!this.#all.delete(subscription.id)) return
    this.#credits -= subscription.credits
    this.#session.subscriptionPlaces.leave()
  }
}
