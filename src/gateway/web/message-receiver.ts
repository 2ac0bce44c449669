import { assert } from '../../base/assert.ts'
import { copyOf } from '../../base/bytes.ts'
import { RequestFrame } from '../../broker/request-frame.ts'
import type { Arena } from '../../ring/arena.ts'
import { type ReceiveMemory, SMALL_BYTES } from '../receive-memory.ts'
import type { StreamReceiver } from '../transport.ts'
import {
  CONTROL_BYTES_MAX,
  FIN,
  HEAD_BYTES_MAX,
  headBytes,
  maskKey,
  OPCODE,
  Opcode,
  payloadLength,
  wrongStart,
} from './frame-head.ts'
import { type MessageSink, ViolationCode } from './message-sink.ts'
import { turnKey, type Unmask } from './unmask.ts'

/**
 * Cuts one client's byte stream into WebSocket messages, the mask undone. Runs on main.
 *
 * A message that lies whole in what was received is handed over where it lies; every other one is
 * collected in one extent of the ingress arena, its fragments joined. As in `FrameReceiver` memory
 * grows as bytes arrive and never by a declared length, except for a connection that has completed
 * large messages, an idle connection owns no extent, and who finds no memory is `stalled`.
 */

/** From this size on a message is worth an extent before its head has arrived. */
const LARGE_BYTES = 32 * 1024
/** Of a frame of up to 125 bytes. */
const SMALL_HEAD_BYTES = 6
/** Room in front of what is received behind an expected head, for payload that came in the head. */
const SLACK_BYTES = 8
const EMPTY = new Uint8Array(0)

export class MessageReceiver implements StreamReceiver {
  readonly headBytes = HEAD_BYTES_MAX
  readonly #memory: ReceiveMemory
  readonly #arena: Arena
  readonly #sink: MessageSink
  readonly #unmask: Unmask
  readonly #messageBytesMax: number
  /** What has arrived of a head that is not whole; made when one is cut. */
  #head: Uint8Array = EMPTY
  #headFilled = 0
  /** Payload bytes of the frame under way that are still to come, −1 between frames. */
  #remaining = -1
  #first = 0
  /** For the next payload byte. */
  #key = 0
  /** The control frame under way; made when one is cut. */
  #control: Uint8Array = EMPTY
  #controlFilled = 0
  /** A fragmented message is under way. */
  #isContinued = false
  /** Of the message under way, or of the one that is expected; −1 for none. */
  #extent = -1
  /** Where the message begins in the arena: at most SLACK_BYTES into its extent. */
  #start = 0
  /** What the extent holds from `#start` on. */
  #capacity = 0
  #filled = 0
  #isExpecting = false
  /** Largest message that this connection has recently completed, slowly forgotten. */
  #trustedBytes = 0
  #stalled = false
  #closed = false

  constructor(
    memory: ReceiveMemory,
    sink: MessageSink,
    options: { readonly messageBytesMax: number; readonly unmask: Unmask },
  ) {
    this.#memory = memory
    this.#arena = memory.arena
    this.#sink = sink
    this.#unmask = options.unmask
    this.#messageBytesMax = options.messageBytesMax
  }

  /** True while the arena has no room for the next bytes. */
  get stalled(): boolean {
    return this.#stalled
  }

  /** Bytes of arena that an unfinished message holds. */
  get heldBytes(): number {
    return this.#extent < 0 ? 0 : this.#arena.capacityOf(this.#extent)
  }

  get sendsLargeFrames(): boolean {
    return this.#trustedBytes >= LARGE_BYTES
  }

  get directOffset(): number {
    return this.#start + this.#filled
  }

