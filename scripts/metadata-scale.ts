/**
 * How the metadata of a large cluster behaves: memory, snapshots, and how long main is kept
 * from others (Linux).
 *
 * `node --expose-gc build/scripts/metadata-scale.js [--topics N] [--partitions N] [--brokers N]`
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/base/clock.ts'
import { Random } from '../src/base/random.ts'
import { randomUuid, type Uuid } from '../src/base/uuid.ts'
import { ClusterMetadata } from '../src/broker/cluster/cluster-metadata.ts'
import { MetadataSnapshots } from '../src/broker/cluster/metadata-snapshots.ts'
import type { Quorum } from '../src/cluster/quorum.ts'
import { recordsEntry } from '../src/cluster/quorum-entries.ts'
import { MetadataImage } from '../src/metadata/image.ts'
import { stateDigest } from '../src/metadata/image-digest.ts'
import { encodeMetadataRecord } from '../src/metadata/record-schema.ts'
import type { MetadataRecord } from '../src/metadata/records.ts'

const { values } = parseArgs({
  options: {
    topics: { type: 'string', default: '100000' },
    partitions: { type: 'string', default: '100' },
    brokers: { type: 'string', default: '100' },
    directory: { type: 'string', default: tmpdir() },
  },
})
const topics = Number(values.topics)
const partitions = Number(values.partitions)
const brokers = Number(values.brokers)
const REPLICAS = 3

function say(what: string, figures: Record<string, unknown> = {}): void {
  process.stdout.write(`${what} ${JSON.stringify(figures)}\n`)
}

function memory(): Record<string, string> {
  ;(globalThis as { gc?: () => void }).gc?.()
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
  const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`
  return { rss: mib(rss), heap: mib(heapUsed), arrays: mib(arrayBuffers) }
}

/** Of this thread, on a processor: what others of the machine take does not count. */
function cpuMs(): number {
  return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0]) / 1e6
}

/** The turns of the event loop: how long each of them kept the processor. */
class TurnMeter {
  readonly #turns: number[] = []
  #lastMs = cpuMs()
  #isRunning = true

