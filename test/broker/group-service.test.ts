/** Coordinators of groups in a cluster: they are here while this broker leads their partition. */
import assert from 'node:assert/strict'
import { afterEach, describe, test } from 'node:test'
import type { GroupService } from '../../src/broker/group-service.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import type { MetadataRecord } from '../../src/metadata/records.ts'
import { READ_TO_LOG_END } from '../../src/shard/messages-layout.ts'
import { active, brokerEvent, DIRECTORY, TOPIC } from '../metadata/cluster-records.ts'
import { FakeCluster } from '../support/fake-cluster.ts'

const { NONE, NOT_COORDINATOR } = ErrorCode

function offsetsTopic(...replicas: number[][]): MetadataRecord[] {
  return [
    { type: 'topic', topicId: TOPIC, name: '__consumer_offsets' },
    {
      type: 'partitions',
      topicId: TOPIC,
      firstPartition: 0,
      replicas,
      replicaDirectories: replicas.map((ids) => ids.map(DIRECTORY)),
      ruleVersion: 1,
    },
  ]
}

/** Group 'a' is in partition 1 of two, 'b' in partition 0: their Java hashes are 97 and 98. */
const LED_BY_1_AND_2 = [...active(1, 2), ...offsetsTopic([1, 2], [2, 1])]

