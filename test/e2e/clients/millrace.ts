/**
 * Our own client library (`src/index.ts`), in this process, over WebSocket: the requests'
 * `bootstrap` does not concern it. A connection for each request, as an application that begins.
 */
import {
  type Client,
  type ConsumerOptions,
  createClient,
  type ProducerOptions,
} from '../../../src/index.ts'
import {
  ClientError,
  CONSUME_TIMEOUT_MS,
  type ConsumeRequest,
  type CreateTopicRequest,
  type KafkaClient,
  NO_LIMITS,
  type ReceivedRecord,
  type SentRecord,
} from './client.ts'

const NAME = 'millrace'

/** `httpUrl`: where the broker serves HTTP. */
export function millraceClient(httpUrl: string): KafkaClient {
  const { host } = new URL(httpUrl)
  const connect = (): Client => createClient({ url: `ws://${host}/ws` })
  return {
    name: NAME,
    limits: NO_LIMITS,

    available: () => true,

    async produce({ topic, compression, records, config }): Promise<readonly SentRecord[]> {
      await using client = connect()
      const producer = client.producer({ compression, ...config } as ProducerOptions)
      return await producer.sendMany(records.map((record) => ({ ...record, topic })))
    },

    consume: (request) => consume(connect(), request),

    async createTopic({ topic, partitions, configs = {} }: CreateTopicRequest) {
      await using client = connect()
      await client.admin().createTopic({ name: topic, partitions, configs })
    },

    async deleteTopic(_, topic) {
      await using client = connect()
      await client.admin().deleteTopic(topic)
    },

    async listTopics() {
      await using client = connect()
      const topics = await client.admin().listTopics()
      return topics.map(({ name }) => name).sort()
    },

    async close() {},
  }
}

async function consume(client: Client, request: ConsumeRequest): Promise<ReceivedRecord[]> {
  const { topic, partition, fromOffset, count, config } = request
  const got: ReceivedRecord[] = []
  const signal = AbortSignal.timeout(request.timeoutMs ?? CONSUME_TIMEOUT_MS)
  try {
    const assignments = [{ topic, partition, offset: fromOffset }]
    const consumer = client.consumer({ assignments, signal, ...config } as ConsumerOptions)
    for await (const record of consumer) {
      if (got.push(record) === count) break
    }
    return got
  } catch (error) {
    if (!signal.aborted) throw error
    throw new ClientError(NAME, 'Timeout', `got ${got.length} of ${count} records`)
  } finally {
    await client.close()
  }
}
