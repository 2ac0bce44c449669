/**
 * A member of a group that uses @platformatic/kafka: PACKAGE TOPIC name=value … (`member.mjs`).
 * Runs with the Node that is installed beside the package.
 *
 * The client's stream goes on reading partitions that were lost, from places that it had before; so
 * it is there for the membership alone, and the records come by `fetch`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { leaving, say, sayAssigned, settings } from './member.mjs'

const FETCH_WAIT_MS = 100
const FETCH_BYTES_MAX = 2 ** 20

const [packageUrl, topic, ...rest] = process.argv.slice(2)
const { Consumer } = await import(packageUrl)
const { bootstrap, ...options } = settings(rest)
const consumer = new Consumer({
  clientId: 'millrace-test',
  bootstrapBrokers: [bootstrap],
  retries: 100,
  retryDelay: 100,
  ...options,
})

const isKip848 = options.groupProtocol === 'consumer'
/** What it has, by partition; a place is replaced when its partition was lost in between. */
const places = new Map()
let isHolding = false
let isLeaving = false
let step = Promise.resolve()

function own(partitions) {
  if (partitions.length > 0) isHolding = false
  for (const partition of places.keys()) {
    if (!partitions.includes(partition)) places.delete(partition)
  }
  for (const partition of partitions) {
    // From what is committed on.
    if (!places.has(partition)) places.set(partition, { partition, offset: null })
  }
  sayAssigned(topic, partitions)
}

// It has no event for what it gains and loses with `groupProtocol: 'consumer'`; it sets this before
// it tells the broker.
let { assignments } = consumer
Object.defineProperty(consumer, 'assignments', {
  get: () => assignments,
  set(changed) {
    assignments = changed
    // Each assignment of the classic protocol is anew, also one that no rebalance was seen before.
    if (!isKip848) places.clear()
    own(changed?.find((each) => each.topic === topic)?.partitions ?? [])
  },
})
if (!isKip848) consumer.on('consumer:group:rebalance', () => own([]))

// After a line on standard input nothing is read or committed before the next assignment. Who
// pauses the process sends one first: the client repeats a commit that was refused, once it has
// joined again, and so takes back what others have committed since.
process.stdin.on('data', async () => {
  isHolding = true
  await step
  say({ held: true })
})
leaving().then(async () => {
  isLeaving = true
  await step
  own([])
  await consumer.close(true)
  process.exit(0)
})

async function locate(unknown) {
  const partitions = unknown.map(({ partition }) => partition)
  const committed = await consumer.listCommittedOffsets({ topics: [{ topic, partitions }] })
  for (const place of unknown) {
    const offset = committed.get(topic)?.[place.partition] ?? -1n
    place.offset = offset < 0n ? 0n : offset
  }
}

async function read(wanted) {
  const metadata = await consumer.metadata({ topics: [topic] })
  const { id, partitions } = metadata.topics.get(topic)
  const fetched = wanted.map(({ partition, offset }) => ({
    partition,
    fetchOffset: offset,
    partitionMaxBytes: FETCH_BYTES_MAX,
    currentLeaderEpoch: -1,
    lastFetchedEpoch: -1,
  }))
  const { responses } = await consumer.fetch({
    node: partitions[0].leader,
    maxWaitTime: FETCH_WAIT_MS,
    topics: [{ topicId: id, partitions: fetched }],
  })
  const ranges = []
  for (const { partitionIndex, records } of responses[0]?.partitions ?? []) {
    const place = wanted.find(({ partition }) => partition === partitionIndex)
    if (place === undefined || places.get(partitionIndex) !== place || isHolding) continue
    const from = place.offset
    for (const batch of records ?? []) take(place, batch)
    if (place.offset > from) ranges.push([partitionIndex, from, place.offset])
  }
  if (ranges.length > 0) await commit(ranges)
}

function take(place, batch) {
  for (const { offsetDelta, value } of batch.records) {
    const offset = batch.firstOffset + BigInt(offsetDelta)
    if (offset < place.offset) continue // A fetch answers whole batches.
    place.offset = offset + 1n
    say({ value: String(value), partition: place.partition, offset: Number(offset) })
  }
}

async function commit(ranges) {
  const offsets = ranges.map(([partition, , offset]) => {
    return { topic, partition, offset, leaderEpoch: -1 }
  })
  await consumer.commit({ offsets })
  say({ committed: ranges.map(([partition, from, to]) => [partition, Number(from), Number(to)]) })
}

async function advance() {
  const all = isHolding ? [] : [...places.values()]
  const unknown = all.filter(({ offset }) => offset === null)
  try {
    if (all.length === 0) await sleep(FETCH_WAIT_MS)
    else if (unknown.length > 0) await locate(unknown)
    else await read(all)
  } catch (error) {
    say({ error: error.message })
    await sleep(FETCH_WAIT_MS)
  }
}

await consumer.consume({ topics: [topic], mode: 'committed', autocommit: false })
while (!isLeaving) {
  step = advance()
  await step
}
