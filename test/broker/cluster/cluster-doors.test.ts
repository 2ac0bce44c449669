/** What is served on the listener between brokers, and to whom. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ClusterDoors } from '../../../src/broker/cluster/cluster-doors.ts'
import {
  type Handler,
  ProtocolViolation,
  type RequestContext,
} from '../../../src/broker/request.ts'
import { isProof, newNonce, proofOf } from '../../../src/cluster/cluster-proof.ts'
import { encodeRaftMessage } from '../../../src/cluster/raft-codec.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { encodeMetadataRecord } from '../../../src/metadata/record-schema.ts'
import type { MetadataRecord } from '../../../src/metadata/records.ts'
import type { RaftMessage } from '../../../src/raft/messages.ts'
import { ClusterApi, DecodeError, type ResponseOf } from '../../../src/wire/kafka/api.ts'
import { CLUSTER_ID, keyOf, SECRET } from '../../cluster/fixture.ts'

const SELF = 1
const CALLER = 2
const FETCH = 1

/** One connection, as a handler sees it. */
class FakeCaller {
  readonly context: RequestContext
  readonly closeCallbacks: (() => void)[] = []
  readonly #doors: FakeDoors
  readonly #nonce = newNonce()
  #answererNonce: Uint8Array = new Uint8Array(0)

  constructor(doors: FakeDoors, connectionId: number) {
    this.#doors = doors
    const onClose = (callback: () => void) => {
      this.closeCallbacks.push(callback)
      return () => undefined
    }
    this.context = { connectionId, onClose } as unknown as RequestContext
  }

  async ask<T = object>(apiKey: number, body: object): Promise<T> {
    const handler = this.#doors.doors.handlers.get(apiKey) as Handler<object>
    const reply = await handler(body, this.context)
    return (reply as unknown as { body: T }).body
  }

  async hello(more: object = {}): Promise<ResponseOf<200>> {
    const { directoryId } = keyOf(CALLER)
    const nonce = this.#nonce
    const body = { nodeId: CALLER, directoryId, clusterId: CLUSTER_ID, nonce, ...more }
    const hello = await this.ask<ResponseOf<200>>(ClusterApi.HELLO, body)
    this.#answererNonce = hello.nonce
    return hello
  }

  get handshake() {
    const callerNonce = this.#nonce
    return { callerId: CALLER, answererId: SELF, callerNonce, answererNonce: this.#answererNonce }
  }

  prove(secret = SECRET): Promise<ResponseOf<201>> {
    return this.ask(ClusterApi.PROVE, { proof: proofOf(secret, 'caller', this.handshake) })
  }

  close(): void {
    for (const callback of this.closeCallbacks) callback()
  }
}

class FakeDoors {
  readonly asked: unknown[] = []
  readonly lost: number[] = []
  readonly doors: ClusterDoors
  #connections = 0

  constructor() {
    const note = (what: unknown): Promise<object> => {
      this.asked.push(what)
      return Promise.resolve({ errorCode: ErrorCode.NONE })
    }
    this.doors = new ClusterDoors({
      self: keyOf(SELF),
      clusterId: CLUSTER_ID,
      secret: SECRET,
      voters: () => [keyOf(SELF), keyOf(CALLER)],
      receive: (messages) => this.asked.push(messages),
      propose: (baseOffset, records) => {
        this.asked.push({ baseOffset, records })
        return Promise.resolve({ errorCode: ErrorCode.NONE, endOffset: 7 })
      },
      register: note,
      beat: note,
      alterPartitions: note,
      changeVoters: note,
      quorumState: () => ({}),
      fetch: (request) => {
        this.asked.push(request)
        return { body: {} }
      },
      onLost: (nodeId) => this.lost.push(nodeId),
      onFound: () => undefined,
    })
  }

