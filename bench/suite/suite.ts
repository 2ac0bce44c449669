/**
 * The benchmark suite: Millrace beside Apache Kafka and the smallest native programs that do the
 * same work, in equal memory cgroups, forth and back. Starts and stops everything itself; loopback
 * only. See perf-reports/README.md.
 */
import { mkdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { cleanUpAtExit } from '../lib/children.ts'
import { installKafka, kafkaVersion } from '../lib/kafka-broker.ts'
import { buildLimits } from '../lib/limits.ts'
import { describeMachine } from '../lib/machine.ts'
import { whyNoMemoryGroups } from '../lib/memory-group.ts'
import { median } from '../lib/statistics.ts'
import { parseSuiteOptions, type SuiteOptions, USAGE, UsageError } from './options.ts'
import type { Profile } from './profile.ts'
import { Progress } from './progress.ts'
import { writeReport } from './report.ts'
import { type Cell, orderOf, ROWS, type TargetName } from './rows.ts'
import { type CellRun, runCell } from './run-cell.ts'
import { RunStore } from './store.ts'
import { Targets } from './targets.ts'

/** A JVM compiles what it runs often: this long it gets before the first run counts. */
const JVM_WARM_UP_SECONDS = 12

interface Planned {
  readonly cell: Cell
  readonly target: TargetName
  readonly round: number
}

function plannedRuns(options: SuiteOptions): Planned[] {
  const rows = ROWS.filter(({ name }) => options.rows.includes(name))
  const cells = rows
    .flatMap((row) => row.cells)
    .filter(({ name }) => options.cells.length === 0 || options.cells.includes(name))
    .map((cell) => scaled(cell, options.profile))
  return cells.flatMap((cell) => {
    const rounds = Math.min(options.rounds, cell.rounds ?? options.rounds)
    const targets = targetsOf(cell, options)
    return Array.from({ length: rounds }, (_, round) =>
      orderOf(targets, round).map((target): Planned => ({ cell, target, round })),
    ).flat()
  })
}

/** Row i compares counts of partitions and connections: those stay. */
function scaled(cell: Cell, profile: Profile): Cell {
  if (profile.scale === 1 || cell.row === 'i') return cell
  const { connections, partitions } = cell
  return {
    ...cell,
    connections: connections * profile.scale,
    partitions: partitions * profile.scale,
  }
}

function targetsOf(cell: Cell, options: SuiteOptions): TargetName[] {
  const targets = cell.targets.filter((name) => {
    if (name === 'kafka') return options.withKafka
    if (name === 'limit' && options.isQuick && cell.targets.includes('limit-two-threads')) {
      return false
    }
    return name.startsWith('limit') ? options.withLimit : true
  })
  if (options.before !== undefined) targets.splice(1, 0, 'before')
  return targets
}

function maximumOf(runs: readonly CellRun[], cell: Cell, target: TargetName): number | undefined {
  const { rate } = cell
  if (rate === undefined || !('shareOf' in rate)) return undefined
  const isBase = (run: CellRun) => run.cell === rate.shareOf && run.target === target
  const found = runs.filter((run) => isBase(run) && run.problem === null)
  if (found.length === 0) return undefined
  return median(found.map((run) => run.load.requestsPerSecond))
}

/** Whether cgroups work here, found out before the first run; if not, all runs go without. */
function usableMemory(options: SuiteOptions): { memoryBytes: number | null; note: string | null } {
  if (options.memoryBytes === null) return { memoryBytes: null, note: null }
  const why = whyNoMemoryGroups(options.cgroupParent)
  if (why === null) return { memoryBytes: options.memoryBytes, note: null }
  const note = `**Without memory cgroups**: ${why}. The page cache was bounded only by the machine.`
  return { memoryBytes: null, note }
}

async function main(options: SuiteOptions): Promise<boolean> {
  const dataParent = resolve(options.dataParent)
  mkdirSync(dataParent, { recursive: true })
  const progress = new Progress()
  progress.say('building bench/limits')
  buildLimits()
  if (options.withKafka) installKafka()
  const machine = describeMachine(dataParent)
  if (machine.load > 0.5) {
    progress.say(`warning: load average ${machine.load.toFixed(2)}: somebody else is at work`)
  }
  const { memoryBytes, note } = usableMemory(options)
  if (note !== null) progress.say(note)
  const conditions = {
    commit: machine.commit,
    seconds: options.seconds,
    memoryBytes,
    profile: options.profile.name,
    how: {
      isQuick: options.isQuick,
      warmUpSeconds: options.warmUpSeconds,
      settings: options.settings,
      nodeArgs: options.nodeArgs,
      main: options.main ?? null,
      before: options.before ?? null,
      shards: options.profile.shards,
    },
  }
  const store = new RunStore(resolve(options.out), conditions, options.resume)
  const planned = plannedRuns(options)
  const open = planned.filter(({ cell, target, round }) => !store.has(cell, target, round))
  if (open.length < planned.length) {
    progress.say(`${planned.length - open.length} of ${planned.length} runs are there already`)
  }
  const targets = new Targets({
    memoryBytes,
    cgroupParent: options.cgroupParent,
    dataParent,
    shards: options.profile.shards,
    settings: options.settings,
    nodeArgs: options.nodeArgs,
    main: options.main,
    beforeMain: options.before,
    cpus: options.profile.targetCpus ?? undefined,
    kafkaThreads: options.profile.kafkaThreads,
  })
  const secondsOf = (cell: Cell): number =>
    options.isQuick ? options.seconds : (cell.seconds ?? options.seconds)
  progress.begin(open.map(({ cell }) => secondsOf(cell)))
  const run = ({ cell, target, round }: Planned, seconds: number): Promise<CellRun> =>
    runCell(targets, {
      cell,
      target,
      round,
      warmUpSeconds: options.warmUpSeconds,
      seconds,
      maximum: maximumOf(store.runs, cell, target),
      bytesMax: options.bytesMax,
      loadCpus: options.profile.loadCpus ?? undefined,
      dataParent,
    })
  try {
    let row = ''
    let isWarm = false
    for (const one of open) {
      if (!options.isQuick && one.cell.row !== row) {
        // Fresh processes and folders a row; the quick suite keeps one warm JVM.
        await targets.stopAll()
        isWarm = false
      }
      row = one.cell.row
      if (one.target === 'kafka' && !isWarm) {
        progress.say('warming up Apache Kafka')
        const { rate: _, ...closed } = one.cell
        await run({ ...one, cell: closed }, JVM_WARM_UP_SECONDS)
        isWarm = true
      }
      const done = await run(one, secondsOf(one.cell))
      store.add(done)
      progress.done(done, one.cell)
    }
  } finally {
    progress.end()
    await targets.stopAll()
  }
  writeReport({ options, machine, note, kafka: kafkaVersion(), runs: store.runs })
  return store.runs.every(({ problem }) => problem === null)
}

if (process.argv.includes('--help')) {
  process.stdout.write(`${USAGE}\n`)
} else {
  cleanUpAtExit()
  try {
    const isGood = await main(parseSuiteOptions(process.argv.slice(2)))
    process.exitCode = isGood ? 0 : 1
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`${error.message}\n\n${USAGE}\n`)
      process.exitCode = 2
    } else {
      for (let cause = error; cause instanceof Error; cause = cause.cause) {
        process.stderr.write(`${cause.message}\n`)
      }
      process.exitCode = 1
    }
  }
}
