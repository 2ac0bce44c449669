import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import type { MetadataImage } from '../../src/metadata/image.ts'
import { stateText } from '../../src/metadata/image-digest.ts'
import type { MetadataRecord } from '../../src/metadata/records.ts'
import { registered, uuidFor } from '../metadata/cluster-records.ts'
import { RandomHistory } from '../metadata/random-history.ts'
import { CHANGE, QuorumCluster } from '../support/quorum-cluster.ts'
import { withSeed } from '../support/seed.ts'

const FILE = 'broker/metadata-snapshots'
const root = mkdtempSync(join(tmpdir(), 'millrace-snapshots-'))
after(() => rmSync(root, { recursive: true, force: true }))

function topics(from: number, count: number): MetadataRecord[][] {
  return Array.from({ length: count }, (_, i): MetadataRecord[] => {
    const topicId = uuidFor('T', from + i)
    const rows = { firstPartition: 0, replicas: [[1]], replicaDirectories: [[uuidFor('D', 1)]] }
    return [
      { type: 'topic', topicId, name: `topic-${from + i}` },
      { type: 'partitions', topicId, ...rows, ruleVersion: 1 },
    ]
  })
}

function newest(directory: string): string {
  const names = readdirSync(directory).filter((name) => name.endsWith('.checkpoint'))
  return join(directory, names.sort().at(-1) as string)
}

describe('snapshots of a quorum', () => {
  test('are taken, cut the log, and bring back a follower that was away', async (t) => {
    await withSeed(FILE, async (random) => {
      const cluster = new QuorumCluster(join(root, 'away'), { bytesBetween: 4000, random })
      t.after(() => cluster.stop())
      const nodes = await Promise.all([1, 2, 3].map((id) => cluster.start(id)))
      await cluster.change([registered(1, 1)])
      await cluster.settle()
      nodes[2]!.stop()
      for (const records of topics(0, 200)) await cluster.change(records)
      const leader = cluster.leader
      assert.ok(leader.log.startOffset > 100, `the log begins at ${leader.log.startOffset}`)
      const back = await cluster.start(3)
      await cluster.settle()
      assert.equal(back.installs, 1)
      assert.equal(stateText(back.image), stateText(leader.image))
      // And it goes on from there, over a restart.
      for (const records of topics(200, 20)) await cluster.change(records)
      back.stop()
      const again = await cluster.start(3)
      await cluster.settle()
      assert.equal(again.installs, 0)
      assert.equal(stateText(again.image), stateText(cluster.leader.image))
    })
  })

  test('of a random history, with restarts, leave all images the same', async (t) => {
    await withSeed(FILE, async (random) => {
      const cluster = new QuorumCluster(join(root, 'history'), { bytesBetween: 20_000, random })
      t.after(() => cluster.stop())
      for (const id of [1, 2, 3]) await cluster.start(id)
      const history = new RandomHistory(new Random(random.u32()))
      await cluster.change(history.first)
      for (let round = 0; round < 8; round++) {
        const id = 1 + random.below(3)
        if (random.chance(0.7)) cluster.node(id)?.stop()
        for (let i = 0; i < 25; i++) {
          const records = history.run(4)
          if (records.length > 0) await cluster.change(records)
        }
        if (cluster.node(id) === undefined) {
          if (random.chance(0.4)) cluster.giveSnapshot(id, 1 + (id % 3))
          await cluster.start(id)
        }
      }
      await cluster.settle()
      history.image.apply({ type: 'features', name: CHANGE, level: cluster.changes })
      const texts = [1, 2, 3].map((id) => stateText(cluster.node(id)!.image))
      assert.equal(texts[0], stateText(history.image))
      assert.equal(texts[1], texts[0])
      assert.equal(texts[2], texts[0])
    })
  })

  test('that are damaged, are set aside at the start for the one before', async (t) => {
    await withSeed(FILE, async (random) => {
      const cluster = new QuorumCluster(join(root, 'damaged'), { bytesBetween: 4000, random })
      t.after(() => cluster.stop())
      await cluster.start(1, [1])
      await cluster.change([registered(1, 1)])
      for (const records of topics(0, 100)) await cluster.change(records)
      await cluster.settle()
      const textOf = (image: MetadataImage): string => {
        return stateText(image).replace(/feature change \d+/, '')
      }
      const text = textOf(cluster.leader.image)
      for (const damage of [cut, flip, grow]) {
        const node = cluster.node(1)!
        node.stop()
        await node.snapshots.stop() // Else one that is being taken may become the newest yet.
        const { directory } = cluster.lastOf(1)
        const path = newest(directory)
        writeFileSync(path, damage(readFileSync(path), random))
        const again = await cluster.start(1, [1])
        await cluster.settle()
        assert.equal(textOf(again.image), text)
        assert.ok(existsSync(`${path}.damaged`))
        await again.snapshots.take()
        for (const records of topics(1000, 1)) await cluster.change(records)
        await cluster.change([{ type: 'remove-topic', topicId: uuidFor('T', 1000) }])
        await again.snapshots.take()
      }
    })
  })

  test('of which a part was written, leave nothing behind', async (t) => {
    await withSeed(FILE, async (random) => {
      const cluster = new QuorumCluster(join(root, 'torn'), { bytesBetween: 1e9, random })
      t.after(() => cluster.stop())
      const node = await cluster.start(1, [1])
      await cluster.change([registered(1, 1)])
      node.stop()
      for (const name of [
        'taken.checkpoint.part',
        `${'9'.padStart(20, '0')}-0000000001.checkpoint.part`,
      ]) {
        writeFileSync(join(node.directory, name), random.bytes(1000))
      }
      await cluster.start(1, [1])
      await cluster.settle()
      assert.deepEqual(readdirSync(node.directory), [])
    })
  })

  test('do not keep a node from stopping whose log cannot be cut now', async (t) => {
    await withSeed(FILE, async (random) => {
      const cluster = new QuorumCluster(join(root, 'uncut'), { bytesBetween: 1000, random })
      t.after(() => cluster.stop())
      const node = await cluster.start(1, [1])
      let asked = 0
      node.log.dropBefore = () => {
        asked++
        return new Promise(() => undefined)
      }
      await cluster.change([registered(1, 1)])
      for (let i = 0; asked === 0; i++) {
        for (const records of topics(i, 1)) await cluster.change(records)
        await new Promise((resolve) => setImmediate(resolve))
      }
      node.stop()
      await node.snapshots.stop()
    })
  })

  test('that cannot be written, are taken later', async (t) => {
    await withSeed(FILE, async (random) => {
      const cluster = new QuorumCluster(join(root, 'full'), { bytesBetween: 1000, random })
      t.after(() => cluster.stop())
      const node = await cluster.start(1, [1])
      rmSync(node.directory, { recursive: true })
      await cluster.change([registered(1, 1)])
      for (const records of topics(0, 30)) await cluster.change(records)
      await cluster.settle()
      assert.match(node.lines.join('\n'), /no snapshot of the metadata can be taken now/)
      assert.deepEqual(node.failures, [])
    })
  })
})

function cut(bytes: Buffer, random: Random): Buffer {
  return bytes.subarray(0, random.below(bytes.length))
}

function flip(bytes: Buffer, random: Random): Buffer {
  // The epoch of a batch is covered by no checksum, and means nothing here.
  const at = 61 + random.below(20)
  bytes[at] = (bytes[at] as number) ^ 0x10
  return bytes
}

function grow(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, bytes.subarray(0, 100)])
}
