/**
 * The options of one consumer group (KIP-848). A group stores only what somebody set, as text; what
 * it does not set comes from the broker's option of the same name behind `group.`, and other broker
 * options say how far it may go.
 */
import type { BrokerConfig } from './broker-config.ts'
import type { Option } from './option.ts'
import { BROKER_OPTIONS } from './options.ts'
import { didYouMean } from './suggest.ts'

export const GROUP_OPTION_NAMES = [
  'consumer.heartbeat.interval.ms',
  'consumer.session.timeout.ms',
] as const
export type GroupOptionName = (typeof GROUP_OPTION_NAMES)[number]

/** What somebody set: option name → text. */
export type GroupOverrides = ReadonlyMap<string, string>

/** Milliseconds. */
export interface ConsumerTimes {
  readonly sessionTimeoutMs: number
  readonly heartbeatIntervalMs: number
}

export function isGroupOption(name: string): name is GroupOptionName {
  return (GROUP_OPTION_NAMES as readonly string[]).includes(name)
}

/** The broker option that gives the default, whose type and meaning are the same. */
export function groupSynonym(name: GroupOptionName): `group.${GroupOptionName}` {
  return `group.${name}`
}

export function groupOption(name: GroupOptionName): Option {
  return BROKER_OPTIONS[groupSynonym(name)]
}

/**
 * Null when every entry of those that `changed` names is a known option with a good value, and all
 * go together; else what is wrong, in one line.
 */
export function validateGroupConfigs(
  overrides: GroupOverrides,
  broker: BrokerConfig,
  changed: Iterable<string> = overrides.keys(),
): string | null {
  for (const name of changed) {
    if (!isGroupOption(name)) {
      return `Unknown group config name: ${name}${didYouMean(name, GROUP_OPTION_NAMES)}`
    }
    const text = overrides.get(name)
    if (text === undefined) continue // It is taken back.
    const parsed = groupOption(name).parse(text.trim())
    if (!parsed.ok) return `Invalid value ${text} for ${name}: expected ${parsed.expected}`
    const [min, max] = rangeOf(name, broker)
    const value = parsed.value as number
    if (value < min || value > max) {
      return `Invalid value ${text} for ${name}: this broker takes ${min} to ${max}`
    }
  }
  const { sessionTimeoutMs, heartbeatIntervalMs } = consumerTimes(overrides, broker)
  if (heartbeatIntervalMs < sessionTimeoutMs) return null
  return `consumer.heartbeat.interval.ms (${heartbeatIntervalMs}) must be less than consumer.session.timeout.ms (${sessionTimeoutMs})`
}

/** What holds for a group, in milliseconds. */
export function consumerTimes(overrides: GroupOverrides, broker: BrokerConfig): ConsumerTimes {
  return {
    sessionTimeoutMs: groupOptionMs('consumer.session.timeout.ms', overrides, broker),
    heartbeatIntervalMs: groupOptionMs('consumer.heartbeat.interval.ms', overrides, broker),
  }
}

/** Of one option; where the broker's range has become smaller since, the nearest in it. */
export function groupOptionMs(
  name: GroupOptionName,
  overrides: GroupOverrides,
  broker: BrokerConfig,
): number {
  const text = overrides.get(name)
  const parsed = text === undefined ? undefined : groupOption(name).parse(text.trim())
  if (parsed?.ok !== true) return broker.get(groupSynonym(name))
  const [min, max] = rangeOf(name, broker)
  return Math.min(max, Math.max(min, parsed.value as number))
}

function rangeOf(name: GroupOptionName, broker: BrokerConfig): readonly [number, number] {
  return name === 'consumer.session.timeout.ms'
    ? [
        broker.get('group.consumer.min.session.timeout.ms'),
        broker.get('group.consumer.max.session.timeout.ms'),
      ]
    : [
        broker.get('group.consumer.min.heartbeat.interval.ms'),
        broker.get('group.consumer.max.heartbeat.interval.ms'),
      ]
}
