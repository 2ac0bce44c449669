/** Something that takes bytes from strangers or a damaged disk, and how to tell that it broke. */
export interface FuzzTarget {
  readonly name: string
  /** Longer inputs are cut: short ones run fast and are read by people. */
  readonly bytesMax: number
  /** What the fuzzer starts from besides the corpus. */
  seeds(): readonly Uint8Array[]
  readonly dictionary: readonly Uint8Array[]
  /**
   * Throws when the code under test did what it must not: an error that is not of the types which
   * its callers catch, an answer that its twin does not give, a result beyond its bound.
   */
  run(input: Uint8Array): void | Promise<void>
}

/** Runs `work`; errors for which `expected` is true are an answer, and give null. */
export function tolerate<T>(expected: (error: unknown) => boolean, work: () => T): T | null {
  try {
    return work()
  } catch (error) {
    if (expected(error)) return null
    throw error
  }
}
