/** How an event is published and acknowledged in the protocols of three kinds of broker. */
import { randomBytes } from 'node:crypto'
import { BatchBuilder } from '../../src/record/batch-builder.ts'
import { ApiKey, encodeRequest } from '../../src/wire/kafka/api.ts'
import type { Dialect } from './peer-load.ts'

const TOPIC = 'events'
const PARTITIONS = 8
const PRODUCE_VERSION = 7
const CREATE_VERSION = 2

/** Produce, one batch of one event to one partition, acks=1. */
export function kafkaDialect(eventBytes: number): Dialect {
  const header = { correlationId: 1, clientId: 'peers' }
  const builder = new BatchBuilder()
  builder.append(1_700_000_000_000, null, randomBytes(eventBytes))
  const records = builder.buildSync()
  const create = encodeRequest(ApiKey.CREATE_TOPICS, CREATE_VERSION, header, {
    topics: [
      {
        name: TOPIC,
        numPartitions: PARTITIONS,
        replicationFactor: 1,
        assignments: [],
        configs: [],
      },
    ],
    timeoutMs: 10_000,
    validateOnly: false,
  })
  const isWhole = (bytes: Buffer) => bytes.length >= 4 && bytes.length >= 4 + bytes.readInt32BE(0)
  return {
    setUp: [{ request: Buffer.concat(create), isDone: isWhole }],
    hello: Buffer.alloc(0),
    request: (index) =>
      Buffer.concat(
        encodeRequest(ApiKey.PRODUCE, PRODUCE_VERSION, header, {
          transactionalId: null,
          acks: 1,
          timeoutMs: 30_000,
          topicData: [{ name: TOPIC, partitionData: [{ index: index % PARTITIONS, records }] }],
        }),
      ),
    answer: (bytes) => {
      if (!isWhole(bytes)) return { length: 0, isAnswer: false }
      // Correlation id, one topic, its name, one partition, its index, the error code.
      const code = bytes.readInt16BE(4 + 4 + 4 + 2 + TOPIC.length + 4 + 4)
      if (code !== 0) throw new Error(`the broker answered error ${code}`)
      return { length: 4 + bytes.readInt32BE(0), isAnswer: true }
    },
  }
}

/** XADD to one of as many streams as others have partitions. */
export function redisDialect(eventBytes: number): Dialect {
  const value = randomBytes(eventBytes)
  const bulk = (part: Buffer | string) =>
    Buffer.concat([
      Buffer.from(`$${Buffer.byteLength(part)}\r\n`),
      Buffer.from(part),
      Buffer.from('\r\n'),
    ])
  return {
    setUp: [],
    hello: Buffer.alloc(0),
    request: (index) => {
      const parts = ['XADD', `${TOPIC}-${index % PARTITIONS}`, '*', 'v', value]
      return Buffer.concat([Buffer.from(`*${parts.length}\r\n`), ...parts.map(bulk)])
    },
    answer: (bytes) => {
      const line = bytes.indexOf('\r\n')
      if (line < 0) return { length: 0, isAnswer: false }
      if (bytes[0] !== 0x24) throw new Error(`Redis answered ${bytes.toString('latin1', 0, line)}`)
      const length = line + 2 + Number(bytes.toString('latin1', 1, line)) + 2
      return { length: bytes.length >= length ? length : 0, isAnswer: true }
    },
  }
}

/** PUB to a subject of a stream, with a reply subject: JetStream's acknowledgement comes there. */
export function natsDialect(eventBytes: number): Dialect {
  const value = randomBytes(eventBytes)
  const config = JSON.stringify({
    name: TOPIC,
    subjects: [`${TOPIC}.*`],
    storage: 'file',
    num_replicas: 1,
  })
  const create = `SUB _INBOX.setup 1\r\nPUB $JS.API.STREAM.CREATE.${TOPIC} _INBOX.setup ${config.length}\r\n${config}\r\n`
  return {
    setUp: [
      {
        request: Buffer.from(create),
        isDone: (bytes) => {
          const text = bytes.toString('latin1')
          if (text.includes('"error"')) throw new Error(text)
          return text.includes('"created"')
        },
      },
    ],
    hello: Buffer.from('CONNECT {"verbose":false,"pedantic":false}\r\n'),
    request: (index) =>
      Buffer.concat([
        // Subscribing again with the same id changes nothing.
        Buffer.from(`SUB _INBOX.${index} 1\r\n`),
        Buffer.from(`PUB ${TOPIC}.${index % PARTITIONS} _INBOX.${index} ${value.length}\r\n`),
        value,
        Buffer.from('\r\n'),
      ]),
    answer: (bytes) => {
      const line = bytes.indexOf('\r\n')
      if (line < 0) return { length: 0, isAnswer: false }
      const head = bytes.toString('latin1', 0, line)
      if (head.startsWith('-ERR')) throw new Error(`NATS answered ${head}`)
      if (!head.startsWith('MSG ')) return { length: line + 2, isAnswer: false }
      const length = line + 2 + Number(head.split(' ').at(-1)) + 2
      if (bytes.length < length) return { length: 0, isAnswer: false }
      if (bytes.includes('"error"')) throw new Error(bytes.toString('latin1', 0, length))
      return { length, isAnswer: true }
    },
  }
}
