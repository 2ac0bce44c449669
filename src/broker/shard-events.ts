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
  #expected = 0
  #done = new Map<number, number>()
  #saidMs = 0
  #startedMs = systemClock.monotonicMs()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  expect(partitions: number): void {
    this.#expected += partitions
  }

  report(shard: number, event: Extract<ShardEvent, { kind: 'recovery' }>): void {
    this.#done.set(shard, event.partitionsDone)
    const now = systemClock.monotonicMs()
    if (this.#expected === 0 || now - this.#saidMs < 1000) return
    this.#saidMs = now
    let done = 0
    for (const count of this.#done.values()) done += count
    this.#logger.info(
      { partitions: done, of: this.#expected, bytes: event.bytesScanned },
      'recovering partitions after an unclean stop',
    )
  }

  finish(): void {
    if (this.#expected === 0) return
    const ms = Math.round(systemClock.monotonicMs() - this.#startedMs)
    this.#logger.info({ partitions: this.#expected, ms }, 'recovered after an unclean stop')
    this.#expected = 0
  }
}
