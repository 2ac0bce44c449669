import {
  type Assignment,
  listOf,
  type OwnedPartitions,
} from '../../coordinator/group/assignment.ts'
import type { ConsumerGroup } from '../../coordinator/group/consumer-group.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  ConsumerGroupDescribeRequest,
  ConsumerGroupDescribeResponseInit,
} from '../../wire/kafka/schema/69-consumer-group-describe.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'
import { ALL_GROUP_OPERATIONS } from './15-describe-groups.ts'

/** ConsumerGroupDescribe (key 69): state, members, and what they have and are to have. */
type Description = ConsumerGroupDescribeResponseInit['groups'][number]
type MemberDescription = NonNullable<Description['members']>[number]

const MEMBER_TYPE_CLASSIC = 0
const MEMBER_TYPE_CONSUMER = 1

export async function consumerGroupDescribe(
  broker: Broker,
  body: ConsumerGroupDescribeRequest,
): Promise<Reply> {
  const operations = body.includeAuthorizedOperations
    ? { authorizedOperations: ALL_GROUP_OPERATIONS }
    : {}
  const groups = await Promise.all(
    body.groupIds.map((groupId) =>
      broker.groups.ask<Description>(
        groupId,
        (coordinator, _now, reply) =>
          coordinator.inspect((known) => {
            const group = known.get(groupId)
            if (group?.type === 'consumer') return describe(broker, group)
            const message = `There is no consumer group "${groupId}"`
            return failed(groupId, ErrorCode.GROUP_ID_NOT_FOUND, message)
          }, reply),
        (errorCode) => failed(groupId, errorCode, null),
      ),
    ),
  )
  return {
    body: {
      throttleTimeMs: 0,
      groups: groups.map((group) => ({ ...group, ...operations })),
    } satisfies ConsumerGroupDescribeResponseInit,
  }
}

function failed(groupId: string, errorCode: ErrorCode, errorMessage: string | null): Description {
  return {
    errorCode,
    errorMessage,
    groupId,
    groupState: '',
    groupEpoch: 0,
    assignmentEpoch: 0,
    assignorName: '',
    members: [],
  }
}

function describe(broker: Broker, group: ConsumerGroup): Description {
  const [byDefault] = broker.config.get('group.consumer.assignors')
  return {
    errorCode: ErrorCode.NONE,
    groupId: group.groupId,
    groupState: group.state,
    groupEpoch: group.groupEpoch,
    assignmentEpoch: group.assignmentEpoch,
    assignorName: group.preferredAssignor(byDefault as string),
    members: [...group.members.values()].map(
      (member): MemberDescription => ({
        memberId: member.memberId,
        instanceId: member.profile.instanceId,
        rackId: member.profile.rackId,
        memberEpoch: member.progress.memberEpoch,
        clientId: member.profile.clientId,
        clientHost: member.profile.clientHost,
        subscribedTopicNames: member.profile.topicNames,
        subscribedTopicRegex: member.profile.regex,
        assignment: named(broker, member.progress.assigned),
        targetAssignment: named(broker, group.target(member.memberId)),
        memberType: member.isClassic ? MEMBER_TYPE_CLASSIC : MEMBER_TYPE_CONSUMER,
      }),
    ),
  }
}

function named(
  broker: Broker,
  partitions: Assignment | OwnedPartitions,
): MemberDescription['assignment'] {
  return {
    topicPartitions: listOf(partitions).flatMap((each) => {
      const topicName = broker.topicById(each.topicId)?.name
      return topicName === undefined ? [] : [{ ...each, topicName }]
    }),
  }
}
