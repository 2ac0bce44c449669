/**
 * Runs seeds and prints what they found, as a program: for long runs (scripts/simulate.mjs) and for
 * the planted bugs, which run a changed copy of the compiled tree.
 *
 *   node run-seeds.js --seeds N [--from S] [--minutes M] [--json] [--stop]
 */
import { parseArgs } from 'node:util'
import { runSeed } from './harness.ts'

const PROGRESS_MS = 5000

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    minutes: { type: 'string' },
    json: { type: 'boolean', default: false },
    stop: { type: 'boolean', default: false },
  },
})

const seeds = Number(values.seeds)
const from = Number(values.from)
const deadline = values.minutes === undefined ? Infinity : Number(values.minutes) * 60_000
const totals: Record<string, number> = {}
const failures: { seed: number; invariant: string; message: string }[] = []
const startedMs = performance.now()
let saidMs = startedMs
let steps = 0
let done = 0

for (; done < seeds && performance.now() - startedMs < deadline; done++) {
  const result = await runSeed(from + done)
  steps += result.steps
  for (const [what, count] of Object.entries(result.counters)) {
    totals[what] = (totals[what] ?? 0) + count
  }
  if (result.violation !== null) {
    const { invariant, message } = result.violation
    failures.push({ seed: result.seed, invariant, message })
    if (!values.json) process.stdout.write(`seed ${result.seed}: ${message}\n`)
    if (values.stop) {
      done++
      break
    }
  }
  if (!values.json && performance.now() - saidMs > PROGRESS_MS) {
    saidMs = performance.now()
    process.stdout.write(`${done + 1} seeds, ${failures.length} failed\n`)
  }
}

const seconds = Math.round((performance.now() - startedMs) / 10) / 100
if (values.json) process.stdout.write(JSON.stringify({ seeds: done, failures }))
else {
  process.stdout.write(
    `seeds ${from} to ${from + done - 1} in ${seconds} s, ${steps} rounds of turns\n`,
  )
  for (const [what, count] of Object.entries(totals).sort()) {
    process.stdout.write(`  ${what}: ${count}\n`)
  }
  const byInvariant = new Map<string, number[]>()
  for (const { seed, invariant } of failures) {
    byInvariant.set(invariant, [...(byInvariant.get(invariant) ?? []), seed])
  }
  for (const [invariant, list] of byInvariant) {
    process.stdout.write(
      `FAILED ${list.length} × ${invariant}: seeds ${list.slice(0, 10).join(' ')}\n`,
    )
  }
}
process.exitCode = failures.length > 0 ? 1 : 0
