/** REST as a test asks for it: every answer is checked against the shape declared for it. */
import assert from 'node:assert/strict'
import type { z } from 'zod'
import { Page, Produced, ReadEvent, Refusal } from '../../src/gateway/rest/shapes.ts'

export const JSON_HEADERS = { 'content-type': 'application/json' }

export type ShownEvent = z.infer<typeof ReadEvent>

export interface RestAnswer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export class Rest {
  readonly #url: string

  constructor(url: string) {
    this.#url = url
  }

  async ask(method: string, path: string, init: RequestInit = {}): Promise<RestAnswer> {
    const response = await fetch(`${this.#url}${path}`, { method, ...init })
    return { status: response.status, headers: response.headers, text: await response.text() }
  }

  /** Expects success; the answer by its shape. */
  async take<T>(
    shape: z.ZodType<T>,
    asked: { method: string; path: string; body?: unknown },
  ): Promise<T> {
    const { method, path, body } = asked
    const init = body === undefined ? {} : { headers: JSON_HEADERS, body: JSON.stringify(body) }
    const { status, text } = await this.ask(method, path, init)
    assert.ok(status >= 200 && status < 300, `${method} ${path}: ${status} ${text}`)
    return shape.parse(JSON.parse(text))
  }

  /** Expects a refusal, which says what to do; returns 'STATUS NAME'. */
  async refusal(method: string, path: string, init: RequestInit = {}): Promise<string> {
    const { status, headers, text } = await this.ask(method, path, init)
    assert.ok(status >= 400, `${method} ${path}: ${status} ${text}`)
    assert.equal(headers.get('content-type'), 'application/json')
    const { error, message } = Refusal.parse(JSON.parse(text))
    assert.ok(message.length > 15, message)
    if (status === 429 || status === 503) assert.ok(headers.has('retry-after'))
    return `${status} ${error}`
  }

  /** Produces JSON and expects every event to be stored; where they are. */
  async produce(path: string, body: unknown): Promise<[number, number][]> {
    const produced = await this.take(Produced, {
      method: 'POST',
      path: `/topics/${path}`,
      body,
    })
    assert.equal(produced.failed, undefined)
    return produced.offsets.map(({ partition, offset }) => [partition, offset])
  }

  page(topic: string, query = '', partition = 0): Promise<z.infer<typeof Page>> {
    const path = `/topics/${topic}/partitions/${partition}/events?${query}`
    return this.take(Page, { method: 'GET', path })
  }

  /** Everything from `offset` on, page by page. */
  async all(topic: string, query = '', partition = 0): Promise<ShownEvent[]> {
    const events: ShownEvent[] = []
    for (let offset = 0; ; ) {
      const page = await this.page(topic, `offset=${offset}&${query}`, partition)
      events.push(...page.events)
      offset = page.nextOffset
      if (offset >= page.highWatermark) return events
    }
  }

  /** Lines as they come; ends with the answer, or by `abort`. */
  async follow(path: string): Promise<Lines> {
    const controller = new AbortController()
    const response = await fetch(`${this.#url}${path}`, { signal: controller.signal })
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('content-type'), 'application/x-ndjson')
    return new Lines(response, controller)
  }
}

export class Lines {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #controller: AbortController
  readonly #decoder = new TextDecoder()
  #text = ''

  constructor(response: Response, controller: AbortController) {
    this.#reader = response.body!.getReader() as ReadableStreamDefaultReader<Uint8Array>
    this.#controller = controller
  }

  /** The next line that is not empty; null when the answer has ended. */
  async line(): Promise<string | null> {
    for (;;) {
      const end = this.#text.indexOf('\n')
      if (end >= 0) {
        const line = this.#text.slice(0, end)
        this.#text = this.#text.slice(end + 1)
        if (line !== '') return line
        continue
      }
      const { value, done } = await this.#reader.read()
      if (done) return null
      this.#text += this.#decoder.decode(value, { stream: true })
    }
  }

  async event(): Promise<ShownEvent> {
    const line = await this.line()
    assert.ok(line !== null, 'the stream has ended')
    return ReadEvent.parse(JSON.parse(line))
  }

  abort(): void {
    this.#controller.abort()
  }
}
