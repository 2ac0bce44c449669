/**
 * Bugs to plant: changes of the compiled code, each of a kind that has lost somebody's data, and
 * the invariants that are expected to find them. `find` must occur exactly once in the file.
 */
export interface Plant {
  readonly name: string
  /** What seeds look at, where bugs of its kind seldom show: see run-seeds.ts. */
  readonly focus?: string
  /**
   * Where seeds begin, for one that shows late: a little before the seed that found it last. It is
   * found from anywhere; this saves the time of those before.
   */
  readonly from?: number
  readonly changes: readonly {
    readonly file: string
    readonly find: string
    readonly replace: string
  }[]
}

export function plant(name: string, file: string, find: string, replace: string): Plant {
  return { name, changes: [{ file, find, replace }] }
}

export const PLANTS: readonly Plant[] = [
  plant(
    'acknowledges before the flush is done',
    'storage/flusher.js',
    'if (core.logEndOffset - core.recoveryPoint < core.options.flushMessages) {',
    'if (true) {',
  ),
  {
    ...plant(
      'calls durable what a failed flush lost',
      'storage/flusher.js',
      'if (error !== null) {',
      'if (false) {',
    ),
    from: 55,
  },
  plant(
    'flushes bytes but not the names of their files',
    'storage/flusher.js',
    'core.syncDirectory();\n            this.#retryAtMs',
    'this.#retryAtMs',
  ),
  {
    ...plant(
      'trusts names that a killed process left unsynced',
      'storage/recovery.js',
      'core.distrustNames();',
      '',
    ),
    from: 625,
  },
  {
    ...plant(
      'puts a compacted segment beside those that it replaces',
      'storage/compaction/log-compaction.js',
      'const retired = core.segments.retire(segment);',
      'const retired = null;',
    ),
    from: 18,
  },
  {
    ...plant(
      'recovers without checking CRCs',
      'storage/recovery.js',
      "return batch.isIntact(core.context.engine) ? null : 'the CRC does not match';",
      'return null;',
    ),
    from: 38,
  },
  {
    ...plant(
      'believes the page cache after a failed flush',
      'storage/recovery.js',
      'core.context.files.dropCached(file, 0, segment.bytes);',
      '',
    ),
    from: 55,
  },
  plant('forgets producers in recovery', 'storage/recovery.js', 'core.replay(scanner);', ''),
  plant(
    'takes a short write for a whole one',
    'storage/staged-writes.js',
    'let left = written;',
    'let left = wanted;',
  ),
  {
    ...plant(
      'keeps the producer state of batches that the disk refused',
      'storage/appender.js',
      'core.producers.refuse();',
      'core.producers.commit();',
    ),
    from: 15,
  },
  {
    ...plant(
      'keeps the place of batches that the disk refused',
      'storage/appender.js',
      'last.rollback(lastMark);',
      '',
    ),
    from: 8,
  },
  plant(
    'takes every batch of a known producer for new',
    'storage/appender.js',
    'if (producers.findDuplicate(batch)) {',
    'if (false) {',
  ),
  plant(
    'indexes the end of a batch instead of its start',
    'storage/segment.js',
    'indexes.offsets.append(batch.lastOffset - this.baseOffset, position);',
    'indexes.offsets.append(batch.lastOffset - this.baseOffset, position + batch.bytes);',
  ),
  {
    ...plant(
      'checkpoints the log end as the recovery point',
      'storage/log-core.js',
      'recoveryPoint: this.recoveryPoint,',
      'recoveryPoint: this.logEndOffset,',
    ),
    from: 7,
  },
  plant(
    'deletes records without writing down the log start',
    'storage/log-edits.js',
    'core.loadEpochs();\n        core.writeState({ logStartOffset: offset });',
    'core.loadEpochs();',
  ),
  {
    ...plant(
      'shows a log start of retention before it is durable',
      'storage/log-edits.js',
      'this.#syncRetired(oldest, path, isDirty);',
      '',
    ),
    from: 30,
  },
  plant(
    'deletes by size what retention.bytes keeps',
    'storage/retention.js',
    'kept >= options.retentionBytes',
    'bytes >= options.retentionBytes',
  ),
  {
    ...plant(
      'deletes by age what readers may not see yet',
      'storage/retention.js',
      'if (oldest.isFlushing || endOffset > highWatermark)',
      'if (oldest.isFlushing)',
    ),
    from: 240,
  },
  {
    ...plant(
      'goes by the first record when it deletes by age',
      'storage/retention.js',
      'return segment.maxTimestamp;',
      'return segment.firstTimestamp;',
    ),
    from: 44,
  },
  plant(
    'keeps stale index entries when it truncates',
    'storage/log-edits.js',
    'segments.rebuild(segment, file, core.options.indexIntervalBytes);',
    '',
  ),
  plant(
    'believes the clean marks of the run before the last',
    'storage/checkpoint.js',
    'const names = tableNames(files, logDirectory);\n    if (names.length === 0',
    'const names = [];\n    if (names.length === 0',
  ),
  plant(
    'serves above the high watermark',
    'storage/log-reader.js',
    "return upTo === 'logEnd' ? this.#core.logEndOffset : this.#core.highWatermark;",
    'return this.#core.logEndOffset;',
  ),
  plant('wakes nobody', 'shard/shard-state.js', 'if (offset >= log.highWatermark)', 'if (true)'),
  plant(
    'gives read memory back while main still uses it',
    'shard/read-service.js',
    'this.#answer.offset = extent;',
    'this.#answer.offset = extent; this.#state.egress.bytes.fill(0xdb, extent, extent + 9);',
  ),
  {
    ...plant(
      'takes a short read of old data for a whole one',
      'shard/read-service.js',
      'if (count === location.length && partition.openedLog === log) {',
      'if (partition.openedLog === log) {',
    ),
    from: 6,
  },
  {
    ...plant(
      'dies when the disk refuses to start a flush',
      'shard/shard-state.js',
      'this.refuse(partition, error);\n            if (log.failed)',
      'throw error;\n            if (log.failed)',
    ),
    from: 55,
  },
]
