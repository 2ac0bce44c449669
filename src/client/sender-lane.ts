/**
 * What a producer sends over one link: the queues of the partitions that are led there, in turn,
 * while the connection has room for them. `sender.ts` says which queues those are.
 */
import type { LeaderHint } from '../wire/websocket/messages.ts'
import type { Connection } from './connection.ts'
import type { Link, LinkUser } from './link.ts'
import type { PartitionQueue } from './partition-queue.ts'
import type { ProduceBatch } from './produce-batch.ts'
import {
  ProduceRequest,
  REQUEST_BYTES,
  REQUEST_PARTITIONS_MAX,
  tooLarge,
} from './produce-request.ts'
import type { CreditWaiter } from './produce-turns.ts'

export interface LaneEvents {
  /** There is a connection. */
  connected(lane: SenderLane): void
  /** Events that wait may go into batches, then `pump` is called. */
  sendMore(): void
  /** Looks after the queue at `atMs` (monotonic) or before. */
  schedule(atMs: number): void
  /** Gives the queue a producer id that it has not used; false: one is being asked for. */
  identify(queue: PartitionQueue): boolean
  /** It has nothing any more. */
  emptied(queue: PartitionQueue): void
  misplaced(queue: PartitionQueue, hint: LeaderHint | null): void
}

export class SenderLane implements LinkUser, CreditWaiter {
  readonly link: Link
  readonly #acks: 0 | 1 | -1
  readonly #events: LaneEvents
  /** Queues that may have something to send, in turn. */
  readonly ready = new Set<PartitionQueue>()

  constructor(link: Link, acks: 0 | 1 | -1, events: LaneEvents) {
    this.link = link
    this.#acks = acks
    this.#events = events
  }

  /** The open connection, or null. */
  get connection(): Connection | null {
    const { connection } = this.link
    return connection?.isOpen ? connection : null
  }

  connected(): void {
    this.#events.connected(this)
  }

  disconnected(): void {}

  sendMore(): void {
    this.#events.sendMore()
  }

  close(): void {
    this.link.detach(this)
    this.link.connection?.forget(this)
  }

  pump(): void {
    const { connection } = this
    while (this.ready.size > 0 && connection?.isOpen) {
      if (!this.#sendOne(connection)) break
    }
    if (connection?.isOpen) return
    // What waits for a connection still has its time.
    const nowMs = this.link.platform.timers.monotonicMs()
    for (const queue of this.ready) this.#events.schedule(queue.wakeMs(nowMs))
  }

  /** Sends one message; false when there is nothing that may be sent now. */
  #sendOne(connection: Connection): boolean {
    const nowMs = this.link.platform.timers.monotonicMs()
    const request = new ProduceRequest(this.#acks, this.link.platform, (queue, hint) =>
      this.#events.misplaced(queue, hint),
    )
    const chosen: PartitionQueue[] = []
    for (const queue of this.ready) {
      const batch = this.#peek(queue, connection, nowMs)
      this.#events.schedule(queue.wakeMs(nowMs))
      if (batch === null) {
        this.ready.delete(queue)
        if (queue.isEmpty) this.#events.emptied(queue)
        continue
      }
      const bytes = request.bytesWith(batch)
      if (request.count === 0) {
        if (!connection.mayProduce(this, bytes)) return false
      } else if (bytes > Math.min(REQUEST_BYTES, connection.produceBytesLeft)) break
      else if (request.envelopeBytesWith(batch) > connection.hello.limits.envelopeBytes) break
      request.add(queue, batch)
      chosen.push(queue)
      if (request.count === REQUEST_PARTITIONS_MAX) break
    }
    if (request.count === 0) return false
    // To the end: every partition gets its turn.
    for (const queue of chosen) {
      this.ready.delete(queue)
      queue.sentOver = this
    }
    request.send(connection)
    for (const queue of chosen) this.ready.add(queue)
    return true
  }

  /** What `queue` may send now and the connection can carry. */
  #peek(queue: PartitionQueue, connection: Connection, nowMs: number): ProduceBatch | null {
    // What another broker has not answered yet may be stored there: its order comes first.
    if (queue.sentOver !== this && queue.hasInFlight) return null
    for (;;) {
      const batch = queue.peek(nowMs)
      if (batch === null) {
        if (!queue.wantsIdentity || !this.#events.identify(queue)) return null
        continue
      }
      const error = tooLarge(batch, connection.hello.limits.messageBytes)
      if (error === null) return batch
      // One that may have been stored keeps its place until its time is over.
      if (batch.isNumbered) return null
      queue.rejectUnsent(batch, error)
    }
  }
}
