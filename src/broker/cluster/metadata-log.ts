/**
 * The quorum's log as a partition of shard 0: the log code of all partitions, with offsets and
 * epochs that the quorum decides ("raw"). Runs on main. Operations reach the shard in the order of
 * the calls; an append answers once it is flushed, and those under way share a flush.
 *
 * Where the disk has no room, the log waits for some: a replica whose disk is full is a slow one,
 * which the others do not wait for, and not one that is lost.
 */
import { assert } from '../../base/assert.ts'
import { entriesOf } from '../../cluster/quorum-entries.ts'
import {
  type FoundLog,
  type FoundSnapshot,
  foundLog,
  type QuorumLog,
} from '../../cluster/quorum-log.ts'
import { BrokerError } from '../../errors/broker-error.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { bytesOf, type Entry } from '../../raft/entry.ts'
import type { Arena } from '../../ring/arena.ts'
import type { ControlRequest } from '../../shard/control.ts'
import type { ShardProxy } from '../../shard/shard-proxy.ts'
import { InternalLog } from '../internal-log.ts'
import { METADATA_HANDLE } from '../metadata-store.ts'

const READ_BYTES = 1024 * 1024
/** Of entries that go to the shard in one piece. */
const RUN_BYTES_MAX = 1024 * 1024
/** Before memory is looked for again. */
const MEMORY_RETRY_MS = 2
/** Before what the disk had no room for is written again. */
const ROOM_RETRY_MS = 200

