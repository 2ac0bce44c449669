/**
 * `millrace topic …`: topics of any broker that speaks Kafka's protocol, asked over that protocol.
 */
import { Command, InvalidArgumentError, Option } from 'commander'
import {
  KafkaAdmin as Admin,
  type KafkaAdmin,
  type TopicDescription,
} from '../client/kafka-admin.ts'
import { parseEndpoint } from '../config/listeners.ts'
import { parseAssignment } from '../config/sources.ts'
import { type Format, formatJson, formatTable, type Streams } from './output.ts'

/** Kafka's bounds of what a topic may be called. */
const NAME_LENGTH_MAX = 249
const PARTITIONS_MAX = 2 ** 31 - 1
const REPLICAS_MAX = 32_767

interface Shared {
  readonly bootstrap: { readonly host: string; readonly port: number }
  readonly format: Format
  readonly timeout: number
}

interface CreateOptions extends Shared {
  readonly partitions?: number
  readonly replicationFactor?: number
  readonly config?: ReadonlyMap<string, string>
  readonly ifNotExists?: boolean
  readonly dryRun?: boolean
}

export function topicCommand(streams: Streams): Command {
  const topic = new Command('topic').description('create, list, describe and delete topics')
  topic.addCommand(createCommand(streams))
  topic.addCommand(listCommand(streams))
  topic.addCommand(describeCommand(streams))
  topic.addCommand(deleteCommand(streams))
  topic.addHelpText(
    'after',
    `
Examples:
  $ millrace topic create orders --partitions 6 --config retention.ms=86400000
  $ millrace topic list --format json
  $ millrace topic describe orders
  $ millrace topic delete orders --bootstrap 127.0.0.1:9092`,
  )
  return topic
}

function createCommand(streams: Streams): Command {
  return shared(new Command('create'))
    .description('create a topic')
    .argument('<name>', 'the topic', topicName)
    .option('-p, --partitions <count>', "partitions (default: the broker's)", whole(PARTITIONS_MAX))
    .option(
      '-r, --replication-factor <count>',
      "replicas of each partition (default: the broker's)",
      whole(REPLICAS_MAX),
    )
    .option('-c, --config <name=value>', 'an option of the topic; may repeat', config)
    .option('--if-not-exists', 'succeed when the topic exists already')
    .option('--dry-run', 'only check whether the broker would create it')
    .action(async (name: string, options: CreateOptions) => {
      await withAdmin(options, (admin) => create(admin, name, options, streams))
    })
}

async function create(
  admin: KafkaAdmin,
  name: string,
  options: CreateOptions,
  streams: Streams,
): Promise<void> {
  if (options.ifNotExists === true) {
    const topics = await admin.listTopics()
    const existing = topics.find((topic) => topic.name === name)
    if (existing !== undefined) {
      const text = `The topic ${name} exists already`
      streams.out(options.format === 'json' ? formatJson({ ...existing, created: false }) : text)
      return
    }
  }
  const wanted = {
    name,
    partitions: options.partitions ?? null,
    replicationFactor: options.replicationFactor ?? null,
    configs: options.config ?? new Map(),
  }
  const topic = await admin.createTopic(wanted, { validateOnly: options.dryRun === true })
  if (options.format === 'json') {
    streams.out(formatJson({ ...topic, created: options.dryRun !== true }))
    return
  }
  const count = `${topic.partitions} partition${topic.partitions === 1 ? '' : 's'}`
  const verb = options.dryRun === true ? 'Would create' : 'Created'
  streams.out(`${verb} the topic ${name}: ${count}, replication factor ${topic.replicationFactor}`)
}

