#!/usr/bin/env node
/** The `millrace` command: parses nothing itself, hands the command line to `cli/`. */
import { runProgram } from './cli/program.ts'
import type { BrokerConfig } from './config/broker-config.ts'

/** Loaded only by `start`: the other commands need not wait for a broker's code. */
async function runBroker(config: BrokerConfig): Promise<void> {
  const gateway = await import('./gateway/run-broker.ts')
  await gateway.runBroker(config)
}

process.exitCode = await runProgram(process.argv.slice(2), runBroker)
// A broker that failed to start may have threads and sockets that would keep the process.
if (process.exitCode !== 0) process.exit()
