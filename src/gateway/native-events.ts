import type { NativeAddon } from '../base/native.ts'
import type { Arena } from '../ring/arena.ts'

/**
 * What the addon's poller says of a descriptor, and what a stream needs of the sockets that it
 * belongs to.
 */
export const READABLE = 1
export const WRITABLE = 2
export const BROKEN = 4

/** Memory for what arrives behind the frame under way, shared by all streams. */
export const SPILL_BYTES = 64 * 1024

export interface Watched {
  onEvents(events: number): void
}

export interface StreamHost {
  readonly addon: NativeAddon
  /** Where received bytes go. */
  readonly arena: Arena
  /** Start of the spill, SPILL_BYTES long, in the arena. */
  readonly spillOffset: number
  /** Starts watching for readability; returns the id that names the descriptor from here on. */
  watch(fd: number, watched: Watched): number
  interest(id: number, fd: number, wanted: { readable: boolean; writable: boolean }): void
  unwatch(id: number, fd: number): void
}
