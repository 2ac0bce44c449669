/**
 * Measures how long each planted bug takes to be found, as a program (scripts/simulate.mjs):
 *
 *   node measure-plants.js [--what KIND] [--name TEXT] [--trials N] [--seeds N] [--minutes M]
 *       [--json FILE]
 *
 * One process runs seeds at a time, so that the seconds are those of a core. Where a plant's test
 * begins (`from`) is not looked at: it would be the answer.
 */
import { writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { runBenchmark } from '../../bench/lib/run-benchmark.ts'
import {
  type PlantOptions,
  parsePlantOptions,
  SEEDS_BETWEEN,
  USAGE,
  UsageError,
} from './plant-options.ts'
import {
  dismissedOf,
  lineOf,
  type Measurement,
  summaryOf,
  type Trial,
  tableOf,
} from './plant-trials.ts'
import { type Failure, PlantedCopy, type PlantKind, SeedsDidNotRun } from './planted-copy.ts'
import type { Plant } from './plants.ts'

/** A seed that takes longer than this hangs. */
const SEED_MS = 120_000

interface Planted {
  readonly kind: PlantKind
  readonly plant: Plant
}

async function tryFrom(
  copy: PlantedCopy,
  { kind, plant }: Planted,
  { from, seeds, minutes }: { from: number; seeds: number; minutes: number },
): Promise<Trial> {
  const { focus } = plant
  const range = { what: kind, focus }
  const dismissed: number[] = []
  let done = 0
  let seconds = 0
  const trial = (failure: Failure | null, trouble: string | null): Trial => {
    const seed = failure?.seed ?? null
    return {
      from,
      seeds: done,
      seconds,
      seed,
      invariant: failure?.invariant ?? null,
      dismissed,
      trouble,
    }
  }
  while (done < seeds && seconds < minutes * 60) {
    const left = { seeds: seeds - done, minutes: minutes - seconds / 60 }
    const timeoutMs = left.minutes * 60_000 + SEED_MS
    try {
      const outcome = await copy.withPlant(plant, () =>
        copy.run({ ...range, ...left, from: from + done, timeoutMs }),
      )
      done += outcome.seeds
      seconds += outcome.seconds
      const [failure] = outcome.failures
      if (failure === undefined) break
      // Only what fails for the bug is a finding.
      const alone = { ...range, from: failure.seed, seeds: 1, timeoutMs: SEED_MS }
      const { failures } = await copy.run(alone)
      if (failures.length === 0) return trial(failure, null)
      dismissed.push(failure.seed)
    } catch (error) {
      if (!(error instanceof SeedsDidNotRun)) throw error
      return trial(null, `from seed ${from + done}: ${error.message.trim()}`)
    }
  }
  return trial(null, null)
}

async function measure(
  copy: PlantedCopy,
  planted: Planted,
  { trials: count, seeds, minutes }: PlantOptions,
): Promise<Measurement> {
  const trials: Trial[] = []
  for (let i = 0; i < count; i++) {
    trials.push(await tryFrom(copy, planted, { from: 1 + i * SEEDS_BETWEEN, seeds, minutes }))
  }
  const { kind, plant } = planted
  return { kind, name: plant.name, focus: plant.focus ?? null, trials }
}

function machine(): string {
  const [cpu] = cpus()
  const load = loadavg().map((one) => one.toFixed(1))
  return (
    `${cpus().length} × ${cpu?.model ?? 'unknown'}, ${process.platform} ${release()}, ` +
    `Node ${process.version}, load average ${load.join(' ')}`
  )
}

function write(file: string, content: object): void {
  try {
    writeFileSync(file, `${JSON.stringify(content)}\n`)
  } catch (error) {
    throw new UsageError(`--json ${file}: cannot be written: ${(error as Error).message}`)
  }
}

async function main(): Promise<void> {
  const options = parsePlantOptions(process.argv.slice(2))
  if (options === undefined) {
    process.stdout.write(`${USAGE}\n`)
    return
  }
  const { plants, trials, seeds, minutes, json } = options
  const measurements: Measurement[] = []
  const before = machine()
  // Also before the first, which would be lost otherwise where the file cannot be written.
  const save = () => {
    if (json !== undefined) write(json, { machine: before, seeds, minutes, measurements })
  }
  save()
  const copy = new PlantedCopy()
  process.on('exit', () => copy.remove())
  process.stderr.write(`${before}\n`)
  for (const planted of plants) {
    const measurement = await measure(copy, planted, options)
    measurements.push(measurement)
    process.stderr.write(`${measurements.length}/${plants.length} ${lineOf(measurement)}\n`)
    save()
  }
  process.stdout.write(
    `- ${before}; ${machine().replace(/.*, /, '')} at the end\n` +
      `- ${trials} trials each, of ${seeds} seeds or ${minutes} minutes at most\n` +
      `- ${summaryOf(measurements)}\n` +
      dismissedOf(measurements)
        .map((seed) => `- fails without a bug: ${seed}\n`)
        .join('') +
      `\n${tableOf(measurements)}\n`,
  )
}

await runBenchmark(USAGE, main)
