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

await consumer.connect()
await consumer.subscribe({ topics: [topic], fromBeginning: true })
await consumer.run({
  autoCommit: false,
  eachBatchAutoResolve: false,
  eachBatch: async ({ batch, resolveOffset, commitOffsetsIfNecessary }) => {
    const { partition, messages } = batch
    for (const { offset, value } of messages) {
      say({ value: String(value), partition, offset: Number(offset) })
      resolveOffset(offset)
    }
    const from = Number(messages[0].offset)
    const to = Number(messages.at(-1).offset) + 1
    try {
      // Not `consumer.commitOffsets`: a member that is unknown by now would end, and not join.
      const partitions = [{ partition, offset: String(to) }]
      await commitOffsetsIfNecessary({ topics: [{ topic, partitions }] })
    } catch (error) {
      say({ error: error.type ?? error.name })
      throw error
    }
    say({ committed: [[partition, from, to]] })
  },
})
await leaving()
sayAssigned(topic, [])
await consumer.disconnect()
process.exit(0)
