import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../base/clock.ts'
import { type Uuid, uuidFromHex, uuidToHex } from '../base/uuid.ts'
import { QUORUM_STATE_FILE } from '../cluster/quorum-state-file.ts'
import type { BrokerConfig } from '../config/broker-config.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { MetadataImage, type Topic } from '../metadata/image.ts'
import type { MetadataRecord } from '../metadata/records.ts'
import type { Logger, Loggers } from '../metrics/logger.ts'
import { Arena } from '../ring/arena.ts'
import { type ArenaMemory, allocateArena } from '../ring/arena-layout.ts'
import { allocateWaitCell, WaitAsyncParker, type WaitCell } from '../ring/doorbell.ts'
import type { ControlReply, OpenPartition, ShardEvent } from '../shard/control.ts'
import {
  type CompactionOptions,
  chooseTier,
  type ShardHost,
  type ShardHostOptions,
  startShards,
} from '../shard/shard-host.ts'
import { type HubWaker, ShardHub, waitAsyncWaker } from '../shard/shard-hub.ts'
import type { Tier } from '../shard/shard-thread.ts'
import { pruneCheckpoints } from '../storage/checkpoint.ts'
import type { Files } from '../storage/files.ts'
import { DEFAULT_LOG_OPTIONS, type LogHint } from '../storage/log-types.ts'
import { NodeFiles } from '../storage/node-files.ts'
import { Broker } from './broker.ts'
import type { ClusterGate } from './cluster/cluster-gate.ts'
import { ClusterMember, newClusterId } from './cluster/cluster-member.ts'
import { descriptorLimit, openLogsMax } from './descriptor-limit.ts'
import { DirectoryStates } from './directory-states.ts'
import { openBatches, openPartition } from './local-partitions.ts'
import { type LogDirectories, openLogDirectories } from './log-directories.ts'
import { logOptions } from './log-options.ts'
import { LocalMetadataStore, METADATA_BATCH_BYTES_MAX, METADATA_HANDLE } from './metadata-store.ts'
import { onShardEvent, RecoveryProgress } from './shard-events.ts'

/**
 * Brings a broker up to the point where it can serve: directories, shard threads, the metadata log,
 * partitions and their recovery. Doors are opened by whoever calls this. Runs on main.
 */
export interface StartedBroker {
  readonly broker: Broker
  readonly tier: Tier
  readonly tierReason: string
  readonly shards: number
  /** Null for a broker that is alone. */
  readonly member: ClusterMember | null
  /** Closes every log in order; the process may end after it. */
  stop(): Promise<StopReport>
}

/** What a stop in order had to do. */
export interface StopReport {
  /** Logs that were open. */
  readonly logs: number
  /** Records that were written and not on the disk yet. */
  readonly flushedRecords: number
}

export interface StartOptions {
  readonly config: BrokerConfig
  readonly loggers: Loggers
  readonly ground: BrokerGround
  /** Makes what wakes main when a shard answers; null for `Atomics.waitAsync`. */
  readonly makeWaker: (parts: WakerParts) => HubWaker | null
  /** Used by a broker of a cluster. */
  readonly gate: ClusterGate
  /** Disk and threads; the system's where it is left out. */
  readonly platform?: BrokerPlatform
  /** How late main's event loop is in all but one of a thousand looks; unknown when left out. */
  readonly ownDelayMs?: () => number
  /** Nothing may go on. */
  readonly onFailure: (error: unknown) => void
  /** A shard died: the process cannot go on. */
  readonly onCrash: (shard: number, error: Error) => void
}

/** What a broker is run on. */
export interface BrokerPlatform {
  /** Of main; a shard has its own. */
  readonly files: Files
  readonly startShards: (options: ShardHostOptions) => ShardHost
}

export type { HubWaker } from '../shard/shard-hub.ts'

export interface WakerParts {
  readonly tier: Tier
  readonly mainCell: WaitCell
  readonly allEmpty: () => boolean
  readonly pump: () => void
  /** To be put around whatever serves many sockets in one go. */
  readonly inRound: (round: () => void) => void
}

/** What doors need before the broker has started. */
export interface BrokerGround {
  readonly tier: Tier
  readonly tierReason: string
  readonly ingress: ArenaMemory
  /** Of `ingress`: main allocates, every shard sees it. */
  readonly arena: Arena
}

/** Throws when the configured tier is not there. */
export function prepareBroker(config: BrokerConfig): BrokerGround {
  const { tier, reason } = chooseTier(config.get('millrace.native.tier'))
  const ingress = allocateArena(config.get('millrace.arena.ingress.bytes'))
  const arena = new Arena(ingress, { poison: process.env.MILLRACE_CHECK_MEMORY === '1' })
  return { tier, tierReason: reason, ingress, arena }
}

