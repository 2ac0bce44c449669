/**
 * Random histories of a cluster, decided by the controller and applied to two images, to one of
 * them as bytes: what holds for every partition, at every moment.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { randomUuid, type Uuid } from '../../src/base/uuid.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { Controller } from '../../src/metadata/controller.ts'
import { electLeaders } from '../../src/metadata/elect-leaders.ts'
import { MetadataImage } from '../../src/metadata/image.ts'
import { stateDigest, stateText } from '../../src/metadata/image-digest.ts'
import {
  brokerDraining,
  brokerLost,
  brokerRestartedUnclean,
  brokerReturned,
  NO_LEADER,
  type PartitionContext,
  type PartitionState,
} from '../../src/metadata/partition-rules.ts'
import { reassignPartitions } from '../../src/metadata/reassignment.ts'
import { decodeMetadataRecord, encodeMetadataRecord } from '../../src/metadata/record-schema.ts'
import type { MetadataRecord } from '../../src/metadata/records.ts'
import { isRefused, placeInCluster } from '../../src/metadata/replica-placement.ts'
import { checkPolicies, DIRECTORY, uuidFor } from './cluster-records.ts'

const CLUSTER = uuidFor('C', 1)
const BROKERS = [1, 2, 3, 4, 5]

type Rule = (partition: PartitionState, context: PartitionContext) => PartitionState

/** What an event of a broker does to a partition, one at a time. Null: it is no such event. */
function ruleOf(record: MetadataRecord): Rule | null {
  switch (record.type) {
    case 'broker-registered':
      return record.isUnclean
        ? (partition, context) => brokerRestartedUnclean(partition, record.brokerId, context)
        : (partition, context) => brokerLost(partition, record.brokerId, context)
    case 'broker-fenced':
      return (partition, context) => brokerLost(partition, record.brokerId, context)
    case 'broker-draining':
      return (partition, context) => brokerDraining(partition, record.brokerId, context)
    case 'broker-unfenced':
      return (partition, context) =>
        partition.replicas.includes(record.brokerId)
          ? brokerReturned(partition, context)
          : partition
    default:
      return null
  }
}

class History {
  readonly image = new MetadataImage()
  readonly other = new MetadataImage()
  readonly #random: Random
  readonly #incarnations = new Map<number, number>()
  readonly #silent = new Set<number>()
  readonly #stopping = new Set<number>()
  #controller: Controller
  #offset = 0
  #nowMs = 0
  #topics = 0
  leaderChanges = 0
  reassigned = 0

  constructor(seed: number) {
    this.#random = new Random(seed)
    this.image.collectChanges()
    this.#controller = this.#lead()
  }

