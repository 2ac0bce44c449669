/** A shard and a throttle that a test plays, behind the session of a follower. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { ReplicaSession } from '../../../src/broker/cluster/replica-session.ts'
import type { CopyThrottle } from '../../../src/broker/cluster/replication-throttle.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { READ_WATCHING } from '../../../src/shard/messages-layout.ts'
import type {
  LentExtent,
  ReadOutcome,
  ReadSink,
  ReplicaReadRequest,
  ShardProxy,
} from '../../../src/shard/shard-proxy.ts'
import type { RequestOf, ResponseInit } from '../../../src/wire/kafka/api.ts'
import { settled } from '../../cluster/fixture.ts'
import { TOPIC } from '../../metadata/cluster-records.ts'
import { NOTHING_READ } from '../../support/fake-cluster.ts'

const BYTES_MAX = 10_000
export const READ_BYTES_MAX = 4000
export const WAIT_MS = 500
/** So long a watermark waits for data. */
const NEWS_MS = 10

export interface Read {
  readonly token: number
  readonly request: ReplicaReadRequest
  readonly sink: ReadSink
}

/** Keeps reads until the test answers, and counts what is lent and watched. */
class FakeShard {
  readonly egress = new Uint8Array(64 * 1024)
  reads: Read[] = []
  readonly watches = new Map<number, Read>()
  readonly lent = new Set<number>()
  #tokens = 0

  replicaRead(request: ReplicaReadRequest, sink: ReadSink): number {
    const token = ++this.#tokens
    this.reads.push({ token, request: { ...request }, sink })
    return token
  }

  /** Answers the oldest read. */
  answer(outcome: Partial<ReadOutcome> = {}): Read {
    const read = this.reads.shift()
    assert.ok(read !== undefined, 'something is being read')
    const generation = read.token
    const whole = { ...NOTHING_READ, highWatermark: 5, ...outcome, generation }
    if (whole.length > 0) this.lent.add(generation)
    if ((whole.flags & READ_WATCHING) !== 0) this.watches.set(read.token, read)
    read.sink.onRead(whole, 0)
    return read
  }

  /** Nothing is there: it waits. */
  watch(outcome: Partial<ReadOutcome> = {}): Read {
    return this.answer({ ...outcome, flags: READ_WATCHING })
  }

  wake({ token, sink }: Read): void {
    assert.ok(this.watches.delete(token), 'it is watched')
    sink.onWake(0)
  }

  unwatch(token: number): void {
    assert.ok(this.watches.delete(token), 'it is watched')
  }

  release({ generation }: LentExtent): void {
    assert.ok(this.lent.delete(generation), 'an extent is given back once')
  }

  get asked(): number[] {
    return this.reads.map(({ request }) => request.handle)
  }
}

export interface Answer {
  readonly body: ResponseInit<1>
  readonly release: () => void
}

class FakeThrottle implements CopyThrottle {
  version = 0
  /** Handles of partitions that count. */
  readonly counted = new Set<number>()
  isOpen = true
  taken = 0
  readonly waitsMs = 50

  counts(handle: number): boolean {
    return this.counted.has(handle)
  }

  mayTake(): boolean {
    return this.isOpen
  }

  take(bytes: number): void {
    this.taken += bytes
  }

  waitMs(): number {
    return this.isOpen ? 0 : this.waitsMs
  }
}

export class Fixture {
  nowMs = 0
  readonly throttle = new FakeThrottle()
  readonly shard = new FakeShard()
  readonly unknown = new Set<number>()
  sent = 0
  readonly session: ReplicaSession
  answers: Answer[] = []
  #epoch = 0
  readonly #t: TestContext

  constructor(t: TestContext) {
    this.#t = t
    t.mock.timers.enable({ apis: ['setTimeout'] })
    this.session = new ReplicaSession(
      {
        // A handle of a partition is its number and ten.
        handleOf: (_, partition) => (this.unknown.has(partition) ? undefined : partition + 10),
        shardOf: () => this.shard as unknown as ShardProxy,
        countSent: (_, bytes) => {
          this.sent += bytes
        },
        flush: () => undefined,
        throttle: this.throttle,
        readBytesMax: READ_BYTES_MAX,
        bytesMax: BYTES_MAX,
        nowMs: () => this.nowMs,
      },
      { replicaId: 2, replicaEpoch: 7 },
    )
  }

  /** Asks for partitions; a number alone asks from offset 5. */
  fetch(
    partitions: readonly number[],
    more: Partial<RequestOf<1>> & { forget?: number[]; fetchOffset?: number } = {},
  ): void {
    const { forget = [], fetchOffset = 5, ...rest } = more
    const asked = partitions.map((partition) => ({
      partition,
      currentLeaderEpoch: 3,
      fetchOffset,
      lastFetchedEpoch: 3,
      logStartOffset: 0,
      partitionMaxBytes: 1024 * 1024,
    }))
    const body = {
      sessionId: this.#epoch === 0 ? 0 : 1,
      sessionEpoch: this.#epoch,
      maxWaitMs: WAIT_MS,
      minBytes: 1,
      maxBytes: BYTES_MAX,
      topics: asked.length === 0 ? [] : [{ topicId: TOPIC, partitions: asked }],
      forgottenTopicsData: forget.length === 0 ? [] : [{ topicId: TOPIC, partitions: forget }],
      ...rest,
    }
    this.#epoch++
    void this.session.fetch(body as never).then((answer) => this.answers.push(answer as Answer))
  }

  /** A new session, on the same connection. */
  restart(): void {
    this.#epoch = 0
  }

  /** The answer that has come, in short. */
  async answered(): Promise<string[]> {
    await settled()
    assert.equal(this.answers.length, 1, 'one answer has come')
    const { body, release } = this.answers.pop() as Answer
    release()
    assert.equal(body.errorCode, ErrorCode.NONE)
    return (body.responses ?? []).flatMap(({ partitions }) =>
      (partitions ?? []).map(({ partitionIndex, errorCode, highWatermark, records }) => {
        const length = (records as Uint8Array).length
        return `${partitionIndex}: error ${errorCode}, ${length} bytes, watermark ${highWatermark}`
      }),
    )
  }

  async isOpen(): Promise<boolean> {
    await settled()
    return this.answers.length === 0
  }

  pass(ms: number): void {
    this.nowMs += ms
    this.#t.mock.timers.tick(ms)
  }

  /** Nothing is lent and nothing watched. */
  assertFree(): void {
    assert.deepEqual([[...this.shard.lent], [...this.shard.watches.keys()]], [[], []])
  }
}

/** All partitions wait, and the follower knows their watermark. */
export async function watching(fixture: Fixture, partitions: readonly number[]): Promise<Read[]> {
  fixture.fetch(partitions)
  const reads = partitions.map(() => fixture.shard.watch())
  fixture.pass(NEWS_MS)
  await fixture.answered()
  return reads
}
