import { ZERO_UUID } from '../../base/uuid.ts'
import { type Elsewhere, elsewhere } from '../../broker/elsewhere.ts'
import { listOffsets } from '../../broker/handlers/02-list-offsets.ts'
import { metadata } from '../../broker/handlers/03-metadata.ts'
import { deleteRecords } from '../../broker/handlers/21-delete-records.ts'
import type { AskContext } from '../../broker/request.ts'
import type { TopicOutcome } from '../../broker/topic-service.ts'
import { describeTopicConfigs } from '../../config/describe.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { ListOffsetsResponseInit } from '../../wire/kafka/schema/02-list-offsets.ts'
import type { MetadataResponseInit } from '../../wire/kafka/schema/03-metadata.ts'
import type { DeleteRecordsResponseInit } from '../../wire/kafka/schema/21-delete-records.ts'
import type { ClientMessages } from '../../wire/websocket/messages.ts'
import type { GroupMessage } from './group-members.ts'
import { leaderHint, nodeUrls } from './leaders.ts'
import type { RequestMessage, SessionLink } from './session-link.ts'

/**
 * The requests of `millrace.v1` that ask about or change topics: each is put to the service that
 * Kafka's door asks as well, and its outcome is put into words of this protocol. Runs on main.
 */
type Request = Exclude<
  RequestMessage,
  { type: 'subscribe' | 'unsubscribe' | 'fetch' | GroupMessage['type'] }
>

export function answerRequest(session: SessionLink, message: Request): void {
  perform(session, message).catch((error: unknown) => session.failUnexpectedly(message.id, error))
  session.broker.hub.flush()
}

