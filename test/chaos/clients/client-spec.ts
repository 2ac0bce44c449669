/**
 * What a client process is told: as JSON, its only argument. It writes its history into
 * `directory`, says `{"done": N}` on stdout about once a second (events acknowledged, or read), and
 * ends in order when its standard input ends.
 */
export interface ClientSpec {
  readonly role: 'producer' | 'consumer'
  /** The name of its history; its producers and readers are `NAME.…`. */
  readonly name: string
  readonly bootstrap: readonly string[]
  readonly topics: readonly { readonly name: string; readonly partitions: number }[]
  readonly directory: string
  /** Producers beside each other in this process. */
  readonly producers: number
  readonly batchMax: number
  /** Of all its producers. */
  readonly eventsPerSecond: number
  readonly seed: number
}
