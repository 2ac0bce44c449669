/**
 * `millrace bench …`: load for this broker, and for any that speaks Kafka's protocol. The work is
 * done in `src/load`, loaded only when a command runs.
 */
import { Command } from 'commander'
import { benchConsumeCommand } from './bench-consume.ts'
import { benchEndToEndCommand } from './bench-end-to-end.ts'
import { benchProduceCommand } from './bench-produce.ts'
import type { Streams } from './output.ts'

export function benchCommand(streams: Streams): Command {
  const bench = new Command('bench').description('measure a broker with producers and consumers')
  bench.addCommand(benchProduceCommand(streams))
  bench.addCommand(benchConsumeCommand(streams))
  bench.addCommand(benchEndToEndCommand(streams))
  bench.addHelpText(
    'after',
    `
Examples:
  $ millrace bench produce --connections 32
  $ millrace bench produce --rate 50000 --event-bytes 200 --hdr latency.hgrm
  $ millrace bench consume
  $ millrace bench end-to-end --rate 10000 --driver ws --source client`,
  )
  return bench
}