async function perform(session: SessionLink, message: Request): Promise<void> {
  const { broker } = session
  const { id } = message
  switch (message.type) {
    case 'ping':
      session.answer({ type: 'pong', id })
      return
    case 'initProducer': {
      const producerId = await broker.producerIds.allocate()
      session.answer({ type: 'producer', id, producerId, producerEpoch: 0 })
      return
    }
    case 'metadata':
      return describe(session, message)
    case 'listOffsets':
      return offsets(session, message)
    case 'createTopic': {
      const { name, partitions, replicationFactor, validateOnly } = message
      const configs = new Map(Object.entries(message.configs))
      const request = { name, partitions, replicationFactor, configs }
      done(session, id, await broker.topics.create(request, validateOnly === true))
      return
    }
    case 'createPartitions':
      done(
        session,
        id,
        await broker.topics.addPartitions(message.name, { total: message.count }, false),
      )
      return
    case 'deleteTopic': {
      const topic = broker.topicByName(message.name)
      if (!broker.config.get('delete.topic.enable')) {
        session.fail(id, ErrorCode.TOPIC_DELETION_DISABLED)
      } else if (topic === undefined) {
        session.fail(id, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
      } else {
        done(session, id, await broker.topics.delete(topic))
      }
      return
    }
    case 'deleteRecords': {
      const { topic: name, partition: partitionIndex, offset } = message
      const handle = broker.topicByName(name)?.handles[partitionIndex] ?? -1
      const leader = leaderElsewhere(session, handle)
      if (leader !== null) {
        const deleted = await leader.deleteRecords(handle, offset)
        if (deleted.errorCode !== ErrorCode.NONE) session.fail(id, deleted.errorCode)
        else session.answer({ type: 'deleted', id, logStartOffset: deleted.offset })
        return
      }
      const body = { topics: [{ name, partitions: [{ partitionIndex, offset }] }], timeoutMs: 0 }
      const reply = (await deleteRecords(broker, body)).body as DeleteRecordsResponseInit
      const { errorCode, lowWatermark } = reply.topics[0]!.partitions[0]!
      if (errorCode !== ErrorCode.NONE) {
        session.redirect(id, errorCode, leaderHint(broker, errorCode, handle))
      } else session.answer({ type: 'deleted', id, logStartOffset: lowWatermark })
      return
    }
    case 'describeTopic': {
      const topic = broker.topicByName(message.name)
      if (topic === undefined) {
        session.fail(id, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return
      }
      const entries = describeTopicConfigs(
        topic.configs,
        broker.config,
        broker.replicationFactor(topic),
      )
      session.answer({
        type: 'topicConfig',
        id,
        configs: entries.map(({ name, value, source }) => [name, value, source !== TOPIC_CONFIG]),
      })
    }
  }
}

/** Set on the topic itself: `ConfigSource` of Kafka's protocol. */
const TOPIC_CONFIG = 1
const LIST_OFFSETS_VERSION = 9
const METADATA_VERSION = 12

function done(session: SessionLink, id: number, { errorCode, errorMessage }: TopicOutcome): void {
  if (errorCode === ErrorCode.NONE) session.answer({ type: 'done', id })
  else session.fail(id, errorCode, errorMessage)
}

async function describe(session: SessionLink, message: ClientMessages['metadata']): Promise<void> {
  const body = {
    topics: message.topics?.map((name) => ({ topicId: ZERO_UUID, name })) ?? null,
    allowAutoTopicCreation: message.create === true,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  }
  const reply = await metadata(session.broker, body, context(session, METADATA_VERSION))
  if (reply === null) return // The client is gone.
  const { brokers, topics, clusterId, controllerId } = reply.body as Required<MetadataResponseInit>
  session.answer(
    {
      type: 'metadata',
      id: message.id,
      cluster: clusterId ?? '',
      controller: controllerId,
      nodes: brokers.map(({ nodeId, host, port }) => [nodeId, host, port]),
      urls: nodeUrls(session.broker),
      topics: (topics ?? []).map((topic) => ({
        name: topic.name ?? '',
        topicId: topic.topicId ?? ZERO_UUID,
        errorCode: topic.errorCode ?? ErrorCode.NONE,
        internal: topic.isInternal ?? false,
        partitions: (topic.partitions ?? []).map((partition) => [
          partition.errorCode ?? ErrorCode.NONE,
          partition.partitionIndex,
          partition.leaderId,
          partition.leaderEpoch ?? -1,
        ]),
      })),
    },
    [],
    () => session.endTurn(),
  )
}

async function offsets(
  session: SessionLink,
  message: ClientMessages['listOffsets'],
): Promise<void> {
  const asked = context(session, LIST_OFFSETS_VERSION)
  const partitions = await Promise.all(
    message.partitions.map(async ([name, partitionIndex, timestamp]) => {
      const handle = session.broker.topicByName(name)?.handles[partitionIndex] ?? -1
      const leader = leaderElsewhere(session, handle)
      if (leader !== null) {
        const there = await leader.offsetAt(handle, timestamp)
        return [there.errorCode, there.offset, there.timestamp] as [number, number, number]
      }
      // A request of its own for each: here a partition may be asked about more than once.
      const partition = { partitionIndex, currentLeaderEpoch: -1, timestamp, maxNumOffsets: 1 }
      const topics = [{ name, partitions: [partition] }]
      const body = { replicaId: -1, isolationLevel: 0, timeoutMs: 0, topics }
      const reply = await listOffsets(session.broker, body, asked)
      const answer = (reply.body as ListOffsetsResponseInit).topics?.[0]?.partitions?.[0]
      const { errorCode = ErrorCode.NONE, offset = -1, timestamp: found = -1 } = answer ?? {}
      return [errorCode, offset, found] as [number, number, number]
    }),
  )
  session.answer({ type: 'offsets', id: message.id, partitions })
}

/** Of a client that knows this broker only; null for what this broker leads, and for others. */
function leaderElsewhere({ broker, relays }: SessionLink, handle: number): Elsewhere | null {
  return relays === null || handle < 0 ? null : elsewhere(broker, handle)
}

/** What Kafka's handlers ask of a connection. */
function context(session: SessionLink, apiVersion: number): AskContext {
  return {
    apiVersion,
    listenerName: '',
    whenFirst: () => null, // Answers go out as they come.
    sendTurns: session.sendTurns,
    onClose: (callback) => session.whenClosed(callback),
  }
}
