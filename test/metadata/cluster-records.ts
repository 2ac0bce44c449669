/** Records of a small cluster, for tests. */
import assert from 'node:assert/strict'
import type { Uuid } from '../../src/base/uuid.ts'
import { MetadataImage } from '../../src/metadata/image.ts'
import {
  type BrokerRegisteredRecord,
  type MetadataRecord,
  RULE_VERSION,
} from '../../src/metadata/records.ts'
import { minInSyncReplicasOf } from '../../src/metadata/topic-policy.ts'

export const TOPIC: Uuid = 'TTTTTTTTTTTTTTTTTTTTTQ'

/** The only log directory of a broker. */
export function DIRECTORY(brokerId: number): Uuid {
  return uuidFor('D', brokerId)
}

/** An id that says what it is of. */
export function uuidFor(letter: string, n: number): Uuid {
  return `${letter.repeat(13)}${String(n % 1e8).padStart(8, '0')}A`
}

export function registered(
  brokerId: number,
  brokerEpoch: number,
  more: Partial<BrokerRegisteredRecord> = {},
): MetadataRecord {
  return {
    type: 'broker-registered',
    brokerId,
    brokerEpoch,
    incarnationId: uuidFor('I', brokerEpoch),
    host: 'localhost',
    port: 9000 + brokerId,
    endpoints: [{ listener: 'PLAINTEXT', host: 'localhost', port: 9092 + brokerId }],
    rack: null,
    directories: [DIRECTORY(brokerId)],
    isUnclean: false,
    ruleVersion: RULE_VERSION,
    ...more,
  }
}

export function brokerEvent(
  type: 'broker-fenced' | 'broker-unfenced' | 'broker-draining' | 'broker-unregistered',
  brokerId: number,
  brokerEpoch: number,
): MetadataRecord {
  return { type, brokerId, brokerEpoch, ruleVersion: RULE_VERSION }
}

/** Brokers that are registered and unfenced; the epoch of the n-th is n. */
export function active(...ids: number[]): MetadataRecord[] {
  return ids.flatMap((id, i) => [registered(id, i + 1), brokerEvent('broker-unfenced', id, i + 1)])
}

/** A topic with one partition for each list of replicas. */
export function placed(...replicas: number[][]): MetadataRecord[] {
  return [
    { type: 'topic', topicId: TOPIC, name: 'orders' },
    {
      type: 'partitions',
      topicId: TOPIC,
      firstPartition: 0,
      replicas,
      replicaDirectories: replicas.map((ids) => ids.map(DIRECTORY)),
      ruleVersion: RULE_VERSION,
    },
  ]
}

export function altered(inSyncReplicas: number[], partition = 0): MetadataRecord {
  return {
    type: 'partition-altered',
    topicId: TOPIC,
    partition,
    inSyncReplicas,
    ruleVersion: RULE_VERSION,
  }
}

export function imageOf(records: readonly MetadataRecord[]): MetadataImage {
  const image = new MetadataImage()
  for (const record of records) image.apply(record)
  return image
}

/** What the table has of each row follows from the options and the replicas. */
export function checkPolicies(image: MetadataImage): void {
  const { partitions } = image
  for (const topic of image.topicsById.values()) {
    const { allowsUncleanElection, ...policy } = image.policy(topic)
    for (const handle of topic.handles) {
      const removing = partitions.removingReplicas(handle).length
      const factor = partitions.replicas(handle).length - removing
      const expected = minInSyncReplicasOf({ ...policy, allowsUncleanElection }, factor)
      assert.equal(image.context(handle).minInSyncReplicas, expected)
      assert.equal(image.context(handle).allowsUncleanElection, allowsUncleanElection)
    }
  }
}
