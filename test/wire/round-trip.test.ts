import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { DecodeError } from '../../src/wire/kafka/decode-error.ts'
import {
  check,
  decodeBody,
  encodeBody,
  expected,
  messageArbitrary,
  resolved,
  VARIANTS,
  type Variant,
} from './messages.ts'

/** Properties that hold for every message in every version. */
const RUNS = 40

describe('codec, gives back what was encoded', () => {
  for (const variant of VARIANTS) {
    test(variant.label, () => {
      check(messageArbitrary(variant), RUNS, (message) => {
        const bytes = encodeBody(variant, message)
        const decoded = resolved(variant.schema.fields, decodeBody(variant, bytes), bytes)
        assert.deepEqual(decoded, expected(variant.schema.fields, message))
      })
    })
  }
})

describe('codec, reads nothing outside of its range', () => {
  for (const variant of VARIANTS) {
    test(variant.label, () => {
      const poison = fc.record({
        message: messageArbitrary(variant),
        before: fc.nat(9),
        fill: fc.integer({ min: 0, max: 255 }),
      })
      check(poison, 8, ({ message, before, fill }) => {
        const body = encodeBody(variant, message)
        const memory = new Uint8Array(new SharedArrayBuffer(before + body.length + 16)).fill(fill)
        memory.set(body, before)
        const range = [before, before + body.length] as const
        const decoded = resolved(
          variant.schema.fields,
          decodeBody(variant, memory, ...range),
          memory,
        )
        assert.deepEqual(decoded, expected(variant.schema.fields, message))
      })
    })
  }
})

describe('codec, refuses every prefix with a DecodeError', () => {
  // Of the time of hundreds of thousands of refusals, most went into stacks that nobody reads.
  const { stackTraceLimit } = Error
  before(() => {
    Error.stackTraceLimit = 0
  })
  after(() => {
    Error.stackTraceLimit = stackTraceLimit
  })
  for (const variant of VARIANTS) {
    test(variant.label, () => {
      check(messageArbitrary(variant), 4, (message) => {
        const bytes = encodeBody(variant, message)
        for (let end = 0; end < bytes.length; end++) {
          const copied = refusal(variant, Uint8Array.from(bytes.subarray(0, end)), end)
          assert.ok(copied instanceof DecodeError, `first ${end} bytes: ${copied}`)
          // The same with the rest of the message behind the end: it must make no difference.
          assert.deepEqual(refusal(variant, bytes, end), copied)
        }
        const longer = Buffer.concat([bytes, Buffer.of(0)])
        assert.throws(() => decodeBody(variant, longer), DecodeError, 'one byte too many')
      })
    })
  }
})

function refusal(variant: Variant, bytes: Uint8Array, end: number): unknown {
  try {
    return decodeBody(variant, bytes, 0, end)
  } catch (error) {
    return error
  }
}

describe('codec, answers mutated bytes with a value or a DecodeError', () => {
  for (const variant of VARIANTS) {
    test(variant.label, () => {
      const mutated = fc.record({
        message: messageArbitrary(variant),
        edits: fc.array(fc.record({ at: fc.nat(), byte: fc.constantFrom(0, 1, 127, 128, 255) }), {
          minLength: 1,
          maxLength: 4,
        }),
      })
      check(mutated, 60, ({ message, edits }) => {
        const bytes = encodeBody(variant, message)
        for (const { at, byte } of edits) bytes[at % bytes.length] = byte
        valueOrDecodeError(variant, bytes)
      })
      check(fc.uint8Array({ maxLength: 60 }), 60, (bytes) => valueOrDecodeError(variant, bytes))
    })
  }
})

function valueOrDecodeError(variant: Variant, bytes: Uint8Array): void {
  try {
    const message = decodeBody(variant, bytes)
    // Whatever is accepted lies within the bytes.
    resolved(variant.schema.fields, message, bytes)
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error
  }
}

describe('codec, skips tagged fields that it does not know', () => {
  for (const variant of VARIANTS.filter(({ flexible }) => flexible)) {
    test(variant.label, () => {
      const extended = fc.record({
        message: messageArbitrary(variant).map((message) => withoutTagged(variant, message)),
        tag: fc.integer({ min: 50, max: 0xffff_ffff }),
        content: fc.uint8Array({ maxLength: 200 }),
      })
      check(extended, 10, ({ message, tag, content }) => {
        const bytes = encodeBody(variant, message)
        assert.equal(bytes.at(-1), 0) // The count of the message's own tagged fields.
        const unknown = Buffer.from([1, ...uvarint(tag), ...uvarint(content.length), ...content])
        const longer = Buffer.concat([bytes.subarray(0, -1), unknown])
        const decoded = resolved(variant.schema.fields, decodeBody(variant, longer), longer)
        assert.deepEqual(decoded, expected(variant.schema.fields, message))
      })
    })
  }
})

function withoutTagged({ schema }: Variant, message: { [name: string]: unknown }) {
  const kept = Object.entries(message).filter(([name]) => schema.fields[name]?.tag === undefined)
  return Object.fromEntries(kept)
}

function uvarint(value: number): number[] {
  return value > 0x7f ? [(value & 0x7f) | 0x80, ...uvarint(value >>> 7)] : [value]
}
