/**
 * What the commands share that talk to a broker over Kafka's protocol: how to reach it, how to
 * print, and how arguments are read.
 */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { AdminError, KafkaAdmin } from '../client/kafka-admin.ts'
import type { ConfigChange } from '../client/kafka-configs.ts'
import { ConnectionError } from '../client/kafka-connection.ts'
import { KafkaGroups } from '../client/kafka-groups.ts'
import { parseEndpoint } from '../config/listeners.ts'
import { parseAssignment } from '../config/sources.ts'
import { ErrorCode } from '../errors/error-code.ts'
import type { Format } from './output.ts'

/** Kafka's bounds of what a topic may be called. */
const NAME_LENGTH_MAX = 249
export const PARTITIONS_MAX = 2 ** 31 - 1

interface Address {
  readonly host: string
  readonly port: number
}

export interface Shared {
  /** Of one cluster: the first that can be reached is asked. */
  readonly bootstrap: readonly Address[]
  readonly format: Format
  readonly timeout: number
}

/** Adds the options that every such command has. */
export function shared(command: Command): Command {
  return command
    .addOption(
      new Option('-b, --bootstrap <host:port,…>', 'the broker to ask, or several of its cluster')
        .default([{ host: '127.0.0.1', port: 9092 }], '127.0.0.1:9092')
        .env('MILLRACE_BOOTSTRAP')
        .argParser((text) => text.split(',').map(endpoint)),
    )
    .addOption(formatOption())
    .addOption(
      new Option('--timeout <ms>', 'how long to wait for the broker')
        .default(10_000)
        .argParser(whole(3_600_000)),
    )
}

export function formatOption(): Option {
  return new Option('--format <format>', 'how to print').choices(['table', 'json']).default('table')
}

export async function withAdmin(
  { bootstrap, timeout }: Shared,
  action: (admin: KafkaAdmin) => Promise<void>,
): Promise<void> {
  const admin = await connectToOne(bootstrap, timeout)
  try {
    await action(admin)
  } finally {
    admin.close()
  }
}

async function connectToOne(addresses: readonly Address[], timeoutMs: number): Promise<KafkaAdmin> {
  const reasons: string[] = []
  for (const address of addresses) {
    try {
      return await KafkaAdmin.connect({ ...address, clientId: 'millrace-cli', timeoutMs })
    } catch (error) {
      if (!(error instanceof ConnectionError) || addresses.length === 1) throw error
      reasons.push(error.message)
    }
  }
  throw new ConnectionError(`none of the brokers can be reached: ${reasons.join('; ')}`)
}

/** Runs `action` with what asks about groups. */
export async function withGroups(
  options: Shared,
  action: (groups: KafkaGroups, admin: KafkaAdmin) => Promise<void>,
): Promise<void> {
  await withAdmin(options, async (admin) => {
    await action(new KafkaGroups(admin.brokers), admin)
  })
}

/**
 * `KafkaAdmin.offsets` of each of the partitions. Throws AdminError where one is not told: what
 * changes something must not take that for an empty log.
 */
export async function offsetsOfEach(
  admin: KafkaAdmin,
  topic: string,
  { partitions, time }: { readonly partitions: readonly number[]; readonly time: number },
): Promise<Map<number, number>> {
  const offsets = await admin.offsets(topic, partitions, time)
  const untold = partitions.find((partition) => !offsets.has(partition))
  if (untold === undefined) return offsets
  const message = 'the broker that was asked does not tell its offsets now; nothing was changed'
  throw new AdminError(`${topic}-${untold}`, ErrorCode.LEADER_NOT_AVAILABLE, message)
}

function endpoint(text: string): { host: string; port: number } {
  const parsed = parseEndpoint(text)
  if (parsed === null || parsed.port === 0) {
    throw new InvalidArgumentError('Expected HOST:PORT, for example 127.0.0.1:9092.')
  }
  return { ...parsed, host: parsed.host === '' ? '127.0.0.1' : parsed.host }
}

export function whole(max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : 0
    if (value < 1 || value > max) {
      throw new InvalidArgumentError(`Expected a whole number from 1 to ${max}.`)
    }
    return value
  }
}

/** An offset, or another number that may be 0. */
export function offset(text: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('Expected a whole number.')
  return value
}

/** Milliseconds since the epoch, or a date such as 2026-01-31T12:00:00Z. */
export function time(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Date.parse(text)
  if (!Number.isSafeInteger(value) || value < 0) {
    const example = 'such as 2026-01-31T12:00:00Z'
    throw new InvalidArgumentError(`Expected milliseconds since 1970, or a date ${example}.`)
  }
  return value
}

/** Collects name=value. */
export function assignments(
  text: string,
  previous: ReadonlyMap<string, string> = new Map(),
): Map<string, string> {
  const pair = parseAssignment(text)
  if (pair === null) {
    throw new InvalidArgumentError('Expected name=value, for example retention.ms=86400000.')
  }
  if (previous.has(pair[0])) throw new InvalidArgumentError(`${pair[0]} is set twice.`)
  return new Map([...previous, pair])
}

export function words(text: string, previous: readonly string[] = []): string[] {
  return [...previous, text]
}

/** Options that a command changes, as flags name them. */
export interface ChangeFlags {
  readonly append?: ReadonlyMap<string, string>
  readonly subtract?: ReadonlyMap<string, string>
  readonly unset?: readonly string[]
}

export function changesOf(
  set: ReadonlyMap<string, string>,
  { append, subtract, unset }: ChangeFlags,
): ConfigChange[] {
  const changes: ConfigChange[] = []
  for (const [operation, pairs] of [
    ['set', set],
    ['append', append],
    ['subtract', subtract],
  ] as const) {
    for (const [name, value] of pairs ?? []) changes.push({ name, operation, value })
  }
  for (const name of unset ?? []) changes.push({ name, operation: 'delete', value: null })
  return changes
}

export function topicName(name: string): string {
  if (name.length > NAME_LENGTH_MAX) {
    throw new InvalidArgumentError(`At most ${NAME_LENGTH_MAX} characters are allowed.`)
  }
  if (!/^[A-Za-z0-9._-]+$/.test(name) || name === '.' || name === '..') {
    throw new InvalidArgumentError(
      "A topic's name consists of letters, digits, '.', '_' and '-', and is not '.' or '..'.",
    )
  }
  return name
}

export function topicNames(name: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), topicName(name)]
}

/** TOPIC or TOPIC:0,1,2. */
export interface TopicPart {
  readonly topic: string
  /** Null: all. */
  readonly partitions: readonly number[] | null
}

export function topicParts(text: string, previous: readonly TopicPart[] = []): TopicPart[] {
  const [topic = '', list, ...more] = text.split(':')
  if (more.length > 0 || (list !== undefined && !/^\d{1,9}(,\d{1,9})*$/.test(list))) {
    throw new InvalidArgumentError('Expected TOPIC, or TOPIC:0,1 for some of its partitions.')
  }
  const partitions = list === undefined ? null : list.split(',').map(Number)
  return [...previous, { topic: topicName(topic), partitions }]
}
