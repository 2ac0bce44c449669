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
