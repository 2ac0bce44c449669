import type { LaneWriter } from '../ring/lane.ts'
import * as layout from './messages-layout.ts'

/**
 * Main's hot requests to a shard, written into its lane as `messages-layout.ts` says. Each returns
 * false when the lane has no room, and has then written nothing.
 */
export interface AppendRequest {
  readonly handle: number
  /** The run of batches, inside the extent. */
  readonly offset: number
  readonly length: number
  readonly extentOffset: number
  readonly generation: number
  readonly leaderEpoch: number
  /** APPEND_ALL or 0 (default). */
  readonly flags?: number
}

/** Batches of a leader, for a partition that follows or is raw; length 0: only news of it. */
export interface FollowRequest extends Omit<AppendRequest, 'flags'> {
  readonly leaderHighWatermark: number
  readonly leaderLogStart: number
}

/** A fetch of a follower. Of `flags` READ_MIN_ONE_BATCH, READ_WATCH, READ_THROTTLED count. */
export interface ReplicaReadRequest extends ReadRequest {
  readonly replicaId: number
  /** Of its broker's registration. */
  readonly replicaEpoch: number
  readonly currentLeaderEpoch: number
  /** Of the follower's last record; −1: none, or not told. */
  readonly lastFetchedEpoch: number
  readonly followerLogStart: number
}

export interface ReadRequest {
  readonly handle: number
  readonly fetchOffset: number
  readonly bytesMax: number
  readonly flags: number
}

export class RequestWriter {
  readonly #lane: LaneWriter

  constructor(lane: LaneWriter) {
    this.#lane = lane
  }

  append(token: number, request: AppendRequest): boolean {
    const at = this.#lane.claim(layout.APPEND, layout.APPEND_BYTES)
    if (at < 0) return false
    this.#putRun(at, token, request)
    this.#lane.view.setUint32(at + 28, request.flags ?? 0, true)
    return true
  }

  follow(token: number, request: FollowRequest): boolean {
    const at = this.#lane.claim(layout.FOLLOW, layout.FOLLOW_BYTES)
    if (at < 0) return false
    this.#putRun(at, token, request)
    const view = this.#lane.view
    view.setUint32(at + 28, 0, true)
    view.setFloat64(at + 32, request.leaderHighWatermark, true)
    view.setFloat64(at + 40, request.leaderLogStart, true)
    return true
  }

  #putRun(at: number, token: number, request: Omit<AppendRequest, 'flags'>): void {
    const view = this.#lane.view
    view.setUint32(at, token, true)
    view.setUint32(at + 4, request.handle, true)
    view.setUint32(at + 8, request.offset, true)
    view.setUint32(at + 12, request.length, true)
    view.setUint32(at + 16, request.generation, true)
    view.setInt32(at + 20, request.leaderEpoch, true)
    view.setUint32(at + 24, request.extentOffset, true)
  }

  read(token: number, request: ReadRequest): boolean {
    const at = this.#lane.claim(layout.READ, layout.READ_BYTES)
    if (at < 0) return false
    this.#putRead(at, token, request)
    return true
  }

  replicaRead(token: number, request: ReplicaReadRequest): boolean {
    const at = this.#lane.claim(layout.REPLICA_READ, layout.REPLICA_READ_BYTES)
    if (at < 0) return false
    this.#putRead(at, token, request)
    const view = this.#lane.view
    view.setInt32(at + 24, request.replicaId, true)
    view.setInt32(at + 28, request.currentLeaderEpoch, true)
    view.setFloat64(at + 32, request.replicaEpoch, true)
    view.setFloat64(at + 40, request.followerLogStart, true)
    view.setInt32(at + 48, request.lastFetchedEpoch, true)
    return true
  }

  #putRead(at: number, token: number, request: ReadRequest): void {
    const view = this.#lane.view
    view.setUint32(at, token, true)
    view.setUint32(at + 4, request.handle, true)
    view.setFloat64(at + 8, request.fetchOffset, true)
    view.setUint32(at + 16, request.bytesMax, true)
    view.setUint32(at + 20, request.flags, true)
  }
}
