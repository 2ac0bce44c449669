/**
 * Cuts a stream of bytes into lines. A line ends with '\n', which is not part of it; everything
 * else is: nothing is decoded, so that what is no UTF-8 arrives as it was. What follows the last
 * '\n' is a line too, unless it is empty.
 */
const NEWLINE = 0x0a

export class LineError extends Error {}

/** Yields batches of lines, as many as each piece of the stream completes. Throws LineError. */
export async function* linesOf(
  stream: AsyncIterable<Uint8Array>,
  lineBytesMax: number,
): AsyncGenerator<Uint8Array[]> {
  let rest: Uint8Array[] = []
  let restBytes = 0
  for await (const chunk of stream) {
    const lines: Uint8Array[] = []
    let from = 0
    for (;;) {
      const end = chunk.indexOf(NEWLINE, from)
      if (end < 0) break
      const piece = chunk.subarray(from, end)
      if (restBytes + piece.length > lineBytesMax) throw tooLong(lineBytesMax)
      lines.push(restBytes === 0 ? piece : Buffer.concat([...rest, piece]))
      rest = []
      restBytes = 0
      from = end + 1
    }
    if (from < chunk.length) {
      rest.push(chunk.subarray(from))
      restBytes += chunk.length - from
      if (restBytes > lineBytesMax) throw tooLong(lineBytesMax)
    }
    if (lines.length > 0) yield lines
  }
  if (restBytes > 0) yield [Buffer.concat(rest)]
}

function tooLong(lineBytesMax: number): LineError {
  return new LineError(`a line is longer than ${lineBytesMax} bytes`)
}
