import { closeSync, constants, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { loadNative } from '../base/native.ts'
import { isUuid, randomUuid, type Uuid } from '../base/uuid.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { checkpointKey, readCheckpoints, removeCleanMarks } from '../storage/checkpoint.ts'
import { systemCode } from '../storage/file-io.ts'
import type { Files } from '../storage/files.ts'
import type { LogHint } from '../storage/log-types.ts'
import { LOSS_MARK } from '../storage/loss-mark.ts'
import { DiskReserve } from './disk-reserve.ts'

/**
 * The directories of `log.dirs` at start: locked against a second broker, identified by
 * `meta.properties` (Kafka's format, version 1), and with what their checkpoints know. Runs on main
 * before any shard exists.
 */
export interface LogDirectories {
  readonly clusterId: Uuid
  /** Path by directory id, in the order of the configuration. */
  readonly paths: ReadonlyMap<Uuid, string>
  /** The directory that holds the metadata log, wherever it stands in `log.dirs`. */
  readonly metadataPath: string
  readonly metadataId: Uuid
  /** The last stop left nothing to recover. */
  readonly wasClosedInOrder: boolean
  /** What was acknowledged may be missing, though the machine went on: see loss-mark.ts. */
  readonly hasLost: boolean
  /** The cluster has been told that. */
  forgetLoss(): void
  /** By path, of those in `paths`; given back to a disk that is full. */
  readonly reserves: ReadonlyMap<string, DiskReserve>
  /** Directories that cannot be used, by path, with the reason. */
  readonly offline: ReadonlyMap<string, string>
  /** Those of `paths` that an existing cluster has not used before, by id. */
  readonly fresh: ReadonlyMap<Uuid, string>
  /** Makes the fresh ones the cluster's. Throws BrokerError. */
  adoptFresh(): void
  hintFor(topicId: Uuid, partition: number): LogHint | null
  /** Unlocks the directories. */
  release(): void
}

const META = 'meta.properties'
const LOCK = '.lock'

/**
 * A directory that cannot be used is left out as long as the others suffice: with the one that
 * holds the metadata log. Throws BrokerError.
 */
export function openLogDirectories(
  files: Files,
  paths: readonly string[],
  parts: {
    nodeId: number
    /** What the directories must belong to; null: whatever they say. */
    clusterId?: Uuid | null
    /** Of directories that are new; null: a random one. */
    newClusterId?: Uuid | null
    onWarning: (message: string) => void
  },
): LogDirectories {
  const { nodeId } = parts
  const locks: number[] = []
  const byId = new Map<Uuid, string>()
  const hints = new Map<string, LogHint>()
  let clusterId: Uuid | null = null
  let metadataId: Uuid | null = null
  const reserves = new Map<string, DiskReserve>()
  const failures = new Map<string, unknown>()
  const metas: { path: string; meta: Meta | null }[] = []
  for (const path of paths) {
    try {
      files.makeDirectory(path)
      const reserve = new DiskReserve(files, path)
      reserve.releaseIfFull()
      const meta = readMeta(path)
      locks.push(lock(path))
      metas.push({ path, meta })
      reserves.set(path, reserve)
    } catch (error) {
      if (error instanceof DirectoryRefused) throw error
      failures.set(path, error)
    }
  }
  const isNew = metas.every(({ meta }) => meta === null)
  // Another disk in its place would get a metadata log of its own, and the cluster two of them.
  for (const [path, error] of failures) if (isNew) throw unusable(path, error)
  for (const { path, meta } of metas) {
    if (meta === null) continue
    if (meta.nodeId !== nodeId) {
      const fix = 'set node.id to that, or use another directory'
      throw refused(`use ${path}: it belongs to node ${meta.nodeId}, this is ${nodeId}; ${fix}`)
    }
    clusterId ??= meta.clusterId
    if (meta.clusterId !== clusterId) {
      throw refused(`use ${path}: it belongs to cluster ${meta.clusterId}, others to ${clusterId}`)
    }
    metadataId ??= meta.metadataId
  }
  const fresh = new Map<Uuid, string>()
  const metaOf = (directoryId: Uuid): Meta => {
    return { nodeId, clusterId: cluster, directoryId, metadataId: metadataId as Uuid }
  }
  const asked = parts.clusterId ?? null
  if (asked !== null && clusterId !== null && asked !== clusterId) {
    const fix = 'leave --cluster-id out, or use other directories'
    throw refused(`start: its directories belong to cluster ${clusterId}, not to ${asked}; ${fix}`)
  }
  const cluster = clusterId ?? asked ?? parts.newClusterId ?? randomUuid()
  for (const { path, meta } of metas) {
    const id = meta?.directoryId ?? randomUuid()
    if (byId.has(id)) throw refused(`use ${path}: it is a copy of ${byId.get(id)}`)
    byId.set(id, path)
    metadataId ??= id
    try {
      if (meta === null) {
        if (isNew) writeMeta(files, path, metaOf(id))
        else fresh.set(id, path)
        continue
      }
      for (const [key, hint] of readCheckpoints(files, path, parts.onWarning)) hints.set(key, hint)
      removeCleanMarks(files, path)
    } catch (error) {
      if (id === metadataId) throw unusable(path, error)
      failures.set(path, error)
      byId.delete(id)
    }
  }
  const metadataPath = metadataId === null ? undefined : byId.get(metadataId)
  if (metadataPath === undefined) {
    // An empty cluster in its place would orphan every partition of the others.
    for (const [path, error] of failures) throw unusable(path, error)
    throw refused(
      `start: the directory that holds the metadata log (directory.id ${metadataId}) is not among ` +
        'log.dirs; name all directories that this broker had',
    )
  }
  return {
    clusterId: cluster,
    paths: byId,
    metadataPath,
    metadataId: metadataId as Uuid,
    wasClosedInOrder: hints.size > 0 && [...hints.values()].every(({ clean }) => clean),
    hasLost: [...byId.values()].some((path) => files.exists(join(path, LOSS_MARK))),
    forgetLoss: () => {
      for (const path of byId.values()) {
        try {
          files.remove(join(path, LOSS_MARK))
        } catch (error) {
          // It stays: the next start says once more that something may be lost.
          if (!(error instanceof BrokerError)) throw error
        }
      }
    },
    reserves,
    fresh,
    adoptFresh: () => {
      for (const [id, path] of fresh) writeMeta(files, path, metaOf(id))
    },
    offline: new Map([...failures].map(([path, error]) => [path, unusable(path, error).message])),
    hintFor: (topicId, partition) => hints.get(checkpointKey(topicId, partition)) ?? null,
    release: () => {
      for (const fd of locks.splice(0)) closeSync(fd)
    },
  }
}

interface Meta {
  readonly nodeId: number
  readonly clusterId: Uuid
  readonly directoryId: Uuid
  /** The directory that holds the metadata log. */
  readonly metadataId: Uuid
}

function readMeta(path: string): Meta | null {
  let text: string
  try {
    text = readFileSync(join(path, META), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, `read ${join(path, META)}`, error)
  }
  const fields = new Map(
    text
      .split('\n')
      .filter((line) => line.includes('=') && !line.startsWith('#'))
      .map((line) => line.split('=', 2) as [string, string]),
  )
  const nodeId = Number(fields.get('node.id'))
  const clusterId = fields.get('cluster.id')?.trim() ?? ''
  const directoryId = fields.get('directory.id')?.trim() ?? ''
  const metadataId = fields.get('metadata.directory.id')?.trim() ?? ''
  const areIds = isUuid(directoryId) && isUuid(metadataId)
  if (!Number.isInteger(nodeId) || clusterId === '' || !areIds) {
    throw refused(`use ${path}: its ${META} is damaged; restore it, or use another directory`)
  }
  return { nodeId, clusterId, directoryId, metadataId }
}

/** Durable before anything else is written below the directory. */
function writeMeta(files: Files, path: string, meta: Meta): void {
  const temporary = join(path, `${META}.tmp`)
  const lines = [
    'version=1',
    `node.id=${meta.nodeId}`,
    `cluster.id=${meta.clusterId}`,
    `directory.id=${meta.directoryId}`,
    `metadata.directory.id=${meta.metadataId}`,
  ]
  writeFileSync(temporary, `${lines.join('\n')}\n`, { flush: true })
  files.rename(temporary, join(path, META))
  files.syncDirectory(path)
  try {
    files.syncDirectory(dirname(path))
  } catch {
    // A parent that this user may not open was not made by this broker either.
  }
}

/**
 * Keeps other brokers out while this process lives: the kernel's lock where the addon is there,
 * else the owner's process id in the lock file.
 */
function lock(path: string): number {
  const file = join(path, LOCK)
  const addon = loadNative()
  const fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o644)
  const inUse = (owner: string): BrokerError =>
    refused(`use ${path}: process ${owner} uses it; stop that broker, or use another directory`)
  const owner = readFileSync(file, 'utf8').trim()
  if (addon !== null ? !addon.tryLockFile(fd) : isAlive(owner)) {
    closeSync(fd)
    throw inUse(owner)
  }
  // In place: the next start on a full disk has room for it.
  const text = `${process.pid}\n`.padStart(OWNER_BYTES)
  try {
    writeSync(fd, text, 0)
  } catch (error) {
    // The kernel's lock holds without it.
    if (addon === null) throw error
  }
  return fd
}

