/**
 * What must hold in a simulated cluster, whatever happens to it:
 *
 *   what was acknowledged is read, once, where it was said to be, byte for byte
 *   what was read once stays what it was; offsets have no gap; nothing is read that nobody sent
 *   one node leads the quorum in an epoch, one node a partition in an epoch; epochs do not go back
 *   whoever leads a partition has all that was acknowledged or read
 *   below a replica's watermark its log is that of all others; its watermark does not go back
 *   images of the metadata are equal at equal offsets
 *   a node that has heard of a partition's epoch answers no fetch in one before it, and no leader
 *   counts a follower that has not heard of its epoch: what it has may not be what it says
 */
import type { SentBatch, StoredBatch } from '../batches.ts'
import { require_ } from '../violation.ts'

/** One batch as it must be for all time. */
interface Settled {
  readonly id: number
  readonly endOffset: number
}

const IMAGES_MAX = 20_000

class PartitionRecord {
  /** By base offset. */
  readonly batches = new Map<number, Settled>()
  /** Base offset by id of the batch. */
  readonly places = new Map<number, number>()
  readonly acknowledged = new Set<number>()
  /** Of those that were forgotten as well. */
  acknowledgedCount = 0
  /** What lies below was deleted, and is not known any more. */
  forgottenBelow = 0
  /** Exclusive: whoever leads has all below. */
  committedEnd = 0
  readonly leaders = new Map<number, number>()
  /** By node: the newest leader epoch that it has heard of, whichever of its processes. */
  readonly heard = new Map<number, number>()
}

export class ClusterChecker {
  readonly batches = new Map<number, SentBatch>()
  readonly count: (what: string) => void
  readonly #partitions: PartitionRecord[] = []
  readonly #producerIds = new Set<number>()
  /** By epoch of the quorum. */
  readonly #controllers = new Map<number, number>()
  readonly #images = new Map<number, string>()
  acknowledgedBatches = 0

  constructor(partitions: number, count: (what: string) => void) {
    this.count = count
    for (let i = 0; i < partitions; i++) this.#partitions.push(new PartitionRecord())
  }

  // —— clients ——

  producerIdGiven(id: number): void {
    require_(!this.#producerIds.has(id), 'producer ids are given once', () => `${id}`)
    this.#producerIds.add(id)
  }

  sent(batch: SentBatch): void {
    this.batches.set(batch.id, batch)
  }

  acknowledged(batch: SentBatch, baseOffset: number): void {
    const record = this.#of(batch.partition)
    this.acknowledgedBatches++
    record.acknowledged.add(batch.id)
    record.acknowledgedCount++
    if (baseOffset >= 0) this.#settle(batch.partition, batch, baseOffset, 'acknowledged')
  }

  acknowledgedOf(partition: number): number {
    return this.#of(partition).acknowledgedCount
  }

  forgottenBelow(partition: number): number {
    return this.#of(partition).forgottenBelow
  }

  /** The batch that lies there, as far as that is settled. */
  batchAt(partition: number, baseOffset: number): SentBatch | null {
    const settled = this.#of(partition).batches.get(baseOffset)
    return settled === undefined ? null : (this.batches.get(settled.id) ?? null)
  }

  /**
   * No replica has it any more, every consumer has read it: of a long life not everything can be
   * kept. `mayGo` is asked of each batch whether it was old enough to be deleted.
   */
  forget(partition: number, below: number, mayGo: (batch: SentBatch) => boolean): void {
    const record = this.#of(partition)
    for (const [baseOffset, { id, endOffset }] of record.batches) {
      if (endOffset > below) continue
      const batch = this.batches.get(id)
      require_(
        batch === undefined || mayGo(batch),
        'only what is old is deleted',
        () => `partition ${partition}: batch ${id} at ${baseOffset}`,
      )
      record.batches.delete(baseOffset)
      record.places.delete(id)
      record.acknowledged.delete(id)
      this.batches.delete(id)
      this.count('batches deleted by retention')
    }
    record.forgottenBelow = Math.max(record.forgottenBelow, below)
  }

  committedEnd(partition: number): number {
    return this.#of(partition).committedEnd
  }

  read(
    partition: number,
    asked: { readonly fetchOffset: number; readonly highWatermark: number },
    batches: readonly StoredBatch[],
  ): void {
    let expected = asked.fetchOffset
    for (const { sent, baseOffset, lastOffset } of batches) {
      require_(
        sent.partition === partition,
        'a batch is read where it was sent',
        () => `${sent.id}`,
      )
      require_(
        baseOffset === expected,
        'offsets have no gap',
        () => `partition ${partition}: ${baseOffset} instead of ${expected}`,
      )
      require_(
        lastOffset < asked.highWatermark,
        'nothing above the watermark is read',
        () => `partition ${partition}: ${lastOffset} of ${asked.highWatermark}`,
      )
      expected = lastOffset + 1
      this.#settle(partition, sent, baseOffset, 'read')
      this.count('batches read')
    }
  }

  /** `least` was acknowledged, `most` is what can have been asked for. */
  committedOffset(
    where: string,
    offset: number,
    bounds: { readonly least: number; readonly most: number },
  ): void {
    require_(
      offset >= bounds.least || (offset < 0 && bounds.least === 0),
      'a committed offset stays',
      () => `${where}: ${offset}, ${bounds.least} was acknowledged`,
    )
    require_(
      offset <= bounds.most,
      'a committed offset was committed',
      () => `${where}: ${offset}, nobody was beyond ${bounds.most}`,
    )
    this.count('offsets fetched')
  }

  #settle(partition: number, batch: SentBatch, baseOffset: number, how: string): void {
    const record = this.#of(partition)
    const known = record.batches.get(baseOffset)
    const what = (): string =>
      `partition ${partition}: batch ${batch.id} is ${how} at ${baseOffset}`
    require_(
      known === undefined || known.id === batch.id,
      'what was committed stays',
      () => `${what()}, where batch ${known?.id} was`,
    )
    const place = record.places.get(batch.id)
    require_(
      place === undefined || place === baseOffset,
      'nothing is doubled',
      () => `${what()}, and was at ${place}`,
    )
    const endOffset = baseOffset + batch.recordsCount
    record.batches.set(baseOffset, { id: batch.id, endOffset })
    record.places.set(batch.id, baseOffset)
    record.committedEnd = Math.max(record.committedEnd, endOffset)
  }

