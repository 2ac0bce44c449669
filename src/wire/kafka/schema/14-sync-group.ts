import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * SyncGroup (key 14): the leader brings the assignment of a round, members fetch theirs. v3 adds
 * static members (KIP-345), v5 the protocol, to be compared (KIP-559).
 */

export const syncGroupRequest = defineMessage({
  name: 'SyncGroupRequest',
  kind: 'request',
  apiKey: 14,
  versions: '0-5',
  flexible: '4+',
  fields: {
    groupId: { type: 'string', versions: '0+' },
    generationId: { type: 'int32', versions: '0+' },
    memberId: { type: 'string', versions: '0+' },
    groupInstanceId: { type: 'string', versions: '3+', nullable: '3+', default: null },
    protocolType: {
      type: 'string',
      versions: '5+',
      nullable: '5+',
      default: null,
      ignorable: true,
    },
    protocolName: {
      type: 'string',
      versions: '5+',
      nullable: '5+',
      default: null,
      ignorable: true,
    },
    assignments: {
      versions: '0+',
      type: [
        {
          memberId: { type: 'string', versions: '0+' },
          assignment: { type: 'bytes', versions: '0+' },
        },
      ],
    },
  },
})

export const syncGroupResponse = defineMessage({
  name: 'SyncGroupResponse',
  kind: 'response',
  apiKey: 14,
  versions: '0-5',
  flexible: '4+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+', ignorable: true },
    errorCode: { type: 'int16', versions: '0+' },
    protocolType: {
      type: 'string',
      versions: '5+',
      nullable: '5+',
      default: null,
      ignorable: true,
    },
    protocolName: {
      type: 'string',
      versions: '5+',
      nullable: '5+',
      default: null,
      ignorable: true,
    },
    assignment: { type: 'bytes', versions: '0+' },
  },
})

export type SyncGroupRequest = Decoded<typeof syncGroupRequest.fields>
export type SyncGroupRequestInit = Encodable<typeof syncGroupRequest.fields>
export type SyncGroupResponse = Decoded<typeof syncGroupResponse.fields>
export type SyncGroupResponseInit = Encodable<typeof syncGroupResponse.fields>
