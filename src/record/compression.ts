/**
 * The codecs of record batches by their code in the batch attributes. Decompression is bounded: a
 * few bytes may claim to hold gigabytes, so each codec proves from the compressed bytes, before or
 * while it inflates them, that the result stays within `bytesMax`. A result that would be larger is
 * refused with MESSAGE_TOO_LARGE, malformed bytes with CORRUPT_MESSAGE (RecordError).
 *
 * One interface, two speeds: `compress` and `decompress` take every codec; the `…Sync` pair takes
 * every codec but zstd, whose library works on libuv's threads only (Node's own zlib has zstd from
 * version 22.15 on). Input bytes must not change until the call is done. The result never shares
 * memory with the input, except for COMPRESSION_NONE, which returns the input itself.
 */
import { constants, gunzipSync, gzipSync } from 'node:zlib'
import zstd from '@mongodb-js/zstd'
import { assert, unreachable } from '../base/assert.ts'
import { ErrorCode } from '../errors/error-code.ts'
import {
  COMPRESSION_GZIP,
  COMPRESSION_LZ4,
  COMPRESSION_NONE,
  COMPRESSION_SNAPPY,
  COMPRESSION_ZSTD,
  type CompressionCode,
} from './compression-code.ts'
import { decompressLz4, encodeLz4 } from './lz4-frame.ts'
import { RecordError } from './record-error.ts'
import { compressSnappy, decompressSnappy } from './snappy-framing.ts'
import { checkZstd } from './zstd-frame.ts'

export {
  COMPRESSION_GZIP,
  COMPRESSION_LZ4,
  COMPRESSION_NAMES,
  COMPRESSION_NONE,
  COMPRESSION_SNAPPY,
  COMPRESSION_ZSTD,
  type CompressionCode,
  isCompressionCode,
  type SyncCompressionCode,
} from './compression-code.ts'

/** Compresses with the library's default level. */
export async function compress(code: CompressionCode, bytes: Uint8Array): Promise<Uint8Array> {
  if (code !== COMPRESSION_ZSTD) return compressSync(code, bytes)
  return await zstd.compress(asBuffer(bytes))
}

export function compressSync(code: CompressionCode, bytes: Uint8Array): Uint8Array {
  assert(code !== COMPRESSION_ZSTD, 'zstd has no synchronous call')
  switch (code) {
    case COMPRESSION_NONE:
      return bytes
    case COMPRESSION_GZIP:
      return gzipSync(bytes)
    case COMPRESSION_SNAPPY:
      return compressSnappy(bytes)
    case COMPRESSION_LZ4:
      return encodeLz4(bytes)
    default:
      return unreachable(code)
  }
}

/** Rejects with RecordError; `bytesMax` is inclusive. */
export async function decompress(
  code: CompressionCode,
  bytes: Uint8Array,
  bytesMax: number,
): Promise<Uint8Array> {
  if (code !== COMPRESSION_ZSTD) return decompressSync(code, bytes, bytesMax)
  const checked = checkZstd(bytes, bytesMax)
  let inflated: Uint8Array
  try {
    inflated = await zstd.decompress(asBuffer(checked))
  } catch (error) {
    throw new RecordError(ErrorCode.CORRUPT_MESSAGE, 'The zstd data is corrupt', error)
  }
  return bounded(inflated, bytesMax)
}

/** Throws RecordError; `bytesMax` is inclusive. */
export function decompressSync(
  code: CompressionCode,
  bytes: Uint8Array,
  bytesMax: number,
): Uint8Array {
  assert(code !== COMPRESSION_ZSTD, 'zstd has no synchronous call')
  switch (code) {
    case COMPRESSION_NONE:
      return bounded(bytes, bytesMax)
    case COMPRESSION_GZIP:
      return decompressGzip(bytes, bytesMax)
    case COMPRESSION_SNAPPY:
      return bounded(decompressSnappy(bytes, bytesMax), bytesMax)
    case COMPRESSION_LZ4:
      return bounded(decompressLz4(bytes, bytesMax), bytesMax)
    default:
      return unreachable(code)
  }
}

function decompressGzip(bytes: Uint8Array, bytesMax: number): Uint8Array {
  try {
    // zlib takes no limit of 0, and an empty batch section is legal.
    const options = { maxOutputLength: Math.max(bytesMax, 1), finishFlush: constants.Z_FINISH }
    return bounded(gunzipSync(bytes, options), bytesMax)
  } catch (error) {
    if (error instanceof RecordError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(bytesMax)
    throw new RecordError(ErrorCode.CORRUPT_MESSAGE, 'The gzip data is corrupt', error)
  }
}

function bounded(bytes: Uint8Array, bytesMax: number): Uint8Array {
  if (bytes.length > bytesMax) throw tooLarge(bytesMax)
  return bytes
}

function tooLarge(bytesMax: number): RecordError {
  const message = `The data exceeds ${bytesMax} bytes once decompressed`
  return new RecordError(ErrorCode.MESSAGE_TOO_LARGE, message)
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
