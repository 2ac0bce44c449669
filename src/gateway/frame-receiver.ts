import { assert } from '../base/assert.ts'
import { copyOf } from '../base/bytes.ts'
import type { Arena } from '../ring/arena.ts'
import { type ReceiveMemory, SMALL_BYTES } from './receive-memory.ts'
import type { StreamReceiver } from './transport.ts'

/**
 * Cuts one connection's byte stream into length-prefixed frames, each contiguous in one extent of
 * the ingress arena. Runs on main.
 *
 * Memory grows as bytes arrive, never by a declared length: a frame starts with a small extent and
 * doubles, except that a connection which has completed large frames may start with one of that
 * size (it has already shown that it sends what it declares). An idle connection owns no extent.
 * With `expect` such a connection's next frame can be received whole in one call, prefix apart.
 *
 * When the arena is exhausted the receiver is `stalled`: it takes no byte until `retry` succeeds,
 * and the transport must stop reading. Between frames it also stops when the sink has enough.
 */
export interface FrameSink {
  /** False while no further frame is wanted; asked before each, however many arrive at once. */
  mayTake(): boolean
  /** A whole frame, without its length prefix. The sink owns the extent from here on. */
  onFrame(offset: number, length: number, generation: number): void
  /** The stream is broken: a negative or too large length. Nothing more is accepted. */
  onFramingError(declaredBytes: number): void
}

export const PREFIX_BYTES = 4
/** From this size on a frame is worth an extent before its length has arrived. */
const LARGE_FRAME_BYTES = 32 * 1024

export class FrameReceiver implements StreamReceiver {
  readonly headBytes = PREFIX_BYTES
  readonly #memory: ReceiveMemory
  readonly #arena: Arena
  readonly #sink: FrameSink
  readonly #frameBytesMax: number
  #prefix = 0
  #prefixBytes = 0
  /** Declared bytes of the frame under way, −1 between frames. */
  #declared = -1
  #extent = -1
  #capacity = 0
  #filled = 0
  /** Largest frame that this connection has recently completed, slowly forgotten. */
  #trustedBytes = 0
  #stalled = false
  #closed = false

  constructor(memory: ReceiveMemory, sink: FrameSink, frameBytesMax: number) {
    this.#memory = memory
    this.#arena = memory.arena
    this.#sink = sink
    this.#frameBytesMax = frameBytesMax
  }

  /** True while the arena has no room for the next bytes. */
  get stalled(): boolean {
    return this.#stalled
  }

  /** Bytes of arena that an unfinished frame holds. */
  get heldBytes(): number {
    return this.#extent < 0 ? 0 : this.#capacity
  }

  get sendsLargeFrames(): boolean {
    return this.#trustedBytes >= LARGE_FRAME_BYTES
  }

  /** True between frames: nothing of an unfinished frame has arrived. */
  get isIdle(): boolean {
    return this.#declared < 0 && this.#prefixBytes === 0
  }

  get directOffset(): number {
    return this.#extent + this.#filled
  }

