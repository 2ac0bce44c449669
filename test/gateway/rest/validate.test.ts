import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { z } from 'zod'
import { Commit, Reset } from '../../../src/gateway/rest/group-shapes.ts'
import { readBody } from '../../../src/gateway/rest/read-body.ts'
import { RestError } from '../../../src/gateway/rest/rest-error.ts'
import { EventsQuery, TopicChange } from '../../../src/gateway/rest/shapes.ts'
import { checkShape } from '../../../src/gateway/rest/validate.ts'
import type { WebRequest } from '../../../src/gateway/web/web-server.ts'

function refusal(shape: z.ZodType, value: unknown): string {
  try {
    checkShape(shape, value, 'body')
  } catch (error) {
    assert.ok(error instanceof RestError, String(error))
    return error.message.replace('. /openapi.json says what is taken', '')
  }
  return 'taken'
}

test('a value that fits none of several shapes is told what it lacks', () => {
  assert.match(
    refusal(TopicChange, { configs: { 'retention.ms': [] } }),
    /^body.configs.retention.ms: expected string, received array, or expected number, /,
  )
  assert.match(refusal(EventsQuery, { offset: 'first' }), /^body.offset: .*"earliest"\|"latest"/)
  const place = { topic: 't', partition: 0 }
  assert.equal(
    refusal(Reset, {
      to: {
        offsets: [
          { ...place, offset: 1 },
          { ...place, offset: 'x' },
        ],
      },
    }),
    'body.to.offsets[1].offset: expected number, received string',
  )
  assert.equal(refusal(Reset, { to: {} }), 'body.to: it fits none of the shapes it may have')
})

test('readBody, more names or offsets than can be of use, is refused before each is worded', async () => {
  const ask = (shape: z.ZodType, value: unknown): Promise<unknown> => {
    const body = async (): Promise<Uint8Array> => Buffer.from(JSON.stringify(value))
    return readBody({ request: { body } as unknown as WebRequest }, shape)
  }
  const configs = Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`c${i}`, []]))
  await assert.rejects(ask(TopicChange, { configs }), /more than 1000 names in one object/)
  const offsets = Array.from({ length: 3001 }, () => 1)
  await assert.rejects(ask(Commit, { offsets }), /body.offsets: .*3000/)
  const place = { topic: 't', partition: 0, offset: 1 }
  const all = { offsets: Array.from({ length: 3000 }, () => place) }
  assert.deepEqual(await ask(Commit, all), all)
})
