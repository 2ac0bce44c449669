import type { Alteration, ConfigOperation } from '../../config/alter.ts'
import type {
  IncrementalAlterConfigsRequest,
  IncrementalAlterConfigsResponseInit,
} from '../../wire/kafka/schema/44-incremental-alter-configs.ts'
import type { Broker } from '../broker.ts'
import { alterResources } from '../config-resource.ts'
import type { Reply } from '../request.ts'

/** IncrementalAlterConfigs (key 44): single options are set, deleted, appended to, shortened. */
type Resource = IncrementalAlterConfigsRequest['resources'][number]

/** By Kafka's codes. */
const KINDS: readonly ConfigOperation['kind'][] = ['set', 'delete', 'append', 'subtract']

export async function incrementalAlterConfigs(
  broker: Broker,
  body: IncrementalAlterConfigsRequest,
): Promise<Reply> {
  const { validateOnly } = body
  const responses = await alterResources(broker, body.resources, { alterationOf, validateOnly })
  return { body: { throttleTimeMs: 0, responses } satisfies IncrementalAlterConfigsResponseInit }
}

function alterationOf({ configs }: Resource): Alteration | string {
  const operations: ConfigOperation[] = []
  for (const { name, configOperation, value } of configs) {
    const kind = KINDS[configOperation]
    if (kind === undefined) return `${name}: there is no operation ${configOperation}`
    operations.push({ name, kind, value })
  }
  return { kind: 'operations', operations }
}
