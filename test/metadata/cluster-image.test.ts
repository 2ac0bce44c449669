import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionError } from '../../src/base/assert.ts'
import type { Uuid } from '../../src/base/uuid.ts'
import { MetadataImage } from '../../src/metadata/image.ts'
import { stateDigest, stateText } from '../../src/metadata/image-digest.ts'
import { NO_LEADER } from '../../src/metadata/partition-rules.ts'
import { type MetadataRecord, RULE_VERSION } from '../../src/metadata/records.ts'
import {
  active,
  altered,
  brokerEvent,
  DIRECTORY,
  imageOf,
  placed,
  registered,
  TOPIC,
  uuidFor,
} from './cluster-records.ts'

function handleOf(image: MetadataImage, partition = 0): number {
  const handle = image.handleOf(TOPIC, partition)
  assert.ok(handle !== undefined)
  return handle
}

/** leader, leader epoch, partition epoch, ISR, ELR */
function seen(image: MetadataImage, partition = 0): unknown[] {
  const state = image.partitions.state(handleOf(image, partition))
  const { leader, leaderEpoch, partitionEpoch, inSyncReplicas, eligibleReplicas } = state
  return [leader, leaderEpoch, partitionEpoch, inSyncReplicas, eligibleReplicas]
}

const THREE: readonly MetadataRecord[] = [...active(1, 2, 3), ...placed([1, 2, 3])]

