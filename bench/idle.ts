/**
 * What a broker costs when nothing happens: memory and start-up time, empty and with many idle
 * partitions, after a clean stop and after a kill. Starts and stops everything itself.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { projectFolder, type RunningBroker, startBroker } from './lib/broker.ts'
import { cleanUpAtExit, deleteFolder, ownFolder, sleep, stopProcess } from './lib/children.ts'
import { createTopics } from './lib/create-topics.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { memoryOf, sampleProcess, useBetween } from './lib/process-sample.ts'
import { formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE = `node build/bench/idle.js [--topics 100] [--partitions 100] [--rounds 3] [--settle SECONDS]
  [--shards 1] [--set NAME=VALUE]... [--main FILE] [--data-parent DIR] [--out PREFIX]

  --topics × --partitions idle partitions; --settle: how long after "ready" memory is read (3)`

interface Start {
  readonly readyMs: number
  /** The process's own use of cores until it was ready. */
  readonly startCpuSeconds: number
  readonly residentBytes: number
  readonly anonymousBytes: number
  readonly sharedBytes: number
  readonly peakBytes: number
  /** Cores used while idle. */
  readonly idleCores: number
}

interface Settings {
  readonly topics: number
  readonly partitions: number
  readonly rounds: number
  readonly settleMs: number
  readonly shards: number
  readonly set: readonly string[]
  readonly main: string | undefined
  readonly dataParent: string
  readonly out: string | undefined
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function parseSettings(argv: readonly string[]): Settings {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...argv],
    options: {
      topics: text,
      partitions: text,
      rounds: text,
      settle: text,
      shards: text,
      set: { type: 'string', multiple: true },
      main: text,
      'data-parent': text,
      out: text,
    },
  })
  const whole = (given: string | undefined, standard: number, high: number) => {
    const value = Number(given ?? standard)
    if (!Number.isInteger(value) || value < 1 || value > high) {
      throw new TypeError(`${given} must be a whole number 1 to ${high}`)
    }
    return value
  }
  return {
    topics: whole(values.topics, 100, 100_000),
    partitions: whole(values.partitions, 100, 100_000),
    rounds: whole(values.rounds, 3, 100),
    settleMs: whole(values.settle, 3, 600) * 1000,
    shards: whole(values.shards, 1, 256),
    set: values.set ?? [],
    main: values.main,
    dataParent: resolve(values['data-parent'] ?? join(projectFolder(), '.cache', 'bench')),
    out: values.out,
  }
}

function start(settings: Settings, folder: string): Promise<RunningBroker> {
  return startBroker({
    main: settings.main,
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'broker.log'),
    shards: settings.shards,
    settings: settings.set,
    nodeArgs: [],
    readyTimeoutMs: 120_000,
  })
}

async function observe(broker: RunningBroker, settleMs: number): Promise<Start> {
  const { pid } = broker
  const atReady = sampleProcess(pid)
  await sleep(settleMs)
  const before = sampleProcess(pid)
  await sleep(2000)
  const idle = useBetween(before, sampleProcess(pid), pid)
  let startNs = 0
  for (const thread of atReady.threads.values()) startNs += thread.cpuNs
  return {
    readyMs: broker.readyMs,
    startCpuSeconds: startNs / 1e9,
    residentBytes: memoryOf(pid, 'VmRSS'),
    anonymousBytes: memoryOf(pid, 'RssAnon'),
    sharedBytes: memoryOf(pid, 'RssShmem'),
    peakBytes: memoryOf(pid, 'VmHWM'),
    idleCores: idle.cpuSeconds / idle.seconds,
  }
}

async function runRound(
  settings: Settings,
  round: number,
  add: (name: string, start: Start) => void,
): Promise<number> {
  const folder = join(settings.dataParent, `millrace-idle-${process.pid}-${round}`)
  mkdirSync(folder, { recursive: true })
  ownFolder(folder)
  let broker: RunningBroker | undefined
  const observeStart = async (name: string, stop: 'SIGTERM' | 'SIGKILL') => {
    broker = await start(settings, folder)
    const result = await observe(broker, settings.settleMs)
    say(
      `  ${name}: ready in ${result.readyMs.toFixed(0)} ms, RSS ${(result.residentBytes / 1e6).toFixed(0)} MB`,
    )
    add(name, result)
    if (stop === 'SIGKILL') broker.child.kill('SIGKILL')
    await stopProcess(broker.child)
  }
  try {
    const count = settings.topics * settings.partitions
    await observeStart('empty, first start', 'SIGTERM')
    await observeStart('empty, restart', 'SIGTERM')
    broker = await start(settings, folder)
    const createMs = await createTopics(broker.kafkaPort, { prefix: 'idle', ...settings })
    say(`  ${count} partitions created in ${createMs.toFixed(0)} ms`)
    await stopProcess(broker.child)
    await observeStart(`${count} idle partitions, after a clean stop`, 'SIGKILL')
    await observeStart(`${count} idle partitions, after a kill`, 'SIGTERM')
    return createMs
  } finally {
    if (broker !== undefined) await stopProcess(broker.child)
    deleteFolder(folder)
  }
}

const COLUMNS: readonly (readonly [string, (start: Start) => number])[] = [
  ['ready after ms', (one) => one.readyMs],
  ['CPU-s until ready', (one) => one.startCpuSeconds],
  ['RSS MB', (one) => one.residentBytes / 1e6],
  ['of it anonymous', (one) => one.anonymousBytes / 1e6],
  ['of it shared', (one) => one.sharedBytes / 1e6],
  ['RSS peak MB', (one) => one.peakBytes / 1e6],
  ['idle cores', (one) => one.idleCores],
]

async function main(): Promise<void> {
  const settings = parseSettings(process.argv.slice(2))
  mkdirSync(settings.dataParent, { recursive: true })
  const machine = describeMachine(settings.dataParent)
  const starts = new Map<string, Start[]>()
  const createMs: number[] = []
  for (let round = 0; round < settings.rounds; round++) {
    say(`round ${round + 1}/${settings.rounds}`)
    const took = await runRound(settings, round, (name, one) => {
      starts.set(name, [...(starts.get(name) ?? []), one])
    })
    createMs.push(took)
  }
  const rows = [...starts].map(([name, list]) => [
    name,
    ...COLUMNS.map(([, of]) => formatSpread(spreadOf(list.map(of)))),
  ])
  const text = [
    ...machineLines(machine),
    `- ${settings.rounds} rounds; median (min–max); MB is 10^6 bytes; ${settings.shards} shard(s); memory read ${settings.settleMs / 1000} s after "ready"`,
    `- Creating the partitions took ${formatSpread(spreadOf(createMs))} ms`,
    '',
    markdownTable(['', ...COLUMNS.map(([title]) => title)], rows),
  ].join('\n')
  process.stdout.write(`${text}\n`)
  const out = resolve(settings.out ?? join(projectFolder(), '.cache', 'bench', 'idle'))
  mkdirSync(dirname(out), { recursive: true })
  const report = { machine, settings, createMs, starts: Object.fromEntries(starts) }
  writeFileSync(`${out}.json`, `${JSON.stringify(report, null, 1)}\n`)
  writeFileSync(`${out}.md`, `${text}\n`)
}

if (process.argv.includes('--help')) {
  process.stdout.write(`${USAGE}\n`)
} else {
  cleanUpAtExit()
  try {
    await main()
  } catch (error) {
    for (let cause = error; cause instanceof Error; cause = cause.cause) say(cause.message)
    process.exitCode = error instanceof TypeError ? 2 : 1
  }
}
