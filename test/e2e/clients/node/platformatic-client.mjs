/**
 * @platformatic/kafka behind a pipe: one JSON request a line on standard input, one JSON answer a
 * line on standard output, in order; bytes travel as base64. Runs with the Node that is installed
 * beside the package, whose address is the argument. Consumes without a group, by `fetch`.
 */
import { createInterface } from 'node:readline'

const { Admin, Consumer, Producer } = await import(process.argv[2])
const FETCH_WAIT_MS = 50
const FETCH_BYTES_MAX = 2 ** 22
const clients = new Map()

/** One of `Class` for the same broker and options. */
function clientOf(Class, bootstrap, options = {}) {
  const name = JSON.stringify([Class.name, bootstrap, options])
  if (!clients.has(name)) {
    const base = { clientId: 'millrace-test', bootstrapBrokers: [bootstrap] }
    clients.set(name, new Class({ ...base, ...options }))
  }
  return clients.get(name)
}

function decode(text) {
  return text === null ? null : Buffer.from(text, 'base64')
}

function encode(bytes) {
  return bytes === null ? null : bytes.toString('base64')
}

async function produce({ bootstrap, topic, compression, records, config }) {
  const producer = clientOf(Producer, bootstrap, { idempotent: true, ...config })
  const messages = records.map((record) => ({
    topic,
    key: decode(record.key),
    value: decode(record.value),
    // Names are buffers, which are never equal: a name may come twice.
    headers: new Map(record.headers.map(({ key, value }) => [Buffer.from(key), decode(value)])),
    ...(record.partition === undefined ? {} : { partition: record.partition }),
    ...(record.timestamp === undefined ? {} : { timestamp: BigInt(record.timestamp) }),
  }))
  const { offsets } = await producer.send({
    messages,
    compression,
    acks: -1,
    autocreateTopics: true,
  })
  const next = new Map(offsets.map(({ partition, offset }) => [partition, Number(offset)]))
  if (records.some(({ partition }) => partition === undefined)) return [] // It tells no record's.
  return records.map(({ partition }) => {
    const offset = next.get(partition)
    next.set(partition, offset + 1)
    return { partition, offset }
  })
}

async function consume({ bootstrap, topic, partition, fromOffset, count, timeoutMs, config }) {
  const consumer = clientOf(Consumer, bootstrap, { groupId: 'unused', ...config })
  const metadata = await consumer.metadata({ topics: [topic], forceUpdate: true })
  const { id, partitions } = metadata.topics.get(topic)
  const end = performance.now() + timeoutMs
  const records = []
  let next = BigInt(fromOffset)
  while (records.length < count) {
    if (performance.now() > end) throw new Error(`got ${records.length} of ${count} records`)
    const place = { partition, currentLeaderEpoch: -1, lastFetchedEpoch: -1 }
    const wanted = { ...place, fetchOffset: next, partitionMaxBytes: FETCH_BYTES_MAX }
    const { responses } = await consumer.fetch({
      node: partitions[partition].leader,
      maxWaitTime: FETCH_WAIT_MS,
      topics: [{ topicId: id, partitions: [wanted] }],
    })
    for (const batch of responses[0]?.partitions[0]?.records ?? []) {
      for (const record of batch.records) {
        const offset = batch.firstOffset + BigInt(record.offsetDelta)
        if (offset < next) continue // A fetch answers whole batches.
        next = offset + 1n
        records.push({
          partition,
          offset: Number(offset),
          timestamp: Number(batch.firstTimestamp + record.timestampDelta),
          key: encode(record.key),
          value: encode(record.value),
          headers: record.headers.map(([key, value]) => ({
            key: key.toString(),
            value: encode(value),
          })),
        })
      }
    }
  }
  return records.slice(0, count)
}

async function createTopic({ bootstrap, topic, partitions, configs = {} }) {
  const set = Object.entries(configs).map(([name, value]) => ({ name, value }))
  const request = { topics: [topic], partitions, replicas: 1, configs: set }
  await clientOf(Admin, bootstrap).createTopics(request)
}

async function deleteTopic({ bootstrap, topic }) {
  await clientOf(Admin, bootstrap).deleteTopics({ topics: [topic] })
}

async function listTopics({ bootstrap }) {
  return (await clientOf(Admin, bootstrap).listTopics()).sort()
}

const OPERATIONS = { produce, consume, createTopic, deleteTopic, listTopics }

/** What the broker or the network said, inside of what the client throws. */
function rootOf(error) {
  return error.errors?.length > 0 ? rootOf(error.errors[0]) : error
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  let answer
  try {
    answer = { ok: (await OPERATIONS[request.operation](request)) ?? null }
  } catch (error) {
    const root = rootOf(error)
    answer = { error: root.apiId ?? root.code ?? root.name, message: root.message }
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
for (const client of clients.values()) await client.close(true)
