import { AssertionError } from '../../src/base/assert.ts'

/** An invariant that did not hold. `invariant` is a short name that tests and summaries count. */
export class Violation extends Error {
  readonly invariant: string

  constructor(invariant: string, message: string) {
    super(`${invariant}: ${message}`)
    this.name = 'Violation'
    this.invariant = invariant
  }
}

export function require_(condition: boolean, invariant: string, message: () => string): void {
  if (!condition) throw new Violation(invariant, message())
}

/** What a run was ended by; whatever the code under test throws is one. */
export function asViolation(error: unknown): Violation {
  if (error instanceof Violation) return error
  if (!(error instanceof Error)) throw error
  const name = error instanceof AssertionError ? 'no assertion fails' : 'nothing is thrown'
  return new Violation(name, `${error.stack}`)
}

/** What became of a seed. */
export interface SeedResult {
  readonly seed: number
  readonly violation: Violation | null
  /** Equal for equal runs. */
  readonly trace: number
  readonly steps: number
  readonly counters: Readonly<Record<string, number>>
}

/** Of a simulated cluster, whose time is a clock's. */
export interface ClusterSeedResult extends SeedResult {
  readonly simulatedMs: number
}
