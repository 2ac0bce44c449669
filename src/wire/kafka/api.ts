import { ApiKey, type ApiName, apiName } from './api-key.ts'
import { MessageCodecs } from './codec/codecs.ts'
import type { Reader } from './reader.ts'
import {
  type AnyApiKey,
  API_SCHEMAS,
  type ApiSchema,
  CLUSTER_SCHEMAS,
  type RequestInit,
  type RequestOf,
  type ResponseInit,
  type ResponseOf,
  type SupportedApiKey,
} from './schema/catalog.ts'
import { type RequestHeader, requestHeader, responseHeader } from './schema/headers.ts'
import { parseVersions } from './schema/version-range.ts'
import { Writer } from './writer.ts'

/**
 * Kafka messages to and from bytes: headers, bodies, frames. Pure; one set of codecs and one writer
 * per thread. Bad bytes are a DecodeError; a version that does not exist is a RangeError, so ask
 * `isSupported` first.
 */
export { ApiKey, type ApiName, apiName, ClusterApi } from './api-key.ts'
export { DecodeError } from './decode-error.ts'
export { Reader } from './reader.ts'
export type {
  AnyApiKey,
  ClusterApiKey,
  RequestInit,
  RequestOf,
  ResponseInit,
  ResponseOf,
  SupportedApiKey,
} from './schema/catalog.ts'
export type { RecordsChunks, RecordsRange } from './schema/definition.ts'
export type { RequestHeader } from './schema/headers.ts'

export interface SupportedApi {
  readonly apiKey: SupportedApiKey
  readonly name: ApiName
  /** Versions that can be decoded and are stable, both inclusive. */
  readonly minVersion: number
  readonly maxVersion: number
  /** What ApiVersions says: `minVersion`, save for Produce (see its schema). */
  readonly advertisedMin: number
  /** First version with compact encoding and tagged fields; Infinity when there is none. */
  readonly flexibleMin: number
}

interface Api extends Omit<SupportedApi, 'apiKey' | 'name'> {
  readonly apiKey: AnyApiKey
  readonly request: MessageCodecs
  readonly response: MessageCodecs
}

function apiOfSchema([key, schema]: [string, ApiSchema]): Api {
  const { request, response, advertisedMin } = schema
  const { min, max } = parseVersions(request.versions)
  const flexible = parseVersions(request.flexible)
  return {
    apiKey: Number(key) as AnyApiKey,
    minVersion: min,
    maxVersion: request.latestVersionUnstable ? max - 1 : max,
    advertisedMin: advertisedMin ?? min,
    flexibleMin: flexible.max < 0 ? Number.POSITIVE_INFINITY : flexible.min,
    request: new MessageCodecs(request),
    response: new MessageCodecs(response),
  }
}

const APIS = Object.entries(API_SCHEMAS).map(apiOfSchema)
const CLUSTER_APIS = Object.entries(CLUSTER_SCHEMAS).map(apiOfSchema)

const BY_KEY: (Api | undefined)[] = []
for (const api of [...APIS, ...CLUSTER_APIS]) BY_KEY[api.apiKey] = api

const REQUEST_HEADER = new MessageCodecs(requestHeader)
const RESPONSE_HEADER = new MessageCodecs(responseHeader)

const writer = new Writer()

/** Every API of clients that this codec speaks, by ascending key. */
export const SUPPORTED_APIS: readonly SupportedApi[] = APIS.map((api) => ({
  ...api,
  apiKey: api.apiKey as SupportedApiKey,
  name: apiName(api.apiKey) as ApiName,
}))

/** True when requests of this key and version can be decoded. */
export function isSupported(apiKey: number, version: number): apiKey is AnyApiKey {
  const api = BY_KEY[apiKey]
  return api !== undefined && version >= api.minVersion && version <= api.maxVersion
}

/**
 * Reads the header of a request and leaves the reader at its body. Neither key nor version needs to
 * be supported: of an unknown key the client id is unknown too (null), and nothing behind the
 * correlation id is read; an unknown version counts as flexible when it is above the first such.
 */
export function decodeRequestHeader(reader: Reader): RequestHeader {
  const start = reader.position
  const requestApiKey = reader.int16('requestApiKey')
  const requestApiVersion = reader.int16('requestApiVersion')
  const api = BY_KEY[requestApiKey]
  if (api === undefined) {
    const correlationId = reader.int32('correlationId')
    return { requestApiKey, requestApiVersion, correlationId, clientId: null }
  }
  reader.position = start
  const version = requestApiVersion >= api.flexibleMin ? 2 : 1
  return REQUEST_HEADER.decoder(version)(reader) as RequestHeader
}

/**
 * Decodes a request's body. What follows it is ignored, as Kafka does: librdkafka leaves three
 * bytes behind a Metadata request for all topics.
 */
export function decodeRequest<K extends AnyApiKey>(
  apiKey: K,
  version: number,
  reader: Reader,
): RequestOf<K> {
  const { request } = apiOf(apiKey)
  return request.decoder(version)(reader) as RequestOf<K>
}

/**
 * The frame of a response as chunks to send in order; record batches are among them by reference.
 */
export function encodeResponse<K extends AnyApiKey>(
  apiKey: K,
  version: number,
  correlationId: number,
  body: ResponseInit<K>,
): Uint8Array[] {
  const api = apiOf(apiKey)
  const encode = api.response.encoder(version)
  writer.start('cut')
  writer.int32(correlationId)
  if (responseHeaderVersion(api, version) === 1) writer.uvarint(0)
  encode(writer, body)
  return writer.finish()
}

/** The frame of a request, for clients, tests and benchmarks. */
export function encodeRequest<K extends AnyApiKey>(
  apiKey: K,
  version: number,
  header: { readonly correlationId: number; readonly clientId: string | null },
  body: RequestInit<K>,
): Uint8Array[] {
  const api = apiOf(apiKey)
  const encode = api.request.encoder(version)
  const { correlationId, clientId } = header
  const fields = { requestApiKey: apiKey, requestApiVersion: version, correlationId, clientId }
  writer.start()
  REQUEST_HEADER.encoder(version >= api.flexibleMin ? 2 : 1)(writer, fields)
  encode(writer, body)
  return writer.finish()
}

/** Reads a response's header (and its body must follow) and returns the correlation id. */
export function decodeResponseHeader(apiKey: AnyApiKey, version: number, reader: Reader): number {
  const headerVersion = responseHeaderVersion(apiOf(apiKey), version)
  const header = RESPONSE_HEADER.decoder(headerVersion)(reader) as { correlationId: number }
  return header.correlationId
}

/** Decodes a response's body, which must end where the reader ends. */
export function decodeResponse<K extends AnyApiKey>(
  apiKey: K,
  version: number,
  reader: Reader,
): ResponseOf<K> {
  const { response } = apiOf(apiKey)
  const body = response.decoder(version)(reader)
  reader.finish(response.schema.name)
  return body as ResponseOf<K>
}

function apiOf(apiKey: number): Api {
  const api = BY_KEY[apiKey]
  if (api === undefined) throw new RangeError(`API ${apiName(apiKey)} is not supported`)
  return api
}

function responseHeaderVersion(api: Api, version: number): number {
  // A client that asks for its first time cannot know our versions: always header v0 (KIP-511).
  if (api.apiKey === ApiKey.API_VERSIONS) return 0
  return version >= api.flexibleMin ? 1 : 0
}
