/**
 * Options of topics, brokers and groups over Kafka's protocol: described and changed, of any broker
 * of the protocol. A refusal is an AdminError.
 */
import { ApiKey } from '../wire/kafka/api.ts'
import { check, missing } from './admin-error.ts'
import type { KafkaConnection } from './kafka-connection.ts'

const RESOURCE_TYPES = { topic: 2, broker: 4, group: 32 } as const
const OPERATIONS = { set: 0, delete: 1, append: 2, subtract: 3 } as const

export interface ConfigResource {
  readonly type: keyof typeof RESOURCE_TYPES
  /** Of a broker: its node id, '' for all brokers. */
  readonly name: string
}

/** Who set an option, by Kafka's codes. */
const SOURCES = [
  'unknown',
  'topic',
  'broker',
  'all brokers',
  'start',
  'default',
  'logger',
  'client metrics',
  'group',
] as const
export type ConfigSourceName = (typeof SOURCES)[number]

export interface ConfigValue {
  readonly name: string
  /** Null: not set, or secret. */
  readonly value: string | null
  readonly source: ConfigSourceName
  readonly readOnly: boolean
  readonly sensitive: boolean
  readonly synonyms: readonly {
    readonly name: string
    readonly value: string | null
    readonly source: ConfigSourceName
  }[]
}

export interface ConfigChange {
  readonly name: string
  readonly operation: keyof typeof OPERATIONS
  /** Null with 'delete' only. */
  readonly value: string | null
}

export class KafkaConfigs {
  readonly #connection: KafkaConnection

  constructor(connection: KafkaConnection) {
    this.#connection = connection
  }

  /** Every option of a resource, sorted by name; or only those named. */
  async describe(
    resource: ConfigResource,
    names: readonly string[] | null = null,
  ): Promise<ConfigValue[]> {
    const answer = await this.#connection.request(ApiKey.DESCRIBE_CONFIGS, () => ({
      resources: [{ ...named(resource), configurationKeys: names === null ? null : [...names] }],
      includeSynonyms: true,
    }))
    const [result] = answer.results
    if (result === undefined) throw missing(resource.name)
    check(subjectOf(resource), result.errorCode, result.errorMessage)
    const values = result.configs.map((entry) => ({
      name: entry.name,
      value: entry.value,
      source: SOURCES[entry.configSource] ?? 'unknown',
      readOnly: entry.readOnly,
      sensitive: entry.isSensitive,
      synonyms: entry.synonyms.map(({ name, value, source }) => {
        return { name, value, source: SOURCES[source] ?? 'unknown' }
      }),
    }))
    return values.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** All of the changes or none. */
  async alter(
    resource: ConfigResource,
    changes: readonly ConfigChange[],
    { validateOnly = false } = {},
  ): Promise<void> {
    const configs = changes.map(({ name, operation, value }) => {
      return { name, configOperation: OPERATIONS[operation], value }
    })
    const answer = await this.#connection.request(ApiKey.INCREMENTAL_ALTER_CONFIGS, () => ({
      resources: [{ ...named(resource), configs }],
      validateOnly,
    }))
    const [result] = answer.responses
    if (result === undefined) throw missing(resource.name)
    check(subjectOf(resource), result.errorCode, result.errorMessage)
  }
}

function named({ type, name }: ConfigResource): { resourceType: number; resourceName: string } {
  return { resourceType: RESOURCE_TYPES[type], resourceName: name }
}

function subjectOf({ type, name }: ConfigResource): string {
  if (type === 'topic') return name
  if (type === 'group') return `group ${name}`
  return name === '' ? 'all brokers' : `broker ${name}`
}
