/**
 * A coverage-guided fuzzer: runs a target with changed inputs, keeps those that reach blocks which
 * none reached before, and starts from them again. A failure says its seed and its input.
 */
import { Random } from '../../src/base/random.ts'
import { BlockCoverage } from './coverage.ts'
import { mutate } from './mutate.ts'
import type { FuzzTarget } from './target.ts'

/** Executions between two looks at the coverage. */
const BATCH = 128
/** CPU time that one small input may take before it counts as a hang. */
const CPU_MS_MAX = 3000
/** Resident memory that a run may add before it counts as unbounded. */
const MEMORY_BYTES_MAX = 1024 * 1024 * 1024

export interface FuzzOptions {
  readonly seed: number
  readonly executions?: number
  readonly seconds?: number
  /** Inputs of earlier runs. */
  readonly corpus?: readonly Uint8Array[]
  readonly onProgress?: (progress: FuzzProgress) => void
}

export interface FuzzProgress {
  readonly executions: number
  readonly blocks: number
  readonly corpus: number
}

export interface FuzzResult extends FuzzProgress {
  readonly seconds: number
  /** Inputs that reached something new, the given ones not among them. */
  readonly found: readonly Uint8Array[]
}

/** Thrown by `fuzz`: the input that broke the target, made as short as it gets. */
export class FuzzFailure extends Error {
  readonly input: Uint8Array

  constructor(target: string, seed: number, input: Uint8Array, cause: unknown) {
    const why = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
    const hex = Buffer.from(input).toString('hex')
    super(
      `${target} failed with seed ${seed} on ${input.length} bytes: ${hex}\n` +
        `rerun: node scripts/fuzz.mjs --target ${target} --input ${hex.slice(0, 4000)}\n${why}`,
      { cause },
    )
    this.name = 'FuzzFailure'
    this.input = input
  }
}

export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzResult> {
  const coverage = new BlockCoverage()
  try {
    return await new Run(target, options, coverage).run()
  } finally {
    coverage.stop()
  }
}

class Run {
  readonly #target: FuzzTarget
  readonly #options: FuzzOptions
  readonly #coverage: BlockCoverage
  readonly #random: Random
  readonly #corpus: Uint8Array[] = []
  readonly #found: Uint8Array[] = []
  readonly #startedMs = performance.now()
  readonly #startBytes = process.memoryUsage.rss()
  #executions = 0

  constructor(target: FuzzTarget, options: FuzzOptions, coverage: BlockCoverage) {
    this.#target = target
    this.#options = options
    this.#coverage = coverage
    this.#random = new Random(options.seed)
  }

  async run(): Promise<FuzzResult> {
    const given = [...(this.#options.corpus ?? []), ...this.#target.seeds()]
    for (const input of given) {
      // A copy, and no Buffer, whose `slice` would be a view.
      const bytes = new Uint8Array(input.subarray(0, this.#target.bytesMax))
      this.#corpus.push(bytes)
      await this.#execute(bytes)
    }
    this.#coverage.take()
    let saidMs = performance.now()
    while (!this.#isOver()) {
      await this.#batch()
      if (performance.now() - saidMs < 5000) continue
      saidMs = performance.now()
      this.#options.onProgress?.(this.#progress())
    }
    return { ...this.#progress(), seconds: this.#seconds(), found: this.#found }
  }

  async #batch(): Promise<void> {
    const inputs: Uint8Array[] = []
    for (let i = 0; i < BATCH; i++) inputs.push(this.#next())
    const cpu = process.cpuUsage()
    for (const input of inputs) await this.#execute(input)
    const spent = process.cpuUsage(cpu)
    if ((spent.user + spent.system) / 1000 > CPU_MS_MAX) await this.#findSlow(inputs)
    if (process.memoryUsage.rss() - this.#startBytes > MEMORY_BYTES_MAX) {
      throw new Error(`${this.#target.name}: memory rose beyond ${MEMORY_BYTES_MAX} bytes`)
    }
    if (this.#coverage.take() === 0) return
    const known = this.#coverage.rewind()
    await this.#findNew(inputs)
    this.#coverage.add(known) // What runs only once was not found again.
  }

  /** Which of them it were: halves are run again, and halves of those that reach something new. */
  async #findNew(inputs: readonly Uint8Array[]): Promise<void> {
    const middle = inputs.length >> 1
    for (const part of [inputs.slice(0, middle), inputs.slice(middle)]) {
      for (const input of part) await this.#execute(input)
      if (this.#coverage.take() === 0) continue
      if (part.length === 1) {
        this.#corpus.push(...part)
        this.#found.push(...part)
      } else {
        this.#coverage.rewind()
        await this.#findNew(part)
      }
    }
  }

  #next(): Uint8Array {
    const random = this.#random
    // The newest have been looked at least.
    const recent = Math.max(1, this.#corpus.length >> 2)
    const index = random.chance(0.5)
      ? this.#corpus.length - 1 - random.below(recent)
      : random.below(this.#corpus.length)
    const { bytesMax, dictionary } = this.#target
    const parts = { random, bytesMax, dictionary, corpus: this.#corpus }
    return mutate(this.#corpus[index] as Uint8Array, parts)
  }

  async #execute(input: Uint8Array): Promise<void> {
    this.#executions++
    try {
      const running = this.#target.run(input.slice())
      if (running !== undefined) await running
    } catch (error) {
      const least = await this.#shorten(input)
      throw new FuzzFailure(this.#target.name, this.#options.seed, least, error)
    }
  }

  async #findSlow(inputs: readonly Uint8Array[]): Promise<void> {
    for (const input of inputs) {
      const cpu = process.cpuUsage()
      await this.#execute(input)
      const { user, system } = process.cpuUsage(cpu)
      if ((user + system) / 1000 > CPU_MS_MAX) {
        const error = new Error(`it took ${(user + system) / 1000} ms of CPU time`)
        throw new FuzzFailure(this.#target.name, this.#options.seed, input, error)
      }
    }
  }

  /** Drops pieces as long as it still fails. */
  async #shorten(input: Uint8Array): Promise<Uint8Array> {
    let least = input
    for (let size = least.length >> 1; size > 0; size >>= 1) {
      for (let at = 0; at + size <= least.length; ) {
        const shorter = Uint8Array.from([...least.subarray(0, at), ...least.subarray(at + size)])
        if (await this.#fails(shorter)) least = shorter
        else at += size
      }
    }
    return least
  }

  async #fails(input: Uint8Array): Promise<boolean> {
    try {
      await this.#target.run(input.slice())
      return false
    } catch {
      return true
    }
  }

  #isOver(): boolean {
    const { executions = Infinity, seconds = Infinity } = this.#options
    return this.#executions >= executions || this.#seconds() >= seconds
  }

  #seconds(): number {
    return (performance.now() - this.#startedMs) / 1000
  }

  #progress(): FuzzProgress {
    return {
      executions: this.#executions,
      blocks: this.#coverage.blocks,
      corpus: this.#corpus.length,
    }
  }
}
