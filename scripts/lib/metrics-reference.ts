/** The table of metrics as Markdown, and its place in a text. Pure. */
import { METRICS, type MetricInfo } from '../../src/metrics/metric-table.ts'

const BEGIN = '<!-- metrics: written by scripts/metrics-reference.ts -->'
const END = '<!-- end of metrics -->'

function reference(): string {
  const rows = Object.entries<MetricInfo>(METRICS).map(([name, { type, labels, help }]) => {
    return `| \`${name}\` | ${type} | ${labels.join(', ') || '–'} | ${help} |`
  })
  return ['| Metric | Type | Labels | Meaning |', '|---|---|---|---|', ...rows].join('\n')
}

/** `text` with the table between its marks. Throws where the marks are missing. */
export function withReference(text: string): string {
  const from = text.indexOf(BEGIN)
  const to = text.indexOf(END)
  if (from < 0 || to < from) throw new Error(`the text has no "${BEGIN}" … "${END}"`)
  return `${text.slice(0, from + BEGIN.length)}\n\n${reference()}\n\n${text.slice(to)}`
}
