import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { importsOf, resolveImport } from '../../scripts/lib/tidy-rules.ts'
import { packageRoot } from '../support/package-root.ts'

const root = packageRoot()

/** What a page would load for `entry`: files of src, and packages. */
function reachable(entry: string): { files: string[]; packages: Set<string> } {
  const files = [entry]
  const packages = new Set<string>()
  for (const path of files) {
    const source = readFileSync(join(root, path), 'utf8')
    for (const { specifier, line } of importsOf(source)) {
      if (source.split('\n')[line - 1]?.startsWith('import type')) continue
      const target = resolveImport(path, specifier)
      if (target === null) packages.add(specifier)
      else if (!files.includes(target)) files.push(target)
    }
  }
  return { files, packages }
}

test('nothing that a browser loads, needs Node', () => {
  const packages = new Set<string>()
  for (const entry of ['src/browser.ts']) {
    assert.ok(existsSync(join(root, entry)))
    const found = reachable(entry)
    for (const name of found.packages) packages.add(name)
    for (const path of found.files) {
      const code = readFileSync(join(root, path), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
      assert.doesNotMatch(code, /\bBuffer\b|\bprocess\.|\bNodeJS\b/, path)
    }
  }
  assert.deepEqual([...packages], ['msgpackr'])
})
