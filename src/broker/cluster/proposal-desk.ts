/**
 * Takes changes of metadata where the quorum is led: from this broker and from the others. A change
 * that rests on something that has changed since is sent back; one that does not fit what it rests
 * on is refused, since it would end every node that applies it; one that is taken is answered once
 * it is committed and applied here. Runs on main.
 */
import type { Quorum } from '../../cluster/quorum.ts'
import { recordsEntry } from '../../cluster/quorum-entries.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import { checkRecords } from '../../metadata/check-records.ts'
import type { MetadataImage } from '../../metadata/image.ts'
import type { MetadataRecord } from '../../metadata/records.ts'
import type { Refusal } from '../../raft/leader.ts'
import { type Scope, scopesOf } from './record-scopes.ts'

export interface ProposalAnswer {
  /**
   * NONE; INVALID_UPDATE_VERSION: apply up to `endOffset`, decide again; NOT_CONTROLLER: somebody
   * else leads, and whether the change will be is not known; REQUEST_TIMED_OUT: too much is open;
   * MESSAGE_TOO_LARGE: more than PROPOSAL_BYTES_MAX; INVALID_REQUEST: no image could take it.
   */
  readonly errorCode: ErrorCode
  readonly endOffset: number
}

/** Names of new topics that are remembered: more than are made while a change is on its way. */
const NAMES_MAX = 10_000
/** Proposals that wait for this broker to apply what their brokers have: for milliseconds. */
const EARLY_MAX = 1000
/** What a record has besides its value, and a share of its batch's head; at the most. */
const RECORD_BYTES = 128
/**
 * Of one change, as a batch. Every node receives it in one message, and one with the smallest arena
 * (millrace.arena.ingress.bytes, 16 MiB) takes messages of an eighth of that: a change that a voter
 * could not receive would hold up everything behind it.
 */
export const PROPOSAL_BYTES_MAX = 1.5 * 1024 * 1024

/** Whether the encoded records are no more than one change may be. */
export function fitsProposal(values: readonly Uint8Array[]): boolean {
  let bytes = 0
  for (const { length } of values) bytes += length + RECORD_BYTES
  return bytes <= PROPOSAL_BYTES_MAX
}

interface Open {
  readonly epoch: number
  readonly endOffset: number
  readonly resolve: (answer: ProposalAnswer) => void
}

export interface ProposalDeskParts {
  readonly quorum: () => Quorum
  /** Of what is applied here. */
  readonly image: MetadataImage
  readonly encode: (record: MetadataRecord) => Uint8Array
  readonly wallMs: () => number
  /** A change was refused that no broker in order proposes. */
  readonly onRefused: (reason: string) => void
}

export class ProposalDesk {
  readonly #parts: ProposalDeskParts
  #epoch = -1
  /** Where the last record that wrote to a scope ends, exclusive; of this epoch. */
  readonly #ends = new Map<Scope, number>()
  /** The same of names of new topics, the latest last. */
  readonly #nameEnds = new Map<string, number>()
  /** No name that is not there any more ended above it. */
  #forgottenEnd = 0
  #open: Open[] = []
  /** Of brokers that have applied more than this one. */
  #early: { readonly epoch: number; readonly offset: number; readonly again: () => void }[] = []

  constructor(parts: ProposalDeskParts) {
    this.#parts = parts
  }

  /** This broker leads the quorum and has applied what was there before. */
  get isActive(): boolean {
    const quorum = this.#parts.quorum()
    const { epochStartOffset } = quorum
    return quorum.isLeader && epochStartOffset !== null && quorum.appliedOffset > epochStartOffset
  }

