/** The commands that administer a running broker: topics, groups, options. As table and as JSON. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Kafka, logLevel } from 'kafkajs'
import { ExitCode, runProgram } from '../../src/cli/program.ts'
import { startBroker, type TestBroker } from '../support/broker.ts'
import { appendOk, batchOf, listOffset, TIMESTAMP_MS } from '../support/kafka.ts'
import { RawClient } from '../support/raw-client.ts'

let broker: TestBroker
let client: RawClient

before(async () => {
  const set = {
    'offsets.topic.num.partitions': '2',
    'group.initial.rebalance.delay.ms': '50',
    'group.min.session.timeout.ms': '1000',
  }
  broker = await startBroker({ shards: 2, set })
  client = await RawClient.open(broker.port)
  await json('topic', 'create', 'orders', '--partitions', '2')
  for (let i = 0; i < 10; i++) {
    await appendOk(client, { topic: 'orders', partition: 0 }, batchOf({ values: [`${i}`] }))
  }
})

after(async () => {
  client?.close()
  await broker?.stop()
  broker?.cleanUp()
})

async function run(...args: string[]) {
  const out: string[] = []
  const err: string[] = []
  const streams = { out: (text: string) => out.push(text), err: (text: string) => err.push(text) }
  const code = await runProgram([...args, '-b', broker.bootstrap], async () => {}, streams)
  return { code, out: out.join('\n'), err: err.join('\n') }
}

async function ok(...args: string[]): Promise<string> {
  const { code, out, err } = await run(...args)
  assert.equal(code, ExitCode.DONE, err)
  return out
}

async function json(...args: string[]) {
  return JSON.parse(await ok(...args, '--format', 'json'))
}

async function fails(pattern: RegExp, ...args: string[]): Promise<void> {
  const { code, err } = await run(...args)
  assert.notEqual(code, ExitCode.DONE)
  assert.match(err, pattern)
}

describe('topic', () => {
  test('alter, adds partitions and sets options, both or none', async () => {
    await json('topic', 'create', 'grown', '--partitions', '2')
    await ok('topic', 'alter', 'grown', '-p', '3', '-c', 'retention.ms=5000', '--append', COMPACT)
    const [grown] = await json('topic', 'describe', 'grown')
    assert.equal(grown.partitions, 3)
    assert.deepEqual(grown.configs, { 'retention.ms': '5000', 'cleanup.policy': 'delete,compact' })
    await fails(/can only grow/, 'topic', 'alter', 'grown', '-p', '2', '-c', 'retention.ms=6000')
    await fails(/nothing to change/, 'topic', 'alter', 'grown')
    await ok('topic', 'alter', 'grown', '--dry-run', '--unset', 'retention.ms')
    const unset = ['--unset', 'retention.ms', '--subtract', 'cleanup.policy=delete']
    assert.equal((await json('topic', 'alter', 'grown', ...unset)).altered, true)
    const [after] = await json('topic', 'describe', 'grown')
    assert.deepEqual(after.configs, { 'cleanup.policy': 'compact' })
  })

  test('describe, shows all topics, or only partitions in a certain state', async () => {
    const names = (topics: { name: string }[]) => topics.map(({ name }) => name)
    assert.ok(names(await json('topic', 'describe')).includes('orders'))
    assert.deepEqual(await json('topic', 'describe', '--under-replicated', '--unavailable'), [])
    assert.deepEqual(await json('topic', 'describe', 'orders', '--under-min-isr'), [])
    const [orders] = await json('topic', 'describe', 'orders', '--at-min-isr')
    assert.equal(orders.partitionList.length, 2)
    assert.equal(await ok('topic', 'describe', '--under-replicated'), '')
  })

  test('trim, deletes the oldest records, of some partitions, by offset or time', async () => {
    await json('topic', 'create', 'long', '--partitions', '2')
    for (const partition of [0, 1]) {
      for (let i = 0; i < 5; i++) {
        const batch = batchOf({ values: [`${i}`], timestamp: TIMESTAMP_MS + i })
        await appendOk(client, { topic: 'long', partition }, batch)
      }
    }
    const start = async (partition: number) =>
      (await listOffset(client, { topic: 'long', partition }, -2)).offset
    await ok('topic', 'trim', 'long', '--before', '2', '--partition', '1', '--dry-run')
    assert.deepEqual([await start(0), await start(1)], [0, 0])
    await ok('topic', 'trim', 'long', '--before', '2', '--partition', '1')
    assert.deepEqual([await start(0), await start(1)], [0, 2])
    await ok('topic', 'trim', 'long', '--before-time', String(TIMESTAMP_MS + 1))
    assert.deepEqual([await start(0), await start(1)], [1, 2])
    await ok('topic', 'trim', 'long', '--before', '100', '-p', '0')
    const { partitions } = await json('topic', 'trim', 'long', '--before', 'latest')
    assert.deepEqual(partitions[1], { partition: 1, previousStart: 2, start: 5, end: 5 })
    await fails(/long-7/, 'topic', 'trim', 'long', '--before', '1', '-p', '7')
    await fails(/one of --before/, 'topic', 'trim', 'long')
  })
})

const COMPACT = 'cleanup.policy=compact'

describe('config', () => {
  test('set and get, of a topic', async () => {
    const orders = ['--topic', 'orders']
    await ok('config', 'set', 'segment.ms=5000', 'retention.ms=70000', ...orders)
    const values = await json('config', 'get', ...orders, '--set')
    const own = values.filter((one: { source: string }) => one.source === 'topic')
    assert.deepEqual(
      own.map((one: { name: string; value: string }) => `${one.name}=${one.value}`),
      ['retention.ms=70000', 'segment.ms=5000'],
    )
    await ok('config', 'set', '--unset', 'segment.ms', '--unset', 'retention.ms', ...orders)
    const table = await ok('config', 'get', 'segment.ms', ...orders)
    assert.match(table, /^NAME +VALUE +SET BY .*\nsegment\.ms +604800000 +default +yes$/)
    await fails(/at least 1/, 'config', 'set', 'segment.ms=0', ...orders)
    await fails(/There is no topic/, 'config', 'get', '--topic', 'nowhere')
    await fails(/cannot be used with/, 'config', 'get', ...orders, '--broker', '1')
  })

  test('set and get, of all brokers and of one', async () => {
    await ok('config', 'set', 'num.partitions=4')
    assert.equal((await json('config', 'get', '--all-brokers')).length, 1)
    await ok('config', 'set', 'num.partitions=5', '--broker', '1')
    const [value] = await json('config', 'get', 'num.partitions')
    assert.deepEqual([value.value, value.source, value.synonyms.length], ['5', 'broker', 3])
    assert.equal((await json('topic', 'create', 'five')).partitions, 5)
    await ok('config', 'set', '--unset', 'num.partitions', '--broker', '1', '--dry-run')
    await ok('config', 'set', '--unset', 'num.partitions', '--broker', '1')
    await ok('config', 'set', '--unset', 'num.partitions')
    assert.equal((await json('topic', 'create', 'one')).partitions, 1)
    await fails(/cannot change while/, 'config', 'set', 'millrace.shards=2')
    await fails(/nothing to change/, 'config', 'set')
  })
})

describe('group', () => {
  const groupId = 'billing'
  const reset = (...args: string[]) =>
    json('group', 'reset-offsets', groupId, '--topic', 'orders:0', ...args)
  const offsets = async () => {
    const [group] = await json('group', 'describe', groupId)
    return group.partitions.map((one: { committed: number; lag: number }) => {
      return [one.committed, one.lag]
    })
  }

  test('reset-offsets, moves a group of nobody, and describe shows the lag', async () => {
    const dry = await reset('--to', 'latest', '--dry-run')
    assert.deepEqual(dry.partitions, [{ topic: 'orders', partition: 0, before: null, offset: 10 }])
    assert.deepEqual(await json('group', 'list'), [])
    await reset('--to-offset', '4')
    assert.deepEqual(await offsets(), [[4, 6]])
    await reset('--shift-by', '-1')
    assert.deepEqual(await offsets(), [[3, 7]])
    await reset('--shift-by', '100')
    assert.deepEqual(await offsets(), [[10, 0]])
    await reset('--to-time', '2001-01-01')
    assert.deepEqual(await offsets(), [[0, 10]])
    await reset('--to', 'latest')
    await ok('group', 'reset-offsets', groupId, '--all-topics', '--to', 'earliest')
    const table = await ok('group', 'describe', groupId)
    assert.match(table, /Group: +billing\nState: +Empty .*, 0 members\nLag: +10\n/)
    assert.match(table, /\norders +0 +0 +10 +10 +- +-$/)
    assert.match(await ok('group', 'list', '--state', 'empty'), /^billing +Empty/m)
    assert.deepEqual(await json('group', 'list', '--state', 'Stable'), [])
    await fails(/orders-7/, 'group', 'reset-offsets', groupId, '-t', 'orders:7', '--to', 'latest')
    await fails(/name one of/, 'group', 'reset-offsets', groupId, '-t', 'orders')
    await fails(/--all-topics/, 'group', 'reset-offsets', groupId, '--to', 'latest')
    await fails(/GROUP_ID_NOT_FOUND/, 'group', 'describe', 'nobody')
  })

  test('reset-offsets and delete, refuse a group with members, unless forced to', async () => {
    const kafka = new Kafka({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING })
    const consumer = kafka.consumer({ groupId, sessionTimeout: 2000, heartbeatInterval: 100 })
    const joined = new Promise((resolve) => consumer.on('consumer.group_join', resolve))
    const seen: string[] = []
    await consumer.connect()
    try {
      await consumer.subscribe({ topic: 'orders' })
      await consumer.run({ eachMessage: async ({ message }) => void seen.push(message.offset) })
      await joined
      while (seen.length < 10) await new Promise((resolve) => setTimeout(resolve, 20))
      const [group] = await json('group', 'describe', groupId)
      assert.equal(group.members.length, 1)
      assert.deepEqual(
        group.members[0].assignment.map((one: { partition: number }) => one.partition),
        [0, 1],
      )
      assert.match(await ok('group', 'describe', groupId, '--members'), /orders:0,1$/m)
      const to = ['--topic', 'orders', '--to', 'earliest']
      await fails(/has 1 member: stop them/, 'group', 'reset-offsets', groupId, ...to)
      await fails(/NON_EMPTY_GROUP/, 'group', 'delete', groupId)
      await ok('group', 'reset-offsets', groupId, ...to, '--force')
      // The member is told to join again, and goes on from there.
      while (seen.length < 20) await new Promise((resolve) => setTimeout(resolve, 20))
    } finally {
      await consumer.disconnect()
    }
    assert.deepEqual(await json('group', 'delete', groupId), { deleted: [groupId] })
    assert.deepEqual(await json('group', 'list'), [])
  })
})
