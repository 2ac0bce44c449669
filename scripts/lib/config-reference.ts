/** The tables of options in `src/config/README.md`, made from those that the broker works from. */
import { OPTIONS_WITHOUT_EFFECT } from '../../src/config/options.ts'
import { type OptionRow, optionRows } from '../../src/config/reference.ts'

const BEGIN = '<!-- options: written by scripts/config-reference.ts -->'
const END = '<!-- end of the options -->'

/** `text` with what stands between the marks replaced. Throws when they are not there. */
export function withConfigReference(text: string): string {
  const from = text.indexOf(BEGIN)
  const to = text.indexOf(END)
  if (from < 0 || to < from) throw new Error(`the page has no ${BEGIN} … ${END}`)
  return `${text.slice(0, from)}${BEGIN}\n\n${reference()}\n\n${text.slice(to)}`
}

function reference(): string {
  const rows = optionRows()
  return [
    '## Options of brokers',
    table(
      ['Option', 'Type', 'Default', 'Values', 'While running', 'Meaning'],
      rows
        .filter(({ scope }) => scope === 'broker')
        .map((row) => [...start(row), row.values, row.dynamic ? 'yes' : '', row.doc]),
    ),
    '## Options of topics',
    'All of them change while the broker runs. What a topic does not set comes from the first option of',
    'the broker that is set.',
    '',
    inheriting(rows, 'topic'),
    '## Options of consumer groups',
    'Of groups of the new protocol (KIP-848). They hold from a member’s next heartbeat on. The broker’s options',
    '`group.consumer.min.…` and `group.consumer.max.…` say how far a group may go.',
    '',
    inheriting(rows, 'group'),
    '## Kafka’s options without effect',
    'A file may hold them; a line at start says that they do nothing here.',
    '',
    [...OPTIONS_WITHOUT_EFFECT].sort().map(code).join(', '),
  ]
    .join('\n\n')
    .replaceAll('\n\n\n\n', '\n\n')
}

function inheriting(rows: readonly OptionRow[], scope: OptionRow['scope']): string {
  return table(
    ['Option', 'Type', 'Default', 'Values', 'From the broker', 'Meaning'],
    rows
      .filter((row) => row.scope === scope)
      .map((row) => [...start(row), row.values, inherited(row), row.doc]),
  )
}

function start(row: OptionRow): string[] {
  const text = row.default === '' ? '(empty)' : (row.default ?? '(not set)')
  return [code(row.name), row.type, row.default ? code(text) : text]
}

function inherited({ brokerOptions }: OptionRow): string {
  return brokerOptions.map(code).join(', ')
}

function code(text: string): string {
  return `\`${text}\``
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
