import * as produce from './00-produce.ts'
import * as fetch from './01-fetch.ts'
import * as listOffsets from './02-list-offsets.ts'
import * as metadata from './03-metadata.ts'
import * as offsetCommit from './08-offset-commit.ts'
import * as offsetFetch from './09-offset-fetch.ts'
import * as findCoordinator from './10-find-coordinator.ts'
import * as joinGroup from './11-join-group.ts'
import * as heartbeat from './12-heartbeat.ts'
import * as leaveGroup from './13-leave-group.ts'
import * as syncGroup from './14-sync-group.ts'
import * as describeGroups from './15-describe-groups.ts'
import * as listGroups from './16-list-groups.ts'
import * as apiVersions from './18-api-versions.ts'
import * as createTopics from './19-create-topics.ts'
import * as deleteTopics from './20-delete-topics.ts'
import * as deleteRecords from './21-delete-records.ts'
import * as initProducerId from './22-init-producer-id.ts'
import * as offsetForLeaderEpoch from './23-offset-for-leader-epoch.ts'
import * as describeConfigs from './32-describe-configs.ts'
import * as alterConfigs from './33-alter-configs.ts'
import * as describeLogDirs from './35-describe-log-dirs.ts'
import * as createPartitions from './37-create-partitions.ts'
import * as deleteGroups from './42-delete-groups.ts'
import * as electLeaders from './43-elect-leaders.ts'
import * as incrementalAlterConfigs from './44-incremental-alter-configs.ts'
import * as alterPartitionReassignments from './45-alter-partition-reassignments.ts'
import * as listPartitionReassignments from './46-list-partition-reassignments.ts'
import * as offsetDelete from './47-offset-delete.ts'
import * as describeQuorum from './55-describe-quorum.ts'
import * as describeCluster from './60-describe-cluster.ts'
import * as unregisterBroker from './64-unregister-broker.ts'
import * as consumerGroupHeartbeat from './68-consumer-group-heartbeat.ts'
import * as consumerGroupDescribe from './69-consumer-group-describe.ts'
import * as listConfigResources from './74-list-config-resources.ts'
import * as describeTopicPartitions from './75-describe-topic-partitions.ts'
import * as addRaftVoter from './80-add-raft-voter.ts'
import * as removeRaftVoter from './81-remove-raft-voter.ts'
import * as cluster from './cluster.ts'
import type { Decoded, Encodable, MessageSchema } from './definition.ts'

/**
 * The APIs that this codec speaks, and their types by API key. A new API is a schema file plus
 * one line in the table below.
 */
export interface ApiSchema {
  readonly request: MessageSchema
  readonly response: MessageSchema
  /** Lowest version to advertise where it is lower than what can be decoded. */
  readonly advertisedMin?: number
}

