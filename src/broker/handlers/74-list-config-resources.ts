import { ErrorCode } from '../../errors/error-code.ts'
import type {
  ListConfigResourcesRequest,
  ListConfigResourcesResponseInit,
} from '../../wire/kafka/schema/74-list-config-resources.ts'
import type { Broker } from '../broker.ts'
import { ResourceType } from '../config-resource.ts'
import type { AskContext, Reply } from '../request.ts'

/**
 * ListConfigResources (key 74): what has a configuration. Version 0 asks for client metrics only,
 * which nobody can subscribe to here; loggers have none either.
 */
type Resource = ListConfigResourcesResponseInit['configResources'][number]

const KNOWN: ReadonlySet<number> = new Set(Object.values(ResourceType))

export function listConfigResources(
  broker: Broker,
  body: ListConfigResourcesRequest,
  context: AskContext,
): Reply {
  const all = context.apiVersion === 0 ? [ResourceType.CLIENT_METRICS] : body.resourceTypes
  const types = new Set(all.length === 0 ? KNOWN : all)
  if ([...types].some((type) => !KNOWN.has(type))) {
    return reply(ErrorCode.UNSUPPORTED_VERSION, [])
  }
  const resources: Resource[] = []
  if (types.has(ResourceType.TOPIC)) {
    for (const resourceName of broker.image.topicsByName.keys()) {
      resources.push({ resourceName, resourceType: ResourceType.TOPIC })
    }
  }
  if (types.has(ResourceType.BROKER)) {
    for (const id of [...broker.image.brokers.keys()].sort((a, b) => a - b)) {
      resources.push({ resourceName: String(id), resourceType: ResourceType.BROKER })
    }
  }
  if (types.has(ResourceType.GROUP)) {
    for (const resourceName of broker.image.groupConfigs.keys()) {
      resources.push({ resourceName, resourceType: ResourceType.GROUP })
    }
  }
  return reply(ErrorCode.NONE, resources)
}

function reply(errorCode: ErrorCode, configResources: Resource[]): Reply {
  const body = { throttleTimeMs: 0, errorCode, configResources }
  return { body: body satisfies ListConfigResourcesResponseInit }
}
