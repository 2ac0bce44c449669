/**
 * One production call and one test call per thing that storage tests need: a log on a disk in
 * memory with a clock that stands still, and batches for it.
 */
import assert from 'node:assert/strict'
import { viewOf } from '../../../src/base/bytes.ts'
import type { Clock } from '../../../src/base/clock.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { batchBaseOffset, batchBytes, batchLastOffset } from '../../../src/record/batch.ts'
import { BatchBuilder, type BuildOptions } from '../../../src/record/batch-builder.ts'
import { jsBatchEngine } from '../../../src/record/batch-engine-js.ts'
import { DeletedFiles } from '../../../src/storage/deleted-files.ts'
import {
  type AppendResult,
  DEFAULT_LOG_OPTIONS,
  type LogContext,
  type LogHint,
  type LogOptions,
  newAppendResult,
  PartitionLog,
  type ReadBound,
} from '../../../src/storage/log.ts'
import { MemoryFiles } from './memory-files.ts'

export const DIRECTORY = '/data/topic-0'
export const START_MS = 1_700_000_000_000

/** Seed of everything random in these tests; rerun with MILLRACE_SEED=<seed>. */
export const SEED = Number(process.env.MILLRACE_SEED ?? 20261122)
export const rerun = (seed: number): string => `rerun: MILLRACE_SEED=${seed} npm test`

export class ManualClock implements Clock {
  ms = 0
  wallMs(): number {
    return START_MS + this.ms
  }
  monotonicMs(): number {
    return this.ms
  }
}

export interface BatchSpec extends BuildOptions {
  readonly records?: number
  readonly valueBytes?: number
  readonly timestamp?: number
  /** First byte of each value: tells batches apart. */
  readonly fill?: number
}

export function batch(spec: BatchSpec = {}): Uint8Array {
  const builder = new BatchBuilder()
  const value = new Uint8Array(spec.valueBytes ?? 10).fill(spec.fill ?? 1)
  for (let i = 0; i < (spec.records ?? 1); i++) {
    builder.append(spec.timestamp ?? START_MS, null, value)
  }
  return builder.buildSync(spec)
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

export class Bench {
  files = new MemoryFiles()
  readonly clock = new ManualClock()
  readonly warnings: string[] = []
  options: LogOptions
  readonly progress: [number, number][] = []
  #deleted: { readonly of: MemoryFiles; readonly files: DeletedFiles } | null = null
  #nextToken = 1

  constructor(options: Partial<LogOptions> = {}) {
    this.options = { ...DEFAULT_LOG_OPTIONS, ...options }
    this.files.makeDirectory('/data')
  }

  /** The files of deleted segments that the running process remembers. */
  get deletedFiles(): DeletedFiles {
    if (this.#deleted?.of !== this.files) this.restart()
    return (this.#deleted as { readonly files: DeletedFiles }).files
  }

  /** A new process: it remembers nothing. */
  restart(): void {
    this.#deleted = { of: this.files, files: new DeletedFiles(this.files, this.clock) }
  }

  get context(): LogContext {
    return {
      files: this.files,
      deletedFiles: this.deletedFiles,
      clock: this.clock,
      engine: jsBatchEngine,
      onWarning: (message) => this.warnings.push(message),
      onRecoveryProgress: (_directory, done, total) => this.progress.push([done, total]),
    }
  }

  open(hint: LogHint | null = null): PartitionLog {
    return PartitionLog.open(this.context, { directory: DIRECTORY, options: this.options, hint })
  }

  path(name: string): string {
    return `${DIRECTORY}/${name}`
  }

  /** Starts and completes a flush. */
  flush(log: PartitionLog): void {
    const token = this.#nextToken++
    log.startFlush(token)
    while (log.flushing) {
      this.files.drainFlushes((done, error) => log.onFlushed(done, error))
    }
  }
}

export function stage(log: PartitionLog, run: Uint8Array, leaderEpoch = 0): AppendResult {
  const out = newAppendResult()
  log.append({ bytes: run, offset: 0, length: run.length }, leaderEpoch, out)
  return out
}

/** Appends and writes; the answer must be good. */
export function append(log: PartitionLog, run: Uint8Array, leaderEpoch = 0): AppendResult {
  const out = stage(log, run, leaderEpoch)
  assert.equal(out.errorCode, ErrorCode.NONE, out.errorMessage ?? '')
  log.writeStaged()
  return out
}

/** Appends; the answer must be a refusal, which is returned. */
export function refused(log: PartitionLog, run: Uint8Array, leaderEpoch = 0): ErrorCode {
  const out = stage(log, run, leaderEpoch)
  assert.notEqual(out.errorCode, ErrorCode.NONE)
  return out.errorCode
}

function stageCopy(log: PartitionLog, run: Uint8Array): AppendResult {
  const out = newAppendResult()
  log.appendAsFollower({ bytes: run, offset: 0, length: run.length }, out)
  return out
}

/** Appends as a follower and writes; the answer must be good. */
export function follow(log: PartitionLog, run: Uint8Array): AppendResult {
  const out = stageCopy(log, run)
  assert.equal(out.errorCode, ErrorCode.NONE, out.errorMessage ?? '')
  log.writeStaged()
  return out
}

export function refusedToFollow(log: PartitionLog, run: Uint8Array): ErrorCode {
  const out = stageCopy(log, run)
  assert.notEqual(out.errorCode, ErrorCode.NONE)
  return out.errorCode
}

/** Reads from `offset` to the bound, in steps of `maxBytes`; the whole batches, joined. */
export function readAll(
  log: PartitionLog,
  offset: number,
  { maxBytes = 1 << 20, upTo = 'highWatermark' as ReadBound } = {},
): Uint8Array {
  const parts: Uint8Array[] = []
  let next = offset
  for (;;) {
    const location = log.locate(next, maxBytes, { minOneBatch: true, upTo })
    assert(typeof location === 'object', `locate ${next}: error ${String(location)}`)
    if (location.length === 0) return concat(parts)
    const into = new Uint8Array(location.length)
    const bytes = log.read(location, into, 0)
    assert(bytes > 0)
    parts.push(into.subarray(0, bytes))
    next = offsetsIn(into.subarray(0, bytes)).at(-1)!.last + 1
  }
}

export interface OffsetRange {
  readonly base: number
  readonly last: number
}

export function offsetsIn(bytes: Uint8Array): OffsetRange[] {
  const view = viewOf(bytes)
  const ranges: OffsetRange[] = []
  for (let at = 0; at < bytes.length; at += batchBytes(view, at)) {
    ranges.push({ base: batchBaseOffset(view, at), last: batchLastOffset(view, at) })
  }
  return ranges
}
