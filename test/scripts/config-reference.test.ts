import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { withConfigReference } from '../../scripts/lib/config-reference.ts'
import { packageRoot } from '../support/package-root.ts'

test('the README has the tables of options as they are', () => {
  const text = readFileSync(join(packageRoot(), 'src/config/README.md'), 'utf8')
  const hint = 'node build/scripts/config-reference.js writes them'
  assert.deepEqual(linesOf(text), linesOf(withConfigReference(text)), hint)
})

/** How wide the formatter makes the columns of tables does not matter. */
function linesOf(text: string): string[] {
  return text.split('\n').map((line) => line.replace(/ +\| */g, '|').replace(/-+/g, '-'))
}
