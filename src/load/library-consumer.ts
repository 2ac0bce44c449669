/** A consumer of our own client library: records are decoded one by one. */
import type { Client } from '../client/client.ts'
import type { ConsumerRecord } from '../client/consumer-options.ts'
import type { ConsumerLane, ConsumerOptions, ConsumerSink } from './consumer-lane.ts'
import { nameOf, type Place } from './place.ts'

/** Every record, before the batch that it came in is reported. */
export type VisitRecord = (record: ConsumerRecord) => void

export class LibraryConsumer implements ConsumerLane {
  readonly #client: Client
  readonly #options: ConsumerOptions
  readonly #sink: ConsumerSink
  readonly #visit: VisitRecord
  readonly #stop = new AbortController()
  #done: Promise<void> | null = null

  constructor(
    client: Client,
    options: ConsumerOptions,
    parts: { readonly sink: ConsumerSink; readonly visit: VisitRecord },
  ) {
    this.#client = client
    this.#options = options
    this.#sink = parts.sink
    this.#visit = parts.visit
  }

  start(): void {
    this.#done = this.#read().catch((error: unknown) => {
      if (this.#stop.signal.aborted) return
      this.#sink.broke(error instanceof Error ? error.message : String(error))
    })
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#done
  }

  async #read(): Promise<void> {
    const { mine, places, from } = this.#options
    const indexes = new Map(mine.map((index) => [nameOf(places[index] as Place), index]))
    const assignments = mine.map((index) => {
      return { ...(places[index] as Place), offset: from[index] as number }
    })
    await using consumer = this.#client.consumer({ assignments, signal: this.#stop.signal })
    for await (const { topic, partition, records } of consumer.batches()) {
      let bytes = 0
      for (const record of records) {
        bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0)
        this.#visit(record)
      }
      const place = indexes.get(nameOf({ topic, partition })) ?? 0
      const baseOffset = records[0]?.offset ?? 0
      const lastOffset = records.at(-1)?.offset ?? 0
      this.#sink.arrived(place, { baseOffset, lastOffset, bytes })
    }
  }
}
