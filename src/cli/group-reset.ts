/**
 * `millrace group reset-offsets`: where a group goes on reading. The broker takes that only while
 * nobody is in the group; --force makes its members leave first, and they come back to it.
 */
import { Command, InvalidArgumentError, Option } from 'commander'
import { AdminError, EARLIEST, type KafkaAdmin, LATEST } from '../client/kafka-admin.ts'
import type { CommittedOffset, KafkaGroups } from '../client/kafka-groups.ts'
import { ErrorCode } from '../errors/error-code.ts'
import {
  offset,
  offsetsOfEach,
  type Shared,
  shared,
  type TopicPart,
  time,
  topicParts,
  withGroups,
} from './kafka-command.ts'
import { formatJson, formatTable, type Streams } from './output.ts'

interface ResetOptions extends Shared {
  readonly topic?: readonly TopicPart[]
  readonly allTopics?: boolean
  readonly to?: 'earliest' | 'latest'
  readonly toOffset?: number
  readonly toTime?: number
  readonly shiftBy?: number
  readonly force?: boolean
  readonly dryRun?: boolean
}

const WAYS = ['to', 'toOffset', 'toTime', 'shiftBy'] as const

export function resetCommand(streams: Streams): Command {
  return shared(new Command('reset-offsets'))
    .description('change where a group goes on reading')
    .argument('<group>', 'the group')
    .option('-t, --topic <topic[:partitions]>', 'a topic, or some of it; may repeat', topicParts)
    .option('--all-topics', 'every topic that the group has offsets of')
    .addOption(
      new Option('--to <place>', 'the first event that is kept, or after the last one').choices([
        'earliest',
        'latest',
      ]),
    )
    .option('--to-offset <offset>', 'this offset', offset)
    .option('--to-time <time>', 'the first event not before a date, or milliseconds', time)
    .option('--shift-by <count>', 'forward so many events, or back when negative', shift)
    .option('--force', 'also while there are members: they leave and come back')
    .option('--dry-run', 'only show where it would go on')
    .action(async (groupId: string, options: ResetOptions, command: Command) => {
      if (WAYS.filter((way) => options[way] !== undefined).length !== 1) {
        command.error('error: name one of --to, --to-offset, --to-time and --shift-by')
      }
      if ((options.topic === undefined) === (options.allTopics !== true)) {
        command.error('error: name --topic or --all-topics')
      }
      await withGroups(options, async (groups, admin) => {
        const rows = await plan(groups, admin, { groupId, ...options })
        if (options.dryRun !== true) await commit(groups, groupId, rows, options.force === true)
        if (options.format === 'json') {
          streams.out(formatJson({ groupId, partitions: rows, reset: options.dryRun !== true }))
          return
        }
        const cells = rows.map((row) => [row.topic, row.partition, row.before, row.offset])
        streams.out(formatTable(['TOPIC', 'PARTITION', 'OFFSET BEFORE', 'OFFSET'], cells))
      })
    })
}

interface ResetRow {
  readonly topic: string
  readonly partition: number
  /** Null: nothing was committed. */
  readonly before: number | null
  readonly offset: number
}

async function plan(
  groups: KafkaGroups,
  admin: KafkaAdmin,
  asked: ResetOptions & { groupId: string },
): Promise<ResetRow[]> {
  const committed = await groups.offsets(asked.groupId)
  const parts = asked.topic ?? allOf(committed)
  const rows: ResetRow[] = []
  for (const { topic, partitions } of parts) {
    const { partitionList } = await admin.describeTopic(topic)
    const existing = partitionList.map(({ partition }) => partition)
    const unknown = partitions?.find((partition) => !existing.includes(partition))
    if (unknown !== undefined) {
      throw new AdminError(`${topic}-${unknown}`, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    }
    const numbers = partitions ?? existing
    const offsetsAt = (at: number): Promise<Map<number, number>> =>
      offsetsOfEach(admin, topic, { partitions: numbers, time: at })
    const starts = await offsetsAt(EARLIEST)
    const ends = await offsetsAt(LATEST)
    const { toTime } = asked
    const found = toTime === undefined ? null : await offsetsAt(toTime)
    for (const partition of numbers) {
      const own = committed.find((one) => one.topic === topic && one.partition === partition)
      const before = own?.offset ?? null
      const ground = {
        start: starts.get(partition) ?? 0,
        end: ends.get(partition) ?? 0,
        before,
        atTime: found?.get(partition) ?? -1,
      }
      const offset = targetOf(ground, asked)
      if (offset !== null) rows.push({ topic, partition, before, offset })
    }
  }
  return rows
}

function allOf(committed: readonly CommittedOffset[]): TopicPart[] {
  const topics = [...new Set(committed.map(({ topic }) => topic))]
  return topics.map((topic) => {
    const partitions = committed.filter((one) => one.topic === topic).map((one) => one.partition)
    return { topic, partitions }
  })
}

/** What a partition's target depends on; `atTime` is −1 where no event is as late. */
interface Ground {
  readonly start: number
  readonly end: number
  readonly before: number | null
  readonly atTime: number
}

/** Within the log; null: there is nothing to shift. */
function targetOf({ start, end, before, atTime }: Ground, asked: ResetOptions): number | null {
  const within = (wanted: number): number => Math.min(Math.max(wanted, start), end)
  if (asked.to !== undefined) return asked.to === 'earliest' ? start : end
  if (asked.toTime !== undefined) return atTime < 0 ? end : within(atTime)
  if (asked.toOffset !== undefined) return within(asked.toOffset)
  return before === null ? null : within(before + (asked.shiftBy ?? 0))
}

/** Members may come back between their leave and the commit. */
const FORCE_TRIES = 10

async function commit(
  groups: KafkaGroups,
  groupId: string,
  rows: readonly ResetRow[],
  force: boolean,
): Promise<void> {
  if (rows.length === 0) return
  const offsets = rows.map((row) => ({ ...row, metadata: null }))
  for (let tries = 1; ; tries++) {
    const members = await groups.members(groupId)
    if (members.length > 0 && !force) {
      const count = `${members.length} member${members.length === 1 ? '' : 's'}`
      const message = `the group has ${count}: stop them, or say --force`
      throw new AdminError(groupId, ErrorCode.NON_EMPTY_GROUP, message)
    }
    if (members.length > 0) await groups.removeMembers(groupId, members)
    try {
      await groups.commit(groupId, offsets)
      return
    } catch (error) {
      const isBack = error instanceof AdminError && error.code === ErrorCode.UNKNOWN_MEMBER_ID
      if (!isBack || !force || tries === FORCE_TRIES) throw error
    }
  }
}

function shift(text: string): number {
  if (!/^[+-]?\d{1,15}$/.test(text)) throw new InvalidArgumentError('Expected a whole number.')
  return Number(text)
}
