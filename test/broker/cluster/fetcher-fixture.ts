/** A fetcher of one leader, with a link and shards that a test plays. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { ReplicaFetcher } from '../../../src/broker/cluster/replica-fetcher.ts'
import type { ReplicaLink, ReplicaLinkSink } from '../../../src/broker/cluster/replica-link.ts'
import type { CopyThrottle } from '../../../src/broker/cluster/replication-throttle.ts'
import { RequestFrame } from '../../../src/broker/request-frame.ts'
import { newNonce, proofOf } from '../../../src/cluster/cluster-proof.ts'
import type { Address } from '../../../src/cluster/link.ts'
import { BatchBuilder } from '../../../src/record/batch-builder.ts'
import { Arena } from '../../../src/ring/arena.ts'
import { allocateArena } from '../../../src/ring/arena-layout.ts'
import type { ControlReply, ControlRequest } from '../../../src/shard/control.ts'
import type { ReplicaState } from '../../../src/shard/replica-control.ts'
import type {
  FollowOutcome,
  FollowRequest,
  FollowSink,
  ShardProxy,
} from '../../../src/shard/shard-proxy.ts'
import {
  type AnyApiKey,
  decodeRequest,
  decodeRequestHeader,
  encodeResponse,
  Reader,
  type RequestOf,
} from '../../../src/wire/kafka/api.ts'
import { CLUSTER_ID, keyOf, SaidLogger, SECRET, settled } from '../../cluster/fixture.ts'
import { TOPIC } from '../../metadata/cluster-records.ts'

export const LEADER = 2
export const FETCH = 1
export const WAIT_MS = 500
export const SILENCE_MS = 1500

export interface Asked {
  readonly apiKey: number
  readonly version: number
  readonly correlationId: number
  readonly body: unknown
}

export class FakeLink implements ReplicaLink {
  readonly asked: Asked[] = []
  readonly sink: ReplicaLinkSink
  /** How many of them. */
  answered = 0
  isClosed = false
  hasProgress = false

  constructor(sink: ReplicaLinkSink) {
    this.sink = sink
  }

  send(chunks: Uint8Array[]): void {
    const reader = new Reader(Buffer.concat(chunks).subarray(4))
    const header = decodeRequestHeader(reader)
    const { requestApiKey: apiKey, requestApiVersion: version, correlationId } = header
    const body = decodeRequest(apiKey as AnyApiKey, version, reader)
    this.asked.push({ apiKey, version, correlationId, body })
  }

  takeProgress(): boolean {
    const { hasProgress } = this
    this.hasProgress = false
    return hasProgress
  }

  close(): void {
    this.isClosed = true
  }
}

export class FakeShard {
  follows: { request: FollowRequest; sink: FollowSink }[] = []
  controls: { request: ControlRequest; resolve: (reply: ControlReply) => void }[] = []

  follow(request: FollowRequest, sink: FollowSink): void {
    this.follows.push({ request: { ...request }, sink })
  }

  control(request: ControlRequest): Promise<ControlReply> {
    return new Promise((resolve) => this.controls.push({ request, resolve }))
  }

  flush(): void {}

  followed(outcome: Partial<FollowOutcome> = {}): void {
    const { sink } = this.follows.shift() as { sink: FollowSink }
    const whole = { errorCode: 0, logEndOffset: 10, highWatermark: 5, logStartOffset: 0 }
    sink.onFollowed({ ...whole, ...outcome }, 0)
  }

  async reply(more: Partial<ReplicaState> = {}): Promise<void> {
    const { resolve } = this.controls.shift() as { resolve: (reply: ControlReply) => void }
    resolve({ kind: 'replicas', states: [stateOf(more)] })
    await settled()
  }
}

export function stateOf(more: Partial<ReplicaState> = {}): ReplicaState {
  const at = { logStartOffset: 0, logEndOffset: 5, highWatermark: 5, latestEpoch: 1 }
  return { handle: 10, errorCode: 0, ...at, ...more }
}

export function batch(baseOffset: number, count: number, leaderEpoch = 3): Uint8Array {
  const builder = new BatchBuilder()
  for (let i = 0; i < count; i++) builder.append(0, null, new Uint8Array(10))
  return builder.buildSync({ baseOffset, leaderEpoch })
}

interface Given {
  readonly partition?: number
  readonly errorCode?: number
  readonly highWatermark?: number
  readonly logStartOffset?: number
  readonly records?: Uint8Array
  readonly divergingEpoch?: { epoch: number; endOffset: number }
}

/** Every partition with an even number counts. */
export class FakeThrottle implements CopyThrottle {
  readonly version = 0
  isOpen = true
  taken = 0

  counts(handle: number): boolean {
    return handle % 2 === 0
  }

  mayTake(): boolean {
    return this.isOpen
  }

