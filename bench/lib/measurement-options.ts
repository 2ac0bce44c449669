/**
 * What the first measurement runs: its command line, its workloads and the order of its runs. Pure.
 */
import { parseArgs } from 'node:util'
import { numberOption, UsageError } from './number-option.ts'
import { parseBytes } from './statistics.ts'

export interface Workload {
  readonly name: string
  readonly title: string
  readonly args: readonly string[]
}

/** Equal for every target. "One request": one batch to one partition; in flight 1. */
export const WORKLOADS: readonly Workload[] = [
  {
    name: '64k',
    title: '64 connections × 64 KiB requests (1 KiB events) × 8 partitions',
    args: ['--connections', '64', '--request-bytes', '65536', '--event-bytes', '1024'],
  },
  {
    name: '1m',
    title: '8 connections × 1 MiB requests (1 KiB events) × 8 partitions',
    args: ['--connections', '8', '--request-bytes', '1048576', '--event-bytes', '1024'],
  },
  {
    name: 'small',
    title: '32 connections × one 200 B event a request × 8 partitions',
    args: ['--connections', '32', '--events-per-request', '1', '--event-bytes', '200'],
  },
]

export const PARTITIONS = 8

/** Variants of the limit program: the arguments that make them. */
export const LIMIT_TARGETS: Readonly<Record<string, readonly string[]>> = {
  limit: [],
  'limit-two-threads': ['--writers', '1'],
  'limit-no-crc': ['--no-crc'],
  'limit-no-write': ['--no-write'],
  'limit-receive': ['--no-crc', '--no-write'],
}

export interface MeasurementOptions {
  readonly targets: readonly string[]
  readonly workloads: readonly Workload[]
  /** Bytes of the memory cgroup; null: none. Every value is a table of its own. */
  readonly memory: readonly (number | null)[]
  readonly cgroupParent: string | undefined
  readonly rounds: number
  readonly warmUpSeconds: number
  readonly seconds: number
  readonly inFlight: number
  readonly acks: string
  /** Requests a second; undefined: as fast as the target answers. */
  readonly rate: number | undefined
  readonly shards: number
  readonly settings: readonly string[]
  readonly nodeArgs: readonly string[]
  /** Another build's `main.js`. */
  readonly main: string | undefined
  readonly targetCpus: string | undefined
  readonly loadCpus: string | undefined
  /** Under which each run's data folder is made and deleted. */
  readonly dataParent: string | undefined
  /** Log bytes after which a run ends early. */
  readonly bytesMax: number
  readonly out: string | undefined
}

export { UsageError }

export const USAGE = `node build/bench/first-measurement.js [options]

  --quick                a smoke run: one round of 1 s after 0.3 s
  --targets LIST         default millrace,limit; also ${Object.keys(LIMIT_TARGETS).slice(1).join(', ')}
  --workloads LIST       default ${WORKLOADS.map((one) => one.name).join(',')}
  --memory LIST          sizes of the memory cgroup, default 4G; "none" runs without one
  --cgroup-parent DIR    make the cgroup below DIR instead of below this process's own group
  --rounds N             default 3; a round is A B B A
  --seconds S --warm-up S    default 10 and 2
  --in-flight N --acks 1|all --rate REQUESTS/S    of the load generator; default 1, 1, no rate
  --shards N             of Millrace, default 1
  --set NAME=VALUE       an option of Millrace; may repeat
  --node-arg ARG         of Millrace's Node, such as --cpu-prof; may repeat
  --main FILE            another build of Millrace than dist/main.js
  --target-cpus LIST --load-cpus LIST    cores, as taskset -c takes them; default all
  --data-parent DIR      where the runs' data goes, default .cache/bench
  --max-gb N             log bytes (10^9) after which a run ends early, default 30
  --out PREFIX           PREFIX.json and PREFIX.md, default .cache/bench/first-measurement`

