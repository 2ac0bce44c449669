import { ZERO_UUID } from '../base/uuid.ts'
import { joinError, syncError } from '../coordinator/group/classic-protocol.ts'
import type { TopicPartition } from '../coordinator/group/consumer-protocol-writer.ts'
import type { ErrorCode } from '../errors/error-code.ts'
import type { JoinGroupRequest, JoinGroupResponseInit } from '../wire/kafka/schema/11-join-group.ts'
import type { HeartbeatRequest } from '../wire/kafka/schema/12-heartbeat.ts'
import type { SyncGroupRequest, SyncGroupResponseInit } from '../wire/kafka/schema/14-sync-group.ts'
import type { Broker } from './broker.ts'

/**
 * What a member that the broker plays asks of its coordinator, and of time: the same steps that
 * Kafka's requests run.
 */
export interface OffsetOf extends TopicPartition {
  readonly offset: number
  readonly metadata: string | null
}

export interface MemberCalls {
  /** Makes sure that there is a coordinator; NONE when there is. */
  prepare(): Promise<ErrorCode>
  join(
    request: JoinGroupRequest,
    client: { readonly clientId: string; readonly clientHost: string },
  ): Promise<Joined>
  sync(request: SyncGroupRequest): Promise<SyncGroupResponseInit>
  heartbeat(request: HeartbeatRequest): Promise<ErrorCode>
  leave(groupId: string, memberId: string): Promise<ErrorCode>
  /** An error for each of `offsets`, in their order. */
  commit(
    member: { readonly groupId: string; readonly memberId: string; readonly generationId: number },
    offsets: readonly OffsetOf[],
  ): Promise<readonly ErrorCode[]>
  /** In the order of `partitions`, −1 for none; null: ask again. */
  committed(groupId: string, partitions: readonly TopicPartition[]): Promise<number[] | null>
  /** Of a topic; undefined when there is none of this name. */
  partitionsCount(topic: string): number | undefined
  /** Returns how to take it back. */
  after(delayMs: number, callback: () => void): () => void
}

export type Joined = JoinGroupResponseInit & { readonly errorCode: ErrorCode }

/** The version of JoinGroup whose rules hold: members are told their ids first. */
const JOIN_VERSION = 9

export function memberCalls(broker: Broker): MemberCalls {
  const { groups } = broker
  const identity = (code: ErrorCode): ErrorCode => code
  return {
    prepare: () => groups.prepare(),
    join: (request, { clientId, clientHost }) =>
      groups.ask<Joined>(
        request.groupId,
        (coordinator, now, reply) => {
          const context = { ...now, apiVersion: JOIN_VERSION, clientId, clientHost }
          coordinator.join(request, context, (answer) => reply(answer as Joined))
        },
        (code) => joinError(code, request.memberId) as Joined,
      ),
    sync: (request) =>
      groups.ask<SyncGroupResponseInit>(
        request.groupId,
        (coordinator, now, reply) => coordinator.sync(request, now, reply),
        syncError,
      ),
    heartbeat: (request) =>
      groups.ask<ErrorCode>(
        request.groupId,
        (coordinator, now, reply) => coordinator.heartbeat(request, now, reply),
        identity,
      ),
    leave: (groupId, memberId) =>
      groups.ask<ErrorCode>(
        groupId,
        (coordinator, now, reply) => {
          const members = [{ memberId, instanceId: null }]
          coordinator.leave({ groupId, members }, now, ([code]) => reply(code as ErrorCode))
        },
        identity,
      ),
    commit: (member, offsets) => {
      const request = {
        ...member,
        instanceId: null,
        retentionMs: -1,
        offsets: offsets.map(toCommit),
      }
      return groups.ask<readonly ErrorCode[]>(
        member.groupId,
        (coordinator, now, reply) => coordinator.commit(request, now, reply),
        (code) => offsets.map(() => code),
      )
    },
    committed: (groupId, partitions) =>
      groups.ask<number[] | null>(
        groupId,
        (coordinator, _now, reply) =>
          coordinator.fetch(
            (offsets) =>
              partitions.map((at) => offsets.get(groupId, at.topic, at.partition)?.offset ?? -1),
            reply,
          ),
        () => null,
      ),
    partitionsCount: (topic) => broker.topicByName(topic)?.handles.length,
    after: (delayMs, callback) => {
      const timer = setTimeout(callback, delayMs)
      timer.unref()
      return () => clearTimeout(timer)
    },
  }
}

export function toCommit({ topic, partition, offset, metadata }: OffsetOf) {
  return { topic, topicId: ZERO_UUID, partition, offset, leaderEpoch: -1, metadata }
}

/** For maps and sets. */
export function partitionKey({ topic, partition }: TopicPartition): string {
  return `${partition}:${topic}`
}
