/** What a command prints: a table for people, JSON for programs; errors on standard error. */
import Table from 'cli-table3'

export type Format = 'table' | 'json'

/** Where a command writes; a test gives it two arrays. */
export interface Streams {
  out(text: string): void
  err(text: string): void
}

export const processStreams: Streams = {
  out: (text) => void process.stdout.write(`${text}\n`),
  err: (text) => void process.stderr.write(`${text}\n`),
}

export type Cell = string | number | boolean | null

const NO_BORDERS = Object.fromEntries(
  [
    'top',
    'top-mid',
    'top-left',
    'top-right',
    'bottom',
    'bottom-mid',
    'bottom-left',
    'bottom-right',
    'left',
    'left-mid',
    'mid',
    'mid-mid',
    'right',
    'right-mid',
  ].map((part) => [part, '']),
)

/** Columns under their headings, without lines: reads well, and `awk` can take it apart. */
export function formatTable(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const table = new Table({
    head: [...head],
    chars: { ...NO_BORDERS, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  })
  for (const row of rows) table.push(row.map((cell) => (cell === null ? '-' : String(cell))))
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

export function formatJson(value: unknown): string {
  return JSON.stringify(value, null, 2)
}
