import { getSystemErrorName } from 'node:util'
import { copyOf } from '../base/bytes.ts'
import { BROKEN, READABLE, SPILL_BYTES, type StreamHost, WRITABLE } from './native-events.ts'
import type { Transport, TransportOwner } from './transport.ts'

/**
 * One stream of `NativeSockets`: receives into the extent of the frame under way, and what follows
 * it into the shared spill, from where it is copied. Runs on main.
 */
interface QueuedSend {
  chunks: Uint8Array[]
  onSent: () => void
}

/** Receives in a row from one stream before others get their turn. */
const RECEIVES_PER_EVENT = 8
/** With large frames only the start of the next one should arrive in the spill. */
const SMALL_SPILL_BYTES = 4096

export class NativeTransport implements Transport {
  readonly remoteAddress: string
  readonly #sockets: StreamHost
  readonly #fd: number
  readonly #id: number
  #owner: TransportOwner | null = null
  /** Received bytes that the receiver could not take. */
  #left: Uint8Array | null = null
  #reading = true
  #wantsWritable = false
  #isClosed = false
  /** What follows when everything queued has been sent. */
  #whenSent: 'go on' | 'shut down' | 'close' = 'go on'
  readonly #queue: QueuedSend[] = []
  /** First chunk of the first queued send that has not left whole, and how much of it has. */
  #chunk = 0
  #skip = 0
  #queuedBytes = 0

  constructor(sockets: StreamHost, fd: number, remoteAddress: string) {
    this.#sockets = sockets
    this.#fd = fd
    this.remoteAddress = remoteAddress
    this.#id = sockets.watch(fd, { onEvents: (events) => this.#onEvents(events) })
  }

