import type { Uuid } from '../base/uuid.ts'
import type { ErrorCode } from '../errors/error-code.ts'
import type { ElectionKind } from '../metadata/records.ts'

/**
 * What administrators ask of a cluster of several brokers: elections, other replicas, and who votes
 * about the metadata. A broker that is alone has none. All reject with BrokerError when nobody
 * could decide (no controller leads, or not in time).
 */
export interface ClusterAdmin {
  /**
   * Lets the preferred replica lead, or one that may lack records; null: every partition that needs
   * it, those that need none left out of the answer. In the order that was asked for.
   */
  electLeaders(
    kind: ElectionKind,
    partitions: readonly PartitionName[] | null,
  ): Promise<readonly PartitionOutcome[]>

  /** Gives each partition other replicas, or takes that back. In the order that was asked for. */
  reassign(
    moves: readonly ReplicaMove[],
    mayChangeFactor: boolean,
  ): Promise<readonly PartitionOutcome[]>

  describeQuorum(): Promise<QuorumDescription>

  /** The broker is no member any more, and what it had is not expected back. */
  unregisterBroker(brokerId: number): Promise<AdminOutcome>

  /** Resolves once the change of voters is committed. */
  addVoter(voter: NewVoter): Promise<AdminOutcome>

  removeVoter(voter: VoterName): Promise<AdminOutcome>
}

export interface PartitionName {
  readonly topic: string
  readonly partition: number
}

/** NONE and null, or what went wrong. */
export interface AdminOutcome {
  readonly errorCode: ErrorCode
  readonly errorMessage: string | null
}

export interface PartitionOutcome extends PartitionName, AdminOutcome {}

export interface ReplicaMove extends PartitionName {
  /** Broker ids, the preferred leader first; null: as they were before a move under way. */
  readonly replicas: readonly number[] | null
}

export interface VoterName {
  readonly nodeId: number
  readonly directoryId: Uuid
}

export interface VoterListener {
  readonly name: string
  readonly host: string
  readonly port: number
}

export interface NewVoter extends VoterName {
  readonly listeners: readonly VoterListener[]
}

export interface QuorumReplica extends VoterName {
  /** −1: not known. */
  readonly logEndOffset: number
  /** Wall time, of the leader now; −1 when it is not known. */
  readonly lastFetchMs: number
  /** Wall time; −1 when it is not known. */
  readonly lastCaughtUpMs: number
}

export interface QuorumDescription {
  /** −1: nobody, as far as this broker knows. */
  readonly leaderId: number
  readonly leaderEpoch: number
  readonly highWatermark: number
  readonly voters: readonly QuorumReplica[]
  readonly observers: readonly QuorumReplica[]
  readonly nodes: readonly { readonly nodeId: number; readonly listeners: VoterListener[] }[]
}
