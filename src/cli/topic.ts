/**
 * `millrace topic …`: topics of any broker that speaks Kafka's protocol, asked over that protocol.
 */
import { Command } from 'commander'
import type { KafkaAdmin, PartitionDescription, TopicDescription } from '../client/kafka-admin.ts'
import {
  assignments,
  PARTITIONS_MAX,
  type Shared,
  shared,
  topicName,
  topicNames,
  whole,
  withAdmin,
} from './kafka-command.ts'
import { formatJson, formatTable, type Streams } from './output.ts'
import { alterCommand, trimCommand } from './topic-change.ts'

const REPLICAS_MAX = 32_767

interface CreateOptions extends Shared {
  readonly partitions?: number
  readonly replicationFactor?: number
  readonly config?: ReadonlyMap<string, string>
  readonly ifNotExists?: boolean
  readonly dryRun?: boolean
}

export function topicCommand(streams: Streams): Command {
  const topic = new Command('topic').description('create, list, describe, change and delete topics')
  topic.addCommand(createCommand(streams))
  topic.addCommand(listCommand(streams))
  topic.addCommand(describeCommand(streams))
  topic.addCommand(alterCommand(streams))
  topic.addCommand(trimCommand(streams))
  topic.addCommand(deleteCommand(streams))
  topic.addHelpText(
    'after',
    `
Examples:
  $ millrace topic create orders --partitions 6 --config retention.ms=86400000
  $ millrace topic list --format json
  $ millrace topic describe orders
  $ millrace topic describe --under-replicated
  $ millrace topic alter orders --partitions 12 --config retention.ms=3600000
  $ millrace topic trim orders --before latest
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
    .option('-c, --config <name=value>', 'an option of the topic; may repeat', assignments)
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

interface DescribeOptions extends Shared {
  readonly underReplicated?: boolean
  readonly unavailable?: boolean
  readonly underMinIsr?: boolean
  readonly atMinIsr?: boolean
}

function describeCommand(streams: Streams): Command {
  return shared(new Command('describe'))
    .description('show partitions, offsets and options of topics')
    .argument('[names...]', 'the topics (default: all)', topicNames)
    .option('--under-replicated', 'only partitions with fewer replicas in sync than replicas')
    .option('--unavailable', 'only partitions without a leader')
    .option('--under-min-isr', 'only partitions below min.insync.replicas')
    .option('--at-min-isr', 'only partitions with exactly min.insync.replicas in sync')
    .action(async (names: string[], options: DescribeOptions) => {
      await withAdmin(options, async (admin) => {
        const all = names.length > 0 ? [] : await admin.listTopics()
        const wanted = names.length > 0 ? names : all.map((topic) => topic.name)
        const topics: TopicDescription[] = []
        for (const name of wanted) {
          const topic = await admin.describeTopic(name)
          const partitionList = topic.partitionList.filter((one) => isAsked(one, topic, options))
          if (partitionList.length > 0) topics.push({ ...topic, partitionList })
        }
        if (options.format === 'json') streams.out(formatJson(topics))
        else if (topics.length > 0) streams.out(topics.map(formatTopic).join('\n\n'))
      })
    })
}

/** Several conditions are joined by "or"; none asks for all. */
function isAsked(
  partition: PartitionDescription,
  topic: TopicDescription,
  options: DescribeOptions,
): boolean {
  const inSync = partition.inSyncReplicas.length
  const conditions = [
    [options.underReplicated, inSync < partition.replicas.length],
    [options.unavailable, partition.leader < 0],
    [options.underMinIsr, inSync < topic.minInSyncReplicas],
    [options.atMinIsr, inSync === topic.minInSyncReplicas],
  ] as const
  const asked = conditions.filter(([isSet]) => isSet === true)
  return asked.length === 0 || asked.some(([, holds]) => holds)
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
