/**
 * The state of the logs before and after a run: where they end, how many bytes they take. Answers
 * come when the leader has an event, offsets when consumers see it: what is not there yet is waited
 * for.
 */
import type { Control, LogEnds, ReadyTopic } from './control.ts'
import { diskBytes } from './disk-bytes.ts'
import { LoadError } from './load-error.ts'
import { nameOf, type Place } from './place.ts'

export interface LogState {
  readonly ends: readonly LogEnds[]
  /** Null: nobody could tell. */
  readonly bytes: readonly number[] | null
}

const SETTLE_MS = 2000
const LOOK_MS = 50

export class LogWatch {
  readonly #control: Control
  readonly #places: readonly Place[]
  readonly #topics: readonly ReadyTopic[]
  readonly #dataDirs: readonly string[]

  constructor(
    control: Control,
    places: readonly Place[],
    of: { readonly topics: readonly ReadyTopic[]; readonly dataDirs: readonly string[] },
  ) {
    this.#control = control
    this.#places = places
    this.#topics = of.topics
    this.#dataDirs = of.dataDirs
  }

  /** Throws LoadError. */
  async state(): Promise<LogState> {
    const ends = await this.#control.logEnds(this.#places)
    if (this.#dataDirs.length === 0) {
      return { ends, bytes: await this.#control.logBytes(this.#places) }
    }
    const found = await diskBytes(this.#dataDirs, this.#places, this.#topics)
    const bytes = found.map((sum, i) => {
      const { start, end } = ends[i] as LogEnds
      // A log that never had an event may have no directory.
      if (sum !== null || start === end) return sum ?? 0
      const name = nameOf(this.#places[i] as Place)
      throw new LoadError(`--data-dir ${this.#dataDirs} has no ${name}: is it this broker's?`)
    })
    return { ends, bytes }
  }

  /**
   * The state once every log ends at `ends` (exclusive), or when that does not come about: nothing
   * has moved for a while.
   */
  async settled(ends: readonly number[]): Promise<LogState> {
    let untilMs = performance.now() + SETTLE_MS
    let sum = -1
    for (;;) {
      const state = await this.state()
      const isThere = state.ends.every(({ end }, index) => end >= (ends[index] as number))
      if (isThere || performance.now() > untilMs) return state
      const now = state.ends.reduce((all, { end }) => all + end, 0)
      if (now !== sum) untilMs = performance.now() + SETTLE_MS
      sum = now
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  }
}
