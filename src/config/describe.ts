/**
 * What DescribeConfigs answers: every option of a topic or of the broker, with its value, where the
 * value comes from, and the options it would come from next (KIP-226, KIP-569).
 */
import type { BrokerConfig, OptionSource } from './broker-config.ts'
import { DYNAMIC_OPTIONS } from './dynamic-options.ts'
import {
  GROUP_OPTION_NAMES,
  type GroupOverrides,
  groupOption,
  groupOptionMs,
  groupSynonym,
} from './group-options.ts'
import type { ConfigType, Option } from './option.ts'
import { BROKER_OPTIONS, type BrokerOptionName, isBrokerOption } from './options.ts'
import { TOPIC_OPTIONS, type TopicOverrides, topicOptionText } from './topic-options.ts'

/** Codes of DescribeConfigs. */
export const ConfigSource = {
  DYNAMIC_TOPIC_CONFIG: 1,
  DYNAMIC_BROKER_CONFIG: 2,
  DYNAMIC_DEFAULT_BROKER_CONFIG: 3,
  STATIC_BROKER_CONFIG: 4,
  DEFAULT_CONFIG: 5,
  DYNAMIC_GROUP_CONFIG: 8,
} as const
export type ConfigSource = (typeof ConfigSource)[keyof typeof ConfigSource]

/** Of topics' and brokers' options: groups have nothing to do with them. */
type PlainSource = Exclude<ConfigSource, typeof ConfigSource.DYNAMIC_GROUP_CONFIG>

export interface ConfigSynonym<S extends ConfigSource = ConfigSource> {
  readonly name: string
  readonly value: string | null
  readonly source: S
}

export interface ConfigEntry<S extends ConfigSource = ConfigSource> {
  readonly name: string
  readonly value: string | null
  /** Whether a request can change it. */
  readonly readOnly: boolean
  readonly sensitive: boolean
  readonly source: S
  readonly type: ConfigType
  readonly doc: string
  /** The value's own source first, then those that it hides. */
  readonly synonyms: readonly ConfigSynonym<S>[]
}

/** Every option of a topic, by name. */
export function describeTopicConfigs(
  overrides: TopicOverrides,
  broker: BrokerConfig,
  replicationFactor = 1,
): ConfigEntry<PlainSource>[] {
  return Object.entries(TOPIC_OPTIONS).map(([name, { option, synonyms: chain }]) => {
    const synonyms: ConfigSynonym<PlainSource>[] = []
    const own = overrides.get(name) ?? null
    if (own !== null) {
      synonyms.push({ name, value: own, source: ConfigSource.DYNAMIC_TOPIC_CONFIG })
    }
    for (const synonym of chain) synonyms.push(...setSynonym(synonym.name, broker))
    // As with Kafka: the default of a name in another unit is not a synonym.
    if (chain[0] !== undefined) synonyms.push(...defaultSynonym(chain[0].name))
    return {
      name,
      value: topicOptionText(name, overrides, broker, replicationFactor),
      readOnly: false,
      sensitive: false,
      source: synonyms[0]?.source ?? ConfigSource.DEFAULT_CONFIG,
      type: option.type,
      doc: option.doc,
      synonyms,
    }
  })
}

/** Every option of a consumer group, by name. */
export function describeGroupConfigs(
  overrides: GroupOverrides,
  broker: BrokerConfig,
): ConfigEntry[] {
  return GROUP_OPTION_NAMES.map((name) => {
    const synonyms: ConfigSynonym[] = []
    const own = overrides.get(name)
    if (own !== undefined) {
      synonyms.push({ name, value: own, source: ConfigSource.DYNAMIC_GROUP_CONFIG })
    }
    const synonym = groupSynonym(name)
    synonyms.push(...setSynonym(synonym, broker), ...defaultSynonym(synonym))
    return {
      name,
      value: String(groupOptionMs(name, overrides, broker)),
      readOnly: false,
      sensitive: false,
      source: synonyms[0]?.source ?? ConfigSource.DEFAULT_CONFIG,
      type: groupOption(name).type,
      doc: groupOption(name).doc,
      synonyms,
    }
  })
}

/** Every option of the broker, by name. */
export function describeBrokerConfigs(broker: BrokerConfig): ConfigEntry<PlainSource>[] {
  const names = Object.keys(BROKER_OPTIONS).filter(isBrokerOption).sort()
  return names.map((name) => {
    const synonyms = [...setSynonym(name, broker), ...defaultSynonym(name)]
    return entryOf(name, { text: broker.text(name), synonyms })
  })
}

/** What was set for all brokers of the cluster while they ran, by name. */
export function describeClusterConfigs(
  set: ReadonlyMap<string, string>,
): ConfigEntry<PlainSource>[] {
  const names = [...set.keys()].filter(isBrokerOption).sort()
  return names.map((name) => {
    const text = set.get(name) ?? null
    const source = ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG
    const own = { name, value: shownValue(name, text), source }
    return entryOf(name, { text, synonyms: [own, ...defaultSynonym(name)] })
  })
}

function entryOf(
  name: BrokerOptionName,
  { text, synonyms }: { text: string | null; synonyms: ConfigSynonym<PlainSource>[] },
): ConfigEntry<PlainSource> {
  return {
    name,
    value: shownValue(name, text),
    readOnly: !DYNAMIC_OPTIONS.has(name),
    sensitive: isSecret(name),
    source: synonyms[0]?.source ?? ConfigSource.DEFAULT_CONFIG,
    type: BROKER_OPTIONS[name].type,
    doc: BROKER_OPTIONS[name].doc,
    synonyms,
  }
}

function setSynonym(name: BrokerOptionName, broker: BrokerConfig): ConfigSynonym<PlainSource>[] {
  return broker.settings(name).map(({ source, text }) => {
    return { name, value: shownValue(name, text), source: codeOf(source) }
  })
}

function codeOf(source: OptionSource): PlainSource {
  if (source === 'broker') return ConfigSource.DYNAMIC_BROKER_CONFIG
  if (source === 'cluster') return ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG
  return ConfigSource.STATIC_BROKER_CONFIG
}

function defaultSynonym(name: BrokerOptionName): ConfigSynonym<PlainSource>[] {
  const { defaultText } = BROKER_OPTIONS[name]
  if (defaultText === null) return []
  return [{ name, value: defaultText, source: ConfigSource.DEFAULT_CONFIG }]
}

/** Kafka's brokers answer null for what is sensitive. */
function shownValue(name: BrokerOptionName, text: string | null): string | null {
  return isSecret(name) ? null : text
}

function isSecret(name: BrokerOptionName): boolean {
  const option: Option = BROKER_OPTIONS[name]
  return option.isSecret === true
}
