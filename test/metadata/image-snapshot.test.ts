import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionError } from '../../src/base/assert.ts'
import { Random } from '../../src/base/random.ts'
import { MetadataImage } from '../../src/metadata/image.ts'
import { stateDigest, stateText } from '../../src/metadata/image-digest.ts'
import { ImageLoader } from '../../src/metadata/image-loader.ts'
import { ImageWriter } from '../../src/metadata/image-writer.ts'
import type { SnapshotRecord } from '../../src/metadata/snapshot-records.ts'
import { decodeSnapshotRecord, encodeSnapshotRecord } from '../../src/metadata/snapshot-schema.ts'
import { testSeed } from '../support/seed.ts'
import {
  active,
  altered,
  brokerEvent,
  checkPolicies,
  DIRECTORY,
  imageOf,
  placed,
  TOPIC,
} from './cluster-records.ts'
import { RandomHistory } from './random-history.ts'

/** Writes all of it, with `between` after every step. */
function snapshotOf(image: MetadataImage, between: () => void = () => undefined): SnapshotRecord[] {
  const records: SnapshotRecord[] = []
  const writer = new ImageWriter(image, (record) => {
    records.push(decodeSnapshotRecord(encodeSnapshotRecord(record)))
  })
  between()
  while (writer.step()) between()
  between()
  writer.finish()
  return records
}

function load(records: readonly SnapshotRecord[], target = new MetadataImage()): MetadataImage {
  const loader = new ImageLoader(target)
  for (const record of records) loader.apply(record)
  for (const _ of loader.compare());
  loader.install()
  return target
}

function handlesByPartition(image: MetadataImage): Map<string, number> {
  const handles = new Map<string, number>()
  for (const { id, handles: all } of image.topicsById.values()) {
    for (const [partition, handle] of all.entries()) handles.set(`${id}-${partition}`, handle)
  }
  return handles
}

describe('a snapshot of an image', () => {
  test('loaded, is the image, whatever had happened to it', () => {
    const seed = testSeed()
    for (let run = 0; run < 5; run++) {
      const history = new RandomHistory(new Random(seed + run))
      history.run(200)
      const loaded = load(snapshotOf(history.image))
      assert.equal(stateText(loaded), stateText(history.image), `seed ${seed + run}`)
      assert.equal(loaded.topicsVersion, history.image.topicsVersion)
      assert.equal(loaded.localBrokerId, history.image.localBrokerId)
    }
  })

  test('taken while records are applied, is the image of its end, also after more of them', () => {
    const seed = testSeed()
    for (let run = 0; run < 5; run++) {
      const random = new Random(seed + run)
      const history = new RandomHistory(random)
      history.run(150)
      const records = snapshotOf(history.image, () => history.run(random.below(60)))
      const loaded = load(records)
      assert.equal(stateDigest(loaded), stateDigest(history.image), `seed ${seed + run}`)
      checkPolicies(loaded)
      for (const record of history.run(200)) loaded.apply(record)
      assert.equal(stateText(loaded), stateText(history.image), `seed ${seed + run}`)
    }
  })

  test('of replicas that are few in kinds, has few bytes a row', () => {
    const lists = Array.from({ length: 4000 }, (_, i) => [1 + (i % 3), 1 + ((i + 1) % 3)])
    const records = snapshotOf(imageOf([...active(1, 2, 3), ...placed(...lists)]))
    const bytes = records.map((record) => encodeSnapshotRecord(record).length)
    const total = bytes.reduce((sum, length) => sum + length, 0)
    assert.ok(total < 4000 * 5 + 2000, `${total} bytes`)
  })

  test('that ends early, or does not fit together, is refused', () => {
    const records = snapshotOf(imageOf([...active(1, 2), ...placed([1, 2])]))
    for (const type of ['counters', 'topic', 'partition-shapes', 'directory-lists']) {
      const torn = records.filter((record) => record.type !== type)
      assert.throws(() => load(torn), AssertionError, type)
    }
  })
})