  /** A node has answered a fetch in `epoch`; it had `heard` of another one before it was asked. */
  answered(partition: number, by: { node: number; epoch: number; heard: number }): void {
    const { node, epoch, heard } = by
    require_(
      epoch >= heard,
      'a fetch in an epoch that is over is refused',
      () => `partition ${partition}: node ${node} answers in epoch ${epoch}, it knew ${heard}`,
    )
  }

  // —— nodes ——

  hears(partition: number, node: number, epoch: number): void {
    const { heard } = this.#of(partition)
    if (epoch > (heard.get(node) ?? 0)) heard.set(node, epoch)
  }

  /** There is no epoch before 0. */
  heardBy(partition: number, node: number): number {
    return this.#of(partition).heard.get(node) ?? 0
  }

  /** A leader goes by what a follower has said. */
  counts(partition: number, leader: { node: number; epoch: number }, follower: number): void {
    const { node, epoch } = leader
    const heard = this.heardBy(partition, follower)
    require_(
      heard >= epoch,
      'only who has heard of an epoch counts in it',
      () =>
        `partition ${partition}: node ${node} counts node ${follower} in epoch ${epoch}, ` +
        `which knows ${heard}`,
    )
  }

  leadsQuorum(epoch: number, node: number): void {
    const known = this.#controllers.get(epoch)
    if (known === node) return
    require_(
      known === undefined,
      'one node leads the quorum in an epoch',
      () => `nodes ${known} and ${node} in epoch ${epoch}`,
    )
    this.#controllers.set(epoch, node)
    this.count('elections of a controller')
  }

  image(offset: number, digest: () => string, node: number): void {
    const now = digest()
    const known = this.#images.get(offset)
    if (known === undefined) this.#keepImage(offset, now)
    require_(
      known === undefined || known === now,
      'images are equal at equal offsets',
      () => `node ${node} at ${offset}`,
    )
  }

  /** The newest ones: nobody comes to the older ones any more. */
  #keepImage(offset: number, digest: string): void {
    this.#images.set(offset, digest)
    if (this.#images.size <= IMAGES_MAX) return
    for (const oldest of this.#images.keys()) {
      this.#images.delete(oldest)
      return
    }
  }

  /** `logEndOffset`: of its log, which must hold all that was acknowledged or read. */
  leads(partition: number, leader: { node: number; epoch: number; logEndOffset: number }): void {
    const { node, epoch, logEndOffset } = leader
    const record = this.#of(partition)
    const known = record.leaders.get(epoch)
    if (known === node) return
    require_(
      known === undefined,
      'one node leads a partition in an epoch',
      () => `partition ${partition}: nodes ${known} and ${node} in epoch ${epoch}`,
    )
    const newest = Math.max(-1, ...record.leaders.keys())
    record.leaders.set(epoch, node)
    this.count('elections of a leader')
    // One that comes late into an epoch that is over may lack what was written since.
    if (epoch < newest) return
    require_(
      logEndOffset >= record.committedEnd,
      'whoever leads has what was acknowledged',
      () =>
        `partition ${partition}: node ${node} in epoch ${epoch} ends at ${logEndOffset}, ` +
        `${record.committedEnd} is committed`,
    )
  }

  /** Below a replica's watermark. */
  replicaHas(partition: number, stored: StoredBatch, node: number): void {
    const { sent, baseOffset } = stored
    require_(
      sent.partition === partition,
      'logs agree below the watermark',
      () => `partition ${partition} of node ${node}: batch ${sent.id} of another one`,
    )
    this.#settle(partition, sent, baseOffset, `below the watermark of node ${node}`)
  }

  /** Nothing is to come any more; `readEnd` was read by a consumer, from 0 on. */
  finish(partition: number, readEnd: number): void {
    const record = this.#of(partition)
    for (const id of record.acknowledged) {
      const place = record.places.get(id)
      require_(
        place !== undefined && place < readEnd,
        'what was acknowledged is read',
        () => `partition ${partition}: batch ${id} at ${place}, ${readEnd} was read`,
      )
    }
  }

  #of(partition: number): PartitionRecord {
    return this.#partitions[partition] as PartitionRecord
  }
}
