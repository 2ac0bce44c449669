/**
 * How a consumer of lanes sleeps and how a producer wakes it. One wait cell belongs to one
 * consuming thread and serves all lanes towards it; every producer holds a `Doorbell` on that cell,
 * and the consumer holds exactly one of the parkers below.
 *
 *   cell: 128 state i32 (how the consumer waits) │ 132 eventfd i32 │ guards of 128 bytes around
 *
 *   producer: store the lane's tail ─▶ load the state ─▶ not AWAKE? swap it to AWAKE, then wake
 *   consumer: store the state ─▶ load every lane's tail ─▶ all empty? sleep ─▶ swap to AWAKE
 *
 * Each side stores before it loads, and all four are sequentially consistent (`Atomics`). So of two
 * that race at least one sees the other: the producer finds the consumer parked, or the consumer
 * finds the message. Any other order loses wakes. The swap by compare-and-exchange lets exactly one
 * producer wake, once a park. A wake may be spurious (the signal of an earlier park arriving late):
 * whoever wakes drains, finds nothing and parks again.
 *
 * `Atomics.notify` does not wake a thread that waits in the kernel and an eventfd does not wake one
 * in `Atomics.wait`, therefore the state names the way.
 */
import { assert } from '../base/assert.ts'
import { APART_BYTES } from './lane-layout.ts'

/** States of the cell: how the consumer waits right now. */
export const AWAKE = 0
/** In `Atomics.wait` or `Atomics.waitAsync` on the state word. */
export const PARKED_ATOMICS = 1
/** In the kernel, on the cell's eventfd. */
export const PARKED_EVENTFD = 2

/** What became of a park. */
export type ParkOutcome = typeof PARK_SKIPPED | typeof PARK_WOKEN | typeof PARK_TIMED_OUT
/** A message was there already; nobody slept. */
export const PARK_SKIPPED = 0
/** A producer rang, or the signal of an earlier park arrived late. */
export const PARK_WOKEN = 1
/** Slept all the time and nobody rang. With a message there, a wake was lost or is not yet made. */
export const PARK_TIMED_OUT = 2

/** A consumer's cell, to be posted to the other threads as it is. */
export interface WaitCell {
  readonly buffer: SharedArrayBuffer
}

export const WAIT_CELL_STATE = APART_BYTES / 4
export const WAIT_CELL_EVENTFD = WAIT_CELL_STATE + 1
const WAIT_CELL_BYTES = 2 * APART_BYTES + 8

export function allocateWaitCell(): WaitCell {
  return { buffer: new SharedArrayBuffer(WAIT_CELL_BYTES) }
}

/** The words of a cell: index with WAIT_CELL_STATE and WAIT_CELL_EVENTFD. */
export function waitCellWords(cell: WaitCell): Int32Array {
  assert(cell.buffer.byteLength === WAIT_CELL_BYTES, 'not a wait cell')
  return new Int32Array(cell.buffer)
}

/** The part of the addon that a producer needs when some consumer waits on an eventfd. */
export interface EventfdSignal {
  eventfdSignal(fd: number): void
}

/** The part of the addon that a consumer needs to wait on an eventfd; clears it when signalled. */
export interface EventfdWait {
  eventfdWait(fd: number, timeoutMs: number): boolean
}

/** True when every lane of the consumer is empty: `LaneReader.isEmpty` of each of them. */
export type AllEmpty = () => boolean

/** The producer's side. Each producing thread has its own object on the consumer's cell. */
export class Doorbell {
  readonly #words: Int32Array
  readonly #eventfd: EventfdSignal | null
  #wakes = 0

  /** `eventfd` may be null where no consumer waits on an eventfd (no addon). */
  constructor(cell: WaitCell, eventfd: EventfdSignal | null = null) {
    this.#words = waitCellWords(cell)
    this.#eventfd = eventfd
  }

  /** How often this object woke the consumer. */
  get wakes(): number {
    return this.#wakes
  }

