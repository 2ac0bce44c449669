/** The requests of one connection that have no answer yet: by id, oldest first. */

import type { ServerMessage } from '../wire/websocket/messages.ts'
import type { MillraceError } from './errors.ts'

const ID_MODULO = 2 ** 32

/** Who asked. Exactly one of the two is called, once. */
export interface AnswerHandler {
  answered(message: ServerMessage, payload: Uint8Array): void
  failed(error: MillraceError): void
}

export interface PendingRequest {
  readonly handler: AnswerHandler
  /** Monotonic; when it has waited too long. */
  readonly deadlineMs: number
  /** Credits that come back with the answer, bytes. */
  readonly cost: number
}

export class PendingRequests {
  /** In the order of sending, which is that of the deadlines: all have the same time. */
  readonly #requests = new Map<number, PendingRequest>()
  #nextId = 0

  get count(): number {
    return this.#requests.size
  }

  /** When the oldest has waited too long; infinite when there is none. */
  get deadlineMs(): number {
    return this.#requests.values().next().value?.deadlineMs ?? Number.POSITIVE_INFINITY
  }

  /** A number for a request. Numbers are used again, but for those without an answer. */
  takeId(): number {
    while (this.#requests.has(this.#nextId)) this.#nextId = (this.#nextId + 1) % ID_MODULO
    const id = this.#nextId
    this.#nextId = (id + 1) % ID_MODULO
    return id
  }

  add(id: number, request: PendingRequest): void {
    this.#requests.set(id, request)
  }

  /** The request that is answered; undefined: there is none of that number. */
  take(id: number): PendingRequest | undefined {
    const request = this.#requests.get(id)
    this.#requests.delete(id)
    return request
  }

  /** Takes all, oldest first. */
  takeAll(): PendingRequest[] {
    const all = [...this.#requests.values()]
    this.#requests.clear()
    return all
  }
}
