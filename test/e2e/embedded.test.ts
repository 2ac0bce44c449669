/** A broker inside the program that asks for one. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ConfigError } from '../../src/config/load.ts'
import { BrokerError } from '../../src/errors/broker-error.ts'
import { startBroker } from '../../src/gateway/embedded-broker.ts'
import { WebSocketTestClient } from '../support/websocket-client.ts'

async function createTopic(httpUrl: string, name: string): Promise<void> {
  const client = await WebSocketTestClient.open(httpUrl)
  const at = { partitions: 1, replicationFactor: -1, configs: {} }
  await client.ask('done', { type: 'createTopic', id: 1, name, ...at })
  await client.close()
}

async function topics(httpUrl: string): Promise<string[]> {
  const client = await WebSocketTestClient.open(httpUrl)
  const answer = await client.ask('metadata', { type: 'metadata', id: 1, topics: null })
  await client.close()
  return answer.topics.map(({ name }) => name)
}

test('startBroker, in a temporary directory, serves, and leaves nothing behind', async () => {
  let dataDir: string
  {
    await using broker = await startBroker()
    ;({ dataDir } = broker)
    assert.ok(existsSync(dataDir))
    await createTopic(broker.httpUrl, 'one')
    assert.deepEqual(await topics(broker.httpUrl), ['one'])
    const ready = await fetch(`${broker.httpUrl}/health/ready`)
    assert.equal(ready.status, 200)
    await ready.body?.cancel()
  }
  assert.equal(existsSync(dataDir), false)
})

test('startBroker, several at once and one after the other, keep what is theirs', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'millrace-embedded-'))
  try {
    const [kept, other] = await Promise.all([startBroker({ dataDir }), startBroker({ shards: 2 })])
    await createTopic(kept.httpUrl, 'kept')
    assert.deepEqual(await topics(other.httpUrl), [])
    await Promise.all([kept.stop(), kept.stop(), other.stop()])
    await using again = await startBroker({ dataDir })
    assert.deepEqual(await topics(again.httpUrl), ['kept'])
  } finally {
    rmSync(dataDir, { recursive: true })
  }
})

test('startBroker, where it cannot start, rejects and lets go of everything', async () => {
  await assert.rejects(startBroker({ settings: { 'num.partition': '3' } }), ConfigError)
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  const { port } = taken.address() as { port: number }
  const dataDir = mkdtempSync(join(tmpdir(), 'millrace-embedded-'))
  try {
    await assert.rejects(startBroker({ dataDir, kafka: `127.0.0.1:${port}` }), BrokerError)
    // The directory's lock is free again.
    await using broker = await startBroker({ dataDir })
    assert.deepEqual(await topics(broker.httpUrl), [])
  } finally {
    taken.close()
    rmSync(dataDir, { recursive: true })
  }
})
