/** Every hostile request against the decoders, in process: a message or a DecodeError. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  DecodeError,
  decodeRequest,
  decodeRequestHeader,
  isSupported,
  Reader,
} from '../../src/wire/kafka/api.ts'
import { hostileCases, lengthLies } from './kafka-cases.ts'
import { bytesOf, sampleRequests } from './kafka-message.ts'

const reader = new Reader()

/** What the door does with a frame before a handler sees it; null when it is refused. */
function decode(body: Uint8Array): unknown {
  reader.reset(body)
  try {
    const { requestApiKey, requestApiVersion } = decodeRequestHeader(reader)
    if (!isSupported(requestApiKey, requestApiVersion)) return null
    return decodeRequest(requestApiKey, requestApiVersion, reader)
  } catch (error) {
    if (error instanceof DecodeError) return null
    throw error
  }
}

describe('hostile requests, in process', () => {
  test('every sample is a right request', () => {
    for (const { label, pieces, apiKey, version } of sampleRequests()) {
      if (!isSupported(apiKey, version)) continue // Declared, but not stable yet.
      assert.notEqual(decode(bytesOf(pieces)), null, label)
    }
  })

  test('every case is decoded or refused with a DecodeError', () => {
    let count = 0
    for (const sample of sampleRequests()) {
      for (const { label, body } of hostileCases(sample)) {
        count++
        try {
          decode(body)
        } catch (error) {
          throw new Error(label, { cause: error })
        }
      }
    }
    assert.ok(count > 20_000, `only ${count} cases`)
  })

  test('a length that says more than the frame holds is refused', () => {
    for (const sample of sampleRequests()) {
      for (const { label, body } of lengthLies(sample)) {
        if (/says (2147483647|2147483646|1000000|32767),/.test(label) && !/ tag /.test(label)) {
          assert.equal(decode(body), null, label)
        }
      }
    }
  })
})
