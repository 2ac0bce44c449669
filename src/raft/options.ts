/** The knobs of a quorum; times in milliseconds. */
export interface RaftOptions {
  /** A leader says that it is there so often. */
  readonly heartbeatMs: number
  /** A follower that hears nothing for a random time between these two asks for votes. */
  readonly electionTimeoutMsMin: number
  readonly electionTimeoutMsMax: number
  /** A leader that a majority has not answered for so long gives up (Raft dissertation, 6.2). */
  readonly checkQuorumMs: number
  /** Bytes of entries in one message; one entry may have more. */
  readonly appendBytesMax: number
  /** Messages with entries that one follower has not answered. */
  readonly inFlightMax: number
  /** Of a leader's entries that are not committed, or not flushed here. */
  readonly openBytesMax: number
  /** After so long a part of a snapshot that is not answered is sent again. */
  readonly snapshotRetryMs: number
  /** Of the newest entries, in memory. */
  readonly recentBytesMax: number
  /** An observer that says nothing for so long is forgotten. */
  readonly observerTimeoutMs: number
  readonly observersMax: number
}

export const RAFT_DEFAULTS: RaftOptions = {
  heartbeatMs: 75,
  electionTimeoutMsMin: 300,
  electionTimeoutMsMax: 500,
  checkQuorumMs: 750,
  appendBytesMax: 1024 * 1024,
  inFlightMax: 16,
  openBytesMax: 64 * 1024 * 1024,
  snapshotRetryMs: 2000,
  recentBytesMax: 32 * 1024 * 1024,
  observerTimeoutMs: 30_000,
  observersMax: 10_000,
}
