import {
  type ConfigEntry,
  describeBrokerConfigs,
  describeTopicConfigs,
} from '../../config/describe.ts'
import { ErrorCode } from '../../errors/error-code.ts'
import type {
  DescribeConfigsRequest,
  DescribeConfigsResponseInit,
} from '../../wire/kafka/schema/32-describe-configs.ts'
import type { Broker } from '../broker.ts'
import type { Reply } from '../request.ts'

/**
 * DescribeConfigs (key 32): every option of a topic or of this broker, with where it comes from.
 */
type ResourceAsked = DescribeConfigsRequest['resources'][number]
type Result = DescribeConfigsResponseInit['results'][number]

const TOPIC = 2
const BROKER = 4
const DEFAULT_CONFIG = 5

export function describeConfigs(broker: Broker, body: DescribeConfigsRequest): Reply {
  const results = body.resources.map((asked) => describe(broker, asked, body))
  return { body: { throttleTimeMs: 0, results } satisfies DescribeConfigsResponseInit }
}

function describe(broker: Broker, asked: ResourceAsked, body: DescribeConfigsRequest): Result {
  if (asked.resourceType === TOPIC) {
    const topic = broker.topicByName(asked.resourceName)
    if (topic === undefined) {
      const message = `There is no topic "${asked.resourceName}"`
      return refused(asked, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message)
    }
    return result(asked, describeTopicConfigs(topic.configs, broker.config), body)
  }
  if (asked.resourceType === BROKER) {
    if (asked.resourceName !== '' && asked.resourceName !== String(broker.nodeId)) {
      const message = `This is broker ${broker.nodeId}, not "${asked.resourceName}"`
      return refused(asked, ErrorCode.INVALID_REQUEST, message)
    }
    // Without a name the cluster-wide dynamic defaults are meant; there are none.
    const entries = asked.resourceName === '' ? [] : describeBrokerConfigs(broker.config)
    return result(asked, entries, body)
  }
  const message = `Resource type ${asked.resourceType} has no configuration here`
  return refused(asked, ErrorCode.INVALID_REQUEST, message)
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
