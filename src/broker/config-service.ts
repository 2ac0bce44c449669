import {
  type Alteration,
  type AlterOutcome,
  type AlterRefusal,
  type ConfigChanges,
  isRefusal,
  planOperations,
  planReplacement,
} from '../config/alter.ts'
import type { BrokerConfig } from '../config/broker-config.ts'
import { checkTogether } from '../config/check-together.ts'
import {
  type ConfigEntry,
  describeBrokerConfigs,
  describeClusterConfigs,
  describeTopicConfigs,
} from '../config/describe.ts'
import { DYNAMIC_OPTIONS } from '../config/dynamic-options.ts'
import { BROKER_OPTIONS, type BrokerOptionName, isBrokerOption } from '../config/options.ts'
import { didYouMean } from '../config/suggest.ts'
import { TOPIC_OPTIONS, topicOption, topicOptionText } from '../config/topic-options.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { MetadataImage, Topic } from '../metadata/image.ts'
import type { BrokerConfigRecord } from '../metadata/records.ts'
import type { Loggers } from '../metrics/logger.ts'
import { GroupConfigs } from './group-configs.ts'
import type { MetadataStore } from './metadata-store.ts'
import { replicationFactorOf } from './replica-placer.ts'
import type { TopicService } from './topic-service.ts'

/**
 * The configuration of topics, groups, this broker and all brokers of the cluster: described, and
 * changed while the broker runs. A change is durable in the metadata before it holds. Runs on main.
 */
export interface ConfigServiceParts {
  readonly config: BrokerConfig
  readonly nodeId: number
  readonly store: MetadataStore
  readonly topics: TopicService
  readonly loggers: Loggers
}

export interface ConfigResource {
  readonly kind: 'topic' | 'broker' | 'group'
  /** Of a broker: its node id, '' for all brokers. Of a group, whether there is one or not. */
  readonly name: string
}

const OK: AlterOutcome = { errorCode: ErrorCode.NONE, errorMessage: null }
const ALL_BROKERS = ''

/** What shards keep copies of: defaults of topics' options, and what `logOptions` adds. */
const LOG_OPTIONS: ReadonlySet<string> = new Set([
  ...Object.values(TOPIC_OPTIONS).flatMap(({ synonyms }) => synonyms.map(({ name }) => name)),
  'millrace.page.cache.window.bytes',
  'producer.id.expiration.ms',
])

export class ConfigService {
  readonly #parts: ConfigServiceParts
  readonly groups: GroupConfigs
  readonly #changedCallbacks: ((name: BrokerOptionName) => void)[] = []
  readonly #heldBy = new Map<string, Map<string, string>>()

  constructor(parts: ConfigServiceParts) {
    this.#parts = parts
    this.groups = new GroupConfigs(parts)
  }

  /** `callback` runs with every option of this broker that changes while it runs. */
  onChanged(callback: (name: BrokerOptionName) => void): void {
    this.#changedCallbacks.push(callback)
  }

  /**
   * Makes what the metadata says of this broker hold: before partitions are opened, and whenever
   * another broker may have changed it.
   */
  follow(): void {
    for (const broker of [ALL_BROKERS, this.#ownName]) {
      const set = this.#image.brokerConfigs.get(broker) ?? new Map<string, string>()
      for (const name of [...this.#held(broker).keys()]) {
        if (!set.has(name)) this.#apply(broker, name, null)
      }
      for (const [name, text] of set) {
        // An older or a newer version may have written what this one does not accept.
        if (problemOf(name, text) === null) this.#apply(broker, name, text)
        else this.#warn(name)
      }
    }
  }

  /** What holds because the metadata says so, by option. */
  #held(broker: string): Map<string, string> {
    const held = this.#heldBy.get(broker) ?? new Map<string, string>()
    this.#heldBy.set(broker, held)
    return held
  }

  describe(resource: ConfigResource): readonly ConfigEntry[] | AlterRefusal {
    const { config } = this.#parts
    if (resource.kind === 'topic') {
      const topic = this.#image.topicsByName.get(resource.name)
      return topic === undefined
        ? unknownTopic(resource.name)
        : describeTopicConfigs(topic.configs, config, replicationFactorOf(this.#image, topic))
    }
    if (resource.kind === 'group') return this.groups.describe(resource.name)
    const stranger = this.#strangerOf(resource)
    if (stranger !== null) return stranger
    if (resource.name !== ALL_BROKERS) return describeBrokerConfigs(config)
    return describeClusterConfigs(this.#image.brokerConfigs.get(ALL_BROKERS) ?? new Map())
  }

  async alter(
    resource: ConfigResource,
    alteration: Alteration,
    validateOnly: boolean,
  ): Promise<AlterOutcome> {
    if (resource.kind === 'topic') {
      const plan = (topic: Topic): ConfigChanges | AlterRefusal =>
        this.#planTopic(topic, alteration)
      const outcome = await this.#parts.topics.alterConfigs(resource.name, plan, validateOnly)
      return { errorCode: outcome.errorCode, errorMessage: outcome.errorMessage }
    }
    if (resource.kind === 'group') {
      return this.groups.alter(resource.name, alteration, validateOnly)
    }
    return this.#strangerOf(resource) ?? this.#alterBroker(resource.name, alteration, validateOnly)
  }

  get #image(): MetadataImage {
    return this.#parts.store.image
  }

  get #ownName(): string {
    return String(this.#parts.nodeId)
  }

  #strangerOf({ name }: ConfigResource): AlterRefusal | null {
    if (name === ALL_BROKERS || name === this.#ownName) return null
    const errorMessage = `This is broker ${this.#ownName}, not "${name}"`
    return { errorCode: ErrorCode.INVALID_REQUEST, errorMessage }
  }

  #planTopic(topic: Topic, alteration: Alteration): ConfigChanges | AlterRefusal {
    if (alteration.kind === 'replace') {
      return planReplacement(alteration.entries, topic.configs.keys())
    }
    return planOperations(alteration.operations, {
      optionOf: (name) => topicOption(name)?.option ?? null,
      textOf: (name) => topicOptionText(name, topic.configs, this.#parts.config, 1),
    })
  }

  async #alterBroker(
    broker: string,
    alteration: Alteration,
    validateOnly: boolean,
  ): Promise<AlterOutcome> {
    let told: Promise<void> | null = null
    try {
      const outcome = await this.#parts.store.change(() => {
        const plan = this.#planBroker(broker, alteration)
        if (isRefusal(plan)) return { records: [], result: plan }
        const problem = this.#problemsOf(broker, plan)
        if (problem !== null || validateOnly) return { records: [], result: problem ?? OK }
        const present = this.#image.brokerConfigs.get(broker)
        const records = [...plan]
          .filter(([name, value]) => (present?.get(name) ?? null) !== value)
          .map(([name, value]): BrokerConfigRecord => {
            return { type: 'broker-config', broker, name, value }
          })
        const onApplied = (): void => {
          for (const [name, value] of plan) this.#apply(broker, name, value)
          if (records.some(({ name }) => LOG_OPTIONS.has(name))) told = this.#tellLogs()
        }
        return { records, result: OK, onApplied }
      })
      await told
      return outcome
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
      return { errorCode: error.code, errorMessage: error.message }
    }
  }