  connect(): FakeCaller {
    return new FakeCaller(this, ++this.#connections)
  }

  async connectProven(): Promise<FakeCaller> {
    const caller = this.connect()
    await caller.hello()
    assert.equal((await caller.prove()).errorCode, ErrorCode.NONE)
    return caller
  }
}

function vote(from: number, more: Partial<RaftMessage> = {}): object {
  const message = { type: 'transfer-request', from: keyOf(from), to: keyOf(SELF), epoch: 3 }
  return { ...encodeRaftMessage({ ...message, ...more } as RaftMessage), flags: 0 }
}

const record: MetadataRecord = { type: 'broker-config', broker: '', name: 'a', value: 'b' }

/** A good request of each kind, from the caller. */
const REQUESTS: readonly (readonly [number, object])[] = [
  [ClusterApi.RAFT_MESSAGES, { messages: [vote(CALLER)] }],
  [ClusterApi.REGISTER_BROKER, { brokerId: CALLER }],
  [ClusterApi.BROKER_BEAT, { brokerId: CALLER }],
  [
    ClusterApi.PROPOSE_RECORDS,
    { baseOffset: 3, records: [{ value: encodeMetadataRecord(record) }] },
  ],
  [ClusterApi.ALTER_PARTITIONS, { brokerId: CALLER }],
  [ClusterApi.CHANGE_VOTERS, { isAdded: true, voter: keyOf(3) }],
  [ClusterApi.DESCRIBE_QUORUM, {}],
  [FETCH, { replicaState: { replicaId: CALLER, replicaEpoch: 1 } }],
]

describe('the listener between brokers', () => {
  test('serves all it has to who has proved itself', async () => {
    const doors = new FakeDoors()
    const caller = await doors.connectProven()
    for (const [apiKey, body] of REQUESTS) await caller.ask(apiKey, body)
    assert.equal(doors.asked.length, REQUESTS.length - 1)
    const served = REQUESTS.map(([apiKey]) => apiKey).concat(ClusterApi.HELLO, ClusterApi.PROVE)
    assert.deepEqual([...doors.doors.handlers.keys()].sort(), served.sort())
    assert.deepEqual(doors.asked[3], { baseOffset: 3, records: [record] })
  })

  test('serves nothing to anybody else', async () => {
    const doors = new FakeDoors()
    const silent = doors.connect()
    const greeted = doors.connect()
    await greeted.hello()
    const wrong = doors.connect()
    await wrong.hello()
    const { errorCode } = await wrong.prove('another secret')
    assert.equal(errorCode, ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    const gone = await doors.connectProven()
    gone.close()
    for (const caller of [silent, greeted, wrong, gone]) {
      for (const [apiKey, body] of REQUESTS) {
        await assert.rejects(caller.ask(apiKey, body), ProtocolViolation)
      }
    }
    assert.deepEqual(doors.asked, [])
  })

  test('proves itself, and says who it is', async () => {
    const doors = new FakeDoors()
    const caller = doors.connect()
    const hello = await caller.hello()
    assert.deepEqual([hello.nodeId, hello.directoryId], [SELF, keyOf(SELF).directoryId])
    assert.deepEqual(hello.voters, [keyOf(SELF), keyOf(CALLER)])
    assert.ok(isProof(hello.proof, proofOf(SECRET, 'answerer', caller.handshake)))
    assert.ok(!JSON.stringify(hello).includes(SECRET))
  })

  test('takes no proof that is its own, nor one of another connection', async () => {
    const doors = new FakeDoors()
    const caller = doors.connect()
    const { proof } = await caller.hello()
    const mirrored = await caller.ask<ResponseOf<201>>(ClusterApi.PROVE, { proof })
    assert.equal(mirrored.errorCode, ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    const first = doors.connect()
    await first.hello()
    const old = proofOf(SECRET, 'caller', first.handshake)
    const second = doors.connect()
    await second.hello()
    const replayed = await second.ask<ResponseOf<201>>(ClusterApi.PROVE, { proof: old })
    assert.equal(replayed.errorCode, ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    const empty = doors.connect()
    await empty.hello()
    const nothing = { proof: new Uint8Array(0) }
    const { errorCode } = await empty.ask<ResponseOf<201>>(ClusterApi.PROVE, nothing)
    assert.equal(errorCode, ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
  })

  test('gives a connection one try', async () => {
    const doors = new FakeDoors()
    const caller = doors.connect()
    await caller.hello()
    await caller.prove('another secret')
    await assert.rejects(caller.prove(), ProtocolViolation)
    await assert.rejects(caller.hello(), ProtocolViolation)
    assert.equal(caller.closeCallbacks.length, 1, 'nothing piles up')
    caller.close()
    assert.deepEqual(doors.lost, [])
  })

  test('listens no more to connections of who is not in order, but to new ones', async () => {
    const doors = new FakeDoors()
    const before = await doors.connectProven()
    doors.doors.distrust(CALLER)
    for (const [apiKey, body] of REQUESTS) {
      await assert.rejects(before.ask(apiKey, body), /contradicts/)
    }
    assert.deepEqual(doors.asked, [])
    before.close()
    assert.deepEqual(doors.lost, [CALLER])
    const after = await doors.connectProven()
    await after.ask(ClusterApi.BROKER_BEAT, { brokerId: CALLER })
    assert.equal(doors.asked.length, 1)
  })

  test('ends a connection that greets or proves out of turn', async () => {
    const doors = new FakeDoors()
    const early = doors.connect()
    await assert.rejects(early.prove(), ProtocolViolation)
    const twice = await doors.connectProven()
    await assert.rejects(twice.prove(), ProtocolViolation)
    await assert.rejects(twice.hello(), ProtocolViolation)
    for (const length of [0, 31, 33]) {
      const odd = doors.connect()
      await assert.rejects(odd.hello({ nonce: new Uint8Array(length) }), ProtocolViolation)
    }
  })

  test('refuses who belongs to another cluster or to none, and who has its own name', async () => {
    const doors = new FakeDoors()
    for (const clusterId of [keyOf(9).directoryId, null]) {
      const other = doors.connect()
      const { errorCode, proof } = await other.hello({ clusterId })
      assert.equal(errorCode, ErrorCode.INCONSISTENT_CLUSTER_ID)
      assert.equal(proof.length, 0)
      await assert.rejects(other.prove(), ProtocolViolation)
    }
    const { errorCode } = await doors.connect().hello({ nodeId: SELF })
    assert.equal(errorCode, ErrorCode.DUPLICATE_BROKER_REGISTRATION)
  })

  test('lets nobody speak for another', async () => {
    const doors = new FakeDoors()
    const elsewhere = { id: CALLER, directoryId: keyOf(9).directoryId }
    const requests: readonly (readonly [number, object])[] = [
      [ClusterApi.RAFT_MESSAGES, { messages: [vote(CALLER), vote(3)] }],
      [ClusterApi.RAFT_MESSAGES, { messages: [vote(CALLER, { from: elsewhere })] }],
      [ClusterApi.REGISTER_BROKER, { brokerId: 3 }],
      [ClusterApi.BROKER_BEAT, { brokerId: 3 }],
      [ClusterApi.ALTER_PARTITIONS, { brokerId: 3 }],
      [FETCH, { replicaState: { replicaId: 3, replicaEpoch: 1 } }],
      [FETCH, { replicaState: { replicaId: -1, replicaEpoch: -1 } }],
    ]
    const caller = await doors.connectProven()
    for (const [apiKey, body] of requests) {
      await assert.rejects(caller.ask(apiKey, body), ProtocolViolation)
    }
    assert.deepEqual(doors.asked, [])
  })

  test('refuses messages and records that are none, and says which are too new', async () => {
    const doors = new FakeDoors()
    const caller = await doors.connectProven()
    const hostile = { messages: [vote(CALLER), { ...vote(CALLER), epoch: -1 }] }
    await assert.rejects(caller.ask(ClusterApi.RAFT_MESSAGES, hostile), DecodeError)
    const value = encodeMetadataRecord(record)
    const cut = { baseOffset: 3, records: [{ value: value.subarray(0, value.length - 1) }] }
    await assert.rejects(caller.ask(ClusterApi.PROPOSE_RECORDS, cut), DecodeError)
    assert.deepEqual(doors.asked, [])
  })

  test('tells that a connection broke, of a node that had proved itself', async () => {
    const doors = new FakeDoors()
    const caller = await doors.connectProven()
    const greeted = doors.connect()
    await greeted.hello()
    greeted.close()
    assert.deepEqual(doors.lost, [])
    caller.close()
    assert.deepEqual(doors.lost, [CALLER])
  })
})
