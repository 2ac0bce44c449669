import { ErrorCode } from '../errors/error-code.ts'
import type { ClusterNode } from './cluster-nodes.ts'

/**
 * What an answer tells a client that has asked the wrong broker: who leads the partition, and where
 * that is (KIP-951), so that it need not ask for metadata first. One for each answer.
 */
export interface LeaderHintsParts {
  currentLeader(handle: number): CurrentLeader | null
  node(nodeId: number, listenerName: string): ClusterNode | null
}

export interface CurrentLeader {
  /** −1: nobody. */
  readonly leaderId: number
  readonly leaderEpoch: number
}

interface NodeEndpoint {
  readonly nodeId: number
  readonly host: string
  readonly port: number
  readonly rack: string | null
}

export class LeaderHints {
  readonly #parts: LeaderHintsParts
  readonly #listenerName: string
  #nodes: Map<number, NodeEndpoint> | null = null

  constructor(parts: LeaderHintsParts, listenerName: string) {
    this.#parts = parts
    this.#listenerName = listenerName
  }

  /** Undefined where the error is not about who leads; −1 is the handle of no partition. */
  of(errorCode: number, handle: number): CurrentLeader | undefined {
    if (errorCode === ErrorCode.NONE || handle < 0 || !isAboutLeader(errorCode)) return undefined
    const leader = this.#parts.currentLeader(handle)
    if (leader === null) return undefined
    const node = this.#parts.node(leader.leaderId, this.#listenerName)
    if (node !== null) {
      const { nodeId, host, port, rack } = node
      this.#nodes ??= new Map()
      this.#nodes.set(nodeId, { nodeId, host, port, rack })
    }
    return leader
  }

  /** Of the leaders that were named. */
  get nodeEndpoints(): readonly NodeEndpoint[] {
    return this.#nodes === null ? NOBODY : [...this.#nodes.values()]
  }
}

const NOBODY: readonly NodeEndpoint[] = []

function isAboutLeader(errorCode: number): boolean {
  return (
    errorCode === ErrorCode.NOT_LEADER_OR_FOLLOWER ||
    errorCode === ErrorCode.FENCED_LEADER_EPOCH ||
    errorCode === ErrorCode.UNKNOWN_LEADER_EPOCH
  )
}
