/** What fits an image, and that what does not is refused before the image has to assert it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Random } from '../../src/base/random.ts'
import { ZERO_UUID } from '../../src/base/uuid.ts'
import { checkRecords } from '../../src/metadata/check-records.ts'
import type { MetadataImage } from '../../src/metadata/image.ts'
import { stateDigest } from '../../src/metadata/image-digest.ts'
import { completion, reassignPartitions } from '../../src/metadata/reassignment.ts'
import { decodeMetadataRecord, encodeMetadataRecord } from '../../src/metadata/record-schema.ts'
import type { MetadataRecord, PlacedPartitionsRecord } from '../../src/metadata/records.ts'
import { withSeed } from '../support/seed.ts'
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
import { RandomHistory } from './random-history.ts'

const RULE = { ruleVersion: 1 }

function reassigned(replicas: number[], more: object = {}): MetadataRecord {
  const replicaDirectories = replicas.map(DIRECTORY)
  const to = { replicas, replicaDirectories, addingReplicas: [], removingReplicas: [] }
  return { type: 'partition-reassigned', topicId: TOPIC, partition: 0, ...RULE, ...to, ...more }
}

function partitions(more: Partial<PlacedPartitionsRecord>): MetadataRecord {
  const rows = { firstPartition: 1, replicas: [[1]], replicaDirectories: [[DIRECTORY(1)]] }
  return { type: 'partitions', topicId: TOPIC, ...rows, ...RULE, ...more }
}

describe('checkRecords', () => {
  const base = [...active(1, 2, 3), ...placed([1, 2])]
  const unknown = uuidFor('U', 1)
  const refused: readonly (readonly [string, RegExp, readonly MetadataRecord[]])[] = [
    ['a name that is taken', /has this name/, placed([1]).slice(0, 1)],
    ['an id that is taken', /id is taken/, [{ type: 'topic', topicId: TOPIC, name: 'other' }]],
    ['a gap', /next partition is 1/, [partitions({ firstPartition: 2 })]],
    ['no replica', /at least one/, [partitions({ replicas: [[]], replicaDirectories: [[]] })]],
    ['a replica without directory', /directory/, [partitions({ replicaDirectories: [[]] })]],
    ['a replica of nobody', /no broker/, [partitions({ replicas: [[-1]] })]],
    [
      'an option of no topic',
      /not known/,
      [{ type: 'config', topicId: unknown, name: 'a', value: 'b' }],
    ],
    ['the end of no topic', /not known/, [{ type: 'remove-topic', topicId: unknown }]],
    [
      'the start of one alone',
      /alone/,
      [{ type: 'broker-start', brokerId: 1, brokerEpoch: 9, clean: true }],
    ],
    ['an epoch that was there', /next epoch is 4/, [registered(4, 3)]],
    ['the last epoch there can be', /next epoch is 4/, [registered(4, Number.MAX_SAFE_INTEGER)]],
    ['an event of another process', /not registered/, [brokerEvent('broker-fenced', 1, 7)]],
    ['a leader not in sync', /with itself/, [altered([2])]],
    ['a stranger in sync', /not all are replicas/, [altered([1, 3])]],
    [
      'an election of no partition',
      /not known/,
      [{ type: 'leader-elected', topicId: TOPIC, partitions: [1], kind: 'preferred', ...RULE }],
    ],
    ['a move away from all', /in sync would go/, [reassigned([3])]],
    ['a move to nowhere', /at least one/, [reassigned([])]],
    ['a move that removes strangers', /come and go/, [reassigned([1], { removingReplicas: [2] })]],
  ]
  for (const [what, pattern, records] of refused) {
    test(`refuses ${what}`, () => {
      const image = imageOf(base)
      const digest = stateDigest(image)
      assert.match(checkRecords(image, records) ?? 'nothing', pattern)
      assert.equal(stateDigest(image), digest, 'it only looks')
    })
  }

  test('takes what one change consists of', () => {
    const image = imageOf(base)
    const topicId = uuidFor('N', 1)
    const made: MetadataRecord[] = [
      { type: 'topic', topicId, name: 'new' },
      partitions({ topicId, firstPartition: 0 }),
      partitions({ topicId, firstPartition: 1 }),
      { type: 'config', topicId, name: 'retention.ms', value: '1' },
    ]
    assert.equal(checkRecords(image, made), null)
    assert.match(checkRecords(image, [...made, ...made]) ?? '', /has this name/)
    const again: MetadataRecord = { type: 'remove-topic', topicId: TOPIC }
    assert.equal(checkRecords(image, [again, { ...made[0], name: 'orders' } as never]), null)
    assert.match(checkRecords(image, [again, altered([1])]) ?? '', /not known/)
    assert.equal(checkRecords(image, [registered(4, 4), registered(5, 5)]), null)
    const gone = brokerEvent('broker-unregistered', 3, 3)
    assert.match(checkRecords(image, [gone, brokerEvent('broker-fenced', 3, 3)]) ?? '', /not reg/)
  })

  test('takes the end of a move with the change that brings it, and nothing after that', () => {
    const image = imageOf(base)
    const target = { topicId: TOPIC, partition: 0, targetReplicas: [3] }
    for (const record of reassignPartitions(image, [target]).records) image.apply(record)
    const handle = image.handleOf(TOPIC, 0) as number
    const state = { ...image.partitions.state(handle), inSyncReplicas: [3, 1, 2] }
    const end = completion(image, handle, state)
    assert.equal(end.length, 1)
    assert.match(checkRecords(image, end) ?? '', /in sync would go/)
    assert.equal(checkRecords(image, [altered([1, 2, 3]), ...end]), null)
    assert.match(checkRecords(image, [altered([1, 2, 3]), ...end, altered([3])]) ?? '', /before it/)
    const fenced = brokerEvent('broker-fenced', 1, 1)
    assert.match(checkRecords(image, [fenced, altered([1])]) ?? '', /before it/)
  })

  test('takes every step of a history that a cluster could have', () =>
    withSeed('metadata/check-records', (random) => {
      const history = new RandomHistory(random, (image, records) => {
        assert.equal(checkRecords(image, records), null)
      })
      history.run(300)
    }))

  test('refuses whatever the image would assert, of any records', () =>
    withSeed('metadata/check-records', (random) => {
      const history = new RandomHistory(random)
      let taken = 0
      for (let i = 0; i < 60; i++) {
        history.run(5)
        for (let k = 0; k < 20; k++) {
          const count = 1 + random.below(3)
          const records = Array.from({ length: count }, () => anyRecord(random, history.image))
          if (checkRecords(history.image, records) !== null) continue
          for (const record of records) history.image.apply(record)
          taken++
        }
      }
      assert.ok(taken > 50, `${taken} were taken`)
    }))
})

/** Anything that can be decoded; its ids are often those of something that is there. */
function anyRecord(random: Random, image: MetadataImage): MetadataRecord {
  const record = anyOf(random, image)
  return decodeMetadataRecord(encodeMetadataRecord(record))
}

