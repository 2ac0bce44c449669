/**
 * Who leads which partition, as far as it is known, and which connection goes there. A client
 * begins with one connection, the main one, which every question without a place goes over; the
 * others are opened when a partition is found to be led elsewhere. Against a broker that is alone,
 * or behind one address, the main one is all there is.
 *
 * What was known turns out to be wrong by a refusal or a lost connection: the partition is suspect,
 * and the cluster is asked, again and again, until somebody else leads it or its leader is back.
 */

import { ErrorCode } from '../errors/error-code.ts'
import type { LeaderHint, ServerMessages } from '../wire/websocket/messages.ts'
import type { Timers } from './platform.ts'
import { type BackoffOptions, backoffMs, sleep } from './wait.ts'

type Metadata = ServerMessages['metadata']

/** Connections are somebody else's business: `L` is one after another to the same broker. */
export interface LeadersParts<L> {
  readonly main: L
  /** False: the client knows one address, whose broker passes things on. */
  readonly follows: boolean
  /** The node at the other end of the main connection, or of the last one; null: none yet. */
  readonly mainNode: () => number | null
  readonly open: (url: string) => L
  readonly close: (link: L) => void
  readonly isOpen: (link: L) => boolean
  readonly ask: (topics: readonly string[], signal: AbortSignal) => Promise<Metadata>
  readonly timers: Timers
  readonly random: () => number
  readonly retry: BackoffOptions
}

interface Place {
  readonly node: number
  readonly epoch: number
}

interface Suspect {
  readonly topic: string
  readonly partition: number
  /** Of the leader that is in doubt; −1: none was known. */
  readonly epoch: number
}

/** Asked of the right broker these would not have come. */
const MISPLACED: ReadonlySet<number> = new Set([
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.FENCED_LEADER_EPOCH,
  ErrorCode.UNKNOWN_LEADER_EPOCH,
])

export function isMisplaced(code: number): boolean {
  return MISPLACED.has(code)
}

export class Leaders<L> {
  readonly #parts: LeadersParts<L>
  readonly #places = new Map<string, (Place | undefined)[]>()
  readonly #urls = new Map<number, string>()
  readonly #links = new Map<number, { readonly url: string; readonly link: L }>()
  readonly #suspects = new Map<string, Suspect>()
  readonly #callbacks = new Set<() => void>()
  readonly #ended = new AbortController()
  #isAsking = false
  #lastMainNode: number | null = null

  constructor(parts: LeadersParts<L>) {
    this.#parts = parts
  }

  /** Of the brokers that are known, for whoever looks for any. */
  get urls(): Iterable<string> {
    return this.#urls.values()
  }

  /** The connections to a partition's leader; the main ones where nothing else is known. */
  linkFor(topic: string, partition: number): L {
    const place = this.#places.get(topic)?.[partition]
    return place === undefined ? this.#parts.main : this.linkOf(place.node)
  }

