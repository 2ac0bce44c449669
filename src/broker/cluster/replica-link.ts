/**
 * A connection to a leader over which its data is fetched: answers are received into the ingress
 * arena and handed out where they lie. The gateway makes it; here is what the fetcher sees of it.
 */
import type { Address } from '../../cluster/link.ts'
import type { RequestFrame } from '../request-frame.ts'

export interface ReplicaLinkSink {
  onOpen(): void
  /** Valid during the call; hold it to keep it. */
  onFrame(frame: RequestFrame): void
  /** Also when it could not be opened. Nothing follows. */
  onClosed(reason: string): void
}

export interface ReplicaLink {
  send(chunks: Uint8Array[]): void
  /** True when something has arrived since the last call, or waits for memory here. */
  takeProgress(): boolean
  close(): void
}

export type OpenReplicaLink = (address: Address, sink: ReplicaLinkSink) => ReplicaLink