  get directLength(): number {
    if (this.#extent < 0 || this.#stalled) return 0
    const length = this.#declared < 0 ? this.#trustedBytes : this.#declared
    return Math.min(this.#capacity, length) - this.#filled
  }

  expect(): boolean {
    if (!this.sendsLargeFrames || !this.isIdle || this.#closed || !this.#sink.mayTake())
      return false
    this.#extent = this.#memory.allocateSpare(this.#trustedBytes)
    if (this.#extent < 0) return false
    this.#capacity = this.#arena.capacityOf(this.#extent)
    return true
  }

  acceptExpected(bytes: Uint8Array, at: number, count: number): Uint8Array | null {
    assert(this.#extent >= 0 && this.#declared < 0 && count <= PREFIX_BYTES + this.directLength)
    const extent = this.#extent
    this.#acceptPrefix(bytes, at, at + Math.min(count, PREFIX_BYTES))
    if (this.#declared < 0) {
      this.#release() // No whole prefix, or a broken one.
      return null
    }
    const body = Math.max(0, count - PREFIX_BYTES)
    const taken = Math.min(body, this.#declared)
    const rest = body > taken ? copyOf(this.#arena.bytes, extent + taken, extent + body) : null
    if (this.#declared < this.#capacity) {
      this.#arena.trim(extent, this.#declared)
      this.#capacity = this.#arena.capacityOf(extent)
    }
    this.advance(taken)
    return rest
  }

  advance(count: number): void {
    assert(count <= this.directLength)
    this.#filled += count
    if (this.#filled === this.#declared) this.#complete()
    else if (this.#filled === this.#capacity) this.#grow()
  }

  /** Takes less than all when it has stalled or closed, or when the sink has enough. */
  accept(bytes: Uint8Array, from: number, to: number): number {
    let at = from
    while (at < to && !this.#stalled && !this.#closed) {
      if (this.#declared < 0) {
        if (this.#prefixBytes === 0 && !this.#sink.mayTake()) break
        at = this.#acceptPrefix(bytes, at, to)
        continue
      }
      if (this.#extent < 0 && !this.#begin()) break
      const count = Math.min(to - at, this.directLength)
      copy(bytes, at, this.#arena.bytes, this.directOffset, count)
      at += count
      this.advance(count)
    }
    return at
  }

  /** Tries again after memory came back; true when the receiver takes bytes again. */
  retry(): boolean {
    if (!this.#stalled) return true
    this.#stalled = false
    if (this.#extent >= 0) this.#grow()
    else if (this.#declared >= 0) this.#begin()
    return !this.#stalled
  }

  /** Gives back what an unfinished frame holds. Nothing is accepted after it. */
  close(): void {
    this.#closed = true
    this.#release()
  }

  #acceptPrefix(bytes: Uint8Array, from: number, to: number): number {
    let at = from
    while (at < to && this.#prefixBytes < PREFIX_BYTES) {
      this.#prefix = (this.#prefix << 8) | (bytes[at++] as number)
      this.#prefixBytes++
    }
    if (this.#prefixBytes < PREFIX_BYTES) return at
    const declared = this.#prefix
    this.#prefix = 0
    this.#prefixBytes = 0
    if (declared <= 0 || declared > this.#frameBytesMax) {
      this.#closed = true
      this.#sink.onFramingError(declared)
      return at
    }
    this.#declared = declared
    return at
  }

  #begin(): boolean {
    const least = Math.min(this.#declared, SMALL_BYTES)
    const wanted = Math.min(this.#declared, Math.max(SMALL_BYTES, this.#trustedBytes))
    let extent = this.#memory.allocate(this, wanted)
    if (extent < 0 && wanted > least) extent = this.#memory.allocate(this, least)
    if (extent < 0) {
      this.#stalled = true
      return false
    }
    this.#extent = extent
    this.#capacity = this.#arena.capacityOf(extent)
    this.#filled = 0
    return true
  }

  #grow(): void {
    const wanted = Math.min(this.#declared, this.#capacity * 2)
    const extent = this.#memory.allocate(this, wanted)
    if (extent < 0) {
      this.#stalled = true
      return
    }
    this.#arena.bytes.copyWithin(extent, this.#extent, this.#extent + this.#filled)
    this.#arena.free(this.#extent, this.#arena.generationOf(this.#extent))
    this.#extent = extent
    this.#capacity = this.#arena.capacityOf(extent)
  }

  #complete(): void {
    const extent = this.#extent
    const length = this.#declared
    this.#trustedBytes = Math.max(length, this.#trustedBytes - (this.#trustedBytes >> 3))
    this.#extent = -1
    this.#declared = -1
    this.#filled = 0
    this.#memory.done(this)
    this.#sink.onFrame(extent, length, this.#arena.generationOf(extent))
  }

  #release(): void {
    this.#memory.done(this)
    if (this.#extent < 0) return
    this.#arena.free(this.#extent, this.#arena.generationOf(this.#extent))
    this.#extent = -1
    this.#declared = -1
    this.#filled = 0
  }
}

/** Short copies byte by byte: a subarray and a call cost more than the bytes. */
function copy(
  source: Uint8Array,
  sourceAt: number,
  target: Uint8Array,
  targetAt: number,
  count: number,
): void {
  if (count <= 64) {
    for (let i = 0; i < count; i++) target[targetAt + i] = source[sourceAt + i] as number
    return
  }
  // The spill lies in the same arena as the extents.
  if (source === target) target.copyWithin(targetAt, sourceAt, sourceAt + count)
  else target.set(source.subarray(sourceAt, sourceAt + count), targetAt)
}
