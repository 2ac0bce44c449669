/** `millrace topic alter` and `millrace topic trim`: what changes a topic that exists. */
import { Command, InvalidArgumentError } from 'commander'
import { AdminError, type KafkaAdmin, LATEST } from '../client/kafka-admin.ts'
import { KafkaConfigs } from '../client/kafka-configs.ts'
import { ErrorCode } from '../errors/error-code.ts'
import {
  assignments,
  type ChangeFlags,
  changesOf,
  offset,
  offsetsOfEach,
  PARTITIONS_MAX,
  type Shared,
  shared,
  time,
  topicName,
  whole,
  withAdmin,
  words,
} from './kafka-command.ts'
import { formatJson, formatTable, type Streams } from './output.ts'

interface AlterOptions extends Shared, ChangeFlags {
  readonly partitions?: number
  readonly config?: ReadonlyMap<string, string>
  readonly dryRun?: boolean
}

export function alterCommand(streams: Streams): Command {
  return shared(new Command('alter'))
    .description('add partitions to a topic, set its options')
    .argument('<name>', 'the topic', topicName)
    .option('-p, --partitions <count>', 'the new number of partitions', whole(PARTITIONS_MAX))
    .option('-c, --config <name=value>', 'sets an option; may repeat', assignments)
    .option('--append <name=value>', 'adds to an option that is a list; may repeat', assignments)
    .option('--subtract <name=value>', 'takes from such an option; may repeat', assignments)
    .option('--unset <name>', "takes an option back to the broker's; may repeat", words)
    .option('--dry-run', 'only check whether the broker would do it')
    .action(async (name: string, options: AlterOptions, command: Command) => {
      const changes = changesOf(options.config ?? new Map(), options)
      if (changes.length === 0 && options.partitions === undefined) {
        command.error('error: nothing to change: name --partitions, --config or --unset')
      }
      await withAdmin(options, (admin) => alter(admin, name, { ...options, changes, streams }))
    })
}

async function alter(
  admin: KafkaAdmin,
  name: string,
  asked: AlterOptions & { changes: ReturnType<typeof changesOf>; streams: Streams },
): Promise<void> {
  const { changes, partitions, streams } = asked
  const configs = new KafkaConfigs(admin.connection)
  const topic = { type: 'topic', name } as const
  // Everything is checked first: one that is refused keeps the other from being done.
  const check = { validateOnly: true }
  if (changes.length > 0) await configs.alter(topic, changes, check)
  if (partitions !== undefined) await admin.addPartitions(name, partitions, check)
  if (asked.dryRun !== true) {
    if (changes.length > 0) await configs.alter(topic, changes)
    if (partitions !== undefined) await admin.addPartitions(name, partitions)
  }
  const altered = asked.dryRun !== true
  if (asked.format === 'json') {
    streams.out(formatJson({ name, partitions: partitions ?? null, configs: changes, altered }))
    return
  }
  streams.out(`${altered ? 'Altered' : 'Would alter'} the topic ${name}`)
}

interface TrimOptions extends Shared {
  readonly before?: number | 'latest'
  readonly beforeTime?: number
  readonly partition?: readonly number[]
  readonly dryRun?: boolean
}

export function trimCommand(streams: Streams): Command {
  return shared(new Command('trim'))
    .description('delete the oldest records of a topic')
    .argument('<name>', 'the topic', topicName)
    .option('--before <offset>', 'the first offset to keep, or latest to keep none', place)
    .option('--before-time <time>', 'keep what is not older: a date, or milliseconds', time)
    .option('-p, --partition <number>', 'only of this partition; may repeat', partitions)
    .option('--dry-run', 'only show what would be kept')
    .action(async (name: string, options: TrimOptions, command: Command) => {
      if ((options.before === undefined) === (options.beforeTime === undefined)) {
        command.error('error: name one of --before and --before-time')
      }
      await withAdmin(options, (admin) => trim(admin, name, { ...options, streams }))
    })
}

async function trim(
  admin: KafkaAdmin,
  name: string,
  asked: TrimOptions & { streams: Streams },
): Promise<void> {
  const topic = await admin.describeTopic(name)
  const list = topic.partitionList.filter(
    ({ partition }) => asked.partition?.includes(partition) ?? true,
  )
  const numbers = list.map(({ partition }) => partition)
  const unknown = asked.partition?.find((partition) => !numbers.includes(partition))
  if (unknown !== undefined) {
    throw new AdminError(`${name}-${unknown}`, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  }
  const at = asked.before ?? asked.beforeTime
  const found =
    typeof asked.before === 'number'
      ? null
      : await offsetsOfEach(admin, name, { partitions: numbers, time: timeOf(at) })
  const wanted = new Map<number, number>()
  for (const { partition, logStartOffset, highWatermark } of list) {
    const end = highWatermark ?? 0
    const offset = found === null ? (asked.before as number) : (found.get(partition) ?? -1)
    // No record is as late as that: none is kept. What is deleted already stays deleted.
    const before = offset < 0 ? end : Math.min(offset, end)
    wanted.set(partition, Math.max(before, logStartOffset ?? 0))
  }
  const starts = asked.dryRun === true ? wanted : await admin.deleteRecords(name, wanted)
  const rows = list.map(({ partition, logStartOffset, highWatermark }) => {
    const start = starts.get(partition) ?? null
    return { partition, previousStart: logStartOffset, start, end: highWatermark }
  })
  if (asked.format === 'json') {
    asked.streams.out(formatJson({ name, partitions: rows, trimmed: asked.dryRun !== true }))
    return
  }
  const cells = rows.map((row) => [row.partition, row.previousStart, row.start, row.end])
  asked.streams.out(formatTable(['PARTITION', 'START BEFORE', 'START', 'END'], cells))
}

function timeOf(at: number | 'latest' | undefined): number {
  return typeof at === 'number' ? at : LATEST
}

function place(text: string): number | 'latest' {
  return text === 'latest' ? text : offset(text)
}

function partitions(text: string, previous: readonly number[] = []): number[] {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Expected the number of a partition.')
  return [...previous, Number(text)]
}
