/**
 * The first measurement: what a broker uses for each gigabyte and each request, by thread, beside
 * the smallest native program that does the same work, in equal memory cgroups, A B B A. Starts and
 * stops everything itself; loopback only. See perf-reports/README.md.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { projectFolder } from './lib/broker.ts'
import { cleanUpAtExit } from './lib/children.ts'
import { buildLimits } from './lib/limits.ts'
import { describeMachine, machineLines } from './lib/machine.ts'
import {
  loadArguments,
  type MeasurementOptions,
  orderOfRound,
  parseMeasurementOptions,
  USAGE,
  UsageError,
} from './lib/measurement-options.ts'
import { reportSection } from './lib/measurement-report.ts'
import { type Run, runOnce } from './lib/measurement-run.ts'
import { whyNoMemoryGroups } from './lib/memory-group.ts'
import { formatNumber } from './lib/statistics.ts'

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function progressLine(run: Run): string {
  const { load, use } = run
  const perGb = formatNumber(use.cpuSeconds / (load.bytes / 1e9))
  const perRequest = formatNumber((use.cpuSeconds / load.requests) * 1e6)
  const rate = `${formatNumber(load.bytesPerSecond / 1e9)} GB/s, ${formatNumber(load.requestsPerSecond)} requests/s`
  const p99 = `P99 ${formatNumber(load.latencyMicros.p99)} µs`
  const verdict = load.verified ? '' : `  NOT VALID: ${load.problem}`
  return `${run.target.padEnd(18)} ${rate}, ${p99}, ${perGb} CPU-s/GB, ${perRequest} CPU-µs/request${verdict}`
}

/** Whether cgroups work here, found out before the first run; if not, all runs go without. */
function usableMemory(options: MeasurementOptions): { memory: (number | null)[]; note?: string } {
  if (options.memory.every((bytes) => bytes === null)) return { memory: [null] }
  const why = whyNoMemoryGroups(options.cgroupParent)
  if (why === null) return { memory: [...options.memory] }
  const note = `**Without memory cgroups**: ${why}. The page cache was bounded only by the machine, so absolute numbers are not comparable with runs in a cgroup.`
  return { memory: [null], note }
}

function memoryTitle(bytes: number | null): string {
  return bytes === null ? 'no memory cgroup' : `memory cgroup ${formatNumber(bytes / 2 ** 30)} GiB`
}

async function main(options: MeasurementOptions): Promise<boolean> {
  const out = resolve(options.out ?? join(projectFolder(), '.cache', 'bench', 'first-measurement'))
  const dataParent = resolve(options.dataParent ?? join(projectFolder(), '.cache', 'bench'))
  mkdirSync(dirname(out), { recursive: true })
  mkdirSync(dataParent, { recursive: true })
  const machine = describeMachine(dataParent)
  if (machine.load > 0.5)
    say(`warning: load average ${machine.load.toFixed(2)}: somebody else is at work`)
  say('building bench/limits')
  buildLimits()
  const { memory, note } = usableMemory(options)
  if (note !== undefined) say(note)

  const runs: Run[] = []
  const sections: string[] = []
  const head = [
    ...machineLines(machine),
    `- ${options.rounds} rounds, A B B A, ${options.seconds} s after ${options.warmUpSeconds} s; in flight ${options.inFlight}, acks ${options.acks}${options.rate === undefined ? ', closed loop' : `, open loop ${options.rate} requests/s`}; Millrace with ${options.shards} shard(s)`,
    `- Nothing is fsynced before the answer. Median (min–max); GB is 10^9 bytes of record batches; latency from the intended send time`,
    ...(note === undefined ? [] : [`- ${note}`]),
  ]
  const save = () => {
    const report = { machine, options, note, runs }
    writeFileSync(`${out}.json`, `${JSON.stringify(report, null, 1)}\n`)
    writeFileSync(`${out}.md`, `${[...head, '', ...sections].join('\n')}\n`)
  }
  for (const memoryBytes of memory) {
    for (const workload of options.workloads) {
      const title = `${workload.title}, ${memoryTitle(memoryBytes)}`
      say(`\n${title}\n  produce-load ${loadArguments(options, workload).join(' ')}`)
      const ofWorkload: Run[] = []
      try {
        for (let round = 0; round < options.rounds; round++) {
          for (const target of orderOfRound(options.targets, round)) {
            const run = await runOnce(options, { target, workload, memoryBytes, round, dataParent })
            say(`  ${round + 1}/${options.rounds} ${progressLine(run)}`)
            ofWorkload.push(run)
            runs.push(run)
          }
        }
      } finally {
        // What was measured before a failure is kept: the error says that the rest is missing.
        if (ofWorkload.length > 0) sections.push(reportSection(title, ofWorkload, 'limit'))
        save()
      }
    }
  }
  process.stdout.write(`${[...head, '', ...sections].join('\n')}\n`)
  say(`written: ${out}.json, ${out}.md`)
  return runs.every((run) => run.load.verified)
}

if (process.argv.includes('--help')) {
  process.stdout.write(`${USAGE}\n`)
} else {
  cleanUpAtExit()
  try {
    const isGood = await main(parseMeasurementOptions(process.argv.slice(2)))
    process.exitCode = isGood ? 0 : 1
  } catch (error) {
    if (error instanceof UsageError) {
      say(`${error.message}\n\n${USAGE}`)
      process.exitCode = 2
    } else {
      for (let cause = error; cause instanceof Error; cause = cause.cause) say(cause.message)
      process.exitCode = 1
    }
  }
}
