/**
 * The least that can be done with HTTP on Node: `node:http` that reads a body and answers fixed
 * JSON, `?bytes=` long. What REST is measured beside. Prints nothing; ends with its parent.
 */
import { createServer } from 'node:http'

const port = Number(process.argv[2])
const parent = process.ppid

function answerOf(url: string): Buffer {
  const bytes = Number(new URL(url, 'http://localhost').searchParams.get('bytes') ?? 0)
  const shape = '{"offsets":[{"partition":0,"offset":1234567}]}\n'
  return Buffer.from(bytes > shape.length ? `"${'x'.repeat(bytes - 3)}"\n` : shape)
}

const answers = new Map<string, Buffer>()

createServer((request, response) => {
  const url = request.url ?? '/'
  let answer = answers.get(url)
  if (answer === undefined) {
    answer = answerOf(url)
    if (answers.size < 100) answers.set(url, answer)
  }
  const body = answer
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    Buffer.concat(chunks)
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length })
    response.end(body)
  })
}).listen(port, '127.0.0.1')

setInterval(() => {
  if (process.ppid !== parent) process.exit()
}, 1000)
