import type { BodyChunk } from './web-server.ts'

/** Where the pieces of a body go: one engine's response. */
export interface BodyOutlet {
  /** The client is gone, or the answer has ended. */
  readonly isOver: boolean
  /** Null when the client takes it at once; else resolves when it has, or is gone. */
  write(chunk: BodyChunk): Promise<void> | null
  end(): void
  /** Ends the connection: what has been sent is not all, and its reader must notice. */
  fail(error: unknown): void
}

/**
 * Sends a body piece by piece, the next one asked for when the client has taken the one before, so
 * that a slow reader costs a piece. Closes the body however it ends.
 */
export async function pour(body: AsyncIterable<BodyChunk>, outlet: BodyOutlet): Promise<void> {
  try {
    for await (const chunk of body) {
      if (outlet.isOver) return
      await outlet.write(chunk)
      if (outlet.isOver) return
    }
    outlet.end()
  } catch (error) {
    outlet.fail(error)
  }
}

/** What a body nobody wants may have opened is closed; none of it is made. */
export function spill(body: AsyncIterable<BodyChunk>): void {
  void body[Symbol.asyncIterator]().return?.()
}
