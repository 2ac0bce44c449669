/** Topics that are asked for at the same time: one change, and each taken or refused by itself. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createTopics } from '../../src/broker/handlers/19-create-topics.ts'
import { TopicCreations } from '../../src/broker/topic-creations.ts'
import { OK, refused, type TopicRequest } from '../../src/broker/topic-request.ts'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { MetadataImage } from '../../src/metadata/image.ts'
import type { CreateTopicsResponseInit } from '../../src/wire/kafka/schema/19-create-topics.ts'
import { active } from '../metadata/cluster-records.ts'
import { FakeCluster } from '../support/fake-cluster.ts'

const { INVALID_TOPIC_EXCEPTION, NONE, POLICY_VIOLATION, TOPIC_ALREADY_EXISTS } = ErrorCode

async function createAll(cluster: FakeCluster, names: readonly string[], numPartitions = 1) {
  const topics = names.map((name) => {
    return { name, numPartitions, replicationFactor: 1, assignments: [], configs: [] }
  })
  const body = { topics, timeoutMs: 0, validateOnly: false }
  const reply = await createTopics(cluster.broker, body as never)
  return (reply.body as CreateTopicsResponseInit).topics.map(({ errorCode }) => errorCode)
}

describe('topics of one request', () => {
  test('are one change, told to the shards each', async () => {
    const cluster = new FakeCluster(active(1))
    assert.deepEqual(await createAll(cluster, ['a', 'b', 'c']), [NONE, NONE, NONE])
    assert.equal(cluster.store.changes.length, 1)
    assert.deepEqual(cluster.opener.calls, ['opened a 0', 'opened b 0', 'opened c 0'])
  })

  test('that were committed but not answered, are successes', async () => {
    const cluster = new FakeCluster(active(1))
    cluster.store.lostAnswers = 1
    assert.deepEqual(await createAll(cluster, ['a', 'b']), [NONE, NONE])
    assert.equal(cluster.store.changes.length, 1)
  })

  test('that are too many partitions for one change, are several', async () => {
    const cluster = new FakeCluster(active(1))
    const names = Array.from({ length: 5 }, (_, i) => `t${i}`)
    const codes = await createAll(cluster, names, 400)
    assert.deepEqual(new Set(codes), new Set([NONE]))
    assert.deepEqual(
      cluster.store.changes.map((records) => records.length),
      [4, 4, 2],
    )
  })
})

describe('topics of several requests', () => {
  test('of one name, are made once; names that collide, too', async () => {
    const cluster = new FakeCluster(active(1))
    const codes = await Promise.all(
      ['a.b', 'a.b', 'a_b', 'c'].map((name) => createAll(cluster, [name])),
    )
    assert.deepEqual(codes.flat(), [NONE, TOPIC_ALREADY_EXISTS, INVALID_TOPIC_EXCEPTION, NONE])
    assert.equal(cluster.store.changes.length, 1)
    assert.deepEqual(await createAll(cluster, ['a_b', 'c']), [
      INVALID_TOPIC_EXCEPTION,
      TOPIC_ALREADY_EXISTS,
    ])
  })
})

describe('TopicCreations', () => {
  const request = (name: string): TopicRequest => {
    return { name, partitions: 1, replicationFactor: 1, configs: new Map() }
  }

  /** Changes are refused when `mayTake` says so; returns the numbers of their records. */
  function fixture(mayTake: (records: number) => boolean) {
    const changes: number[] = []
    const creations = new TopicCreations({
      image: () => new MetadataImage(),
      change: async (decide) => {
        const { records, result, onApplied } = decide()
        changes.push(records.length)
        if (!mayTake(records.length)) return refused(ErrorCode.MESSAGE_TOO_LARGE, 'too large')
        onApplied?.()
        return result
      },
      recordsOf: (topicId, { name }) => {
        if (name === 'nowhere') throw new BrokerError(POLICY_VIOLATION, 'place it')
        return [{ type: 'topic', topicId, name }]
      },
      partitionsOf: () => 1,
      onMade: () => Promise.resolve(),
    })
    return { creations, changes }
  }

  test('one that has no place, is refused alone', async () => {
    const { creations, changes } = fixture(() => true)
    const names = ['a', 'nowhere', 'b']
    const outcomes = await Promise.all(names.map((name) => creations.create(request(name))))
    const codes = outcomes.map(({ errorCode }) => errorCode)
    assert.deepEqual([codes, changes], [[NONE, POLICY_VIOLATION, NONE], [2]])
  })

  test('a change that is too large, is made in parts', async () => {
    const { creations, changes } = fixture((records) => records === 1)
    const outcomes = await Promise.all(['a', 'b'].map((name) => creations.create(request(name))))
    assert.deepEqual(outcomes, [OK, OK])
    assert.deepEqual(changes, [2, 1, 1])
  })

  test('an error that is our own, reaches who asked, and the next ones are served', async () => {
    let isBroken = true
    const { creations } = fixture(() => {
      if (isBroken) throw new TypeError('ours')
      return true
    })
    await assert.rejects(creations.create(request('a')), TypeError)
    isBroken = false
    assert.deepEqual(await creations.create(request('a')), OK)
  })
})
