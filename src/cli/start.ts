/**
 * `millrace start`: the command line's part of starting a broker. It reads and checks the
 * configuration, says what clients could stumble over, and hands over to the broker.
 */
import { availableParallelism } from 'node:os'
import { Command } from 'commander'
import { availableMemory } from '../base/cgroup-memory.ts'
import type { BrokerConfig } from '../config/broker-config.ts'
import { advertisedWarnings } from '../config/listeners.ts'
import { loadConfig } from '../config/load.ts'
import type { Streams } from './output.ts'

interface StartOptions {
  readonly dataDir?: string
  readonly kafka?: string
  readonly http?: string
  readonly shards?: string
  readonly nodeId?: string
  readonly controllers?: string
  readonly roles?: string
  readonly cluster?: string
  readonly clusterId?: string
  readonly config?: string
  readonly set?: readonly string[]
  readonly insecure?: boolean
}

/** Runs a broker until it stops. */
export type RunBroker = (config: BrokerConfig) => Promise<void>

export function startCommand(streams: Streams, runBroker: RunBroker): Command {
  return new Command('start')
    .description('start a broker')
    .option('-d, --data-dir <dir>', 'where data is kept (log.dirs; default: millrace-data)')
    .option('-k, --kafka <host:port>', 'where Kafka clients connect (default: 127.0.0.1:9092)')
    .option('--http <host:port>', 'health and metrics over HTTP, or off (default: 127.0.0.1:8080)')
    .option('--shards <count>', 'threads that own partitions (default: cores less one)')
    .option('--node-id <id>', 'the id of this node in its cluster (default: 1)')
    .option('--controllers <id@host:port,…>', 'the controllers of the cluster that it belongs to')
    .option('--roles <roles>', 'broker, controller, or both (default: both)')
    .option(
      '--cluster <host:port>',
      'where the other brokers connect, if --controllers does not say',
    )
    .option('--cluster-id <id>', 'the cluster to join, if it does not follow from --controllers')
    .option('-c, --config <file>', 'a properties or YAML file of options')
    .option('-s, --set <name=value>', 'one option by its name; may repeat', collect)
    .option('--insecure', 'allow listeners beyond this machine without authentication')
    .addHelpText(
      'after',
      `
Options have Kafka's names where Kafka has them; millrace config lists them. Flags win over the
environment (MILLRACE_NUM_PARTITIONS or KAFKA_NUM_PARTITIONS sets num.partitions), and the
environment wins over the file.

A node with --roles controller votes about the metadata and is no broker: it has no partitions and
serves no clients. It answers the other nodes (--controllers), and over HTTP /health and /metrics.

Examples:
  $ millrace start
  $ millrace start --data-dir /srv/millrace --shards 3
  $ millrace start --config broker.properties --set num.partitions=6
  $ millrace start --insecure --kafka 0.0.0.0:9092 \\
      --set advertised.listeners=PLAINTEXT://broker.example:9092`,
    )
    .action(async ({ config: configFile, ...options }: StartOptions) => {
      // Whoever reads it may go away, its disk may be full: no reason not to serve.
      process.stderr.on('error', () => {})
      const config = loadConfig({
        ...options,
        ...(configFile === undefined ? {} : { configFile }),
        environment: process.env,
        machine: { memoryBytes: availableMemory(), cores: availableParallelism() },
      })
      for (const line of config.warnings) streams.err(`warning: ${line}`)
      // A name server may be slow to say that it does not know a host: nobody waits for that.
      void advertisedWarnings(config.listeners, config.advertisedListeners).then((lines) => {
        for (const line of lines) streams.err(`warning: ${line}`)
      })
      await runBroker(config)
    })
}

function collect(text: string, previous: readonly string[] = []): string[] {
  return [...previous, text]
}
