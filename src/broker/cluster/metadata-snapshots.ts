/**
 * Snapshots of the cluster's metadata: taken of the image while records go on being applied, loaded
 * at the start, sent to followers in parts and received from the leader. Runs on main, and lets
 * others run after a few milliseconds of all of it.
 *
 * The log keeps what lies behind the newest snapshot but one: a follower that is not far behind is
 * sent entries, and a start that finds the newest one damaged has another.
 */
import type { Clock } from '../../base/clock.ts'
import type { Quorum, QuorumSnapshots } from '../../cluster/quorum.ts'
import type { FoundSnapshot } from '../../cluster/quorum-log.ts'
import { readSnapshotFile, type SnapshotWriter } from '../../cluster/snapshot-file.ts'
import { SnapshotStore } from '../../cluster/snapshot-store.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type { MetadataImage } from '../../metadata/image.ts'
import { type Concerns, ImageLoader } from '../../metadata/image-loader.ts'
import { ImageWriter } from '../../metadata/image-writer.ts'
import { decodeSnapshotRecord, encodeSnapshotRecord } from '../../metadata/snapshot-schema.ts'
import type { Logger } from '../../metrics/logger.ts'
import type { SnapshotPart, SnapshotRead, SnapshotStore as StorePart } from '../../raft/effects.ts'
import type { SnapshotId } from '../../raft/messages.ts'
import { Turns } from '../turns.ts'
import type { ClusterMetadata } from './cluster-metadata.ts'

export interface MetadataSnapshotsParts {
  /** Of the snapshots alone. */
  readonly directory: string
  readonly image: MetadataImage
  /** Which partitions this node wants to be told of when the image is replaced. */
  readonly concerns: Concerns
  readonly options: SnapshotOptions
  readonly clock: Clock
  readonly logger: Logger
  readonly onFailure: (error: unknown) => void
}

export interface SnapshotOptions {
  /** Of records that are applied between two snapshots. */
  readonly bytesBetween: number
  /** After so long there is another one, if anything has changed; 0: never because of time. */
  readonly intervalMs: number
}

/** What there is once the node has been made. */
export interface SnapshotSubject {
  readonly quorum: () => Quorum
  readonly metadata: ClusterMetadata
  /** Drops what lies below from the log. Rejects with a BrokerError. */
  readonly dropBefore: (offset: number) => Promise<void>
}

/** Others run after so long. */
const SLICE_MS = 3
const KEPT = 2
/** After a failure to take one. */
const RETRY_MS = 60_000
const LOOK_MS = 10_000

export class MetadataSnapshots implements QuorumSnapshots {
  readonly #parts: MetadataSnapshotsParts
  readonly #store: SnapshotStore
  readonly #receiving = new Turns()
  #subject: SnapshotSubject | null = null
  #newest: FoundSnapshot | null = null
  /** Received, and not what the image is yet. */
  #loaded: { readonly snapshot: SnapshotId; readonly loader: ImageLoader } | null = null
  #timer: NodeJS.Timeout | null = null
  #taking: Promise<void> | null = null
  /** The one that was taken is durable, and the log, which may wait for its disk, is to be cut. */
  #isCutting = false
  /** Counts images that were replaced: what was begun of another one is of no use. */
  #installs = 0
  /** Of `appliedBytes`, and of the monotonic clock: when the newest snapshot was taken. */
  #bytesBefore = 0
  #takenMs: number
  #notBeforeMs = Number.NEGATIVE_INFINITY
  #sliceMs = Number.NEGATIVE_INFINITY
  #isStopped = false

  private constructor(parts: MetadataSnapshotsParts, store: SnapshotStore) {
    this.#parts = parts
    this.#store = store
    this.#takenMs = parts.clock.monotonicMs()
  }

  /** Throws BrokerError. */
  static async open(parts: MetadataSnapshotsParts): Promise<MetadataSnapshots> {
    return new MetadataSnapshots(parts, await SnapshotStore.open(parts.directory))
  }