describe('MetadataImage, of a cluster,', () => {
  test('a registration, is fenced until it is unfenced', () => {
    const image = imageOf([registered(1, 1)])
    assert.equal(image.isActive(1), false)
    assert.equal(image.brokers.get(1)?.epoch, 1)
    assert.equal(image.nextBrokerEpoch, 2)
    image.apply(brokerEvent('broker-unfenced', 1, 1))
    assert.equal(image.isActive(1), true)
    assert.throws(() => image.apply(registered(2, 1)), AssertionError, 'an epoch is used once')
    assert.throws(() => image.apply(brokerEvent('broker-fenced', 1, 7)), AssertionError)
  })

  test('partitions, lead by the first active replica', () => {
    const image = imageOf([...active(1, 2), registered(3, 3), ...placed([3, 1, 2], [2, 3, 1])])
    assert.deepEqual(seen(image, 0), [1, 0, 0, [1, 2], []])
    assert.deepEqual(seen(image, 1), [2, 0, 0, [2, 1], []])
    assert.equal(image.partitions.directoryOn(handleOf(image), 1), DIRECTORY(1))
    assert.equal(image.partitions.directoryOn(handleOf(image), 4), null)
  })

  test('a broker with a new disk, does not lead as the one that led last', () => {
    const away = [brokerEvent('broker-fenced', 2, 2), brokerEvent('broker-fenced', 1, 1)]
    const image = imageOf([...active(1, 2), ...placed([1, 2], [2]), ...away])
    // Both have lost what they had; the one that led the first partition has another disk as well.
    const isUnclean = true
    const other = [uuidFor('N', 1)]
    image.apply(registered(1, 3, { isUnclean, directories: other }))
    image.apply(registered(2, 4, { isUnclean }))
    image.apply(brokerEvent('broker-unfenced', 1, 3))
    image.apply(brokerEvent('broker-unfenced', 2, 4))
    const leaders = (): unknown[] => [seen(image, 0)[0], seen(image, 1)[0]]
    assert.deepEqual(leaders(), [NO_LEADER, 2])
    const elected = {
      topicId: TOPIC,
      partitions: [0],
      kind: 'unclean',
      ruleVersion: RULE_VERSION,
    } as const
    image.apply({ type: 'leader-elected', ...elected })
    assert.deepEqual(leaders(), [2, 2], 'nor does it by force')
    // Rules of version 1 did not ask: a log of that time is read as it was meant.
    const old = imageOf([...active(1, 2), ...placed([1, 2]), ...away])
    old.apply(registered(1, 3, { isUnclean, directories: other, ruleVersion: 1 }))
    old.apply({ type: 'broker-unfenced', brokerId: 1, brokerEpoch: 3, ruleVersion: 1 })
    assert.equal(seen(old)[0], 1)
    // Where its directory is another one, it was put there.
    const moved = imageOf([...active(1, 2), ...placed([1, 2])])
    const to = { replicas: [1, 2], replicaDirectories: [other[0] as Uuid, DIRECTORY(2)] }
    const none = { addingReplicas: [], removingReplicas: [] }
    const place = { topicId: TOPIC, partition: 0, ruleVersion: RULE_VERSION }
    moved.apply({ type: 'partition-reassigned', ...place, ...to, ...none })
    for (const record of away) moved.apply(record)
    moved.apply(registered(2, 3, { isUnclean }))
    moved.apply(registered(1, 4, { isUnclean, directories: other }))
    moved.apply(brokerEvent('broker-unfenced', 1, 4))
    assert.equal(seen(moved)[0], 1)
  })

  test('a replica that is in sync on a new disk, may lead from there; another one does not', () => {
    const image = imageOf([...active(1, 2, 3), ...placed([1, 2, 3], [3, 1])])
    const place = (directory: string): MetadataRecord => {
      const epoch = image.brokers.get(1)?.epoch as number
      const of = { brokerId: 1, brokerEpoch: epoch, topicId: TOPIC, partitions: [0, 1] }
      return { type: 'replicas-placed', ...of, directory }
    }
    const [first = -1, second = -1] = image.topicsById.get(TOPIC)?.handles ?? []
    const directories = () => [first, second].map((one) => image.partitions.directoryOn(one, 1))
    const [old, fresh] = [DIRECTORY(1), uuidFor('N', 1)]
    image.apply(registered(1, 4, { directories: [fresh], isUnclean: true }))
    image.apply(brokerEvent('broker-unfenced', 1, 4))
    image.apply(place(fresh))
    assert.deepEqual(directories(), [old, old], 'it is not in sync')
    image.apply(altered([2, 1]))
    image.apply(place(uuidFor('N', 2)))
    assert.deepEqual(directories(), [old, old], 'it has no such directory')
    image.apply(place(fresh))
    assert.deepEqual(directories(), [fresh, old])
    assert.deepEqual(image.partitions.directories(first), [fresh, DIRECTORY(2), DIRECTORY(3)])
  })

  test('partitions of which no replica is active, wait for any of them', () => {
    const records = [registered(1, 1), registered(2, 2), ...placed([1, 2])]
    const image = imageOf(records)
    assert.deepEqual(seen(image), [NO_LEADER, 0, 0, [], [1, 2]])
    image.apply(brokerEvent('broker-unfenced', 2, 2))
    assert.deepEqual(seen(image), [2, 1, 1, [2], []])
    const lossy = imageOf(records)
    for (const id of [1, 2]) lossy.apply(registered(id, id + 10, { isUnclean: true }))
    lossy.apply(brokerEvent('broker-unfenced', 1, 11))
    assert.deepEqual(seen(lossy).slice(0, 1), [1], 'it is empty everywhere: the preferred one')
  })

  test('a fenced broker, gives up what it led; unfenced, it leads what waits for it', () => {
    const image = imageOf([...active(1, 2), ...placed([1, 2], [1], [2])])
    image.apply(brokerEvent('broker-fenced', 1, 1))
    assert.deepEqual(seen(image, 0), [2, 1, 1, [2], []])
    assert.deepEqual(seen(image, 1), [NO_LEADER, 1, 1, [], [1]])
    assert.deepEqual(seen(image, 2), [2, 0, 0, [2], []])
    image.apply(brokerEvent('broker-unfenced', 1, 1))
    assert.deepEqual(seen(image, 0), [2, 1, 1, [2], []])
    assert.deepEqual(seen(image, 1), [1, 2, 2, [1], []])
  })

  test('a broker that registers anew, unclean or not, was lost', () => {
    for (const isUnclean of [false, true]) {
      const image = imageOf([...active(1, 2), ...placed([1, 2], [1])])
      image.apply(registered(1, 3, { isUnclean }))
      assert.deepEqual(seen(image, 0), [2, 1, 1, [2], []])
      assert.deepEqual(seen(image, 1), [NO_LEADER, 1, 1, [], isUnclean ? [] : [1]])
      image.apply(brokerEvent('broker-unfenced', 1, 3))
      assert.deepEqual(seen(image, 1), [1, 2, 2, [1], []], 'it led last')
    }
  })

  test('a draining broker, leads only what nobody else can, and leaves the ISRs', () => {
    const image = imageOf([...active(1, 2, 3), ...placed([1, 2, 3], [1], [2, 1, 3])])
    image.apply(brokerEvent('broker-draining', 1, 1))
    assert.equal(image.isActive(1), false)
    assert.deepEqual(seen(image, 0), [2, 1, 1, [2, 3], []])
    assert.deepEqual(seen(image, 1), [1, 0, 0, [1], []])
    assert.deepEqual(seen(image, 2), [2, 0, 1, [2, 3], []])
    image.apply(brokerEvent('broker-fenced', 1, 1))
    assert.deepEqual(seen(image, 1), [NO_LEADER, 1, 1, [], [1]])
  })

  test('an unregistered broker, is expected back with nothing', () => {
    const image = imageOf([...active(1, 2), ...placed([1, 2], [1])])
    image.apply(brokerEvent('broker-unregistered', 1, 1))
    assert.equal(image.brokers.has(1), false)
    assert.deepEqual(seen(image, 0), [2, 1, 1, [2], []])
    assert.deepEqual(seen(image, 1), [NO_LEADER, 1, 1, [], []])
  })

  test('min.insync.replicas, comes from the topic, the cluster, or the number of replicas', () => {
    const image = imageOf(THREE)
    const handle = handleOf(image)
    assert.equal(image.minInSyncReplicas(handle), 2)
    const name = 'min.insync.replicas'
    image.apply({ type: 'broker-config', broker: '2', name, value: '1' })
    assert.equal(image.minInSyncReplicas(handle), 2, 'what one broker has is not for all')
    image.apply({ type: 'broker-config', broker: '', name, value: '3' })
    assert.equal(image.minInSyncReplicas(handle), 3)
    image.apply({ type: 'config', topicId: TOPIC, name, value: '1' })
    assert.equal(image.minInSyncReplicas(handle), 1)
    image.apply({ type: 'config', topicId: TOPIC, name, value: 'many' })
    assert.equal(image.minInSyncReplicas(handle), 3)
  })

  test('a lower min.insync.replicas that is reached, leaves nobody eligible', () => {
    const set = (value: string): MetadataRecord => {
      return { type: 'config', topicId: TOPIC, name: 'min.insync.replicas', value }
    }
    const image = imageOf([...THREE, brokerEvent('broker-fenced', 3, 3)])
    image.apply(brokerEvent('broker-fenced', 2, 2))
    assert.deepEqual(seen(image), [1, 0, 2, [1], [2]])
    image.apply(set('3'))
    image.apply(set('2'))
    assert.deepEqual(seen(image), [1, 0, 2, [1], [2]], 'one is too few in any case')
    image.apply(set('1'))
    assert.deepEqual(seen(image), [1, 0, 3, [1], []])
  })

  test('a minimum of all brokers, counts where the topic has none', () => {
    const image = imageOf([...THREE, brokerEvent('broker-fenced', 3, 3)])
    image.apply(brokerEvent('broker-fenced', 2, 2))
    const name = 'min.insync.replicas'
    image.apply({ type: 'broker-config', broker: '', name, value: '1' })
    assert.deepEqual(seen(image), [1, 0, 3, [1], []])
  })

  test('unclean.leader.election.enable, elects whoever is there', () => {
    const image = imageOf([...active(1, 2), ...placed([1, 2])])
    image.apply(altered([1]))
    image.apply(brokerEvent('broker-fenced', 1, 1))
    assert.equal(seen(image)[0], NO_LEADER)
    const name = 'unclean.leader.election.enable'
    image.apply({ type: 'config', topicId: TOPIC, name, value: 'true' })
    assert.deepEqual(seen(image), [2, 2, 3, [2], []])
  })

  test('elections, preferred and unclean', () => {
    const image = imageOf(THREE)
    const election = {
      type: 'leader-elected',
      topicId: TOPIC,
      partitions: [0],
      ruleVersion: RULE_VERSION,
    }
    const elect = (kind: string) => image.apply({ ...election, kind } as MetadataRecord)
    image.apply(brokerEvent('broker-fenced', 1, 1))
    image.apply(brokerEvent('broker-unfenced', 1, 1))
    elect('preferred')
    assert.equal(seen(image)[0], 2, 'the first is not in sync')
    image.apply(altered([1, 2, 3]))
    elect('preferred')
    assert.deepEqual(seen(image).slice(0, 2), [1, 2])
    image.apply(altered([1]))
    image.apply({ type: 'config', topicId: TOPIC, name: 'min.insync.replicas', value: '1' })
    image.apply(brokerEvent('broker-fenced', 1, 1))
    assert.equal(seen(image)[0], NO_LEADER)
    elect('unclean')
    assert.deepEqual([seen(image)[0], seen(image)[3]], [2, [2]])
  })

  test('a reassignment, adds, waits and removes', () => {
    const image = imageOf([...active(1, 2, 3, 4), ...placed([1, 2])])
    const handle = handleOf(image)
    image.apply({
      type: 'partition-reassigned',
      topicId: TOPIC,
      partition: 0,
      replicas: [3, 4, 1, 2],
      replicaDirectories: [3, 4, 1, 2].map(DIRECTORY),
      addingReplicas: [3, 4],
      removingReplicas: [1, 2],
      ruleVersion: RULE_VERSION,
    })
    assert.deepEqual(seen(image), [1, 0, 1, [1, 2], []])
    assert.equal(image.minInSyncReplicas(handle), 1, 'two replicas in the end')
    assert.deepEqual(image.partitions.addingReplicas(handle), [3, 4])
    image.apply(altered([1, 2, 3, 4]))
    image.apply({
      type: 'partition-reassigned',
      topicId: TOPIC,
      partition: 0,
      replicas: [3, 4],
      replicaDirectories: [3, 4].map(DIRECTORY),
      addingReplicas: [],
      removingReplicas: [],
      ruleVersion: RULE_VERSION,
    })
    assert.deepEqual(seen(image), [3, 1, 3, [3, 4], []])
    assert.deepEqual([...image.partitions.reassignments], [])
    assert.equal(image.partitions.directoryOn(handle, 4), DIRECTORY(4))
  })

  test('features, have levels', () => {
    const image = imageOf([{ type: 'features', name: 'metadata', level: 3 }])
    assert.deepEqual([...image.features], [['metadata', 3]])
    image.apply({ type: 'features', name: 'metadata', level: 0 })
    assert.equal(image.features.size, 0)
  })
})

