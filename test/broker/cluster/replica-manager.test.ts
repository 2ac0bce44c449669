/** What a broker tells its shards of the cluster's partitions, and in which order. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { type Proposal, ReplicaManager } from '../../../src/broker/cluster/replica-manager.ts'
import { PartitionPlacement } from '../../../src/broker/partition-placement.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { BrokerError } from '../../../src/errors/broker-error.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { MetadataImage } from '../../../src/metadata/image.ts'
import {
  type MetadataRecord,
  type ReplicasFailedRecord,
  type ReplicasPlacedRecord,
  RULE_VERSION,
} from '../../../src/metadata/records.ts'
import type { ControlReply, ControlRequest } from '../../../src/shard/control.ts'
import type { ReplicaState } from '../../../src/shard/replica-control.ts'
import type { ShardProxy } from '../../../src/shard/shard-proxy.ts'
import { SaidLogger, settled } from '../../cluster/fixture.ts'
import {
  active,
  altered,
  brokerEvent,
  DIRECTORY,
  placed,
  TOPIC,
  uuidFor,
} from '../../metadata/cluster-records.ts'

const SELF = 1
const OTHER_DISK = uuidFor('E', 1)

type Sent = Extract<
  ControlRequest,
  { kind: 'open' | 'lead' | 'follow' | 'delete' | 'alter-answer' }
>

class FakeShard {
  readonly requests: ControlRequest[] = []
  /** Replies to `follow` wait here while it is set. */
  held: (() => void)[] | null = null
  state: Partial<ReplicaState> = {}
  leadCode: number = ErrorCode.NONE
  /** It is not done with what it is to delete. */
  isSlow = false

  control(request: ControlRequest): Promise<ControlReply> {
    this.requests.push(request)
    const { leadCode } = this
    if (request.kind === 'lead' && leadCode !== 0) {
      const at = { logStartOffset: -1, logEndOffset: -1, highWatermark: -1, latestEpoch: -1 }
      const states = request.partitions.map(({ handle }) => ({
        handle,
        errorCode: leadCode,
        ...at,
      }))
      return Promise.resolve({ kind: 'replicas', states })
    }
    if (request.kind === 'lead') return Promise.resolve({ kind: 'replicas', states: [] })
    if (request.kind === 'delete' && this.isSlow) return new Promise(() => {})
    if (request.kind !== 'follow') return Promise.resolve({ kind: 'ok' })
    const at = {
      errorCode: 0,
      logStartOffset: 0,
      logEndOffset: 5,
      highWatermark: 5,
      latestEpoch: 0,
    }
    const states = request.partitions.map(({ handle }) => ({ handle, ...at, ...this.state }))
    const reply: ControlReply = { kind: 'replicas', states }
    const { held } = this
    if (held === null) return Promise.resolve(reply)
    return new Promise((resolve) => held.push(() => resolve(reply)))
  }
}

class Fixture {
  nowMs = 0
  readonly image = new MetadataImage()
  readonly shard = new FakeShard()
  readonly otherShard = new FakeShard()
  readonly logger = new SaidLogger()
  readonly fetchers: string[] = []
  readonly leadership: (readonly number[])[] = []
  readonly failures: unknown[] = []
  asked: (readonly Proposal[])[] = []
  codes: readonly ErrorCode[] = []
  readonly offline = new Set<string>()
  /** What it has changed of the metadata. */
  readonly changed: MetadataRecord[] = []
  /** No controller takes a change. */
  isLeaderless = false
  readonly manager: ReplicaManager
  #seen = 0

  constructor(records: readonly MetadataRecord[], shards = 1) {
    for (const record of records) this.image.apply(record)
    const directories = new Map([
      [DIRECTORY(SELF), '/disk'],
      [OTHER_DISK, '/other'],
    ])
    const conditionOf = (path: string) => (this.offline.has(path) ? 'offline' : 'online')
    this.manager = new ReplicaManager({
      nodeId: SELF,
      image: this.image,
      config: loadConfig(),
      placement: new PartitionPlacement({ shards, directories, conditionOf }),
      hasOffline: false,
      exists: () => false,
      shards: [this.shard, this.otherShard].slice(0, shards) as unknown as ShardProxy[],
      loggers: () => this.logger,
      hintFor: () => null,
      makeFetcher: (leaderId) => this.#makeFetcher(leaderId) as never,
      onLeadership: (handles) => this.leadership.push(handles),
      alter: (proposals) => {
        this.asked.push(proposals)
        return Promise.resolve(this.codes)
      },
      change: async (decide) => {
        const { records, result } = decide(this.image)
        if (this.isLeaderless) throw new BrokerError(ErrorCode.REQUEST_TIMED_OUT, 'change')
        this.changed.push(...records)
        await this.apply(...records)
        return result
      },
      brokerEpoch: () => this.image.brokers.get(SELF)?.epoch ?? -1,
      onFailure: (error) => this.failures.push(error),
      nowMs: () => this.nowMs,
    })
    this.image.collectChanges()
  }

