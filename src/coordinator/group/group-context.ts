/** Who asks, and when. */
export interface Now {
  /** For deadlines: never goes back. */
  readonly monotonicMs: number
  /** For what is kept: may jump. */
  readonly wallMs: number
}

export interface GroupContext extends Now {
  readonly apiVersion: number
  readonly clientId: string
  readonly clientHost: string
}

/** Bounds and times of groups; the broker options of the same names. */
export interface GroupConfig {
  readonly groupMaxSize: number
  readonly sessionTimeoutMsMin: number
  readonly sessionTimeoutMsMax: number
  readonly initialRebalanceDelayMs: number
  readonly offsetMetadataBytesMax: number
  readonly offsetsRetentionMs: number
}
