import type { z } from 'zod'
import * as groups from './group-shapes.ts'
import * as shapes from './shapes.ts'

/**
 * Every operation of the REST door: its path, and the shapes of what goes in and out. The router,
 * the validation and /openapi.json are made from this table.
 */
export const JSON_TYPE = 'application/json'
export const LINES_TYPE = 'application/x-ndjson'
export const BYTES_TYPE = 'application/octet-stream'

export interface Operation {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly summary: string
  readonly query: z.ZodObject
  /** By content type; 'bytes' is taken as it is. Null: there is no body. */
  readonly body: Readonly<Record<string, z.ZodType | 'bytes'>> | null
  readonly status: number
  /** By content type, what is answered when all goes well. */
  readonly answer: Readonly<Record<string, z.ZodType>>
}

export const OPERATIONS = {
  produce: {
    method: 'POST',
    path: '/topics/{topic}/produce',
    summary:
      'Stores events: one, many, one a line, or the body as one value. Answered when they are ' +
      'stored. A status of an error means that none is; 200 with "failed" that some are not',
    query: shapes.ProduceQuery,
    body: {
      [JSON_TYPE]: shapes.Events.or(shapes.Event),
      [LINES_TYPE]: shapes.Event,
      [BYTES_TYPE]: 'bytes',
    },
    status: 200,
    answer: { [JSON_TYPE]: shapes.Produced },
  },
  readEvents: {
    method: 'GET',
    path: '/topics/{topic}/partitions/{partition}/events',
    summary: 'Reads events from an offset on, waits for some, or follows',
    query: shapes.EventsQuery,
    body: null,
    status: 200,
    answer: { [JSON_TYPE]: shapes.Page, [LINES_TYPE]: shapes.ReadEvent },
  },
  deleteEvents: {
    method: 'DELETE',
    path: '/topics/{topic}/partitions/{partition}/events',
    summary: 'Deletes the events before an offset',
    query: shapes.DeleteEventsQuery,
    body: null,
    status: 200,
    answer: { [JSON_TYPE]: shapes.DeletedEvents },
  },
  listTopics: {
    method: 'GET',
    path: '/topics',
    summary: 'Lists the topics',
    query: shapes.Nothing,
    body: null,
    status: 200,
    answer: { [JSON_TYPE]: shapes.Topics },
  },
  createTopic: {
    method: 'POST',
    path: '/topics',
    summary: 'Creates a topic',
    query: shapes.Nothing,
    body: { [JSON_TYPE]: shapes.NewTopic },
    status: 201,
    answer: { [JSON_TYPE]: shapes.Topic },
  },
  describeTopic: {
    method: 'GET',
    path: '/topics/{topic}',
    summary: 'Describes a topic: partitions with their offsets, configuration',
    query: shapes.TopicQuery,
    body: null,
    status: 200,
    answer: { [JSON_TYPE]: shapes.Topic },
  },
  alterTopic: {
    method: 'PATCH',
    path: '/topics/{topic}',
    summary: 'Adds partitions to a topic, or sets its configuration',
    query: shapes.Nothing,
    body: { [JSON_TYPE]: shapes.TopicChange },
    status: 200,
    answer: { [JSON_TYPE]: shapes.Topic },
  },
  deleteTopic: {
    method: 'DELETE',
    path: '/topics/{topic}',
    summary: 'Deletes a topic and all its events',
    query: shapes.Nothing,
    body: null,
    status: 200,
    answer: { [JSON_TYPE]: shapes.Deleted },
  },
  listGroups: {
    method: 'GET',
    path: '/consumer-groups',
    summary: 'Lists the consumer groups',
    query: shapes.Nothing,
    body: null,
    status: 200,
    answer: { [JSON_TYPE]: groups.Groups },
  },
  describeGroup: {
    method: 'GET',
    path: '/consumer-groups/{group}',
    summary: 'Describes a group: members, what they have, committed offsets and lag',
    query: shapes.Nothing,
    body: null,
    status: 200,
    answer: { [JSON_TYPE]: groups.Group },
  },
  deleteGroup: {
    method: 'DELETE',
    path: '/consumer-groups/{group}',
    summary: 'Deletes a group without members, with its offsets',
    query: shapes.Nothing,
    body: null,
    status: 200,
    answer: { [JSON_TYPE]: groups.DeletedGroup },
  },
  subscribe: {
    method: 'POST',
    path: '/consumer-groups/{group}/subscribe',
    summary: 'Becomes a member of a group, which then gets a share of the partitions',
    query: shapes.Nothing,
    body: { [JSON_TYPE]: groups.Subscription },
    status: 201,
    answer: { [JSON_TYPE]: groups.Subscribed },
  },
  poll: {
    method: 'GET',
    path: '/consumer-groups/{group}/members/{member}/events',
    summary:
      "Reads on in the member's partitions, or waits. Who polls is done with what it got before",
    query: groups.PollQuery,
    body: null,
    status: 200,
    answer: { [JSON_TYPE]: groups.Polled },
  },
  leave: {
    method: 'DELETE',
    path: '/consumer-groups/{group}/members/{member}',
    summary: 'Leaves a group at once',
    query: shapes.Nothing,
    body: null,
    status: 200,
    answer: { [JSON_TYPE]: groups.Left },
  },
  commitOffsets: {
    method: 'PUT',
    path: '/consumer-groups/{group}/offsets',
    summary: "Commits a member's offsets, or those of a group without members",
    query: shapes.Nothing,
    body: { [JSON_TYPE]: groups.Commit },
    status: 200,
    answer: { [JSON_TYPE]: groups.Committed },
  },
  resetOffsets: {
    method: 'POST',
    path: '/consumer-groups/{group}/offsets/reset',
    summary: 'Sets the offsets of a group anew, of one without members unless forced',
    query: shapes.Nothing,
    body: { [JSON_TYPE]: groups.Reset },
    status: 200,
    answer: { [JSON_TYPE]: groups.ResetDone },
  },
} as const satisfies Readonly<Record<string, Operation>>

export type OperationName = keyof typeof OPERATIONS
