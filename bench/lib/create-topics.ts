/** Many topics for a measurement, made through Kafka's protocol. */
import { Kafka, logLevel } from 'kafkajs'

/** Topics PREFIX-0 … of as many partitions each. Returns how many milliseconds it took. */
export async function createTopics(
  kafkaPort: number,
  { prefix, topics, partitions }: { prefix: string; topics: number; partitions: number },
): Promise<number> {
  const kafka = new Kafka({
    brokers: [`127.0.0.1:${kafkaPort}`],
    clientId: prefix,
    logLevel: logLevel.ERROR,
    requestTimeout: 120_000,
  })
  const admin = kafka.admin()
  await admin.connect()
  const startedMs = performance.now()
  try {
    // A few topics a request, so that no single answer has to hold them all.
    for (let first = 0; first < topics; first += 10) {
      const count = Math.min(10, topics - first)
      const list = Array.from({ length: count }, (_, index) => ({
        topic: `${prefix}-${first + index}`,
        numPartitions: partitions,
        replicationFactor: 1,
      }))
      await admin.createTopics({ topics: list, timeout: 120_000, waitForLeaders: false })
    }
  } finally {
    await admin.disconnect()
  }
  return performance.now() - startedMs
}
