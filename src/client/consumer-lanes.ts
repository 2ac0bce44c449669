/**
 * The connections that a consumer reads over: each of its partitions over the link to its leader,
 * and over another one when that changes. Shares the consumer's buffer among the partitions, as far
 * as each connection has push credits left.
 */
import { ErrorCode } from '../errors/error-code.ts'
import type { Connection } from './connection.ts'
import type { ConsumerPartition } from './consumer-partition.ts'
import { MillraceError } from './errors.ts'
import type { Link, LinkUser } from './link.ts'

class Lane implements LinkUser {
  readonly link: Link
  readonly partitions = new Set<ConsumerPartition>()
  connection: Connection | null = null
  /** Push credits of the connection that are ours, bytes. */
  reserved = 0
  readonly #onConnected: (lane: Lane) => void

  constructor(link: Link, onConnected: (lane: Lane) => void) {
    this.link = link
    this.#onConnected = onConnected
  }

  connected(connection: Connection): void {
    this.connection = connection
    this.#onConnected(this)
  }

  disconnected(): void {
    this.connection = null
    this.reserved = 0
    for (const partition of this.partitions) partition.detach()
  }

  close(): void {
    this.connection?.reservePush(-this.reserved)
    this.reserved = 0
    this.connection = null
    this.link.detach(this)
  }
}

export class ConsumerLanes {
  readonly #link: Link
  readonly #bufferBytes: number
  readonly #onFailed: (error: MillraceError) => void
  readonly #main: Lane
  readonly #lanes = new Map<Link, Lane>()
  readonly #laneOf = new Map<ConsumerPartition, Lane>()
  readonly #forgetLeaders: () => void

  constructor(link: Link, bufferBytes: number, onFailed: (error: MillraceError) => void) {
    this.#link = link
    this.#bufferBytes = bufferBytes
    this.#onFailed = onFailed
    this.#main = this.#makeLane(link)
    this.#forgetLeaders = link.leaders.onChanged(() => this.#moveAll())
  }

  /** Begins to connect. */
  start(): void {
    this.#link.attach(this.#main)
  }

  /** Whether the partition is read over another connection than the first one. */
  isElsewhere(partition: ConsumerPartition): boolean {
    const lane = this.#laneOf.get(partition)
    return lane !== undefined && lane !== this.#main
  }

  /** Reads these from now on, or as soon as there is a connection. */
  begin(added: readonly ConsumerPartition[]): void {
    const lanes = new Map<Lane, ConsumerPartition[]>()
    for (const partition of added) {
      const lane = this.#place(partition)
      const list = lanes.get(lane)
      if (list === undefined) lanes.set(lane, [partition])
      else list.push(partition)
    }
    for (const [lane, list] of lanes) this.#attach(lane, list)
  }

  /** Knows of these, but reads them only over the next connection. */
  await(partitions: readonly ConsumerPartition[]): void {
    for (const partition of partitions) this.#place(partition)
  }

  remove(partition: ConsumerPartition): void {
    this.#laneOf.get(partition)?.partitions.delete(partition)
    this.#laneOf.delete(partition)
  }

  close(): void {
    this.#forgetLeaders()
    for (const lane of this.#lanes.values()) lane.close()
  }

  // —— inside ——

  #makeLane(link: Link): Lane {
    const lane = new Lane(link, (opened) => this.#connected(opened))
    this.#lanes.set(link, lane)
    return lane
  }

  #place(partition: ConsumerPartition): Lane {
    const link = this.#link.leaders.linkFor(partition.topic, partition.partition)
    let lane = this.#lanes.get(link)
    const isNew = lane === undefined
    lane ??= this.#makeLane(link)
    lane.partitions.add(partition)
    this.#laneOf.set(partition, lane)
    if (isNew) link.attach(lane)
    return lane
  }

  #connected(lane: Lane): void {
    const { connection } = lane
    if (connection === null) return
    lane.reserved = Math.min(this.#bufferBytes, connection.pushBytesLeft)
    connection.reservePush(lane.reserved)
    const share = this.#share()
    for (const partition of lane.partitions) partition.attach(connection, share, share)
  }

  /** The others give up part of the buffer; what they were granted already counts until then. */
  #attach(lane: Lane, added: readonly ConsumerPartition[]): void {
    const { connection } = lane
    if (connection === null || added.length === 0) return
    const share = this.#share()
    for (const partition of this.#laneOf.keys()) partition.share = share
    let free = lane.reserved
    for (const partition of lane.partitions) free -= Math.max(0, partition.outstanding)
    for (const partition of added) {
      const credits = Math.max(0, Math.min(share, free))
      free -= credits
      partition.attach(connection, share, credits)
    }
  }

  /** Each partition's part of the buffer. */
  #share(): number {
    const count = this.#laneOf.size
    let bytes = this.#bufferBytes
    for (const { connection, reserved } of this.#lanes.values()) {
      if (connection !== null) bytes = Math.min(bytes, reserved)
    }
    const share = Math.floor(bytes / Math.max(1, count))
    if (share === 0 && count > 0) {
      const message = 'the connection has no push credits left for this consumer'
      this.#onFailed(new MillraceError(ErrorCode.POLICY_VIOLATION, message))
    }
    return share
  }

  /** Somebody else may lead. */
  #moveAll(): void {
    const moved: ConsumerPartition[] = []
    for (const [partition, lane] of this.#laneOf) {
      const link = this.#link.leaders.linkFor(partition.topic, partition.partition)
      if (link === lane.link) continue
      lane.partitions.delete(partition)
      partition.leave()
      moved.push(partition)
    }
    this.begin(moved)
    // Connections that nobody needs are not opened again.
    for (const [link, lane] of this.#lanes) {
      if (lane === this.#main || lane.partitions.size > 0) continue
      lane.close()
      this.#lanes.delete(link)
    }
  }
}
