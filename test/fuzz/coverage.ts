/**
 * Which blocks of our code have run, by V8's precise coverage through `node:inspector`. Asking
 * takes about two milliseconds whatever ran, so that the fuzzer asks once for many executions. Only
 * the compiled sources count, and codecs that are compiled at run time (scripts without a name).
 */
import { type Profiler, Session } from 'node:inspector'

const SOURCES = '/build/src/'

export class BlockCoverage {
  readonly #session = new Session()
  readonly #seen = new Set<string>()
  /** What the last `take` added. */
  #latest: string[] = []

  constructor() {
    this.#session.connect()
    this.#session.post('Profiler.enable')
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  }

  /** Blocks that have run so far. */
  get blocks(): number {
    return this.#seen.size
  }

  /** How many blocks ran since the last call that had never run before. */
  take(): number {
    this.#latest = []
    for (const { scriptId, url, functions } of this.#ask()) {
      if (url !== '' && !url.includes(SOURCES)) continue
      for (const { ranges } of functions) {
        for (const { count, startOffset, endOffset } of ranges) {
          if (count === 0) continue
          const block = `${scriptId}:${startOffset}:${endOffset}`
          if (this.#seen.has(block)) continue
          this.#seen.add(block)
          this.#latest.push(block)
        }
      }
    }
    return this.#latest.length
  }

  /** Forgets what the last `take` added, and returns it for `add`. */
  rewind(): readonly string[] {
    for (const block of this.#latest) this.#seen.delete(block)
    return this.#latest
  }

  add(blocks: readonly string[]): void {
    for (const block of blocks) this.#seen.add(block)
  }

  stop(): void {
    this.#session.post('Profiler.stopPreciseCoverage')
    this.#session.disconnect()
  }

  /** In the same thread the answer is there before `post` returns. */
  #ask(): Profiler.ScriptCoverage[] {
    let scripts: Profiler.ScriptCoverage[] = []
    this.#session.post('Profiler.takePreciseCoverage', (error, answer) => {
      if (error !== null) throw error
      scripts = answer.result
    })
    return scripts
  }
}