  start(owner: TransportOwner | null): void {
    this.#owner = owner
    if (owner === null) this.destroy()
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get hasUntaken(): boolean {
    return this.#left !== null
  }

  /** `bytes` came before this transport had the socket: `drainReceived` offers them. */
  prepend(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#left = bytes
  }

  pause(): void {
    if (!this.#reading) return
    this.#reading = false
    this.#updateInterest()
  }

  resume(): void {
    if (this.#reading || this.#left !== null) return
    this.#reading = true
    this.#updateInterest()
  }

  drainReceived(): void {
    const left = this.#left
    const owner = this.#owner
    if (left === null || owner === null) return
    this.#left = null
    const taken = owner.receiver.accept(left, 0, left.length)
    if (taken < left.length && !this.#isClosed) this.#left = left.subarray(taken)
    owner.onReceived()
  }

  send(chunks: Uint8Array[], onSent: () => void): void {
    if (this.#isClosed) {
      onSent()
      return
    }
    this.#enqueue({ chunks, onSent })
  }

  /**
   * As `send`, but what the system does not take now is copied, so that nobody's memory waits for
   * the client. `onSent` runs before this returns, `onLeft` later, when the copy has left: not at
   * all when there was none.
   */
  sendOrCopy(chunks: Uint8Array[], onSent: () => void, onLeft: () => void): void {
    if (!this.#isClosed) {
      const send: QueuedSend = { chunks, onSent: () => {} }
      this.#enqueue(send)
      if (this.#queue.lastIndexOf(send) >= 0) {
        this.#keepRest(send)
        send.onSent = onLeft
      }
    }
    onSent()
  }

  destroy(): void {
    this.#close(null)
  }

  end(): void {
    this.#whenSent = 'close'
    if (this.#queue.length === 0) this.#close(null)
  }

  /** Ends the sending half after what is queued; `onClosed` follows when the peer has ended. */
  shutDown(): void {
    if (this.#isClosed) return
    this.#whenSent = 'shut down'
    if (this.#queue.length === 0) this.#sockets.addon.tcpShutdown(this.#fd)
  }

  #enqueue(send: QueuedSend): void {
    for (const chunk of send.chunks) this.#queuedBytes += chunk.length
    this.#queue.push(send)
    if (!this.#wantsWritable) this.#sendQueued()
  }

  /** Replaces what of `send`, which is in the queue, has not left by a copy. */
  #keepRest(send: QueuedSend): void {
    const isFirst = this.#queue[0] === send
    const from = isFirst ? this.#chunk : 0
    const rest = send.chunks.slice(from)
    if (isFirst) {
      rest[0] = (rest[0] as Uint8Array).subarray(this.#skip)
      this.#chunk = 0
      this.#skip = 0
    }
    send.chunks = [Buffer.concat(rest)]
  }

  #onEvents(events: number): void {
    if ((events & WRITABLE) !== 0) this.#sendQueued()
    if (this.#isClosed) return
    if ((events & READABLE) !== 0 && this.#reading) this.#receive()
    else if ((events & BROKEN) !== 0) this.#close(null)
  }

  #receive(): void {
    const owner = this.#owner
    if (owner === null) return
    const { addon, arena, spillOffset } = this.#sockets
    const { receiver } = owner
    for (let i = 0; i < RECEIVES_PER_EVENT && this.#reading && !this.#isClosed; i++) {
      const head = receiver.expect() ? receiver.headBytes : 0
      const direct = receiver.directLength
      const spill = receiver.sendsLargeFrames ? SMALL_SPILL_BYTES : SPILL_BYTES
      const at = direct > 0 ? receiver.directOffset : spillOffset
      const count = addon.tcpReceive(
        this.#fd,
        arena.bytes,
        at,
        direct,
        spillOffset,
        head + spill,
        head,
      )
      const inFrame = Math.max(0, Math.min(count, head + direct))
      let rest: Uint8Array | null = null
      if (head > 0) rest = receiver.acceptExpected(arena.bytes, spillOffset, inFrame)
      else if (inFrame > 0) receiver.advance(inFrame)
      if (count <= 0) {
        if (count === 0 || !isRetry(-count)) this.#close(count === 0 ? null : errorOf(-count))
        return
      }
      const spilled = { from: spillOffset + head, to: spillOffset + head + count - inFrame }
      if (rest !== null) this.#keep(rest, copyOf(arena.bytes, spilled.from, spilled.to))
      else if (count > inFrame) this.#acceptSpill(owner, spilled)
      owner.onReceived()
      if (count < head + direct + spill) return // The socket is empty.
    }
  }

  #acceptSpill(owner: TransportOwner, { from, to }: { from: number; to: number }): void {
    const { bytes } = this.#sockets.arena
    const taken = owner.receiver.accept(bytes, from, to)
    // The spill serves the next stream: what was not taken is kept apart (64 KB at most).
    if (taken < to && !this.#isClosed) this.#left = copyOf(bytes, taken, to)
  }

  /** A frame was shorter than expected: what follows it is taken from here. */
  #keep(first: Uint8Array, second: Uint8Array): void {
    if (!this.#isClosed) this.#left = Buffer.concat([first, second])
  }

  #sendQueued(): void {
    while (this.#queue.length > 0 && !this.#isClosed) {
      const send = this.#queue[0] as QueuedSend
      const { chunks } = send
      const result = this.#sockets.addon.tcpSend(this.#fd, chunks, this.#chunk, this.#skip)
      if (result < 0) {
        if (isRetry(-result)) this.#wantWritable(true)
        else this.#close(errorOf(-result))
        return
      }
      this.#queuedBytes -= result
      if (!this.#advance(chunks, result)) continue
      this.#chunk = 0
      this.#skip = 0
      this.#queue.shift()
      send.onSent()
    }
    if (this.#isClosed) return
    this.#wantWritable(false)
    if (this.#whenSent === 'close') this.#close(null)
    else if (this.#whenSent === 'shut down') this.#sockets.addon.tcpShutdown(this.#fd)
  }

  /** Moves past `count` sent bytes; true when all chunks have left. */
  #advance(chunks: readonly Uint8Array[], count: number): boolean {
    let left = count
    while (this.#chunk < chunks.length) {
      const rest = (chunks[this.#chunk] as Uint8Array).length - this.#skip
      if (left < rest) {
        this.#skip += left
        return false
      }
      left -= rest
      this.#chunk++
      this.#skip = 0
    }
    return true
  }

  #wantWritable(wanted: boolean): void {
    if (this.#wantsWritable === wanted) return
    this.#wantsWritable = wanted
    this.#updateInterest()
  }

  #updateInterest(): void {
    if (this.#isClosed) return
    const wanted = { readable: this.#reading, writable: this.#wantsWritable }
    this.#sockets.interest(this.#id, this.#fd, wanted)
  }

  #close(error: Error | null): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#left = null
    this.#sockets.unwatch(this.#id, this.#fd)
    this.#sockets.addon.closeFd(this.#fd)
    this.#queuedBytes = 0
    for (const send of this.#queue.splice(0)) send.onSent()
    this.#owner?.onClosed(error)
  }
}

const EINTR = 4
const EAGAIN = 11

function isRetry(errno: number): boolean {
  return errno === EAGAIN || errno === EINTR
}

function errorOf(errno: number): Error {
  return new Error(getSystemErrorName(-errno))
}
