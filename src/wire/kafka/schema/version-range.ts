import { assert } from '../../../base/assert.ts'
import type { VersionRange } from './definition.ts'

/**
 * Arithmetic on version ranges. Pure; used when codecs are compiled and at start-up, never per
 * message.
 */
export interface Versions {
  readonly min: number
  /** Inclusive; Infinity for an open range. */
  readonly max: number
}

export const NO_VERSIONS: Versions = { min: 0, max: -1 }

/** Parses `3+`, `0-12`, `7`; undefined and `none` are the empty range. */
export function parseVersions(range: VersionRange | 'none' | undefined): Versions {
  if (range === undefined || range === 'none') return NO_VERSIONS
  const match = /^(\d+)(\+|-(\d+))?$/.exec(range)
  assert(match !== null, `version range ${range}`)
  const min = Number(match[1])
  if (match[2] === '+') return { min, max: Number.POSITIVE_INFINITY }
  const max = match[3] === undefined ? min : Number(match[3])
  assert(min <= max, `version range ${range}`)
  return { min, max }
}

export function inVersions(range: VersionRange | 'none' | undefined, version: number): boolean {
  const { min, max } = parseVersions(range)
  return version >= min && version <= max
}
