/**
 * The micro-benchmarks under benny: operations a second with their margin, by group.
 *
 *   npm run bench -- micro/micro [--only TEXT] [--tiny] [--out FILE]
 *
 * `--tiny` runs each case just long enough to see that it works.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import benny from 'benny'
import { describeMachine, machineLines } from '../lib/machine.ts'
import { formatNumber, markdownTable } from '../lib/statistics.ts'
import { microCases } from './cases.ts'
import type { MicroCase } from './micro-case.ts'

const TINY = { minSamples: 1, maxTime: 0.001, initCount: 1, minTime: 0.001 }

interface Measured {
  readonly name: string
  readonly ops: number
  /** Relative margin of error, percent. */
  readonly margin: number
  readonly bytes: number | undefined
}

async function measure(
  group: string,
  cases: readonly MicroCase[],
  isTiny: boolean,
): Promise<Measured[]> {
  const tests = cases.map(({ name, run }) =>
    benny.add(name, () => run as () => void, isTiny ? TINY : {}),
  )
  const summary = await benny.suite(group, ...tests)
  return cases.map(({ name, bytes }) => {
    const result = summary.results.find((one) => one.name === name)
    if (result === undefined) throw new Error(`${group}: ${name} gave no result`)
    return { name, ops: result.ops, margin: result.margin, bytes }
  })
}

function table(measured: readonly Measured[]): string {
  const rows = measured.map(({ name, ops, margin, bytes }) => [
    name,
    formatNumber(ops),
    formatNumber(1e9 / ops),
    `± ${formatNumber(margin)} %`,
    bytes === undefined ? '–' : formatNumber((ops * bytes) / 1e9),
  ])
  return markdownTable(['', 'operations/s', 'ns each', 'margin', 'GB/s'], rows)
}

const { values } = parseArgs({
  options: { only: { type: 'string' }, tiny: { type: 'boolean' }, out: { type: 'string' } },
})
const chosen = microCases().filter(({ group, name }) =>
  `${group} ${name}`.includes(values.only ?? ''),
)
if (chosen.length === 0) throw new Error(`no case has "${values.only}" in its name`)
for (const { group, name, run, check } of chosen) {
  if (!check(run())) throw new Error(`${group}: ${name} does not do its work`)
}
const parts = [...machineLines(describeMachine('.')), '']
for (const group of new Set(chosen.map((one) => one.group))) {
  const cases = chosen.filter((one) => one.group === group)
  parts.push(`### ${group}`, '', table(await measure(group, cases, values.tiny === true)), '')
}
const text = parts.join('\n')
if (values.out !== undefined) writeFileSync(values.out, text)
process.stdout.write(text)
