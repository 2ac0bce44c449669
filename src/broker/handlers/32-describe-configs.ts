import type { ConfigEntry } from '../../config/describe.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  DescribeConfigsRequest,
  DescribeConfigsResponseInit,
} from '../../wire/kafka/schema/32-describe-configs.ts'
import type { Broker } from '../broker.ts'
import { configResource, namedTwice, noConfiguration, resourceKey } from '../config-resource.ts'
import type { Reply } from '../request.ts'

/**
 * DescribeConfigs (key 32): every option of a topic or of this broker, with where it comes from; of
 * all brokers (a broker without a name) what was set for them while they ran.
 */
type ResourceAsked = DescribeConfigsRequest['resources'][number]
type Result = DescribeConfigsResponseInit['results'][number]

const DEFAULT_CONFIG = 5

export function describeConfigs(broker: Broker, body: DescribeConfigsRequest): Reply {
  // Each answer is a hundred times as long as its question: nobody gets the same one twice.
  const seen = new Set<string>()
  const results = body.resources.map((asked) => {
    const key = resourceKey(asked)
    if (seen.has(key)) return refused(asked, ErrorCode.INVALID_REQUEST, namedTwice(asked))
    seen.add(key)
    return describe(broker, asked, body)
  })
  return { body: { throttleTimeMs: 0, results } satisfies DescribeConfigsResponseInit }
}

function describe(broker: Broker, asked: ResourceAsked, body: DescribeConfigsRequest): Result {
  const resource = configResource(asked)
  if (resource === null) return refused(asked, ErrorCode.INVALID_REQUEST, noConfiguration(asked))
  const entries = broker.configs.describe(resource)
  if ('errorCode' in entries) return refused(asked, entries.errorCode, entries.errorMessage)
  return result(asked, entries, body)
}

function result(
  asked: ResourceAsked,
  entries: readonly ConfigEntry[],
  body: DescribeConfigsRequest,
): Result {
  const wanted = asked.configurationKeys === null ? null : new Set(asked.configurationKeys)
  return {
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    resourceType: asked.resourceType,
    resourceName: asked.resourceName,
    configs: entries
      .filter((entry) => wanted === null || wanted.size === 0 || wanted.has(entry.name))
      .map((entry) => ({
        name: entry.name,
        value: entry.value,
        readOnly: entry.readOnly,
        configSource: entry.source,
        isDefault: entry.source === DEFAULT_CONFIG,
        isSensitive: entry.sensitive,
        synonyms: body.includeSynonyms ? entry.synonyms : [],
        configType: entry.type,
        documentation: body.includeDocumentation ? entry.doc : null,
      })),
  }
}

function refused(asked: ResourceAsked, errorCode: number, errorMessage: string): Result {
  const { resourceType, resourceName } = asked
  return { errorCode, errorMessage, resourceType, resourceName, configs: [] }
}
