import { Packr, Unpackr } from 'msgpackr'
import { checkMessagePack } from './check-msgpack.ts'
import {
  CLIENT_MESSAGES,
  type ClientMessage,
  SERVER_MESSAGES,
  type ServerMessage,
} from './messages.ts'
import { type Fields, isMap, wrongField } from './shape.ts'

/**
 * One message of `millrace.v1` to and from bytes:
 *
 *   0 envelope length u32 BE │ 4 envelope, MessagePack │ payload
 *
 * Decoding copies nothing of the payload. Pure; for broker, clients and browsers.
 */
export const LENGTH_BYTES = 4

const packr = new Packr({ useRecords: false, variableMapSize: true })
/** Integers of 64 bits become numbers: what is beyond 2^53 then fails the shape. */
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' })

/** The peer sent bytes that are no message: the connection is of no use any more. */
export class EnvelopeError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'EnvelopeError'
  }
}

/** The head of a message, the payload's bytes to be sent behind it. It owns its memory. */
export function encodeEnvelope(envelope: ClientMessage | ServerMessage): Uint8Array {
  const packed = packr.pack(envelope)
  const head = new Uint8Array(LENGTH_BYTES + packed.length)
  // Byte by byte, here and below: a DataView costs more than all else of a short envelope.
  head[0] = packed.length >>> 24
  head[1] = packed.length >>> 16
  head[2] = packed.length >>> 8
  head[3] = packed.length
  head.set(packed, LENGTH_BYTES)
  return head
}

export interface Decoded<M> {
  readonly envelope: M
  /** Where the payload begins in the message. */
  readonly payloadStart: number
}

/** Throws EnvelopeError. `envelopeBytesMax` is inclusive. */
export function decodeClientMessage(
  bytes: Uint8Array,
  envelopeBytesMax: number,
): Decoded<ClientMessage> {
  return decode(bytes, envelopeBytesMax, CLIENT_MESSAGES) as Decoded<ClientMessage>
}

/** Throws EnvelopeError. */
export function decodeServerMessage(
  bytes: Uint8Array,
  envelopeBytesMax: number,
): Decoded<ServerMessage> {
  return decode(bytes, envelopeBytesMax, SERVER_MESSAGES) as Decoded<ServerMessage>
}

function decode(
  bytes: Uint8Array,
  envelopeBytesMax: number,
  messages: Readonly<Record<string, Fields>>,
): Decoded<unknown> {
  if (bytes.length < LENGTH_BYTES) throw new EnvelopeError('the message has no envelope')
  const high = ((bytes[0] as number) << 24) | ((bytes[1] as number) << 16)
  const length = (high | ((bytes[2] as number) << 8) | (bytes[3] as number)) >>> 0
  const payloadStart = LENGTH_BYTES + length
  if (payloadStart > bytes.length) {
    throw new EnvelopeError(`an envelope of ${length} bytes in a message of ${bytes.length}`)
  }
  if (length > envelopeBytesMax) {
    throw new EnvelopeError(`an envelope of ${length} bytes: at most ${envelopeBytesMax} are read`)
  }
  const packed = bytes.subarray(LENGTH_BYTES, payloadStart)
  // The decoder does not take shared memory everywhere.
  const value = unpack(packed.buffer instanceof ArrayBuffer ? packed : new Uint8Array(packed))
  if (!isMap(value)) throw new EnvelopeError('the envelope is not a map')
  const { type } = value
  const fields = typeof type === 'string' && Object.hasOwn(messages, type) ? messages[type] : null
  if (fields === null || fields === undefined) {
    throw new EnvelopeError(`there is no message of type ${describe(type)}`)
  }
  const wrong = wrongField(fields, value)
  if (wrong !== null) throw new EnvelopeError(`${String(type)}: ${wrong}`)
  return { envelope: value, payloadStart }
}

function unpack(bytes: Uint8Array): unknown {
  const wrong = checkMessagePack(bytes)
  if (wrong !== null) throw new EnvelopeError(`the envelope is no plain MessagePack: ${wrong}`)
  try {
    return unpackr.unpack(bytes)
  } catch {
    throw new EnvelopeError('the envelope has a map with keys that are no strings')
  }
}

function describe(type: unknown): string {
  return typeof type === 'string' ? JSON.stringify(type.slice(0, 40)) : `(${typeof type})`
}
