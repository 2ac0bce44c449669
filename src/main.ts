#!/usr/bin/env -S node --max-semi-space-size=64
/**
 * The `millrace` command: parses nothing itself, hands the command line to `cli/`. The flag above
 * gives main's young generation room: without it collections cost small requests their P99
 * (perf-reports/2026-11-22-first-measurement.md).
 */
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