  constructor() {
    setImmediate(this.#turn)
  }

  readonly #turn = (): void => {
    const nowMs = cpuMs()
    this.#turns.push(nowMs - this.#lastMs)
    this.#lastMs = nowMs
    if (this.#isRunning) setImmediate(this.#turn)
  }

  stop(): Readonly<Record<string, number>> {
    this.#isRunning = false
    this.#turn()
    const turns = this.#turns.sort((a, b) => b - a)
    const toMs = (ms: number): number => Math.round(ms * 10) / 10
    return {
      turnMsMax: toMs(turns[0] ?? 0),
      turnsOver10Ms: turns.filter((ms) => ms > 10).length,
      turnMsP99: toMs(turns[Math.floor(turns.length / 100)] ?? 0),
      mainMs: Math.round(turns.reduce((sum, ms) => sum + ms, 0)),
    }
  }
}

/** Runs `work`, and says how long that took and how long main was kept at most. */
async function measured<T>(what: string, work: () => Promise<T>): Promise<T> {
  const startMs = performance.now()
  const meter = new TurnMeter()
  const result = await work()
  const turns = meter.stop()
  say(what, { ms: Math.round(performance.now() - startMs), ...turns, ...memory() })
  return result
}

const directories = Array.from({ length: brokers }, (): Uuid => randomUuid())

function clusterRecords(): MetadataRecord[] {
  return directories.flatMap((directory, i): MetadataRecord[] => {
    const brokerId = i + 1
    const brokerEpoch = i + 1
    return [
      {
        type: 'broker-registered',
        ...{ brokerId, brokerEpoch, incarnationId: randomUuid(), host: 'localhost', port: 9000 },
        ...{ endpoints: [], rack: null, directories: [directory], isUnclean: false },
        ruleVersion: 1,
      },
      { type: 'broker-unfenced', brokerId, brokerEpoch, ruleVersion: 1 },
    ]
  })
}

/** As Kafka places: leaders in turn, the others beside them, at a distance that the topic has. */
function topicRecords(index: number, random: Random): MetadataRecord[] {
  const topicId = randomUuid()
  const start = random.below(brokers)
  const shift = 1 + random.below(Math.max(1, brokers - REPLICAS))
  const replicas = Array.from({ length: partitions }, (_, partition) => {
    const first = (start + partition) % brokers
    const others = [0, 1].map((n) => (first + shift + n) % brokers)
    return [...new Set([first, ...others])].map((broker) => broker + 1)
  })
  const replicaDirectories = replicas.map((ids) => ids.map((id) => directories[id - 1] as Uuid))
  const rows = { firstPartition: 0, replicas, replicaDirectories, ruleVersion: 1 }
  return [
    { type: 'topic', topicId, name: `topic-${index}` },
    { type: 'partitions', topicId, ...rows },
  ]
}

function metadataOf(image: MetadataImage): ClusterMetadata {
  return new ClusterMetadata({
    image,
    propose: () => Promise.reject(new Error('nobody asks here')),
    nowMs: () => systemClock.monotonicMs(),
  })
}

async function openSnapshots(directory: string, image: MetadataImage): Promise<MetadataSnapshots> {
  const log = (fields: object, message: string): void => say(`  ${message}`, { ...fields })
  return MetadataSnapshots.open({
    directory,
    image,
    concerns: (replicas) => replicas.includes(1),
    options: { bytesBetween: Number.POSITIVE_INFINITY, intervalMs: 0 },
    clock: systemClock,
    logger: { debug: log, info: log, warn: log, error: log },
    onFailure: (error) => {
      throw error
    },
  })
}

const random = new Random(1)
const root = mkdtempSync(join(values.directory, 'millrace-scale-'))
const image = new MetadataImage()
const metadata = metadataOf(image)
let offset = 0
let bytes = 0

function apply(records: readonly MetadataRecord[]): void {
  const valuesOf = records.map(encodeMetadataRecord)
  const entry = recordsEntry({ epoch: 1, baseOffset: offset }, valuesOf, Date.now())
  offset = entry.endOffset
  bytes += entry.bytes.length
  metadata.apply([entry])
}

say('before', memory())
await measured(`${topics * partitions} partitions are applied`, async () => {
  apply(clusterRecords())
  for (let i = 0; i < topics; i++) {
    apply(topicRecords(i, random))
    if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
})
say('log', { bytes })
const snapshots = await openSnapshots(root, image)
const voters = [{ id: 1, directoryId: randomUuid() }]
// What a snapshot asks of the quorum.
const quorum = { epochBefore: () => 1, votersAt: () => voters, onSnapshotTaken: () => undefined }
snapshots.start({
  quorum: () => quorum as unknown as Quorum,
  metadata,
  dropBefore: () => Promise.resolve(),
})
await measured('a snapshot is taken, with changes meanwhile', async () => {
  const all = [...image.topicsById.values()]
  const changing = setInterval(() => {
    const topic = random.pick(all)
    const partition = random.below(partitions)
    const state = image.partitions.state(topic.handles[partition] as number)
    const inSyncReplicas = state.replicas.filter((id) => id === state.leader || random.chance(0.5))
    const altered = { topicId: topic.id, partition, inSyncReplicas, ruleVersion: 1 }
    apply([{ type: 'partition-altered', ...altered }])
  }, 1)
  await snapshots.take()
  clearInterval(changing)
})
await snapshots.take()
const digest = stateDigest(image)

const loaded = new MetadataImage()
const again = await openSnapshots(root, loaded)
await measured('the snapshot is loaded', () => again.load())
say('digests', { taken: digest, loaded: stateDigest(loaded) })

let led = 0
for (let handle = 1; handle < image.partitions.size; handle++) {
  if (image.partitions.leader(handle) === 1) led++
}
image.collectChanges()
await measured(`a broker that leads ${led} partitions is fenced`, async () => {
  const broker = image.brokers.get(1)
  const brokerEpoch = broker?.epoch ?? 0
  const startMs = cpuMs()
  apply([{ type: 'broker-fenced', brokerId: 1, brokerEpoch, ruleVersion: 1 }])
  const appliedMs = Math.round((cpuMs() - startMs) * 10) / 10
  const changes = [...image.changedPartitions(image.takeChanges())].length
  const tookMs = Math.round((cpuMs() - startMs) * 10) / 10
  say('  applied', { appliedMs, withChangesMs: tookMs, changes })
})
await snapshots.stop()
await again.stop()
rmSync(root, { recursive: true, force: true })
