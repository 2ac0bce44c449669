/**
 * The public interface of the package: the client of `millrace.v1` for Node, and a broker inside
 * the program. Everything that is not exported here may change without notice.
 */
import { Client, type ClientOptions } from './client/client.ts'
import { nodePlatform } from './client/platform-node.ts'
import type { EmbeddedBroker, EmbeddedBrokerOptions } from './gateway/embedded-broker.ts'

// —— the client ——

export type {
  Admin,
  ClusterInfo,
  NewTopic,
  OffsetQuery,
  PartitionInfo,
  PartitionOffset,
  TopicConfig,
  TopicDescription,
  TopicInfo,
  TopicPartition,
} from './client/admin.ts'
export type { Client, ClientOptions } from './client/client.ts'
export type { Consumer } from './client/consumer.ts'
export type {
  Assignment,
  ConsumerBatch,
  ConsumerOptions,
  ConsumerRecord,
  StartOffset,
} from './client/consumer-options.ts'
export {
  BufferFullError,
  ClosedError,
  ConnectionError,
  DeliveryError,
  MillraceError,
  ServerError,
  TimeoutError,
} from './client/errors.ts'
export type { WaitOptions } from './client/link.ts'
export type { Partitioner, PartitionerFunction } from './client/partitioner.ts'
export type { RecordMetadata } from './client/produce-batch.ts'
export type { Producer } from './client/producer.ts'
export type { CompressionName, ProducerOptions } from './client/producer-options.ts'
export type { ProducerRecord } from './client/producer-record.ts'
export { ErrorCode } from './errors/error-code.ts'
export type { EmbeddedBroker, EmbeddedBrokerOptions } from './gateway/embedded-broker.ts'
export { murmur2, partitionOfKey } from './record/murmur2.ts'
export type { RecordHeader } from './record/record-reader.ts'

/** A client of the server at `options.url`. Throws TypeError or RangeError for wrong options. */
export function createClient(options: ClientOptions): Client {
  return new Client(options, nodePlatform)
}

/**
 * Starts a broker in this program, on free ports and a temporary directory unless told otherwise;
 * resolves when it serves. `await using` stops it. Rejects with a ConfigError for an option that it
 * does not understand, with a BrokerError where the world refuses.
 */
export async function startBroker(options: EmbeddedBrokerOptions = {}): Promise<EmbeddedBroker> {
  // Loaded only here: a client has no use for a broker's code.
  const embedded = await import('./gateway/embedded-broker.ts')
  return embedded.startBroker(options)
}
