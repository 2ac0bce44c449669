/** The REST driver against a small server. */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { afterEach, test } from 'node:test'
import { RestRequests } from '../../src/load/rest/rest-requests.ts'

let server: Server | null = null

afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

async function start(
  answer: (path: string, body: string) => { status: number; body: string },
): Promise<string> {
  const made = createServer(async (request, response) => {
    const { status, body } = answer(request.url ?? '', await bodyOf(request))
    response.writeHead(status, { 'content-type': 'application/json' }).end(body)
  })
  server = made
  await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve))
  const address = made.address()
  assert.ok(address !== null && typeof address === 'object')
  return `http://127.0.0.1:${address.port}`
}

/** Sends `count` requests one after another; resolves with the answers. */
async function send(url: string, count: number): Promise<[number, string | null][]> {
  const driver = new RestRequests({ url, places: [{ topic: 'a topic', partition: 3 }] })
  const records = [
    { key: Buffer.from('k'), value: Buffer.from('one') },
    { key: null, value: Buffer.from('two') },
  ]
  const bytes = await driver.buildBatch(records)
  const request = driver.prepare(0, 0, { bytes, events: 2 })
  assert.equal(request.events, 2)
  const answers: [number, string | null][] = []
  let settle = (): void => {}
  const connection = await driver.open({
    answered: (_slot, baseOffset, refusal) => {
      answers.push([baseOffset, refusal])
      settle()
    },
    room: () => {},
    broke: (reason) => {
      answers.push([-2, reason])
      settle()
    },
  })
  for (let i = 0; i < count; i++) {
    await new Promise<void>((resolve) => {
      settle = resolve
      connection.send(0, request)
    })
  }
  connection.close()
  return answers
}

test('RestRequests, sends events with their partition, and reads where they are', async () => {
  const seen: string[] = []
  const url = await start((path, body) => {
    seen.push(path, body)
    const offset = seen.length * 2
    return { status: 200, body: JSON.stringify({ offsets: [{ partition: 3, offset }] }) }
  })
  assert.deepEqual(await send(url, 2), [
    [4, null],
    [8, null],
  ])
  assert.equal(seen[0], '/topics/a%20topic/produce')
  assert.deepEqual(JSON.parse(seen[1] ?? ''), {
    format: 'base64',
    partition: 3,
    events: [{ key: 'aw==', value: 'b25l' }, { value: 'dHdv' }],
  })
})

test('RestRequests, says that there is no such door, and what a refusal says', async () => {
  const url = await start(() => ({ status: 404, body: '' }))
  const [missing] = await send(url, 1)
  assert.match(missing?.[1] ?? '', /this broker has no REST door for events/)
  server?.close()
  const full = await start(() => ({ status: 507, body: 'the disk is full' }))
  assert.deepEqual(await send(full, 1), [[-1, 'HTTP 507: the disk is full']])
})

test('RestRequests, nobody there, breaks', async () => {
  const [broken] = await send('http://127.0.0.1:1', 1)
  assert.match(broken?.[1] ?? '', /ECONNREFUSED/)
})