/** A process id and a line feed, with spaces before it. */
const OWNER_BYTES = 12

function isAlive(owner: string): boolean {
  const pid = Number(owner)
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false
  try {
    process.kill(pid, 0)
    // A process id may have been given to something else since: only a Node process is a broker.
    return /node|millrace|MainThread/.test(readFileSync(`/proc/${pid}/comm`, 'utf8'))
  } catch {
    return false
  }
}

/** Not a failing disk: somebody has to decide something. */
class DirectoryRefused extends BrokerError {}

function refused(action: string): BrokerError {
  return new DirectoryRefused(ErrorCode.KAFKA_STORAGE_ERROR, action)
}

const REMEDIES: Readonly<Record<string, string>> = {
  EROFS: 'it is on a read-only file system; mount it writable, or use another directory',
  EACCES: 'this user may not write there; change its owner or mode, or use another directory',
  EPERM: 'this user may not write there; change its owner or mode, or use another directory',
  ENOTDIR: 'a part of the path is no directory; use another directory',
  EEXIST: 'it is no directory; use another directory',
  ENOSPC: 'its disk is full; free some space there',
  EDQUOT: 'its disk quota is used up; free some space there',
  EIO: 'its disk fails; replace it, or take the directory out of log.dirs',
}

function unusable(path: string, error: unknown): BrokerError {
  const remedy = REMEDIES[systemCode(error)]
  const action = `use ${path} (log.dirs)${remedy === undefined ? '' : `: ${remedy}`}`
  return new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, action, error)
}
