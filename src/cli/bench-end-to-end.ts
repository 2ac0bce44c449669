import { Command } from 'commander'
import type { ConsumeTally } from '../load/consume-tally.ts'
import type { Latency } from '../load/latency.ts'
import { type EndToEndSettings, endToEndSettingsProblem } from '../load/settings.ts'
import type { Tally } from '../load/tally.ts'
import { FETCH_BYTES_MAX } from './bench-consume.ts'
import {
  type LoadOptions,
  loadOptions,
  produceSettings,
  targetOptions,
  urlProblem,
} from './bench-options.ts'
import { beginning, LOOPS_HELP, SOURCES_HELP } from './bench-produce.ts'
import { endToEndReport } from './bench-report.ts'
import { BenchRun, type BenchShell, refuse } from './bench-run.ts'
import type { Streams } from './output.ts'
import { whole } from './produce.ts'

/** `millrace bench end-to-end`: producers, and consumers of what they send. */
interface EndToEndOptions extends LoadOptions {
  readonly consumers: number
  readonly fetchBytes: number
}

export function benchEndToEndCommand(streams: Streams): Command {
  const command = new Command('end-to-end').description('send events and read them as they come')
  return loadOptions(targetOptions(command, { drivers: ['kafka', 'ws'], warmUp: 2 }))
    .option('--consumers <count>', 'each with a connection of its own', whole(1, 10_000), 1)
    .option(
      '--fetch-bytes <bytes>',
      'of a partition in one answer or push',
      whole(1, FETCH_BYTES_MAX),
      1024 * 1024,
    )
    .addHelpText(
      'after',
      `
Latency is from the intended send time to the arrival at a consumer, of every batch; with
--driver ws --source client of every event, through our library at both ends.
${SOURCES_HELP}${LOOPS_HELP}
What was acknowledged must be what is stored and what arrived: else the exit code is 1.

Examples:
  $ millrace bench end-to-end --rate 10000
  $ millrace bench end-to-end --rate 20000 --driver ws --source client --linger-ms 1
  $ millrace bench end-to-end --rate 50000 --consumers 4 --hdr arrival.hgrm`,
    )
    .action((options: EndToEndOptions, self: Command) => {
      return endToEnd(options, { streams, command: self })
    })
}

async function endToEnd(options: EndToEndOptions, { streams, command }: BenchShell): Promise<void> {
  const { pacingOfMachine } = await import('../load/run-produce.ts')
  const { runEndToEnd } = await import('../load/run-end-to-end.ts')
  const settings: EndToEndSettings = {
    ...produceSettings(options, pacingOfMachine()),
    consumers: options.consumers,
    fetchBytes: options.fetchBytes,
  }
  refuse(command, urlProblem(options) ?? endToEndSettingsProblem(settings))
  const run = new BenchRun(options, streams)
  try {
    let consumers: { readonly tally: ConsumeTally; readonly recent: Latency } | null = null
    const { result, distribution } = await runEndToEnd(settings, {
      signal: run.signal,
      events: {
        consuming: (tally, recent) => {
          consumers = { tally, recent }
        },
        ready: ({ topics, tally }) => {
          run.begin(beginning(topics, settings), () => seen(tally, consumers))
        },
        measure: (at) => run.measure(at),
      },
    })
    await run.finish(result, { report: () => endToEndReport(result), distribution })
  } finally {
    run.end()
  }
}

function seen(
  produced: Tally,
  consumers: { readonly tally: ConsumeTally; readonly recent: Latency } | null,
) {
  const { phase, total } = produced
  const recent = consumers?.recent ?? produced.recent
  const [p50Ms, p99Ms] = [recent.percentile(50), recent.percentile(99)]
  recent.reset()
  const lag = Math.max(0, total.records - (consumers?.tally.total.records ?? 0))
  const more = `lag ${lag.toLocaleString('en-US')}`
  return { phase, events: total.records, bytes: total.bytes, p50Ms, p99Ms, more }
}
