/**
 * What a step of a coordinator asks for: records to append to its partition of the internal topic,
 * and answers to give once these, and all that were asked for before them, are below the high
 * watermark. The state that the step leaves behind counts on it: when an append fails, the state is
 * thrown away and made anew from the log, and nobody is answered.
 */
export interface Effects<R> {
  readonly records: readonly R[]
  /** Each runs once. */
  readonly answers: readonly (() => void)[]
}

/** A record as it is appended; a null value says that the key is no more. */
export interface EncodedRecord {
  readonly key: Uint8Array
  readonly value: Uint8Array | null
}

/** Collects the effects of one step. */
export class EffectsBuilder<R> {
  #records: R[] = []
  #answers: (() => void)[] = []

  write(record: R): void {
    this.#records.push(record)
  }

  answer<T>(reply: (response: T) => void, response: T): void {
    this.#answers.push(() => reply(response))
  }

  take(): Effects<R> {
    const effects = { records: this.#records, answers: this.#answers }
    this.#records = []
    this.#answers = []
    return effects
  }
}
