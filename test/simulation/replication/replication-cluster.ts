/** What the parts of a simulated cluster know of each other. */
import type { EpochEnd, FollowerFetch } from '../../../src/replication/fetch-rules.ts'
import type { EventClock } from '../event-clock.ts'
import type { Links } from '../links.ts'
import type { ReplicationChecker } from './replication-checker.ts'
import type { ReplicationPlan } from './replication-plan.ts'
import type { SimController } from './sim-controller.ts'
import type { SimRecord, SimReplica } from './sim-replica.ts'

/** The controller's place in the network; brokers count from 1. */
export const CONTROLLER_ID = 0

export interface FetchCall extends FollowerFetch {
  readonly brokerId: number
  readonly brokerEpoch: number
}

/** What a leader answers. */
export type FetchAnswer =
  | { readonly kind: 'records'; readonly records: readonly SimRecord[]; readonly hw: number }
  | { readonly kind: 'diverging'; readonly end: EpochEnd }
  | { readonly kind: 'error' }

/** A broker as others reach it. */
export interface FetchSource {
  readonly id: number
  readonly replicas: readonly (SimReplica | undefined)[]
  serveFetch(partition: number, call: FetchCall): FetchAnswer
}

export interface Cluster {
  readonly plan: ReplicationPlan
  readonly clock: EventClock
  readonly links: Links
  readonly checker: ReplicationChecker
  readonly controller: SimController
  broker(id: number): FetchSource
  /** Runs something at a node, if it is up, once it goes on. */
  at(id: number, run: () => void): void
  count(what: string): void
}