  #planBroker(broker: string, alteration: Alteration): ConfigChanges | AlterRefusal {
    const present = this.#image.brokerConfigs.get(broker) ?? new Map<string, string>()
    if (alteration.kind === 'replace') return planReplacement(alteration.entries, present.keys())
    return planOperations(alteration.operations, {
      optionOf: (name) => (isBrokerOption(name) ? BROKER_OPTIONS[name] : null),
      textOf: (name) => {
        if (!isBrokerOption(name)) return null
        const own = present.get(name)
        if (own !== undefined) return own
        const { config } = this.#parts
        return broker === ALL_BROKERS ? config.startText(name) : config.text(name)
      },
    })
  }

  /** What is wrong with a plan, by itself or with what holds already. */
  #problemsOf(broker: string, plan: ConfigChanges): AlterRefusal | null {
    for (const [name, text] of plan) {
      const problem = text === null ? nameProblem(name) : problemOf(name, text)
      if (problem !== null) return problem
    }
    const { config } = this.#parts
    const own = this.#image.brokerConfigs.get(this.#ownName)
    const all = this.#image.brokerConfigs.get(ALL_BROKERS)
    const textOf = (name: BrokerOptionName): string => {
      const planned = plan.get(name)
      const ofOwn = broker === ALL_BROKERS || planned === undefined ? own?.get(name) : planned
      const ofAll = broker !== ALL_BROKERS || planned === undefined ? all?.get(name) : planned
      return ofOwn ?? ofAll ?? config.startText(name) ?? ''
    }
    const [problem] = checkTogether(textOf, config.get('millrace.arena.ingress.bytes'))
    return problem === undefined ? null : invalid(ErrorCode.INVALID_CONFIG, problem)
  }

  /** Both have been checked. */
  #apply(broker: string, name: string, text: string | null): void {
    if (!isBrokerOption(name)) return
    const { config } = this.#parts
    if (text === null) this.#held(broker).delete(name)
    else this.#held(broker).set(name, text)
    const before = config.text(name)
    const source = broker === ALL_BROKERS ? 'cluster' : 'broker'
    config.setDynamic(source, name, text?.trim() ?? null)
    if (config.text(name) === before) return
    for (const callback of this.#changedCallbacks) callback(name)
  }

  /** One topic after another: ten thousand of them must not fill the lanes. */
  async #tellLogs(): Promise<void> {
    for (const topic of [...this.#image.topicsByName.values()]) {
      if (!this.#image.topicsById.has(topic.id)) continue // Deleted meanwhile.
      await this.#parts.topics.configure(topic)
    }
  }

  #warn(name: string): void {
    const message = `the metadata sets ${name} to what this version does not accept; it is ignored`
    this.#parts.loggers('metadata').warn({ option: name }, message)
  }
}

function nameProblem(name: string): AlterRefusal | null {
  if (!isBrokerOption(name)) {
    const hint = didYouMean(name, Object.keys(BROKER_OPTIONS))
    return invalid(ErrorCode.INVALID_CONFIG, `Unknown broker config name: ${name}${hint}`)
  }
  if (DYNAMIC_OPTIONS.has(name)) return null
  const message = `${name} cannot change while the broker runs: set it where it is started`
  return invalid(ErrorCode.INVALID_REQUEST, message)
}

function problemOf(name: string, text: string): AlterRefusal | null {
  const problem = nameProblem(name)
  if (problem !== null || !isBrokerOption(name)) return problem
  const parsed = BROKER_OPTIONS[name].parse(text.trim())
  if (parsed.ok) return null
  const message = `Invalid value ${text} for ${name}: expected ${parsed.expected}`
  return invalid(ErrorCode.INVALID_CONFIG, message)
}

function unknownTopic(name: string): AlterRefusal {
  return invalid(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `There is no topic "${name}"`)
}

function invalid(errorCode: ErrorCode, errorMessage: string): AlterRefusal {
  return { errorCode, errorMessage }
}
