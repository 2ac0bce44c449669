/** The command line of measure-plants.ts. Pure. */
import { parseArgs } from 'node:util'
import { numberOption, UsageError } from '../../bench/lib/number-option.ts'
import { PLANT_KINDS, PLANTS_BY_KIND, type PlantKind } from './planted-copy.ts'
import type { Plant } from './plants.ts'

export { UsageError }

/** Trials begin this far apart, and have no seed in common. */
export const SEEDS_BETWEEN = 100_000

export interface PlantOptions {
  readonly plants: readonly { readonly kind: PlantKind; readonly plant: Plant }[]
  readonly trials: number
  /** Bounds of a trial. */
  readonly seeds: number
  readonly minutes: number
  readonly json: string | undefined
}

export const USAGE = `npm run simulate -- --plants [options]

Plants each bug in a copy of the compiled code and measures how many seeds, and how many seconds,
the simulation needs until an invariant breaks: from several seeds far apart. A seed counts that
fails with the bug and not without it.

  --what KIND     ${PLANT_KINDS.join(', ')}; default all
  --name TEXT     only bugs with TEXT in their names
  --trials N      for each bug, from the seeds 1, 100001, 200001 and so on; default 5
  --seeds N       a trial ends without a finding after N seeds; default 10000
  --minutes M     or with the seed that is under way after M minutes; default 4
  --json FILE     all trials, written anew after each bug
  --help          this

A line for each bug goes to standard error, the table at the end (Markdown) to standard output.`

/** Undefined: help is wanted. */
export function parsePlantOptions(argv: readonly string[]): PlantOptions | undefined {
  const values = parse(argv)
  if (values.help === true) return undefined
  return {
    plants: chosen(values.what, values.name),
    trials: numberOption(values.trials, 'trials', { low: 1, high: 1000, whole: true }),
    seeds: numberOption(values.seeds, 'seeds', { low: 1, high: SEEDS_BETWEEN, whole: true }),
    minutes: numberOption(values.minutes, 'minutes', { low: 0.01, high: 1440 }),
    json: values.json,
  }
}

function parse(argv: readonly string[]) {
  const text = { type: 'string' } as const
  try {
    return parseArgs({
      args: [...argv],
      options: {
        // What has chosen this program.
        plants: { type: 'boolean' },
        what: text,
        name: text,
        trials: { type: 'string', default: '5' },
        seeds: { type: 'string', default: '10000' },
        minutes: { type: 'string', default: '4' },
        json: text,
        help: { type: 'boolean' },
      },
    }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function chosen(what: string | undefined, name: string | undefined): PlantOptions['plants'] {
  const kinds = PLANT_KINDS.filter((kind) => what === undefined || kind === what)
  if (kinds.length === 0) {
    throw new UsageError(`--what ${what}: there are ${PLANT_KINDS.join(', ')}`)
  }
  const all = kinds.flatMap((kind) => PLANTS_BY_KIND[kind].map((plant) => ({ kind, plant })))
  const wanted = name?.toLowerCase() ?? ''
  const plants = all.filter(({ plant }) => plant.name.toLowerCase().includes(wanted))
  if (plants.length > 0) return plants
  const names = all.map(({ kind, plant }) => `  ${kind}: ${plant.name}`).join('\n')
  throw new UsageError(`--name ${name}: no bug has that in its name; there are\n${names}`)
}
