import { Command } from 'commander'
import { type ProduceSettings, produceSettingsProblem } from '../load/settings.ts'
import type { Tally } from '../load/tally.ts'
import {
  type LoadOptions,
  loadOptions,
  produceSettings,
  targetOptions,
  urlProblem,
} from './bench-options.ts'
import type { BenchSnapshot } from './bench-progress.ts'
import { produceReport } from './bench-report.ts'
import { BenchRun, type BenchShell, refuse } from './bench-run.ts'
import type { Streams } from './output.ts'

/** `millrace bench produce`: producers alone. */
export const SOURCES_HELP = `
Sources, always named in the result:
  prebuilt  batches are encoded once and sent again and again: the broker is measured
  client    events are encoded one by one: over ws by our library, else batched here
`

export const LOOPS_HELP = `
Open loop (--rate): each request has its time and its connection. Latency counts from that
time, also when the request had to wait for others: a broker that stalls shows it. Closed
loop (the default): each connection sends when it has its answer.
`

export function benchProduceCommand(streams: Streams): Command {
  const command = new Command('produce').description('send events, as many as go or at a rate')
  return loadOptions(targetOptions(command, { drivers: ['kafka', 'ws', 'rest'], warmUp: 2 }))
    .addHelpText(
      'after',
      `${SOURCES_HELP}${LOOPS_HELP}
At the end the logs' end offsets, and their bytes where they can be asked (DescribeLogDirs,
or --data-dir), must be what was acknowledged: else the exit code is 1. Ctrl-C ends the
measurement early and reports what there is.

Examples:
  $ millrace bench produce --connections 32 --batch-bytes 65536 --duration 10
  $ millrace bench produce --rate 50000 --event-bytes 200 --hdr latency.hgrm
  $ millrace bench produce --driver ws --source client --producers 4 --compression zstd
  $ millrace bench produce --kafka other.example:9092 --format json > result.json`,
    )
    .action((options: LoadOptions, self: Command) => produce(options, { streams, command: self }))
}

async function produce(options: LoadOptions, { streams, command }: BenchShell): Promise<void> {
  const { pacingOfMachine, runProduce } = await import('../load/run-produce.ts')
  const settings = produceSettings(options, pacingOfMachine())
  refuse(command, urlProblem(options) ?? produceSettingsProblem(settings))
  const run = new BenchRun(options, streams)
  try {
    const { result, distribution } = await runProduce(settings, {
      signal: run.signal,
      events: {
        ready: ({ topics, tally }) => run.begin(beginning(topics, settings), () => seen(tally)),
        measure: (at) => run.measure(at),
      },
    })
    await run.finish(result, { report: () => produceReport(result), distribution })
  } finally {
    run.end()
  }
}

export function beginning(topics: readonly string[], settings: ProduceSettings): string {
  const { driver, source, kafka, url, warmUpMs, durationMs } = settings
  const where = driver === 'kafka' ? `${kafka.host}:${kafka.port}` : url
  const names = topics.length === 1 ? topics[0] : `${topics.length} topics`
  const time = `${warmUpMs / 1000} s of warm-up, ${durationMs / 1000} s measured`
  return `${names} at ${where}, ${driver}, ${source}: ${time}`
}

function seen(tally: Tally): BenchSnapshot {
  const { phase, total, recent } = tally
  const [p50Ms, p99Ms] = [recent.percentile(50), recent.percentile(99)]
  recent.reset()
  return { phase, events: total.records, bytes: total.bytes, p50Ms, p99Ms }
}
