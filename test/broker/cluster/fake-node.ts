/** A node of a cluster for what stands on it: metadata that is committed when the test says so. */
import type { Clock } from '../../../src/base/clock.ts'
import { ClusterMetadata } from '../../../src/broker/cluster/cluster-metadata.ts'
import type { ClusterNode } from '../../../src/broker/cluster/cluster-node.ts'
import type { ProposalAnswer } from '../../../src/broker/cluster/proposal-desk.ts'
import { recordsEntry } from '../../../src/cluster/quorum-entries.ts'
import { BrokerError } from '../../../src/errors/broker-error.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { encodeMetadataRecord } from '../../../src/metadata/record-schema.ts'
import type { MetadataRecord } from '../../../src/metadata/records.ts'
import { CLUSTER_ID, keyOf } from '../../cluster/fixture.ts'

export interface LinkRequest {
  readonly peerId: number
  readonly purpose: string
  readonly apiKey: number
  readonly body: never
  readonly answer: (body: object) => void
  /** The connection is lost. */
  readonly lose: () => void
}

export class FakeNode {
  takesPart = true
  nowMs = 0
  readonly self = keyOf(1)
  readonly clusterId = CLUSTER_ID
  leaderId: number | null = null
  isController = false
  readonly quorum = { epoch: 1, leaderHeardMs: 0, voters: [keyOf(1), keyOf(2)] }
  /** False: the leader is another one by now. */
  isTaking = true
  readonly proposed: (readonly MetadataRecord[])[] = []
  readonly requests: LinkRequest[] = []
  readonly metadata: ClusterMetadata
  readonly #changed: (() => void)[] = []

  constructor() {
    this.metadata = new ClusterMetadata({
      propose: (_, records) => this.#propose(records),
      nowMs: () => this.nowMs,
    })
  }

  get clock(): Clock {
    return { monotonicMs: () => this.nowMs, wallMs: () => this.nowMs } as Clock
  }

  get asNode(): ClusterNode {
    return this as unknown as ClusterNode
  }

  readonly links = {
    to: (peerId: number, purpose: string) => ({
      request: (apiKey: number, body: never): Promise<object> =>
        new Promise((resolve, reject) => {
          const lose = () => reject(new BrokerError(ErrorCode.NETWORK_EXCEPTION, 'reach it'))
          this.requests.push({ peerId, purpose, apiKey, body, answer: resolve, lose })
        }),
    }),
  }

  onChanged(callback: () => void): void {
    this.#changed.push(callback)
  }

  /** Somebody leads the quorum, in a new epoch; null: nobody. */
  ledBy(leaderId: number | null): void {
    this.leaderId = leaderId
    this.isController = leaderId === this.self.id
    this.quorum.epoch++
    for (const callback of this.#changed) callback()
  }

  commit(...records: MetadataRecord[]): number {
    const place = { epoch: 1, baseOffset: this.metadata.appliedOffset }
    const entry = recordsEntry(place, records.map(encodeMetadataRecord), 0)
    this.metadata.apply([entry])
    return entry.endOffset
  }

  #propose(records: readonly MetadataRecord[]): Promise<ProposalAnswer> {
    this.proposed.push(records)
    if (!this.isTaking) {
      return Promise.resolve({ errorCode: ErrorCode.NOT_CONTROLLER, endOffset: -1 })
    }
    return Promise.resolve({ errorCode: ErrorCode.NONE, endOffset: this.commit(...records) })
  }
}
