/**
 * Reads partitions over Kafka's protocol: Fetch version 11, the newest without tagged fields, known
 * from Kafka 2.3 to this day. One request at a time for all partitions, without a session.
 */
import {
  ApiKey,
  DecodeError,
  decodeResponse,
  decodeResponseHeader,
  encodeRequest,
  Reader,
} from '../../wire/kafka/api.ts'
import type { ConsumerLane, ConsumerOptions, ConsumerSink } from '../consumer-lane.ts'
import type { Address } from '../load-socket.ts'
import { nameOf, type Place } from '../place.ts'
import { scanBatches } from '../scan-batches.ts'
import { KafkaFrames } from './kafka-frames.ts'
import { CLIENT_ID, refusalOf } from './kafka-requests.ts'

const FETCH_VERSION = 11
const WAIT_MS = 500
const ANSWER_BYTES = 16 * 1024 * 1024
const ANSWER_BYTES_MAX = 256 * 1024 * 1024
const RECEIVE_BYTES = 256 * 1024

export class KafkaConsumer implements ConsumerLane {
  readonly #options: ConsumerOptions
  readonly #sink: ConsumerSink
  readonly #next: number[]
  /** Indexes of places by name. */
  readonly #indexes: ReadonlyMap<string, number>
  readonly #reader = new Reader()
  #frames: KafkaFrames | null = null
  #correlationId = 0

  private constructor(options: ConsumerOptions, sink: ConsumerSink) {
    this.#options = options
    this.#sink = sink
    this.#next = [...options.from]
    this.#indexes = new Map(
      options.mine.map((index) => [nameOf(options.places[index] as Place), index]),
    )
  }

  /** Connects. Throws LoadError. */
  static async open(
    address: Address,
    options: ConsumerOptions,
    sink: ConsumerSink,
  ): Promise<KafkaConsumer> {
    const consumer = new KafkaConsumer(options, sink)
    consumer.#frames = await KafkaFrames.open(
      address,
      {
        answer: (bytes, start, end) => consumer.#answer(bytes, start, end),
        broke: (reason) => consumer.#broke(reason),
      },
      { responseBytesMax: ANSWER_BYTES_MAX, receiveBytes: RECEIVE_BYTES },
    )
    return consumer
  }

  start(): void {
    this.#fetch()
  }

  close(): void {
    this.#frames?.close()
    this.#frames = null
  }

  #broke(reason: string): void {
    this.close()
    this.#sink.broke(reason)
  }

  #fetch(): void {
    const { places, mine, fetchBytes } = this.#options
    const topics = new Map<string, { partition: number; fetchOffset: number }[]>()
    for (const index of mine) {
      const { topic, partition } = places[index] as Place
      const fetchOffset = this.#next[index] as number
      const wanted = topics.get(topic) ?? []
      wanted.push({ partition, fetchOffset })
      topics.set(topic, wanted)
    }
    const header = { correlationId: ++this.#correlationId, clientId: CLIENT_ID }
    const request = encodeRequest(ApiKey.FETCH, FETCH_VERSION, header, {
      maxWaitMs: WAIT_MS,
      minBytes: 1,
      maxBytes: ANSWER_BYTES,
      topics: [...topics].map(([topic, wanted]) => {
        const partitions = wanted.map((one) => ({ ...one, partitionMaxBytes: fetchBytes }))
        return { topic, partitions }
      }),
      forgottenTopicsData: [],
    })
    this.#frames?.write(Buffer.concat(request))
  }

  #answer(bytes: Buffer, start: number, end: number): void {
    try {
      const reader = this.#reader.reset(bytes, start, end)
      decodeResponseHeader(ApiKey.FETCH, FETCH_VERSION, reader)
      const answer = decodeResponse(ApiKey.FETCH, FETCH_VERSION, reader)
      if (answer.errorCode !== 0) {
        this.#broke(refusalOf(answer.errorCode))
        return
      }
      for (const { topic, partitions } of answer.responses) {
        for (const one of partitions) {
          const index = this.#indexes.get(nameOf({ topic, partition: one.partitionIndex }))
          if (index !== undefined) this.#take(index, one, bytes)
        }
      }
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error
      this.#broke(`it sent what is no answer to Fetch: ${error.message}`)
      return
    }
    this.#fetch()
  }

  #take(
    index: number,
    answer: {
      readonly errorCode: number
      readonly highWatermark: number
      readonly records: { readonly offset: number; readonly length: number } | null
    },
    bytes: Buffer,
  ): void {
    if (answer.errorCode !== 0) {
      this.close()
      this.#sink.wrong(index, refusalOf(answer.errorCode))
      return
    }
    this.#sink.highWatermark(index, answer.highWatermark)
    if (answer.records === null) return
    const { offset: start, length } = answer.records
    const range = { start, end: start + length, checkCrc: this.#options.checkCrc }
    const problem = scanBatches(bytes, range, (baseOffset, lastOffset, size) => {
      if (lastOffset >= (this.#next[index] as number)) this.#next[index] = lastOffset + 1
      this.#sink.arrived(index, { baseOffset, lastOffset, bytes: size })
    })
    if (problem === null) return
    this.close()
    this.#sink.wrong(index, problem)
  }
}
