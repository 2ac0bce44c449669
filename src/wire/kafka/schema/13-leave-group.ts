import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * LeaveGroup (key 13): members leave a group. v3 takes several at once, also by instance id
 * (KIP-345); v5 gives a reason (KIP-800).
 */

export const leaveGroupRequest = defineMessage({
  name: 'LeaveGroupRequest',
  kind: 'request',
  apiKey: 13,
  versions: '0-5',
  flexible: '4+',
  fields: {
    groupId: { type: 'string', versions: '0+' },
    memberId: { type: 'string', versions: '0-2' },
    members: {
      versions: '3+',
      type: [
        {
          memberId: { type: 'string', versions: '3+' },
          groupInstanceId: { type: 'string', versions: '3+', nullable: '3+', default: null },
          reason: {
            type: 'string',
            versions: '5+',
            nullable: '5+',
            default: null,
            ignorable: true,
          },
        },
      ],
    },
  },
})

export const leaveGroupResponse = defineMessage({
  name: 'LeaveGroupResponse',
  kind: 'response',
  apiKey: 13,
  versions: '0-5',
  flexible: '4+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '1+', ignorable: true },
    errorCode: { type: 'int16', versions: '0+' },
    members: {
      versions: '3+',
      type: [
        {
          memberId: { type: 'string', versions: '3+' },
          groupInstanceId: { type: 'string', versions: '3+', nullable: '3+' },
          errorCode: { type: 'int16', versions: '3+' },
        },
      ],
    },
  },
})

export type LeaveGroupRequest = Decoded<typeof leaveGroupRequest.fields>
export type LeaveGroupRequestInit = Encodable<typeof leaveGroupRequest.fields>
export type LeaveGroupResponse = Decoded<typeof leaveGroupResponse.fields>
export type LeaveGroupResponseInit = Encodable<typeof leaveGroupResponse.fields>
