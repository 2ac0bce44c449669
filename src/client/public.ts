/** What the package exports for clients, the same in Node and in browsers, but `createClient`. */

export { ErrorCode } from '../errors/error-code.ts'
export { murmur2, partitionOfKey } from '../record/murmur2.ts'
export type { RecordHeader } from '../record/record-reader.ts'
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
} from './admin.ts'
export type { Client, ClientOptions } from './client.ts'
export type { Consumer } from './consumer.ts'
export type {
  Assignment,
  ConsumerBatch,
  ConsumerOptions,
  ConsumerRecord,
  StartOffset,
} from './consumer-options.ts'
export {
  BufferFullError,
  ClosedError,
  ConnectionError,
  DeliveryError,
  MillraceError,
  ServerError,
  TimeoutError,
} from './errors.ts'
export type { GroupConsumer } from './group-consumer.ts'
export type {
  GroupConsumerOptions,
  GroupPartition,
  OffsetToCommit,
  RebalanceListener,
  RunOptions,
} from './group-options.ts'
export type { WaitOptions } from './link.ts'
export type { Partitioner, PartitionerFunction } from './partitioner.ts'
export type { RecordMetadata } from './produce-batch.ts'
export type { Producer } from './producer.ts'
export type { CompressionName, ProducerOptions } from './producer-options.ts'
export type { ProducerRecord } from './producer-record.ts'
