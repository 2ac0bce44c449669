import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileSystemOf } from '../../bench/lib/machine.ts'
import {
  type ProcessSample,
  parseField,
  parseMachine,
  parseStat,
  roleOf,
  sampleProcess,
  type ThreadSample,
  useBetween,
} from '../../bench/lib/process-sample.ts'

function thread(tid: number, name: string, cpuNs: number): ThreadSample {
  return {
    tid,
    name,
    cpuNs,
    userTicks: cpuNs / 2e7,
    systemTicks: cpuNs / 2e7,
    voluntarySwitches: cpuNs / 1e8,
    involuntarySwitches: 1,
  }
}

function sample(
  atNs: bigint,
  threads: readonly ThreadSample[],
  writtenBytes: number,
): ProcessSample {
  return {
    atNs,
    threads: new Map(threads.map((one) => [one.tid, one])),
    writtenBytes,
    machine: { busySeconds: Number(atNs) / 1e9, stealSeconds: 0 },
  }
}

test('parseStat finds the times after a name with spaces and parentheses', () => {
  const text = '17 (a (b) c) S 1 1 1 0 -1 4194560 10 0 0 0 123 45 0 0 20 0 11 0 1000 2000'
  assert.deepEqual(parseStat(text), { name: 'a (b) c', userTicks: 123, systemTicks: 45 })
})

test('parseField takes the line of that name only', () => {
  const text = 'nonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t5\nVmHWM:\t  12 kB\n'
  assert.equal(parseField(text, 'voluntary_ctxt_switches'), 5)
  assert.equal(parseField(text, 'VmHWM'), 12)
  assert.equal(parseField(text, 'VmRSS'), 0)
})

test('parseMachine counts neither idling nor waiting nor what was stolen as busy', () => {
  const text = 'cpu  100 10 200 9999 500 30 60 70 0 0\ncpu0 1 1 1 1\n'
  assert.deepEqual(parseMachine(text), { busySeconds: 4, stealSeconds: 0.7 })
})

test('roleOf knows main by its number and partition threads by their names', () => {
  assert.equal(roleOf(7, 'shard-1', 7), 'main')
  assert.equal(roleOf(8, 'shard-12', 7), 'shard-12')
  assert.equal(roleOf(8, 'writer-0', 7), 'writer-0')
  assert.equal(roleOf(8, 'iou-wrk-7', 7), 'other')
})

test('useBetween subtracts by thread, counts new threads whole and adds up roles', () => {
  const before = sample(1_000_000_000n, [thread(7, 'node', 1e9), thread(8, 'shard-0', 2e9)], 100)
  const after = sample(
    3_000_000_000n,
    [
      thread(7, 'node', 1.5e9),
      thread(8, 'shard-0', 3e9),
      thread(9, 'libuv-worker', 1e8),
      thread(10, 'libuv-worker', 1e8),
    ],
    1100,
  )
  const use = useBetween(before, after, 7)
  assert.equal(use.seconds, 2)
  assert.equal(use.writtenBytes, 1000)
  assert.equal(use.machine.busySeconds, 2)
  assert.deepEqual(
    use.roles.map((one) => [one.role, one.threads, Number(one.cpuSeconds.toFixed(6))]),
    [
      ['main', 1, 0.5],
      ['shard-0', 1, 1],
      ['other', 2, 0.2],
    ],
  )
  assert.equal(use.cpuSeconds.toFixed(6), '1.700000')
  assert.equal(use.roles[1]?.voluntarySwitches, 10)
})

test('sampleProcess sees this process', { skip: process.platform !== 'linux' }, () => {
  const before = sampleProcess(process.pid)
  const until = performance.now() + 30
  while (performance.now() < until); // Some time on a core, whatever else the machine does.
  const use = useBetween(before, sampleProcess(process.pid), process.pid)
  assert.equal(use.roles[0]?.role, 'main')
  assert.ok(use.cpuSeconds >= 0 && use.seconds >= 0.03)
})

test('fileSystemOf takes the longest mount point that holds the path', () => {
  const mounts = 'a / ext4 rw\nb /data xfs rw\nc /data/inner tmpfs rw\n'
  assert.equal(fileSystemOf('/data/in', mounts), 'xfs')
  assert.equal(fileSystemOf('/data/inner/x', mounts), 'tmpfs')
  assert.equal(fileSystemOf('/database', mounts), 'ext4')
})