/** Kafka's id of the metadata topic. */
const METADATA_TOPIC_ID: Uuid = 'AAAAAAAAAAAAAAAAAAAAAQ'
const METADATA_DIRECTORY = '__cluster_metadata-0'
const LANE_BYTES = 1024 * 1024
/** A leftover directory of a deleted topic, by its name. */
const PARTITION_DIRECTORY = /^([0-9a-f]{32})-\d+$/

function systemPlatform(): BrokerPlatform {
  return { files: new NodeFiles(), startShards }
}

export async function startBroker(options: StartOptions): Promise<StartedBroker> {
  const { config, loggers } = options
  const storageLogger = loggers('storage')
  const { tier, tierReason, ingress, arena } = options.ground
  const cores = availableParallelism()
  const { cluster } = config
  // A controller that is no broker has the metadata log and nothing else.
  const isBroker = cluster?.isBroker !== false
  const shards = isBroker
    ? config.get('millrace.shards') || (config.memory?.shards ?? Math.max(1, cores - 1))
    : 1
  const { files, startShards: start } = options.platform ?? systemPlatform()
  const directories = openLogDirectories(files, config.logDirs, {
    nodeId: config.get('node.id'),
    clusterId: cluster?.clusterId ?? null,
    newClusterId: cluster === null ? null : newClusterId(cluster),
    onWarning: (message) => storageLogger.warn({}, message),
  })
  if (cluster === null) refuseMember(directories.metadataPath)
  const states = directoryStates(directories, storageLogger)
  let member: ClusterMember | null = null
  const mainCell = allocateWaitCell()
  const progress = new RecoveryProgress(storageLogger)
  const host: ShardHost = start({
    shards,
    tier,
    pin: config.get('millrace.pin.threads') && cores > shards,
    ingress,
    egressBytes: config.get('millrace.arena.egress.bytes'),
    laneBytes: LANE_BYTES,
    mainCell,
    checkpointIntervalMs: config.get('log.flush.offset.checkpoint.interval.ms'),
    retentionCheckIntervalMs: config.get('log.retention.check.interval.ms'),
    compaction: isBroker ? compactionOptions(config) : null,
    openLogsMax: openLogsMax(descriptorLimit(), shards),
    checkMemory: process.env.MILLRACE_CHECK_MEMORY === '1',
    onEvent: (shard, event) => {
      onShardEvent({ logger: storageLogger, progress, states }, shard, event)
      if (event.kind === 'directory-failed') tellOthers(host, shard, event)
      member?.onShardEvent(event)
    },
    onCrash: options.onCrash,
  })
  const hub = new ShardHub(host)
  const allEmpty = (): boolean => host.allEmpty()
  hub.start(
    options.makeWaker({
      tier,
      mainCell,
      allEmpty,
      pump: hub.pump,
      inRound: (round) => hub.inRound(round),
    }) ?? waitAsyncWaker(new WaitAsyncParker(mainCell, allEmpty), hub.pump),
  )
  const local = new LocalMetadataStore({
    image: new MetadataImage(),
    shard: host.proxies[0]!,
    arena,
    wallMs: () => systemClock.wallMs(),
  })
  await openMetadataLog(host, directories, cluster === null ? null : 'raw')
  if (cluster !== null) {
    const { gate, onFailure } = options
    const { metadataPath } = directories
    member = await ClusterMember.open({
      ...{ config, cluster, loggers, host, arena, directories, gate, onFailure },
      ownDelayMs: options.ownDelayMs,
      withReserve: (work) => states.withReserve(metadataPath, work),
    })
  }
  const broker = new Broker({
    config,
    clock: systemClock,
    loggers,
    hub,
    store: member?.node.metadata ?? local,
    arena,
    clusterId: directories.clusterId,
    tier,
    directories: directories.paths,
    directoryStates: states,
    metadataPath: directories.metadataPath,
    ...(member === null ? {} : { placer: member.placer, opener: member.opener }),
  })
  if (member === null) {
    const removed = await replayMetadata(broker, local, directories)
    broker.configs.follow()
    forgetDeleted(broker, files)
    states.tend()
    await openPartitions(broker, directories, progress)
    removeLeftovers(broker, { files, removed })
  } else {
    await member.start(broker)
    states.tend()
  }
  broker.recovery = progress.recovered
  const tending = setInterval(() => states.tend(), TEND_INTERVAL_MS)
  tending.unref()
  if (isBroker) broker.groups.start()
  return {
    broker,
    tier,
    tierReason,
    shards,
    member,
    stop: async () => {
      clearInterval(tending)
      broker.groups.stop()
      await member?.stop()
      return stopShards(host, directories)
    },
  }
}

