import { defineMessage } from './definition.ts'

/** Values of control records in the metadata log, in Kafka's formats (KIP-595, KIP-853). */

const voter = {
  voterId: { type: 'int32', versions: '0+' },
  voterDirectoryId: { type: 'uuid', versions: '1+' },
} as const

export const leaderChangeMessage = defineMessage({
  name: 'LeaderChangeMessage',
  kind: 'record',
  apiKey: -1,
  versions: '0-1',
  flexible: '0+',
  fields: {
    version: { type: 'int16', versions: '0+' },
    leaderId: { type: 'int32', versions: '0+' },
    voters: { versions: '0+', type: [voter] },
    grantingVoters: { versions: '0+', type: [voter] },
  },
})

export const votersRecord = defineMessage({
  name: 'VotersRecord',
  kind: 'record',
  apiKey: -1,
  versions: '0',
  flexible: '0+',
  fields: {
    version: { type: 'int16', versions: '0+' },
    voters: {
      versions: '0+',
      type: [
        {
          voterId: { type: 'int32', versions: '0+' },
          voterDirectoryId: { type: 'uuid', versions: '0+' },
          endpoints: {
            versions: '0+',
            type: [
              {
                name: { type: 'string', versions: '0+' },
                host: { type: 'string', versions: '0+' },
                port: { type: 'uint16', versions: '0+' },
              },
            ],
          },
          kRaftVersionFeature: {
            versions: '0+',
            type: {
              minSupportedVersion: { type: 'int16', versions: '0+' },
              maxSupportedVersion: { type: 'int16', versions: '0+' },
            },
          },
        },
      ],
    },
  },
})

/** The first record of a snapshot (KIP-630). */
export const snapshotHeaderRecord = defineMessage({
  name: 'SnapshotHeaderRecord',
  kind: 'record',
  apiKey: -1,
  versions: '0',
  flexible: '0+',
  fields: {
    version: { type: 'int16', versions: '0+' },
    lastContainedLogTimestamp: { type: 'int64', versions: '0+' },
  },
})

/** The last record of a snapshot (KIP-630); what is tagged is ours, and others skip it. */
export const snapshotFooterRecord = defineMessage({
  name: 'SnapshotFooterRecord',
  kind: 'record',
  apiKey: -1,
  versions: '0',
  flexible: '0+',
  fields: {
    version: { type: 'int16', versions: '0+' },
    endOffset: { type: 'int64', versions: '0+', tag: 10_000, tagged: '0+' },
    epoch: { type: 'int32', versions: '0+', tag: 10_001, tagged: '0+' },
    /** Of the file before the batch that holds this record. */
    bytes: { type: 'int64', versions: '0+', tag: 10_002, tagged: '0+' },
  },
})