  get directLength(): number {
    if (this.#extent < 0 || this.#stalled) return 0
    if (this.#isExpecting) return Math.min(this.#capacity, this.#trustedBytes)
    if (this.#remaining < 0 || this.#isControl) return 0 // Between the fragments of a message.
    return Math.min(this.#capacity - this.#filled, this.#remaining)
  }

  expect(): boolean {
    const isIdle = this.#remaining < 0 && this.#headFilled === 0 && !this.#isContinued
    if (!this.sendsLargeFrames || !isIdle || this.#closed) return false
    const extent = this.#memory.allocateSpare(this.#trustedBytes + SLACK_BYTES)
    if (extent < 0) return false
    this.#useExtent(extent, SLACK_BYTES)
    this.#isExpecting = true
    return true
  }

  /**
   * A head of a large frame may be shorter than what was received for it: then what is payload goes
   * in front of what came behind. Whatever else came is offered again, as it is.
   */
  acceptExpected(bytes: Uint8Array, at: number, count: number): Uint8Array | null {
    assert(this.#isExpecting && count <= HEAD_BYTES_MAX + this.directLength)
    this.#isExpecting = false
    const inHead = Math.min(count, HEAD_BYTES_MAX)
    const need = inHead < 2 ? 0 : headBytes(bytes[at + 1] as number)
    const isBinary = ((bytes[at] as number) & OPCODE) === Opcode.BINARY
    if (!isBinary || need <= SMALL_HEAD_BYTES || need > inHead) {
      return this.#decline(bytes, at, count)
    }
    if (!this.#begin(bytes, at, need)) return null
    const early = inHead - need
    this.#start -= early
    this.#capacity += early
    for (let i = 0; i < early; i++) {
      this.#arena.bytes[this.#start + i] = bytes[at + need + i] as number
    }
    const here = count - need
    const taken = Math.min(here, this.#remaining)
    const from = this.#start + taken
    const rest = here > taken ? copyOf(this.#arena.bytes, from, this.#start + here) : null
    if ((this.#first & FIN) !== 0) this.#trim(this.#remaining)
    if (taken > 0) this.advance(taken)
    return rest
  }

  advance(count: number): void {
    assert(count <= this.directLength)
    this.#unmask(this.#arena.bytes, this.directOffset, count, this.#key)
    this.#key = turnKey(this.#key, count)
    this.#filled += count
    this.#remaining -= count
    if (this.#remaining === 0) this.#endFrame()
    else if (this.#filled === this.#capacity) this.#grow()
  }

  accept(bytes: Uint8Array, from: number, to: number): number {
    let at = from
    while (at < to && !this.#stalled && !this.#closed) {
      if (this.#remaining < 0) at = this.#acceptHead(bytes, at, to)
      else if (this.#isControl) at = this.#acceptControl(bytes, at, to)
      else at = this.#acceptPayload(bytes, at, to)
    }
    return this.#closed ? to : at // What comes after the end is of no interest.
  }

  /** Memory may have come back; true when the receiver takes bytes again. */
  retry(): boolean {
    if (!this.#stalled) return true
    this.#stalled = false
    if (this.#extent >= 0) this.#grow()
    else this.#allocate()
    return !this.#stalled
  }

  /** Gives back what an unfinished message holds. What comes after it is dropped. */
  close(): void {
    this.#closed = true
    this.#stalled = false
    this.#isExpecting = false
    this.#release()
  }

  get #isControl(): boolean {
    return (this.#first & OPCODE) >= Opcode.CLOSE
  }

  #acceptHead(bytes: Uint8Array, from: number, to: number): number {
    if (this.#headFilled === 0 && to - from >= 2) {
      const need = headBytes(bytes[from + 1] as number)
      if (need <= to - from) {
        this.#begin(bytes, from, need)
        return from + need
      }
    }
    if (this.#head.length === 0) this.#head = new Uint8Array(HEAD_BYTES_MAX)
    const head = this.#head
    let at = from
    while (at < to) {
      head[this.#headFilled++] = bytes[at++] as number
      if (this.#headFilled < 2) continue
      // A frame that is wrong from the start may be shorter than it says.
      if (this.#headFilled === 2 && !this.#mayBegin(head[0] as number, head[1] as number)) break
      const need = headBytes(head[1] as number)
      if (this.#headFilled < need) continue
      this.#headFilled = 0
      this.#begin(head, 0, need)
      break
    }
    return at
  }

  #mayBegin(first: number, second: number): boolean {
    const wrong = wrongStart(first, second, this.#isContinued)
    if (wrong !== null) {
      this.#violate(ViolationCode.PROTOCOL, wrong)
    } else if ((first & OPCODE) === Opcode.TEXT) {
      this.#violate(ViolationCode.UNSUPPORTED, 'only binary messages are understood')
    }
    return !this.#closed
  }

  /** A whole head. False when it ends the connection. */
  #begin(bytes: Uint8Array, at: number, count: number): boolean {
    const first = bytes[at] as number
    if (!this.#mayBegin(first, bytes[at + 1] as number)) return false
    const length = payloadLength(bytes, at)
    if (length < 0) {
      this.#violate(ViolationCode.PROTOCOL, 'a length is written wider than it needs')
      return false
    }
    const isControl = (first & OPCODE) >= Opcode.CLOSE
    if (!isControl && this.#filled + length > this.#messageBytesMax) {
      const reason = `a message is larger than ${this.#messageBytesMax} bytes`
      this.#violate(ViolationCode.TOO_LARGE, reason)
      return false
    }
    this.#first = first
    this.#remaining = length
    this.#key = maskKey(bytes, at, count)
    if (length === 0) this.#endFrame()
    return true
  }

  #acceptControl(bytes: Uint8Array, from: number, to: number): number {
    const count = Math.min(to - from, this.#remaining)
    if (count === this.#remaining && this.#controlFilled === 0) {
      this.#unmask(bytes, from, count, this.#key)
      this.#remaining = -1
      this.#sink.onControl(this.#first & OPCODE, bytes.subarray(from, from + count))
      return from + count
    }
    if (this.#control.length === 0) this.#control = new Uint8Array(CONTROL_BYTES_MAX)
    this.#control.set(bytes.subarray(from, from + count), this.#controlFilled)
    this.#controlFilled += count
    this.#remaining -= count
    if (this.#remaining === 0) {
      this.#unmask(this.#control, 0, this.#controlFilled, this.#key)
      this.#endFrame()
    }
    return from + count
  }

  #acceptPayload(bytes: Uint8Array, from: number, to: number): number {
    if (this.#extent < 0) {
      if ((this.#first & FIN) !== 0 && this.#remaining <= to - from) {
        return this.#acceptWhole(bytes, from)
      }
      if (!this.#allocate()) return from
    } else if (this.#filled === this.#capacity && !this.#grow()) {
      return from // A fragment before this one has filled the extent.
    }
    const count = Math.min(to - from, this.directLength)
    this.#arena.bytes.set(bytes.subarray(from, from + count), this.directOffset)
    this.advance(count)
    return from + count
  }

  #acceptWhole(bytes: Uint8Array, from: number): number {
    const to = from + this.#remaining
    this.#unmask(bytes, from, this.#remaining, this.#key)
    this.#trust(this.#remaining)
    this.#remaining = -1
    this.#isContinued = false
    this.#sink.onMessage(bytes.subarray(from, to), null)
    return to
  }

  #endFrame(): void {
    this.#remaining = -1
    if (this.#isControl) {
      const payload = this.#control.subarray(0, this.#controlFilled)
      this.#controlFilled = 0
      this.#sink.onControl(this.#first & OPCODE, payload)
    } else if ((this.#first & FIN) === 0) {
      this.#isContinued = true
    } else {
      this.#isContinued = false
      this.#endMessage()
    }
  }

  #endMessage(): void {
    if (this.#extent < 0) {
      this.#sink.onMessage(EMPTY, null)
      return
    }
    this.#trust(this.#filled)
    this.#trim(this.#filled)
    const arena = this.#arena
    const offset = this.#extent
    const [from, to] = [this.#start, this.#start + this.#filled]
    const generation = arena.generationOf(offset)
    const frame = new RequestFrame(arena, { offset, length: to - offset, generation })
    this.#extent = -1
    this.#filled = 0
    this.#memory.done(this)
    this.#sink.onMessage(arena.bytes.subarray(from, to), frame)
    frame.release()
  }

  #trust(bytes: number): void {
    this.#trustedBytes = Math.max(bytes, this.#trustedBytes - (this.#trustedBytes >> 3))
  }

  /** No large frame came where one was expected: all of it is for `accept`. */
  #decline(bytes: Uint8Array, at: number, count: number): Uint8Array | null {
    const inHead = Math.min(count, HEAD_BYTES_MAX)
    const all = new Uint8Array(count)
    all.set(bytes.subarray(at, at + inHead))
    all.set(this.#arena.bytes.subarray(this.#start, this.#start + count - inHead), inHead)
    this.#release()
    return count === 0 ? null : all
  }

  #allocate(): boolean {
    const wanted = this.#room(Math.max(SMALL_BYTES, this.#trustedBytes))
    let extent = this.#memory.allocate(this, wanted)
    if (extent < 0 && wanted > SMALL_BYTES) extent = this.#memory.allocate(this, SMALL_BYTES)
    if (extent < 0) {
      this.#stalled = true
      return false
    }
    this.#useExtent(extent, 0)
    return true
  }

  #grow(): boolean {
    const extent = this.#memory.allocate(this, this.#room(this.#capacity * 2))
    if (extent < 0) {
      this.#stalled = true
      return false
    }
    const { bytes } = this.#arena
    bytes.copyWithin(extent, this.#start, this.#start + this.#filled)
    this.#arena.free(this.#extent, this.#arena.generationOf(this.#extent))
    const filled = this.#filled
    this.#useExtent(extent, 0)
    this.#filled = filled
    return true
  }

  /** `bytes`, or less where the message is known to be smaller. */
  #room(bytes: number): number {
    const isLast = (this.#first & FIN) !== 0 && this.#remaining >= 0
    return Math.min(bytes, isLast ? this.#filled + this.#remaining : this.#messageBytesMax)
  }

  #useExtent(extent: number, slack: number): void {
    this.#extent = extent
    this.#start = extent + slack
    this.#capacity = this.#arena.capacityOf(extent) - slack
    this.#filled = 0
  }

  /** Gives back what the extent has beyond a message of `bytes`. */
  #trim(bytes: number): void {
    const slack = this.#start - this.#extent
    if (slack + bytes >= this.#arena.capacityOf(this.#extent)) return
    this.#arena.trim(this.#extent, slack + bytes)
    this.#capacity = this.#arena.capacityOf(this.#extent) - slack
  }

  #violate(code: number, reason: string): void {
    this.close()
    this.#sink.onViolation(code, reason)
  }

  #release(): void {
    this.#memory.done(this)
    if (this.#extent < 0) return
    this.#arena.free(this.#extent, this.#arena.generationOf(this.#extent))
    this.#extent = -1
    this.#filled = 0
  }
}
