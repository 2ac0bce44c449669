/** A member of a group that uses kafkajs: BOOTSTRAP TOPIC name=value … (`member.mjs`). */
import kafkajs from 'kafkajs'
import { leaving, say, sayAssigned, settings } from './member.mjs'

const [bootstrap, topic, ...rest] = process.argv.slice(2)
const { assignor, ...options } = settings(rest)

/** Under the name that other clients have for it, so that they share a group. */
const roundRobin = (args) => ({ ...kafkajs.PartitionAssigners.roundRobin(args), name: assignor })

/** It has no event for the moment in which it gives up, before it leaves: but a log line. */
function onError({ log: { message } }) {
  if (/^Crash:|not aware of this member/.test(message)) sayAssigned(topic, [])
}

const COMMIT_AGAIN_MS = 50
const START_AGAIN_MS = 500

const kafka = new kafkajs.Kafka({
  brokers: [bootstrap],
  logLevel: kafkajs.logLevel.ERROR,
  logCreator: () => onError,
  retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 100 },
})
const consumer = kafka.consumer({
  ...options,
  ...(assignor === undefined ? {} : { partitionAssigners: [roundRobin] }),
})
consumer.on('consumer.group_join', ({ payload }) => {
  sayAssigned(topic, payload.memberAssignment[topic] ?? [])
})
consumer.on('consumer.rebalancing', () => sayAssigned(topic, []))
consumer.on('consumer.crash', ({ payload: { error, restart } }) => {
  say({ error: `crash: ${error.name}: ${error.message}${restart ? '' : ' (for good)'}` })
  if (!restart) startLater()
})

/**
 * Again while the coordinator loads: what has been resolved is not read again, so a commit of the
 * last records that is given up would never be made.
 */
async function commit(once) {
  for (;;) {
    try {
      return await once()
    } catch (error) {
      say({ error: error.type ?? error.name })
      if (error.type !== 'GROUP_LOAD_IN_PROGRESS') throw error
      await new Promise((resolve) => setTimeout(resolve, COMMIT_AGAIN_MS))
    }
  }
}

async function eachBatch({ batch, resolveOffset, commitOffsetsIfNecessary }) {
  const { partition, messages } = batch
  for (const { offset, value } of messages) {
    say({ value: String(value), partition, offset: Number(offset) })
    resolveOffset(offset)
  }
  const from = Number(messages[0].offset)
  const to = Number(messages.at(-1).offset) + 1
  await commit(() => {
    // Not `consumer.commitOffsets`: a member that is unknown by now would end, and not join.
    const partitions = [{ partition, offset: String(to) }]
    return commitOffsetsIfNecessary({ topics: [{ topic, partitions }] })
  })
  say({ committed: [[partition, from, to]] })
}

/**
 * Also after a crash from which it does not start again by itself: it does not when no broker
 * answers in the moment in which it looks for its coordinator.
 */
async function start() {
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch })
}

function startLater() {
  setTimeout(() => {
    if (!isLeaving) start().catch(startLater)
  }, START_AGAIN_MS)
}

let isLeaving = false
await start()
await leaving()
isLeaving = true
sayAssigned(topic, [])
await consumer.disconnect()
process.exit(0)