  /** Wakes the consumer if it sleeps. Call it after `commit`, once a batch; never before. */
  ring(): void {
    const state = Atomics.load(this.#words, WAIT_CELL_STATE)
    if (state === AWAKE) return
    // Whoever swaps wakes; the others, and later rings, find the consumer awake.
    if (Atomics.compareExchange(this.#words, WAIT_CELL_STATE, state, AWAKE) !== state) return
    this.#wakes++
    if (state === PARKED_ATOMICS) {
      Atomics.notify(this.#words, WAIT_CELL_STATE, 1)
    } else {
      assert(this.#eventfd !== null, 'consumer waits on an eventfd but the addon is missing')
      this.#eventfd.eventfdSignal(Atomics.load(this.#words, WAIT_CELL_EVENTFD))
    }
  }
}

/** A worker that sleeps in `Atomics.wait`. */
export class AtomicsParker {
  readonly #words: Int32Array
  readonly #allEmpty: AllEmpty

  constructor(cell: WaitCell, allEmpty: AllEmpty) {
    this.#words = waitCellWords(cell)
    this.#allEmpty = allEmpty
  }

  /**
   * Sleeps until a producer rings or `timeoutMs` are over; not at all when a lane has a message.
   */
  park(timeoutMs: number): ParkOutcome {
    assert(timeoutMs >= 0 && timeoutMs < Infinity, 'park must be bounded')
    if (!prepare(this.#words, PARKED_ATOMICS, this.#allEmpty)) return PARK_SKIPPED
    const outcome = Atomics.wait(this.#words, WAIT_CELL_STATE, PARKED_ATOMICS, timeoutMs)
    const rung = unpark(this.#words)
    return rung || outcome !== 'timed-out' ? PARK_WOKEN : PARK_TIMED_OUT
  }
}

/** A worker that sleeps in the kernel on an eventfd. The caller creates and closes `fd`. */
export class EventfdParker {
  readonly #words: Int32Array
  readonly #fd: number
  readonly #native: EventfdWait
  readonly #allEmpty: AllEmpty

  constructor(cell: WaitCell, allEmpty: AllEmpty, eventfd: { fd: number; native: EventfdWait }) {
    this.#words = waitCellWords(cell)
    this.#fd = eventfd.fd
    this.#native = eventfd.native
    this.#allEmpty = allEmpty
    Atomics.store(this.#words, WAIT_CELL_EVENTFD, eventfd.fd)
  }

  /**
   * Sleeps until a producer rings or `timeoutMs` are over; not at all when a lane has a message.
   */
  park(timeoutMs: number): ParkOutcome {
    assert(timeoutMs >= 0 && timeoutMs < Infinity, 'park must be bounded')
    if (!prepare(this.#words, PARKED_EVENTFD, this.#allEmpty)) return PARK_SKIPPED
    const signalled = this.#native.eventfdWait(this.#fd, timeoutMs)
    const rung = unpark(this.#words)
    return rung || signalled ? PARK_WOKEN : PARK_TIMED_OUT
  }
}

/**
 * The main thread with the addon: it never blocks, and its poller watches the eventfd. After each
 * turn of work `arm`; when the poller reports the descriptor, `acknowledge`, drain, `arm` again.
 */
export class EventfdArm {
  readonly #words: Int32Array
  readonly #fd: number
  readonly #native: EventfdWait
  readonly #allEmpty: AllEmpty

  constructor(cell: WaitCell, allEmpty: AllEmpty, eventfd: { fd: number; native: EventfdWait }) {
    this.#words = waitCellWords(cell)
    this.#fd = eventfd.fd
    this.#native = eventfd.native
    this.#allEmpty = allEmpty
    Atomics.store(this.#words, WAIT_CELL_EVENTFD, eventfd.fd)
  }

  /** Asks for a signal at the next message. False when one is there: drain and arm again. */
  arm(): boolean {
    return prepare(this.#words, PARKED_EVENTFD, this.#allEmpty)
  }

  /** Asks for no signal: main is at work for another reason and will drain anyway. */
  disarm(): void {
    unpark(this.#words)
  }

  /** The poller saw the descriptor: clears it, or a level-triggered poller reports it for ever. */
  acknowledge(): void {
    unpark(this.#words)
    this.#native.eventfdWait(this.#fd, 0)
  }
}

/**
 * The main thread without the addon, through `Atomics.waitAsync`. At most one promise is pending at
 * a time, however often it is armed and disarmed; it keeps no event loop alive.
 */
export class WaitAsyncParker {
  readonly #words: Int32Array
  readonly #allEmpty: AllEmpty
  readonly #settled = (): void => this.#onSettled()
  #onWake: (() => void) | null = null
  /** A waiter stands on the state word. It stays there across disarm and serves the next arm. */
  #pending = false

  constructor(cell: WaitCell, allEmpty: AllEmpty) {
    this.#words = waitCellWords(cell)
    this.#allEmpty = allEmpty
  }

  /**
   * Asks for one call of `onWake`, in a later turn of the event loop, when a producer rings. False
   * when a message is there already: no call follows; drain and arm again.
   */
  arm(onWake: () => void): boolean {
    this.#onWake = null
    if (!prepare(this.#words, PARKED_ATOMICS, this.#allEmpty)) return false
    if (!this.#pending) {
      const wait = Atomics.waitAsync(this.#words, WAIT_CELL_STATE, PARKED_ATOMICS)
      if (!wait.async) return false // A producer rang in between: it found the state, we the swap.
      this.#pending = true
      void wait.value.then(this.#settled)
    }
    this.#onWake = onWake
    return true
  }

  /** Takes the request back: main is at work for another reason and will drain anyway. */
  disarm(): void {
    this.#onWake = null
    unpark(this.#words)
  }

  /** Lets the pending promise settle, without a call. The parker may be armed again. */
  close(): void {
    this.disarm()
    if (this.#pending) Atomics.notify(this.#words, WAIT_CELL_STATE, 1)
  }

  #onSettled(): void {
    this.#pending = false
    const onWake = this.#onWake
    this.#onWake = null
    if (onWake === null) return
    unpark(this.#words)
    onWake()
  }
}

/** Declares the consumer parked, then looks again. False: stay awake, a message is there. */
function prepare(words: Int32Array, state: number, allEmpty: AllEmpty): boolean {
  Atomics.store(words, WAIT_CELL_STATE, state)
  if (allEmpty()) return true
  Atomics.store(words, WAIT_CELL_STATE, AWAKE)
  return false
}

/** Declares the consumer awake. True when a producer had done so. */
function unpark(words: Int32Array): boolean {
  return Atomics.exchange(words, WAIT_CELL_STATE, AWAKE) === AWAKE
}
