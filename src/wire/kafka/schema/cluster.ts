import { defineMessage, type Fields } from './definition.ts'

/**
 * What brokers of a cluster say to each other, on a listener of their own (keys from 200 on, which
 * no client is ever told). Declared like Kafka's messages, so that a rolling upgrade finds versions
 * and tagged fields where it needs them; the fields are Millrace's own.
 */

const replicaKey = {
  id: { type: 'int32', versions: '0+' },
  directoryId: { type: 'uuid', versions: '0+' },
} as const satisfies Fields

const request = { kind: 'request', versions: '0', flexible: '0+' } as const
const response = { kind: 'response', versions: '0', flexible: '0+' } as const

/** Who calls; answered with a proof that the other end knows the secret. First on a connection. */
export const clusterHelloRequest = defineMessage({
  ...request,
  name: 'ClusterHelloRequest',
  apiKey: 200,
  fields: {
    nodeId: { type: 'int32', versions: '0+' },
    directoryId: { type: 'uuid', versions: '0+' },
    /** Null: the caller belongs to none yet. */
    clusterId: { type: 'string', versions: '0+', nullable: '0+' },
    nonce: { type: 'bytes', versions: '0+' },
    /** Where the caller's own cluster listener is; null: it does not say. */
    host: { type: 'string', versions: '0+', nullable: '0+', default: null },
    port: { type: 'uint16', versions: '0+', default: 0 },
  },
})

export const clusterHelloResponse = defineMessage({
  ...response,
  name: 'ClusterHelloResponse',
  apiKey: 200,
  fields: {
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '0+', nullable: '0+' },
    nodeId: { type: 'int32', versions: '0+' },
    directoryId: { type: 'uuid', versions: '0+' },
    clusterId: { type: 'string', versions: '0+', nullable: '0+' },
    /** With which the quorum began, or the newest that are known; empty before it is formed. */
    voters: { versions: '0+', type: [replicaKey] },
    nonce: { type: 'bytes', versions: '0+' },
    proof: { type: 'bytes', versions: '0+' },
  },
})

/** The caller's own proof. Nothing else is served before it. */
export const clusterProveRequest = defineMessage({
  ...request,
  name: 'ClusterProveRequest',
  apiKey: 201,
  fields: { proof: { type: 'bytes', versions: '0+' } },
})

export const clusterProveResponse = defineMessage({
  ...response,
  name: 'ClusterProveResponse',
  apiKey: 201,
  fields: {
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '0+', nullable: '0+' },
  },
})

const snapshotId = {
  endOffset: { type: 'int64', versions: '0+', default: -1 },
  epoch: { type: 'int32', versions: '0+', default: -1 },
} as const satisfies Fields

/** Several messages of a quorum; which fields one has follows from its type (`raft-codec.ts`). */
export const raftMessagesRequest = defineMessage({
  ...request,
  name: 'RaftMessagesRequest',
  apiKey: 202,
  fields: {
    messages: {
      versions: '0+',
      type: [
        {
          type: { type: 'int8', versions: '0+' },
          from: { versions: '0+', type: replicaKey },
          to: { versions: '0+', type: replicaKey },
          epoch: { type: 'int32', versions: '0+' },
          flags: { type: 'int8', versions: '0+', default: 0, tag: 0, tagged: '0+' },
          otherEpoch: { type: 'int32', versions: '0+', default: -1, tag: 1, tagged: '0+' },
          offset: { type: 'int64', versions: '0+', default: -1, tag: 2, tagged: '0+' },
          otherOffset: { type: 'int64', versions: '0+', default: -1, tag: 3, tagged: '0+' },
          snapshot: { versions: '0+', tag: 4, tagged: '0+', type: snapshotId },
          bytes: { type: 'bytes', versions: '0+', tag: 5, tagged: '0+' },
          voters: { versions: '0+', tag: 6, tagged: '0+', type: [replicaKey] },
          entries: {
            versions: '0+',
            tag: 7,
            tagged: '0+',
            type: [
              {
                epoch: { type: 'int32', versions: '0+' },
                baseOffset: { type: 'int64', versions: '0+' },
                endOffset: { type: 'int64', versions: '0+' },
                bytes: { type: 'bytes', versions: '0+' },
                voters: { versions: '0+', nullable: '0+', type: [replicaKey] },
              },
            ],
          },
        },
      ],
    },
  },
})

export const raftMessagesResponse = defineMessage({
  ...response,
  name: 'RaftMessagesResponse',
  apiKey: 202,
  fields: { errorCode: { type: 'int16', versions: '0+' } },
})

export const registerBrokerRequest = defineMessage({
  ...request,
  name: 'RegisterBrokerRequest',
  apiKey: 203,
  fields: {
    brokerId: { type: 'int32', versions: '0+' },
    incarnationId: { type: 'uuid', versions: '0+' },
    host: { type: 'string', versions: '0+' },
    port: { type: 'int32', versions: '0+' },
    endpoints: {
      versions: '0+',
      type: [
        {
          listener: { type: 'string', versions: '0+' },
          host: { type: 'string', versions: '0+' },
          port: { type: 'int32', versions: '0+' },
        },
      ],
    },
    rack: { type: 'string', versions: '0+', nullable: '0+' },
    directories: { type: ['uuid'], versions: '0+' },
    /** Since whose registration nothing that its logs held can have been lost; −1: not known. */
    previousBrokerEpoch: { type: 'int64', versions: '0+' },
  },
})

