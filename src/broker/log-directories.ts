import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { loadNative } from '../base/native.ts'
import { isUuid, randomUuid, type Uuid } from '../base/uuid.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { checkpointKey, readCheckpoints, removeCleanMarks } from '../storage/checkpoint.ts'
import type { Files } from '../storage/files.ts'
import type { LogHint } from '../storage/log-types.ts'

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
  hintFor(topicId: Uuid, partition: number): LogHint | null
  /** Unlocks the directories. */
  release(): void
}

const META = 'meta.properties'
const LOCK = '.lock'

export function openLogDirectories(
  files: Files,
  paths: readonly string[],
  parts: { nodeId: number; onWarning: (message: string) => void },
): LogDirectories {
  const { nodeId } = parts
  const locks: number[] = []
  const byId = new Map<Uuid, string>()
  const hints = new Map<string, LogHint>()
  let clusterId: Uuid | null = null
  let metadataId: Uuid | null = null
  const metas = paths.map((path) => {
    files.makeDirectory(path)
    locks.push(lock(path))
    return { path, meta: readMeta(path) }
  })
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
  clusterId ??= randomUuid()
  for (const { path, meta } of metas) {
    const id = meta?.directoryId ?? randomUuid()
    if (byId.has(id)) throw refused(`use ${path}: it is a copy of ${byId.get(id)}`)
    byId.set(id, path)
    metadataId ??= id
    if (meta === null) {
      writeMeta(files, path, { nodeId, clusterId, directoryId: id, metadataId })
      continue
    }
    for (const [key, hint] of readCheckpoints(files, path, parts.onWarning)) hints.set(key, hint)
    removeCleanMarks(files, path)
  }
  const metadataPath = metadataId === null ? undefined : byId.get(metadataId)
  if (metadataPath === undefined) {
    // An empty cluster in its place would orphan every partition of the others.
    throw refused(
      `start: the directory that holds the metadata log (directory.id ${metadataId}) is not among ` +
        'log.dirs; name all directories that this broker had',
    )
  }
  return {
    clusterId,
    paths: byId,
    metadataPath,
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
  const fd = openSync(file, 'a+')
  const inUse = (owner: string): BrokerError =>
    refused(`use ${path}: process ${owner} uses it; stop that broker, or use another directory`)
  const owner = readFileSync(file, 'utf8').trim()
  if (addon !== null ? !addon.tryLockFile(fd) : isAlive(owner)) {
    closeSync(fd)
    throw inUse(owner)
  }
  writeFileSync(file, `${process.pid}\n`)
  return fd
}

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

function refused(action: string): BrokerError {
  return new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, action)
}