function anyOf(random: Random, image: MetadataImage): MetadataRecord {
  const brokerId = random.below(9) - 2
  const ids = (): number[] => Array.from({ length: random.below(5) }, () => random.below(8) - 1)
  const topics = [...image.topicsById.values()]
  const topic = topics.length > 0 && random.chance(0.9) ? random.pick(topics) : null
  const topicId = topic?.id ?? random.pick([ZERO_UUID, uuidFor('X', random.below(100))])
  const count = topic?.handles.length ?? 0
  const partition = random.below(count + 2) - 1
  const handle = topic?.handles[partition]
  const replicas =
    handle !== undefined && random.chance(0.6) ? image.partitions.replicas(handle) : ids()
  const some = (): number[] => replicas.filter(() => random.chance(0.7))
  const known = image.brokers.get(brokerId)?.epoch ?? 1
  const brokerEpoch = random.chance(0.8) ? known : random.below(50) - 1
  const value = random.pick(['true', '1', '-5', '', 'x', null])
  switch (random.below(14)) {
    case 0:
      return {
        type: 'topic',
        topicId: uuidFor('X', random.below(1000)),
        name: `x${random.below(20)}`,
      }
    case 1: {
      const rows = Array.from({ length: random.below(3) }, ids)
      const replicaDirectories = rows.map((row) => row.map(DIRECTORY))
      const firstPartition = random.chance(0.7) ? count : partition
      return {
        type: 'partitions',
        topicId,
        firstPartition,
        replicas: rows,
        replicaDirectories,
        ...RULE,
      }
    }
    case 2:
      return { type: 'partitions', topicId, firstPartition: count, directories: [DIRECTORY(1)] }
    case 3: {
      const name = random.pick(['min.insync.replicas', 'unclean.leader.election.enable', 'x'])
      return random.chance(0.5)
        ? { type: 'config', topicId, name, value }
        : { type: 'broker-config', broker: random.pick(['', '1']), name, value }
    }
    case 4:
      return random.chance(0.9)
        ? { type: 'features', name: 'x', level: random.below(3) - 1 }
        : { type: 'remove-topic', topicId }
    case 5:
      return random.chance(0.9)
        ? registered(brokerId, random.pick([image.nextBrokerEpoch, brokerEpoch]), {
            isUnclean: random.chance(0.5),
          })
        : { type: 'broker-start', brokerId, brokerEpoch, clean: random.chance(0.5) }
    case 6:
    case 7: {
      const types = [
        'broker-fenced',
        'broker-unfenced',
        'broker-draining',
        'broker-unregistered',
      ] as const
      return brokerEvent(random.pick(types), brokerId, brokerEpoch)
    }
    case 8:
    case 9:
      return {
        type: 'partition-altered',
        topicId,
        partition,
        inSyncReplicas: random.chance(0.7) ? some() : ids(),
        ...RULE,
      }
    case 10: {
      const kind = random.pick(['preferred', 'unclean'] as const)
      return {
        type: 'leader-elected',
        topicId,
        partitions: [partition, ...ids()].slice(0, 1 + random.below(2)),
        kind,
        ...RULE,
      }
    }
    case 11:
      return {
        type: 'replicas-failed',
        brokerId,
        brokerEpoch,
        topicId,
        partitions: [partition, ...ids()].slice(0, 1 + random.below(2)),
        ...RULE,
      }
    case 12:
      return {
        type: 'replicas-placed',
        brokerId,
        brokerEpoch,
        directory: DIRECTORY(random.below(9)),
        topicId,
        partitions: [partition, ...ids()].slice(0, 1 + random.below(2)),
      }
    default: {
      const to = random.chance(0.5) ? some() : ids()
      const replicaDirectories = (random.chance(0.9) ? to : ids()).map(DIRECTORY)
      const [addingReplicas, removingReplicas] = random.chance(0.6) ? [[], []] : [some(), ids()]
      return {
        type: 'partition-reassigned',
        topicId,
        partition,
        replicas: to,
        replicaDirectories,
        addingReplicas,
        removingReplicas,
        ...RULE,
      }
    }
  }
}