  take(bytes: number): void {
    this.taken += bytes
  }

  waitMs(): number {
    return this.isOpen ? 0 : 50
  }
}

export class Fixture {
  nowMs = 0
  readonly throttle = new FakeThrottle()
  readonly arena = new Arena(allocateArena(1024 * 1024), { poison: true })
  readonly shard = new FakeShard()
  readonly logger = new SaidLogger()
  readonly links: FakeLink[] = []
  address: Address | null = { host: 'leader', port: 1 }
  readonly fetcher: ReplicaFetcher
  readonly #t: TestContext

  constructor(t: TestContext) {
    this.#t = t
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { directoryId } = keyOf(1)
    this.fetcher = new ReplicaFetcher({
      leaderId: LEADER,
      address: () => this.address,
      identity: () => ({ nodeId: 1, directoryId, clusterId: CLUSTER_ID, secret: SECRET }),
      brokerEpoch: () => 7,
      open: (_, sink) => {
        const link = new FakeLink(sink)
        this.links.push(link)
        return link
      },
      shardOf: () => this.shard as unknown as ShardProxy,
      options: { waitMsMax: WAIT_MS, bytesMin: 1, bytesMax: 1000, partitionBytesMax: 500 },
      throttle: this.throttle,
      nowMs: () => this.nowMs,
      logger: this.logger,
    })
  }

  get link(): FakeLink {
    return this.links.at(-1) as FakeLink
  }

  /** The last fetch that was sent. */
  get fetch(): RequestOf<1> {
    const { apiKey, body } = this.link.asked.at(-1) as Asked
    assert.equal(apiKey, FETCH)
    return body as RequestOf<1>
  }

  get fetches(): number {
    return this.link.asked.filter(({ apiKey }) => apiKey === FETCH).length
  }

  /** Partitions that the last fetch names, and from where. */
  get named(): number[][] {
    return this.fetch.topics.flatMap(({ partitions }) =>
      partitions.map(({ partition, fetchOffset }) => [partition, fetchOffset]),
    )
  }

  get forgotten(): number[] {
    return this.fetch.forgottenTopicsData.flatMap(({ partitions }) => [...partitions])
  }

  add(partition: number, more: Partial<ReplicaState> & { leaderEpoch?: number } = {}): void {
    const { leaderEpoch = 3, ...state } = more
    const handle = partition + 10
    this.fetcher.add({ handle, topicId: TOPIC, partition, leaderEpoch }, stateOf(state))
  }

  /** Answers the oldest request that has no answer; what is left of the frame is the fetcher's. */
  answer(body: object, correlationId?: number): void {
    const { asked: all, answered } = this.link
    const asked = (all[answered] ?? all.at(-1)) as Asked
    this.link.answered++
    const { apiKey, version } = asked
    const id = correlationId ?? asked.correlationId
    const chunks = encodeResponse(apiKey as AnyApiKey, version, id, body as never)
    const bytes = Buffer.concat(chunks).subarray(4)
    const offset = this.arena.allocate(bytes.length)
    this.arena.bytes.set(bytes, offset)
    const generation = this.arena.generationOf(offset)
    const frame = new RequestFrame(this.arena, { offset, length: bytes.length, generation })
    this.link.sink.onFrame(frame)
    frame.release()
  }

  give(...given: Given[]): void {
    const partitions = given.map(({ partition = 0, ...more }) => {
      const plain = { errorCode: 0, highWatermark: 5, lastStableOffset: 5, logStartOffset: 0 }
      const rest = { abortedTransactions: null, records: new Uint8Array(0) }
      return { partitionIndex: partition, ...plain, ...rest, ...more }
    })
    const responses = partitions.length === 0 ? [] : [{ topicId: TOPIC, partitions }]
    this.answer({ errorCode: 0, sessionId: 1, responses })
  }

  greet(more: { secret?: string; nodeId?: number; errorCode?: number } = {}): void {
    const { secret = SECRET, nodeId = LEADER, errorCode = 0 } = more
    this.link.sink.onOpen()
    const { body } = this.link.asked.at(-1) as Asked
    const { nonce: callerNonce } = body as RequestOf<200>
    const nonce = newNonce()
    const at = { callerId: 1, answererId: LEADER, callerNonce, answererNonce: nonce }
    const proof = proofOf(secret, 'answerer', at)
    const { directoryId } = keyOf(nodeId)
    const hello = { errorCode, errorMessage: null, nodeId, directoryId, clusterId: CLUSTER_ID }
    this.answer({ ...hello, voters: [], nonce, proof })
  }

  connect(): void {
    this.greet()
    this.answer({ errorCode: 0, errorMessage: null })
  }

  pass(ms: number): void {
    this.nowMs += ms
    this.#t.mock.timers.tick(ms)
  }
}
