/** The load cannot run, or cannot go on, for a reason that the message explains. */
export class LoadError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'LoadError'
  }
}