  #lead(): Controller {
    return new Controller({
      image: this.image,
      clusterId: CLUSTER,
      committedOffset: () => this.#offset,
      options: { balanceIntervalMs: 3000, balanceStepMax: 3 },
      nowMs: this.#nowMs,
    })
  }

  step(): void {
    this.#nowMs += 100
    for (const id of BROKERS) if (!this.#silent.has(id)) this.#heartbeat(id)
    this.#apply(this.#controller.onTime(this.#nowMs))
    this.#happen()
  }

  #happen(): void {
    const random = this.#random
    const id = random.pick(BROKERS)
    switch (random.below(12)) {
      case 0:
        this.#silent.add(id)
        if (random.chance(0.5)) this.#controller.brokerConnectionLost(id, this.#nowMs)
        return
      case 1:
        this.#start(id)
        return
      case 2:
        if (random.chance(0.3)) this.#stopping.add(id)
        return
      case 3:
        if (this.image.topicsById.size < 6) this.#create()
        else if (random.chance(0.1)) this.#apply([{ type: 'remove-topic', topicId: this.#topic() }])
        return
      case 4:
        if (this.image.topicsById.size > 0) this.#configure()
        return
      case 5:
        this.#reassign()
        return
      case 6: {
        const kind = random.chance(0.8) ? 'preferred' : 'unclean'
        this.#apply(electLeaders(this.image, kind, [...this.#partitions()]).records)
        return
      }
      case 7:
        if (random.chance(0.2)) this.#controller = this.#lead()
        return
      default:
        for (const leader of BROKERS) this.#alter(leader)
    }
  }

  #start(id: number): void {
    this.#silent.delete(id)
    this.#stopping.delete(id)
    const incarnation = (this.#incarnations.get(id) ?? 0) + 1
    this.#incarnations.set(id, incarnation)
    const known = this.image.brokers.get(id)?.epoch ?? -1
    const { records } = this.#controller.register(
      {
        clusterId: CLUSTER,
        brokerId: id,
        incarnationId: uuidFor('I', id * 1000 + incarnation),
        previousBrokerEpoch: this.#random.chance(0.7) ? known : -1,
        host: 'localhost',
        port: 9000 + id,
        endpoints: [],
        rack: `${id % 2}`,
        directories: [DIRECTORY(id), DIRECTORY(id + 100)],
      },
      this.#nowMs,
    )
    this.#apply(records)
  }

  #heartbeat(id: number): void {
    const broker = this.image.brokers.get(id)
    if (broker === undefined) return
    const lag = this.#random.chance(0.2) ? this.#random.below(4) : 0
    const answer = this.#controller.heartbeat(
      {
        brokerId: id,
        brokerEpoch: broker.epoch,
        metadataOffset: this.#offset - lag,
        wantsFence: this.#random.chance(0.01),
        wantsShutdown: this.#stopping.has(id),
      },
      this.#nowMs,
    )
    this.#apply(answer.records)
    if (answer.mayShutDown) this.#silent.add(id)
  }

  #create(): void {
    const placement = placeInCluster(this.image, {
      partitions: this.#random.between(1, 5),
      replicationFactor: this.#random.between(1, 4),
      random: this.#random,
    })
    if (isRefused(placement)) return
    const topicId = randomUuid()
    this.#apply([
      { type: 'topic', topicId, name: `topic-${this.#topics++}` },
      { type: 'partitions', topicId, firstPartition: 0, ...placement, ruleVersion: 1 },
    ])
  }

  #configure(): void {
    const random = this.#random
    const option = random.chance(0.8)
      ? { name: 'min.insync.replicas', value: random.pick(['1', '2', '3', null]) }
      : { name: 'unclean.leader.election.enable', value: random.pick(['true', null, 'false']) }
    if (random.chance(0.3)) this.#apply([{ type: 'broker-config', broker: '', ...option }])
    else this.#apply([{ type: 'config', topicId: this.#topic(), ...option }])
  }

  #reassign(): void {
    const random = this.#random
    const requests = [...this.#partitions()]
      .filter(() => random.chance(0.2))
      .map((named) => {
        const factor = random.between(1, 3)
        const ids = [...BROKERS].sort(() => random.below(3) - 1).slice(0, factor)
        return { ...named, targetReplicas: random.chance(0.2) ? null : ids }
      })
    const { records } = reassignPartitions(this.image, requests)
    this.reassigned += records.length
    this.#apply(records)
  }

  /** A leader proposes some set that it could have come to. */
  #alter(brokerId: number): void {
    const { partitions, brokers } = this.image
    const brokerEpoch = brokers.get(brokerId)?.epoch
    if (brokerEpoch === undefined) return
    const own = [...partitions.handlesOf(({ leader }) => leader === brokerId)]
    const proposals = own.map((handle) => {
      const ids = partitions
        .replicas(handle)
        .filter((id) => id === brokerId || this.#random.chance(0.8))
      return {
        topicId: partitions.topic(handle)!.id,
        partition: partitions.partitionNumber(handle),
        leaderEpoch: partitions.leaderEpoch(handle),
        partitionEpoch: partitions.partitionEpoch(handle) - (this.#random.chance(0.1) ? 1 : 0),
        members: ids.map((id) => ({ brokerId: id, brokerEpoch: brokers.get(id)?.epoch ?? -1 })),
      }
    })
    const request = { brokerId, brokerEpoch, partitions: proposals }
    const { errorCode, records, results } = this.#controller.alterPartitions(request)
    assert.equal(errorCode, ErrorCode.NONE)
    assert.equal(results.length, proposals.length)
    this.#apply(records)
  }

  *#partitions(): Generator<{ topicId: Uuid; partition: number }> {
    for (const { id: topicId, handles } of this.image.topicsById.values()) {
      for (const partition of handles.keys()) yield { topicId, partition }
    }
  }

  #topic(): Uuid {
    return this.#random.pick([...this.image.topicsById.keys()])
  }

  // —— what must hold ——

  #apply(records: readonly MetadataRecord[]): void {
    for (const record of records) {
      this.#offset++
      const before = this.#states()
      this.image.apply(record)
      this.other.apply(decodeMetadataRecord(encodeMetadataRecord(record)))
      this.#check(record, before)
    }
  }

  #states(): Map<number, PartitionState> {
    const { partitions, topicsById } = this.image
    const handles = [...topicsById.values()].flatMap((topic) => topic.handles)
    return new Map(handles.map((handle) => [handle, partitions.state(handle)]))
  }

  #check(record: MetadataRecord, before: ReadonlyMap<number, PartitionState>): void {
    const rule = ruleOf(record)
    const { image } = this
    const changed = new Set(image.changedPartitions(image.takeChanges()))
    checkPolicies(image)
    checkPolicies(this.other)
    for (const [handle, after] of this.#states()) {
      checkState(after)
      const old = before.get(handle)
      if (old === undefined) continue
      assert.ok(after.leaderEpoch >= old.leaderEpoch && after.partitionEpoch >= old.partitionEpoch)
      const isChanged = after.partitionEpoch > old.partitionEpoch
      assert.equal(changed.has(handle), isChanged, 'what changes is told, and has a new epoch')
      if (!isChanged) assert.deepEqual(after, old)
      if (after.leader !== old.leader) {
        assert.ok(after.leaderEpoch > old.leaderEpoch)
        this.leaderChanges++
      }
      if (rule !== null) assert.deepEqual(after, rule(old, this.image.context(handle)))
      if (after.leader !== NO_LEADER && after.eligibleReplicas.length > 0) {
        // Else the watermark moves on, and they do not have all of it.
        assert.ok(after.inSyncReplicas.length < this.image.minInSyncReplicas(handle))
      }
      const factor = after.replicas.length
      assert.equal(this.image.partitions.directories(handle).length, factor)
    }
  }
}

function checkState(state: PartitionState): void {
  const { replicas, inSyncReplicas, eligibleReplicas, leader, lastKnownLeader } = state
  assert.equal(new Set(replicas).size, replicas.length)
  for (const id of [...inSyncReplicas, ...eligibleReplicas]) assert.ok(replicas.includes(id))
  assert.ok(!inSyncReplicas.some((id) => eligibleReplicas.includes(id)))
  if (leader === NO_LEADER) assert.equal(inSyncReplicas.length, 0, 'whoever is in sync could lead')
  else assert.ok(inSyncReplicas.includes(leader) && lastKnownLeader === NO_LEADER)
}

describe('a random history of a cluster', () => {
  for (let seed = 1; seed <= 40; seed++) {
    test(`gives one state on all nodes, and leaders that are in sync; seed ${seed}`, () => {
      const history = new History(seed)
      for (let i = 0; i < 250; i++) {
        history.step()
        if (i % 25 === 0) assert.equal(stateDigest(history.image), stateDigest(history.other))
      }
      assert.equal(stateText(history.image), stateText(history.other))
      assert.ok(history.leaderChanges > 0 && history.reassigned > 0)
    })
  }
})
