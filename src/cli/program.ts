/**
 * The command line: commands, help, and how each kind of failure ends the process.
 *
 * Exit codes: 0 done; 1 the command failed (a broker refused, cannot be reached, a disk failed);
 * 2 the command line or the configuration is wrong, and nothing was done.
 */
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { MillraceError } from '../client/errors.ts'
import { AdminError } from '../client/kafka-admin.ts'
import { ConnectionError } from '../client/kafka-connection.ts'
import { ConfigError } from '../config/load.ts'
import { BrokerError } from '../errors/broker-error.ts'
import { LoadError } from '../load/load-error.ts'
import { benchCommand } from './bench.ts'
import { clusterCommand } from './cluster.ts'
import { PlanError } from './cluster-plan.ts'
import { CheckFailed, CommandError } from './command-error.ts'
import { completionCommand } from './completion.ts'
import { configCommand } from './config.ts'
import { consumeCommand } from './consume.ts'
import { demoCommand } from './demo.ts'
import { startDemoBroker } from './demo-broker.ts'
import { groupCommand } from './group.ts'
import { LineError } from './lines.ts'
import { processStreams, type Streams } from './output.ts'
import { produceCommand } from './produce.ts'
import { type RunBroker, startCommand } from './start.ts'
import { topicCommand } from './topic.ts'

export const ExitCode = { DONE: 0, FAILED: 1, USAGE: 2 } as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

function version(): string {
  // Seen from dist/main.js where the command is bundled, from dist/cli/ and from build/src/cli/.
  for (const path of ['../package.json', '../../package.json', '../../../package.json']) {
    try {
      const text = readFileSync(new URL(path, import.meta.url), 'utf8')
      const manifest: { name?: unknown; version?: unknown } = JSON.parse(text)
      if (manifest.name === 'millrace') return String(manifest.version)
    } catch {
      // Another one.
    }
  }
  return 'unknown'
}

function buildProgram(streams: Streams, runBroker: RunBroker): Command {
  const program = new Command('millrace')
    .description("An event streaming platform that speaks Kafka's protocol")
    .version(version(), '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show the help of a command')
    .addHelpText(
      'after',
      `
Examples:
  $ millrace demo
  $ millrace start
  $ millrace cluster up
  $ millrace topic create orders --partitions 6
  $ echo hello | millrace produce orders
  $ millrace consume orders --from-beginning`,
    )
  program.addCommand(startCommand(streams, runBroker))
  program.addCommand(clusterCommand(streams))
  program.addCommand(topicCommand(streams))
  program.addCommand(groupCommand(streams))
  program.addCommand(produceCommand(streams))
  program.addCommand(consumeCommand())
  program.addCommand(demoCommand(streams, startDemoBroker))
  program.addCommand(benchCommand(streams))
  program.addCommand(configCommand(streams))
  program.addCommand(completionCommand(streams))
  prepare(program, streams)
  return program
}

/**
 * Applies to a command and all below it: throw, never exit; write to `streams`; show help hints.
 */
function prepare(command: Command, streams: Streams): void {
  command
    .exitOverride()
    .showHelpAfterError('(--help shows what is possible)')
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => streams.out(text.trimEnd()),
      writeErr: (text) => streams.err(text.trimEnd()),
    })
  for (const child of command.commands) prepare(child, streams)
}

/** Runs one command line (without node and the script) and returns the exit code. Never throws. */
export async function runProgram(
  args: readonly string[],
  runBroker: RunBroker,
  streams: Streams = processStreams,
): Promise<ExitCode> {
  try {
    await buildProgram(streams, runBroker).parseAsync(args, { from: 'user' })
    return ExitCode.DONE
  } catch (error) {
    return report(error, streams)
  }
}

/** Failures that their message explains. */
const EXPECTED = [
  AdminError,
  ConnectionError,
  BrokerError,
  MillraceError,
  LineError,
  LoadError,
  CommandError,
  PlanError,
]

function report(error: unknown, streams: Streams): ExitCode {
  if (error instanceof CommanderError) {
    // Commander has printed it. Asking for help or for the version is no failure.
    return error.exitCode === 0 ? ExitCode.DONE : ExitCode.USAGE
  }
  if (error instanceof ConfigError) {
    streams.err(error.message)
    return ExitCode.USAGE
  }
  if (error instanceof CheckFailed) return ExitCode.FAILED
  const expected = EXPECTED.some((kind) => error instanceof kind)
  // Of what nobody expected the stack is the useful part.
  const text = error instanceof Error ? (expected ? error.message : error.stack) : String(error)
  streams.err(`error: ${text}`)
  return ExitCode.FAILED
}