/** In the order of the keys. */
export const API_SCHEMAS = {
  // KAFKA-18659: older librdkafka reads "Produce v0 out of range" as "no compression".
  0: { request: produce.produceRequest, response: produce.produceResponse, advertisedMin: 0 },
  1: { request: fetch.fetchRequest, response: fetch.fetchResponse },
  2: { request: listOffsets.listOffsetsRequest, response: listOffsets.listOffsetsResponse },
  3: { request: metadata.metadataRequest, response: metadata.metadataResponse },
  8: { request: offsetCommit.offsetCommitRequest, response: offsetCommit.offsetCommitResponse },
  9: { request: offsetFetch.offsetFetchRequest, response: offsetFetch.offsetFetchResponse },
  10: {
    request: findCoordinator.findCoordinatorRequest,
    response: findCoordinator.findCoordinatorResponse,
  },
  11: { request: joinGroup.joinGroupRequest, response: joinGroup.joinGroupResponse },
  12: { request: heartbeat.heartbeatRequest, response: heartbeat.heartbeatResponse },
  13: { request: leaveGroup.leaveGroupRequest, response: leaveGroup.leaveGroupResponse },
  14: { request: syncGroup.syncGroupRequest, response: syncGroup.syncGroupResponse },
  15: {
    request: describeGroups.describeGroupsRequest,
    response: describeGroups.describeGroupsResponse,
  },
  16: { request: listGroups.listGroupsRequest, response: listGroups.listGroupsResponse },
  18: { request: apiVersions.apiVersionsRequest, response: apiVersions.apiVersionsResponse },
  19: { request: createTopics.createTopicsRequest, response: createTopics.createTopicsResponse },
  20: { request: deleteTopics.deleteTopicsRequest, response: deleteTopics.deleteTopicsResponse },
  21: {
    request: deleteRecords.deleteRecordsRequest,
    response: deleteRecords.deleteRecordsResponse,
  },
  22: {
    request: initProducerId.initProducerIdRequest,
    response: initProducerId.initProducerIdResponse,
  },
  23: {
    request: offsetForLeaderEpoch.offsetForLeaderEpochRequest,
    response: offsetForLeaderEpoch.offsetForLeaderEpochResponse,
  },
  32: {
    request: describeConfigs.describeConfigsRequest,
    response: describeConfigs.describeConfigsResponse,
  },
  33: { request: alterConfigs.alterConfigsRequest, response: alterConfigs.alterConfigsResponse },
  35: {
    request: describeLogDirs.describeLogDirsRequest,
    response: describeLogDirs.describeLogDirsResponse,
  },
  37: {
    request: createPartitions.createPartitionsRequest,
    response: createPartitions.createPartitionsResponse,
  },
  42: { request: deleteGroups.deleteGroupsRequest, response: deleteGroups.deleteGroupsResponse },
  43: {
    request: electLeaders.electLeadersRequest,
    response: electLeaders.electLeadersResponse,
  },
  44: {
    request: incrementalAlterConfigs.incrementalAlterConfigsRequest,
    response: incrementalAlterConfigs.incrementalAlterConfigsResponse,
  },
  45: {
    request: alterPartitionReassignments.alterPartitionReassignmentsRequest,
    response: alterPartitionReassignments.alterPartitionReassignmentsResponse,
  },
  46: {
    request: listPartitionReassignments.listPartitionReassignmentsRequest,
    response: listPartitionReassignments.listPartitionReassignmentsResponse,
  },
  47: { request: offsetDelete.offsetDeleteRequest, response: offsetDelete.offsetDeleteResponse },
  55: {
    request: describeQuorum.describeQuorumRequest,
    response: describeQuorum.describeQuorumResponse,
  },
  60: {
    request: describeCluster.describeClusterRequest,
    response: describeCluster.describeClusterResponse,
  },
  64: {
    request: unregisterBroker.unregisterBrokerRequest,
    response: unregisterBroker.unregisterBrokerResponse,
  },
  68: {
    request: consumerGroupHeartbeat.consumerGroupHeartbeatRequest,
    response: consumerGroupHeartbeat.consumerGroupHeartbeatResponse,
  },
  69: {
    request: consumerGroupDescribe.consumerGroupDescribeRequest,
    response: consumerGroupDescribe.consumerGroupDescribeResponse,
  },
  74: {
    request: listConfigResources.listConfigResourcesRequest,
    response: listConfigResources.listConfigResourcesResponse,
  },
  75: {
    request: describeTopicPartitions.describeTopicPartitionsRequest,
    response: describeTopicPartitions.describeTopicPartitionsResponse,
  },
  80: {
    request: addRaftVoter.addRaftVoterRequest,
    response: addRaftVoter.addRaftVoterResponse,
  },
  81: {
    request: removeRaftVoter.removeRaftVoterRequest,
    response: removeRaftVoter.removeRaftVoterResponse,
  },
} as const satisfies Readonly<Record<number, ApiSchema>>

/** What brokers of a cluster say to each other; served on their own listener only. */
export const CLUSTER_SCHEMAS = {
  200: { request: cluster.clusterHelloRequest, response: cluster.clusterHelloResponse },
  201: { request: cluster.clusterProveRequest, response: cluster.clusterProveResponse },
  202: { request: cluster.raftMessagesRequest, response: cluster.raftMessagesResponse },
  203: { request: cluster.registerBrokerRequest, response: cluster.registerBrokerResponse },
  204: { request: cluster.brokerBeatRequest, response: cluster.brokerBeatResponse },
  205: { request: cluster.proposeRecordsRequest, response: cluster.proposeRecordsResponse },
  206: { request: cluster.alterPartitionsRequest, response: cluster.alterPartitionsResponse },
  207: { request: cluster.changeVotersRequest, response: cluster.changeVotersResponse },
  208: { request: cluster.quorumStateRequest, response: cluster.quorumStateResponse },
} as const satisfies Readonly<Record<number, ApiSchema>>

export type SupportedApiKey = keyof typeof API_SCHEMAS
export type ClusterApiKey = keyof typeof CLUSTER_SCHEMAS
export type AnyApiKey = SupportedApiKey | ClusterApiKey

type SchemaOf<K extends AnyApiKey> = K extends SupportedApiKey
  ? (typeof API_SCHEMAS)[K]
  : K extends ClusterApiKey
    ? (typeof CLUSTER_SCHEMAS)[K]
    : never
type RequestFields<K extends AnyApiKey> = SchemaOf<K>['request']['fields']
type ResponseFields<K extends AnyApiKey> = SchemaOf<K>['response']['fields']

/** What decoding gives, by API key. */
export type RequestOf<K extends AnyApiKey> = Decoded<RequestFields<K>>
export type ResponseOf<K extends AnyApiKey> = Decoded<ResponseFields<K>>
/** What encoding takes, by API key. */
export type RequestInit<K extends AnyApiKey> = Encodable<RequestFields<K>>
export type ResponseInit<K extends AnyApiKey> = Encodable<ResponseFields<K>>
