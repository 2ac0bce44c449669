/**
 * What this broker answers on its cluster listener. Nothing but the two steps of the handshake is
 * served to whoever has not proved that it knows the cluster secret. Runs on main.
 */
import { isProof, NONCE_BYTES, newNonce, proofOf } from '../../cluster/cluster-proof.ts'
import type { Address } from '../../cluster/link.ts'
import { decodeRaftMessage } from '../../cluster/raft-codec.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { decodeMetadataRecord } from '../../metadata/record-schema.ts'
import type { MetadataRecord } from '../../metadata/records.ts'
import type { RaftMessage } from '../../raft/messages.ts'
import type { ReplicaKey } from '../../raft/replica-key.ts'
import { type AnyApiKey, ClusterApi, DecodeError, type RequestOf } from '../../wire/kafka/api.ts'
import {
  type Handler,
  type HandlerResult,
  ProtocolViolation,
  type RequestContext,
} from '../request.ts'
import type { ProposalAnswer } from './proposal-desk.ts'

export interface ClusterDoorsParts {
  readonly self: ReplicaKey
  readonly clusterId: string
  readonly secret: string
  /** Those that are known; empty before the quorum is formed. */
  readonly voters: () => readonly ReplicaKey[]
  readonly receive: (messages: readonly RaftMessage[]) => void
  readonly propose: (
    baseOffset: number,
    records: readonly MetadataRecord[],
  ) => Promise<ProposalAnswer>
  readonly register: (request: RequestOf<203>) => Promise<object>
  readonly beat: (request: RequestOf<204>) => Promise<object> | object
  readonly alterPartitions: (request: RequestOf<206>) => Promise<object>
  readonly changeVoters: (request: RequestOf<207>) => Promise<object>
  readonly quorumState: () => object
  /** Of a follower. */
  readonly fetch: (request: RequestOf<1>, context: RequestContext) => HandlerResult
  /** A node has proved itself and said where it is reached. */
  readonly onFound: (nodeId: number, at: Address) => void
  /** A connection from a node that had proved itself broke. */
  readonly onLost: (nodeId: number, wasOfQuorum: boolean) => void
}

interface Caller {
  readonly nodeId: number
  readonly directoryId: string
  readonly at: Address | null
  readonly nonce: Uint8Array
  readonly ownNonce: Uint8Array
  /** It has sent messages of the quorum. */
  isOfQuorum: boolean
  /**
   * 'refused': it has given a wrong proof. A connection has one try, whatever it sends then.
   * 'distrusted': it was proven, and has said what cannot be.
   */
  state: 'greeted' | 'proven' | 'refused' | 'distrusted'
}

export class ClusterDoors {
  readonly #parts: ClusterDoorsParts
  /** By connection. */
  readonly #callers = new Map<number, Caller>()

  constructor(parts: ClusterDoorsParts) {
    this.#parts = parts
  }

