import { ApiKey, type RequestOf, type SupportedApiKey } from '../../wire/kafka/api.ts'
import type { Broker } from '../broker.ts'
import type { Handler, HandlerResult, RequestContext } from '../request.ts'
import { produce } from './00-produce.ts'
import { fetch } from './01-fetch.ts'
import { listOffsets } from './02-list-offsets.ts'
import { metadata } from './03-metadata.ts'
import { offsetCommit } from './08-offset-commit.ts'
import { offsetFetch } from './09-offset-fetch.ts'
import { findCoordinator } from './10-find-coordinator.ts'
import { joinGroup } from './11-join-group.ts'
import { heartbeat } from './12-heartbeat.ts'
import { leaveGroup } from './13-leave-group.ts'
import { syncGroup } from './14-sync-group.ts'
import { describeGroups } from './15-describe-groups.ts'
import { listGroups } from './16-list-groups.ts'
import { apiVersions } from './18-api-versions.ts'
import { createTopics } from './19-create-topics.ts'
import { deleteTopics } from './20-delete-topics.ts'
import { deleteRecords } from './21-delete-records.ts'
import { initProducerId } from './22-init-producer-id.ts'
import { offsetForLeaderEpoch } from './23-offset-for-leader-epoch.ts'
import { describeConfigs } from './32-describe-configs.ts'
import { alterConfigs } from './33-alter-configs.ts'
import { describeLogDirs } from './35-describe-log-dirs.ts'
import { createPartitions } from './37-create-partitions.ts'
import { deleteGroups } from './42-delete-groups.ts'
import { electLeaders } from './43-elect-leaders.ts'
import { incrementalAlterConfigs } from './44-incremental-alter-configs.ts'
import { alterPartitionReassignments } from './45-alter-partition-reassignments.ts'
import { listPartitionReassignments } from './46-list-partition-reassignments.ts'
import { offsetDelete } from './47-offset-delete.ts'
import { describeQuorum } from './55-describe-quorum.ts'
import { describeCluster } from './60-describe-cluster.ts'
import { unregisterBroker } from './64-unregister-broker.ts'
import { consumerGroupHeartbeat } from './68-consumer-group-heartbeat.ts'
import { consumerGroupDescribe } from './69-consumer-group-describe.ts'
import { listConfigResources } from './74-list-config-resources.ts'
import { describeTopicPartitions } from './75-describe-topic-partitions.ts'
import { addRaftVoter } from './80-add-raft-voter.ts'
import { removeRaftVoter } from './81-remove-raft-voter.ts'

/** The handler of every API that the wire codec speaks: a missing one does not compile. */
const HANDLERS: {
  readonly [K in SupportedApiKey]: (
    broker: Broker,
    body: RequestOf<K>,
    context: RequestContext,
  ) => HandlerResult
} = {
  [ApiKey.PRODUCE]: produce,
  [ApiKey.FETCH]: fetch,
  [ApiKey.LIST_OFFSETS]: listOffsets,
  [ApiKey.METADATA]: metadata,
  [ApiKey.OFFSET_COMMIT]: offsetCommit,
  [ApiKey.OFFSET_FETCH]: offsetFetch,
  [ApiKey.FIND_COORDINATOR]: findCoordinator,
  [ApiKey.JOIN_GROUP]: joinGroup,
  [ApiKey.HEARTBEAT]: heartbeat,
  [ApiKey.LEAVE_GROUP]: leaveGroup,
  [ApiKey.SYNC_GROUP]: syncGroup,
  [ApiKey.DESCRIBE_GROUPS]: describeGroups,
  [ApiKey.LIST_GROUPS]: listGroups,
  [ApiKey.API_VERSIONS]: apiVersions,
  [ApiKey.CREATE_TOPICS]: createTopics,
  [ApiKey.DELETE_TOPICS]: deleteTopics,
  [ApiKey.DELETE_RECORDS]: deleteRecords,
  [ApiKey.INIT_PRODUCER_ID]: initProducerId,
  [ApiKey.OFFSET_FOR_LEADER_EPOCH]: offsetForLeaderEpoch,
  [ApiKey.DESCRIBE_CONFIGS]: describeConfigs,
  [ApiKey.ALTER_CONFIGS]: alterConfigs,
  [ApiKey.DESCRIBE_LOG_DIRS]: describeLogDirs,
  [ApiKey.CREATE_PARTITIONS]: createPartitions,
  [ApiKey.DELETE_GROUPS]: deleteGroups,
  [ApiKey.ELECT_LEADERS]: electLeaders,
  [ApiKey.INCREMENTAL_ALTER_CONFIGS]: incrementalAlterConfigs,
  [ApiKey.ALTER_PARTITION_REASSIGNMENTS]: alterPartitionReassignments,
  [ApiKey.LIST_PARTITION_REASSIGNMENTS]: listPartitionReassignments,
  [ApiKey.OFFSET_DELETE]: offsetDelete,
  [ApiKey.DESCRIBE_QUORUM]: describeQuorum,
  [ApiKey.DESCRIBE_CLUSTER]: describeCluster,
  [ApiKey.UNREGISTER_BROKER]: unregisterBroker,
  [ApiKey.CONSUMER_GROUP_HEARTBEAT]: consumerGroupHeartbeat,
  [ApiKey.CONSUMER_GROUP_DESCRIBE]: consumerGroupDescribe,
  [ApiKey.LIST_CONFIG_RESOURCES]: listConfigResources,
  [ApiKey.DESCRIBE_TOPIC_PARTITIONS]: describeTopicPartitions,
  [ApiKey.ADD_RAFT_VOTER]: addRaftVoter,
  [ApiKey.REMOVE_RAFT_VOTER]: removeRaftVoter,
}

export function handlersOf(broker: Broker): ReadonlyMap<number, Handler> {
  return new Map(
    Object.entries(HANDLERS).map(([key, handle]) => [
      Number(key),
      (body: never, context: RequestContext) => handle(broker, body, context),
    ]),
  )
}
