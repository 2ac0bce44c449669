/**
 * Says to the quorum of a cluster what a broker of it would: records of metadata, proposed to its
 * leader. For metadata that is too large to be made through clients.
 */
import { randomUuid } from '../../src/base/uuid.ts'
import { Link } from '../../src/cluster/link.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import { encodeMetadataRecord } from '../../src/metadata/record-schema.ts'
import type { MetadataRecord } from '../../src/metadata/records.ts'
import { ClusterApi } from '../../src/wire/kafka/api.ts'
import { sleep } from './children.ts'
import { CLUSTER_SECRET, type ClusterNodeProcess } from './clusters.ts'

const OWN_ID = 1_000_000
const PROPOSE_MS_MAX = 60_000
const BUSY_PAUSE_MS = 20
const ATTEMPTS_MAX = 20
/** A new leader has applied by then what was there before. */
const ELECTION_PAUSE_MS = 1000
const SILENT = () => undefined

/** The records do not fit what the quorum has. */
export class RefusedError extends Error {}

export class QuorumClient {
  readonly #link: Link
  /** Of what the leader has said that there is. */
  #endOffset = 0

  /** `leader` leads the quorum, and is not replaced meanwhile. */
  constructor({ id, host, clusterPort }: ClusterNodeProcess, clusterId: string) {
    const directoryId = randomUuid()
    this.#link = new Link({
      peerId: id,
      address: () => ({ host, port: clusterPort }),
      identity: () => ({ nodeId: OWN_ID, directoryId, clusterId, secret: CLUSTER_SECRET }),
      logger: { debug: SILENT, info: SILENT, warn: SILENT, error: SILENT },
      silenceMsMax: PROPOSE_MS_MAX,
    })
  }

  /**
   * True once they are committed, and applied at the leader. False: it leads no more, or has said
   * nothing, so that it is not known. Throws what is wrong with them.
   */
  async propose(records: readonly MetadataRecord[]): Promise<boolean> {
    const values = records.map((record) => ({ value: encodeMetadataRecord(record) }))
    for (;;) {
      const body = { baseOffset: this.#endOffset, records: values }
      const answer = await this.#link
        .request(ClusterApi.PROPOSE_RECORDS, body, PROPOSE_MS_MAX)
        .catch(() => null)
      if (answer === null || answer.errorCode === ErrorCode.NOT_CONTROLLER) return false
      this.#endOffset = Math.max(this.#endOffset, answer.endOffset)
      if (answer.errorCode === ErrorCode.NONE) return true
      // Nothing here rests on what others have changed meanwhile.
      if (answer.errorCode === ErrorCode.INVALID_UPDATE_VERSION) continue
      if (answer.errorCode !== ErrorCode.REQUEST_TIMED_OUT) {
        throw new RefusedError(`the quorum refuses: error ${answer.errorCode}`)
      }
      await sleep(BUSY_PAUSE_MS)
    }
  }

  /**
   * It leads, and has applied all that was there before: it refuses `records` only because they
   * rest on nothing.
   */
  async isActive(records: readonly MetadataRecord[]): Promise<boolean> {
    const values = records.map((record) => ({ value: encodeMetadataRecord(record) }))
    const answer = await this.#link
      .request(ClusterApi.PROPOSE_RECORDS, { baseOffset: 0, records: values }, PROPOSE_MS_MAX)
      .catch(() => null)
    return answer?.errorCode === ErrorCode.INVALID_UPDATE_VERSION
  }

  close(): void {
    this.#link.close()
  }
}

/** Proposes to whoever leads, and to the next one when that has been replaced. */
export class Proposer {
  readonly #leaderOf: () => Promise<ClusterNodeProcess>
  readonly #clusterIdOf: (node: ClusterNodeProcess) => Promise<string>
  #client: QuorumClient | null = null

  constructor(
    leaderOf: () => Promise<ClusterNodeProcess>,
    clusterIdOf: (node: ClusterNodeProcess) => Promise<string>,
  ) {
    this.#leaderOf = leaderOf
    this.#clusterIdOf = clusterIdOf
  }

  /** `isThere`: whether a leader has what was proposed to one before it. */
  async propose(
    records: readonly MetadataRecord[],
    isThere: (leader: ClusterNodeProcess) => Promise<boolean>,
  ): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      if (attempt === ATTEMPTS_MAX) throw new Error('controllers are elected again and again')
      if (this.#client === null) {
        const leader = await this.#leaderOf()
        this.#client = new QuorumClient(leader, await this.#clusterIdOf(leader))
        if (!(await this.#client.isActive(records))) {
          this.close()
          await sleep(ELECTION_PAUSE_MS)
          continue
        }
        if (attempt > 0 && (await isThere(leader))) return
      }
      if (await this.#client.propose(records)) return
      this.close()
      await sleep(ELECTION_PAUSE_MS)
    }
  }

  close(): void {
    this.#client?.close()
    this.#client = null
  }
}
