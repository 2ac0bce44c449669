import type { BrokerConfig } from '../config/broker-config.ts'
import type { TopicConfig } from '../config/topic-config.ts'
import type { LogOptions } from '../storage/log-types.ts'

/** Bytes of one partition that may be dirty in the page cache before the disk is told to start. */
const WRITE_BEHIND_BYTES = 512 * 1024

/** What a partition's log needs of its topic's configuration. */
export function logOptions(topic: TopicConfig, broker: BrokerConfig): LogOptions {
  return {
    segmentBytes: topic.segmentBytes,
    segmentMs: topic.segmentMs,
    segmentJitterMs: topic.segmentJitterMs,
    segmentIndexBytes: topic.segmentIndexBytes,
    indexIntervalBytes: topic.indexIntervalBytes,
    batchBytesMax: topic.maxMessageBytes,
    flushMessages: topic.flushMessages,
    flushMs: topic.flushMs,
    timestampType: topic.messageTimestampType,
    timestampBeforeMaxMs: topic.messageTimestampBeforeMaxMs,
    timestampAfterMaxMs: topic.messageTimestampAfterMaxMs,
    preallocate: topic.preallocate,
    // Without the delete policy only what lies below the log start goes.
    retentionBytes: topic.cleanupDelete ? topic.retentionBytes : Infinity,
    retentionMs: topic.cleanupDelete ? topic.retentionMs : Infinity,
    fileDeleteDelayMs: topic.fileDeleteDelayMs,
    isCompacted: topic.cleanupCompact,
    minCleanableDirtyRatio: topic.minCleanableDirtyRatio,
    minCompactionLagMs: topic.minCompactionLagMs,
    maxCompactionLagMs: topic.maxCompactionLagMs,
    deleteRetentionMs: topic.deleteRetentionMs,
    producerIdExpirationMs: broker.get('producer.id.expiration.ms'),
    pageCacheWindowBytes: broker.get('millrace.page.cache.window.bytes'),
    writeBehindBytes: WRITE_BEHIND_BYTES,
  }
}
