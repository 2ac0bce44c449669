/**
 * What travels in the two lanes between main and a shard. Hot messages are fixed little-endian
 * layouts, written and read in place; the rest is a control message in msgpackr.
 *
 * A token is a u32 that the asking side chose; the answer carries it back. Payload bytes never
 * travel here: a message names an extent by (offset, length, generation) in an arena.
 *
 *   APPEND     0 token u32 │ 4 handle u32 │ 8 offset u32 │ 12 length u32 │ 16 generation u32
 *             20 leaderEpoch i32 │ 24 extentOffset u32 │ 28 flags u32
 *   READ       0 token u32 │ 4 handle u32 │ 8 fetchOffset f64 │ 16 bytesMax u32 │ 20 flags u32
 *             24 extent capacity wanted at most u32
 *   REPLICA_READ  as READ up to byte 24 │ 24 replicaId i32 │ 28 currentLeaderEpoch i32
 *             32 replicaEpoch f64 │ 40 followerLogStart f64 │ 48 lastFetchedEpoch i32
 *   FOLLOW     as APPEND up to byte 28 │ 28 unused │ 32 leaderHighWatermark f64
 *             40 leaderLogStart f64; length 0: only these two
 *   RELEASE    0 offset u32 │ 4 generation u32
 *   UNWATCH    0 token u32 │ 4 handle u32
 *   CONTROL    0 token u32 │ 4 length u32 │ 8 msgpackr bytes
 *
 *   APPENDED   0 token u32 │ 4 errorCode i32 │ 8 baseOffset f64 │ 16 logStartOffset f64
 *             24 appendTimeMs f64 (−1: CreateTime)
 *   READ_DONE  0 token u32 │ 4 errorCode i32 │ 8 highWatermark f64 │ 16 lastStableOffset f64
 *             24 logStartOffset f64 │ 32 offset u32 │ 36 length u32
 *             40 generation u32 │ 44 flags u32 │ 48 divergingEndOffset f64
 *             56 divergingEpoch i32 (both −1: the logs do not part)
 *   FOLLOWED   0 token u32 │ 4 errorCode i32 │ 8 logEndOffset f64 │ 16 highWatermark f64
 *             24 logStartOffset f64; the extent is free
 *   WAKE       0 token u32
 *   WRITTEN    0 token u32: an append whose acknowledgement waits; its extent is free
 *   REPLY      0 token u32 │ 4 length u32 │ 8 msgpackr bytes
 *   EVENT      0 unused u32 │ 4 length u32 │ 8 msgpackr bytes
 */

// Main to shard.
export const APPEND = 1
export const APPEND_BYTES = 32
export const READ = 2
export const READ_BYTES = 32
export const RELEASE = 3
export const RELEASE_BYTES = 8
export const UNWATCH = 4
export const UNWATCH_BYTES = 8
export const CONTROL = 5
export const CONTROL_HEADER_BYTES = 8
export const FOLLOW = 6
export const FOLLOW_BYTES = 48
export const REPLICA_READ = 7
export const REPLICA_READ_BYTES = 56

// Shard to main.
export const APPENDED = 16
export const APPENDED_BYTES = 32
export const READ_DONE = 17
export const READ_DONE_BYTES = 64
export const WAKE = 18
export const REPLY = 19
export const EVENT = 20
export const WRITTEN = 21
export const FOLLOWED = 22
export const FOLLOWED_BYTES = 32
/** WAKE and WRITTEN. */
export const TOKEN_BYTES = 8

// Flags of APPEND. They mean something where a partition has several replicas.
/** acks=all: acknowledged once all in-sync replicas have it; else once it counts here. */
export const APPEND_ALL = 1

// Flags of READ and REPLICA_READ.
/** The first batch comes whole even when it is larger than bytesMax (KIP-74). */
export const READ_MIN_ONE_BATCH = 1
/** When nothing lies at fetchOffset yet, a WAKE with the same token follows once something does. */
export const READ_WATCH = 2
/** Reads up to the log end instead of the high watermark: the broker's own logs. */
export const READ_TO_LOG_END = 4
/** A consumer that may read from a replica that follows (KIP-392). */
export const READ_FROM_FOLLOWER = 8
/** Of a follower: what it copies counts for a throttle. It is in no ISR. */
export const READ_THROTTLED = 16
/** It was read before, and could not be used: everything is looked at. */
export const READ_VERIFY = 32

// Flags of READ_DONE.
/** There is data, but its first batch is larger than bytesMax. */
export const READ_TOO_SMALL = 1
/** The watch that was asked for is set. */
export const READ_WATCHING = 2
/** There is data, but no egress memory for it now: ask again later. */
export const READ_NO_MEMORY = 4
/** Of a REPLICA_READ: no data, but a high watermark that the follower does not know: answer it. */
export const READ_NEWS = 8
