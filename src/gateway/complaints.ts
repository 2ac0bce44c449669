import { type Exposition, labelText } from '../metrics/exposition.ts'
import type { Logger } from '../metrics/logger.ts'
import type { Door } from '../metrics/request-metrics.ts'

/**
 * What peers do wrong, counted, and said in the log: a few lines a second of each kind, and of the
 * rest, every ten seconds, how many there were and who some of them are. Whatever peers do, the
 * log grows by a bounded number of lines. Runs on main.
 */
export const COMPLAINT_KINDS = [
  /** Bytes that are no request, or a request that may not come now. */
  'protocol',
  /** More at once than was agreed: bytes, requests, credits. */
  'limit',
  'too_many_connections',
  /** It does not read its answers. */
  'slow_reader',
  /** It does not finish what it sends, or gives nothing back. */
  'slow_sender',
  'silent',
  /** An append without an acknowledgement failed: it learns of it like this. */
  'failed_append',
] as const
export type ComplaintKind = (typeof COMPLAINT_KINDS)[number]

const PER_SECOND = 5
const SUMMARY_MS = 10_000
/** Addresses that a summary names. */
const PEERS_MAX = 5

class Tally {
  windowMs = -Infinity
  inWindow = 0
  total = 0
  suppressed = 0
  /** Since the last summary. */
  unsaid = 0
  readonly peers = new Set<string>()
}

export class Complaints {
  readonly #door: Door
  readonly #logger: Logger
  readonly #nowMs: () => number
  readonly #tallies: ReadonlyMap<ComplaintKind, Tally>
  #summary: NodeJS.Timeout | null = null

  constructor(door: Door, logger: Logger, nowMs: () => number) {
    this.#door = door
    this.#logger = logger
    this.#nowMs = nowMs
    this.#tallies = new Map(COMPLAINT_KINDS.map((kind) => [kind, new Tally()]))
  }

  /** A connection was closed or refused for `reason`, which names what the peer did. */
  closed(peer: string, reason: string, kind: ComplaintKind = 'protocol'): void {
    const tally = this.#tallies.get(kind) as Tally
    const now = this.#nowMs()
    tally.total++
    if (now - tally.windowMs >= 1000) {
      tally.windowMs = now
      tally.inWindow = 0
    }
    if (tally.inWindow++ < PER_SECOND) {
      this.#logger.warn({ peer, kind }, `closed a connection: ${reason}`)
      return
    }
    tally.suppressed++
    tally.unsaid++
    if (tally.peers.size < PEERS_MAX) tally.peers.add(peer)
    this.#summary ??= setTimeout(this.#summarise, SUMMARY_MS).unref()
  }

  /** Says what is left to say. */
  close(): void {
    if (this.#summary !== null) clearTimeout(this.#summary)
    this.#summarise()
  }

  /** Of all doors. */
  static write(all: readonly Complaints[], exposition: Exposition): void {
    exposition.begin('millrace_complaints_total')
    for (const one of all) one.#put(exposition, 'total')
    exposition.begin('millrace_complaints_suppressed_total')
    for (const one of all) one.#put(exposition, 'suppressed')
  }

  #put(exposition: Exposition, field: 'total' | 'suppressed'): void {
    for (const [kind, tally] of this.#tallies) {
      exposition.put(tally[field], labelText({ door: this.#door, kind }))
    }
  }

  readonly #summarise = (): void => {
    this.#summary = null
    for (const [kind, tally] of this.#tallies) {
      if (tally.unsaid === 0) continue
      const connections = `${tally.unsaid} more connection${tally.unsaid === 1 ? '' : 's'}`
      this.#logger.warn(
        { kind, suppressed: tally.unsaid, peers: [...tally.peers] },
        `closed ${connections} in the last ${SUMMARY_MS / 1000} s: ${kind.replaceAll('_', ' ')}`,
      )
      tally.unsaid = 0
      tally.peers.clear()
    }
  }
}
