import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { consumerTimes, validateGroupConfigs } from '../../src/config/group-options.ts'
import { loadConfig } from '../../src/config/load.ts'

const SESSION = 'consumer.session.timeout.ms'
const HEARTBEAT = 'consumer.heartbeat.interval.ms'

describe('the options of a group', () => {
  test('are the broker’s where it sets none', () => {
    const broker = loadConfig({ set: ['group.consumer.session.timeout.ms=50000'] })
    assert.deepEqual(consumerTimes(new Map([[HEARTBEAT, '6000']]), broker), {
      sessionTimeoutMs: 50_000,
      heartbeatIntervalMs: 6000,
    })
  })

  test('keep to a range that has become smaller since they were set', () => {
    const broker = loadConfig({ set: ['group.consumer.max.heartbeat.interval.ms=6000'] })
    const overrides = new Map([
      [HEARTBEAT, '15000'],
      [SESSION, '60000'],
    ])
    assert.deepEqual(consumerTimes(overrides, broker), {
      sessionTimeoutMs: 60_000,
      heartbeatIntervalMs: 6000,
    })
  })

  test('are refused for what is changed, not for what was good when it was set', () => {
    const broker = loadConfig({ set: ['group.consumer.max.session.timeout.ms=50000'] })
    const overrides = new Map([
      [SESSION, '60000'],
      [HEARTBEAT, '6000'],
    ])
    assert.equal(validateGroupConfigs(overrides, broker, [HEARTBEAT]), null)
    assert.match(validateGroupConfigs(overrides, broker) ?? '', /45000 to 50000/)
  })

  test('are refused when heartbeats do not fit into the session', () => {
    const broker = loadConfig({
      set: [
        'group.consumer.min.session.timeout.ms=1000',
        'group.consumer.min.heartbeat.interval.ms=1000',
      ],
    })
    const problemOf = (sessionMs: string): string | null =>
      validateGroupConfigs(new Map([[SESSION, sessionMs]]), broker)
    assert.equal(problemOf('5001'), null)
    assert.match(problemOf('5000') ?? '', /must be less than/)
  })
})

test('a broker whose times of groups contradict each other, does not start', () => {
  const cases: [string, RegExp][] = [
    ['group.consumer.session.timeout.ms=44999', /session\.timeout\.ms \(44999\) must lie/],
    ['group.consumer.heartbeat.interval.ms=15001', /heartbeat\.interval\.ms \(15001\) must lie/],
    ['group.consumer.min.heartbeat.interval.ms=6000', /\(5000\) must lie/],
  ]
  for (const [set, message] of cases) assert.throws(() => loadConfig({ set: [set] }), message)
  const set = [
    'group.consumer.max.heartbeat.interval.ms=45000',
    'group.consumer.heartbeat.interval.ms=45000',
  ]
  assert.throws(() => loadConfig({ set }), /must be less than/)
})
