import { type Decoded, defineMessage, type Encodable } from './definition.ts'

/**
 * DescribeLogDirs (key 35): log directories, their space (v4, KIP-827) and the sizes of their
 * partitions.
 */

export const describeLogDirsRequest = defineMessage({
  name: 'DescribeLogDirsRequest',
  kind: 'request',
  apiKey: 35,
  versions: '1-5',
  flexible: '2+',
  fields: {
    topics: {
      versions: '0+',
      type: [
        {
          topic: { type: 'string', versions: '0+' },
          partitions: { type: ['int32'], versions: '0+' },
        },
      ],
      nullable: '0+',
    },
  },
})

export const describeLogDirsResponse = defineMessage({
  name: 'DescribeLogDirsResponse',
  kind: 'response',
  apiKey: 35,
  versions: '1-5',
  flexible: '2+',
  fields: {
    throttleTimeMs: { type: 'int32', versions: '0+' },
    errorCode: { type: 'int16', versions: '3+', ignorable: true },
    results: {
      versions: '0+',
      type: [
        {
          errorCode: { type: 'int16', versions: '0+' },
          logDir: { type: 'string', versions: '0+' },
          topics: {
            versions: '0+',
            type: [
              {
                name: { type: 'string', versions: '0+' },
                partitions: {
                  versions: '0+',
                  type: [
                    {
                      partitionIndex: { type: 'int32', versions: '0+' },
                      partitionSize: { type: 'int64', versions: '0+' },
                      offsetLag: { type: 'int64', versions: '0+' },
                      isFutureKey: { type: 'bool', versions: '0+' },
                    },
                  ],
                },
              },
            ],
          },
          totalBytes: { type: 'int64', versions: '4+', default: -1, ignorable: true },
          usableBytes: { type: 'int64', versions: '4+', default: -1, ignorable: true },
          isCordoned: { type: 'bool', versions: '5+', default: false, ignorable: true },
        },
      ],
    },
  },
})

export type DescribeLogDirsRequest = Decoded<typeof describeLogDirsRequest.fields>
export type DescribeLogDirsRequestInit = Encodable<typeof describeLogDirsRequest.fields>
export type DescribeLogDirsResponse = Decoded<typeof describeLogDirsResponse.fields>
export type DescribeLogDirsResponseInit = Encodable<typeof describeLogDirsResponse.fields>