describe('MetadataImage, its changes,', () => {
  test('are told once, and not what came and went', () => {
    const image = imageOf(active(1, 2))
    assert.throws(() => image.takeChanges(), AssertionError)
    image.collectChanges()
    for (const record of placed([1, 2], [2, 1], [2])) image.apply(record)
    image.apply(brokerEvent('broker-fenced', 1, 1))
    image.apply(brokerEvent('broker-unfenced', 1, 1))
    const topic = image.topicsById.get(TOPIC)
    const changes = image.takeChanges()
    assert.deepEqual(changes.topicsCreated, [topic])
    assert.deepEqual(changes.partitionsAdded, [{ topic, first: 0 }])
    assert.deepEqual([...image.changedPartitions(changes)], topic?.handles.slice(0, 2))
    assert.deepEqual(changes.brokersChanged, [1])
    const none = image.takeChanges()
    assert.deepEqual(Object.values(none).flat(), [false])
    image.apply(altered([2]))
    image.apply({ type: 'config', topicId: TOPIC, name: 'retention.ms', value: '1' })
    image.apply({ type: 'remove-topic', topicId: TOPIC })
    const removal = image.takeChanges()
    assert.deepEqual(removal.topicsRemoved, [topic])
    assert.deepEqual([removal.partitionsChanged, removal.topicConfigsChanged], [[], []])
    for (const record of placed([1])) image.apply(record)
    image.apply({ type: 'remove-topic', topicId: TOPIC })
    assert.deepEqual(Object.values(image.takeChanges()).flat(), [false])
  })

  test('say which options changed', () => {
    const image = imageOf(THREE)
    image.collectChanges()
    image.apply({ type: 'config', topicId: TOPIC, name: 'retention.ms', value: '1' })
    image.apply({ type: 'broker-config', broker: '1', name: 'log.retention.ms', value: '1' })
    const changes = image.takeChanges()
    assert.deepEqual(changes.topicConfigsChanged, [image.topicsById.get(TOPIC)])
    assert.equal(changes.brokerConfigsChanged, true)
  })
})