  /** Makes the image that of the newest snapshot that is whole; null when there is none. */
  async load(): Promise<FoundSnapshot | null> {
    const { image, logger, clock } = this.#parts
    for (const snapshot of await this.#store.list()) {
      const path = this.#store.pathOf(snapshot)
      const startMs = clock.monotonicMs()
      const loader = new ImageLoader(image, () => false)
      try {
        const { voters, bytes } = await this.#read(path, snapshot, loader)
        loader.install()
        this.#newest = { snapshot, voters }
        const ms = Math.round(clock.monotonicMs() - startMs)
        const fields = { ...snapshot, bytes, ms }
        logger.info(fields, `the metadata begins with its snapshot at ${snapshot.endOffset}`)
        return this.#newest
      } catch (error) {
        loader.cancel()
        if (!(error instanceof BrokerError) || error.code !== ErrorCode.CORRUPT_MESSAGE) throw error
        logger.error({ path }, `a snapshot of the metadata is set aside: ${error.message}`)
        await this.#store.setAside(snapshot)
      }
    }
    return null
  }

  /** From here on snapshots are taken. */
  start(subject: SnapshotSubject): void {
    this.#subject = subject
    subject.metadata.onApplied(() => {
      this.#forgetLoaded()
      this.#look()
    })
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
    this.#timer.unref()
  }

  /** Resolves once nothing is being taken any more. */
  async stop(): Promise<void> {
    this.#isStopped = true
    if (this.#timer !== null) clearInterval(this.#timer)
    if (!this.#isCutting) await this.#taking
    await this.#receiving.run(() => this.#store.dropReceived()).catch(() => undefined)
  }

  // —— for the quorum ——

  newest(): SnapshotId | null {
    return this.#newest?.snapshot ?? null
  }

  async read({ epoch, snapshot, position }: SnapshotRead): Promise<SnapshotPart> {
    const newest = this.#newest
    if (newest === null || !isSame(newest.snapshot, snapshot)) {
      throw new BrokerError(ErrorCode.SNAPSHOT_NOT_FOUND, 'read a snapshot of the metadata')
    }
    const { bytes, isLast } = await this.#store.readPart(snapshot, position)
    return { epoch, snapshot, position, bytes, isLast, voters: newest.voters }
  }

  store(part: StorePart): Promise<void> {
    return this.#receiving.run(async () => {
      await this.#store.storePart(part.snapshot, part)
      if (part.isLast) await this.#onReceived(part)
    })
  }

  install(snapshot: SnapshotId): void {
    const { logger } = this.#parts
    const loaded = this.#loaded
    const subject = this.#subject
    if (subject === null || loaded === null || !isSame(loaded.snapshot, snapshot)) {
      throw new Error('a snapshot is installed that was not received')
    }
    this.#loaded = null
    this.#installs++
    loaded.loader.install()
    this.#bytesBefore = subject.metadata.appliedBytes
    this.#takenMs = this.#parts.clock.monotonicMs()
    logger.info({ ...snapshot }, `the metadata is the leader's snapshot at ${snapshot.endOffset}`)
    subject.metadata.replaced(snapshot.endOffset)
  }

  // —— receiving ——

  /** All of it is here: the image is made of it before the quorum hears of that. */
  async #onReceived({ snapshot, voters }: StorePart): Promise<void> {
    this.#loaded?.loader.cancel()
    this.#loaded = null
    const loader = new ImageLoader(this.#parts.image, this.#parts.concerns)
    try {
      await this.#read(this.#store.receivedPath(snapshot), snapshot, loader)
      await this.#store.publishReceived(snapshot)
    } catch (error) {
      loader.cancel()
      throw error
    }
    this.#loaded = { snapshot, loader }
    const newest = this.#newest?.snapshot.endOffset ?? 0
    if (snapshot.endOffset > newest) this.#newest = { snapshot, voters }
    await this.#store.keepNewest(KEPT)
  }

