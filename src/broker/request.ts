import { BrokerError } from '../errors/broker-error.ts'
import { RecordError } from '../record/record-error.ts'
import type { RequestFrame } from './request-frame.ts'
import type { SendTurns } from './send-turns.ts'

/**
 * What a handler gets and gives. A handler does four things: read the decoded request, authorise
 * (when security exists), call one subsystem, shape the response. It never sees a socket.
 */
export interface RequestContext extends AskContext {
  readonly apiKey: number
  readonly clientId: string | null
  readonly connectionId: number
  readonly remoteAddress: string
  /** Where the request's bytes lie; only Produce looks at them. */
  readonly frame: RequestFrame
  /** Closes the connection, for the reason that the log then names. */
  close(reason: string): void
}

/** What a question needs that has no bytes of its own, whatever door it came through. */
export interface AskContext {
  readonly apiVersion: number
  /** Name of the listener that the client came through: it decides which addresses it is told. */
  readonly listenerName: string
  /**
   * Resolves when all that was asked before is answered, or the connection is gone; null: it is so
   * already. For who says who leads: an answer that waited behind others would be out of date when
   * it leaves. A client that has heard of a newer leader from another broker goes back to the old
   * one then, and librdkafka 2.0.2 may stay with it for good. A send turn is to be entered before,
   * as all do when they arrive: whoever comes later would hold it meanwhile.
   */
  whenFirst(): Promise<void> | null
  /** For responses that hold memory of a shard until they have been sent. */
  readonly sendTurns: SendTurns
  /** Runs `callback` once when the connection goes: long polls end. Returns how to take it back. */
  onClose(callback: () => void): () => void
}

/** A response to encode, and what to give back once its bytes have left. */
export interface Reply {
  readonly body: object
  /** Runs once, when the encoded bytes have been taken by the system or dropped. */
  readonly release?: () => void
}

/**
 * A reply that comes later, without a promise: those cost a small request more than its own work.
 * `whenReady` is called once; the callback runs once, possibly at once.
 */
export abstract class PendingReply {
  abstract whenReady(callback: (reply: Reply | null) => void): void
}

/** Null: nothing is sent (acks = 0). */
export type HandlerResult = Reply | null | PendingReply | Promise<Reply | null>

export type Handler<B = never> = (body: B, context: RequestContext) => HandlerResult

/** True for what a peer's bytes or the world have caused; anything else thrown is our own bug. */
export function isForeignFailure(error: unknown): error is RecordError | BrokerError {
  return error instanceof RecordError || error instanceof BrokerError
}

/** The client broke the protocol so that no response fits: its connection is closed. */
export class ProtocolViolation extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ProtocolViolation'
  }
}
