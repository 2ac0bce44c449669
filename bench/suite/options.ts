/** The suite's command line. Pure, except for the profile file it may read. */
import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { projectFolder } from '../lib/broker.ts'
import { numberOption, UsageError } from '../lib/number-option.ts'
import { parseBytes } from '../lib/statistics.ts'
import { type Profile, parseProfile, profileFor } from './profile.ts'
import { ROWS, SUITES } from './rows.ts'

export interface SuiteOptions {
  readonly suite: string
  readonly rows: readonly string[]
  /** Only these cells of the rows; empty: all. */
  readonly cells: readonly string[]
  readonly isQuick: boolean
  readonly rounds: number
  readonly seconds: number
  readonly warmUpSeconds: number
  /** Null: no cgroup. */
  readonly memoryBytes: number | null
  readonly cgroupParent: string | undefined
  readonly withKafka: boolean
  readonly withLimit: boolean
  readonly main: string | undefined
  /** Another build, measured beside this one as `before`. */
  readonly before: string | undefined
  readonly settings: readonly string[]
  readonly nodeArgs: readonly string[]
  readonly profile: Profile
  readonly dataParent: string
  readonly bytesMax: number
  /** Folder of the results. */
  readonly out: string
  readonly resume: boolean
  /** A name in perf-reports/: the report, its data, its charts and the history go there. */
  readonly report: string | undefined
}

export { UsageError }

export const USAGE = `npm run bench -- [options]          (or node build/bench/suite/suite.js after a build)

What to measure
  --suite NAME           ${Object.keys(SUITES).join(' or ')}; default headline
  --rows LIST            rows instead of the suite's: ${ROWS.map(({ name }) => name).join(',')}
  --cells LIST           only these cells of the rows, such as a-64k
  --quick                3 rounds of 12 s after 2 s, one limit program, one warm JVM; the headline
                         takes about 30 minutes
  --rounds N --seconds S --warm-up S       default 5, 15, 3
  --no-kafka, --no-limit leave out Apache Kafka, the limit programs
  --before MAIN          another build's dist/main.js, measured beside this one

How
  --profile FILE|auto    shards, cores and connections; default auto (this machine).
                         bench/profiles/ has examples for machines with many cores
  --memory SIZE|none     each program's memory cgroup, page cache included; default 4G
  --cgroup-parent DIR    make the cgroups below DIR
  --set NAME=VALUE       an option of Millrace; may repeat
  --node-arg ARG         of Millrace's Node, such as --cpu-prof; may repeat
  --main FILE            another build of Millrace than dist/main.js
  --data-parent DIR      where the data goes (your NVMe disk), default .cache/bench
  --max-gb N             log bytes (10^9) after which a run ends early, default 40

Results
  --out DIR              default .cache/bench/suite; every run is a line of runs.ndjson there
  --resume               go on where a run with the same --out stopped: what is there is kept
  --report NAME          write perf-reports/NAME.md with JSON and charts, and add to the history`

export function parseSuiteOptions(argv: readonly string[]): SuiteOptions {
  const values = parse(argv)
  const quick = values.quick === true
  const suite = values.suite ?? 'headline'
  const named = SUITES[suite]
  if (named === undefined) throw new UsageError(`there is no suite ${suite}`)
  const rows = values.rows === undefined ? named : list(values.rows)
  for (const row of rows) {
    if (!ROWS.some(({ name }) => name === row)) throw new UsageError(`there is no row ${row}`)
  }
  const cells = values.cells === undefined ? [] : list(values.cells)
  const known = ROWS.filter(({ name }) => rows.includes(name)).flatMap((row) => row.cells)
  for (const cell of cells) {
    if (!known.some(({ name }) => name === cell)) {
      throw new UsageError(`there is no cell ${cell} in the rows ${rows.join(',')}`)
    }
  }
  const cache = join(projectFolder(), '.cache', 'bench')
  return {
    suite,
    rows,
    cells,
    isQuick: quick,
    rounds: number(values.rounds ?? (quick ? '3' : '5'), 'rounds', 1, 100, true),
    seconds: number(values.seconds ?? (quick ? '12' : '15'), 'seconds', 0.5, 3600),
    warmUpSeconds: number(values['warm-up'] ?? (quick ? '2' : '3'), 'warm-up', 0, 600),
    memoryBytes: memory(values.memory ?? '4G'),
    cgroupParent: values['cgroup-parent'],
    withKafka: values['no-kafka'] !== true,
    withLimit: values['no-limit'] !== true,
    main: values.main,
    before: values.before,
    settings: values.set ?? [],
    nodeArgs: values['node-arg'] ?? [],
    profile: profile(values.profile ?? 'auto'),
    dataParent: values['data-parent'] ?? cache,
    bytesMax: number(values['max-gb'] ?? '40', 'max-gb', 0.001, 100_000) * 1e9,
    out: values.out ?? join(cache, 'suite'),
    resume: values.resume === true,
    report: values.report,
  }
}

function parse(argv: readonly string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean' } as const
  const many = { type: 'string', multiple: true } as const
  try {
    return parseArgs({
      args: [...argv],
      strict: true,
      options: {
        suite: text,
        rows: text,
        cells: text,
        quick: flag,
        rounds: text,
        seconds: text,
        'warm-up': text,
        'no-kafka': flag,
        'no-limit': flag,
        before: text,
        profile: text,
        memory: text,
        'cgroup-parent': text,
        set: many,
        'node-arg': many,
        main: text,
        'data-parent': text,
        'max-gb': text,
        out: text,
        resume: flag,
        report: text,
      },
    }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function profile(name: string): Profile {
  if (name === 'auto') return profileFor(cpus().length)
  let text: string
  try {
    text = readFileSync(name, 'utf8')
  } catch (error) {
    throw new UsageError(`--profile ${name}: cannot be read: ${String(error)}`)
  }
  const read = parseProfile(text)
  if (typeof read === 'string') throw new UsageError(`--profile ${name}: ${read}`)
  return read
}

function memory(text: string): number | null {
  if (text === 'none') return null
  const bytes = parseBytes(text)
  if (bytes !== undefined && bytes >= 64 * 2 ** 20) return bytes
  throw new UsageError(`--memory ${text}: must be a size of at least 64M, or none`)
}

function list(text: string): string[] {
  const parts = text.split(',').map((part) => part.trim())
  if (parts.includes('')) throw new UsageError(`"${text}" has an empty entry`)
  return [...new Set(parts)]
}

function number(text: string, name: string, low: number, high: number, whole = false): number {
  return numberOption(text, name, { low, high, whole })
}