export function parseMeasurementOptions(argv: readonly string[]): MeasurementOptions {
  const values = parse(argv)
  const quick = values.quick === true
  const memory = list(values.memory ?? '4G').map((text) => {
    if (text === 'none') return null
    const bytes = parseBytes(text)
    if (bytes === undefined || bytes < 64 * 2 ** 20) {
      throw new UsageError(`--memory ${text}: must be a size of at least 64M, or none`)
    }
    return bytes
  })
  const acks = values.acks ?? '1'
  if (acks !== '1' && acks !== 'all') throw new UsageError(`--acks ${acks}: must be 1 or all`)
  const rate = values.rate === undefined ? undefined : number(values.rate, 'rate', 1, 10_000_000)
  return {
    targets: list(values.targets ?? 'millrace,limit').map(targetNamed),
    workloads: list(values.workloads ?? WORKLOADS.map((one) => one.name).join()).map(workloadNamed),
    memory,
    cgroupParent: values['cgroup-parent'],
    rounds: number(values.rounds ?? (quick ? '1' : '3'), 'rounds', 1, 100, true),
    warmUpSeconds: number(values['warm-up'] ?? (quick ? '0.3' : '2'), 'warm-up', 0, 600),
    seconds: number(values.seconds ?? (quick ? '1' : '10'), 'seconds', 0.1, 3600),
    inFlight: number(values['in-flight'] ?? '1', 'in-flight', 1, 1000, true),
    acks,
    rate,
    shards: number(values.shards ?? '1', 'shards', 1, 256, true),
    settings: values.set ?? [],
    nodeArgs: values['node-arg'] ?? [],
    main: values.main,
    targetCpus: values['target-cpus'],
    loadCpus: values['load-cpus'],
    dataParent: values['data-parent'],
    bytesMax: number(values['max-gb'] ?? (quick ? '4' : '30'), 'max-gb', 0.001, 10_000) * 1e9,
    out: values.out,
  }
}

function parse(argv: readonly string[]) {
  const text = { type: 'string' } as const
  try {
    return parseArgs({
      args: [...argv],
      strict: true,
      options: {
        quick: { type: 'boolean' },
        targets: text,
        workloads: text,
        memory: text,
        'cgroup-parent': text,
        rounds: text,
        seconds: text,
        'warm-up': text,
        'in-flight': text,
        acks: text,
        rate: text,
        shards: text,
        set: { type: 'string', multiple: true },
        main: text,
        'node-arg': { type: 'string', multiple: true },
        'target-cpus': text,
        'load-cpus': text,
        'data-parent': text,
        'max-gb': text,
        out: text,
      },
    }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function list(text: string): string[] {
  const parts = text.split(',').map((part) => part.trim())
  if (parts.includes('')) throw new UsageError(`"${text}" has an empty entry`)
  return [...new Set(parts)]
}

function targetNamed(name: string): string {
  if (name === 'millrace' || Object.hasOwn(LIMIT_TARGETS, name)) return name
  throw new UsageError(`there is no target ${name}`)
}

function workloadNamed(name: string): Workload {
  const workload = WORKLOADS.find((one) => one.name === name)
  if (workload === undefined) throw new UsageError(`there is no workload ${name}`)
  return workload
}

function number(text: string, name: string, low: number, high: number, whole = false): number {
  return numberOption(text, name, { low, high, whole })
}

/**
 * The targets of one round: forth and back (A B B A), so that what drifts, such as a disk that
 * fills or a machine that warms up, meets all of them alike. Every second round begins at the other
 * end.
 */
export function orderOfRound(targets: readonly string[], round: number): string[] {
  const forth = round % 2 === 0 ? [...targets] : [...targets].reverse()
  return [...forth, ...[...forth].reverse()]
}

/** Whether a target fills the disk. */
export function writesLog(target: string): boolean {
  return LIMIT_TARGETS[target]?.includes('--no-write') !== true
}

/** The arguments of the load generator for a run. Without `bytesMax` it ends by time alone. */
export function loadArguments(
  options: MeasurementOptions,
  workload: Workload,
  bytesMax?: number,
): string[] {
  const args = [...workload.args, '--partitions', String(PARTITIONS)]
  args.push('--in-flight', String(options.inFlight), '--acks', options.acks)
  args.push('--warm-up', String(options.warmUpSeconds), '--duration', String(options.seconds))
  if (bytesMax !== undefined) args.push('--max-bytes', String(Math.floor(bytesMax)))
  if (options.rate !== undefined) args.push('--rate', String(options.rate))
  return args
}
