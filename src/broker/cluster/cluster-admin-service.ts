/**
 * What administrators ask of the cluster, at whichever broker: decided on the metadata that this
 * one has and proposed like any other change; what only the quorum's leader can do or knows is
 * passed on to it. Runs on main.
 */
import { systemClock } from '../../base/clock.ts'
import type { Controller } from '../../config/cluster-config.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode, errorInfo } from '../../errors/error-code.ts'
import { balanceLeaders, electLeaders } from '../../metadata/elect-leaders.ts'
import type { MetadataImage } from '../../metadata/image.ts'
import { NO_LEADER } from '../../metadata/partition-rules.ts'
import { reassignPartitions } from '../../metadata/reassignment.ts'
import { type ElectionKind, type MetadataRecord, RULE_VERSION } from '../../metadata/records.ts'
import type { Refusal } from '../../raft/leader.ts'
import { ClusterApi, type RequestOf, type ResponseInit } from '../../wire/kafka/api.ts'
import type {
  AdminOutcome,
  ClusterAdmin,
  NewVoter,
  PartitionName,
  PartitionOutcome,
  QuorumDescription,
  QuorumReplica,
  ReplicaMove,
  VoterName,
} from '../cluster-admin.ts'
import type { ClusterNode } from './cluster-node.ts'

const TIMEOUT_MS = 5000
/** Elections for all partitions that need one; more than these take several requests. */
const ELECTIONS_MAX = 10_000

export class ClusterAdminService implements ClusterAdmin {
  readonly #node: ClusterNode
  readonly #controllers: readonly Controller[]

  constructor(node: ClusterNode, controllers: readonly Controller[]) {
    this.#node = node
    this.#controllers = controllers
  }

