/** One right message of each type of `millrace.v1`; the types see to it that none is missing. */
import type { ClientMessages } from '../../src/wire/websocket/messages.ts'
import { SAMPLE_TOPIC } from './kafka-message.ts'

export const SAMPLE_MESSAGES: ClientMessages = {
  requestCredits: { type: 'requestCredits', bytes: 1000 },
  yieldCredits: { type: 'yieldCredits', bytes: 10 },
  produce: { type: 'produce', id: 1, acks: 1, partitions: [[SAMPLE_TOPIC, 0, 70]] },
  produceRecords: {
    type: 'produceRecords',
    id: 2,
    acks: -1,
    topic: SAMPLE_TOPIC,
    partition: null,
    records: [
      { key: 'k', value: Buffer.from('v'), headers: [['h', null]], timestamp: 1_700_000_000_000 },
    ],
  },
  initProducer: { type: 'initProducer', id: 3 },
  subscribe: {
    type: 'subscribe',
    id: 4,
    subscription: 1,
    topic: SAMPLE_TOPIC,
    partition: 0,
    offset: -2,
    credits: 1000,
    maxBytes: 1000,
  },
  flow: { type: 'flow', subscription: 1, credits: 10 },
  unsubscribe: { type: 'unsubscribe', id: 5, subscription: 1 },
  fetch: {
    type: 'fetch',
    id: 6,
    maxBytes: 1000,
    minBytes: 0,
    maxWaitMs: 0,
    partitions: [[SAMPLE_TOPIC, 0, 0, 1000]],
  },
  listOffsets: { type: 'listOffsets', id: 7, partitions: [[SAMPLE_TOPIC, 0, -1]] },
  metadata: { type: 'metadata', id: 8, topics: [SAMPLE_TOPIC], create: false },
  createTopic: {
    type: 'createTopic',
    id: 9,
    name: SAMPLE_TOPIC,
    partitions: 1,
    replicationFactor: -1,
    configs: { 'retention.ms': '1000' },
    validateOnly: true,
  },
  createPartitions: { type: 'createPartitions', id: 10, name: SAMPLE_TOPIC, count: 1 },
  deleteTopic: { type: 'deleteTopic', id: 11, name: 'no-such-topic' },
  deleteRecords: { type: 'deleteRecords', id: 12, topic: SAMPLE_TOPIC, partition: 0, offset: 0 },
  describeTopic: { type: 'describeTopic', id: 13, name: SAMPLE_TOPIC },
  ping: { type: 'ping', id: 14 },
}
