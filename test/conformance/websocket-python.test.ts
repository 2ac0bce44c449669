/**
 * The protocol's own page is enough to write a client from: a Python one that uses nothing but its
 * standard library writes what others read and reads what others write, at offsets above 2^32 too.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import { COMPRESSION_GZIP } from '../../src/record/compression.ts'
import { startBroker, type TestBroker, withBroker } from '../support/broker.ts'
import { packageRoot } from '../support/package-root.ts'
import { WebSocketTestClient } from '../support/websocket-client.ts'

const SCRIPT = join(packageRoot(), 'test/conformance/websocket_client.py')
const TOPIC = 'conformance'
const hasPython = spawnSync('python3', ['--version']).status === 0
const skip = hasPython || process.env.CI ? false : 'python3 is not installed'

interface PythonRecord {
  readonly offset?: number
  readonly timestamp: number
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly (readonly [string, string | null])[]
}

const base64 = (text: string): string => Buffer.from(text).toString('base64')

const RECORDS: readonly PythonRecord[] = [
  { timestamp: 1_700_000_000_000, key: base64('k'), value: base64('première'), headers: [] },
  {
    timestamp: 1_699_999_999_999,
    key: null,
    value: base64('\0\xff'),
    headers: [
      ['a', base64('1')],
      ['a', null],
      ['ü', base64('')],
    ],
  },
  { timestamp: 1_700_000_000_001, key: base64(''), value: null, headers: [] },
]

function python(broker: TestBroker, args: readonly string[], input = ''): Promise<string[]> {
  const { port } = new URL(broker.httpUrl)
  const child = spawn('python3', [SCRIPT, '127.0.0.1', port, ...args])
  let output = ''
  let errors = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  child.stderr.on('data', (chunk) => {
    errors += chunk
  })
  child.stdin.end(input)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(output.trim().split('\n'))
      else reject(new Error(`the Python client ended with ${code}:\n${errors}`))
    })
  })
}

async function createTopic(broker: TestBroker): Promise<WebSocketTestClient> {
  const client = await WebSocketTestClient.open(broker.httpUrl)
  const at = { partitions: 1, replicationFactor: -1, configs: {} }
  await client.ask('done', { type: 'createTopic', id: client.nextId(), name: TOPIC, ...at })
  return client
}

/** Our own client writes two batches, the second one compressed. */
async function write(client: WebSocketTestClient, count: number): Promise<void> {
  for (const compression of [0, COMPRESSION_GZIP] as const) {
    const builder = new BatchBuilder()
    for (let i = 0; i < count; i++) {
      builder.append(1_700_000_000_000 + i, Buffer.of(i), Buffer.from(`value ${i}`))
    }
    const batch = builder.buildSync({ compression })
    const produced = await client.ask(
      'produced',
      { type: 'produce', id: client.nextId(), acks: -1, partitions: [[TOPIC, 0, batch.length]] },
      batch,
    )
    assert.equal(produced.partitions[0]?.[0], 0)
  }
}

test('a Python client, reads what it and ours have written', { skip }, async () => {
  await withBroker({}, async (broker) => {
    const client = await createTopic(broker)
    const lines = RECORDS.map((record) => JSON.stringify(record)).join('\n')
    const [answer] = await python(broker, ['produce', TOPIC, '0'], lines)
    assert.deepEqual(JSON.parse(answer ?? ''), { errorCode: 0, baseOffset: 0, message: null })
    await write(client, 5)
    await client.close()
    const read = await python(broker, ['consume', TOPIC, '0', '-2', '13'])
    const records = read.map((line) => JSON.parse(line) as PythonRecord)
    assert.deepEqual(
      records.slice(0, RECORDS.length),
      RECORDS.map((record, offset) => ({ offset, ...record })),
    )
    assert.deepEqual(
      records.slice(RECORDS.length).map(({ offset, value }) => [offset, value]),
      Array.from({ length: 10 }, (_, i) => [3 + i, base64(`value ${i % 5}`)]),
    )
    // From within a batch: what comes before is skipped.
    const [last] = await python(broker, ['consume', TOPIC, '0', '12', '1'])
    assert.equal((JSON.parse(last ?? '') as PythonRecord).offset, 12)
  })
})

test('a Python client, at offsets above 2^32, loses no bit of them', { skip }, async () => {
  const start = 2 ** 33 + 5
  let broker = await startBroker()
  try {
    const first = await createTopic(broker)
    await write(first, 1) // A partition that was never used has no folder.
    await first.close()
    await broker.kill()
    moveLogStart(broker.dataDir, start)
    broker = await startBroker({ dataDirs: broker.dataDirs })
    const client = await WebSocketTestClient.open(broker.httpUrl)
    await write(client, 3)
    await client.close()
    const lines = RECORDS.map((record) => JSON.stringify(record)).join('\n')
    const [answer] = await python(broker, ['produce', TOPIC, '0'], lines)
    assert.equal(JSON.parse(answer ?? '').baseOffset, start + 6)
    const read = await python(broker, ['consume', TOPIC, '0', String(start + 4), '5'])
    assert.deepEqual(
      read.map((line) => (JSON.parse(line) as PythonRecord).offset),
      [4, 5, 6, 7, 8].map((delta) => start + delta),
    )
  } finally {
    await broker.stop()
    broker.cleanUp()
  }
})

/** As if everything below `offset` had been written and deleted long ago. */
function moveLogStart(dataDir: string, offset: number): void {
  const partition = readdirSync(dataDir, { withFileTypes: true }).find(
    (entry) => entry.isDirectory() && entry.name.endsWith('-0') && !entry.name.startsWith('__'),
  )
  assert.ok(partition !== undefined)
  const folder = join(dataDir, partition.name)
  for (const name of readdirSync(folder)) rmSync(join(folder, name))
  writeFileSync(join(folder, `${String(offset).padStart(20, '0')}.log`), '')
}
