import { REFUSED_MAX } from '../../broker/descriptor-limit.ts'
import { AddressTally } from './address-tally.ts'
import { tooManyConnections, tooManyFromAddress } from './responses.ts'
import type { WebLimits, WebResponse } from './web-server.ts'

/** What one connection takes of the limits, until it leaves. */
export class Place {
  /** What to answer to its first request; null when it is welcome. */
  readonly refusal: WebResponse | null
  #onLeave: (() => void) | null

  constructor(refusal: WebResponse | null, onLeave: (() => void) | null) {
    this.refusal = refusal
    this.#onLeave = onLeave
  }

  /** The connection is gone; a second time is nothing. */
  leave(): void {
    const onLeave = this.#onLeave
    this.#onLeave = null
    onLeave?.()
  }

  /** The connection goes on with another owner, who says when it leaves. */
  move(): Place {
    const moved = new Place(this.refusal, this.#onLeave)
    this.#onLeave = null
    return moved
  }
}

/** All connections of a server, counted together and by address. */
export class ConnectionPlaces {
  readonly #max: number
  readonly #tally: AddressTally
  #count = 0

  constructor(limits: Pick<WebLimits, 'connectionsMax' | 'connectionsPerAddressMax'>) {
    this.#max = limits.connectionsMax
    this.#tally = new AddressTally(limits.connectionsPerAddressMax)
  }

  get count(): number {
    return this.#count
  }

  /**
   * Null: too many even to be told so. Over the limit a few may wait for their refusal, at most as
   * many as are welcome.
   */
  take(address: string): Place | null {
    if (this.#count >= this.#max + Math.min(REFUSED_MAX, this.#max)) return null
    this.#count++
    const isCounted = this.#tally.tryTake(address)
    const isBeyond = this.#count > this.#max
    const refusal = isBeyond ? tooManyConnections() : isCounted ? null : tooManyFromAddress()
    return new Place(refusal, () => {
      this.#count--
      if (isCounted) this.#tally.release(address)
    })
  }
}
