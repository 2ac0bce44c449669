import type { Alteration, AlterOutcome } from '../config/alter.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { Broker } from './broker.ts'
import type { ConfigResource } from './config-service.ts'

/** Kafka's codes of what has a configuration. */
export const ResourceType = {
  TOPIC: 2,
  BROKER: 4,
  BROKER_LOGGER: 8,
  CLIENT_METRICS: 16,
  GROUP: 32,
} as const

export interface NamedResource {
  readonly resourceType: number
  readonly resourceName: string
}

/** The resource that a request names; null for a type without a configuration here. */
export function configResource(asked: NamedResource): ConfigResource | null {
  const name = asked.resourceName
  switch (asked.resourceType) {
    case ResourceType.TOPIC:
      return { kind: 'topic', name }
    case ResourceType.BROKER:
      return { kind: 'broker', name }
    case ResourceType.GROUP:
      return { kind: 'group', name }
    default:
      return null
  }
}

export function noConfiguration({ resourceType }: NamedResource): string {
  return `Resource type ${resourceType} has no configuration here`
}

export function namedTwice({ resourceName }: NamedResource): string {
  return `"${resourceName}" stands in the request twice`
}

/**
 * Changes resources, one after the other, each by itself: what one is refused for does not keep
 * the others from being changed. A resource that is named twice is not changed at all, as in Kafka.
 */
export async function alterResources<R extends NamedResource>(
  broker: Broker,
  resources: readonly R[],
  how: { alterationOf: (resource: R) => Alteration | string; validateOnly: boolean },
): Promise<(NamedResource & AlterOutcome)[]> {
  const counts = new Map<string, number>()
  for (const one of resources) counts.set(resourceKey(one), (counts.get(resourceKey(one)) ?? 0) + 1)
  const responses: (NamedResource & AlterOutcome)[] = []
  for (const asked of resources) {
    const { resourceType, resourceName } = asked
    const outcome = await alter(broker, asked, {
      ...how,
      isTwice: (counts.get(resourceKey(asked)) ?? 0) > 1,
    })
    responses.push({ resourceType, resourceName, ...outcome })
  }
  return responses
}

async function alter<R extends NamedResource>(
  broker: Broker,
  asked: R,
  how: {
    alterationOf: (resource: R) => Alteration | string
    validateOnly: boolean
    isTwice: boolean
  },
): Promise<AlterOutcome> {
  if (how.isTwice) return invalid(namedTwice(asked))
  const resource = configResource(asked)
  if (resource === null) return invalid(noConfiguration(asked))
  const alteration = how.alterationOf(asked)
  if (typeof alteration === 'string') return invalid(alteration)
  return broker.configs.alter(resource, alteration, how.validateOnly)
}

export function resourceKey({ resourceType, resourceName }: NamedResource): string {
  return `${resourceType}/${resourceName}`
}

function invalid(errorMessage: string): AlterOutcome {
  return { errorCode: ErrorCode.INVALID_REQUEST, errorMessage }
}
