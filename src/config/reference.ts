/** Everything that the tables of options say, as rows: for lists and for the reference page. */
import { DYNAMIC_OPTIONS } from './dynamic-options.ts'
import { GROUP_OPTION_NAMES, groupOption, groupSynonym } from './group-options.ts'
import { ConfigType, type Option } from './option.ts'
import { BROKER_OPTIONS, isBrokerOption } from './options.ts'
import { TOPIC_OPTIONS } from './topic-options.ts'

export interface OptionRow {
  readonly name: string
  readonly scope: 'broker' | 'topic' | 'group'
  /** In lower case. */
  readonly type: string
  /** Null: not set. */
  readonly default: string | null
  /** Completes "expected …"; '' where any text of the type is good. */
  readonly values: string
  /** Whether it can change while the broker runs. */
  readonly dynamic: boolean
  /** The broker's options that give a topic's or a group's default: the first that is set. */
  readonly brokerOptions: readonly string[]
  readonly doc: string
}

const TYPE_NAMES = new Map<number, string>(
  Object.entries(ConfigType).map(([name, code]) => [code, name.toLowerCase()]),
)

/** Brokers' options in the order of their table, then those of topics and of groups. */
export function optionRows(): OptionRow[] {
  const rows: OptionRow[] = []
  for (const [name, option] of Object.entries(BROKER_OPTIONS)) {
    const dynamic = isBrokerOption(name) && DYNAMIC_OPTIONS.has(name)
    rows.push({ name, scope: 'broker', ...plainOf(option), dynamic, brokerOptions: [] })
  }
  for (const [name, { option, only, synonyms }] of Object.entries(TOPIC_OPTIONS)) {
    const brokerOptions = synonyms.map((one) => one.name)
    const plain = plainOf(option)
    const values = only === undefined ? plain.values : `${only.text}: ${only.because}`
    rows.push({ name, scope: 'topic', ...plain, values, dynamic: true, brokerOptions })
  }
  for (const name of GROUP_OPTION_NAMES) {
    const brokerOptions = [groupSynonym(name)]
    rows.push({ name, scope: 'group', ...plainOf(groupOption(name)), dynamic: true, brokerOptions })
  }
  return rows
}

function plainOf(option: Option): Pick<OptionRow, 'type' | 'default' | 'values' | 'doc'> {
  return {
    type: TYPE_NAMES.get(option.type) ?? 'string',
    default: option.defaultText,
    values: option.values,
    doc: option.doc,
  }
}