export const registerBrokerResponse = defineMessage({
  ...response,
  name: 'RegisterBrokerResponse',
  apiKey: 203,
  fields: {
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '0+', nullable: '0+' },
    brokerEpoch: { type: 'int64', versions: '0+' },
  },
})

export const brokerBeatRequest = defineMessage({
  ...request,
  name: 'BrokerBeatRequest',
  apiKey: 204,
  fields: {
    brokerId: { type: 'int32', versions: '0+' },
    brokerEpoch: { type: 'int64', versions: '0+' },
    /** The sender has applied the metadata below it. */
    metadataOffset: { type: 'int64', versions: '0+' },
    wantsFence: { type: 'bool', versions: '0+' },
    wantsShutdown: { type: 'bool', versions: '0+' },
  },
})

export const brokerBeatResponse = defineMessage({
  ...response,
  name: 'BrokerBeatResponse',
  apiKey: 204,
  fields: {
    errorCode: { type: 'int16', versions: '0+' },
    isFenced: { type: 'bool', versions: '0+' },
    mayShutDown: { type: 'bool', versions: '0+' },
  },
})

/** Records decided on metadata as of `baseOffset`; refused when what they rest on has changed. */
export const proposeRecordsRequest = defineMessage({
  ...request,
  name: 'ProposeRecordsRequest',
  apiKey: 205,
  fields: {
    baseOffset: { type: 'int64', versions: '0+' },
    records: { versions: '0+', type: [{ value: { type: 'bytes', versions: '0+' } }] },
  },
})

export const proposeRecordsResponse = defineMessage({
  ...response,
  name: 'ProposeRecordsResponse',
  apiKey: 205,
  fields: {
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '0+', nullable: '0+' },
    /** Of the records, once committed; after a refusal, what the sender has to apply first. */
    endOffset: { type: 'int64', versions: '0+' },
  },
})

export const alterPartitionsRequest = defineMessage({
  ...request,
  name: 'AlterPartitionsRequest',
  apiKey: 206,
  fields: {
    brokerId: { type: 'int32', versions: '0+' },
    brokerEpoch: { type: 'int64', versions: '0+' },
    partitions: {
      versions: '0+',
      type: [
        {
          topicId: { type: 'uuid', versions: '0+' },
          partition: { type: 'int32', versions: '0+' },
          leaderEpoch: { type: 'int32', versions: '0+' },
          partitionEpoch: { type: 'int32', versions: '0+' },
          members: {
            versions: '0+',
            type: [
              {
                brokerId: { type: 'int32', versions: '0+' },
                brokerEpoch: { type: 'int64', versions: '0+' },
              },
            ],
          },
        },
      ],
    },
  },
})

export const alterPartitionsResponse = defineMessage({
  ...response,
  name: 'AlterPartitionsResponse',
  apiKey: 206,
  fields: {
    errorCode: { type: 'int16', versions: '0+' },
    /** In the order of the request. */
    partitions: {
      versions: '0+',
      type: [{ errorCode: { type: 'int16', versions: '0+' } }],
    },
  },
})

/** Takes one voter in or out, at the quorum's leader; answered once that is committed. */
export const changeVotersRequest = defineMessage({
  ...request,
  name: 'ChangeVotersRequest',
  apiKey: 207,
  fields: {
    isAdded: { type: 'bool', versions: '0+' },
    voter: { versions: '0+', type: replicaKey },
  },
})

export const changeVotersResponse = defineMessage({
  ...response,
  name: 'ChangeVotersResponse',
  apiKey: 207,
  fields: {
    errorCode: { type: 'int16', versions: '0+' },
    errorMessage: { type: 'string', versions: '0+', nullable: '0+' },
  },
})

/** How far everybody is, which the quorum's leader alone knows. */
export const quorumStateRequest = defineMessage({
  ...request,
  name: 'QuorumStateRequest',
  apiKey: 208,
  fields: {},
})

export const quorumStateResponse = defineMessage({
  ...response,
  name: 'QuorumStateResponse',
  apiKey: 208,
  fields: {
    errorCode: { type: 'int16', versions: '0+' },
    leaderId: { type: 'int32', versions: '0+' },
    leaderEpoch: { type: 'int32', versions: '0+' },
    highWatermark: { type: 'int64', versions: '0+' },
    replicas: {
      versions: '0+',
      type: [
        {
          key: { versions: '0+', type: replicaKey },
          isVoter: { type: 'bool', versions: '0+' },
          logEndOffset: { type: 'int64', versions: '0+' },
          // Since the leader has heard it; −1 where that is not known.
          silentMs: { type: 'int64', versions: '0+' },
        },
      ],
    },
  },
})
