/** Three real brokers, as seen by who asks the wrong one, and a coordinator that dies. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { ApiKey } from '../../src/wire/kafka/api.ts'
import type { TestBroker } from '../support/broker.ts'
import { type TestCluster, withCluster } from '../support/cluster.ts'
import { batchOf } from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

const GROUP = 'readers'
/** Of several brokers that share two cores with whatever else runs. */
const PATIENCE_MS = 60_000

async function asking<T>(broker: TestBroker, use: (client: RawClient) => Promise<T>): Promise<T> {
  const client = await RawClient.open(broker.port)
  try {
    return await use(client)
  } finally {
    client.close()
  }
}

/** Asks until the answer is no longer null. */
async function until<T>(ask: () => Promise<T | null>): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    const answer = await ask().catch(() => null)
    if (answer !== null) return answer
    assert.ok(performance.now() < deadline, 'in time')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

const coordinatorOf = (broker: TestBroker): Promise<number | null> =>
  asking(broker, async (client) => {
    const asked = { key: '', keyType: 0, coordinatorKeys: [GROUP] }
    const body = await client.request(ApiKey.FIND_COORDINATOR, 6, asked)
    const [found] = body.coordinators
    return found?.errorCode === ErrorCode.NONE ? found.nodeId : null
  })

const commit = (broker: TestBroker, committedOffset: number): Promise<number> =>
  asking(broker, async (client) => {
    const partitions = [{ partitionIndex: 0, committedOffset, committedMetadata: null }]
    const body = await client.request(ApiKey.OFFSET_COMMIT, 8, {
      groupId: GROUP,
      generationIdOrMemberEpoch: -1,
      memberId: '',
      topics: [{ name: 't', partitions }],
    })
    return body.topics[0]!.partitions[0]!.errorCode
  })

const committed = (broker: TestBroker): Promise<number | null> =>
  asking(broker, async (client) => {
    const topics = [{ name: 't', partitionIndexes: [0] }]
    const group = { groupId: GROUP, memberId: null, memberEpoch: -1, topics }
    const body = await client.request(ApiKey.OFFSET_FETCH, 9, { groups: [group] })
    const [answer] = body.groups
    if (answer?.errorCode !== ErrorCode.NONE) return null
    return answer.topics[0]!.partitions[0]!.committedOffset
  })

function other(cluster: TestCluster, id: number): [number, TestBroker] {
  return [...cluster.brokers].find(([nodeId]) => nodeId !== id)!
}

test('a client that asks the wrong broker, is told the right one, also after that dies', async () => {
  const set = { 'offsets.topic.num.partitions': '3' }
  await withCluster({ set }, async (cluster) => {
    const first = cluster.brokers.get(1)!
    await until(() =>
      asking(first, async (client) => {
        const topic = { name: 't', numPartitions: 1, replicationFactor: 3 }
        const topics = [{ ...topic, assignments: [], configs: [] }]
        const body = await client.request(ApiKey.CREATE_TOPICS, 7, { topics, timeoutMs: 10_000 })
        const { errorCode } = body.topics[0]!
        const isThere = errorCode === ErrorCode.NONE || errorCode === ErrorCode.TOPIC_ALREADY_EXISTS
        return isThere ? true : null
      }),
    )
    const leader = await until(() =>
      asking(first, async (client) => {
        const asked = { topics: [{ name: 't' }], allowAutoTopicCreation: false }
        const body = await client.request(ApiKey.METADATA, 9, asked)
        assert.deepEqual(
          body.brokers.map(({ nodeId }) => nodeId),
          [1, 2, 3],
        )
        const [partition] = body.topics[0]!.partitions
        return partition === undefined || partition.leaderId < 0 ? null : partition.leaderId
      }),
    )
    const [, wrong] = other(cluster, leader)
    const records = batchOf()
    const produced = await until(() =>
      asking(wrong, async (client) => {
        const answer = await client.request(ApiKey.PRODUCE, 10, {
          acks: -1,
          timeoutMs: 10_000,
          topicData: [{ name: 't', partitionData: [{ index: 0, records }] }],
        })
        const { errorCode } = answer.responses[0]!.partitionResponses[0]!
        // It may have yet to hear of the topic.
        return errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION ? null : answer
      }),
    )
    const [refused] = produced.responses[0]!.partitionResponses
    assert.equal(refused!.errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    assert.equal(refused!.currentLeader.leaderId, leader)
    assert.deepEqual(
      produced.nodeEndpoints.map(({ nodeId, port }) => [nodeId, port]),
      [[leader, cluster.brokers.get(leader)!.port]],
    )

    const before = await until(() => coordinatorOf(first))
    for (const broker of cluster.brokers.values()) {
      assert.equal(await until(() => coordinatorOf(broker)), before)
    }
    const coordinator = cluster.brokers.get(before)!
    await until(async () => ((await commit(coordinator, 7)) === ErrorCode.NONE ? true : null))
    const [, another] = other(cluster, before)
    assert.equal(await commit(another, 9), ErrorCode.NOT_COORDINATOR)

    await coordinator.kill()
    const after = await until(async () => {
      const id = await coordinatorOf(another)
      return id === before ? null : id
    })
    assert.equal(await until(() => committed(cluster.brokers.get(after)!)), 7)
    assert.equal(await commit(cluster.brokers.get(after)!, 8), ErrorCode.NONE)
    const back = await cluster.restart(before)
    assert.equal(await until(() => coordinatorOf(back)), after)
    assert.equal(await commit(back, 9), ErrorCode.NOT_COORDINATOR)
  })
})
