import { assert, unreachable } from '../base/assert.ts'
import type { Uuid } from '../base/uuid.ts'
import { PartitionTable } from './partition-table.ts'
import type { MetadataRecord, PartitionsRecord } from './records.ts'

/**
 * The state that the metadata log adds up to: topics, partitions, configurations, producer ids.
 * `apply` is its only way to change and is deterministic: the same records give the same image on
 * every node. Partitions lie in typed arrays (`partition-table.ts`), topics are objects.
 */
export interface Topic {
  readonly id: Uuid
  readonly name: string
  /** Handle in the partition table, by partition number. */
  readonly handles: number[]
  /** Overrides by configuration name. */
  readonly configs: Map<string, string>
}

export class MetadataImage {
  readonly topicsByName = new Map<string, Topic>()
  readonly topicsById = new Map<Uuid, Topic>()
  readonly partitions = new PartitionTable()
  /** Grows whenever a topic is made, grown or removed. */
  topicsVersion = 0
  /** What was set while brokers ran: by node id as text, '' for all of them, then by option. */
  readonly brokerConfigs = new Map<string, Map<string, string>>()
  /** By group, then by option. */
  readonly groupConfigs = new Map<string, Map<string, string>>()
  nextProducerId = 0
  brokerEpoch = 0

  /** Throws an AssertionError for a record that does not fit the image: the log is inconsistent. */
  apply(record: MetadataRecord): void {
    switch (record.type) {
      case 'broker-start':
        this.brokerEpoch = record.brokerEpoch
        if (!record.clean) this.partitions.bumpLeaderEpochs()
        return
      case 'topic': {
        assert(!this.topicsByName.has(record.name), `topic ${record.name} is created twice`)
        const topic: Topic = {
          id: record.topicId,
          name: record.name,
          handles: [],
          configs: new Map(),
        }
        this.topicsByName.set(topic.name, topic)
        this.topicsById.set(topic.id, topic)
        this.topicsVersion++
        return
      }
      case 'partitions':
        this.#addPartitions(record)
        return
      case 'config': {
        const { configs } = this.#topic(record.topicId)
        if (record.value === null) configs.delete(record.name)
        else configs.set(record.name, record.value)
        return
      }
      case 'remove-topic': {
        const topic = this.#topic(record.topicId)
        for (const handle of topic.handles) this.partitions.remove(handle)
        this.topicsByName.delete(topic.name)
        this.topicsById.delete(topic.id)
        this.topicsVersion++
        return
      }
      case 'producer-ids':
        this.nextProducerId = Math.max(this.nextProducerId, record.nextProducerId)
        return
      case 'broker-config':
        setIn(this.brokerConfigs, record.broker, record)
        return
      case 'group-config':
        setIn(this.groupConfigs, record.group, record)
        return
      default:
        unreachable(record)
    }
  }

  #addPartitions(record: PartitionsRecord): void {
    const topic = this.#topic(record.topicId)
    this.topicsVersion++
    assert(record.firstPartition === topic.handles.length, `partitions of ${topic.name} have a gap`)
    for (const [i, directory] of record.directories.entries()) {
      topic.handles.push(this.partitions.add(topic, record.firstPartition + i, directory))
    }
  }

  #topic(id: Uuid): Topic {
    const topic = this.topicsById.get(id)
    assert(topic !== undefined, `topic id ${id} is not known`)
    return topic
  }
}

/** Who has nothing set has no entry. */
function setIn(
  all: Map<string, Map<string, string>>,
  owner: string,
  { name, value }: { readonly name: string; readonly value: string | null },
): void {
  const configs = all.get(owner) ?? new Map<string, string>()
  if (value === null) configs.delete(name)
  else configs.set(name, value)
  if (configs.size === 0) all.delete(owner)
  else all.set(owner, configs)
}