  /** The connections to a broker; the main ones where there is no way to it. */
  linkOf(node: number): L {
    const known = this.#links.get(node)
    if (known !== undefined) return known.link
    const url = this.#urls.get(node)
    if (url === undefined || node === this.#parts.mainNode()) return this.#parts.main
    const link = this.#parts.open(url)
    this.#links.set(node, { url, link })
    return link
  }

  /** `callback` runs when partitions may have another link than before. Returns how to end that. */
  onChanged(callback: () => void): () => void {
    this.#callbacks.add(callback)
    return () => this.#callbacks.delete(callback)
  }

  // —— what is heard ——

  learn({ urls, topics }: Metadata): void {
    if (!this.#parts.follows || urls === undefined || urls.length === 0) return
    let isChanged = false
    for (const [node, url] of urls) if (this.#learnUrl(node, url)) isChanged = true
    for (const { name, partitions } of topics) {
      for (const [, partition, node, epoch] of partitions) {
        if (this.#learnPlace(name, partition, { node, epoch })) isChanged = true
      }
    }
    if (isChanged) this.#changed()
  }

  /** A broker does not lead the partition, and may have said who does. */
  refused(topic: string, partition: number, hint: LeaderHint | null): void {
    if (!this.#parts.follows) return
    if (hint !== null) {
      const [node, epoch, url] = hint
      const isMoved = url !== '' && this.#learnUrl(node, url)
      if (this.#learnPlace(topic, partition, { node, epoch }) || isMoved) {
        this.#changed()
        return
      }
    }
    this.#suspect(topic, partition)
  }

  /** Where a broker is that was named by itself. */
  learnNode([node, , url]: LeaderHint): void {
    if (this.#parts.follows && url !== '') this.#learnUrl(node, url)
  }

  /** The main connection is open: perhaps to another broker than before. */
  mainOpened(): void {
    const node = this.#parts.mainNode()
    const before = this.#lastMainNode
    this.#lastMainNode = node
    if (before !== null && before !== node) this.#changed()
  }

  /** A connection was lost, or could not be opened: who led over it may lead no more. */
  lost(link: L): void {
    // A broker that is alone comes back, or does not.
    if (this.#urls.size < 2 || this.#ended.signal.aborted) return
    for (const [topic, places] of this.#places) {
      for (let partition = 0; partition < places.length; partition++) {
        const place = places[partition]
        if (place === undefined || this.linkOf(place.node) !== link) continue
        this.#suspect(topic, partition)
      }
    }
  }

  close(): void {
    this.#ended.abort()
    this.#callbacks.clear()
    for (const { link } of this.#links.values()) this.#parts.close(link)
  }

  // —— inside ——

  #learnUrl(node: number, url: string): boolean {
    if (this.#urls.get(node) === url) return false
    this.#urls.set(node, url)
    const known = this.#links.get(node)
    if (known === undefined || known.url === url) return true
    this.#links.delete(node)
    this.#parts.close(known.link)
    return true
  }

  #learnPlace(topic: string, partition: number, place: Place): boolean {
    if (place.node < 0) return false
    const places = this.#places.get(topic) ?? []
    const known = places[partition]
    if (known !== undefined && place.epoch < known.epoch) return false
    if (known?.node === place.node && known.epoch === place.epoch) return false
    places[partition] = place
    this.#places.set(topic, places)
    return true
  }

  #changed(): void {
    for (const callback of [...this.#callbacks]) callback()
  }

  #suspect(topic: string, partition: number): void {
    const epoch = this.#places.get(topic)?.[partition]?.epoch ?? -1
    this.#suspects.set(`${partition}:${topic}`, { topic, partition, epoch })
    if (!this.#isAsking) void this.#askAll()
  }

  async #askAll(): Promise<void> {
    const { timers, retry, random } = this.#parts
    const { signal } = this.#ended
    this.#isAsking = true
    for (let failures = 0; this.#suspects.size > 0 && !signal.aborted; failures++) {
      const delayMs = backoffMs(failures, retry, random())
      await sleep(timers, delayMs, signal).catch(() => {})
      if (signal.aborted) break
      const topics = new Set([...this.#suspects.values()].map(({ topic }) => topic))
      try {
        this.learn(await this.#parts.ask([...topics], signal))
        this.#settle(topics)
      } catch {
        // Nobody could be asked: the next one may.
      }
    }
    this.#isAsking = false
  }

  /** Whoever is refused again says so again: only a leader that is not there is asked for anew. */
  #settle(topics: ReadonlySet<string>): void {
    for (const [key, { topic, partition, epoch }] of this.#suspects) {
      if (!topics.has(topic)) continue
      const place = this.#places.get(topic)?.[partition]
      const isAnother = (place?.epoch ?? -1) > epoch
      if (isAnother || this.#parts.isOpen(this.linkFor(topic, partition))) {
        this.#suspects.delete(key)
      }
    }
  }
}
