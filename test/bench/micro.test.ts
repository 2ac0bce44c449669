import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { microCases } from '../../bench/micro/cases.ts'

test('every micro-benchmark does its work, also when it runs again', () => {
  const cases = microCases()
  const names = cases.map(({ group, name }) => `${group}: ${name}`)
  assert.equal(new Set(names).size, names.length)
  for (const { group, name, run, check } of cases) {
    for (let i = 0; i < 100; i++) assert.ok(check(run()), `${group}: ${name}`)
  }
})

test('the micro-benchmarks run under benny, tiny', () => {
  const program = fileURLToPath(new URL('../../bench/micro/micro.js', import.meta.url))
  const output = execFileSync(process.execPath, [program, '--tiny'], { encoding: 'utf8' })
  for (const { group } of microCases()) assert.ok(output.includes(`### ${group}`), group)
  assert.doesNotMatch(output, /NaN|Infinity/)
})
