/** Decoding a request and encoding a response of every API, from samples that the schema gives. */
import {
  apiName,
  decodeRequest,
  decodeRequestHeader,
  encodeRequest,
  encodeResponse,
  Reader,
  SUPPORTED_APIS,
} from '../../src/wire/kafka/api.ts'
import { isArray, layoutOf } from '../../src/wire/kafka/codec/layout.ts'
import { API_SCHEMAS } from '../../src/wire/kafka/schema/catalog.ts'
import type { ElementType, Fields } from '../../src/wire/kafka/schema/definition.ts'
import type { MicroCase } from './micro-case.ts'

/** Elements of every array in a sample. */
const ELEMENTS = 3
const RECORDS = new Uint8Array(300)
const UUID = 'AAECAwQFBgcICQoLDA0ODw'

interface Version {
  readonly number: number
  readonly flexible: boolean
}

function sampleOf(fields: Fields, version: Version): Record<string, unknown> {
  const { slots } = layoutOf(fields, version, '')
  const carried = slots.filter((slot) => slot.inline)
  return Object.fromEntries(
    carried.map(({ name, type }) => {
      if (!isArray(type)) return [name, elementOf(type, version)]
      return [name, Array.from({ length: ELEMENTS }, () => elementOf(type[0], version))]
    }),
  )
}

function elementOf(type: ElementType, version: Version): unknown {
  switch (type) {
    case 'bool':
      return true
    case 'string':
      return 'a-topic-name'
    case 'uuid':
      return UUID
    case 'bytes':
    case 'records':
      return RECORDS
    case 'int64':
      return 1_234_567_890_123
    default:
      return typeof type === 'object' ? sampleOf(type, version) : 7
  }
}

export function codecCases(): MicroCase[] {
  return SUPPORTED_APIS.flatMap(({ apiKey, maxVersion, flexibleMin }) => {
    const { request, response } = API_SCHEMAS[apiKey]
    const version = { number: maxVersion, flexible: maxVersion >= flexibleMin }
    const header = { correlationId: 1, clientId: 'micro' }
    const body = sampleOf(request.fields, version)
    const frame = Buffer.concat(encodeRequest(apiKey, maxVersion, header, body as never)).subarray(
      4,
    )
    const answer = sampleOf(response.fields, version)
    const encode = () => encodeResponse(apiKey, maxVersion, 1, answer as never)
    const sizeOf = (chunks: Uint8Array[]) => chunks.reduce((sum, one) => sum + one.length, 0)
    const bytes = sizeOf(encode())
    const reader = new Reader()
    const name = `${apiName(apiKey)} v${maxVersion}`
    return [
      {
        group: 'decode a request',
        name,
        bytes: frame.length,
        run: () => {
          reader.reset(frame, 0, frame.length)
          decodeRequestHeader(reader)
          return decodeRequest(apiKey, maxVersion, reader)
        },
        check: (decoded: unknown) => typeof decoded === 'object' && decoded !== null,
      },
      {
        group: 'encode a response',
        name,
        bytes,
        run: encode,
        check: (chunks: unknown) => sizeOf(chunks as Uint8Array[]) === bytes,
      },
    ]
  })
}