/** Metadata that a quorum has written is not to be changed without it. */
function refuseMember(metadataPath: string): void {
  if (!existsSync(join(metadataPath, QUORUM_STATE_FILE))) return
  const action =
    `use ${metadataPath}: it belongs to a node of a cluster; start it with --controllers, ` +
    'or use another directory'
  throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, action)
}

function compactionOptions(config: BrokerConfig): CompactionOptions | null {
  if (!config.get('log.cleaner.enable')) return null
  const limit = (config.memory?.limitBytes ?? Infinity) / 8
  return {
    threads: config.get('log.cleaner.threads'),
    intervalMs: config.get('log.cleaner.backoff.ms'),
    mapBytesMax: Math.min(config.get('log.cleaner.dedupe.buffer.size'), limit),
    mapLoadFactor: config.get('log.cleaner.io.buffer.load.factor'),
    bytesPerSecondMax: config.get('log.cleaner.io.max.bytes.per.second'),
  }
}

/** Between two looks whether a disk that was full has room again. */
const TEND_INTERVAL_MS = 1000

function directoryStates(directories: LogDirectories, logger: Logger): DirectoryStates {
  const states = new DirectoryStates(logger, () => systemClock.monotonicMs())
  for (const [path, reserve] of directories.reserves) states.add(path, reserve)
  for (const [path, reason] of directories.offline) {
    states.addOffline(path, reason)
    logger.error({ directory: path }, `a log directory is offline: ${reason}; starting without it`)
  }
  return states
}

async function openMetadataLog(
  host: ShardHost,
  directories: LogDirectories,
  role: 'raw' | null,
): Promise<void> {
  const logDirectory = directories.metadataPath
  const partition: OpenPartition = {
    handle: METADATA_HANDLE,
    topicId: METADATA_TOPIC_ID,
    partition: 0,
    logDirectory,
    directory: `${logDirectory}/${METADATA_DIRECTORY}`,
    hint: directories.hintFor(METADATA_TOPIC_ID, 0),
    leaderEpoch: 0,
    ...(role === null ? {} : { role }),
  }
  const options = {
    ...DEFAULT_LOG_OPTIONS,
    flushMessages: 1,
    batchBytesMax: METADATA_BATCH_BYTES_MAX,
  }
  await expectOk(
    host.proxies[0]!.control({ kind: 'open', recover: true, options, partitions: [partition] }),
    'open the metadata log',
  )
}

/** Replays the metadata log, and records this start. Returns the ids of deleted topics. */
async function replayMetadata(
  broker: Broker,
  store: LocalMetadataStore,
  directories: LogDirectories,
): Promise<Set<Uuid>> {
  const removed = new Set<Uuid>()
  await store.replay((record: MetadataRecord) => {
    if (record.type === 'remove-topic') removed.add(record.topicId)
  })
  await store.change((image) => ({
    records: [
      {
        type: 'broker-start',
        brokerId: broker.nodeId,
        brokerEpoch: image.brokerEpoch + 1,
        clean: wasClosedInOrder(image, directories),
      },
    ],
    result: undefined,
  }))
  return removed
}

/** True when the last stop left nothing to recover: every partition that exists was closed. */
function wasClosedInOrder(image: MetadataImage, directories: LogDirectories): boolean {
  if (image.brokerEpoch === 0) return true // The first start of all.
  if (directories.hintFor(METADATA_TOPIC_ID, 0)?.clean !== true) return false
  for (const topic of image.topicsByName.values()) {
    for (const partition of topic.handles.keys()) {
      if (directories.hintFor(topic.id, partition)?.clean !== true) return false
    }
  }
  return true
}

