/**
 * Real clients against a real broker process, over Kafka's protocol and over WebSocket: what each
 * writes, every other one reads; what their admins do. With one shard, and with three, so that
 * requests span shards. A failure names writer, reader, codec, partition and offset.
 */
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type TestBroker, withBroker } from '../support/broker.ts'
import {
  checkAppendTime,
  checkAutoCreation,
  checkJavaOffsets,
  checkJavaRefusals,
  checkJavaTopics,
  checkKafkajsAdmin,
  checkPythonAdmin,
} from './clients/admin-checks.ts'
import { type KafkaClient, skipUnless } from './clients/client.ts'
import { dumpLog, dumpLogAvailable } from './clients/dump-log.ts'
import { JavaClient } from './clients/java.ts'
import { kafkaClients } from './clients/kafka-clients.ts'
import { kafkaPython } from './clients/kafka-python.ts'
import { kafkajsClient } from './clients/kafkajs.ts'
import { checkTopic, writeTopic } from './clients/matrix.ts'
import { millraceClient } from './clients/millrace.ts'
import { millracePython, pythonAvailable } from './clients/millrace-python.ts'

const SHARD_COUNTS = [1, 3]
const PARTITIONS = 4
const TIMEOUT_MS = 300_000
const seed = Number(process.env.MILLRACE_SEED ?? 1)

const java = new JavaClient()
const fromKafka = kafkaClients(java)
const available = fromKafka.map((client) => client.available())
const skip = skipUnless(...available, pythonAvailable(), dumpLogAvailable())

for (const shards of SHARD_COUNTS) {
  const options = { skip, timeout: TIMEOUT_MS }
  const set = { 'auto.create.topics.enable': 'true' }
  test(`clients agree on every record, with ${shards} shard(s), seed ${seed}`, options, (t) =>
    withBroker({ shards, set }, (broker) =>
      Promise.race([runAll(t, broker, shards), death(broker)]),
    ),
  )
}

/**
 * Fails as soon as the broker ends by itself, so that nobody waits for clients to give up on it.
 */
async function death(broker: TestBroker): Promise<never> {
  const code = await broker.ended
  if (code === 0) return new Promise<never>(() => {}) // It was stopped: `runAll` goes on.
  throw new Error(`the broker ended with ${code}`)
}

async function runAll(t: TestContext, broker: TestBroker, shards: number): Promise<void> {
  const { bootstrap, httpUrl } = broker
  const target = { bootstrap, prefix: 'admin' }
  const clients = [...fromKafka, millraceClient(httpUrl), millracePython(httpUrl)]
  try {
    for (const [i, writer] of clients.entries()) {
      await runWriter(t, writer, { bootstrap, readers: readersOf(i, shards, clients) })
    }
    await t.test('Java admin creates, grows, describes and deletes topics', () =>
      checkJavaTopics(java, target),
    )
    await t.test('Java admin is refused with the right errors', () =>
      checkJavaRefusals(java, target),
    )
    await t.test('Java admin finds offsets and deletes records', () =>
      checkJavaOffsets(java, target),
    )
    await t.test('LogAppendTime replaces the timestamps of producers', () =>
      checkAppendTime(java, target),
    )
    await t.test('kafkajs admin does what it can', () => checkKafkajsAdmin(kafkajsClient, target))
    await t.test('kafka-python admin does what it can', () => checkPythonAdmin(kafkaPython, target))
    for (const writer of clients) {
      await t.test(`${writer.name} creates a topic by writing to it`, () =>
        checkAutoCreation(writer, java, target),
      )
    }
  } finally {
    for (const client of clients) await client.close()
  }
  await broker.stop() // Indexes are cut to their size.
  await t.test('DumpLogSegments has no complaint about the files', () =>
    checkFiles(broker.dataDir, clients.length),
  )
}

/** Every client; with one shard, where no request spans shards, the writer and its neighbour. */
function readersOf(i: number, shards: number, clients: readonly KafkaClient[]): KafkaClient[] {
  if (shards > 1) return [...clients]
  return [clients[i] as KafkaClient, clients[(i + 1) % clients.length] as KafkaClient]
}

/** One client writes a topic of its own; `readers` read it. */
async function runWriter(
  t: TestContext,
  writer: KafkaClient,
  { bootstrap, readers }: { bootstrap: string; readers: readonly KafkaClient[] },
): Promise<void> {
  const topic = `matrix-${writer.name}`
  const request = { bootstrap, topic, partitions: PARTITIONS }
  await (writer.createTopic === undefined ? java.createTopic(request) : writer.createTopic(request))
  await t.test(`${writer.name} writes`, async (t) => {
    const written = await writeTopic(writer, request, seed)
    for (const reader of readers) {
      await t.test(`${reader.name} reads what ${writer.name} wrote`, async () => {
        assert.ok((await checkTopic(reader, written)) > 0)
      })
    }
  })
}

async function checkFiles(dataDir: string, topics: number): Promise<void> {
  const files = readdirSync(dataDir, { recursive: true, encoding: 'utf8' })
    .filter((name) => /(^|\/)\d{20}\.(log|index|timeindex|snapshot)$/.test(name))
    .map((name) => join(dataDir, name))
  const logs = files.filter((name) => name.endsWith('.log'))
  assert.ok(logs.length >= topics * PARTITIONS, `only ${logs.length} log files`)
  const { status, complaints } = await dumpLog(files)
  assert.deepEqual([status, complaints.slice(0, 20)], [0, []])
}
