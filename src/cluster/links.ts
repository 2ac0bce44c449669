/**
 * The links to all other brokers, by what they are for: messages of the quorum, heartbeats, and
 * requests that may take long each have their own. Runs on main.
 */
import type { ErrorCode } from '../errors/error-code.ts'
import type { Logger } from '../metrics/logger.ts'
import { type Address, Link, type LinkIdentity, type PeerHello } from './link.ts'

export type Purpose = 'quorum' | 'beat' | 'change'

/** What is answered at once is overdue after so long; a change waits for a commit. */
const SILENCE_MS: Readonly<Record<Purpose, number>> = { quorum: 1000, beat: 1000, change: 15_000 }

export interface LinksParts {
  readonly identity: () => LinkIdentity
  readonly addressOf: (peerId: number) => Address | null
  readonly onHello: (peerId: number, hello: PeerHello) => void
  /** The connection for messages of the quorum was lost. */
  readonly onLost?: (peerId: number) => void
  readonly onRefused?: (code: ErrorCode, message: string) => void
  readonly logger: Logger
}

export class Links {
  readonly #parts: LinksParts
  readonly #links = new Map<string, Link>()

  constructor(parts: LinksParts) {
    this.#parts = parts
  }

  to(peerId: number, purpose: Purpose): Link {
    const key = `${purpose} ${peerId}`
    const known = this.#links.get(key)
    if (known !== undefined) return known
    const { identity, addressOf, onHello, onLost, onRefused, logger } = this.#parts
    const link = new Link({
      peerId,
      address: () => addressOf(peerId),
      identity,
      onHello: (hello) => onHello(peerId, hello),
      onLost: () => {
        if (purpose === 'quorum') onLost?.(peerId)
      },
      ...(onRefused === undefined ? {} : { onRefused }),
      logger,
      silenceMsMax: SILENCE_MS[purpose],
    })
    this.#links.set(key, link)
    return link
  }

  /** Closes the link and makes it again: both ends say anew who they are. */
  renew(peerId: number, purpose: Purpose): void {
    this.drop(peerId, purpose)
    this.to(peerId, purpose).start()
  }

  /** Closes the link: whoever waits for an answer is told. It is made again when it is needed. */
  drop(peerId: number, purpose: Purpose): void {
    const key = `${purpose} ${peerId}`
    this.#links.get(key)?.close()
    this.#links.delete(key)
  }

  /** Whoever waits for a connection is told, as nothing has been sent; answers are waited for. */
  failUnsent(peerId: number, purpose: Purpose): void {
    this.#links.get(`${purpose} ${peerId}`)?.failUnsent()
  }

  close(): void {
    for (const link of this.#links.values()) link.close()
    this.#links.clear()
  }
}
