import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * JoinGroup (key 11): a member enters a round of a classic group. v1 adds the rebalance timeout, v4
 * asks for a member id first (KIP-394), v5 static members (KIP-345), v8 gives a reason (KIP-800),
 * v9 tells a leader that may skip the assignment (KIP-814).
 */

export const joinGroupRequest = defineMessage({
  name: 'JoinGroupRequest',
  kind: 'request',
  apiKey: 11,
  versions: '0-9',
  flexible: '6+',
  fields: {
    groupId: { type: 'string', versions: '0+' },
    sessionTimeoutMs: { type: 'int32', versions: '0+' },
    rebalanceTimeoutMs: { type: 'int32', versions: '1+', default: -1, ignorable: true },
    memberId: { type: 'string', versions: '0+' },
    groupInstanceId: { type: 'string', versions: '5+', nullable: '5+', default: null },
    protocolType: { type: 'string', versions: '0+' },
    protocols: {
      versions: '0+',
      type: [
        { name: { type: 'string', versions: '0+' }, metadata: { type: 'bytes', versions: '0+' } },
      ],
    },
    reason: { type: 'string', versions: '8+', nullable: '8+', default: null, ignorable: true },
  },
})

export const joinGroupResponse = defineMessage({
  name: 'JoinGroupResponse',
  kind: 'response',
  apiKey: 11,
  versions: '0-9',
  flexible: '6+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '2+', ignorable: true },
    errorCode: { type: 'int16', versions: '0+' },
    generationId: { type: 'int32', versions: '0+', default: -1 },
    protocolType: {
      type: 'string',
      versions: '7+',
      nullable: '7+',
      default: null,
      ignorable: true,
    },
    protocolName: { type: 'string', versions: '0+', nullable: '7+' },
    leader: { type: 'string', versions: '0+' },
    skipAssignment: { type: 'bool', versions: '9+', default: false },
    memberId: { type: 'string', versions: '0+' },
    members: {
      versions: '0+',
      type: [
        {
          memberId: { type: 'string', versions: '0+' },
          groupInstanceId: {
            type: 'string',
            versions: '5+',
            nullable: '5+',
            default: null,
            ignorable: true,
          },
          metadata: { type: 'bytes', versions: '0+' },
        },
      ],
    },
  },
})

export type JoinGroupRequest = Decoded<typeof joinGroupRequest.fields>
export type JoinGroupRequestInit = Encodable<typeof joinGroupRequest.fields>
export type JoinGroupResponse = Decoded<typeof joinGroupResponse.fields>
export type JoinGroupResponseInit = Encodable<typeof joinGroupResponse.fields>