/** A change of the log that has not come about yet. */
interface Operation {
  /** Hands it to the shard, which answers once; false when there is no memory for it now. */
  send(answered: (failure: BrokerError | null) => void): boolean
  /** It is sent alone: sent anew after others, it would mean something else. */
  readonly isAlone: boolean
  /** Nothing rests on it: it fails at once, and what comes behind it does not wait. */
  readonly mayFail: boolean
  /** What lies at and above it is of a log that is over, until it is done; Infinity: nothing. */
  readonly cutsAt: number
  failure: BrokerError | null
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class MetadataLog implements QuorumLog {
  readonly #shard: ShardProxy
  readonly #arena: Arena
  readonly #reader: InternalLog
  /** In the order of the calls: those that the shard has, those that it refused, those to come. */
  readonly #operations: Operation[] = []
  /** How many of the first ones have been sent, and how many of these are not answered. */
  #sentCount = 0
  #openCount = 0
  #isRefused = false
  /** Whether there is room shows with the first one, which goes ahead of the others. */
  #isProbing = false
  #retry: NodeJS.Timeout | null = null

  constructor(parts: { readonly shard: ShardProxy; readonly arena: Arena }) {
    this.#shard = parts.shard
    this.#arena = parts.arena
    this.#reader = new InternalLog({
      name: 'the metadata log',
      handle: METADATA_HANDLE,
      shard: parts.shard,
      arena: parts.arena,
      leaderEpoch: () => 0,
      readsToLogEnd: true,
    })
  }

  /**
   * What the log holds behind the snapshot that the start begins with. A log that does not hold the
   * snapshot is older than it, or another one: it begins anew there. Rejects with a BrokerError,
   * also when neither has the log's first records.
   */
  async find(begin: FoundSnapshot | null = null): Promise<FoundLog> {
    const startOffset = await this.#reader.logStartOffset()
    const entries = await this.#entriesFrom(startOffset)
    const found = foundLog({ startOffset, entries }, begin)
    if (found === null) {
      const why = `it begins at ${startOffset}, and no snapshot holds what was before`
      throw new BrokerError(ErrorCode.KAFKA_STORAGE_ERROR, `use the metadata log: ${why}`)
    }
    if (found.isOther) await this.reset(found.endOffset)
    return found
  }

  async #entriesFrom(startOffset: number): Promise<Entry[]> {
    const entries: Entry[] = []
    let offset = startOffset
    for (;;) {
      const bytes = await this.#reader.read(offset, READ_BYTES)
      if (bytes.length === 0) return entries
      for (const entry of entriesOf(bytes)) {
        if (entry.baseOffset < offset) continue // The batch that holds the log's start.
        entries.push(entry)
        offset = entry.endOffset
      }
    }
  }

  async append(entries: readonly Entry[]): Promise<void> {
    const runs: Promise<void>[] = []
    let from = 0
    while (from < entries.length) {
      let to = from + 1
      let bytes = (entries[from] as Entry).bytes.length
      while (to < entries.length && bytes + (entries[to] as Entry).bytes.length <= RUN_BYTES_MAX) {
        bytes += (entries[to++] as Entry).bytes.length
      }
      runs.push(this.#appendRun(entries.slice(from, to)))
      from = to
    }
    await Promise.all(runs)
  }

  truncate(offset: number): Promise<void> {
    const request = { kind: 'truncate-to', handle: METADATA_HANDLE, offset } as const
    return this.#control(request, { mayFail: false, cutsAt: offset })
  }

  reset(offset: number): Promise<void> {
    const handle = METADATA_HANDLE
    const request = { kind: 'restart-at', handle, leaderEpoch: 0, offset } as const
    return this.#control(request, { mayFail: false, cutsAt: 0 })
  }

  async read(offset: number): Promise<readonly Entry[]> {
    // A cut that waits for room has been made, for whoever asks: others must not be sent what goes.
    const end = this.#operations.reduce((least, { cutsAt }) => Math.min(least, cutsAt), Infinity)
    if (offset >= end) return []
    try {
      const bytes = await this.#reader.read(offset, READ_BYTES)
      return entriesOf(bytes).filter(({ baseOffset, endOffset }) => {
        return baseOffset >= offset && endOffset <= end
      })
    } catch (error) {
      const code = error instanceof BrokerError ? error.code : null
      // Cut off, or taken the place of by a snapshot, since it was asked for; or no memory now.
      if (code === ErrorCode.OFFSET_OUT_OF_RANGE || code === ErrorCode.REQUEST_TIMED_OUT) return []
      throw error
    }
  }

  /** Everything below `offset` is in a snapshot. May be refused, with a BrokerError. */
  dropBefore(offset: number): Promise<void> {
    const request = {
      kind: 'delete-records',
      handle: METADATA_HANDLE,
      beforeOffset: offset,
    } as const
    return this.#control(request, { mayFail: true, cutsAt: Number.POSITIVE_INFINITY })
  }

  #appendRun(entries: readonly Entry[]): Promise<void> {
    const how = { isAlone: false, mayFail: false, cutsAt: Number.POSITIVE_INFINITY }
    return this.#do(how, (answered) => this.#sendRun(entries, answered))
  }

  #sendRun(entries: readonly Entry[], answered: (failure: BrokerError | null) => void): boolean {
    const length = bytesOf(entries)
    const offset = this.#arena.allocate(length)
    if (offset < 0) return false
    let at = offset
    for (const { bytes } of entries) {
      this.#arena.bytes.set(bytes, at)
      at += bytes.length
    }
    const generation = this.#arena.generationOf(offset)
    const { endOffset, epoch } = entries.at(-1) as Entry
    this.#shard.follow(
      {
        handle: METADATA_HANDLE,
        offset,
        length,
        extentOffset: offset,
        generation,
        leaderEpoch: epoch,
        leaderHighWatermark: 0,
        leaderLogStart: 0,
      },
      {
        onFollowed: ({ errorCode, logEndOffset }) => {
          this.#arena.free(offset, generation)
          const isDone = errorCode === ErrorCode.NONE
          if (isDone) assert(logEndOffset >= endOffset, 'the log holds what was appended')
          answered(isDone ? null : failureOf(errorCode))
        },
      },
      0,
    )
    this.#shard.flush()
    return true
  }

  #control(request: ControlRequest, how: Pick<Operation, 'mayFail' | 'cutsAt'>): Promise<void> {
    return this.#do({ ...how, isAlone: true }, (answered) => {
      this.#shard.control(request).then(
        (reply) => {
          answered(reply.kind === 'failed' ? failureOf(reply.errorCode, reply.message) : null)
        },
        (error: unknown) => answered(failureOf(ErrorCode.KAFKA_STORAGE_ERROR, String(error))),
      )
      return true
    })
  }

  // —— one after the other ——

  #do(
    how: Omit<Operation, 'send' | 'failure' | 'resolve' | 'reject'>,
    send: Operation['send'],
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#operations.push({ ...how, send, failure: null, resolve, reject })
      this.#pump()
    })
  }

  #pump(): void {
    while (!this.#isRefused && this.#sentCount < this.#operations.length) {
      const operation = this.#operations[this.#sentCount] as Operation
      const isAlone = this.#isProbing || operation.isAlone || this.#operations[0]?.isAlone === true
      if (isAlone && this.#sentCount > 0) return
      // An answer may come while it is sent.
      this.#sentCount++
      this.#openCount++
      if (operation.send((failure) => this.#onAnswer(operation, failure))) continue
      this.#sentCount--
      this.#openCount--
      this.#later(MEMORY_RETRY_MS)
      return
    }
  }

  #onAnswer(operation: Operation, failure: BrokerError | null): void {
    this.#openCount--
    operation.failure = failure
    if (failure === null || operation.mayFail) {
      this.#operations.splice(this.#operations.indexOf(operation), 1)
      this.#sentCount--
      this.#isProbing = false
      if (failure === null) operation.resolve()
      else operation.reject(failure)
    } else {
      this.#isRefused = true
    }
    if (!this.#isRefused) this.#pump()
    else if (this.#openCount === 0) this.#later(ROOM_RETRY_MS)
  }

  /**
   * What was refused has not been written, nor what came after it. A log that still works had no
   * room for it, and is asked again; any other failure is final.
   */
  async #sendAgain(): Promise<void> {
    const { failure, reject } = this.#operations[0] as Operation
    const request = { kind: 'replica-states', handles: [METADATA_HANDLE] } as const
    const reply = await this.#shard.control(request).catch(() => null)
    if (reply === null) return // The shard has stopped.
    const works = reply.kind === 'replicas' && reply.states[0]?.errorCode === ErrorCode.NONE
    if (!works || failure?.code !== ErrorCode.KAFKA_STORAGE_ERROR) {
      reject(failure as BrokerError)
      return
    }
    this.#isRefused = false
    this.#isProbing = true
    this.#sentCount = 0
    this.#pump()
  }

  #later(ms: number): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = null
      if (!this.#isRefused) this.#pump()
      else if (this.#openCount === 0) void this.#sendAgain()
    }, ms)
  }
}

function failureOf(errorCode: number, message = ''): BrokerError {
  const action = message === '' ? 'write the metadata log' : `write the metadata log: ${message}`
  return new BrokerError(errorCode as ErrorCode, action)
}
