/**
 * Whole reads and writes on top of `Files`, whose calls may be short, and files that are replaced
 * in one step. Runs on the thread that owns the files.
 */
import { assert } from '../base/assert.ts'
import type { FileId, Files } from './files.ts'
import { joinPath, TEMPORARY_SUFFIX } from './segment-names.ts'

/** Reads until the range is full or the file ends; returns the count. */
export function readFully(
  files: Files,
  file: FileId,
  position: number,
  into: { readonly bytes: Uint8Array; readonly offset: number; readonly length: number },
): number {
  let count = files.read(file, position, into)
  while (count < into.length) {
    const more = files.read(file, position + count, {
      bytes: into.bytes,
      offset: into.offset + count,
      length: into.length - count,
    })
    if (more === 0) break
    count += more
  }
  return count
}

export function writeFully(files: Files, file: FileId, position: number, bytes: Uint8Array): void {
  let written = 0
  while (written < bytes.length) {
    const ranges = [written, bytes.length - written]
    const count = files.write(file, position + written, { bytes, ranges, count: 1 })
    assert(count > 0 && count <= bytes.length - written, 'a write reports an impossible count')
    written += count
  }
}

/** The content of a file, or null when it does not exist. Throws BrokerError. */
export function readWhole(files: Files, path: string): Uint8Array | null {
  if (!files.exists(path)) return null
  const file = files.open(path, 'read')
  try {
    const bytes = new Uint8Array(files.size(file))
    const count = readFully(files, file, 0, { bytes, offset: 0, length: bytes.length })
    return count === bytes.length ? bytes : bytes.subarray(0, count)
  } finally {
    files.close(file)
  }
}

/** Writes a file from its start and returns it open: the caller flushes or closes it. */
export function writeNew(files: Files, path: string, bytes: Uint8Array): FileId {
  const file = files.open(path, 'create')
  try {
    files.truncate(file, 0)
    writeFully(files, file, 0, bytes)
    return file
  } catch (error) {
    files.close(file)
    throw error
  }
}

/**
 * Replaces `name` in one step: whoever finds the file finds all of the old or all of the new bytes.
 * Durable when it returns.
 */
export function replaceDurably(
  files: Files,
  directory: string,
  name: string,
  bytes: Uint8Array,
): void {
  replace(files, joinPath(directory, name), bytes, true)
  files.syncDirectory(directory)
}

/**
 * Replaces the file at `path` in one step; the name is durable after a sync of the directory, the
 * content if asked for. When it fails, nothing half-written stays behind if that can be helped.
 */
export function replace(files: Files, path: string, bytes: Uint8Array, durably: boolean): void {
  const temporary = path + TEMPORARY_SUFFIX
  try {
    const file = writeNew(files, temporary, bytes)
    try {
      if (durably) files.flushNow(file)
    } finally {
      files.close(file)
    }
    files.rename(temporary, path)
  } catch (error) {
    if (isTemporary(error)) files.remove(temporary)
    throw error
  }
}

/** The errno name of a failure of the world, or ''. */
export function systemCode(error: unknown): string {
  return systemProperty(error, 'code')
}

/** The system call that failed, or ''. */
export function systemCall(error: unknown): string {
  return systemProperty(error, 'syscall')
}

function systemProperty(error: unknown, name: 'code' | 'syscall'): string {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; depth++) {
    const value = (cause as { code?: unknown; syscall?: unknown })[name]
    if (typeof value === 'string') return value
    cause = cause.cause
  }
  return ''
}

/**
 * No room, no descriptor or no memory just now, as opposed to a disk that cannot be trusted: what
 * was asked for is refused, and works again when somebody has made room. A flush that failed is
 * never temporary, whatever its code: what it was to make durable may be lost (files.ts).
 */
export function isTemporary(error: unknown): boolean {
  const call = systemProperty(error, 'syscall')
  if (call === 'fsync' || call === 'fdatasync') return false
  return TEMPORARY_CODES.has(systemCode(error))
}

const TEMPORARY_CODES: ReadonlySet<string> = new Set([
  'ENOSPC',
  'EDQUOT',
  'EMFILE',
  'ENFILE',
  'ENOMEM',
])
