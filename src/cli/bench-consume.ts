import { Command, Option } from 'commander'
import type { ConsumeTally } from '../load/consume-tally.ts'
import type { ConsumeSettings } from '../load/settings.ts'
import { type TargetOptions, targetOptions, targetSettings, urlProblem } from './bench-options.ts'
import { consumeReport } from './bench-report.ts'
import { BenchRun, type BenchShell, refuse } from './bench-run.ts'
import type { Streams } from './output.ts'
import { whole } from './produce.ts'

/** `millrace bench consume`: consumers alone. */
interface ConsumeOptions extends TargetOptions {
  readonly consumers: number
  readonly from: 'earliest' | 'latest'
  readonly follow?: boolean
  readonly checkCrc?: boolean
  readonly fetchBytes: number
}

export const FETCH_BYTES_MAX = 64 * 1024 * 1024

export function benchConsumeCommand(streams: Streams): Command {
  const command = new Command('consume').description('read all partitions of the topics')
  return targetOptions(command, { drivers: ['kafka', 'ws'], warmUp: 0 })
    .option('-c, --consumers <count>', 'each with a connection of its own', whole(1, 10_000), 1)
    .addOption(
      new Option('--from <where>', 'where reading begins')
        .choices(['earliest', 'latest'])
        .default('earliest'),
    )
    .option('--follow', 'go on behind what is the end at the start')
    .option('--check-crc', "check every batch's CRC")
    .option(
      '--fetch-bytes <bytes>',
      'of a partition in one answer or push',
      whole(1, FETCH_BYTES_MAX),
      1024 * 1024,
    )
    .addHelpText(
      'after',
      `
Batches are counted by their headers and not decoded: the broker is measured. From the
earliest event it reads up to what is the end at the start, or for --duration; from the
latest for --duration. Every partition must come without a gap: else the exit code is 1.

Examples:
  $ millrace bench consume --topic bench
  $ millrace bench consume --consumers 4 --check-crc --driver ws
  $ millrace bench consume --from latest --duration 60 --format json`,
    )
    .action((options: ConsumeOptions, self: Command) => {
      return consume(options, { streams, command: self })
    })
}

async function consume(options: ConsumeOptions, { streams, command }: BenchShell): Promise<void> {
  refuse(command, urlProblem(options))
  const { runConsume } = await import('../load/run-consume.ts')
  const settings: ConsumeSettings = {
    ...targetSettings(options),
    consumers: options.consumers,
    from: options.from,
    follow: options.follow === true,
    checkCrc: options.checkCrc === true,
    fetchBytes: options.fetchBytes,
  }
  const run = new BenchRun(options, streams)
  try {
    const result = await runConsume(settings, {
      signal: run.signal,
      events: {
        ready: ({ topics, tally }) => {
          run.begin(`reading ${topics.join(', ')} over ${options.driver}`, () => seen(tally))
        },
        measure: (at) => run.measure(at),
      },
    })
    await run.finish(result, { report: () => consumeReport(result), distribution: null })
  } finally {
    run.end()
  }
}

function seen(tally: ConsumeTally) {
  const { total, isMeasuring } = tally
  const more = `lag ${tally.look().toLocaleString('en-US')}`
  const phase = isMeasuring ? 'measure' : 'warm-up'
  return { phase, events: total.records, bytes: total.bytes, p50Ms: null, p99Ms: null, more }
}
