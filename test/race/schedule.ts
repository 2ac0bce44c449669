/**
 * Steps real threads through the atomic operations of the ring, one at a time, in an order that the
 * test chooses: what a race needs luck for happens here on purpose, and the same way every time.
 *
 * An actor thread replaces the functions of its own `Atomics` object, so the code under test runs
 * unchanged. Each call announces itself and waits for a grant; granted, it runs the real operation
 * and goes on to its next call. `Atomics.wait` does not block: it tells the scheduler "asleep" and
 * comes back when another actor notifies, or as timed out when nobody is left who could.
 */
import assert from 'node:assert/strict'

/** What an actor does, as the scheduler sees it. */
const RUNNING = 0
const READY = 1
const ASLEEP = 2
const IDLE = 3

const STATUS = 0
const GRANT = 1
const NOTIFIED = 2
const WORDS_PER_ACTOR = 4

const STEPS_MAX = 10_000
const PATIENCE_MS = 10_000

const real = { ...pick() }

function pick() {
  const { load, store, exchange, compareExchange, wait, notify } = Atomics
  return { load, store, exchange, compareExchange, wait, notify }
}

export function allocateGate(actors: number): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * WORDS_PER_ACTOR * actors)
}

/** The actor's side: `serve` runs its body once for every run of the scheduler. */
export class Actor {
  readonly #words: Int32Array
  readonly #index: number
  #gated = false

  constructor(gate: SharedArrayBuffer, index: number) {
    this.#words = new Int32Array(gate)
    this.#index = index
    this.#install()
  }

  serve(body: () => void): never {
    for (;;) {
      this.#announce(IDLE)
      this.#gated = true
      body()
      this.#gated = false
    }
  }

  #announce(status: number): void {
    const at = this.#index * WORDS_PER_ACTOR
    real.store(this.#words, at + STATUS, status)
    real.notify(this.#words, at + STATUS)
    while (real.load(this.#words, at + GRANT) === 0) real.wait(this.#words, at + GRANT, 0)
    real.store(this.#words, at + GRANT, 0)
  }

  #install(): void {
    const gated = <A extends unknown[], R>(operation: (...args: A) => R) => {
      return (...args: A): R => {
        if (this.#gated) this.#announce(READY)
        return operation(...args)
      }
    }
    Object.assign(Atomics, {
      load: gated(real.load as (words: Int32Array, index: number) => number),
      store: gated(real.store as (words: Int32Array, index: number, value: number) => number),
      exchange: gated(real.exchange as (words: Int32Array, index: number, to: number) => number),
      compareExchange: gated(
        real.compareExchange as (words: Int32Array, i: number, from: number, to: number) => number,
      ),
      notify: gated(() => this.#notifySleepers()),
      wait: gated((words: Int32Array, index: number, expected: number) =>
        real.load(words, index) === expected ? this.#sleep() : 'not-equal',
      ),
    })
  }

  #sleep(): 'ok' | 'timed-out' {
    this.#announce(ASLEEP)
    return real.exchange(this.#words, this.#index * WORDS_PER_ACTOR + NOTIFIED, 0) === 1
      ? 'ok'
      : 'timed-out'
  }

  /**
   * There is one word to sleep on. Sleepers become ready; the scheduler decides when they go on.
   */
  #notifySleepers(): number {
    let count = 0
    for (let at = 0; at < this.#words.length; at += WORDS_PER_ACTOR) {
      if (real.compareExchange(this.#words, at + STATUS, ASLEEP, READY) !== ASLEEP) continue
      real.store(this.#words, at + NOTIFIED, 1)
      count++
    }
    return count
  }
}

/** Picks one of `count` actors that can go on. */
export type Choose = (count: number) => number

export class Scheduler {
  readonly #words: Int32Array
  readonly #actors: number

  constructor(gate: SharedArrayBuffer) {
    this.#words = new Int32Array(gate)
    this.#actors = this.#words.length / WORDS_PER_ACTOR
    for (let actor = 0; actor < this.#actors; actor++) this.#awaitStop(actor)
  }

  /**
   * Runs every actor's body once, to the end. Returns how often all who could go on were asleep:
   * somebody slept although nobody was left to wake him.
   */
  run(choose: Choose): number {
    for (let actor = 0; actor < this.#actors; actor++) this.#grant(actor)
    let stalls = 0
    for (let step = 0; step < STEPS_MAX; step++) {
      const ready = this.#withStatus(READY)
      if (ready.length > 0) {
        this.#grant(ready[choose(ready.length)] as number)
        continue
      }
      const asleep = this.#withStatus(ASLEEP)
      if (asleep.length === 0) return stalls
      stalls++
      this.#grant(asleep[0] as number) // Its bounded sleep is over.
    }
    return assert.fail('the actors do not come to an end')
  }

  #withStatus(status: number): number[] {
    const actors: number[] = []
    for (let actor = 0; actor < this.#actors; actor++) {
      if (real.load(this.#words, actor * WORDS_PER_ACTOR + STATUS) === status) actors.push(actor)
    }
    return actors
  }

  /** Lets one actor run up to its next operation. */
  #grant(actor: number): void {
    const at = actor * WORDS_PER_ACTOR
    real.store(this.#words, at + STATUS, RUNNING)
    real.store(this.#words, at + GRANT, 1)
    real.notify(this.#words, at + GRANT)
    this.#awaitStop(actor)
  }

  #awaitStop(actor: number): void {
    const at = actor * WORDS_PER_ACTOR
    while (real.load(this.#words, at + STATUS) === RUNNING) {
      const outcome = real.wait(this.#words, at + STATUS, RUNNING, PATIENCE_MS)
      assert.notEqual(outcome, 'timed-out', `actor ${actor} died or does not stop`)
    }
  }
}

/** Calls `run` with every possible sequence of choices; returns how many there are. */
export function exploreAll(run: (choose: Choose) => void): number {
  let prefix: number[] = []
  for (let runs = 1; ; runs++) {
    const trace: { choice: number; count: number }[] = []
    run((count) => {
      const choice = prefix[trace.length] ?? 0
      trace.push({ choice, count })
      return choice
    })
    while (trace.length > 0) {
      const last = trace[trace.length - 1] as { choice: number; count: number }
      if (last.choice + 1 < last.count) break
      trace.pop()
    }
    if (trace.length === 0) return runs
    prefix = trace.map(({ choice }, i) => (i === trace.length - 1 ? choice + 1 : choice))
  }
}
