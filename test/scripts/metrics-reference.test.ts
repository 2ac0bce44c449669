import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { withReference } from '../../scripts/lib/metrics-reference.ts'
import { packageRoot } from '../support/package-root.ts'

test('the README has the table of metrics as it is', () => {
  const text = readFileSync(join(packageRoot(), 'src/metrics/README.md'), 'utf8')
  const hint = 'node build/scripts/metrics-reference.js writes it'
  assert.deepEqual(cellsOf(text), cellsOf(withReference(text)), hint)
})

/** Rows of tables; how wide the formatter makes their columns does not matter. */
function cellsOf(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\|[-| ]+$/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()))
}
