/**
 * `millrace bench …`: load for this broker, and for any that speaks Kafka's protocol. The work is
 * done in `src/load`, loaded only when a command runs.
 */
import { writeFile } from 'node:fs/promises'
import { Command } from 'commander'
import { LoadError } from '../load/load-error.ts'
import type { ProduceResult } from '../load/result.ts'
import { produceSettingsProblem } from '../load/settings.ts'
import type { Tally } from '../load/tally.ts'
import {
  type BenchFormat,
  type LoadOptions,
  loadOptions,
  produceSettings,
  targetOptions,
} from './bench-options.ts'
import { BenchProgress } from './bench-progress.ts'
import { produceReport } from './bench-report.ts'
import { formatJson, type Streams } from './output.ts'

const SOURCES_HELP = `
Sources, always named in the result:
  prebuilt  batches are encoded once and sent again and again: the broker is measured
  client    events are encoded one by one: over ws by our library, else batched here
`

export function benchCommand(streams: Streams): Command {
  const bench = new Command('bench').description('measure a broker: producers, consumers, both')
  bench.addCommand(produceCommand(streams))
  bench.addHelpText(
    'after',
    `
Examples:
  $ millrace bench produce --duration 10
  $ millrace bench produce --rate 50000 --hdr latency.hgrm`,
  )
  return bench
}

function produceCommand(streams: Streams): Command {
  const command = new Command('produce').description('send events, as many as go or at a rate')
  return loadOptions(targetOptions(command, ['kafka', 'ws', 'rest']))
    .addHelpText(
      'after',
      `${SOURCES_HELP}
Open loop (--rate): each request has its time and its connection. Latency counts from that
time, also when the request had to wait for others: a broker that stalls shows it. Closed
loop (the default): each connection sends when it has its answer.

At the end the logs' end offsets, and their bytes where they can be asked (DescribeLogDirs,
or --data-dir), must be what was acknowledged: else the exit code is 1.

Examples:
  $ millrace bench produce --connections 32 --batch-bytes 65536 --duration 10
  $ millrace bench produce --rate 50000 --event-bytes 200 --hdr latency.hgrm
  $ millrace bench produce --driver ws --source client --producers 4 --compression zstd
  $ millrace bench produce --kafka other.example:9092 --format json > result.json`,
    )
    .action(async (options: LoadOptions, self: Command) => {
      await produce(options, { streams, command: self })
    })
}

interface Shell {
  readonly streams: Streams
  readonly command: Command
}

async function produce(options: LoadOptions, { streams, command }: Shell): Promise<void> {
  const { pacingOfMachine, runProduce } = await import('../load/run-produce.ts')
  const settings = produceSettings(options, pacingOfMachine())
  const problem = produceSettingsProblem(settings)
  if (problem !== null) command.error(`error: ${problem}`, { exitCode: 2 })
  const interrupt = untilInterrupted()
  let progress: BenchProgress | null = null
  try {
    const { result, distribution } = await runProduce(settings, {
      signal: interrupt.signal,
      events: {
        ready: ({ topics, tally }) => {
          if (options.quiet === true) return
          streams.err(`sending to ${topics.join(', ')}: ${settings.driver}, ${settings.source}`)
          progress = new BenchProgress(() => snapshotOf(tally), streams.err)
        },
        measure: (at) => announce(at, options.format, streams),
      },
    })
    progress = stopped(progress)
    if (options.hdr !== undefined) await writeDistribution(options.hdr, distribution)
    print(result, options.format, { streams, report: () => produceReport(result) })
    if (result.problem !== null) throw new LoadError(`the run proves nothing: ${result.problem}`)
  } finally {
    stopped(progress)
    interrupt.end()
  }
}

function snapshotOf(tally: Tally) {
  const { phase, total, recent } = tally
  const [p50Ms, p99Ms] = [recent.percentile(50), recent.percentile(99)]
  recent.reset()
  return { phase, events: total.records, bytes: total.bytes, p50Ms, p99Ms }
}

function stopped(progress: BenchProgress | null): null {
  progress?.stop()
  return null
}

/** The first Ctrl-C ends the measurement; the second one the process. */
function untilInterrupted(): { readonly signal: AbortSignal; end(): void } {
  const stop = new AbortController()
  const onSignal = (): void => stop.abort()
  process.once('SIGINT', onSignal)
  return { signal: stop.signal, end: () => process.off('SIGINT', onSignal) }
}

/** Whoever samples the broker needs both instants as they happen. */
function announce(at: 'start' | 'end', format: BenchFormat, streams: Streams): void {
  if (format === 'ndjson') streams.out(JSON.stringify({ event: `measure-${at}` }))
}

function print(
  result: ProduceResult,
  format: BenchFormat,
  { streams, report }: { readonly streams: Streams; readonly report: () => string },
): void {
  if (format === 'table') streams.out(report())
  else if (format === 'json') streams.out(formatJson(result))
  else streams.out(JSON.stringify({ event: 'result', ...result }))
}

async function writeDistribution(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new LoadError(`cannot write ${path}: ${reason}`, error)
  }
}
