/**
 * A replica has said what none says that is in order: its offsets contradict what is in our log, or
 * it leads an epoch that another one leads. Not our bug, so nothing is asserted; the message is
 * dropped before anything has come of it, and the shell decides what to do with its sender.
 */
export class PeerError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'PeerError'
  }
}

/** Throws PeerError when `condition`, which is about what a peer said, is false. */
export function expectOfPeer(condition: boolean, message: string): asserts condition {
  if (!condition) throw new PeerError(message)
}