  async begin(): Promise<void> {
    await this.manager.start()
    this.manager.begin()
    await settled()
  }

  async apply(...records: MetadataRecord[]): Promise<void> {
    for (const record of records) this.image.apply(record)
    this.manager.apply(this.image.takeChanges())
    await settled()
  }

  /** With mocked timers. */
  async pass(t: TestContext, ms: number): Promise<void> {
    this.nowMs += ms
    t.mock.timers.tick(ms)
    await settled()
  }

  /** What the shard has been told since it was last asked for. */
  get told(): string[] {
    const requests = this.shard.requests.slice(this.#seen)
    this.#seen = this.shard.requests.length
    return requests.filter(isRole).flatMap((request) => {
      if (request.kind === 'open')
        return request.partitions.map((one) => `open ${one.handle} in ${one.logDirectory}`)
      if (request.kind === 'delete') return [`delete ${request.handle}`]
      if (request.kind === 'alter-answer') return [`answer ${request.handle}: ${request.errorCode}`]
      return (request.partitions as { handle: number; leaderEpoch: number }[]).map(
        ({ handle, leaderEpoch }) => `${request.kind} ${handle} in epoch ${leaderEpoch}`,
      )
    })
  }

  /** What fetchers have been told since they were last asked for. */
  get fetched(): string[] {
    return this.fetchers.splice(0)
  }

  #makeFetcher(leaderId: number): object {
    return {
      add: (
        { partition, leaderEpoch }: { partition: number; leaderEpoch: number },
        { logEndOffset }: ReplicaState,
      ) => {
        this.fetchers.push(
          `from ${leaderId}: ${partition} in epoch ${leaderEpoch} at ${logEndOffset}`,
        )
      },
      remove: ({ partition }: { partition: number }) => {
        this.fetchers.push(`not from ${leaderId}: ${partition}`)
      },
      stop: () => this.fetchers.push(`stopped ${leaderId}`),
    }
  }
}

function isRole(request: ControlRequest): request is Sent {
  return ['open', 'lead', 'follow', 'delete', 'alter-answer'].includes(request.kind)
}

const BROKERS = active(1, 2, 3)

/** The partition's replicas are these from now on; that of this broker lies on `disk`. */
function reassigned(replicas: number[], disk: string): MetadataRecord {
  const replicaDirectories = replicas.map((id) => (id === SELF ? disk : DIRECTORY(id)))
  const named = { type: 'partition-reassigned', topicId: TOPIC, partition: 0 } as const
  const over = { addingReplicas: [], removingReplicas: [], ruleVersion: RULE_VERSION }
  return { ...named, replicas, replicaDirectories, ...over }
}

