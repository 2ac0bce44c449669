import type { Broker } from '../broker.ts'
import type { Handler } from '../request.ts'
import type { OpenReplicaLink } from './replica-link.ts'

/** The sockets between brokers, which the gateway has. */
export interface ClusterGate {
  /** Opens the listener where other brokers connect; resolves to its port. */
  listen(
    broker: Broker,
    handlers: ReadonlyMap<number, Handler>,
    at: { readonly host: string; readonly port: number },
  ): Promise<number>
  readonly openReplicaLink: OpenReplicaLink
  close(): Promise<void>
}
