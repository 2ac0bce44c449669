/** `npm ci` refuses a lockfile that leaves out a package which another one wants. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

interface LockEntry {
  readonly version?: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** The file at the project's root: one level higher from the compiled test. */
function lockfile(): Readonly<Record<string, LockEntry>> {
  const paths = ['../../package-lock.json', '../../../package-lock.json'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  )
  const path = paths.find(existsSync)
  assert.ok(path !== undefined, 'package-lock.json is not where it should be')
  return JSON.parse(readFileSync(path, 'utf8')).packages
}

test('package-lock.json, names every package that another one wants, for every platform', () => {
  const packages = lockfile()
  const missing: string[] = []
  for (const [path, entry] of Object.entries(packages)) {
    for (const name of Object.keys({ ...entry.dependencies, ...entry.optionalDependencies })) {
      const own = path === '' ? `node_modules/${name}` : `${path}/node_modules/${name}`
      if (packages[own] ?? packages[`node_modules/${name}`]) continue
      missing.push(`${path || 'the project'} wants ${name}`)
    }
  }
  assert.deepEqual(missing, [], 'run node scripts/complete-lockfile.mjs')
})
