import { Writer } from '../wire/kafka/writer.ts'

/**
 * Values that begin with a number: the records of a coordinator, and what consumers tell each
 * other. Pure.
 */
const SIZE_PREFIX_BYTES = 4
const writer = new Writer()

/** Bytes of their own: `number` as int16, a version or a record's type, and what `write` adds. */
export function numbered(number: number, write: (writer: Writer) => void): Uint8Array {
  writer.start()
  writer.int16(number)
  write(writer)
  const bytes = new Uint8Array(writer.bytesWritten - SIZE_PREFIX_BYTES)
  let at = -SIZE_PREFIX_BYTES
  for (const chunk of writer.finish()) {
    bytes.set(at < 0 ? chunk.subarray(-at) : chunk, Math.max(at, 0))
    at += chunk.length
  }
  return bytes
}
