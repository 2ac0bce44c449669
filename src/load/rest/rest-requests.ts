/**
 * Produce over REST: `POST /topics/{topic}/produce` with
 * `{"format":"base64","partition","events":[{"key","value"}]}`. The body is encoded once;
 * connections are kept.
 */
import { Agent, request as startRequest } from 'node:http'
import { request as startTlsRequest, Agent as TlsAgent } from 'node:https'
import type {
  LoadRecord,
  PreparedRequest,
  RequestConnection,
  RequestDriver,
  RequestEvents,
} from '../driver.ts'
import type { Place } from '../place.ts'

export interface RestOptions {
  readonly url: string
  readonly places: readonly Place[]
}

const ANSWER_BYTES_MAX = 16 * 1024 * 1024
const TIMEOUT_MS = 30_000
const NOT_FOUND = 404

export class RestRequests implements RequestDriver {
  readonly #options: RestOptions

  constructor(options: RestOptions) {
    this.#options = options
  }

  /** The events alone: `prepare` knows their partition. */
  async buildBatch(records: readonly LoadRecord[]): Promise<Uint8Array> {
    const events = records.map(({ key, value }) => {
      const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
      return { ...(key === null ? {} : { key: text(key) }), value: text(value) }
    })
    return Buffer.from(JSON.stringify(events))
  }

  prepare(
    place: number,
    _slot: number,
    { bytes, events }: { readonly bytes: Uint8Array; readonly events: number },
  ): PreparedRequest {
    const { partition } = this.#options.places[place] as Place
    const head = Buffer.from(`{"format":"base64","partition":${partition},"events":`)
    const message = Buffer.concat([head, bytes, Buffer.from('}')])
    return { place, events, batchBytes: message.length, message }
  }

  async open(events: RequestEvents): Promise<RequestConnection> {
    return new RestConnection(this.#options, events)
  }
}

class RestConnection implements RequestConnection {
  readonly #options: RestOptions
  readonly #events: RequestEvents
  readonly #agent: Agent
  readonly #start: typeof startRequest
  #isOpen = true

  constructor(options: RestOptions, events: RequestEvents) {
    this.#options = options
    this.#events = events
    const isTls = options.url.startsWith('https:')
    this.#agent = isTls ? new TlsAgent({ keepAlive: true }) : new Agent({ keepAlive: true })
    this.#start = isTls ? startTlsRequest : startRequest
  }

  mayTake(): boolean {
    return this.#isOpen
  }

  send(slot: number, { place, message }: PreparedRequest): void {
    const { topic } = this.#options.places[place] as Place
    const url = new URL(`/topics/${encodeURIComponent(topic)}/produce`, this.#options.url)
    const headers = { 'Content-Type': 'application/json', 'Content-Length': message.length }
    const request = this.#start(url, { method: 'POST', agent: this.#agent, headers })
    request.setTimeout(TIMEOUT_MS, () => request.destroy(new Error('no answer in time')))
    request.on('error', (error) => this.#broke(error.message))
    request.on('response', (response) => {
      const chunks: Buffer[] = []
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes <= ANSWER_BYTES_MAX) chunks.push(chunk)
        else request.destroy(new Error(`an answer of more than ${ANSWER_BYTES_MAX} bytes`))
      })
      response.on('end', () => {
        this.#answered(slot, response.statusCode ?? 0, Buffer.concat(chunks).toString())
      })
    })
    request.end(message)
  }

  close(): void {
    this.#isOpen = false
    this.#agent.destroy()
  }

  #answered(slot: number, status: number, body: string): void {
    if (!this.#isOpen) return
    if (status >= 200 && status < 300) {
      this.#events.answered(slot, firstOffset(body), null)
    } else if (status === NOT_FOUND && !body.includes('UNKNOWN_TOPIC')) {
      const text = 'this broker has no REST door for events (404): --driver kafka or ws'
      this.#events.answered(slot, -1, text)
    } else {
      this.#events.answered(slot, -1, `HTTP ${status}: ${body.slice(0, 200)}`)
    }
  }

  #broke(reason: string): void {
    if (!this.#isOpen) return
    this.close()
    this.#events.broke(reason)
  }
}

/** Of `{"offsets":[{"partition","offset"}, …]}`; −1: it does not say. */
function firstOffset(body: string): number {
  try {
    const { offsets } = JSON.parse(body) as { offsets?: readonly { offset?: unknown }[] }
    const offset = offsets?.[0]?.offset
    return typeof offset === 'number' ? offset : -1
  } catch {
    return -1
  }
}