describe('stateDigest', () => {
  test('is that of the state, not of how it came to be', () => {
    const other = 'BBBBBBBBBBBBBBBBBBBBBA'
    const a = imageOf(THREE)
    const b = new MetadataImage()
    for (const record of active(1, 2, 3)) b.apply(record)
    b.apply({ type: 'topic', topicId: other, name: 'gone' })
    b.apply({ ...placed([1, 2])[1], topicId: other } as MetadataRecord)
    b.apply({ type: 'remove-topic', topicId: other })
    for (const record of placed([1, 2, 3])) b.apply(record)
    assert.equal(stateText(a), stateText(b))
    assert.equal(stateDigest(a), stateDigest(b))
    b.apply(altered([1, 2]))
    assert.notEqual(stateDigest(a), stateDigest(b))
  })
})

describe('MetadataImage, of a broker on its own,', () => {
  test('leads everything, by old records and new ones', () => {
    const image = imageOf([{ type: 'broker-start', brokerId: 7, brokerEpoch: 1, clean: true }])
    for (const record of placed([7])) image.apply(record)
    const directories = [DIRECTORY(7)]
    image.apply({ type: 'partitions', topicId: TOPIC, firstPartition: 1, directories })
    for (const partition of [0, 1]) assert.deepEqual(seen(image, partition), [7, 0, 0, [7], []])
    image.apply({ type: 'broker-start', brokerId: 7, brokerEpoch: 2, clean: false })
    assert.deepEqual(seen(image, 1), [7, 1, 0, [7], []])
    assert.equal(image.partitions.directory(handleOf(image, 1)), DIRECTORY(7))
  })

  test('can become a member of a cluster with what it has', () => {
    const image = imageOf([{ type: 'broker-start', brokerId: 7, brokerEpoch: 1, clean: true }])
    image.apply({ type: 'topic', topicId: TOPIC, name: 'orders' })
    const directories = [DIRECTORY(7)]
    image.apply({ type: 'partitions', topicId: TOPIC, firstPartition: 0, directories })
    image.apply(registered(7, 2))
    assert.equal(seen(image)[0], NO_LEADER)
    image.apply(brokerEvent('broker-unfenced', 7, 2))
    assert.deepEqual(seen(image), [7, 2, 2, [7], []])
  })
})
