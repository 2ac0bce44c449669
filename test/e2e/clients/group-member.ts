/**
 * A member of a group in a process of its own, so that it can be killed and paused. It says in
 * lines of JSON what it is assigned, reads and commits (`python/group_member.py` describes them);
 * kcat says it in its own words.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'

export interface MemberCommand {
  readonly program: string
  readonly options: readonly string[]
}

export interface Place {
  readonly partition: number
  readonly offset: number
}

/** A commit that was acknowledged. */
export interface CommittedRange {
  readonly partition: number
  /** The offset of the first record that was read for it. */
  readonly from: number
  /** What was committed: exclusive. */
  readonly to: number
}

/** That a member had a partition, from then until then (exclusive), in microseconds. */
export interface Ownership {
  readonly partition: string
  readonly fromUs: number
  readonly untilUs: number
}

interface Line {
  readonly assigned?: readonly string[]
  readonly at?: number
  readonly value?: string
  readonly partition?: number
  readonly offset?: number
  readonly committed?: readonly (readonly [number, number, number])[]
  readonly error?: string
  readonly held?: true
}

/** The machine's monotonic clock, which the members use as well. */
export function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n)
}

export class GroupMember {
  readonly #process: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #ended: Promise<unknown>
  /** Since when it has each of `assigned`. */
  #since = new Map<string, number>()
  readonly #owned: Ownership[] = []
  #onHeld: (() => void) | null = null
  /** As 'topic-partition'. */
  assigned: readonly string[] = []
  /** Values. */
  readonly seen: string[] = []
  readonly places: Place[] = []
  readonly commits: CommittedRange[] = []
  readonly errors: string[] = []
  stderr = ''
  isPaused = false

  constructor({ program, options }: MemberCommand) {
    this.#process = spawn(program, options, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#ended = once(this.#process, 'close')
    this.#process.stdin.on('error', () => {}) // 'close' tells.
    eachLine(this.#process.stdout, (line) => this.read(line))
    eachLine(this.#process.stderr, (line) => {
      this.stderr = `${this.stderr}${line}\n`.slice(-10_000)
      this.readComplaint(line)
    })
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null
  }

  /** What it had, and has: until now at least. */
  get owned(): readonly Ownership[] {
    const now = nowUs()
    const current = [...this.#since].map(([partition, fromUs]) => {
      return { partition, fromUs, untilUs: now }
    })
    return [...this.#owned, ...current]
  }

  /** A line of its standard output. */
  protected read(line: string): void {
    const said = JSON.parse(line) as Line
    if (said.value !== undefined) this.seen.push(said.value)
    if (said.offset !== undefined) {
      this.places.push({ partition: said.partition ?? 0, offset: said.offset })
    }
    for (const [partition, from, to] of said.committed ?? []) {
      this.commits.push({ partition, from, to })
    }
    if (said.held === true) this.#onHeld?.()
    if (said.error !== undefined) this.errors.push(said.error)
    // What it said just before it was paused, holds no more.
    if (said.assigned !== undefined && !this.isPaused) this.own(said.assigned, said.at ?? nowUs())
  }

  /** A line of its standard error. */
  protected readComplaint(_line: string): void {}

  /** It has exactly these from `atUs` on. */
  protected own(assigned: readonly string[], atUs: number): void {
    for (const [partition, fromUs] of this.#since) {
      if (assigned.includes(partition)) continue
      this.#owned.push({ partition, fromUs, untilUs: atUs })
      this.#since.delete(partition)
    }
    for (const partition of assigned) {
      if (!this.#since.has(partition)) this.#since.set(partition, atUs)
    }
    this.assigned = assigned
  }

  /** It leaves the group and ends. */
  async leave(): Promise<void> {
    this.#process.stdin.end()
    await this.#ended
    this.own([], nowUs())
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name)
  }

  async kill(): Promise<void> {
    const atUs = nowUs()
    this.#process.kill('SIGKILL')
    await this.#ended
    this.own([], atUs)
  }

  /** Stops in its tracks: what it has, may be given to others once its session is over. */
  async pause(): Promise<void> {
    const atUs = nowUs()
    this.isPaused = true
    this.#process.kill('SIGSTOP')
    this.own([], atUs)
  }

  /** Asks it to read and commit nothing before it is assigned something again. */
  protected hold(): Promise<void> {
    const held = new Promise<void>((resolve) => {
      this.#onHeld = resolve
    })
    this.#process.stdin.write('hold\n')
    return held
  }

  resume(): void {
    this.isPaused = false
    this.#process.kill('SIGCONT')
  }
}

/** Whole lines only: who is killed may have begun one. */
function eachLine(input: Readable, take: (line: string) => void): void {
  let rest = ''
  input.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) take(line)
  })
}
