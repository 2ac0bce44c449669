/**
 * Produce over Kafka's protocol, version 7: the newest without tagged fields behind the records,
 * the oldest with zstd, and known to every broker from 2.1 to this day, so that all get the same
 * bytes. The correlation id is the slot: a request is encoded once for all connections.
 */
import { errorInfo } from '../../errors/error-code.ts'
import { ApiKey, encodeRequest } from '../../wire/kafka/api.ts'
import { buildRecordBatch } from '../build-batch.ts'
import type {
  LoadRecord,
  PreparedRequest,
  RequestConnection,
  RequestDriver,
  RequestDriverOptions,
  RequestEvents,
} from '../driver.ts'
import type { Address } from '../load-socket.ts'
import type { Place } from '../place.ts'
import { KafkaFrames } from './kafka-frames.ts'

export const PRODUCE_VERSION = 7
export const CLIENT_ID = 'millrace-bench'
const PRODUCE_TIMEOUT_MS = 30_000
/** Of what no slot has asked. */
const GREETING_ID = -1
/** One partition's answer is below a hundred bytes and a topic's name. */
const ANSWER_BYTES_MAX = 64 * 1024

export class KafkaRequests implements RequestDriver {
  readonly #address: Address
  readonly #options: RequestDriverOptions

  constructor(address: Address, options: RequestDriverOptions) {
    this.#address = address
    this.#options = options
  }

  buildBatch(records: readonly LoadRecord[]): Promise<Uint8Array> {
    return buildRecordBatch(records, this.#options.compression)
  }

  prepare(
    place: number,
    slot: number,
    { bytes, events }: { readonly bytes: Uint8Array; readonly events: number },
  ): PreparedRequest {
    const { topic, partition } = this.#options.places[place] as Place
    const header = { correlationId: slot, clientId: CLIENT_ID }
    const chunks = encodeRequest(ApiKey.PRODUCE, PRODUCE_VERSION, header, {
      transactionalId: null,
      acks: this.#options.acks,
      timeoutMs: PRODUCE_TIMEOUT_MS,
      topicData: [{ name: topic, partitionData: [{ index: partition, records: bytes }] }],
    })
    return { place, events, batchBytes: bytes.length, message: Buffer.concat(chunks) }
  }

  async open(events: RequestEvents): Promise<RequestConnection> {
    const connection = new ProduceConnection(this.#options.acks, events)
    const addresses = this.#options.places.map(({ leader }) => leader ?? this.#address)
    await connection.connect(addresses)
    return connection
  }
}

class ProduceConnection implements RequestConnection {
  readonly #acks: number
  readonly #events: RequestEvents
  /** By place; those that one broker leads share its socket. Empty once it is over. */
  #frames: KafkaFrames[] = []

  constructor(acks: number, events: RequestEvents) {
    this.#acks = acks
    this.#events = events
  }

  /** One socket for each broker that leads some of the places, whose leaders these are. */
  async connect(addresses: readonly Address[]): Promise<void> {
    const answer = (bytes: Buffer, start: number, end: number): void => {
      this.#answer(bytes, start, end)
    }
    const events = { answer, broke: (reason: string) => this.#events.broke(reason) }
    const limits = { responseBytesMax: ANSWER_BYTES_MAX }
    const byBroker = new Map<string, KafkaFrames>()
    for (const address of addresses) {
      const key = `${address.host}:${address.port}`
      const known = byBroker.get(key)
      const frames = known ?? (await KafkaFrames.open(address, events, limits))
      if (known === undefined) greet(frames)
      byBroker.set(key, frames)
      this.#frames.push(frames)
    }
  }

  mayTake(): boolean {
    return this.#frames.length > 0
  }

  send(slot: number, request: PreparedRequest): void {
    const frames = this.#frames[request.place]
    if (this.#acks !== 0) frames?.write(request.message)
    // Nothing is answered: it counts as sent when the system has it.
    else frames?.write(request.message, () => this.#events.answered(slot, -1, null))
  }

  close(): void {
    for (const frames of new Set(this.#frames)) frames.close()
    this.#frames = []
  }

  /**
   * correlation id i32 │ topics i32 │ topic string │ partitions i32 │ index i32 │ error i16 │
   * base offset i64 │ append time i64 │ log start i64 │ throttle i32
   */
  #answer(bytes: Buffer, start: number, end: number): void {
    const slot = bytes.readInt32BE(start)
    if (slot === GREETING_ID) return
    const names = start + 8
    const at = names + 2 + (names + 2 <= end ? bytes.readInt16BE(names) : 0)
    const isOne = end - at === 4 + 4 + 2 + 3 * 8 + 4 && bytes.readInt32BE(start + 4) === 1
    if (!isOne || bytes.readInt32BE(at) !== 1) {
      this.close()
      this.#events.broke('it sent what is no answer to Produce')
      return
    }
    const code = bytes.readInt16BE(at + 8)
    const high = bytes.readInt32BE(at + 10)
    const baseOffset = high * 0x1_0000_0000 + bytes.readUInt32BE(at + 14)
    this.#events.answered(slot, baseOffset, code === 0 ? null : refusalOf(code))
  }
}

/** A broker closes who says nothing for long, and not every lane has something for each of them. */
function greet(frames: KafkaFrames): void {
  const header = { correlationId: GREETING_ID, clientId: CLIENT_ID }
  frames.write(Buffer.concat(encodeRequest(ApiKey.API_VERSIONS, 0, header, {})))
}

export function refusalOf(code: number): string {
  const { name, message } = errorInfo(code)
  return `${name}: ${message}`
}
