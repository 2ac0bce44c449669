/**
 * How a broker shares out the memory that it may use: what the defaults of its arenas and the
 * number of its shards become where the machine or a cgroup has less than they need.
 */
export interface MemoryPlan {
  /** What the broker may use in all, in bytes. */
  readonly limitBytes: number
  readonly shards: number
  readonly ingressBytes: number
  /** Of each shard. */
  readonly egressBytes: number
  /** There is less than the defaults want: heaps are kept small as well. */
  readonly isTight: boolean
}

export interface MemoryWishes {
  readonly limitBytes: number
  readonly cores: number
  /** Null: as many as fit, at most one per core less one. */
  readonly shards: number | null
  /** Null: as much as fits, at most the default. */
  readonly ingressBytes: number | null
  readonly egressBytes: number | null
}

const MIB = 1024 * 1024
/** Code, main's heap and the addon, as an idle broker has them. */
const BASE_BYTES = 96 * MIB
/** A shard's thread and heap. */
const SHARD_BYTES = 16 * MIB
const INGRESS_BYTES_MAX = 256 * MIB
const INGRESS_BYTES_MIN = 16 * MIB
const EGRESS_BYTES_MAX = 64 * MIB
const EGRESS_BYTES_MIN = 4 * MIB
/** The rest is for heaps that grow under load, and for pages on their way to the disk. */
const ARENAS_SHARE = 1 / 2
const INGRESS_SHARE = 3 / 4
/** A further shard is worth its memory from here on. */
const BYTES_PER_SHARD = 128 * MIB

/** The plan, or why the memory is too little for any. */
export function planMemory(wishes: MemoryWishes): MemoryPlan | string {
  const { limitBytes, cores } = wishes
  const fitting = Math.max(1, Math.floor((limitBytes - BASE_BYTES) / BYTES_PER_SHARD))
  const shards = wishes.shards ?? Math.min(Math.max(1, cores - 1), fitting)
  const needed = neededBytes(shards)
  if (limitBytes < needed) {
    return (
      `${toMib(limitBytes)} MiB of memory are too little: a broker with ` +
      `${shards === 1 ? '1 shard' : `${shards} shards`} needs ${toMib(needed)} MiB ` +
      '(the limit is that of the cgroup, or the memory of the machine)'
    )
  }
  const spare = limitBytes - BASE_BYTES - SHARD_BYTES * shards
  const arenas = spare * ARENAS_SHARE
  const ingress = clamp(arenas * INGRESS_SHARE, INGRESS_BYTES_MIN, INGRESS_BYTES_MAX)
  const egress = clamp((arenas * (1 - INGRESS_SHARE)) / shards, EGRESS_BYTES_MIN, EGRESS_BYTES_MAX)
  return {
    limitBytes,
    shards,
    ingressBytes: wishes.ingressBytes ?? ingress,
    egressBytes: wishes.egressBytes ?? egress,
    isTight: ingress < INGRESS_BYTES_MAX || egress < EGRESS_BYTES_MAX,
  }
}

/** What to say of arenas that somebody has set and that do not fit; null when they do. */
export function memoryWarning(plan: MemoryPlan): string | null {
  const { limitBytes, shards, ingressBytes, egressBytes } = plan
  const arenas = ingressBytes + egressBytes * shards
  const needed = BASE_BYTES + SHARD_BYTES * shards + arenas
  if (needed <= limitBytes) return null
  return (
    `the arenas (millrace.arena.ingress.bytes and, of ${shards} shards, …egress.bytes: ` +
    `${toMib(arenas)} MiB in all) and what a broker needs besides do not fit into the ` +
    `${toMib(limitBytes)} MiB that it may use: under load the system may end it`
  )
}

function neededBytes(shards: number): number {
  const arenas = INGRESS_BYTES_MIN + EGRESS_BYTES_MIN * shards
  return BASE_BYTES + SHARD_BYTES * shards + arenas / ARENAS_SHARE
}

/** In whole MiB. */
function clamp(bytes: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, Math.floor(bytes / MIB) * MIB))
}

function toMib(bytes: number): number {
  return Math.floor(bytes / MIB)
}
