import { ErrorCode } from '../../errors/error-code.ts'
import { SUPPORTED_APIS } from '../../wire/kafka/api.ts'
import type {
  ApiVersionsRequest,
  ApiVersionsResponseInit,
} from '../../wire/kafka/schema/18-api-versions.ts'
import type { Broker } from '../broker.ts'
import type { Reply, RequestContext } from '../request.ts'

/**
 * ApiVersions (key 18): which APIs and versions this broker speaks. Produce is advertised from
 * version 0 although 0 to 2 are refused: older librdkafka turns compression off otherwise.
 */
const SOFTWARE_NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/ // KIP-511
const NAMED_VERSION_MIN = 3

const API_KEYS = SUPPORTED_APIS.map((api) => ({
  apiKey: api.apiKey,
  minVersion: api.advertisedMin,
  maxVersion: api.maxVersion,
}))

export function apiVersions(
  _broker: Broker,
  body: ApiVersionsRequest,
  context: RequestContext,
): Reply {
  const isNamed = context.apiVersion >= NAMED_VERSION_MIN
  const isLegal =
    SOFTWARE_NAME.test(body.clientSoftwareName) && SOFTWARE_NAME.test(body.clientSoftwareVersion)
  if (isNamed && !isLegal) return answer(ErrorCode.INVALID_REQUEST, [])
  return answer(ErrorCode.NONE, API_KEYS)
}

/** The answer to a version of ApiVersions that this broker does not know; encoded in version 0. */
export function unsupportedApiVersions(): Reply {
  return answer(ErrorCode.UNSUPPORTED_VERSION, API_KEYS)
}

function answer(errorCode: number, apiKeys: ApiVersionsResponseInit['apiKeys']): Reply {
  return { body: { errorCode, apiKeys } satisfies ApiVersionsResponseInit }
}