function listCommand(streams: Streams): Command {
  return shared(new Command('list'))
    .alias('ls')
    .description('list the topics')
    .option('-i, --internal', "list the broker's own topics as well")
    .action(async (options: Shared & { readonly internal?: boolean }) => {
      await withAdmin(options, async (admin) => {
        const all = await admin.listTopics()
        const topics = all.filter((topic) => options.internal === true || !topic.internal)
        if (options.format === 'json') {
          streams.out(formatJson(topics))
          return
        }
        const rows = topics.map((one) => [one.name, one.partitions, one.replicationFactor])
        streams.out(formatTable(['NAME', 'PARTITIONS', 'REPLICAS'], rows))
      })
    })
}

function describeCommand(streams: Streams): Command {
  return shared(new Command('describe'))
    .description('show partitions, offsets and options of topics')
    .argument('<names...>', 'the topics', topicNames)
    .action(async (names: string[], options: Shared) => {
      await withAdmin(options, async (admin) => {
        const topics: TopicDescription[] = []
        for (const name of names) topics.push(await admin.describeTopic(name))
        if (options.format === 'json') streams.out(formatJson(topics))
        else streams.out(topics.map(formatTopic).join('\n\n'))
      })
    })
}

function formatTopic(topic: TopicDescription): string {
  const configs = Object.entries(topic.configs).map(([name, value]) => `${name}=${value}`)
  const rows = topic.partitionList.map((one) => [
    one.partition,
    one.leader,
    one.leaderEpoch,
    one.replicas.join(','),
    one.inSyncReplicas.join(','),
    one.logStartOffset,
    one.highWatermark,
  ])
  const lines = [
    `Topic:   ${topic.name}`,
    `Id:      ${topic.topicId ?? '-'}`,
    `Options: ${configs.length === 0 ? '(all by default)' : configs.join(' ')}`,
    '',
    formatTable(['PARTITION', 'LEADER', 'EPOCH', 'REPLICAS', 'ISR', 'START', 'END'], rows),
  ]
  return lines.join('\n')
}

function deleteCommand(streams: Streams): Command {
  return shared(new Command('delete'))
    .alias('rm')
    .description('delete topics and their records')
    .argument('<names...>', 'the topics', topicNames)
    .action(async (names: string[], options: Shared) => {
      await withAdmin(options, async (admin) => {
        for (const name of names) {
          await admin.deleteTopic(name)
          if (options.format === 'table') streams.out(`Deleted the topic ${name}`)
        }
        if (options.format === 'json') streams.out(formatJson({ deleted: names }))
      })
    })
}

/** The options that every topic command has. */
function shared(command: Command): Command {
  return command
    .addOption(
      new Option('-b, --bootstrap <host:port>', 'the broker to ask')
        .default({ host: '127.0.0.1', port: 9092 }, '127.0.0.1:9092')
        .env('MILLRACE_BOOTSTRAP')
        .argParser(endpoint),
    )
    .addOption(
      new Option('--format <format>', 'how to print').choices(['table', 'json']).default('table'),
    )
    .addOption(
      new Option('--timeout <ms>', 'how long to wait for the broker')
        .default(10_000)
        .argParser(whole(3_600_000)),
    )
}

async function withAdmin(
  { bootstrap, timeout }: Shared,
  action: (admin: KafkaAdmin) => Promise<void>,
): Promise<void> {
  const admin = await Admin.connect({ ...bootstrap, clientId: 'millrace-cli', timeoutMs: timeout })
  try {
    await action(admin)
  } finally {
    admin.close()
  }
}

function endpoint(text: string): { host: string; port: number } {
  const parsed = parseEndpoint(text)
  if (parsed === null || parsed.port === 0) {
    throw new InvalidArgumentError('Expected HOST:PORT, for example 127.0.0.1:9092.')
  }
  return { ...parsed, host: parsed.host === '' ? '127.0.0.1' : parsed.host }
}

function whole(max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : 0
    if (value < 1 || value > max) {
      throw new InvalidArgumentError(`Expected a whole number from 1 to ${max}.`)
    }
    return value
  }
}

function config(
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

function topicName(name: string): string {
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

function topicNames(name: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), topicName(name)]
}
