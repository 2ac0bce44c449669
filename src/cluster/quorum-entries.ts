/**
 * Entries of the quorum's log as record batches, and back. Metadata is in ordinary batches; what
 * the quorum says of itself is in control batches, in Kafka's formats, so that its tools can show
 * the log. A batch carries the epoch of its entry and the offset at which it lies.
 */
import { assert } from '../base/assert.ts'
import { copyOf, viewOf } from '../base/bytes.ts'
import type { Entry } from '../raft/entry.ts'
import type { SnapshotId } from '../raft/messages.ts'
import type { ReplicaKey } from '../raft/replica-key.ts'
import { decodeBatchSync, decodeHeader } from '../record/batch.ts'
import { BatchBuilder } from '../record/batch-builder.ts'
import { decodeControlKey } from '../record/control-batch.ts'
import { MessageCodecs } from '../wire/kafka/codec/codecs.ts'
import { Reader } from '../wire/kafka/reader.ts'
import {
  leaderChangeMessage,
  snapshotFooterRecord,
  snapshotHeaderRecord,
  votersRecord,
} from '../wire/kafka/schema/quorum-records.ts'
import { Writer } from '../wire/kafka/writer.ts'

/** Kafka's types of control records (KIP-595, KIP-630, KIP-853). */
const LEADER_CHANGE = 2
const SNAPSHOT_HEADER = 3
const SNAPSHOT_FOOTER = 4
const VOTERS = 6
const LEADER_CHANGE_VERSION = 1
const VOTERS_VERSION = 0
const SNAPSHOT_VERSION = 0
const KEY_BYTES = 4
const SIZE_PREFIX_BYTES = 4

const LEADER_CHANGE_CODECS = new MessageCodecs(leaderChangeMessage)
const VOTERS_CODECS = new MessageCodecs(votersRecord)
const HEADER_CODECS = new MessageCodecs(snapshotHeaderRecord)
const FOOTER_CODECS = new MessageCodecs(snapshotFooterRecord)
const writer = new Writer()

export interface EntryPlace {
  readonly epoch: number
  readonly baseOffset: number
}

/** One batch of metadata records, at least one. */
export function recordsEntry(
  place: EntryPlace,
  values: readonly Uint8Array[],
  timestampMs: number,
): Entry {
  const builder = new BatchBuilder()
  for (const value of values) builder.append(timestampMs, null, value)
  const { epoch, baseOffset } = place
  const bytes = builder.buildSync({ baseOffset, leaderEpoch: epoch })
  return { epoch, baseOffset, endOffset: baseOffset + values.length, bytes, voters: null }
}

/** A leader's first entry: who leads, and that all before it is committed with it. */
export function leaderChangeEntry(
  place: EntryPlace,
  leaderId: number,
  voters: readonly ReplicaKey[],
  timestampMs: number,
): Entry {
  const value = encode(LEADER_CHANGE_CODECS, LEADER_CHANGE_VERSION, {
    version: LEADER_CHANGE_VERSION,
    leaderId,
    voters: voters.map(({ id, directoryId }) => ({ voterId: id, voterDirectoryId: directoryId })),
    grantingVoters: [],
  })
  return controlEntry(place, { type: LEADER_CHANGE, value, timestampMs }, null)
}

/** From this entry on these are the voters. */
export function votersEntry(
  place: EntryPlace,
  voters: readonly ReplicaKey[],
  timestampMs: number,
): Entry {
  const value = encode(VOTERS_CODECS, VOTERS_VERSION, {
    version: VOTERS_VERSION,
    voters: voters.map(({ id, directoryId }) => ({
      voterId: id,
      voterDirectoryId: directoryId,
      endpoints: [],
      kRaftVersionFeature: { minSupportedVersion: 0, maxSupportedVersion: 1 },
    })),
  })
  return controlEntry(place, { type: VOTERS, value, timestampMs }, voters)
}

// —— of snapshots ——

export function snapshotHeaderEntry(place: EntryPlace, timestampMs: number): Entry {
  const fields = { version: SNAPSHOT_VERSION, lastContainedLogTimestamp: timestampMs }
  const value = encode(HEADER_CODECS, SNAPSHOT_VERSION, fields)
  return controlEntry(place, { type: SNAPSHOT_HEADER, value, timestampMs }, null)
}

