import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Place } from './connection-places.ts'

/** A client may open a WebSocket: what node:http has of it. */
export interface AcceptedUpgrade {
  readonly message: IncomingMessage
  /** Nothing reads it any more. */
  readonly socket: Socket
  /** What came behind the request. */
  readonly rest: Buffer
  /** The new owner's: it leaves when the connection is gone. */
  readonly place: Place
}

/** The WebSocket half of `NodeServer`: answers upgrades and owns what becomes of them. */
export interface Upgrades {
  accept(upgrade: AcceptedUpgrade): void
  /** The server listens from now on. */
  start(): void
  /** Tells every client 1001; every connection is gone soon. */
  close(): void
}