describe('ReplicaManager', () => {
  test('opens a replica that comes back behind the removal of the one before', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([1, 2])], 2)
    await fixture.begin()
    const [first, other] = [fixture.shard, fixture.otherShard]
    first.isSlow = true
    await fixture.apply(reassigned([2, 3], '/disk'))
    await fixture.apply(reassigned([1, 2], DIRECTORY(SELF)))
    const kinds = first.requests.map(({ kind }) => kind)
    assert.ok(kinds.indexOf('delete') > 0 && kinds.lastIndexOf('open') > kinds.indexOf('delete'))
    assert.ok(!other.requests.some(({ kind }) => kind === 'open'), 'the directory is the same')
  })

  test('opens what this broker has at its start, and leads and follows once it is registered', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([1, 2], [2, 1], [2, 3], [1])])
    await fixture.manager.start()
    assert.deepEqual(fixture.shard.requests[0]?.kind, 'set-brokers')
    assert.deepEqual(fixture.told.sort(), ['open 1 in /disk', 'open 2 in /disk', 'open 4 in /disk'])
    assert.equal(fixture.manager.count, 3)
    assert.deepEqual([fixture.manager.has(1), fixture.manager.has(3)], [true, false])
    fixture.manager.begin()
    await settled()
    assert.deepEqual(fixture.told, [
      'lead 1 in epoch 0',
      'lead 4 in epoch 0',
      'follow 2 in epoch 0',
    ])
    assert.deepEqual(fixture.fetched, ['from 2: 1 in epoch 0 at 5'])
    assert.deepEqual(fixture.leadership, [[1, 4]])
  })

  test('opens what comes before it is registered, and gives it no role', async () => {
    const fixture = new Fixture(BROKERS)
    await fixture.manager.start()
    await fixture.apply(...placed([1, 2]))
    assert.deepEqual(fixture.told, ['open 1 in /disk'])
    fixture.manager.begin()
    assert.deepEqual(fixture.told, ['lead 1 in epoch 0'])
  })

  test('tells shards of options that come before it is registered', async () => {
    const fixture = new Fixture(BROKERS)
    await fixture.manager.start()
    await fixture.apply(...placed([1, 2]))
    const option = { name: 'segment.ms', value: '600000' }
    await fixture.apply({ type: 'config', topicId: TOPIC, ...option })
    const told = fixture.shard.requests.at(-1)
    assert.ok(told?.kind === 'configure')
    assert.deepEqual([told.handle, told.options.segmentMs], [1, 600_000])
  })

  test('opens a new partition before it leads or follows', async () => {
    const fixture = new Fixture(BROKERS)
    await fixture.begin()
    await fixture.apply(...placed([1, 2], [2, 1]))
    const told = ['open 1 in /disk', 'open 2 in /disk', 'lead 1 in epoch 0', 'follow 2 in epoch 0']
    assert.deepEqual(fixture.told, told)
    assert.deepEqual(fixture.fetched, ['from 2: 1 in epoch 0 at 5'])
  })

  test('leads when the leader is lost, and follows whoever leads next', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([2, 1], [1, 3])])
    await fixture.begin()
    assert.ok(fixture.told.length > 0 && fixture.fetched.length > 0)
    fixture.leadership.length = 0
    await fixture.apply(brokerEvent('broker-fenced', 2, 2))
    assert.deepEqual(fixture.told, ['lead 1 in epoch 1'])
    assert.deepEqual(fixture.fetched, ['not from 2: 0'])
    assert.deepEqual(fixture.leadership, [[1]])
    await fixture.apply(brokerEvent('broker-fenced', 1, 1))
    assert.ok(fixture.told.includes('follow 2 in epoch 1'), 'the other one is led by node 3')
    assert.deepEqual(fixture.leadership[1], [1, 2])
  })

  test('tells the leader of a change within its epoch, and followers nothing', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([1, 2, 3], [2, 1, 3])])
    await fixture.begin()
    assert.ok(fixture.told.length > 0 && fixture.fetched.length > 0)
    fixture.leadership.length = 0
    await fixture.apply(altered([1, 2]), altered([1, 2], 1))
    assert.deepEqual(fixture.told, ['lead 1 in epoch 0'])
    const lead = fixture.shard.requests.at(-1)
    assert.ok(lead?.kind === 'lead')
    assert.deepEqual(lead.partitions[0]?.inSyncReplicas, [1, 2])
    assert.deepEqual([fixture.fetched, fixture.leadership], [[], []])
  })

  test('removes what is deleted, and what has gone to other brokers', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([2, 1])])
    await fixture.begin()
    assert.ok(fixture.told.length > 0 && fixture.fetched.length > 0)
    await fixture.apply(reassigned([2, 3], ''))
    assert.deepEqual(fixture.told, ['delete 1'])
    assert.deepEqual(fixture.fetched, ['not from 2: 0'])
    await fixture.apply({ type: 'remove-topic', topicId: TOPIC })
    await fixture.apply(...placed([2, 1]))
    assert.match(fixture.told[0] as string, /^open /)
    await fixture.apply({ type: 'remove-topic', topicId: TOPIC })
    assert.match(fixture.told[0] as string, /^delete /)
    assert.equal(fixture.manager.count, 0)
  })

  test('takes the answer of a shard for the epoch that it was asked about', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([2, 3, 1])])
    fixture.shard.held = []
    await fixture.begin()
    await fixture.apply(brokerEvent('broker-fenced', 2, 2))
    assert.equal(fixture.shard.held.length, 2)
    const [first, second] = fixture.shard.held as [() => void, () => void]
    first()
    await settled()
    assert.deepEqual(fixture.fetched, [])
    second()
    await settled()
    assert.deepEqual(fixture.fetched, ['from 3: 0 in epoch 1 at 5'])
  })

  test('takes no answer for a partition that is gone, or that it leads by now', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([2, 1])])
    fixture.shard.held = []
    await fixture.begin()
    await fixture.apply(brokerEvent('broker-fenced', 2, 2))
    fixture.shard.held[0]?.()
    await settled()
    assert.deepEqual(fixture.fetched, [])
    await fixture.apply({ type: 'remove-topic', topicId: TOPIC })
    assert.deepEqual(fixture.fetched, [])
  })

  test('follows nobody where a shard cannot, and says so', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([2, 1])])
    fixture.shard.state = { errorCode: ErrorCode.KAFKA_STORAGE_ERROR }
    await fixture.begin()
    assert.deepEqual(fixture.fetched, [])
    assert.equal(fixture.logger.lines.length, 1)
  })

  test('opens anew a replica that came back to another disk, before it is registered', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([2, 1])])
    await fixture.manager.start()
    assert.deepEqual(fixture.told, ['open 1 in /disk'])
    // It has gone and come back while this broker was away.
    await fixture.apply(reassigned([2, 3], ''))
    await fixture.apply(reassigned([2, 1], OTHER_DISK))
    fixture.manager.begin()
    await settled()
    assert.deepEqual(fixture.told.slice(0, 2), ['delete 1', 'open 1 in /other'])
    assert.equal(fixture.manager.count, 1)
    assert.equal(fixture.fetched.length, 1)
  })

  test('tells where a replica is that was made anew, once it is in sync', async () => {
    const gone = uuidFor('G', 1)
    const lost = { ...placed([2, 1], [2, 1], [2, 1])[1], replicaDirectories: [] as string[][] }
    lost.replicaDirectories = [gone, gone, DIRECTORY(1)].map((one) => [DIRECTORY(2), one])
    const topic = placed()[0] as MetadataRecord
    const out = [0, 1, 2].map((partition) => altered([2], partition))
    const fixture = new Fixture([...BROKERS, topic, lost as never, ...out])
    await fixture.begin()
    assert.equal(fixture.told.filter((told) => told.startsWith('open')).length, 3)
    assert.equal(fixture.changed.length, 0)
    await fixture.apply(altered([2, 1], 1), altered([2, 1], 2))
    await settled()
    const place = { type: 'replicas-placed', brokerId: 1, brokerEpoch: 1, topicId: TOPIC }
    const [{ directory }] = fixture.changed as [ReplicasPlacedRecord]
    assert.deepEqual(fixture.changed, [{ ...place, directory, partitions: [1] }])
    const now = [1, 2, 3].map((handle) => fixture.image.partitions.directoryOn(handle, SELF))
    assert.deepEqual(now, [gone, directory, DIRECTORY(1)])
    assert.ok([DIRECTORY(SELF), OTHER_DISK].includes(directory))
    assert.deepEqual(fixture.told, [], 'it stays where it is')
  })

  test('opens anew a replica that went and came back in one step', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([2, 1])])
    await fixture.begin()
    assert.ok(fixture.told.length > 0 && fixture.fetched.length > 0)
    await fixture.apply(reassigned([2, 3], ''), reassigned([2, 1], OTHER_DISK))
    const told = fixture.told
    assert.deepEqual(told.slice(0, 2), ['delete 1', 'open 1 in /other'])
    assert.match(told[2] as string, /^follow 1 /)
    assert.equal(fixture.fetched[0], 'not from 2: 0')
  })

  test('asks the controller for what leaders want, and tells them what was refused', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([1, 2], [1, 3])])
    await fixture.begin()
    assert.ok(fixture.told.length > 0)
    fixture.codes = [ErrorCode.NONE, ErrorCode.INELIGIBLE_REPLICA]
    const proposal = { leaderEpoch: 0, partitionEpoch: 0, members: [] }
    await fixture.manager.propose([1, 99, 2].map((handle) => ({ handle, ...proposal })))
    const asked = fixture.asked[0]?.map(({ handle, topicId, partition }) => [
      handle,
      topicId,
      partition,
    ])
    assert.deepEqual(asked, [
      [1, TOPIC, 0],
      [2, TOPIC, 1],
    ])
    assert.deepEqual(fixture.told, [`answer 2: ${ErrorCode.INELIGIBLE_REPLICA}`])
  })

  test('tells after a while that nobody knows what became of a proposal', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const fixture = new Fixture([...BROKERS, ...placed([1, 2])])
    await fixture.begin()
    assert.ok(fixture.told.length > 0)
    fixture.codes = [ErrorCode.REQUEST_TIMED_OUT]
    const proposal = { handle: 1, leaderEpoch: 0, partitionEpoch: 0, members: [] }
    const done = fixture.manager.propose([proposal])
    await settled()
    assert.deepEqual(fixture.told, [])
    t.mock.timers.tick(100)
    await done
    assert.deepEqual(fixture.told, [`answer 1: ${ErrorCode.REQUEST_TIMED_OUT}`])
    await fixture.manager.propose([{ ...proposal, handle: 99 }])
    assert.equal(fixture.asked.length, 1, 'there is nothing to ask for')
  })

  test('asks a shard again that cannot follow, until it can or that is over', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const fixture = new Fixture([...BROKERS, ...placed([2, 1])])
    fixture.shard.state = { errorCode: ErrorCode.KAFKA_STORAGE_ERROR }
    await fixture.begin()
    assert.deepEqual(fixture.told, ['open 1 in /disk', 'follow 1 in epoch 0'])
    await fixture.pass(t, 200)
    assert.deepEqual(fixture.told, ['follow 1 in epoch 0'])
    await fixture.pass(t, 399)
    assert.deepEqual([fixture.told, fixture.fetched], [[], []])
    assert.equal(fixture.logger.lines.length, 1, 'it is said once')
    fixture.shard.state = {}
    await fixture.pass(t, 1)
    assert.deepEqual(fixture.told, ['follow 1 in epoch 0'])
    assert.deepEqual(fixture.fetched, ['from 2: 0 in epoch 0 at 5'])
    await fixture.pass(t, 60_000)
    assert.deepEqual(fixture.told, [])
    fixture.shard.state = { errorCode: ErrorCode.KAFKA_STORAGE_ERROR }
    await fixture.apply(brokerEvent('broker-fenced', 2, 2))
    assert.deepEqual(fixture.told, ['lead 1 in epoch 1'])
    await fixture.pass(t, 60_000)
    assert.deepEqual(fixture.told, [], 'it leads')
  })

  test('asks a shard again that cannot lead, and says when it does', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const fixture = new Fixture([...BROKERS, ...placed([1, 2])])
    fixture.shard.leadCode = ErrorCode.KAFKA_STORAGE_ERROR
    await fixture.begin()
    assert.deepEqual(fixture.told, ['open 1 in /disk', 'lead 1 in epoch 0'])
    fixture.shard.leadCode = ErrorCode.NONE
    await fixture.pass(t, 200)
    assert.deepEqual(fixture.told, ['lead 1 in epoch 0'])
    assert.deepEqual(fixture.leadership, [[1], [1]])
    await fixture.pass(t, 60_000)
    assert.deepEqual(fixture.told, [])
  })

  test('does nothing once it is stopped', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([2, 1])])
    await fixture.begin()
    assert.ok(fixture.told.length > 0 && fixture.fetched.length > 0)
    fixture.manager.stop()
    assert.deepEqual(fixture.fetched, ['stopped 2'])
    await fixture.apply(brokerEvent('broker-fenced', 2, 2))
    assert.deepEqual([fixture.told, fixture.fetched, fixture.failures], [[], [], []])
  })

  test('has others lead what is damaged here, and begins anew as their follower', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([1, 2], [2, 1], [1])])
    await fixture.begin()
    assert.ok(fixture.told.length > 0 && fixture.fetched.length > 0)
    fixture.leadership.length = 0
    fixture.manager.replicaDamaged(1, false)
    await settled()
    const failed = { type: 'replicas-failed', brokerId: 1, brokerEpoch: 1, topicId: TOPIC }
    assert.deepEqual(fixture.changed, [{ ...failed, partitions: [0], ruleVersion: RULE_VERSION }])
    assert.deepEqual(fixture.told, ['delete 1', 'open 1 in /disk', 'follow 1 in epoch 1'])
    assert.deepEqual(fixture.fetched, ['from 2: 0 in epoch 1 at 5'])
    assert.deepEqual(fixture.leadership, [[1]])
    fixture.manager.replicaDamaged(2, false)
    await settled()
    // Also where the leader stays: what was fetched before is of an epoch that is over.
    assert.deepEqual(fixture.told, ['delete 2', 'open 2 in /disk', 'follow 2 in epoch 1'])
    assert.deepEqual(fixture.fetched, ['not from 2: 1', 'from 2: 1 in epoch 1 at 5'])
    fixture.manager.replicaDamaged(3, false)
    await settled()
    assert.equal(fixture.changed.length, 2, 'nobody else has the third one')
    assert.deepEqual(fixture.told, [])
  })

  test('keeps what is damaged while nobody else has everything', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([1, 2]), altered([1])])
    fixture.image.apply({
      ...{ type: 'config', topicId: TOPIC, name: 'min.insync.replicas', value: '1' },
    } as MetadataRecord)
    fixture.image.apply(altered([1]))
    await fixture.begin()
    assert.ok(fixture.told.length > 0)
    fixture.manager.replicaDamaged(1, false)
    await settled()
    assert.deepEqual([fixture.changed, fixture.told], [[], []])
    await fixture.apply(altered([1, 2]))
    await settled()
    assert.equal(fixture.changed.length, 1, 'somebody has caught up')
    assert.deepEqual(fixture.told.slice(-3), ['delete 1', 'open 1 in /disk', 'follow 1 in epoch 1'])
  })

  test('has others lead what lies in a directory that failed, and touches it no more', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const elsewhere = { ...placed([1, 2], [1, 3], [2, 1])[1], replicaDirectories: [] as string[][] }
    elsewhere.replicaDirectories = [
      [DIRECTORY(1), DIRECTORY(2)],
      [OTHER_DISK, DIRECTORY(3)],
      [DIRECTORY(2), DIRECTORY(1)],
    ]
    const fixture = new Fixture([...BROKERS, placed()[0] as MetadataRecord, elsewhere as never])
    await fixture.begin()
    assert.ok(fixture.told.length > 0 && fixture.fetched.length > 0)
    fixture.isLeaderless = true
    fixture.offline.add('/disk')
    fixture.manager.directoryFailed('/disk')
    await settled()
    assert.deepEqual(fixture.changed, [])
    assert.deepEqual(fixture.fetched, ['not from 2: 2'])
    fixture.isLeaderless = false
    await fixture.pass(t, 500)
    await settled()
    const partitions = fixture.changed.map((one) => (one as ReplicasFailedRecord).partitions)
    assert.deepEqual(partitions, [[0, 2]])
    assert.ok(!fixture.told.some((told) => told.startsWith('delete')))
    assert.deepEqual(fixture.image.partitions.state(1).leader, 2)
    assert.deepEqual(fixture.image.partitions.state(2).leader, 1, 'on the other disk')
    assert.deepEqual(fixture.fetched, [], 'it comes back in sync after a restart at the earliest')
  })

  test('leaves what was damaged before it was registered until it is', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([2, 1])])
    await fixture.manager.start()
    fixture.manager.replicaDamaged(1, false)
    await settled()
    assert.deepEqual(fixture.changed, [])
    fixture.manager.begin()
    await settled()
    assert.equal(fixture.changed.length, 1)
    assert.deepEqual(fixture.told.slice(-3), ['delete 1', 'open 1 in /disk', 'follow 1 in epoch 1'])
  })

  test('keeps what is damaged while those that have everything are away', async () => {
    const [topic, partitions] = placed([1, 2]) as [MetadataRecord, MetadataRecord]
    const minimum = { name: 'min.insync.replicas', value: '2' }
    const config: MetadataRecord = { type: 'config', topicId: TOPIC, ...minimum }
    const away = brokerEvent('broker-fenced', 2, 2)
    const fixture = new Fixture([...BROKERS, topic, config, partitions, away])
    await fixture.begin()
    assert.ok(fixture.told.length > 0)
    assert.deepEqual(fixture.image.partitions.eligibleReplicas(1), [2])
    fixture.manager.replicaDamaged(1, false)
    await settled()
    assert.deepEqual([fixture.changed, fixture.told], [[], []])
    await fixture.apply(brokerEvent('broker-unfenced', 2, 2))
    await settled()
    assert.equal(fixture.changed.length, 1)
    assert.deepEqual(fixture.told.slice(-3), ['delete 1', 'open 1 in /disk', 'follow 1 in epoch 1'])
  })

  test('goes on with a log that was cut, once nobody counts on what it was', async () => {
    const fixture = new Fixture([...BROKERS, ...placed([2, 1])])
    await fixture.begin()
    assert.ok(fixture.told.length > 0 && fixture.fetched.length > 0)
    fixture.manager.replicaDamaged(1, true)
    await settled()
    assert.deepEqual(fixture.image.partitions.inSyncReplicas(1), [2])
    assert.deepEqual(fixture.told, ['follow 1 in epoch 1'])
    assert.deepEqual(fixture.fetched, ['not from 2: 0', 'from 2: 0 in epoch 1 at 5'])
    await fixture.manager.whenSound()
  })
})
