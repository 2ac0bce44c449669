import type { Broker } from '../../broker/broker.ts'
import type { SendTurns } from '../../broker/send-turns.ts'
import type {
  ClientMessage,
  ClientMessages,
  CloseCode,
  LeaderHint,
  ServerMessage,
} from '../../wire/websocket/messages.ts'
import type { WebSocketPeer } from '../web/web-server.ts'
import type { CreditAccount } from './credit-account.ts'
import type { SubscriptionPlaces } from './subscription-places.ts'

/** What the parts of a session know of it. */
export interface SessionLink {
  readonly broker: Broker
  readonly peer: WebSocketPeer
  readonly account: CreditAccount
  readonly limits: SessionLimits
  /** Of all clients. */
  readonly subscriptionPlaces: SubscriptionPlaces
  /** For answers that hold memory of the shards: one at a time. */
  readonly sendTurns: SendTurns
  readonly isClosed: boolean
  /** What it has at other brokers; null for a client that finds its way there. */
  readonly relays: SubscriptionRelays | null
  /** Sends a message; `onSent` runs once, when the payload's memory may be used again. */
  send(message: ServerMessage, payload?: readonly Uint8Array[], onSent?: () => void): void
  /** Ends a request with its answer. */
  answer(
    message: ServerMessage & { readonly id: number | null },
    payload?: readonly Uint8Array[],
    onSent?: () => void,
  ): void
  /** Ends a request with an error; without a text of its own the code's. */
  fail(id: number, code: number, message?: string | null, kept?: number): void
  /** Ends a request that somebody else has to be asked for. */
  redirect(id: number, code: number, leader: LeaderHint | undefined): void
  /** A request has failed in a way that its handler does not know. */
  failUnexpectedly(id: number, error: unknown): void
  /**
   * A produce has cost nothing any more. Returns how much of its cost the client does not get back.
   */
  endCost(cost: number): number
  /** Ends a produce that wants no answer. */
  endSilently(id: number): void
  /** A large answer has been handed over: the next one may follow when the client has read on. */
  endTurn(): void
  /** The client broke the protocol: says why, and closes. */
  violate(code: CloseCode, reason: string): void
  /** Runs `callback` once when the connection goes, unless taken back by what it returns. */
  whenClosed(callback: () => void): () => void
  /** Something of it waits for memory: `resume` is wanted. */
  waitForMemory(): void
}

/** Subscriptions of a client that knows this broker only, to what other brokers lead. */
export interface SubscriptionRelays {
  readonly count: number
  hasSubscription(id: number): boolean
  subscribe(message: ClientMessages['subscribe'], node: number): void
}

export interface SessionLimits {
  readonly envelopeBytes: number
  /** Under way at once: how many, and bytes of those that cost no credits. */
  readonly requests: number
  readonly requestBytes: number
  readonly subscriptions: number
  readonly pushBytes: number
}

/** What may be asked without credits. */
export type RequestMessage = Exclude<
  ClientMessage,
  {
    type:
      | 'hello'
      | 'produce'
      | 'produceRecords'
      | 'requestCredits'
      | 'yieldCredits'
      | 'flow'
      | 'released'
  }
>
