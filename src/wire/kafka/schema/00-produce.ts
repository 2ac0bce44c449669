import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * Produce (key 0): appends record batches to partitions.
 *
 * Decodable from v3; ApiVersions advertises v0 as well, because older librdkafka turns compression
 * off when v0 is out of range (KAFKA-18659). v8 adds errors per record (KIP-467), v10 the current
 * leader (KIP-951), v13 names topics by id (KIP-516).
 */

export const produceRequest = defineMessage({
  name: 'ProduceRequest',
  kind: 'request',
  apiKey: 0,
  versions: '3-13',
  flexible: '9+',
  fields: {
    transactionalId: { type: 'string', versions: '3+', nullable: '3+', default: null },
    acks: { type: 'int16', versions: '0+' },
    timeoutMs: { type: 'int32', versions: '0+' },
    topicData: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0-12', ignorable: true },
          topicId: { type: 'uuid', versions: '13+', ignorable: true },
          partitionData: {
            versions: '0+',
            type: [
              {
                index: { type: 'int32', versions: '0+' },
                records: { type: 'records', versions: '0+', nullable: '0+' },
              },
            ],
          },
        },
      ],
    },
  },
})

export const produceResponse = defineMessage({
  name: 'ProduceResponse',
  kind: 'response',
  apiKey: 0,
  versions: '3-13',
  flexible: '9+',
  fields: {
    responses: {
      versions: '0+',
      type: [
        {
          name: { type: 'string', versions: '0-12', ignorable: true },
          topicId: { type: 'uuid', versions: '13+', ignorable: true },
          partitionResponses: {
            versions: '0+',
            type: [
              {
                index: { type: 'int32', versions: '0+' },
                errorCode: { type: 'int16', versions: '0+' },
                baseOffset: { type: 'int64', versions: '0+' },
                logAppendTimeMs: { type: 'int64', versions: '2+', default: -1, ignorable: true },
                logStartOffset: { type: 'int64', versions: '5+', default: -1, ignorable: true },
                recordErrors: {
                  versions: '8+',
                  ignorable: true,
                  type: [
                    {
                      batchIndex: { type: 'int32', versions: '8+' },
                      batchIndexErrorMessage: {
                        type: 'string',
                        versions: '8+',
                        nullable: '8+',
                        default: null,
                      },
                    },
                  ],
                },
                errorMessage: {
                  type: 'string',
                  versions: '8+',
                  nullable: '8+',
                  default: null,
                  ignorable: true,
                },
                currentLeader: {
                  versions: '10+',
                  tag: 0,
                  tagged: '10+',
                  type: {
                    leaderId: { type: 'int32', versions: '10+', default: -1 },
                    leaderEpoch: { type: 'int32', versions: '10+', default: -1 },
                  },
                },
              },
            ],
          },
        },
      ],
    },
    throttleTimeMs: { type: 'int32', versions: '1+', default: 0, ignorable: true },
    nodeEndpoints: {
      versions: '10+',
      tag: 0,
      tagged: '10+',
      type: [
        {
          nodeId: { type: 'int32', versions: '10+' },
          host: { type: 'string', versions: '10+' },
          port: { type: 'int32', versions: '10+' },
          rack: { type: 'string', versions: '10+', nullable: '10+', default: null },
        },
      ],
    },
  },
})

export type ProduceRequest = Decoded<typeof produceRequest.fields>
export type ProduceRequestInit = Encodable<typeof produceRequest.fields>
export type ProduceResponse = Decoded<typeof produceResponse.fields>
export type ProduceResponseInit = Encodable<typeof produceResponse.fields>
