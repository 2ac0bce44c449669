/**
 * Hostile HTTP on every engine: whatever is said, the answer is HTTP or the connection ends, and a
 * client of the Kafka door is served meanwhile.
 */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { describe, test } from 'node:test'
import { startBroker } from '../support/broker.ts'
import { type HostileHttp, HTTP_REQUESTS, hostileHttp } from './http-cases.ts'
import { underWatch } from './watch.ts'

const AT_A_TIME = 8

for (const engine of ['native', 'uws', 'node']) {
  describe(`the HTTP door under attack, ${engine}`, () => {
    test('what is no HTTP is refused or ends its connection', async () => {
      const broker = await startBroker({ set: { 'millrace.http.engine': engine } })
      try {
        const port = Number(new URL(broker.httpUrl).port)
        await underWatch(broker, async () => {
          const cases = HTTP_REQUESTS.flatMap((request) => [...hostileHttp(request)])
          const lanes = Array.from({ length: AT_A_TIME }, async () => {
            for (let one = cases.pop(); one !== undefined; one = cases.pop()) await say(port, one)
          })
          await Promise.all(lanes)
        })
        const { status } = await fetch(`${broker.httpUrl}/health/ready`)
        assert.equal(status, 200)
        await broker.stop() // Fails unless it ends in order.
      } finally {
        await broker.kill()
        broker.cleanUp()
      }
    })
  })
}

/** Sends it and hangs up; what comes back until the end is an answer or nothing. */
async function say(port: number, { bytes, label }: HostileHttp): Promise<void> {
  const answer = await new Promise<string>((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      // A WebSocket that was opened after all stays open until somebody says otherwise.
      if (text.startsWith('HTTP/1.1 101')) socket.destroy()
    })
    socket.on('error', () => {}) // 'close' follows.
    socket.once('close', () => resolve(text))
    socket.end(bytes)
  })
  if (answer !== '') assert.match(answer, /^HTTP\/1\.1 [1-5]\d\d /, label)
  assert.doesNotMatch(answer, /^HTTP\/1\.1 500/, label) // Nothing here is a failure of ours.
}