  electLeaders(
    kind: ElectionKind,
    partitions: readonly PartitionName[] | null,
  ): Promise<readonly PartitionOutcome[]> {
    return this.#node.metadata.change((image) => {
      if (partitions === null) return electAll(image, kind)
      const named = partitions.map(({ topic, partition }) => {
        return { topicId: image.topicsByName.get(topic)?.id ?? '', partition }
      })
      const { records, results } = electLeaders(image, kind, named)
      const outcomes = results.map(({ errorCode }, i): PartitionOutcome => {
        return { ...(partitions[i] as PartitionName), ...outcomeOf(errorCode) }
      })
      return { records, result: outcomes }
    })
  }

  reassign(
    moves: readonly ReplicaMove[],
    mayChangeFactor: boolean,
  ): Promise<readonly PartitionOutcome[]> {
    return this.#node.metadata.change((image) => {
      const refused = moves.map((move) => (mayChangeFactor ? null : factorProblem(image, move)))
      const taken = moves.filter((_, i) => refused[i] === null)
      const { records, results } = reassignPartitions(
        image,
        taken.map(({ topic, partition, replicas }) => ({
          topicId: image.topicsByName.get(topic)?.id ?? '',
          partition,
          targetReplicas: replicas,
        })),
      )
      let next = 0
      const outcomes = moves.map(({ topic, partition }, i): PartitionOutcome => {
        const outcome = refused[i] ?? (results[next++] as AdminOutcome)
        const { errorCode, errorMessage } = outcome
        return { topic, partition, errorCode, errorMessage }
      })
      return { records, result: outcomes }
    })
  }

  unregisterBroker(brokerId: number): Promise<AdminOutcome> {
    return this.#node.metadata.change<AdminOutcome>((image) => {
      const broker = image.brokers.get(brokerId)
      if (broker === undefined) {
        return { records: [], result: outcomeOf(ErrorCode.BROKER_ID_NOT_REGISTERED) }
      }
      if (!broker.isFenced) {
        const errorMessage = `Broker ${brokerId} is there: stop it first`
        return { records: [], result: { errorCode: ErrorCode.INVALID_REQUEST, errorMessage } }
      }
      const { epoch: brokerEpoch } = broker
      const record: MetadataRecord = {
        type: 'broker-unregistered',
        brokerId,
        brokerEpoch,
        ruleVersion: RULE_VERSION,
      }
      return { records: [record], result: outcomeOf(ErrorCode.NONE) }
    })
  }

  addVoter({ nodeId, directoryId }: NewVoter): Promise<AdminOutcome> {
    return this.#changeVoters({ isAdded: true, voter: { id: nodeId, directoryId } })
  }

  removeVoter({ nodeId, directoryId }: VoterName): Promise<AdminOutcome> {
    return this.#changeVoters({ isAdded: false, voter: { id: nodeId, directoryId } })
  }

  async describeQuorum(): Promise<QuorumDescription> {
    const { leaderId, links, self } = this.#node
    let state: ResponseInit<208>
    if (leaderId === null || leaderId === self.id) state = this.quorumStateHere()
    else {
      const link = links.to(leaderId, 'change')
      state = await link.request(ClusterApi.DESCRIBE_QUORUM, {}, TIMEOUT_MS)
    }
    const wallMs = systemClock.wallMs()
    const replicas = state.replicas.map((one) => ({ ...one, replica: replicaOf(one, wallMs) }))
    const nodes = this.#controllers.map(({ id, host, port }) => {
      return { nodeId: id, listeners: [{ name: 'CLUSTER', host, port }] }
    })
    return {
      leaderId: state.leaderId,
      leaderEpoch: state.leaderEpoch,
      highWatermark: state.highWatermark,
      voters: replicas.filter(({ isVoter }) => isVoter).map(({ replica }) => replica),
      observers: replicas.filter(({ isVoter }) => !isVoter).map(({ replica }) => replica),
      nodes,
    }
  }

  // —— where the quorum is led ——

  /** What this node knows; of the others it knows something as the leader only. */
  quorumStateHere(): ResponseInit<208> {
    if (!this.#node.takesPart) return UNKNOWN_QUORUM
    const { quorum } = this.#node
    const others = quorum.replicas
    const isVoter = (id: number, directoryId: string): boolean =>
      quorum.voters.some((voter) => voter.id === id && voter.directoryId === directoryId)
    const known = new Map(others.map((other) => [other.key.id, other]))
    const { self, isLeader } = quorum
    const keys = [...quorum.voters, ...others.map(({ key }) => key)].filter(
      (key, i, all) => all.findIndex((one) => one.id === key.id) === i,
    )
    return {
      errorCode: ErrorCode.NONE,
      leaderId: quorum.leader?.id ?? -1,
      leaderEpoch: quorum.epoch,
      highWatermark: quorum.committedOffset,
      replicas: keys.map((key) => ({
        key,
        isVoter: isVoter(key.id, key.directoryId),
        logEndOffset:
          key.id === self.id ? quorum.endOffset : (known.get(key.id)?.matchedOffset ?? -1),
        silentMs:
          isLeader && key.id === self.id ? 0 : Math.round(known.get(key.id)?.silentMs ?? -1),
      })),
    }
  }

  async changeVotersHere({ isAdded, voter }: RequestOf<207>): Promise<ResponseInit<207>> {
    // Whoever asks knew this node as the leader, and it has been started anew since.
    if (!this.#node.takesPart) {
      const [errorCode, errorMessage] = REFUSALS.NOT_LEADER
      return { errorCode, errorMessage }
    }
    const { quorum, metadata } = this.#node
    const refusal = isAdded ? quorum.addVoter(voter) : quorum.removeVoter(voter)
    if (refusal !== null) {
      const [errorCode, errorMessage] = REFUSALS[refusal]
      return { errorCode, errorMessage }
    }
    const { epoch, endOffset } = quorum
    const look = 'look whether the change was made'
    try {
      await metadata.appliedWithin(endOffset, TIMEOUT_MS)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      const errorMessage = `too few voters answer, or another node leads the quorum: ${look}`
      return { errorCode: ErrorCode.REQUEST_TIMED_OUT, errorMessage }
    }
    if (quorum.epoch === epoch) return { errorCode: ErrorCode.NONE, errorMessage: null }
    const errorMessage = `another node leads the quorum now: ${look}`
    return { errorCode: ErrorCode.NOT_CONTROLLER, errorMessage }
  }

  async #changeVoters(request: RequestOf<207>): Promise<AdminOutcome> {
    const { leaderId, links, self } = this.#node
    if (leaderId === null) throw new BrokerError(ErrorCode.NOT_CONTROLLER, 'find a controller')
    const answer =
      leaderId === self.id
        ? await this.changeVotersHere(request)
        : await links
            .to(leaderId, 'change')
            .request(ClusterApi.CHANGE_VOTERS, request, 2 * TIMEOUT_MS)
    return { errorCode: answer.errorCode as ErrorCode, errorMessage: answer.errorMessage }
  }
}

