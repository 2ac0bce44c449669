import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  loadArguments,
  orderOfRound,
  parseMeasurementOptions,
  UsageError,
  WORKLOADS,
  writesLog,
} from '../../bench/lib/measurement-options.ts'

test('parseMeasurementOptions has the headline settings as its defaults', () => {
  const options = parseMeasurementOptions([])
  assert.deepEqual(options.targets, ['millrace', 'limit'])
  assert.deepEqual(options.memory, [4 * 2 ** 30])
  assert.equal(options.rounds, 3)
  assert.equal(options.warmUpSeconds, 2)
  assert.equal(options.seconds, 10)
  assert.equal(options.inFlight, 1)
  assert.deepEqual(options.workloads, WORKLOADS)
})

test('parseMeasurementOptions reads lists, repeated options and quick', () => {
  const line = '--quick --targets limit,limit-receive --workloads small --memory 1G,none'
  const options = parseMeasurementOptions([...line.split(' '), '--set', 'a=1', '--set', 'b=2'])
  assert.equal(options.rounds, 1)
  assert.equal(options.seconds, 1)
  assert.deepEqual(options.targets, ['limit', 'limit-receive'])
  assert.deepEqual(options.memory, [2 ** 30, null])
  assert.deepEqual(options.settings, ['a=1', 'b=2'])
  assert.deepEqual(
    options.workloads.map((one) => one.name),
    ['small'],
  )
})

test('parseMeasurementOptions refuses what it does not know', () => {
  const wrong = [
    ['--rouns', '3'],
    ['--rounds', '0'],
    ['--rounds', '1.5'],
    ['--seconds', ''],
    ['--seconds', 'ten'],
    ['--targets', 'kafka'],
    ['--targets', 'limit,'],
    ['--targets', 'constructor'],
    ['--workloads', '2m'],
    ['--memory', '1K'],
    ['--acks', '0'],
    ['more'],
  ]
  for (const argv of wrong) {
    assert.throws(() => parseMeasurementOptions(argv), UsageError, argv.join(' '))
  }
})

test('orderOfRound goes forth and back, and begins at the other end every second round', () => {
  assert.deepEqual(orderOfRound(['a', 'b'], 0), ['a', 'b', 'b', 'a'])
  assert.deepEqual(orderOfRound(['a', 'b'], 1), ['b', 'a', 'a', 'b'])
  assert.deepEqual(orderOfRound(['a', 'b', 'c'], 2), ['a', 'b', 'c', 'c', 'b', 'a'])
})

test('loadArguments are the same for every target except for the bound on bytes', () => {
  const options = parseMeasurementOptions(['--rate', '500', '--in-flight', '4'])
  const workload = WORKLOADS[0]
  assert.ok(workload !== undefined)
  const unbounded = loadArguments(options, workload)
  assert.deepEqual(loadArguments(options, workload, 2.5e9).toSorted(), [
    ...[...unbounded, '--max-bytes', '2500000000'].toSorted(),
  ])
  for (const pair of ['--connections 64', '--rate 500', '--in-flight 4', '--partitions 8']) {
    assert.ok(unbounded.join(' ').includes(pair), pair)
  }
})

test('writesLog is false only for targets that write nothing', () => {
  assert.ok(writesLog('millrace') && writesLog('limit') && writesLog('limit-no-crc'))
  assert.ok(!writesLog('limit-no-write') && !writesLog('limit-receive'))
})
