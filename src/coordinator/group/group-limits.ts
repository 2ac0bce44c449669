/**
 * How much of a group fits into the records that tell of it. What is larger is refused where it is
 * asked for: a record that cannot be written would take the whole coordinator down with it.
 */
const MIB = 1024 * 1024

/** What one member says of itself: the metadata of its protocols, the names of its topics. */
export const MEMBER_BYTES_MAX = MIB

/** All of a classic group, which is one record: members with their metadata and assignments. */
export const GROUP_BYTES_MAX = 4 * MIB

/** The largest batch of records of groups: twice what the largest of them has. */
export const GROUP_BATCH_BYTES_MAX = 2 * GROUP_BYTES_MAX

/** What of a client's name goes into the ids of its members, and what an instance id may have. */
export const CLIENT_ID_CHARS_MAX = 249
export const INSTANCE_ID_CHARS_MAX = 249

/** Ids that a group has handed out and that were not joined with yet. */
export const PENDING_JOINS_MAX = 10_000

/** Of a group's name: it stands in every record of the group. Kafka has no such limit. */
export const GROUP_ID_CHARS_MAX = 1000

/** Whether a group may be called so. */
export function isGroupId(groupId: string): boolean {
  return groupId !== '' && groupId.length <= GROUP_ID_CHARS_MAX
}

/** Groups of one coordinator: somebody may name new ones for as long as they are let. */
export const GROUPS_MAX = 50_000

/** Of a member beside its metadata and its assignment: ids, client, times. */
export const MEMBER_OVERHEAD_BYTES = 64
/** A character of UTF-16 takes at most so many bytes of UTF-8. */
export const CHAR_BYTES_MAX = 3