/** What a node says that does not take part in the quorum yet. */
const UNKNOWN_QUORUM: ResponseInit<208> = {
  errorCode: ErrorCode.NOT_CONTROLLER,
  leaderId: -1,
  leaderEpoch: -1,
  highWatermark: -1,
  replicas: [],
}

const REFUSALS: Readonly<Record<Refusal, readonly [ErrorCode, string]>> = {
  NOT_LEADER: [ErrorCode.NOT_CONTROLLER, 'Another node leads the quorum'],
  TRANSFERRING: [ErrorCode.NOT_CONTROLLER, 'The quorum is about to get another leader'],
  BUSY: [ErrorCode.REQUEST_TIMED_OUT, 'Too much is under way'],
  CHANGE_IN_PROGRESS: [ErrorCode.REQUEST_TIMED_OUT, 'Another change of voters is under way'],
  NOT_CAUGHT_UP: [ErrorCode.REQUEST_TIMED_OUT, 'The node has not caught up yet: start it, wait'],
  UNKNOWN_REPLICA: [ErrorCode.VOTER_NOT_FOUND, 'There is no such node: start it first'],
  DUPLICATE_VOTER: [
    ErrorCode.DUPLICATE_VOTER,
    'A voter has this node id, with another disk: take that one out first',
  ],
  LAST_VOTER: [ErrorCode.INVALID_REQUEST, 'The last voter cannot be taken out'],
}

function electAll(
  image: MetadataImage,
  kind: ElectionKind,
): { records: readonly MetadataRecord[]; result: readonly PartitionOutcome[] } {
  const { partitions } = image
  if (kind === 'preferred') {
    const records = balanceLeaders(image, ELECTIONS_MAX)
    const result = records.flatMap(({ topicId, partitions: elected }) =>
      elected.map((partition) => electedOf(image, topicId, partition)),
    )
    return { records, result }
  }
  const leaderless: { topicId: string; partition: number }[] = []
  for (const handle of partitions.handlesOf(({ leader }) => leader === NO_LEADER)) {
    const topic = partitions.topic(handle)
    if (topic === null || leaderless.length >= ELECTIONS_MAX) continue
    leaderless.push({ topicId: topic.id, partition: partitions.partitionNumber(handle) })
  }
  const { records, results } = electLeaders(image, kind, leaderless)
  const result = results.map(({ topicId, partition, errorCode }) => {
    return { ...electedOf(image, topicId, partition), ...outcomeOf(errorCode) }
  })
  return { records, result }
}

function electedOf(image: MetadataImage, topicId: string, partition: number): PartitionOutcome {
  const topic = image.topicsById.get(topicId)?.name ?? ''
  return { topic, partition, ...outcomeOf(ErrorCode.NONE) }
}

function factorProblem(image: MetadataImage, move: ReplicaMove): AdminOutcome | null {
  const { topic, partition, replicas } = move
  const handle = image.topicsByName.get(topic)?.handles[partition]
  if (handle === undefined || replicas === null) return null
  const { partitions } = image
  const factor = partitions.replicas(handle).length - partitions.addingReplicas(handle).length
  if (replicas.length === factor) return null
  const errorMessage = `The replication factor is ${factor}, and was not to be changed`
  return { errorCode: ErrorCode.INVALID_REPLICATION_FACTOR, errorMessage }
}

function outcomeOf(errorCode: ErrorCode): AdminOutcome {
  const errorMessage = errorCode === ErrorCode.NONE ? null : errorInfo(errorCode).message
  return { errorCode, errorMessage }
}

function replicaOf(one: ResponseInit<208>['replicas'][number], wallMs: number): QuorumReplica {
  return {
    nodeId: one.key.id,
    directoryId: one.key.directoryId,
    logEndOffset: one.logEndOffset,
    lastFetchMs: one.silentMs < 0 ? -1 : wallMs - one.silentMs,
    lastCaughtUpMs: -1,
  }
}
