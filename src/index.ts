/**
 * The public interface of the package, a section for each part of it; so far the client of
 * `millrace.v1` for Node. Everything that is not exported here may change without notice.
 */
import { Client, type ClientOptions } from './client/client.ts'
import { nodePlatform } from './client/platform-node.ts'

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
export { murmur2, partitionOfKey } from './client/murmur2.ts'
export type { Partitioner, PartitionerFunction } from './client/partitioner.ts'
export type { RecordMetadata } from './client/produce-batch.ts'
export type { Producer } from './client/producer.ts'
export type { CompressionName, ProducerOptions } from './client/producer-options.ts'
export type { ProducerRecord } from './client/producer-record.ts'
export { ErrorCode } from './errors/error-code.ts'
export type { RecordHeader } from './record/record-reader.ts'

/** A client of the server at `options.url`. Throws TypeError or RangeError for wrong options. */
export function createClient(options: ClientOptions): Client {
  return new Client(options, nodePlatform)
}
