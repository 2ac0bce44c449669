/**
 * What a scrape of `/metrics` costs with many partitions: time, bytes, CPU of the main thread, and
 * how long other requests wait meanwhile. Starts and stops everything itself.
 *
 * Other requests are small ones over a connection of their own, one after the other: the longest
 * of them is how long main was away, or this process, whichever is longer.
 */
import { mkdirSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { projectFolder, type RunningBroker, startBroker } from './lib/broker.ts'
import { cleanUpAtExit, deleteFolder, ownFolder, sleep, stopProcess } from './lib/children.ts'
import { createTopics } from './lib/create-topics.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import { sampleProcess } from './lib/process-sample.ts'
import { formatSpread, markdownTable, spreadOf } from './lib/statistics.ts'

const USAGE = `node build/bench/scrape.js [--topics 100] [--partitions 100] [--scrapes 20] [--shards 1]
  [--main FILE] [--data-parent DIR]

  --topics × --partitions partitions, idle`

interface Scrape {
  readonly ms: number
  readonly bytes: number
  readonly mainCpuMs: number
  readonly longestWaitMs: number
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function whole(text: string | undefined, standard: number, max: number): number {
  const value = Number(text ?? standard)
  if (!Number.isInteger(value) || value < 1 || value > max) {
    throw new TypeError(`${text} must be a whole number 1 to ${max}`)
  }
  return value
}

/** Resolves with the size of the answer. */
function ask(port: number, path: string, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = get({ host: '127.0.0.1', port, path, agent }, (response) => {
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      response.on('error', reject)
      response.on('end', () => resolve(bytes))
    })
    asked.on('error', reject)
  })
}

/** Small requests, one after the other, while `isOver` says no; the longest, in milliseconds. */
async function longestWait(port: number, agent: Agent, isOver: () => boolean): Promise<number> {
  let longest = 0
  while (!isOver()) {
    const startedMs = performance.now()
    await ask(port, '/health/live', agent)
    longest = Math.max(longest, performance.now() - startedMs)
  }
  return longest
}

function mainCpuMs(broker: RunningBroker): number {
  return (sampleProcess(broker.pid).threads.get(broker.pid)?.cpuNs ?? Number.NaN) / 1e6
}

/** CPU of main by the scrape alone, and how long small requests waited beside another one. */
async function scrapeOnce(broker: RunningBroker, agents: readonly [Agent, Agent]): Promise<Scrape> {
  const cpuBefore = mainCpuMs(broker)
  const startedMs = performance.now()
  const bytes = await ask(broker.httpPort, '/metrics', agents[0])
  const ms = performance.now() - startedMs
  const cpuMs = mainCpuMs(broker) - cpuBefore
  let isOver = false
  const waiting = longestWait(broker.httpPort, agents[1], () => isOver)
  await ask(broker.httpPort, '/metrics', agents[0])
  isOver = true
  return { ms, bytes, mainCpuMs: cpuMs, longestWaitMs: await waiting }
}

async function main(): Promise<void> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    options: {
      topics: text,
      partitions: text,
      scrapes: text,
      shards: text,
      main: text,
      'data-parent': text,
    },
  })
  const topics = whole(values.topics, 100, 100_000)
  const partitions = whole(values.partitions, 100, 100_000)
  const scrapes = whole(values.scrapes, 20, 10_000)
  const parent = resolve(values['data-parent'] ?? join(projectFolder(), '.cache', 'bench'))
  const folder = join(parent, `millrace-scrape-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  ownFolder(folder)
  const all = topics * partitions
  const broker = await startBroker({
    main: values.main,
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'broker.log'),
    shards: whole(values.shards, 1, 256),
    settings: [`millrace.metrics.topics.max=${topics}`, `millrace.metrics.partitions.max=${all}`],
    nodeArgs: ['--max-semi-space-size=64'],
    readyTimeoutMs: 120_000,
  })
  const agents = [1, 2].map(() => new Agent({ keepAlive: true, maxSockets: 1 }))
  const done: Scrape[] = []
  let idleMs = 0
  try {
    await createTopics(broker.kafkaPort, { prefix: 'scrape', topics, partitions })
    await sleep(1000)
    const untilMs = performance.now() + 1000
    const isOver = (): boolean => performance.now() > untilMs
    idleMs = await longestWait(broker.httpPort, agents[1] as Agent, isOver)
    for (let i = 0; i < scrapes; i++) {
      done.push(await scrapeOnce(broker, agents as [Agent, Agent]))
    }
  } finally {
    for (const agent of agents) agent.destroy()
    await stopProcess(broker.child)
    deleteFolder(folder)
  }
  const row = (name: string, of: (one: Scrape) => number): string[] => [
    name,
    formatSpread(spreadOf(done.map(of))),
  ]
  const lines = [
    ...machineLines(describeMachine(parent)),
    `- ${all} partitions of ${topics} topics; ${scrapes} scrapes; median (min–max)`,
    `- Longest small request in a second without a scrape: ${idleMs.toFixed(1)} ms`,
    '',
    markdownTable(
      ['a scrape', ''],
      [
        row('duration, ms', ({ ms }) => ms),
        row('size, MB', ({ bytes }) => bytes / 1e6),
        row('CPU of main, ms', ({ mainCpuMs }) => mainCpuMs),
        row('longest small request meanwhile, ms', ({ longestWaitMs }) => longestWaitMs),
      ],
    ),
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
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
