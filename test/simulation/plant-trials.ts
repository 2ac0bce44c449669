/**
 * What is known of how long planted bugs take to be found: the trials of each, their medians, and
 * the table of all. Pure.
 *
 * A trial that was ended by a bound knows only that more is needed than it had. The median counts
 * it as infinity, and is written "> N" where it is such a one; the largest is at least what was
 * seen.
 */
import type { PlantKind } from './planted-copy.ts'

export interface Trial {
  readonly from: number
  /** Up to the one that found the bug, or all that ran. */
  readonly seeds: number
  /** Of these seeds; what a process takes to start is not in it. */
  readonly seconds: number
  /** The seed that found it; null: none did. */
  readonly seed: number | null
  readonly invariant: string | null
  /** Seeds that failed without the bug as well, which find nothing. */
  readonly dismissed: readonly number[]
  /** Why seeds gave no result; null: they did. */
  readonly trouble: string | null
}

export interface Measurement {
  readonly kind: PlantKind
  readonly name: string
  readonly focus: string | null
  readonly trials: readonly Trial[]
}

/** `isOver`: only that it is more than `value` is known. */
export interface Bounded {
  readonly value: number
  readonly isOver: boolean
}

function isFound({ seed }: Trial): boolean {
  return seed !== null
}

/**
 * The middle one, of two in the middle the larger. Where that one is not known, half of the trials
 * needed more than the least that such a one had.
 */
export function medianOf(trials: readonly Trial[], value: (trial: Trial) => number): Bounded {
  const found = trials.filter(isFound).map(value)
  const middle = [...found].sort((a, b) => a - b)[trials.length >> 1]
  if (middle !== undefined) return { value: middle, isOver: false }
  const others = trials.filter((trial) => !isFound(trial)).map(value)
  return { value: Math.min(...others), isOver: true }
}

export function mostOf(trials: readonly Trial[], value: (trial: Trial) => number): Bounded {
  return { value: Math.max(...trials.map(value)), isOver: !trials.every(isFound) }
}

function inSeconds(seconds: number): string {
  return seconds < 10 ? seconds.toFixed(1) : seconds.toFixed(0)
}

/** `sign` stands before what is not known exactly. */
function written(
  { value, isOver }: Bounded,
  sign: string,
  text: (value: number) => string = String,
): string {
  return `${isOver ? `${sign} ` : ''}${text(value)}`
}

/** "4/5 (not found in 300 seeds)". */
function foundOf(trials: readonly Trial[]): string {
  const missed = trials.filter((trial) => !isFound(trial)).map(({ seeds }) => seeds)
  const counts = missed.sort((a, b) => a - b).join(', ')
  const share = `${trials.length - missed.length}/${trials.length}`
  return missed.length === 0 ? share : `${share} (not found in ${counts} seeds)`
}

/** "this ×4, that": those that broke most often first. */
function invariantsOf(trials: readonly Trial[]): string {
  const counts = new Map<string, number>()
  for (const { invariant } of trials) {
    if (invariant !== null) counts.set(invariant, (counts.get(invariant) ?? 0) + 1)
  }
  const names = [...counts].sort(([, a], [, b]) => b - a)
  return names.map(([name, count]) => (count === 1 ? name : `${name} ×${count}`)).join(', ')
}

/** Seeds that fail without a bug, as options that run them: they have found one nobody planted. */
export function dismissedOf(measurements: readonly Measurement[]): string[] {
  const lines = measurements.flatMap(({ kind, focus, trials }) => {
    const how = focus === null ? '' : ` --focus ${focus}`
    const seeds = trials.flatMap(({ dismissed }) => dismissed)
    return seeds.map((seed) => `--what ${kind} --from ${seed} --seeds 1${how}`)
  })
  return [...new Set(lines)]
}

/** What is said of a plant when its trials are over. */
export function lineOf(measurement: Measurement): string {
  const { kind, name, trials } = measurement
  const seeds = trials.map((trial) => `${isFound(trial) ? '' : '>'}${trial.seeds}`).join(' ')
  const median = medianOf(trials, ({ seconds }) => seconds)
  const notes = [
    ...new Set(trials.flatMap(({ trouble }) => trouble ?? [])),
    ...dismissedOf([measurement]).map((seed) => `fails without the bug as well: ${seed}`),
  ].map((note) => `\n  ${note}`)
  const found = `${kind}: ${name}: ${foundOf(trials)}`
  const seconds = written(median, '>', inSeconds)
  return `${found}; seeds ${seeds}; median ${seconds} s${notes.join('')}`
}

const HEAD = [
  'Planted',
  'kind',
  'found',
  'median seeds',
  'most',
  'median seconds',
  'most',
  'what broke',
]

/** In Markdown. */
export function tableOf(measurements: readonly Measurement[]): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const rows = measurements.map(({ kind, name, focus, trials }) => {
    const seeds = (trial: Trial) => trial.seeds
    const seconds = (trial: Trial) => trial.seconds
    return row([
      focus === null ? name : `${name} (\`--focus ${focus}\`)`,
      kind,
      foundOf(trials),
      written(medianOf(trials, seeds), '>'),
      written(mostOf(trials, seeds), '≥'),
      written(medianOf(trials, seconds), '>', inSeconds),
      written(mostOf(trials, seconds), '≥', inSeconds),
      invariantsOf(trials),
    ])
  })
  return [row(HEAD), '| --- | --- | --- | ---: | ---: | ---: | ---: | --- |', ...rows].join('\n')
}

/** How many plants were found always, sometimes and never. */
export function summaryOf(measurements: readonly Measurement[]): string {
  const always = measurements.filter(({ trials }) => trials.every(isFound)).length
  const never = measurements.filter(({ trials }) => !trials.some(isFound)).length
  const sometimes = measurements.length - always - never
  return (
    `${measurements.length} planted: ${always} found in every trial, ` +
    `${sometimes} in some, ${never} in none`
  )
}
