/**
 * Time of a simulated cluster: one event after another, each on behalf of one host, and after each
 * all promises that can go on have gone on before the next one comes. What an event starts belongs
 * to its host, so that it ends with the host's process and waits while that is paused.
 */
import type { Random } from '../../../src/base/random.ts'
import { EventClock } from '../event-clock.ts'
import { SimCrash } from '../sim-disk.ts'
import { require_ } from '../violation.ts'
import { outside, type SimHost, SimTimer, setHost, settle } from './platform.ts'
import type { HostFiles } from './sim-fs.ts'
import { type HostNetwork, type Network, type NetworkHost, networkOf } from './sim-network.ts'

const WALL_MS = 1_700_000_000_000

/** A shard's turn has no promise, and waits for none. */
export type EventKind = 'main' | 'shard'

export class World {
  readonly clock = new EventClock()
  readonly counters: Record<string, number> = {}
  /** Runs after each event, with the host that it was of. */
  onEvent: (host: Host, kind: EventKind) => void = () => undefined
  steps = 0
  stepsMax = 20_000_000
  trace = 0x811c9dc5
  /** What was thrown where nobody takes it; ends the run. */
  failure: unknown = null
  #entered: Host | null = null
  #kind: EventKind = 'main'

  get nowMs(): number {
    return this.clock.nowMs
  }

  count(what: string, by = 1): void {
    this.counters[what] = (this.counters[what] ?? 0) + by
  }

  /** Of what is counted so, the largest counts. */
  most(what: string, count: number): void {
    const name = `most ${what}`
    this.counters[name] = Math.max(this.counters[name] ?? 0, count)
  }

  note(value: number): void {
    this.trace = Math.imul(this.trace ^ (value | 0), 0x01000193) >>> 0
  }

  /** An event of a host begins. */
  enter(host: Host, kind: EventKind, run: () => void): void {
    this.#entered = host
    this.#kind = kind
    this.note(host.id)
    this.note(Math.floor(this.clock.nowMs * 1000))
    setHost(host)
    run()
  }

  async runFor(ms: number): Promise<void> {
    await this.runUntil(this.clock.nowMs + ms)
  }

  async runUntil(untilMs: number): Promise<void> {
    await outside(() => {
      while (this.clock.step(untilMs)) this.#afterStep()
    })
  }

  /** What was thrown where nobody takes it. A process that died has nothing more to say. */
  readonly loose = (error: unknown): void => {
    if (!(error instanceof SimCrash)) this.failure ??= error
  }

  #afterStep(): void {
    const host = this.#entered
    if (host === null) return
    this.#entered = null
    if (this.#kind === 'main') settle(this.loose)
    setHost(null)
    this.steps++
    require_(this.steps < this.stepsMax, 'a run ends', () => `${this.steps} events`)
    if (this.failure !== null) throw this.failure
    this.onEvent(host, this.#kind)
  }
}

interface HostEvent {
  readonly timer: SimTimer
  readonly life: number
  readonly kind: EventKind
  readonly run: () => void
}

/** A machine with a clock of its own, and the process that runs there. */
export class Host implements SimHost, NetworkHost {
  readonly id: number
  readonly address: string
  readonly world: World
  readonly random: Random
  readonly network: HostNetwork
  files: HostFiles | null = null
  /** Counts processes: what an older one started does not go on. */
  life = 0
  isUp = false
  isPowered = true
  isPaused = false
  /** How fast its clocks go. */
  rate = 1
  /** Of its wall clock, which may jump. */
  wallShiftMs = 0
  /** What came while it was paused. */
  #deferred: (() => void)[] = []

  constructor(
    world: World,
    network: Network,
    parts: { id: number; address: string; random: Random },
  ) {
    this.world = world
    this.id = parts.id
    this.address = parts.address
    this.random = parts.random
    this.network = networkOf(network, this)
    network.add(this)
  }

  nowMs(): number {
    return this.world.nowMs * this.rate
  }

  wallMs(): number {
    return Math.floor(WALL_MS + this.nowMs() + this.wallShiftMs)
  }

  after(delayMs: number, run: () => void, kind: EventKind = 'main'): SimTimer {
    const timer = new SimTimer(this.id)
    const { life } = this
    const enter = (): void => {
      if (!timer.isCancelled) this.#enter({ timer, life, kind, run })
    }
    this.world.clock.after(delayMs / this.rate, enter, timer)
    return timer
  }

  #enter(event: HostEvent): void {
    if (event.life !== this.life || event.timer.isCancelled) return
    if (this.isPaused) this.#deferred.push(() => this.#enter(event))
    else this.world.enter(this, event.kind, event.run)
  }

  /** A process begins: what it does first is `run`. */
  begin(run: () => void): void {
    this.life++
    this.isUp = true
    this.isPaused = false
    this.#deferred = []
    this.after(0, run)
  }

  /** The process is gone. */
  end(): void {
    this.life++
    this.isUp = false
    this.isPaused = false
    this.#deferred = []
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    if (!this.isPaused) return
    this.isPaused = false
    const { life } = this
    // One by one: each is an event.
    for (const run of this.#deferred.splice(0)) {
      this.world.clock.after(0, () => {
        if (life !== this.life) return
        if (this.isPaused) this.#deferred.push(run)
        else run()
      })
    }
  }
}
