import { z } from 'zod'
import {
  Format,
  Offset,
  Partition,
  READ_BYTES_MAX,
  READ_EVENTS_MAX,
  ReadEvent,
  Timestamp,
  TopicName,
  WAIT_MS_MAX,
} from './shapes.ts'

/** The shapes of consumer groups; see `shapes.ts`. */
/** Three names each: more of them hold more names than a body may, see `check-json.ts`. */
const OFFSETS_MAX = 3000
const TOPICS_MAX = 1000
const TIMEOUT_MS_MAX = 24 * 3600 * 1000

const Place = { topic: TopicName, partition: Partition }
const committedOffset = Offset.nullable().describe('null: nothing is committed')

export const Groups = z.strictObject({
  groups: z.array(
    z.strictObject({
      group: z.string(),
      state: z.string(),
      type: z.string(),
      protocolType: z.string(),
    }),
  ),
})

export const Group = z.strictObject({
  group: z.string(),
  state: z.string(),
  assignor: z.string(),
  members: z.array(
    z.strictObject({
      memberId: z.string(),
      clientId: z.string(),
      clientHost: z.string(),
      assignment: z.array(z.strictObject(Place)),
    }),
  ),
  offsets: z.array(
    z.strictObject({
      ...Place,
      committedOffset,
      logStartOffset: Offset.optional(),
      highWatermark: Offset.optional(),
      lag: z.int().min(0).optional().describe('Events from the committed offset to the end'),
      memberId: z.string().optional().describe('Who has the partition'),
    }),
  ),
  lag: z.int().min(0).describe('Of all partitions with a committed offset'),
})

export const DeletedGroup = z.strictObject({ group: z.string() })

export const Subscription = z.strictObject({
  topics: z.array(TopicName).min(1).max(TOPICS_MAX),
  from: z
    .enum(['earliest', 'latest'])
    .optional()
    .describe('Where to begin where the group has committed nothing; latest by default'),
  autoCommit: z
    .boolean()
    .optional()
    .describe('Whether a poll commits what the one before it returned; false by default'),
  format: Format.optional().describe('Of events, where a poll does not say'),
  sessionTimeoutMs: z
    .int()
    .min(1)
    .max(TIMEOUT_MS_MAX)
    .optional()
    .describe('A member that does not poll or commit for so long is put out; 45000 by default'),
  rebalanceTimeoutMs: z
    .int()
    .min(1)
    .max(TIMEOUT_MS_MAX)
    .optional()
    .describe('How long the others wait for its next poll when partitions move; 60000 by default'),
  clientId: z
    .string()
    .regex(/^[a-zA-Z0-9._-]{1,100}$/)
    .optional(),
})
export type Subscription = z.infer<typeof Subscription>

const Assignment = z.array(z.strictObject({ ...Place, committedOffset }))
const Round = {
  generation: z.int().describe('Rises whenever partitions are shared out anew'),
  rebalancing: z.boolean().describe('Partitions are being shared out: poll again'),
}

export const Subscribed = z.strictObject({
  group: z.string(),
  memberId: z.string(),
  url: z.string().describe('Where to poll'),
  ...Round,
  assignment: Assignment,
})

export const PollQuery = z.strictObject({
  max_bytes: z.int().min(1).max(READ_BYTES_MAX).optional().describe('Of the answer, roughly'),
  max_events: z.int().min(1).max(READ_EVENTS_MAX).optional(),
  wait_ms: z.int().min(0).max(WAIT_MS_MAX).optional().describe('For a first event'),
  format: Format.optional(),
})

export const GroupEvent = z.strictObject({ ...Place, ...ReadEvent.shape })

export const Polled = z.strictObject({
  events: z.array(GroupEvent),
  ...Round,
  assignment: Assignment.optional().describe('Where it has changed'),
})

export const Left = z.strictObject({ group: z.string(), memberId: z.string() })

const NewOffset = z.strictObject({
  ...Place,
  offset: Offset.describe('The next one to be read'),
  metadata: z.string().max(32_767).optional(),
})

export const Commit = z.strictObject({
  memberId: z.string().optional().describe('Of the member that has the partitions'),
  offsets: z.array(NewOffset).min(1).max(OFFSETS_MAX),
})

export const Committed = z.strictObject({
  offsets: z.array(z.strictObject({ ...Place, offset: Offset })),
})

export const Reset = z.strictObject({
  to: z
    .union([
      z.enum(['earliest', 'latest']),
      z.strictObject({ timestamp: Timestamp }),
      z.strictObject({ shift: z.int().describe('By so many events, back when negative') }),
      z.strictObject({
        offsets: z
          .array(z.strictObject({ ...Place, offset: Offset }))
          .min(1)
          .max(OFFSETS_MAX),
      }),
    ])
    .describe('An end of the log, a time, a distance, or offsets'),
  topics: z
    .array(TopicName)
    .min(1)
    .max(TOPICS_MAX)
    .optional()
    .describe('Where; without it in all partitions for which something is committed'),
  force: z
    .boolean()
    .optional()
    .describe('Also when the group has members: they are put out, and join again behind it'),
  dryRun: z.boolean().optional().describe('Says what it would do'),
})
export type Reset = z.infer<typeof Reset>

export const ResetDone = z.strictObject({
  offsets: z.array(z.strictObject({ ...Place, offset: Offset, before: committedOffset })),
  dryRun: z.boolean(),
})
