/** `millrace group …`: consumer groups of any broker that speaks Kafka's protocol. */
import { Command } from 'commander'
import { AdminError, type KafkaAdmin, LATEST } from '../client/kafka-admin.ts'
import type { GroupMember, KafkaGroups } from '../client/kafka-groups.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { resetCommand } from './group-reset.ts'
import { type Shared, shared, withGroups } from './kafka-command.ts'
import { type Cell, formatJson, formatTable, type Streams } from './output.ts'

export function groupCommand(streams: Streams): Command {
  return new Command('group')
    .description('list, describe, move and delete consumer groups')
    .addCommand(listCommand(streams))
    .addCommand(describeCommand(streams))
    .addCommand(resetCommand(streams))
    .addCommand(deleteCommand(streams))
    .addHelpText(
      'after',
      `
Examples:
  $ millrace group list
  $ millrace group describe billing
  $ millrace group reset-offsets billing --topic orders --to earliest --dry-run
  $ millrace group reset-offsets billing --topic orders:0,1 --to-time 2026-01-31T12:00:00Z
  $ millrace group delete billing`,
    )
}

function listCommand(streams: Streams): Command {
  return shared(new Command('list'))
    .alias('ls')
    .description('list the groups')
    .option('--state <state>', 'only groups in this state, such as Empty or Stable')
    .action(async (options: Shared & { readonly state?: string }) => {
      await withGroups(options, async (groups) => {
        const wanted = options.state?.toLowerCase()
        const all = await groups.list()
        const list = all.filter(
          ({ state }) => wanted === undefined || state.toLowerCase() === wanted,
        )
        if (options.format === 'json') {
          streams.out(formatJson(list))
          return
        }
        const rows = list.map((one) => [one.groupId, one.state || null, one.type || null])
        streams.out(formatTable(['GROUP', 'STATE', 'TYPE'], rows))
      })
    })
}

interface PartitionLag {
  readonly topic: string
  readonly partition: number
  /** Null: nothing is committed. */
  readonly committed: number | null
  /** Null: the topic is gone, or another broker leads the partition. */
  readonly end: number | null
  readonly lag: number | null
  /** Null: nobody reads it. */
  readonly memberId: string | null
  readonly clientId: string | null
  readonly host: string | null
}

interface GroupDescription {
  readonly groupId: string
  readonly state: string
  readonly type: string
  readonly members: readonly GroupMember[]
  readonly partitions: readonly PartitionLag[]
  readonly lag: number
}

function describeCommand(streams: Streams): Command {
  return shared(new Command('describe'))
    .description('show how far groups have come, how far behind they are, and who is in them')
    .argument('<groups...>', 'the groups')
    .option('--members', 'show the members instead of the partitions')
    .action(async (ids: string[], options: Shared & { readonly members?: boolean }) => {
      await withGroups(options, async (groups, admin) => {
        const described: GroupDescription[] = []
        for (const groupId of ids) described.push(await describeGroup(groups, admin, groupId))
        if (options.format === 'json') streams.out(formatJson(described))
        else {
          const format = options.members === true ? formatMembers : formatPartitions
          streams.out(described.map((one) => `${titleOf(one)}\n\n${format(one)}`).join('\n\n'))
        }
      })
    })
}

async function describeGroup(
  groups: KafkaGroups,
  admin: KafkaAdmin,
  groupId: string,
): Promise<GroupDescription> {
  const summary = (await groups.list()).find((one) => one.groupId === groupId)
  if (summary === undefined) throw new AdminError(groupId, ErrorCode.GROUP_ID_NOT_FOUND)
  const members = await groups.members(groupId)
  const committed = await groups.offsets(groupId)
  const rows = new Map<string, { topic: string; partition: number; offset: number | null }>()
  for (const one of committed) rows.set(`${one.topic} ${one.partition}`, one)
  const readers = new Map<string, GroupMember>()
  for (const member of members) {
    for (const place of member.assignment) {
      const key = `${place.topic} ${place.partition}`
      readers.set(key, member)
      if (!rows.has(key)) rows.set(key, { ...place, offset: null })
    }
  }
  const ends = await endsOf(admin, [...rows.values()])
  const partitions = [...rows].map(([key, { topic, partition, offset }]): PartitionLag => {
    const end = ends.get(key) ?? null
    const lag = end === null || offset === null ? null : Math.max(0, end - offset)
    const member = readers.get(key)
    return {
      topic,
      partition,
      committed: offset,
      end,
      lag,
      memberId: member?.memberId ?? null,
      clientId: member?.clientId ?? null,
      host: member?.host ?? null,
    }
  })
  partitions.sort((a, b) => {
    return a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1
  })
  const lag = partitions.reduce((sum, one) => sum + (one.lag ?? 0), 0)
  return { groupId, state: summary.state, type: summary.type, members, partitions, lag }
}

async function endsOf(
  admin: KafkaAdmin,
  places: readonly { readonly topic: string; readonly partition: number }[],
): Promise<Map<string, number>> {
  const ends = new Map<string, number>()
  for (const topic of new Set(places.map((place) => place.topic))) {
    const partitions = places.filter((place) => place.topic === topic).map((one) => one.partition)
    for (const [partition, end] of await admin.offsets(topic, partitions, LATEST)) {
      ends.set(`${topic} ${partition}`, end)
    }
  }
  return ends
}

function titleOf({ groupId, state, type, members, lag }: GroupDescription): string {
  const count = `${members.length} member${members.length === 1 ? '' : 's'}`
  return `Group:   ${groupId}\nState:   ${state}${type === '' ? '' : ` (${type})`}, ${count}\nLag:     ${lag}`
}

function formatPartitions({ partitions }: GroupDescription): string {
  const rows = partitions.map((one): Cell[] => {
    return [one.topic, one.partition, one.committed, one.end, one.lag, one.clientId, one.host]
  })
  return formatTable(['TOPIC', 'PARTITION', 'OFFSET', 'END', 'LAG', 'CLIENT', 'HOST'], rows)
}

function formatMembers({ members }: GroupDescription): string {
  const rows = members.map((one): Cell[] => {
    return [one.memberId, one.instanceId, one.clientId, one.host, placesOf(one)]
  })
  return formatTable(['MEMBER', 'INSTANCE', 'CLIENT', 'HOST', 'PARTITIONS'], rows)
}

/** topic:0,1 other:3 */
function placesOf({ assignment }: GroupMember): string {
  const topics = [...new Set(assignment.map(({ topic }) => topic))]
  return topics
    .map((topic) => {
      const own = assignment.filter((place) => place.topic === topic)
      return `${topic}:${own.map(({ partition }) => partition).join(',')}`
    })
    .join(' ')
}

function deleteCommand(streams: Streams): Command {
  return shared(new Command('delete'))
    .alias('rm')
    .description('delete groups that nobody is in, with their offsets')
    .argument('<groups...>', 'the groups')
    .action(async (ids: string[], options: Shared) => {
      await withGroups(options, async (groups) => {
        for (const groupId of ids) {
          await groups.delete(groupId)
          if (options.format === 'table') streams.out(`Deleted the group ${groupId}`)
        }
        if (options.format === 'json') streams.out(formatJson({ deleted: ids }))
      })
    })
}
