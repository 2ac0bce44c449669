/** What requests to change options amount to. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type ConfigOperation,
  isRefusal,
  planOperations,
  planReplacement,
} from '../../src/config/alter.ts'
import { DYNAMIC_OPTIONS } from '../../src/config/dynamic-options.ts'
import { loadConfig } from '../../src/config/load.ts'
import { BROKER_OPTIONS, isBrokerOption } from '../../src/config/options.ts'
import { topicOption } from '../../src/config/topic-options.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'

function plan(present: string | null, ...operations: ConfigOperation[]) {
  return planOperations(operations, {
    optionOf: (name) => topicOption(name)?.option ?? null,
    textOf: () => present,
  })
}

function policy(kind: ConfigOperation['kind'], value: string | null): ConfigOperation {
  return { name: 'cleanup.policy', kind, value }
}

test('planOperations, appends what is not there and subtracts what is', () => {
  const cases: [string | null, ConfigOperation, string][] = [
    ['delete', policy('append', 'compact'), 'delete,compact'],
    ['delete', policy('append', 'delete, compact'), 'delete,compact'],
    [null, policy('append', 'compact'), 'compact'],
    ['', policy('append', 'compact'), 'compact'],
    ['delete, compact', policy('subtract', 'delete'), 'compact'],
    ['delete', policy('subtract', 'compact'), 'delete'],
    ['delete', policy('subtract', 'delete'), ''],
  ]
  for (const [present, operation, expected] of cases) {
    const changes = plan(present, operation)
    assert.ok(!isRefusal(changes))
    assert.equal(changes.get('cleanup.policy'), expected)
  }
})

test('planOperations, refuses a name twice, a missing value, a list operation on no list', () => {
  for (const operations of [
    [policy('set', 'delete'), policy('delete', null)],
    [policy('set', null)],
    [policy('append', null)],
  ]) {
    const refusal = plan('delete', ...operations)
    assert.ok(isRefusal(refusal))
    assert.equal(refusal.errorCode, ErrorCode.INVALID_REQUEST)
  }
  const refusal = plan('1', { name: 'retention.ms', kind: 'append', value: '2' })
  assert.ok(isRefusal(refusal) && refusal.errorCode === ErrorCode.INVALID_CONFIG)
})

test('planReplacement, takes back what is not named', () => {
  const changes = planReplacement([{ name: 'a', value: '1' }], ['a', 'b'])
  assert.deepEqual(
    changes,
    new Map([
      ['a', '1'],
      ['b', null],
    ] as [string, string | null][]),
  )
})

test('BrokerConfig, this broker wins over all brokers, both over the start', () => {
  const config = loadConfig({ set: ['num.partitions=2'] })
  config.setDynamic('cluster', 'num.partitions', '3')
  assert.deepEqual([config.get('num.partitions'), config.source('num.partitions')], [3, 'cluster'])
  config.setDynamic('broker', 'num.partitions', '4')
  assert.deepEqual([config.get('num.partitions'), config.source('num.partitions')], [4, 'broker'])
  assert.deepEqual(
    config.settings('num.partitions').map(({ source, text }) => `${source} ${text}`),
    ['broker 4', 'cluster 3', 'flag 2'],
  )
  config.setDynamic('broker', 'num.partitions', null)
  config.setDynamic('cluster', 'num.partitions', null)
  assert.deepEqual([config.get('num.partitions'), config.source('num.partitions')], [2, 'flag'])
})

test('DYNAMIC_OPTIONS, exist, and no secret is among them', () => {
  for (const name of DYNAMIC_OPTIONS) {
    assert.ok(isBrokerOption(name), name)
    assert.ok(!('isSecret' in BROKER_OPTIONS[name]), name)
  }
})
