/** What a stream of events holds while it waits. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { ByteBudget } from '../../../src/base/byte-budget.ts'
import { ErrorCode } from '../../../src/errors/error-code.ts'
import { EventStream, type Page, type PageSource } from '../../../src/gateway/rest/event-stream.ts'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

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

/** In a function of its own: the test's would keep the page. */
function streamFrom(source: PageSource): { stream: EventStream; held: WeakRef<Page> } {
  const first = pageAt(7, ['123456789'])
  return { stream: new EventStream(source, first, Infinity), held: new WeakRef(first) }
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
  const { stream, held } = streamFrom({ memory, signal, read })
  const line = stream.next()
  await new Promise(setImmediate)
  collectGarbage()
  const isHeld = held.deref() !== undefined
  memory.give(95)
  assert.deepEqual(await line, { done: false, value: '123456789\n' })
  assert.ok(!isHeld, 'what waits holds no page')
  assert.deepEqual(asked, [7])
  assert.equal(memory.bytesInUse, 9)
  assert.deepEqual(await stream.next(), { done: false, value: '123456789\n' })
  assert.deepEqual(asked, [7, 8])
  await stream.return()
  assert.equal(memory.bytesInUse, 0)
})

test('an empty page is an empty line, and one that ends ends', async () => {
  const memory = new ByteBudget(100)
  const { signal } = new AbortController()
  const pages = [pageAt(0, []), pageAt(0, ['a']), pageAt(1, ['b', 'c'])]
  const read = (): Promise<Page> => Promise.resolve(pages.shift() as Page)
  const stream = new EventStream({ memory, signal, read }, pages.shift() as Page, 3)
  const lines: string[] = []
  for await (const line of stream) {
    lines.push(line)
  }
  assert.deepEqual(lines, ['\n', 'a\n', 'b\nc\n'])
  assert.equal(memory.bytesInUse, 0)
})
