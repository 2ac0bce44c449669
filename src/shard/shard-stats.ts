import type { ShardStats } from './control.ts'
import type { Partition } from './partition.ts'
import { bytesOfRows, PARTITION_STATS_STRIDE } from './partition-stats.ts'
import type { ShardState } from './shard-state.ts'

/**
 * What a shard says of itself and of its partitions for `/metrics`. Opens no log and touches no
 * file: of a closed log the hint knows as much. Part of the shard's turn.
 */
export function shardStats(shard: ShardState, threadCpuMicros: number): ShardStats {
  let offlinePartitions = 0
  let ledPartitions = 0
  let underReplicatedPartitions = 0
  for (const partition of shard.partitions.values()) {
    const leader = partition.replica?.leader
    if (leader != null) {
      ledPartitions++
      if (leader.inSyncReplicas.size <= leader.followers.size) underReplicatedPartitions++
    }
    if (partition.isDamaged || shard.isFailed(partition.logDirectory)) offlinePartitions++
  }
  let cacheWindowBytes = 0
  let cacheUnstartedBytes = 0
  for (const { openedLog } of shard.open) {
    if (openedLog === null) continue
    cacheWindowBytes += openedLog.cacheWindow.keptBytes
    cacheUnstartedBytes += openedLog.cacheWindow.unstartedBytes
  }
  return {
    partitions: shard.partitions.size,
    offlinePartitions,
    ledPartitions,
    underReplicatedPartitions,
    openLogs: shard.open.size,
    logBytes: shard.logBytes(),
    cacheWindowBytes,
    cacheUnstartedBytes,
    egressBytesInUse: shard.egress.bytesInUse,
    threadCpuMicros,
    turnCells: [...shard.turnTimes.cells],
    ...shard.counters,
  }
}

/** A row for each of the handles, an Int32Array's bytes. */
export function partitionRows(shard: ShardState, handleBytes: Uint8Array): Uint8Array {
  const handles = new Int32Array(handleBytes.slice().buffer)
  const rows = new Float64Array(handles.length * PARTITION_STATS_STRIDE)
  for (const [i, handle] of handles.entries()) {
    const partition = shard.partitions.get(handle)
    rows.set(partition === undefined ? UNKNOWN : rowOf(partition), i * PARTITION_STATS_STRIDE)
  }
  return bytesOfRows(rows)
}

const UNKNOWN = new Array<number>(PARTITION_STATS_STRIDE).fill(Number.NaN)

/** In the order of PARTITION_STATS_FIELDS. */
function rowOf(partition: Partition): number[] {
  const { openedLog: log, hint, recordsIn, bytesIn } = partition
  if (log !== null) {
    const { logStartOffset, logEndOffset, highWatermark, bytes } = log
    return [logStartOffset, logEndOffset, highWatermark, bytes, recordsIn, bytesIn]
  }
  if (hint === null || !hint.clean || partition.isDamaged) {
    return [Number.NaN, Number.NaN, Number.NaN, Number.NaN, recordsIn, bytesIn]
  }
  // Closed in order: all of it is durable, and seen where nobody else has it.
  const { logStartOffset, logEndOffset, bytes } = hint
  const highWatermark = hint.highWatermark ?? logEndOffset
  return [logStartOffset, logEndOffset, highWatermark, bytes, recordsIn, bytesIn]
}

/** Open logs, and their records that a close in order still has to flush. */
export function openRecords(shard: ShardState): { logs: number; flushedRecords: number } {
  let flushedRecords = 0
  for (const { openedLog } of shard.open) {
    if (openedLog !== null) flushedRecords += openedLog.logEndOffset - openedLog.recoveryPoint
  }
  return { logs: shard.open.size, flushedRecords }
}