  get handlers(): ReadonlyMap<number, Handler> {
    const parts = this.#parts
    return new Map<number, Handler>([
      [ClusterApi.HELLO, (body: RequestOf<200>, context) => this.#hello(body, context)],
      [ClusterApi.PROVE, (body: RequestOf<201>, context) => this.#prove(body, context)],
      this.#proven(ClusterApi.RAFT_MESSAGES, ({ messages }, caller) => {
        caller.isOfQuorum = true
        parts.receive(this.#messagesOf(messages.map(decodeRaftMessage), caller))
        return { body: { errorCode: ErrorCode.NONE } }
      }),
      this.#proven(ClusterApi.REGISTER_BROKER, async (request, caller) => {
        mustBe(caller, request.brokerId)
        return { body: await parts.register(request) }
      }),
      this.#proven(ClusterApi.BROKER_BEAT, async (request, caller) => {
        mustBe(caller, request.brokerId)
        return { body: await parts.beat(request) }
      }),
      this.#proven(ClusterApi.PROPOSE_RECORDS, async ({ baseOffset, records }) => {
        const decoded = decodeAll(records)
        if (decoded === null) {
          const errorMessage = 'it holds records that only a newer broker knows'
          return {
            body: { errorCode: ErrorCode.UNSUPPORTED_VERSION, errorMessage, endOffset: -1 },
          }
        }
        const { errorCode, endOffset } = await parts.propose(baseOffset, decoded)
        return { body: { errorCode, errorMessage: null, endOffset } }
      }),
      this.#proven(ClusterApi.ALTER_PARTITIONS, async (request, caller) => {
        mustBe(caller, request.brokerId)
        return { body: await parts.alterPartitions(request) }
      }),
      this.#proven(ClusterApi.CHANGE_VOTERS, async (request) => {
        return { body: await parts.changeVoters(request) }
      }),
      this.#proven(ClusterApi.DESCRIBE_QUORUM, () => ({ body: parts.quorumState() })),
      this.#proven(1, (request, caller, context) => {
        mustBe(caller, request.replicaState.replicaId)
        return parts.fetch(request, context)
      }),
    ])
  }

  /** Ends the connections that a node has made, with the next thing that each of them says. */
  distrust(nodeId: number): void {
    for (const caller of this.#callers.values()) {
      if (caller.nodeId === nodeId && caller.state === 'proven') caller.state = 'distrusted'
    }
  }

  #proven<K extends AnyApiKey>(
    apiKey: K,
    handle: (body: RequestOf<K>, caller: Caller, context: RequestContext) => HandlerResult,
  ): [number, Handler] {
    return [
      apiKey,
      (body: RequestOf<K>, context: RequestContext) => {
        const caller = this.#callers.get(context.connectionId)
        if (caller?.state === 'distrusted') {
          throw new ProtocolViolation(`node ${caller.nodeId} contradicts the quorum's log`)
        }
        if (caller?.state !== 'proven')
          throw new ProtocolViolation('a request before the handshake')
        return handle(body, caller, context)
      },
    ]
  }

  #hello(body: RequestOf<200>, context: RequestContext): HandlerResult {
    const { self, clusterId, secret, voters } = this.#parts
    const { nodeId, directoryId, nonce, host, port } = body
    const refuse = (errorCode: ErrorCode, errorMessage: string): HandlerResult => {
      const nothing = new Uint8Array(0)
      const own = { nodeId: self.id, directoryId: self.directoryId, clusterId }
      return {
        body: { errorCode, errorMessage, ...own, voters: [], nonce: nothing, proof: nothing },
      }
    }
    if (nonce.length !== NONCE_BYTES || this.#callers.has(context.connectionId)) {
      throw new ProtocolViolation('a handshake that is none')
    }
    if (body.clusterId !== clusterId) {
      const message = `node ${self.id} belongs to cluster ${clusterId}, the caller to ${body.clusterId}`
      return refuse(ErrorCode.INCONSISTENT_CLUSTER_ID, message)
    }
    if (nodeId === self.id) {
      const message = `node.id ${nodeId} is taken: node ${self.id} is who answers`
      return refuse(ErrorCode.DUPLICATE_BROKER_REGISTRATION, message)
    }
    const ownNonce = newNonce()
    const at = host === null ? null : { host, port }
    const caller: Caller = {
      nodeId,
      directoryId,
      at,
      nonce,
      ownNonce,
      isOfQuorum: false,
      state: 'greeted',
    }
    this.#callers.set(context.connectionId, caller)
    context.onClose(() => {
      this.#callers.delete(context.connectionId)
      const wasProven = caller.state === 'proven' || caller.state === 'distrusted'
      if (wasProven) this.#parts.onLost(nodeId, caller.isOfQuorum)
    })
    const proved = {
      callerId: nodeId,
      answererId: self.id,
      callerNonce: nonce,
      answererNonce: ownNonce,
    }
    return {
      body: {
        errorCode: ErrorCode.NONE,
        errorMessage: null,
        nodeId: self.id,
        directoryId: self.directoryId,
        clusterId,
        voters: voters(),
        nonce: ownNonce,
        proof: proofOf(secret, 'answerer', proved),
      },
    }
  }

  #prove({ proof }: RequestOf<201>, context: RequestContext): HandlerResult {
    const { self, secret } = this.#parts
    const caller = this.#callers.get(context.connectionId)
    if (caller?.state !== 'greeted') throw new ProtocolViolation('a proof of nothing')
    const at = {
      callerId: caller.nodeId,
      answererId: self.id,
      callerNonce: caller.nonce,
      answererNonce: caller.ownNonce,
    }
    if (!isProof(proof, proofOf(secret, 'caller', at))) {
      caller.state = 'refused'
      const errorMessage = 'the cluster secret is not this cluster’s (millrace.cluster.secret)'
      return { body: { errorCode: ErrorCode.CLUSTER_AUTHORIZATION_FAILED, errorMessage } }
    }
    caller.state = 'proven'
    if (caller.at !== null) this.#parts.onFound(caller.nodeId, caller.at)
    return { body: { errorCode: ErrorCode.NONE, errorMessage: null } }
  }

  /** A message says truly who sent it: the connection vouches for it. */
  #messagesOf(messages: readonly RaftMessage[], caller: Caller): readonly RaftMessage[] {
    for (const { from } of messages) {
      mustBe(caller, from.id)
      if (from.directoryId !== caller.directoryId) throw new ProtocolViolation('another directory')
    }
    return messages
  }
}

/** Null when they are of a newer version; throws DecodeError for what is no record. */
function decodeAll(records: readonly { readonly value: Uint8Array }[]): MetadataRecord[] | null {
  try {
    return records.map(({ value }) => decodeMetadataRecord(value))
  } catch (error) {
    if (error instanceof DecodeError) throw error
    return null
  }
}

function mustBe(caller: Caller, nodeId: number): void {
  if (caller.nodeId === nodeId) return
  throw new ProtocolViolation(`node ${caller.nodeId} speaks for node ${nodeId}`)
}
