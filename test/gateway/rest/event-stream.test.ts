/** What a stream of events holds while it waits. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByteBudget } from '../../../src/base/byte-budget.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { type Page, streamPages } from '../../../src/gateway/rest/event-stream.ts'

function pageAt(offset: number, events: readonly string[]): Page {
  const nextOffset = offset + events.length
  return {
    offset,
    events,
    length: events.join(' ').length,
    read: {
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      nextOffset,
      highWatermark: nextOffset,
      logStartOffset: 0,
    },
  }
}

test('a page without memory is dropped, and read again when there is some', async () => {
  const memory = new ByteBudget(100)
  assert.ok(memory.tryTake(95))
  const asked: number[] = []
  const read = (offset: number): Promise<Page> => {
    asked.push(offset)
    return Promise.resolve(pageAt(offset, ['123456789']))
  }
  const { signal } = new AbortController()
  const stream = streamPages({ memory, signal, read }, pageAt(7, ['123456789']), Infinity)
  const first = stream.next()
  await new Promise(setImmediate)
  memory.give(95)
  assert.deepEqual(await first, { done: false, value: '123456789\n' })
  assert.deepEqual(asked, [7], 'what waits holds no page')
  assert.equal(memory.bytesInUse, 9)
  assert.deepEqual(await stream.next(), { done: false, value: '123456789\n' })
  assert.deepEqual(asked, [7, 8])
  await stream.return(undefined)
  assert.equal(memory.bytesInUse, 0)
})

test('an empty page is an empty line, and one that ends ends', async () => {
  const memory = new ByteBudget(100)
  const { signal } = new AbortController()
  const pages = [pageAt(0, []), pageAt(0, ['a']), pageAt(1, ['b', 'c'])]
  const read = (): Promise<Page> => Promise.resolve(pages.shift() as Page)
  const lines: string[] = []
  for await (const line of streamPages({ memory, signal, read }, pages.shift() as Page, 3)) {
    lines.push(line)
  }
  assert.deepEqual(lines, ['\n', 'a\n', 'b\nc\n'])
  assert.equal(memory.bytesInUse, 0)
})
