/** A node of a cluster: how it takes part, whom it asks, and what is left when it stops. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { systemClock } from '../../../src/base/clock.ts'
import { ClusterNode } from '../../../src/broker/cluster/cluster-node.ts'
import { recordsEntry } from '../../../src/cluster/quorum-entries.ts'
import { BrokerError } from '../../../src/errors/broker-error.ts'
import { MetadataImage } from '../../../src/metadata/image.ts'
import { encodeMetadataRecord } from '../../../src/metadata/record-schema.ts'
import type { MetadataRecord } from '../../../src/metadata/records.ts'
import { CLUSTER_ID, keyOf, SaidLogger, SECRET } from '../../cluster/fixture.ts'
import { MemoryLog, NO_SNAPSHOTS } from '../../cluster/quorum-fixture.ts'
import { TestPeer } from '../../cluster/test-peer.ts'
import { registered } from '../../metadata/cluster-records.ts'

interface Fixture {
  readonly node: ClusterNode
  readonly logger: SaidLogger
  readonly failures: unknown[]
}

async function nodeOf(
  t: TestContext,
  controllers: readonly { id: number; host: string; port: number }[],
  log = new MemoryLog(),
): Promise<Fixture> {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-node-'))
  const logger = new SaidLogger()
  const failures: unknown[] = []
  const listener = { host: '127.0.0.1', port: 0 }
  const node = new ClusterNode({
    cluster: {
      controllers,
      secret: SECRET,
      listener,
      isController: true,
      isBroker: true,
      clusterId: null,
    },
    self: keyOf(1),
    clusterId: CLUSTER_ID,
    directory,
    log,
    found: log.found,
    snapshots: NO_SNAPSHOTS,
    image: new MetadataImage(),
    electionTimeoutMs: 100,
    clock: systemClock,
    loggers: () => logger,
    withReserve: (work) => work(),
    onFailure: (error) => failures.push(error),
  })
  t.after(async () => {
    node.stop()
    await rm(directory, { recursive: true, force: true })
  })
  return { node, logger, failures }
}

const ALONE = [{ id: 1, host: '127.0.0.1', port: 1 }]
const topic: MetadataRecord = { type: 'topic', topicId: CLUSTER_ID, name: 't' }

describe('ClusterNode', () => {
  test('alone leads its quorum, and commits what it proposes', async (t) => {
    const { node, failures } = await nodeOf(t, ALONE)
    const isLed = new Promise<void>((resolve) => {
      node.metadata.onApplied(() => resolve())
    })
    await node.start()
    await isLed
    assert.deepEqual([node.leaderId, node.isController], [1, true])
    const result = await node.metadata.change(() => ({ records: [topic], result: 'created' }))
    assert.equal(result, 'created')
    assert.ok(node.metadata.image.topicsByName.has('t'))
    assert.deepEqual(failures, [])
  })

  test('takes no proposal before its quorum is formed', async (t) => {
    const { node } = await nodeOf(t, ALONE)
    const answers = [await node.propose(0, [topic]), await node.proposeHere(0, [topic])]
    assert.deepEqual(new Set(answers.map(({ endOffset }) => endOffset)), new Set([-1]))
    assert.deepEqual([node.leaderId, node.isController, node.voters], [null, false, []])
  })

  test('knows where controllers are before the metadata says it', async (t) => {
    const { node } = await nodeOf(t, ALONE)
    assert.equal(node.addressOf(1)?.port, 1)
    assert.equal(node.addressOf(2), null)
  })

  test('that is stopped before its quorum is formed leaves nothing behind', async (t) => {
    const peer = await TestPeer.open()
    t.after(() => peer.close())
    const { node } = await nodeOf(t, [
      ...ALONE,
      { id: 2, ...peer.address },
      { id: 3, ...peer.address },
    ])
    const started = assert.rejects(node.start(), BrokerError)
    while (peer.received.length === 0) await new Promise((resolve) => setImmediate(resolve))
    node.stop()
    await started
  })
})

test('addressOf, finds who is no controller in the log, before anything is committed', async (t) => {
  const log = new MemoryLog()
  const value = encodeMetadataRecord(registered(4, 100))
  await log.append([recordsEntry({ epoch: 1, baseOffset: 0 }, [value], 0)])
  const { node } = await nodeOf(t, ALONE, log)
  const { host, port } = node.addressOf(4) ?? {}
  assert.deepEqual([host, port], ['localhost', 9004])
  assert.equal(node.addressOf(5), null)
})
