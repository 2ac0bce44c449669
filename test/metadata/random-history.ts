/** Records that a cluster could have written, at random, and the image that they add up to. */
import type { Random } from '../../src/base/random.ts'
import { MetadataImage, type Topic } from '../../src/metadata/image.ts'
import { NO_LEADER } from '../../src/metadata/partition-rules.ts'
import { completion, reassignPartitions } from '../../src/metadata/reassignment.ts'
import { type MetadataRecord, RULE_VERSION } from '../../src/metadata/records.ts'
import { brokerEvent, DIRECTORY, registered, uuidFor } from './cluster-records.ts'

const BROKERS = [1, 2, 3, 4, 5]

type Step = (image: MetadataImage, records: readonly MetadataRecord[]) => void

export class RandomHistory {
  readonly image = new MetadataImage()
  /** What `run` does not return: those before its first step. */
  readonly first: readonly MetadataRecord[]
  readonly #random: Random
  readonly #onStep: Step
  #topics = 0
  #acls = 0

  /** `onStep`: sees what is about to be applied together. */
  constructor(random: Random, onStep: Step = () => {}) {
    this.#random = random
    this.#onStep = onStep
    this.first = this.#apply(BROKERS.map((id, i) => registered(id, i + 1)))
  }

  /** Applies the records of so many steps; returns them. */
  run(steps: number): MetadataRecord[] {
    const records: MetadataRecord[] = []
    for (let i = 0; i < steps; i++) {
      records.push(...this.#apply(this.#next()))
      for (const handle of [...this.image.partitions.reassignments.keys()]) {
        records.push(...this.#apply(completion(this.image, handle)))
      }
    }
    return records
  }

  #apply(records: readonly MetadataRecord[]): readonly MetadataRecord[] {
    this.#onStep(this.image, records)
    for (const record of records) this.image.apply(record)
    return records
  }

  #next(): MetadataRecord[] {
    const random = this.#random
    switch (random.below(14)) {
      case 0:
      case 1:
        return this.#newTopic()
      case 2:
        return this.#onTopic((topic) => [this.#partitions(topic.id, topic.handles.length)])
      case 3:
        if (this.image.topicsById.size < 5) return []
        return this.#onTopic(({ id }) => [{ type: 'remove-topic', topicId: id }])
      case 4:
      case 5:
        return [this.#brokerEvent()]
      case 6:
      case 7:
        return this.#onPartition((handle, topic, partition) => {
          const { leader, replicas } = this.image.partitions.state(handle)
          if (leader === NO_LEADER) return []
          const inSyncReplicas = replicas.filter((id) => id === leader || random.chance(0.6))
          const { id: topicId } = topic
          const altered = { topicId, partition, inSyncReplicas, ruleVersion: RULE_VERSION }
          return [{ type: 'partition-altered', ...altered }]
        })
      case 8:
        return this.#onPartition((_, topic, partition) => {
          const targetReplicas = random.chance(0.2) ? null : this.#replicas()
          const request = { topicId: topic.id, partition, targetReplicas }
          return [...reassignPartitions(this.image, [request]).records]
        })
      case 9:
        return this.#onTopic(({ id }) => [this.#config(id)])
      case 10:
        return [this.#otherConfig()]
      case 11:
        return this.#onPartition((handle, { id: topicId }, partition) => {
          const brokerId = random.pick(this.image.partitions.replicas(handle))
          const brokerEpoch = this.image.brokers.get(brokerId)?.epoch
          if (brokerEpoch === undefined) return []
          const failed = {
            brokerId,
            brokerEpoch,
            topicId,
            partitions: [partition],
            ruleVersion: RULE_VERSION,
          }
          return [{ type: 'replicas-failed', ...failed }]
        })
      case 12:
        return this.#onPartition((handle, { id: topicId }, partition) => {
          const broker = this.image.brokers.get(random.pick(this.image.partitions.replicas(handle)))
          if (broker === undefined) return []
          const { id: brokerId, epoch: brokerEpoch } = broker
          const directory = random.pick([...broker.directories, uuidFor('N', 0)])
          const place = { brokerId, brokerEpoch, directory, topicId, partitions: [partition] }
          return [{ type: 'replicas-placed', ...place }]
        })
      default:
        return this.#elections()
    }
  }

  #newTopic(): MetadataRecord[] {
    const n = this.#topics++
    // Names come again, ids do not.
    const name = `topic-${n % 7}`
    if (this.image.topicsByName.has(name)) return []
    const topicId = uuidFor('T', n)
    return [{ type: 'topic', topicId, name }, this.#partitions(topicId, 0)]
  }

  #partitions(topicId: string, firstPartition: number): MetadataRecord {
    const random = this.#random
    const count = random.chance(0.02) ? 3000 : 1 + random.below(6)
    const replicas = Array.from({ length: count }, () => this.#replicas())
    const replicaDirectories = replicas.map((ids) => ids.map(DIRECTORY))
    const rows = {
      topicId,
      firstPartition,
      replicas,
      replicaDirectories,
      ruleVersion: RULE_VERSION,
    }
    return { type: 'partitions', ...rows }
  }

  #replicas(): number[] {
    const left = [...BROKERS]
    const count = 1 + this.#random.below(4)
    const one = (): number => left.splice(this.#random.below(left.length), 1)[0] as number
    return Array.from({ length: count }, one)
  }

  #brokerEvent(): MetadataRecord {
    const random = this.#random
    const id = random.pick(BROKERS)
    const broker = this.image.brokers.get(id)
    if (broker === undefined || random.chance(0.2)) {
      const isNewDisk = random.chance(0.1)
      const directories = [isNewDisk ? uuidFor('N', this.image.nextBrokerEpoch) : DIRECTORY(id)]
      const isUnclean = isNewDisk || random.chance(0.3)
      return registered(id, this.image.nextBrokerEpoch, { isUnclean, directories })
    }
    if (random.chance(0.05)) return brokerEvent('broker-unregistered', id, broker.epoch)
    if (broker.isFenced) return brokerEvent('broker-unfenced', id, broker.epoch)
    const isDrained = random.chance(0.3)
    return brokerEvent(isDrained ? 'broker-draining' : 'broker-fenced', id, broker.epoch)
  }

  #config(topicId: string): MetadataRecord {
    const random = this.#random
    const [name, values] = random.pick([
      ['min.insync.replicas', ['1', '2', '3', null]],
      ['unclean.leader.election.enable', ['true', 'false', null]],
      ['retention.ms', ['1', '2', null]],
    ] as const)
    return { type: 'config', topicId, name, value: random.pick<string | null>(values) }
  }

  #otherConfig(): MetadataRecord {
    const random = this.#random
    const value = random.pick(['1', '2', null])
    switch (random.below(6)) {
      case 4:
        return this.#acl()
      case 5: {
        const entityName = random.pick(['a', 'b', null])
        const entity = [
          { entityType: 'client-id', entityName },
          { entityType: 'user', entityName: 'u' },
        ]
        const name = 'producer_byte_rate'
        return { type: 'client-quota', entity, name, value: random.pick([1, 2.5, null]) }
      }
      case 0: {
        const group = `group-${random.below(5)}`
        return { type: 'group-config', group, name: 'consumer.session.timeout.ms', value }
      }
      case 1:
        return { type: 'broker-config', broker: '', name: 'min.insync.replicas', value }
      case 2:
        return { type: 'producer-ids', brokerId: 1, nextProducerId: random.below(1e9) }
      default:
        return { type: 'features', name: 'metadata', level: random.below(3) }
    }
  }

  #acl(): MetadataRecord {
    const random = this.#random
    const { acls } = this.image.access
    if (acls.size > 0 && random.chance(0.5)) {
      return { type: 'remove-acl', aclId: random.pick([...acls.keys()]) }
    }
    return {
      type: 'acl',
      aclId: uuidFor('A', this.#acls++),
      resourceType: random.between(2, 7),
      resourceName: 'orders',
      patternType: random.between(3, 4),
      principal: random.pick(['User:a', 'User:*']),
      host: '*',
      operation: random.between(2, 15),
      permission: random.between(2, 3),
    }
  }

  #elections(): MetadataRecord[] {
    return this.#onPartition((_, topic, partition) => {
      const kind = this.#random.pick(['preferred', 'unclean'] as const)
      const { id: topicId } = topic
      return [
        {
          type: 'leader-elected',
          topicId,
          partitions: [partition],
          kind,
          ruleVersion: RULE_VERSION,
        },
      ]
    })
  }

  #onTopic(make: (topic: Topic) => MetadataRecord[]): MetadataRecord[] {
    const topics = [...this.image.topicsById.values()]
    return topics.length === 0 ? [] : make(this.#random.pick(topics))
  }

  #onPartition(
    make: (handle: number, topic: Topic, partition: number) => MetadataRecord[],
  ): MetadataRecord[] {
    return this.#onTopic((topic) => {
      if (topic.handles.length === 0) return []
      const partition = this.#random.below(topic.handles.length)
      return make(topic.handles[partition] as number, topic, partition)
    })
  }
}
