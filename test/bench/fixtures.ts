/** Runs as the first measurement makes them, with numbers that are easy to check by hand. */
import type { Latency, LoadResult } from '../../bench/lib/limits.ts'
import type { Run } from '../../bench/lib/measurement-run.ts'
import type { RoleUse } from '../../bench/lib/process-sample.ts'

export function latency(p50: number, p99: number): Latency {
  return { count: 100, min: 1, mean: p50, p50, p90: p99, p99, p999: p99, max: p99 }
}

export function use(role: string, cpuSeconds: number): RoleUse {
  return {
    role,
    threads: 1,
    cpuSeconds,
    userSeconds: cpuSeconds / 4,
    systemSeconds: (cpuSeconds * 3) / 4,
    voluntarySwitches: 10,
    involuntarySwitches: 0,
  }
}

/** A run of one second: `gigabytes` in requests of 100 KB, `cpuSeconds` by role. */
export function run(
  target: string,
  gigabytes: number,
  cpuSeconds: Readonly<Record<string, number>>,
  change: Partial<LoadResult> = {},
): Run {
  const requests = gigabytes * 10_000
  const roles = Object.entries(cpuSeconds).map(([role, seconds]) => use(role, seconds))
  const load: LoadResult = {
    event: 'result',
    protocol: 'kafka',
    mode: 'closed',
    rate: null,
    connections: 64,
    batchBytes: 100_000,
    eventsPerRequest: 97,
    seconds: 1,
    stoppedBy: 'time',
    requests,
    bytes: gigabytes * 1e9,
    requestsPerSecond: requests,
    eventsPerSecond: requests * 97,
    bytesPerSecond: gigabytes * 1e9,
    latencyMicros: latency(500, 2000),
    serviceMicros: latency(500, 2000),
    offered: requests,
    overdue: 0,
    connectionsWithoutCredit: 0,
    clientCpuSeconds: 0.1,
    byPartition: [],
    verified: true,
    problem: null,
    ...change,
  }
  return {
    target,
    workload: '64k',
    memoryBytes: 2 ** 32,
    round: 0,
    load,
    use: {
      seconds: 1,
      cpuSeconds: roles.reduce((sum, one) => sum + one.cpuSeconds, 0),
      roles,
      writtenBytes: gigabytes * 1e9,
      machine: { busySeconds: 1, stealSeconds: 0 },
    },
    residentPeakBytes: 1e8,
    groupPeakBytes: 2e8,
  }
}