  propose(baseOffset: number, records: readonly MetadataRecord[]): Promise<ProposalAnswer> {
    const quorum = this.#parts.quorum()
    if (!this.isActive) return refused(ErrorCode.NOT_CONTROLLER)
    this.#startEpoch(quorum)
    const { reads, writes, names } = scopesOf(records)
    let restsOn = quorum.epochStartOffset as number
    for (const scope of reads) restsOn = Math.max(restsOn, this.#ends.get(scope) ?? 0)
    for (const name of names) {
      restsOn = Math.max(restsOn, this.#nameEnds.get(name) ?? this.#forgottenEnd)
    }
    if (baseOffset < restsOn) return refused(ErrorCode.INVALID_UPDATE_VERSION, restsOn)
    // Who has applied more than this log holds has it from a leader that came after this one.
    if (baseOffset > quorum.endOffset) return refused(ErrorCode.NOT_CONTROLLER)
    // The proposer knows more than this image does yet; what comes after that these records do not
    // rest on.
    if (baseOffset > quorum.appliedOffset) return this.#waitFor(baseOffset, { baseOffset, records })
    const problem = checkRecords(this.#parts.image, records)
    if (problem !== null) {
      this.#parts.onRefused(problem)
      return refused(ErrorCode.INVALID_REQUEST)
    }
    const values = records.map(this.#parts.encode)
    if (!fitsProposal(values)) return refused(ErrorCode.MESSAGE_TOO_LARGE)
    const endOffset = quorum.propose((place) => recordsEntry(place, values, this.#parts.wallMs()))
    if (typeof endOffset !== 'number') return refused(codeOf(endOffset))
    for (const scope of writes) this.#ends.set(scope, endOffset)
    this.#rememberNames(names, endOffset)
    const { epoch } = quorum
    return new Promise((resolve) => {
      this.#open.push({ epoch, endOffset, resolve })
      this.settle()
    })
  }

  /** The proposer has applied what it rests on, and this broker has not yet. */
  #waitFor(
    offset: number,
    proposal: { readonly baseOffset: number; readonly records: readonly MetadataRecord[] },
  ): Promise<ProposalAnswer> {
    if (this.#early.length >= EARLY_MAX) return refused(ErrorCode.REQUEST_TIMED_OUT)
    return new Promise((resolve) => {
      const again = (): void => resolve(this.propose(proposal.baseOffset, proposal.records))
      this.#early.push({ epoch: this.#epoch, offset, again })
    })
  }

  /** Something was committed and applied, or the leader is another one. */
  settle(): void {
    const quorum = this.#parts.quorum()
    const { epoch, appliedOffset } = quorum
    const left: Open[] = []
    for (const open of this.#open) {
      if (open.epoch !== epoch || !quorum.isLeader) {
        open.resolve({ errorCode: ErrorCode.NOT_CONTROLLER, endOffset: -1 })
      } else if (open.endOffset <= appliedOffset) {
        open.resolve({ errorCode: ErrorCode.NONE, endOffset: open.endOffset })
      } else left.push(open)
    }
    this.#open = left
    if (this.#early.length > 0) this.#takeEarly(quorum)
  }

  #takeEarly({ epoch, appliedOffset, isLeader }: Quorum): void {
    const early = this.#early
    this.#early = []
    for (const one of early) {
      // In another epoch it is looked at as if it came now.
      if (one.epoch !== epoch || !isLeader || one.offset <= appliedOffset) one.again()
      else this.#early.push(one)
    }
  }

  #startEpoch({ epoch }: Quorum): void {
    if (this.#epoch === epoch) return
    this.#epoch = epoch
    this.#ends.clear()
    this.#nameEnds.clear()
    this.#forgottenEnd = 0
  }

  #rememberNames(names: readonly string[], endOffset: number): void {
    for (const name of names) {
      this.#nameEnds.delete(name)
      this.#nameEnds.set(name, endOffset)
    }
    for (const [name, end] of this.#nameEnds) {
      if (this.#nameEnds.size <= NAMES_MAX) break
      this.#nameEnds.delete(name)
      this.#forgottenEnd = end
    }
  }
}

function codeOf(refusal: Refusal): ErrorCode {
  return refusal === 'BUSY' ? ErrorCode.REQUEST_TIMED_OUT : ErrorCode.NOT_CONTROLLER
}

function refused(errorCode: ErrorCode, endOffset = -1): Promise<ProposalAnswer> {
  return Promise.resolve({ errorCode, endOffset })
}
