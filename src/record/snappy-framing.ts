/**
 * Snappy as record batches hold it. Java clients frame it (the xerial stream), librdkafka sends the
 * raw format: which one it is shows in the first bytes. We write the xerial stream, as Kafka does.
 *
 *   82 'S' 'N' 'A' 'P' 'P' 'Y' 00 │ version i32 = 1 │ compatible version i32 = 1
 *   then each block: length i32, raw snappy of at most 32 KiB
 *
 * Raw snappy starts with its decompressed length (a varint), which is checked before decompressing.
 */
import snappy from 'snappy'
import { viewOf } from '../base/bytes.ts'
import { VarintCursor, VarintError } from '../base/varint.ts'
import { ErrorCode } from '../errors/error-code.ts'
import { RecordError } from './record-error.ts'

const XERIAL_MAGIC = Uint8Array.of(0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0)
const XERIAL_HEADER_BYTES = 16
const XERIAL_VERSION = 1
/** What xerial's own stream uses by default, and every reader takes. */
const XERIAL_BLOCK_BYTES = 32 * 1024
const LENGTH_BYTES = 4

export function compressSnappy(bytes: Uint8Array): Uint8Array {
  const blocks: Uint8Array[] = []
  let size = XERIAL_HEADER_BYTES
  for (let start = 0; start < bytes.length; start += XERIAL_BLOCK_BYTES) {
    const block = snappy.compressSync(bytes.subarray(start, start + XERIAL_BLOCK_BYTES))
    blocks.push(block)
    size += LENGTH_BYTES + block.length
  }
  const out = new Uint8Array(size)
  const view = viewOf(out)
  out.set(XERIAL_MAGIC)
  view.setInt32(8, XERIAL_VERSION)
  view.setInt32(12, XERIAL_VERSION)
  let position = XERIAL_HEADER_BYTES
  for (const block of blocks) {
    view.setInt32(position, block.length)
    out.set(block, position + LENGTH_BYTES)
    position += LENGTH_BYTES + block.length
  }
  return out
}

/** Takes either form. Throws RecordError. */
export function decompressSnappy(bytes: Uint8Array, bytesMax: number): Uint8Array {
  if (!isXerial(bytes)) return decompressBlock(bytes, bytesMax)
  const total = measureXerial(bytes, bytesMax)
  const view = viewOf(bytes)
  const out = new Uint8Array(total)
  let written = 0
  for (let position = XERIAL_HEADER_BYTES; position < bytes.length; ) {
    const start = position + LENGTH_BYTES
    const end = start + view.getInt32(position)
    const block = decompressBlock(bytes.subarray(start, end), total - written)
    out.set(block, written)
    written += block.length
    position = end
  }
  return out
}

function isXerial(bytes: Uint8Array): boolean {
  // No raw block can start like this: after the length 10,626 it would copy from before its start.
  return XERIAL_MAGIC.every((byte, i) => bytes[i] === byte)
}

/** The decompressed size of the whole stream; every block checked to be inside it. */
function measureXerial(bytes: Uint8Array, bytesMax: number): number {
  if (bytes.length < XERIAL_HEADER_BYTES) throw corrupt('The snappy header is cut off')
  const view = viewOf(bytes)
  if (view.getInt32(12) > XERIAL_VERSION) throw corrupt('The snappy stream needs a newer reader')
  let total = 0
  for (let position = XERIAL_HEADER_BYTES; position < bytes.length; ) {
    const available = bytes.length - position - LENGTH_BYTES
    const length = available < 0 ? -1 : view.getInt32(position)
    if (length <= 0 || length > available) throw corrupt('A snappy block is cut off')
    position += LENGTH_BYTES
    total += declaredBytes(bytes.subarray(position, position + length))
    if (total > bytesMax) throw tooLarge(bytesMax)
    position += length
  }
  return total
}

function decompressBlock(bytes: Uint8Array, bytesMax: number): Uint8Array {
  if (declaredBytes(bytes) > bytesMax) throw tooLarge(bytesMax)
  try {
    return snappy.uncompressSync(bytes, { asBuffer: true }) as Buffer
  } catch (error) {
    throw corrupt('The snappy data is corrupt', error)
  }
}

function declaredBytes(bytes: Uint8Array): number {
  try {
    return new VarintCursor(bytes).readUnsignedVarint()
  } catch (error) {
    if (error instanceof VarintError) throw corrupt('The snappy length is malformed', error)
    throw error
  }
}

function corrupt(message: string, cause?: unknown): RecordError {
  return new RecordError(ErrorCode.CORRUPT_MESSAGE, message, cause)
}

function tooLarge(bytesMax: number): RecordError {
  const message = `The snappy data exceeds ${bytesMax} bytes once decompressed`
  return new RecordError(ErrorCode.MESSAGE_TOO_LARGE, message)
}
