/** Options of topics: what is accepted, where values come from, what DescribeConfigs says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ConfigSource,
  describeBrokerConfigs,
  describeTopicConfigs,
} from '../../src/config/describe.ts'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigType } from '../../src/config/option.ts'
import { BROKER_OPTIONS } from '../../src/config/options.ts'
import { resolveTopicConfig } from '../../src/config/topic-config.ts'
import { TOPIC_OPTIONS, validateTopicConfigs } from '../../src/config/topic-options.ts'

const LONG_MAX = '9223372036854775807'
const NONE = new Map<string, string>()

function overrides(set: Record<string, string>): Map<string, string> {
  return new Map(Object.entries(set))
}

test('TOPIC_OPTIONS, are the 34 of Kafka 4.3, each with a default that its rule accepts', () => {
  assert.equal(Object.keys(TOPIC_OPTIONS).length, 34)
  for (const [name, { option, synonyms }] of Object.entries(TOPIC_OPTIONS)) {
    assert.ok(option.defaultText !== null && option.parse(option.defaultText).ok, name)
    // What the broker gives by default is what the table of topics says.
    const config = loadConfig()
    const text = synonyms
      .map((one) => ({ text: config.text(one.name), unit: one.unit }))
      .find((one) => one.text !== null)
    if (text === undefined) continue
    const given = text.unit === 1 ? text.text : String(Number(text.text) * text.unit)
    assert.equal(given, option.defaultText, name)
  }
})

test('validateTopicConfigs, accepts good values and a null for "not set"', () => {
  const good = { 'retention.ms': '-1', 'cleanup.policy': 'compact,delete', 'flush.messages': '1' }
  assert.equal(validateTopicConfigs(overrides(good)), null)
  assert.equal(validateTopicConfigs(new Map([['retention.ms', null]])), null)
  assert.equal(validateTopicConfigs(overrides({ 'max.compaction.lag.ms': LONG_MAX })), null)
})

test('validateTopicConfigs, says what is wrong, in one line', () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ 'retention.mss': '1' }, /^Unknown topic config name: retention\.mss; did you mean rete/],
    [{ 'retention.ms': 'long' }, /^Invalid value long for retention\.ms: expected a whole number/],
    [{ 'retention.ms': '-2' }, /at least -1/],
    [{ 'segment.bytes': '1048575' }, /at least 1048576/],
    [{ 'segment.bytes': '2147483648' }, /fits 32 bits/],
    [{ 'flush.ms': `${LONG_MAX}0` }, /whole number/],
    [{ 'flush.ms': '9223372036854775808' }, /fits 64 bits/],
    [{ 'cleanup.policy': 'compact,compact' }, /delete, compact, or both/],
    [{ 'compression.type': 'brotli' }, /one of uncompressed, zstd/],
    [{ 'compression.type': 'gzip' }, /only producer, batches are kept as producers send them/],
    [{ 'remote.storage.enable': 'true' }, /tiered storage does not exist/],
    [{ 'min.cleanable.dirty.ratio': '1.5' }, /a number from 0 to 1/],
    [{ preallocate: 'yes' }, /true or false/],
    [{ 'min.compaction.lag.ms': '5', 'max.compaction.lag.ms': '4' }, /must not exceed/],
    [{ 'leader.replication.throttled.replicas': 'all' }, /partition:broker/],
    [{ constructor: '1' }, /Unknown topic config name/],
  ]
  for (const [set, pattern] of cases) {
    const message = validateTopicConfigs(overrides(set))
    assert.match(message ?? '(accepted)', pattern, JSON.stringify(set))
  }
})

test('resolveTopicConfig, takes the topic, then the broker, then the default', () => {
  const broker = loadConfig({ set: ['log.retention.hours=2', 'log.segment.bytes=2097152'] })
  const config = resolveTopicConfig(overrides({ 'segment.bytes': '3145728' }), broker)
  assert.equal(config.segmentBytes, 3_145_728)
  assert.equal(config.retentionMs, 2 * 3_600_000)
  assert.equal(config.maxMessageBytes, 1_048_588)
  assert.equal(config.messageTimestampType, 'CreateTime')
  assert.ok(config.cleanupDelete && !config.cleanupCompact)
})

test('resolveTopicConfig, gives Infinity, for every way of saying "no limit"', () => {
  const broker = loadConfig({ set: ['log.retention.hours=-1'] })
  const config = resolveTopicConfig(overrides({ 'flush.ms': LONG_MAX }), broker)
  assert.equal(config.retentionMs, Number.POSITIVE_INFINITY)
  assert.equal(config.retentionBytes, Number.POSITIVE_INFINITY)
  assert.equal(config.flushMs, Number.POSITIVE_INFINITY)
  assert.equal(config.flushMessages, Number.POSITIVE_INFINITY)
})

test('resolveTopicConfig, prefers the finer unit, when the broker sets several', () => {
  const broker = loadConfig({ set: ['log.retention.hours=2', 'log.retention.minutes=3'] })
  assert.equal(resolveTopicConfig(NONE, broker).retentionMs, 3 * 60_000)
})

test('resolveTopicConfig, asks for two in-sync replicas, of three or more and unless told', () => {
  const unset = loadConfig()
  assert.equal(resolveTopicConfig(NONE, unset, 1).minInsyncReplicas, 1)
  assert.equal(resolveTopicConfig(NONE, unset, 3).minInsyncReplicas, 2)
  const set = loadConfig({ set: ['min.insync.replicas=1'] })
  assert.equal(resolveTopicConfig(NONE, set, 3).minInsyncReplicas, 1)
  const own = overrides({ 'min.insync.replicas': '3' })
  assert.equal(resolveTopicConfig(own, set, 3).minInsyncReplicas, 3)
})

test('resolveTopicConfig, takes tiny segments, from internal.segment.bytes only', () => {
  const config = resolveTopicConfig(overrides({ 'internal.segment.bytes': '4096' }), loadConfig())
  assert.equal(config.segmentBytes, 4096)
})

test('resolveTopicConfig, falls back to the broker, for a stored value that is bad', () => {
  const config = resolveTopicConfig(overrides({ 'segment.ms': 'never' }), loadConfig())
  assert.equal(config.segmentMs, 7 * 24 * 3_600_000)
})

test('describeTopicConfigs, gives value, source and synonyms, of every option', () => {
  const broker = loadConfig({ set: ['log.retention.hours=2'] })
  const entries = describeTopicConfigs(overrides({ 'segment.bytes': '2097152' }), broker)
  assert.deepEqual(
    entries.map((entry) => entry.name),
    Object.keys(TOPIC_OPTIONS),
  )
  const byName = new Map(entries.map((entry) => [entry.name, entry]))
  assert.deepEqual(byName.get('retention.ms')?.synonyms, [
    { name: 'log.retention.hours', value: '2', source: ConfigSource.STATIC_BROKER_CONFIG },
  ])
  assert.deepEqual(byName.get('segment.ms')?.synonyms, [])
  assert.equal(byName.get('retention.ms')?.value, '7200000')
  assert.equal(byName.get('retention.ms')?.source, ConfigSource.STATIC_BROKER_CONFIG)
  assert.equal(byName.get('retention.ms')?.type, ConfigType.LONG)
  const segment = byName.get('segment.bytes')
  assert.equal(segment?.source, ConfigSource.DYNAMIC_TOPIC_CONFIG)
  assert.equal(segment?.value, '2097152')
  assert.equal(segment?.synonyms.length, 2)
  assert.equal(byName.get('flush.messages')?.value, LONG_MAX)
  assert.equal(byName.get('flush.messages')?.source, ConfigSource.DEFAULT_CONFIG)
  assert.ok(entries.every((entry) => !entry.readOnly && !entry.sensitive && entry.doc !== ''))
})

test('describeBrokerConfigs, gives every option, sorted, and says what was set', () => {
  const broker = loadConfig({ shards: '3' })
  const entries = describeBrokerConfigs(broker)
  const names = entries.map((entry) => entry.name)
  assert.deepEqual(names, Object.keys(BROKER_OPTIONS).sort())
  const shards = entries.find((entry) => entry.name === 'millrace.shards')
  assert.equal(shards?.value, '3')
  assert.equal(shards?.source, ConfigSource.STATIC_BROKER_CONFIG)
  const retention = entries.find((entry) => entry.name === 'log.retention.ms')
  assert.equal(retention?.value, null)
  assert.equal(retention?.source, ConfigSource.DEFAULT_CONFIG)
})
