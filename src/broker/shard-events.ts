import { systemClock } from '../base/clock.ts'
import type { Logger } from '../metrics/logger.ts'
import type { ShardEvent } from '../shard/control.ts'
import type { DirectoryStates } from './directory-states.ts'

/** What shards say of their own accord: into the log, and into the states of the directories. */
export function onShardEvent(
  parts: { logger: Logger; progress: RecoveryProgress; states: DirectoryStates },
  shard: number,
  event: ShardEvent,
): void {
  const { logger, progress, states } = parts
  switch (event.kind) {
    case 'warning':
      logger.warn({ shard }, event.message)
      return
    case 'recovery':
      progress.report(shard, event)
      return
    case 'retention':
      logger.info(
        { shard, segments: event.segments, bytes: event.bytes },
        'retention deleted old segments',
      )
      return
    case 'compaction': {
      const { kind: _, directory, ...numbers } = event
      logger.info({ shard, directory, ...numbers }, 'compacted a partition')
      return
    }
    case 'directory-failed':
      states.fail(event.logDirectory, event.message)
      return
    case 'directory-short':
      states.short(event.logDirectory, event.code)
  }
}

/** Says how recovery goes, at most once a second. */
export class RecoveryProgress {
  readonly #logger: Logger
  recovered = { partitions: 0, ms: 0 }
  #expected = 0
  /** By shard. */
  readonly #done = new Map<number, { partitions: number; bytes: number }>()
  #saidMs = 0
  #startedMs = systemClock.monotonicMs()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  expect(partitions: number): void {
    this.#expected += partitions
  }

  report(shard: number, event: Extract<ShardEvent, { kind: 'recovery' }>): void {
    const { recoveredPartitions: partitions, recoveredBytes: bytes } = event
    this.#done.set(shard, { partitions, bytes })
    const now = systemClock.monotonicMs()
    if (this.#expected === 0 || now - this.#saidMs < 1000) return
    this.#saidMs = now
    const done = { partitions: 0, bytes: 0 }
    for (const one of this.#done.values()) {
      done.partitions += one.partitions
      done.bytes += one.bytes
    }
    this.#logger.info(
      { partitions: done.partitions, of: this.#expected, bytes: done.bytes },
      'recovering partitions after an unclean stop',
    )
  }

  finish(): void {
    if (this.#expected === 0) return
    const ms = Math.round(systemClock.monotonicMs() - this.#startedMs)
    this.recovered = { partitions: this.#expected, ms }
    this.#logger.info({ partitions: this.#expected, ms }, 'recovered after an unclean stop')
    this.#expected = 0
  }
}
