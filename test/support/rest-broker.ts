/** A broker for the tests of REST: one for each suite, on each engine that differs in HTTP. */
import { after, before, describe } from 'node:test'
import { loadUws } from '../../src/gateway/web/uws-library.ts'
import { startBroker, type TestBroker } from './broker.ts'
import { createTopic } from './kafka.ts'
import { RawClient } from './raw-client.ts'
import { Rest } from './rest.ts'

export const BYTES_HEADERS = { 'content-type': 'application/octet-stream' }
export const LINES_HEADERS = { 'content-type': 'application/x-ndjson' }
export const NOT_UTF8 = Buffer.from([0xff, 0, 0xc3, 10])

/** There while the tests of the suite run. */
export class RestBroker {
  broker!: TestBroker
  client!: RawClient
  rest!: Rest
  #topics = 0

  get port(): number {
    return Number(new URL(this.broker.httpUrl).port)
  }

  async start(engine: string): Promise<void> {
    this.broker = await startBroker({ shards: 2, set: { 'millrace.http.engine': engine } })
    this.client = await RawClient.open(this.broker.port)
    this.rest = new Rest(this.broker.httpUrl)
  }

  async stop(): Promise<void> {
    this.client?.close()
    await this.broker?.stop()
    this.broker?.cleanUp()
  }

  newName(): string {
    return `topic-${this.#topics++}`
  }

  async newTopic(partitions = 1, configs: Record<string, string> = {}): Promise<string> {
    const name = this.newName()
    await createTopic(this.client, { name, partitions, configs })
    return name
  }
}

export function onRestEngines(name: string, define: (at: RestBroker) => void): void {
  const uws = loadUws() === null ? 'SKIPPED: uWebSockets.js does not load' : false
  // Where there is no addon, auto is node:http, whose HTTP is the same.
  for (const [engine, skip] of [
    ['auto', false],
    ['uws', uws],
  ] as const) {
    describe(`${name}, ${engine}`, { skip, timeout: 180_000 }, () => {
      const at = new RestBroker()
      before(() => at.start(engine))
      after(() => at.stop())
      define(at)
    })
  }
}
