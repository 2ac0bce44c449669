/**
 * What logs take on the broker's disks, by DescribeLogDirs (key 35) where the broker has it.
 * Version 1, written here: the wire codec speaks what our own broker serves.
 */
import { ApiKey, decodeResponse, encodeRequest, Reader } from '../../wire/kafka/api.ts'
import { LoadError } from '../load-error.ts'
import type { Address } from '../load-socket.ts'
import { nameOf, type Place } from '../place.ts'
import { KafkaFrames } from './kafka-frames.ts'
import { CLIENT_ID, refusalOf } from './kafka-requests.ts'

const DESCRIBE_LOG_DIRS = 35
const VERSION = 1
const TIMEOUT_MS = 30_000
const RESPONSE_BYTES_MAX = 64 * 1024 * 1024

/** Bytes in the order of `places`; null: the broker cannot be asked. Throws LoadError. */
export async function askLogBytes(
  address: Address,
  places: readonly Place[],
): Promise<number[] | null> {
  let answered: (frame: Buffer) => void = () => {}
  let failed: (error: Error) => void = () => {}
  const events = {
    answer: (bytes: Buffer, start: number, end: number) => {
      answered(Buffer.from(bytes.subarray(start, end)))
    },
    broke: (reason: string) => failed(new LoadError(reason)),
  }
  const limits = { responseBytesMax: RESPONSE_BYTES_MAX }
  const frames = await KafkaFrames.open(address, events, limits)
  const ask = async (request: Uint8Array): Promise<Buffer> => {
    let timer: NodeJS.Timeout | null = null
    try {
      return await new Promise<Buffer>((resolve, reject) => {
        answered = resolve
        failed = reject
        timer = setTimeout(() => reject(new LoadError('no answer in time')), TIMEOUT_MS)
        frames.write(request)
      })
    } finally {
      if (timer !== null) clearTimeout(timer)
    }
  }
  try {
    if (!(await isServed(ask))) return null
    const topics = new Map<string, number[]>()
    for (const { topic, partition } of places) {
      topics.set(topic, [...(topics.get(topic) ?? []), partition])
    }
    const bytes = decodeLogDirs(await ask(encodeLogDirs(topics)))
    return places.map((place) => bytes.get(nameOf(place)) ?? 0)
  } finally {
    frames.close()
  }
}

async function isServed(ask: (request: Uint8Array) => Promise<Buffer>): Promise<boolean> {
  const header = { correlationId: 0, clientId: CLIENT_ID }
  const frame = await ask(Buffer.concat(encodeRequest(ApiKey.API_VERSIONS, 0, header, {})))
  const reader = new Reader(frame)
  reader.int32('correlationId')
  const { apiKeys } = decodeResponse(ApiKey.API_VERSIONS, 0, reader)
  return apiKeys.some(({ apiKey, minVersion, maxVersion }) => {
    return apiKey === DESCRIBE_LOG_DIRS && minVersion <= VERSION && maxVersion >= VERSION
  })
}

/** size │ key i16, version i16, correlation id i32, client id │ [topic │ [partition i32]] */
export function encodeLogDirs(topics: ReadonlyMap<string, readonly number[]>): Buffer {
  const int16 = (value: number): Buffer => {
    const bytes = Buffer.alloc(2)
    bytes.writeInt16BE(value)
    return bytes
  }
  const int32 = (value: number): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32BE(value)
    return bytes
  }
  const text = (value: string): Buffer => {
    return Buffer.concat([int16(Buffer.byteLength(value)), Buffer.from(value)])
  }
  const parts = [int16(DESCRIBE_LOG_DIRS), int16(VERSION), int32(1), text(CLIENT_ID)]
  parts.push(int32(topics.size))
  for (const [topic, partitions] of topics) {
    parts.push(text(topic), int32(partitions.length), ...partitions.map(int32))
  }
  const request = Buffer.concat(parts)
  return Buffer.concat([int32(request.length), request])
}

/**
 * correlation id, throttle │ [error i16, directory │ [topic │ [partition i32, bytes i64, lag i64,
 * future i8]]] → bytes by "topic-partition". A log that is moving to another directory counts once.
 */
export function decodeLogDirs(frame: Buffer): Map<string, number> {
  const reader = new Reader(frame)
  const bytes = new Map<string, number>()
  reader.int32('correlationId')
  reader.int32('throttleTimeMs')
  for (let dirs = reader.int32('results'); dirs > 0; dirs--) {
    const code = reader.int16('errorCode')
    if (code !== 0) throw new LoadError(`the broker's log directories: ${refusalOf(code)}`)
    reader.string('logDir')
    for (let topics = reader.int32('topics'); topics > 0; topics--) {
      const topic = reader.string('name')
      for (let partitions = reader.int32('partitions'); partitions > 0; partitions--) {
        const partition = reader.int32('partitionIndex')
        const high = reader.int32('partitionSize')
        const size = high * 0x1_0000_0000 + (reader.int32('partitionSize') >>> 0)
        reader.take(8, 'offsetLag')
        if (reader.int8('isFutureKey') === 0) bytes.set(nameOf({ topic, partition }), size)
      }
    }
  }
  return bytes
}