describe('GroupService', () => {
  let cluster: FakeCluster
  let highWatermark = 0

  afterEach(() => cluster.broker.groups.stop())

  function begin(records: readonly MetadataRecord[]): GroupService {
    cluster = new FakeCluster(records)
    highWatermark = 0
    cluster.shard.onRead = () => ({})
    cluster.shard.onControl = () => ({
      kind: 'offsets',
      logStartOffset: 0,
      logEndOffset: 0,
      highWatermark,
      lastStableOffset: highWatermark,
    })
    cluster.broker.groups.start()
    return cluster.broker.groups
  }

  function all(): number[] {
    return cluster.broker.topicByName('__consumer_offsets')!.handles
  }

  function heartbeat(groupId: string): Promise<ErrorCode> {
    return cluster.broker.groups.ask<ErrorCode>(
      groupId,
      (_coordinator, _now, reply) => reply(NONE),
      (code) => code,
    )
  }

  /** Joins as the only member: answered once the round is over. */
  function join(groupId: string): Promise<ErrorCode> {
    return cluster.broker.groups.ask<ErrorCode>(
      groupId,
      (coordinator, now, reply) => {
        const request = {
          groupId,
          memberId: '',
          groupInstanceId: null,
          reason: null,
          protocolType: 'consumer',
          protocols: [{ name: 'range', metadata: new Uint8Array(0) }],
          sessionTimeoutMs: 10_000,
          rebalanceTimeoutMs: 10_000,
        }
        const context = { ...now, apiVersion: 3, clientId: 'c', clientHost: '/h' }
        coordinator.join(request, context, (joined) => reply(joined.errorCode as ErrorCode))
      },
      (code) => code,
    )
  }

  const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))

  /** Until as many coordinators have been loaded. */
  async function loaded(count: number): Promise<void> {
    while (cluster.broker.groups.coordinators().length !== count) await turn()
  }

  test('answers for the partitions that this broker leads, and for no other', async () => {
    const groups = begin(LED_BY_1_AND_2)
    await loaded(1)
    assert.deepEqual([await heartbeat('b'), await heartbeat('a')], [NONE, NOT_COORDINATOR])
    assert.equal(groups.coordinators().length, 1)
    assert.equal(
      (
        await groups.askAll(
          (_machine, _now, reply) => reply(1),
          () => 0,
        )
      ).length,
      1,
    )
    assert.deepEqual(
      all().map((handle) => groups.owns(handle)),
      [true, true],
    )
  })

  test('loads what it begins to lead', async () => {
    const groups = begin(LED_BY_1_AND_2)
    await loaded(1)
    cluster.apply([brokerEvent('broker-fenced', 2, 2)])
    groups.leadershipChanged(all())
    assert.equal(await heartbeat('a'), NONE) // It has waited until it was loaded.
    await loaded(2)
    assert.equal(groups.coordinatorOf('a'), 1)
  })

  test('a topic that another broker has made, is found', async () => {
    const groups = begin(active(1, 2))
    assert.equal(await heartbeat('b'), NOT_COORDINATOR)
    cluster.apply(offsetsTopic([1, 2], [2, 1]))
    groups.leadershipChanged(all())
    await loaded(1)
    assert.equal(await heartbeat('b'), NONE)
    cluster.apply([{ type: 'remove-topic', topicId: TOPIC }])
    cluster.broker.topics.removed({
      id: TOPIC,
      name: '__consumer_offsets',
      handles: [],
      configs: new Map(),
    })
    assert.equal(await heartbeat('b'), NOT_COORDINATOR)
  })

  test('what it ceases to lead, lets everybody who waits look for another', async () => {
    const groups = begin(LED_BY_1_AND_2)
    await loaded(1)
    const joining = join('b')
    await turn()
    cluster.apply([brokerEvent('broker-draining', 1, 1)])
    groups.leadershipChanged(all())
    assert.equal(await joining, NOT_COORDINATOR)
    assert.equal(await heartbeat('b'), NOT_COORDINATOR)
    assert.equal(groups.coordinators().length, 0)
    assert.equal(groups.coordinatorOf('b'), 2)
  })

  test('between the image and the call that follows it, nobody is served by who led', async () => {
    const groups = begin(LED_BY_1_AND_2)
    await loaded(1)
    cluster.apply([brokerEvent('broker-draining', 1, 1)])
    assert.equal(await heartbeat('b'), NOT_COORDINATOR)
    const lists = await groups.askAll<number>(
      (_machine, _now, reply) => reply(1),
      () => 0,
    )
    assert.deepEqual(lists, [])
    groups.leadershipChanged([])
    assert.equal(groups.coordinators().length, 0)
  })

  test('another epoch, is another coordinator, and the one before acknowledges nothing', async () => {
    const groups = begin([...active(1, 2), ...offsetsTopic([1])])
    await loaded(1)
    const [before] = groups.coordinators()
    const offsets = [
      { topic: 't', topicId: TOPIC, partition: 0, offset: 5, leaderEpoch: -1, metadata: null },
    ]
    const committing = groups.ask<readonly ErrorCode[]>(
      'b',
      (coordinator, now, reply) => {
        const nobody = { groupId: 'b', generationId: -1, memberId: '', instanceId: null }
        coordinator.commit({ ...nobody, retentionMs: -1, offsets } as never, now, reply)
      },
      (code) => [code],
    )
    await turn()
    const [append] = cluster.shard.appends
    assert.equal(append?.request.leaderEpoch, 0)
    cluster.apply([brokerEvent('broker-fenced', 1, 1), brokerEvent('broker-unfenced', 1, 1)])
    groups.leadershipChanged(all())
    assert.deepEqual(await committing, [NOT_COORDINATOR])
    cluster.shard.appended()
    await loaded(1)
    const [after] = groups.coordinators()
    assert.ok(after !== undefined && after !== before)
    assert.equal(after.offsets.get('b', 't', 0), undefined)
  })

  test('the same leadership, goes on', async () => {
    const groups = begin(LED_BY_1_AND_2)
    await loaded(1)
    const [before] = groups.coordinators()
    cluster.apply([brokerEvent('broker-fenced', 2, 2)])
    groups.leadershipChanged([all()[0] as number])
    assert.equal(groups.coordinators()[0], before)
  })

  test('reads to the end of the log', async () => {
    cluster = new FakeCluster(LED_BY_1_AND_2)
    let flags = 0
    cluster.shard.onControl = () => ({
      kind: 'offsets',
      logStartOffset: 0,
      logEndOffset: 0,
      highWatermark: 0,
      lastStableOffset: 0,
    })
    cluster.shard.onRead = (request) => {
      flags = request.flags
      return {}
    }
    cluster.broker.groups.start()
    await loaded(1)
    assert.equal(flags & READ_TO_LOG_END, READ_TO_LOG_END)
  })
})