export interface SnapshotFooter extends SnapshotId {
  /** Of the file in front of it. */
  readonly bytes: number
}

export function snapshotFooterEntry(
  place: EntryPlace,
  footer: SnapshotFooter,
  timestampMs: number,
): Entry {
  const value = encode(FOOTER_CODECS, SNAPSHOT_VERSION, { version: SNAPSHOT_VERSION, ...footer })
  return controlEntry(place, { type: SNAPSHOT_FOOTER, value, timestampMs }, null)
}

/** What a control batch says of the snapshot that it is in. Throws for what is no such batch. */
export function snapshotEnd(batch: Uint8Array): {
  readonly voters: readonly ReplicaKey[] | null
  readonly footer: SnapshotFooter | null
} {
  for (const { key, value } of decodeBatchSync(batch, 0, { recordsBytesMax: batch.length })) {
    if (value === null || decodeControlKey(key).type !== SNAPSHOT_FOOTER) continue
    const fields = FOOTER_CODECS.decoder(SNAPSHOT_VERSION)(new Reader(value)) as SnapshotFooter
    const { endOffset, epoch, bytes } = fields
    return { voters: null, footer: { endOffset, epoch, bytes } }
  }
  return { voters: votersOf(batch, 0), footer: null }
}

/**
 * The entries in `bytes`, whole batches of the metadata log one after the other; memory of their
 * own is theirs. Throws RecordError for what is no such log.
 */
export function entriesOf(bytes: Uint8Array): Entry[] {
  const entries: Entry[] = []
  let at = 0
  while (at < bytes.length) {
    const header = decodeHeader(bytes, at)
    entries.push({
      epoch: header.leaderEpoch,
      baseOffset: header.baseOffset,
      endOffset: header.baseOffset + header.lastOffsetDelta + 1,
      bytes: copyOf(bytes, at, at + header.bytes),
      voters: header.isControl ? votersOf(bytes, at) : null,
    })
    at += header.bytes
  }
  return entries
}

/** The metadata records of an entry; none for one in which the quorum speaks of itself. */
export function metadataValues({ bytes }: Entry, recordsBytesMax: number): Uint8Array[] {
  const batch = decodeBatchSync(bytes, 0, { recordsBytesMax, verifyCrc: false })
  if (batch.header.isControl) return []
  return Array.from(batch, ({ value }) => {
    assert(value !== null, 'a metadata record has a value')
    return value
  })
}

function votersOf(bytes: Uint8Array, at: number): ReplicaKey[] | null {
  for (const { key, value } of decodeBatchSync(bytes, at, { recordsBytesMax: bytes.length })) {
    if (value === null || decodeControlKey(key).type !== VOTERS) continue
    const fields = VOTERS_CODECS.decoder(VOTERS_VERSION)(new Reader(value)) as {
      readonly voters: readonly { readonly voterId: number; readonly voterDirectoryId: string }[]
    }
    return fields.voters.map(({ voterId, voterDirectoryId }) => {
      return { id: voterId, directoryId: voterDirectoryId }
    })
  }
  return null
}

function controlEntry(
  { epoch, baseOffset }: EntryPlace,
  record: { readonly type: number; readonly value: Uint8Array; readonly timestampMs: number },
  voters: readonly ReplicaKey[] | null,
): Entry {
  const key = new Uint8Array(KEY_BYTES)
  viewOf(key).setInt16(2, record.type)
  const builder = new BatchBuilder()
  builder.append(record.timestampMs, key, record.value)
  const bytes = builder.buildSync({ baseOffset, leaderEpoch: epoch, control: true })
  return { epoch, baseOffset, endOffset: baseOffset + 1, bytes, voters }
}

function encode(codecs: MessageCodecs, version: number, fields: object): Uint8Array {
  writer.start()
  codecs.encoder(version)(writer, fields)
  const chunks = writer.finish()
  assert(chunks.length === 1)
  return Uint8Array.from((chunks[0] as Uint8Array).subarray(SIZE_PREFIX_BYTES))
}