/** Spreads the partitions over the shards, largest first, and recovers those that need it. */
async function openPartitions(
  broker: Broker,
  directories: LogDirectories,
  progress: RecoveryProgress,
): Promise<void> {
  const rows: { topic: Topic; handle: number; hint: LogHint | null }[] = []
  for (const topic of broker.image.topicsByName.values()) {
    for (const [partition, handle] of topic.handles.entries()) {
      rows.push({ topic, handle, hint: directories.hintFor(topic.id, partition) })
    }
  }
  rows.sort((a, b) => (b.hint?.bytes ?? 0) - (a.hint?.bytes ?? 0))
  const missing = new Map<Uuid, number>()
  const groups = new Map<
    string,
    { topic: Topic; shard: number; recover: boolean; list: OpenPartition[] }
  >()
  for (const { topic, handle, hint } of rows) {
    const directoryId = broker.image.partitions.directory(handle)
    const isMissing = !broker.placement.directories.has(directoryId)
    if (isMissing) missing.set(directoryId, (missing.get(directoryId) ?? 0) + 1)
    broker.placement.countDirectory(directoryId)
    const shard = broker.placement.assign(handle, hint?.bytes ?? 0)
    const recover = !isMissing && (hint === null || !hint.clean)
    const key = `${topic.id}/${shard}/${recover}`
    const group = groups.get(key) ?? { topic, shard, recover, list: [] }
    groups.set(key, group)
    group.list.push(openPartition(broker, topic, { handle, hint }))
  }
  const opened: Promise<void>[] = []
  for (const [id, count] of missing) opened.push(...failMissing(broker, id, count))
  if (missing.size === 0) directories.adoptFresh()
  else leaveFresh(broker, directories)
  for (const { topic, shard, recover, list } of groups.values()) {
    if (recover) progress.expect(list.length)
    const options = logOptions(broker.topicConfig(topic), broker.config)
    for (const partitions of openBatches(list)) {
      const reply = broker.hub.host.proxies[shard]!.control({
        kind: 'open',
        recover,
        options,
        partitions,
      })
      opened.push(expectOk(reply, `open the partitions of "${topic.name}"`))
    }
  }
  await Promise.all(opened)
  progress.finish()
}

/** Partitions of a directory that was not found are known, and answer KAFKA_STORAGE_ERROR. */
function failMissing(broker: Broker, id: Uuid, partitions: number): Promise<void>[] {
  const logDirectory = broker.placement.pathOf(id)
  const message = `no directory of log.dirs has directory.id ${id}; start with it to have it back`
  broker.directoryStates.addOffline(logDirectory, message)
  broker
    .loggers('storage')
    .error({ directory: id, partitions }, `${partitions} partitions are offline: ${message}`)
  const request = { kind: 'fail-directory', logDirectory, message } as const
  return broker.hub.host.proxies.map((proxy) => expectOk(proxy.control(request), 'start'))
}

/**
 * A directory that is new while another is missing is perhaps that one, without its disk mounted:
 * what would be written there would be hidden by the disk later.
 */
function leaveFresh(broker: Broker, directories: LogDirectories): void {
  for (const path of directories.fresh.values()) {
    const reason = `it is empty while another directory is missing; is its disk mounted?`
    directories.reserves.get(path)?.release()
    broker.directoryStates.addOffline(path, reason)
    broker.loggers('storage').error({ directory: path }, `a log directory is not used: ${reason}`)
  }
}

/** Checkpoints need not remember what metadata says was deleted. */
function forgetDeleted(broker: Broker, files: Files): void {
  for (const path of broker.placement.directories.values()) {
    pruneCheckpoints(files, path, (topicId, partition) => {
      if (topicId === METADATA_TOPIC_ID) return true
      return broker.topicById(topicId)?.handles[partition] !== undefined
    })
  }
}

/** A topic was deleted but the broker died before its files were: they go now. */
function removeLeftovers(
  broker: Broker,
  parts: { files: Files; removed: ReadonlySet<Uuid> },
): void {
  for (const path of broker.placement.directories.values()) {
    for (const name of parts.files.list(path)) {
      const match = PARTITION_DIRECTORY.exec(name)
      if (match === null) continue
      const topicId = uuidFromHex(match[1] as string)
      if (broker.topicById(topicId) !== undefined) continue
      if (parts.removed.has(topicId)) parts.files.removeDirectory(`${path}/${name}`)
      else {
        broker
          .loggers('storage')
          .warn(
            { directory: `${path}/${name}` },
            `the metadata log does not know topic ${uuidToHex(topicId)}; its files are left alone`,
          )
      }
    }
  }
}

async function stopShards(host: ShardHost, directories: LogDirectories): Promise<StopReport> {
  const replies = await Promise.all(
    host.proxies.map((proxy) => proxy.control({ kind: 'shutdown' })),
  )
  const report = { logs: 0, flushedRecords: 0 }
  for (const reply of replies) {
    if (reply.kind !== 'closed') continue
    report.logs += reply.logs
    report.flushedRecords += reply.flushedRecords
  }
  await host.join()
  directories.release()
  return report
}

async function expectOk(reply: Promise<ControlReply>, action: string): Promise<void> {
  const answer = await reply
  if (answer.kind === 'ok') return
  const message = answer.kind === 'failed' ? answer.message : answer.kind
  throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, `${action}: ${message}`)
}

/** A directory that failed under one shard is offline for all of them. */
function tellOthers(
  host: ShardHost,
  shard: number,
  event: Extract<ShardEvent, { kind: 'directory-failed' }>,
): void {
  const { logDirectory, message } = event
  for (const proxy of host.proxies) {
    if (proxy.index === shard) continue
    void proxy.control({ kind: 'fail-directory', logDirectory, message })
  }
}
