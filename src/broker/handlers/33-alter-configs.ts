import type {
  AlterConfigsRequest,
  AlterConfigsResponseInit,
} from '../../wire/kafka/schema/33-alter-configs.ts'
import type { Broker } from '../broker.ts'
import { alterResources } from '../config-resource.ts'
import type { Reply } from '../request.ts'

/** AlterConfigs (key 33): what a resource has set becomes exactly what the request names. */
export async function alterConfigs(broker: Broker, body: AlterConfigsRequest): Promise<Reply> {
  const responses = await alterResources(broker, body.resources, {
    alterationOf: ({ configs }) => ({ kind: 'replace', entries: configs }),
    validateOnly: body.validateOnly,
  })
  return { body: { throttleTimeMs: 0, responses } satisfies AlterConfigsResponseInit }
}
