import { ZERO_UUID } from '../../base/uuid.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  DescribeQuorumRequest,
  DescribeQuorumResponseInit,
} from '../../wire/kafka/schema/55-describe-quorum.ts'
import type { Broker } from '../broker.ts'
import type { QuorumDescription, QuorumReplica } from '../cluster-admin.ts'
import { METADATA_HANDLE } from '../metadata-store.ts'
import type { Reply } from '../request.ts'

/**
 * DescribeQuorum (key 55): who votes about the metadata, and how far each of them is. A broker that
 * is alone is its own quorum.
 */
const METADATA_TOPIC = '__cluster_metadata'

type TopicAsked = DescribeQuorumRequest['topics'][number]
type TopicAnswer = DescribeQuorumResponseInit['topics'][number]
type PartitionAnswer = TopicAnswer['partitions'][number]

export async function describeQuorum(broker: Broker, body: DescribeQuorumRequest): Promise<Reply> {
  try {
    const quorum = await (broker.clusterAdmin?.describeQuorum() ?? quorumOfOne(broker))
    return reply({
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      topics: body.topics.map((topic) => describeTopic(topic, quorum)),
      nodes: quorum.nodes.map(({ nodeId, listeners }) => ({ nodeId, listeners })),
    })
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    return reply({ errorCode: error.code, errorMessage: error.message, topics: [], nodes: [] })
  }
}

function reply(body: DescribeQuorumResponseInit): Reply {
  return { body }
}

function describeTopic({ topicName, partitions }: TopicAsked, quorum: QuorumDescription) {
  return {
    topicName,
    partitions: partitions.map(({ partitionIndex }): PartitionAnswer => {
      const isMetadata = topicName === METADATA_TOPIC && partitionIndex === 0
      if (!isMetadata) {
        const errorMessage = `${METADATA_TOPIC}-0 is the only partition that has a quorum`
        const errorCode = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return { ...NO_QUORUM, partitionIndex, errorCode, errorMessage }
      }
      return {
        partitionIndex,
        errorCode: ErrorCode.NONE,
        errorMessage: null,
        leaderId: quorum.leaderId,
        leaderEpoch: quorum.leaderEpoch,
        highWatermark: quorum.highWatermark,
        currentVoters: quorum.voters.map(replicaState),
        observers: quorum.observers.map(replicaState),
      }
    }),
  }
}

const NO_QUORUM = {
  leaderId: -1,
  leaderEpoch: -1,
  highWatermark: -1,
  currentVoters: [],
  observers: [],
}

function replicaState(replica: QuorumReplica) {
  return {
    replicaId: replica.nodeId,
    replicaDirectoryId: replica.directoryId,
    logEndOffset: replica.logEndOffset,
    lastFetchTimestamp: replica.lastFetchMs,
    lastCaughtUpTimestamp: replica.lastCaughtUpMs,
  }
}

async function quorumOfOne(broker: Broker): Promise<QuorumDescription> {
  const { nodeId, placement, metadataPath } = broker
  const offsets = await broker.hub.host.proxies[0]!.control({
    kind: 'offsets',
    handle: METADATA_HANDLE,
  })
  if (offsets.kind !== 'offsets') {
    throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, 'read the metadata log')
  }
  const ofPath = [...placement.directories].find(([, path]) => path === metadataPath)
  return {
    leaderId: nodeId,
    leaderEpoch: 0,
    highWatermark: offsets.highWatermark,
    voters: [
      {
        nodeId,
        directoryId: ofPath?.[0] ?? ZERO_UUID,
        logEndOffset: offsets.logEndOffset,
        lastFetchMs: -1,
        lastCaughtUpMs: broker.clock.wallMs(),
      },
    ],
    observers: [],
    nodes: [{ nodeId, listeners: [] }],
  }
}
