/** `millrace config`: which options there are, what they default to and what they mean. */
import { Argument, Command, Option } from 'commander'
import { ConfigType } from '../config/option.ts'
import { BROKER_OPTIONS } from '../config/options.ts'
import { TOPIC_OPTIONS } from '../config/topic-options.ts'
import { type Format, formatJson, formatTable, type Streams } from './output.ts'

interface OptionLine {
  readonly name: string
  readonly scope: 'broker' | 'topic'
  readonly type: string
  readonly default: string | null
  readonly doc: string
}

const TYPE_NAMES = new Map<number, string>(
  Object.entries(ConfigType).map(([name, code]) => [code, name.toLowerCase()]),
)

function optionLines(): OptionLine[] {
  const broker = Object.entries(BROKER_OPTIONS).map(([name, option]) => ({
    name,
    scope: 'broker' as const,
    option,
  }))
  const topic = Object.entries(TOPIC_OPTIONS).map(([name, { option }]) => ({
    name,
    scope: 'topic' as const,
    option,
  }))
  return [...broker, ...topic].map(({ name, scope, option }) => ({
    name,
    scope,
    type: TYPE_NAMES.get(option.type) ?? 'string',
    default: option.defaultText,
    doc: option.doc,
  }))
}

export function configCommand(streams: Streams): Command {
  return new Command('config')
    .description('list the options of brokers and topics')
    .addArgument(new Argument('[word]', 'only options whose name contains it'))
    .addOption(new Option('--scope <scope>', 'only these').choices(['broker', 'topic']))
    .addOption(
      new Option('--format <format>', 'how to print').choices(['table', 'json']).default('table'),
    )
    .action((word: string | undefined, options: { scope?: string; format: Format }) => {
      const lines = optionLines().filter(
        (line) => line.name.includes(word ?? '') && (options.scope ?? line.scope) === line.scope,
      )
      if (options.format === 'json') {
        streams.out(formatJson(lines))
        return
      }
      const rows = lines.map((one) => [one.scope, one.name, one.type, one.default, one.doc])
      streams.out(formatTable(['SCOPE', 'NAME', 'TYPE', 'DEFAULT', 'MEANING'], rows))
    })
}
