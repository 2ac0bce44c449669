/** Kafka's own command-line tools administer a broker: what they print is what they understood. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Kafka, logLevel } from 'kafkajs'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { appendOk, batchOf } from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'
import { skipUnless } from './clients/client.ts'
import { type KafkaTool, KafkaTools, kafkaToolsAvailable } from './clients/kafka-tools.ts'

const skip = skipUnless(kafkaToolsAvailable())

describe('Kafka’s tools', { skip }, () => {
  let broker: TestBroker
  let client: RawClient
  let tools: KafkaTools

  before(async () => {
    broker = await startBroker({ shards: 2, set: { 'offsets.topic.num.partitions': '2' } })
    client = await RawClient.open(broker.port)
    tools = new KafkaTools(broker.bootstrap)
    await run('kafka-topics', '--create', '--topic', 'orders', '--partitions', '3')
    for (let i = 0; i < 10; i++) {
      await appendOk(client, { topic: 'orders', partition: 0 }, batchOf({ values: [`${i}`] }))
    }
  })

  after(async () => {
    await tools?.close()
    client?.close()
    await broker?.stop()
    broker?.cleanUp()
  })

  /** What the tool printed; it must have succeeded. */
  async function run(tool: KafkaTool, ...args: string[]): Promise<string> {
    const { status, output } = await tools.run(tool, args)
    assert.equal(status, 0, output)
    return output
  }

  test('kafka-topics, creates, lists, describes, grows and deletes', async () => {
    const config = ['--config', 'retention.ms=1000000']
    await run('kafka-topics', '--create', '--topic', 'brief', '--partitions', '2', ...config)
    assert.match(await run('kafka-topics', '--list'), /^brief$/m)
    await run('kafka-topics', '--alter', '--topic', 'brief', '--partitions', '4')
    const described = await run('kafka-topics', '--describe', '--topic', 'brief')
    assert.match(described, /PartitionCount: 4\b.*Configs: .*retention\.ms=1000000/)
    assert.equal(described.match(/Leader: 1\tReplicas: 1\tIsr: 1/g)?.length, 4)
    for (const which of ['under-replicated', 'unavailable', 'at-min-isr', 'under-min-isr']) {
      const output = await run('kafka-topics', '--describe', `--${which}-partitions`)
      // One replica is as many as there must be.
      if (which === 'at-min-isr') assert.match(output, /Topic: brief/)
      else assert.equal(output.trim(), '', which)
    }
    await run('kafka-topics', '--delete', '--topic', 'brief')
    assert.doesNotMatch(await run('kafka-topics', '--list'), /^brief$/m)
  })

  test('kafka-configs, alters and describes topics', async () => {
    const orders = ['--entity-type', 'topics', '--entity-name', 'orders']
    const add = ['--add-config', 'cleanup.policy=[compact,delete],segment.ms=5000']
    await run('kafka-configs', '--alter', ...orders, ...add)
    const described = await run('kafka-configs', '--describe', ...orders)
    assert.match(
      described,
      /^ {2}cleanup\.policy=compact,delete sensitive=false synonyms=\{DYNAMIC_/m,
    )
    await run('kafka-configs', '--alter', ...orders, '--delete-config', 'cleanup.policy,segment.ms')
    assert.doesNotMatch(await run('kafka-configs', '--describe', ...orders), /cleanup/)
    const every = await run('kafka-configs', '--describe', '--all', ...orders)
    assert.ok(every.split('\n').filter((line) => line.startsWith('  ')).length >= 34)
    const bad = await tools.run('kafka-configs', [
      ...['--alter', ...orders, '--add-config', 'segment.ms=never'],
    ])
    assert.notEqual(bad.status, 0)
    assert.match(bad.output, /InvalidConfigurationException: Invalid value never for segment\.ms/)
  })

  test('kafka-configs, alters and describes this broker and all brokers', async () => {
    const all = ['--entity-type', 'brokers', '--entity-default']
    const own = ['--entity-type', 'brokers', '--entity-name', '1']
    await run('kafka-configs', '--alter', ...all, '--add-config', 'log.retention.ms=7200000')
    await run('kafka-configs', '--alter', ...own, '--add-config', 'log.retention.ms=3600000')
    const described = await run('kafka-configs', '--describe', ...all)
    assert.match(described, /log\.retention\.ms=7200000 .*DYNAMIC_DEFAULT_BROKER_CONFIG/)
    assert.match(
      await run('kafka-configs', '--describe', ...own),
      /DYNAMIC_BROKER_CONFIG:log\.retention\.ms=3600000, DYNAMIC_DEFAULT_BROKER_CONFIG:.*=7200000/,
    )
    for (const which of [all, own]) {
      await run('kafka-configs', '--alter', ...which, '--delete-config', 'log.retention.ms')
    }
    assert.doesNotMatch(await run('kafka-configs', '--describe', ...own), /DYNAMIC/)
    await run('kafka-configs', '--describe', '--entity-type', 'client-metrics')
    assert.equal((await run('kafka-client-metrics', '--list')).trim(), '')
  })

  test('kafka-configs, alters and describes groups', async () => {
    const billing = ['--entity-type', 'groups', '--entity-name', 'billing']
    const add = ['--add-config', 'consumer.heartbeat.interval.ms=6000']
    await run('kafka-configs', '--alter', ...billing, ...add)
    assert.match(
      await run('kafka-configs', '--describe', '--entity-type', 'groups'),
      /billing[\s\S]*consumer\.heartbeat\.interval\.ms=6000 .*DYNAMIC_GROUP_CONFIG/,
    )
    const drop = ['--delete-config', 'consumer.heartbeat.interval.ms']
    await run('kafka-configs', '--alter', ...billing, ...drop)
    assert.doesNotMatch(await run('kafka-configs', '--describe', ...billing), /heartbeat/)
  })

  test('kafka-get-offsets, asks for every kind of place', async () => {
    const ask = (time: string) =>
      run('kafka-get-offsets', '--topic-partitions', 'orders:0', '--time', time)
    assert.equal((await ask('latest')).trim(), 'orders:0:10')
    assert.equal((await ask('earliest')).trim(), 'orders:0:0')
    assert.equal((await ask('earliest-local')).trim(), 'orders:0:0')
    assert.match(await ask('max-timestamp'), /^orders:0:\d$/m)
    // Nothing is tiered: the tool leaves out what has no offset.
    assert.equal((await ask('latest-tiered')).trim(), '')
    assert.equal((await ask('earliest-pending-upload')).trim(), '')
    assert.equal((await ask('1')).trim(), 'orders:0:0')
  })

  test('kafka-log-dirs, says how large partitions are', async () => {
    const output = await run('kafka-log-dirs', '--describe', '--topic-list', 'orders')
    const line = output.split('\n').find((one) => one.startsWith('{'))
    const [logDir] = JSON.parse(line as string).brokers[0].logDirs
    assert.equal(logDir.logDir, broker.dataDir)
    assert.equal(logDir.error, null)
    assert.deepEqual(logDir.partitions.map((one: { partition: string }) => one.partition).sort(), [
      'orders-0',
      'orders-1',
      'orders-2',
    ])
  })

  test('kafka-delete-records, moves the start of a log', async () => {
    await run('kafka-topics', '--create', '--topic', 'cut', '--partitions', '1')
    const at = { topic: 'cut', partition: 0 }
    await appendOk(client, at, batchOf({ values: ['0', '1', '2', '3'] }))
    const folder = mkdtempSync(join(tmpdir(), 'millrace-tools-'))
    try {
      const file = join(folder, 'offsets.json')
      const partitions = [{ ...at, offset: 3 }]
      writeFileSync(file, JSON.stringify({ version: 1, partitions }))
      const output = await run('kafka-delete-records', '--offset-json-file', file)
      assert.match(output, /partition: cut-0\s+low_watermark: 3/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('kafka-consumer-groups, lists, describes, resets, forgets and deletes', async () => {
    const groupId = 'readers'
    const kafka = new Kafka({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING })
    const admin = kafka.admin()
    await admin.connect()
    const partitions = [{ partition: 0, offset: '4' }]
    await admin.setOffsets({ groupId, topic: 'orders', partitions })
    await admin.disconnect()
    const group = ['--group', groupId]
    const groups = (...args: string[]) => run('kafka-consumer-groups', ...args)
    assert.match(await groups('--list', '--state'), /^readers +Empty/m)
    assert.match(await groups('--describe', ...group), /^readers +orders +0 +4 +10 +6 /m)
    const to = ['--topic', 'orders:0', '--execute']
    const reset = ['--reset-offsets', ...group]
    assert.match(await groups(...reset, '--to-offset', '7', ...to), /^readers +orders +0 +7/m)
    assert.match(await groups(...reset, '--shift-by', '-2', ...to), /^readers +orders +0 +5/m)
    assert.match(await groups(...reset, '--to-latest', ...to), /^readers +orders +0 +10/m)
    const forget = await groups('--delete-offsets', ...group, '--topic', 'orders:0')
    assert.match(forget, /orders +0 +Successful/)
    assert.match(await groups('--delete', ...group), /was successful/)
    assert.doesNotMatch(await groups('--list'), /readers/)
  })
})