  async #read(path: string, snapshot: SnapshotId, loader: ImageLoader) {
    const read = await readSnapshotFile(path, snapshot, {
      onValue: (value) => loader.apply(decodeSnapshotRecord(value)),
      breathe: this.#breathe,
    })
    for (const _ of loader.compare()) await this.#breathe()
    return read
  }

  /** The log has brought what was received, so that it will not be installed. */
  #forgetLoaded(): void {
    const offset = this.#subject?.metadata.appliedOffset ?? 0
    if (this.#loaded === null || this.#loaded.snapshot.endOffset > offset) return
    this.#loaded.loader.cancel()
    this.#loaded = null
  }

  // —— taking ——

  /** Takes a snapshot if it is time for one. */
  #look(): void {
    const { clock, options, onFailure } = this.#parts
    const subject = this.#subject
    if (subject === null || this.#isStopped || this.#taking !== null) return
    const bytes = subject.metadata.appliedBytes - this.#bytesBefore
    if (bytes === 0) return
    const nowMs = clock.monotonicMs()
    if (nowMs < this.#notBeforeMs) return
    const isLate = options.intervalMs > 0 && nowMs - this.#takenMs >= options.intervalMs
    if (bytes < options.bytesBetween && !isLate) return
    this.#taking = this.take().then(
      () => {
        this.#taking = null
      },
      (error: unknown) => {
        this.#taking = null
        onFailure(error)
      },
    )
  }

  /** Takes one now, if it can be written. */
  async take(): Promise<void> {
    const { clock, logger } = this.#parts
    const subject = this.#subject
    if (subject === null) return
    const startMs = clock.monotonicMs()
    try {
      const taken = await this.#write(subject)
      if (taken === null) return
      const { endOffset } = taken
      const fields = { ...taken, ms: Math.round(clock.monotonicMs() - startMs) }
      logger.info(fields, `a snapshot of the metadata is taken, at ${endOffset}`)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      this.#notBeforeMs = clock.monotonicMs() + RETRY_MS
      logger.warn({}, `no snapshot of the metadata can be taken now: ${error.message}`)
      await this.#store.dropTaken().catch(() => undefined)
    }
  }

  async #write(subject: SnapshotSubject): Promise<(SnapshotId & { bytes: number }) | null> {
    const { image, clock } = this.#parts
    const file = await this.#store.create(clock.wallMs())
    try {
      const snapshot = await this.#walk(subject, file, image)
      if (snapshot === null) return null
      const voters = subject.quorum().votersAt(snapshot.endOffset)
      const bytes = await file.finish(snapshot, voters)
      if (this.#isObsolete(snapshot)) return null
      await this.#store.publishTaken(snapshot)
      if (this.#isObsolete(snapshot)) return null
      await this.#onTaken(subject, { snapshot, voters })
      return { ...snapshot, bytes }
    } finally {
      await file.close()
    }
  }

  /** Null when the image was replaced meanwhile, or this node stops. */
  async #walk(
    subject: SnapshotSubject,
    file: SnapshotWriter,
    image: MetadataImage,
  ): Promise<SnapshotId | null> {
    const installs = this.#installs
    let isFull = false
    const writer = new ImageWriter(image, (record) => {
      isFull = file.add(encodeSnapshotRecord(record))
    })
    try {
      while (writer.step()) {
        if (isFull) await file.drain()
        await this.#breathe()
        if (this.#isStopped || this.#installs !== installs) return null
      }
      writer.finish()
    } finally {
      writer.cancel()
    }
    // Nothing was let in between the end of the walk and here.
    const { metadata } = subject
    const endOffset = metadata.appliedOffset
    this.#bytesBefore = metadata.appliedBytes
    this.#takenMs = this.#parts.clock.monotonicMs()
    const snapshot = { endOffset, epoch: subject.quorum().epochBefore(endOffset) }
    return this.#isObsolete(snapshot) ? null : snapshot
  }

  #isObsolete({ endOffset }: SnapshotId): boolean {
    return endOffset <= (this.#newest?.snapshot.endOffset ?? 0)
  }

  async #onTaken(subject: SnapshotSubject, taken: FoundSnapshot): Promise<void> {
    const before = this.#newest
    this.#newest = taken
    await this.#store.keepNewest(KEPT)
    if (before === null) return
    const { endOffset } = before.snapshot
    subject.quorum().onSnapshotTaken(endOffset)
    if (this.#isStopped) return
    this.#isCutting = true
    try {
      await subject.dropBefore(endOffset)
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      // The next one cuts as much and more.
      const fields = { endOffset }
      this.#parts.logger.warn(fields, `the metadata log is not cut now: ${error.message}`)
    } finally {
      this.#isCutting = false
    }
  }

  /** Null when it is not time yet to let others run. */
  readonly #breathe = (): Promise<void> | null => {
    if (this.#parts.clock.monotonicMs() - this.#sliceMs < SLICE_MS) return null
    return new Promise((resolve) => {
      setImmediate(() => {
        this.#sliceMs = this.#parts.clock.monotonicMs()
        resolve()
      })
    })
  }
}

function isSame(a: SnapshotId, b: SnapshotId): boolean {
  return a.endOffset === b.endOffset && a.epoch === b.epoch
}
