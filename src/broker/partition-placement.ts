import { assert } from '../base/assert.ts'
import { type Uuid, uuidToHex } from '../base/uuid.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { DirectoryCondition } from './directory-states.ts'

/**
 * Which shard owns which partition, and which log directory a new one goes to. The map to shards is
 * made anew at every start (core counts change); the directory is part of the metadata.
 */
export class PartitionPlacement {
  /** Those that were opened at start. */
  readonly directories: ReadonlyMap<Uuid, string>
  readonly #conditionOf: (path: string) => DirectoryCondition
  #shardByHandle = new Uint8Array(1024)
  readonly #weights: number[]
  readonly #partitionsByDirectory = new Map<Uuid, number>()
  /** Paths by ids of directories that this broker does not have any more. */
  readonly #standIns = new Map<Uuid, string>()

  constructor(parts: {
    shards: number
    directories: ReadonlyMap<Uuid, string>
    conditionOf: (path: string) => DirectoryCondition
  }) {
    const { shards, directories } = parts
    assert(shards > 0 && shards <= 256)
    this.directories = directories
    this.#conditionOf = parts.conditionOf
    this.#weights = new Array(shards).fill(0)
    for (const id of directories.keys()) this.#partitionsByDirectory.set(id, 0)
  }

  shardOf(handle: number): number {
    return this.#shardByHandle[handle] as number
  }

  /**
   * Gives a partition to the shard that has least. Called with the partitions of a start in order
   * of falling size, and with each new one; `bytes` is what its log holds.
   */
  assign(handle: number, bytes: number): number {
    let shard = 0
    for (let i = 1; i < this.#weights.length; i++) {
      if ((this.#weights[i] as number) < (this.#weights[shard] as number)) shard = i
    }
    // An empty partition weighs something too, so that new ones spread.
    this.#weights[shard] = (this.#weights[shard] as number) + bytes + NEW_PARTITION_WEIGHT
    this.#put(handle, shard)
    return shard
  }

  /** The path of a directory; of one that was not found at start a name that nothing has. */
  pathOf(id: Uuid): string {
    return this.directories.get(id) ?? this.#standIns.get(id) ?? missingPath(id)
  }

  /** It is there, or something stands for it. */
  isPlaced(id: Uuid): boolean {
    return this.directories.has(id) || this.#standIns.has(id)
  }

  /** What the metadata says to be in `id`, which this broker does not have, is in `path`. */
  standIn(id: Uuid, path: string): void {
    assert(!this.isPlaced(id))
    this.#standIns.set(id, path)
  }

  /** The directory that stands for one that this broker does not have; null when none does. */
  standsFor(id: Uuid): Uuid | null {
    const path = this.#standIns.get(id)
    if (path === undefined) return null
    for (const [own, ownPath] of this.directories) if (ownPath === path) return own
    return null
  }

  /** The directory has failed, or was not found at start. */
  isOffline(id: Uuid): boolean {
    return this.#conditionOf(this.pathOf(id)) === 'offline'
  }

  /**
   * The directory with the fewest partitions, for a new one: one that takes writes, else one that
   * may do so again. Throws BrokerError when all are offline.
   */
  chooseDirectory(): Uuid {
    const chosen = this.#fewest('online') ?? this.#fewest('short')
    if (chosen === null) {
      const action = 'place a partition: every log directory is offline'
      throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, action)
    }
    this.countDirectory(chosen)
    return chosen
  }

  get areAllOffline(): boolean {
    return (this.#fewest('online') ?? this.#fewest('short')) === null
  }

  #fewest(condition: DirectoryCondition): Uuid | null {
    let chosen: Uuid | null = null
    let fewest = Infinity
    for (const [id, count] of this.#partitionsByDirectory) {
      if (count >= fewest || this.#conditionOf(this.pathOf(id)) !== condition) continue
      fewest = count
      chosen = id
    }
    return chosen
  }

  countDirectory(id: Uuid): void {
    const count = this.#partitionsByDirectory.get(id)
    if (count !== undefined) this.#partitionsByDirectory.set(id, count + 1)
  }

  #put(handle: number, shard: number): void {
    if (handle >= this.#shardByHandle.length) {
      const larger = new Uint8Array(Math.max(handle + 1, this.#shardByHandle.length * 2))
      larger.set(this.#shardByHandle)
      this.#shardByHandle = larger
    }
    this.#shardByHandle[handle] = shard
  }
}

/** Of a partition in its log directory, as Kafka would name it but for the topic's id. */
export function folderOf(topicId: Uuid, partition: number): string {
  return `${uuidToHex(topicId)}-${partition}`
}

/** What stands for the path of a directory that was not found at start. */
export function missingPath(id: Uuid): string {
  return `(missing directory ${id})`
}

const NEW_PARTITION_WEIGHT = 1024 * 1024
