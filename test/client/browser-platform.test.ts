/** What of the browsers' platform does without a page: Node has the same streams. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { MillraceError } from '../../src/client/errors.ts'
import { browserPlatform } from '../../src/client/platform-browser.ts'
import { ErrorCode } from '../../src/errors/error-code.ts'
import {
  COMPRESSION_GZIP,
  COMPRESSION_LZ4,
  COMPRESSION_NONE,
  COMPRESSION_SNAPPY,
  COMPRESSION_ZSTD,
} from '../../src/record/compression-code.ts'
import { RecordError } from '../../src/record/record-error.ts'

const BYTES = new TextEncoder().encode('an event, '.repeat(20_000))

function isUnsupported(error: unknown): boolean {
  assert.ok(error instanceof MillraceError)
  assert.equal(error.code, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
  assert.equal(error.codeName, 'UNSUPPORTED_COMPRESSION_TYPE')
  return !error.retriable
}

/** Runs `use` as if the page had no global of that name. */
function without(name: string, use: () => void): void {
  const found = Object.getOwnPropertyDescriptor(globalThis, name) as PropertyDescriptor
  Object.defineProperty(globalThis, name, { value: undefined, configurable: true })
  try {
    use()
  } finally {
    Object.defineProperty(globalThis, name, found)
  }
}

test('compress, gives gzip that others read; decompress, reads theirs', async () => {
  const packed = await browserPlatform.compress(COMPRESSION_GZIP, BYTES)
  assert.ok(packed.length < BYTES.length / 10)
  assert.deepEqual(Uint8Array.from(gunzipSync(packed)), BYTES)
  const zipped = Uint8Array.from(gzipSync(BYTES))
  const read = await browserPlatform.decompress(COMPRESSION_GZIP, zipped, BYTES.length)
  assert.deepEqual(read, BYTES)
  assert.equal(browserPlatform.compress(COMPRESSION_NONE, BYTES), BYTES)
  assert.equal(browserPlatform.decompress(COMPRESSION_NONE, BYTES, 1), BYTES)
})

test('compress and decompress, refuse what browsers have not', () => {
  for (const code of [COMPRESSION_SNAPPY, COMPRESSION_LZ4, COMPRESSION_ZSTD] as const) {
    assert.throws(() => browserPlatform.compress(code, BYTES), isUnsupported)
    assert.throws(() => browserPlatform.decompress(code, BYTES, 1_000_000), isUnsupported)
  }
  without('CompressionStream', () => {
    assert.throws(() => browserPlatform.compress(COMPRESSION_GZIP, BYTES), isUnsupported)
  })
  without('DecompressionStream', () => {
    assert.throws(() => browserPlatform.decompress(COMPRESSION_GZIP, BYTES, 1), isUnsupported)
  })
})

test('decompress, rejects what is corrupt, cut off or larger than allowed', async () => {
  const decompress = async (bytes: Uint8Array, bytesMax: number): Promise<Uint8Array> =>
    await browserPlatform.decompress(COMPRESSION_GZIP, bytes, bytesMax)
  const zipped = Uint8Array.from(gzipSync(BYTES))
  const corrupt = { constructor: RecordError, code: ErrorCode.CORRUPT_MESSAGE }
  await assert.rejects(decompress(BYTES, 1_000_000), corrupt)
  await assert.rejects(decompress(zipped.subarray(0, -9), 1_000_000), corrupt)
  const tooLarge = { constructor: RecordError, code: ErrorCode.MESSAGE_TOO_LARGE }
  await assert.rejects(decompress(zipped, BYTES.length - 1), tooLarge)
})