describe('an image that becomes a snapshot', () => {
  test('keeps the handles of what lives on, and tells what differs', () => {
    const seed = testSeed()
    for (let run = 0; run < 5; run++) {
      const random = new Random(seed + run)
      const history = new RandomHistory(random)
      const target = imageOf(history.first)
      const follow = (steps: number): void => {
        for (const record of history.run(steps)) target.apply(record)
      }
      follow(200)
      target.collectChanges()
      const log = history.run(150)
      const records = snapshotOf(history.image)
      const loader = new ImageLoader(target)
      // What the log has, for a while, is applied to the target as well.
      let applied = 0
      const applySome = (): void => {
        if (applied >= log.length / 2 || random.below(3) > 0) return
        target.apply(log[applied++] as (typeof log)[number])
      }
      for (const record of records) {
        loader.apply(record)
        applySome()
      }
      for (const _ of loader.compare()) applySome()
      const handles = handlesByPartition(target)
      const states = new Map([...handles].map(([name, handle]) => [name, stateOf(target, handle)]))
      const topics = [...target.topicsById.values()]
      target.takeChanges()
      loader.install()
      assert.equal(stateText(target), stateText(history.image), `seed ${seed + run}`)
      checkPolicies(target)
      const changes = target.takeChanges()
      const changed = new Set(target.changedPartitions(changes))
      for (const [name, handle] of handlesByPartition(target)) {
        const old = handles.get(name)
        if (old !== undefined) assert.equal(handle, old, `seed ${seed + run}: ${name}`)
        const isSame = states.get(name) === stateOf(target, handle)
        assert.ok(isSame || changed.has(handle), `seed ${seed + run}: ${name} has changed`)
      }
      const gone = topics.filter(({ id }) => !target.topicsById.has(id))
      assert.ok(gone.every((topic) => changes.topicsRemoved.includes(topic)))
      const told = changes.topicsRemoved.filter(({ id }) => target.topicsById.has(id))
      assert.deepEqual(told, [], `seed ${seed + run}`)
      for (const topic of topics) {
        const after = target.topicsById.get(topic.id)
        if (after === undefined || sameOptions(topic.configs, after.configs)) continue
        assert.ok(changes.topicConfigsChanged.includes(after))
      }
      for (const record of history.run(100)) target.apply(record)
      assert.equal(stateText(target), stateText(history.image), `seed ${seed + run}`)
    }
  })

  test('tells of partitions that concern somebody, and of no others', () => {
    const target = imageOf([...active(1, 2, 3), ...placed([1, 2], [2, 3], [3, 1], [3, 2])])
    target.collectChanges()
    const source = imageOf([...active(1, 2, 3), ...placed([1, 2], [2, 3], [3, 1], [3, 2])])
    for (const partition of [0, 1, 2]) {
      source.apply(
        altered([source.partitions.leader(source.handleOf(TOPIC, partition) ?? 0)], partition),
      )
    }
    const loader = new ImageLoader(target, (replicas) => replicas.includes(1))
    for (const record of snapshotOf(source)) loader.apply(record)
    for (const _ of loader.compare());
    loader.install()
    const { handles } = target.topicsById.get(TOPIC) as { handles: number[] }
    assert.deepEqual(target.takeChanges().partitionsChanged, [handles[0], handles[2]])
    assert.equal(target.partitions.directoryOn(handles[1] as number, 3), DIRECTORY(3))
    target.apply(brokerEvent('broker-fenced', 1, 1))
  })

  test('does not lose what had happened to a broker and was not taken yet', () => {
    const lists = [1, 2, 3].map((id) => [id, (id % 3) + 1])
    const source = imageOf([...active(1, 2, 3), ...placed([2, 3], ...lists)])
    const target = imageOf([...active(1, 2, 3), ...placed([2, 3], ...lists)])
    target.collectChanges()
    source.apply(brokerEvent('broker-fenced', 1, 1))
    const loader = new ImageLoader(target)
    for (const record of snapshotOf(source)) loader.apply(record)
    for (const _ of loader.compare());
    // After the snapshot was read: the loader follows, and the cohorts are those of the old table.
    target.apply(brokerEvent('broker-fenced', 1, 1))
    loader.install()
    const { handles } = target.topicsById.get(TOPIC) as { handles: number[] }
    const told = new Set(target.changedPartitions(target.takeChanges()))
    assert.deepEqual([...told].sort(), [handles[1], handles[3]])
  })
})

function stateOf(image: MetadataImage, handle: number): string {
  return JSON.stringify([
    image.partitions.state(handle),
    image.partitions.directories(handle),
    image.partitions.addingReplicas(handle),
    image.partitions.removingReplicas(handle),
  ])
}

function sameOptions(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return JSON.stringify([...a].sort()) === JSON.stringify([...b].sort())
}
