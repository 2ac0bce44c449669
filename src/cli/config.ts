/**
 * `millrace config`: which options there are, what they mean, and, of a running broker, what they
 * are and what they shall be.
 */
import { Argument, Command, InvalidArgumentError, Option } from 'commander'
import type { KafkaAdmin } from '../client/kafka-admin.ts'
import { type ConfigResource, type ConfigValue, KafkaConfigs } from '../client/kafka-configs.ts'
import { type OptionRow, optionRows } from '../config/reference.ts'
import { clusterOf } from './cluster-command.ts'
import {
  assignments,
  type ChangeFlags,
  changesOf,
  formatOption,
  type Shared,
  shared,
  topicName,
  withAdmin,
  words,
} from './kafka-command.ts'
import { type Format, formatJson, formatTable, type Streams } from './output.ts'

export function configCommand(streams: Streams): Command {
  return new Command('config')
    .description('list, show and change the options of brokers, topics and groups')
    .addCommand(listCommand(streams), { isDefault: true })
    .addCommand(getCommand(streams))
    .addCommand(setCommand(streams))
    .addHelpText(
      'after',
      `
Examples:
  $ millrace config list retention --scope topic
  $ millrace config get --topic orders
  $ millrace config set retention.ms=3600000 --topic orders
  $ millrace config set consumer.session.timeout.ms=60000 --group billing
  $ millrace config set log.retention.ms=86400000             # of all brokers
  $ millrace config set --unset log.retention.ms`,
    )
}

interface ListOptions {
  readonly scope?: OptionRow['scope']
  readonly format: Format
}

function listCommand(streams: Streams): Command {
  return new Command('list')
    .description('list the options that there are')
    .addArgument(new Argument('[word]', 'only options whose name contains it'))
    .addOption(new Option('--scope <scope>', 'only these').choices(['broker', 'topic', 'group']))
    .addOption(formatOption())
    .action((word: string | undefined, options: ListOptions) => {
      const rows = optionRows().filter(
        (row) => row.name.includes(word ?? '') && (options.scope ?? row.scope) === row.scope,
      )
      if (options.format === 'json') {
        streams.out(formatJson(rows))
        return
      }
      const cells = rows.map((one) => [one.scope, one.name, one.type, one.default, one.doc])
      streams.out(formatTable(['SCOPE', 'NAME', 'TYPE', 'DEFAULT', 'MEANING'], cells))
    })
}

interface TargetFlags extends Shared {
  readonly topic?: string
  readonly group?: string
  readonly broker?: string
  readonly allBrokers?: boolean
}

/** The options that say whose configuration is meant. */
function targeted(command: Command): Command {
  return shared(command)
    .addOption(
      new Option('-t, --topic <name>', 'of a topic')
        .argParser(topicName)
        .conflicts(['group', 'broker', 'allBrokers']),
    )
    .addOption(
      new Option('-g, --group <id>', 'of a consumer group').conflicts(['broker', 'allBrokers']),
    )
    .addOption(
      new Option('--broker <id>', 'of one broker').argParser(brokerId).conflicts(['allBrokers']),
    )
    .option('--all-brokers', 'of all brokers: what was set for them while they ran')
}

interface GetOptions extends TargetFlags {
  readonly set?: boolean
}

function getCommand(streams: Streams): Command {
  return targeted(new Command('get'))
    .description(
      'show options of a topic, a group or brokers (default: of the broker that is asked)',
    )
    .addArgument(new Argument('[names...]', 'only these options'))
    .option('--set', 'only what somebody has set')
    .action(async (names: string[], options: GetOptions) => {
      await withAdmin(options, async (admin) => {
        const resource = targetOf(options) ?? (await askedBroker(admin))
        const configs = await configsFor(admin, resource)
        const all = await configs.describe(resource, names.length === 0 ? null : names)
        const values = all.filter(({ source }) => options.set !== true || source !== 'default')
        if (options.format === 'json') streams.out(formatJson(values))
        else streams.out(formatValues(values))
      })
    })
}

function formatValues(values: readonly ConfigValue[]): string {
  const rows = values.map((one) => [
    one.name,
    one.sensitive ? '(hidden)' : one.value,
    one.source,
    one.readOnly ? 'no' : 'yes',
  ])
  return formatTable(['NAME', 'VALUE', 'SET BY', 'CHANGES WHILE RUNNING'], rows)
}

interface SetOptions extends TargetFlags, ChangeFlags {
  readonly dryRun?: boolean
}

function setCommand(streams: Streams): Command {
  return targeted(new Command('set'))
    .description('change options of a topic, a group or brokers (default: of all brokers)')
    .argument('[name=value...]', 'what to set', assignments)
    .option('--append <name=value>', 'adds to an option that is a list; may repeat', assignments)
    .option('--subtract <name=value>', 'takes from such an option; may repeat', assignments)
    .option('--unset <name>', 'takes an option back to its default; may repeat', words)
    .option('--dry-run', 'only check whether the broker would do it')
    .action(
      async (
        set: ReadonlyMap<string, string> | readonly never[] | undefined,
        options: SetOptions,
        command: Command,
      ) => {
        const changes = changesOf(set instanceof Map ? set : new Map(), options)
        if (changes.length === 0) command.error('error: nothing to change: name=value, or --unset')
        const resource = targetOf(options) ?? ALL_BROKERS
        const changed = options.dryRun !== true
        await withAdmin(options, async (admin) => {
          const configs = await configsFor(admin, resource)
          await configs.alter(resource, changes, { validateOnly: !changed })
        })
        if (options.format === 'json') streams.out(formatJson({ ...resource, changes, changed }))
        else streams.out(`${changed ? 'Changed' : 'Would change'} ${titleOf(resource)}`)
      },
    )
}

const ALL_BROKERS: ConfigResource = { type: 'broker', name: '' }

function targetOf({ topic, group, broker, allBrokers }: TargetFlags): ConfigResource | null {
  if (topic !== undefined) return { type: 'topic', name: topic }
  if (group !== undefined) return { type: 'group', name: group }
  if (broker !== undefined) return { type: 'broker', name: broker }
  return allBrokers === true ? ALL_BROKERS : null
}

/** The one at the address that was given; where that is another name of it, the controller. */
async function askedBroker(admin: KafkaAdmin): Promise<ConfigResource> {
  const { host, port } = admin.options
  const { brokers, controllerId } = await clusterOf(admin).describe()
  const asked = brokers.find((one) => one.host === host && one.port === port)
  const id = asked?.id ?? (brokers.length === 1 ? brokers[0]?.id : controllerId)
  return { type: 'broker', name: String(id) }
}

/** A broker answers for itself only: it is asked where it is. */
async function configsFor(admin: KafkaAdmin, { type, name }: ConfigResource) {
  if (type !== 'broker' || name === '') return new KafkaConfigs(admin.connection)
  const { brokers } = await clusterOf(admin).describe()
  const broker = brokers.find(({ id, isFenced }) => String(id) === name && !isFenced)
  // One that only the asked broker knows of is refused by it, with its own words.
  if (broker === undefined || brokers.length === 1) return new KafkaConfigs(admin.connection)
  return new KafkaConfigs(await admin.brokers.at(broker))
}

function titleOf({ type, name }: ConfigResource): string {
  if (type !== 'broker') return `the ${type} ${name}`
  return name === '' ? 'all brokers' : `the broker ${name}`
}

function brokerId(text: string): string {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('Expected the id of a broker.')
  return text
}
