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
  readonly consumer: ConsumerGroupConfig
}

/** Of groups of the new protocol; the options `group.consumer.…`. */
export interface ConsumerGroupConfig {
  readonly maxSize: number
  /** Of one group: a group may have times of its own. Milliseconds. */
  timesOf(groupId: string): {
    readonly sessionTimeoutMs: number
    readonly heartbeatIntervalMs: number
  }
  /** Names; the first is the default. Not empty. */
  readonly assignors: readonly string[]
  readonly migrationPolicy: MigrationPolicy
}

/** Which way a group that has members may go over to the other protocol. */
export type MigrationPolicy = 'disabled' | 'upgrade' | 'downgrade' | 'bidirectional'
